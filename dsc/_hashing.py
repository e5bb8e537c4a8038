"""A hash of integers that orders of samples and random keys of exemplars are drawn from."""

import numpy as np
from numpy.typing import NDArray


def splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of 64-bit integers, one to one: splitmix64 (Steele, Lea and Flood, 2014).

    NumPy hashes no arrays. Orders and kept exemplars follow from it, so it never changes.

    Parameters
    ----------
    x
        uint64, of any shape.
    """
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
