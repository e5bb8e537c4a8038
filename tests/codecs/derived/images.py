"""Made-up images with edges and blobs of many sizes, and the tasks of the tests of rules."""

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Task, TaskKind

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
OTHER_RGB = Task(name="before", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
GRAY = Task(name="gray", kind=TaskKind.IMAGE, dtype="uint8")
MAP = Task(name="edges_of_something", kind=TaskKind.IMAGE, dtype="uint16")


def discs(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw discs of all colours and sizes over one another, with a little noise."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 128.0)
    y, x = np.mgrid[:height, :width]
    for _ in range(60):
        radius = rng.uniform(2, 40)
        far = (y - rng.uniform(0, height)) ** 2 + (x - rng.uniform(0, width)) ** 2
        image[far < radius**2] = rng.uniform(0, 255, 3)
    return (image + rng.normal(0, 2, image.shape)).clip(0, 255).astype(np.uint8)


def noise(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw each value by itself."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def chequers(height: int, width: int, side: int = 1) -> NDArray[np.uint8]:
    """Draw a board of black and white, which has the steepest edges there are."""
    y, x = np.mgrid[:height, :width] // side
    return np.repeat(((y + x) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)


def rings(height: int, width: int) -> NDArray[np.uint8]:
    """Draw rings that get narrower, of integers alone: the same with any NumPy."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(y * y + x * x) // part % 256 for part in (5, 37, 210)], axis=2).astype(
        np.uint8
    )
