"""Small pictures that compress like photographs do: smooth, with a little noise."""

import numpy as np
from numpy.typing import NDArray


def pictures(count: int, side: int = 16, seed: int = 0) -> NDArray[np.uint8]:
    """Make (count, side, side, 3) uint8, all different."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (count, 2, 2, 3))
    smooth = np.kron(coarse, np.ones((1, side // 2, side // 2, 1), int))
    return (smooth + rng.integers(-20, 20, smooth.shape)).astype(np.uint8)
