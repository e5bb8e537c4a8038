"""Coarse maps: a quarter of the side, each pixel for the valid ones of a square of 4×4.

A coarse pixel of an image is the mean of its square. One of depth is the median, the lower of the
two in the middle: a mean across an edge is a distance at which there is nothing, and blurs the edge
for the codec as well. Squares are cut where the map ends. Where no pixel of a square is valid the
coarse one is a hole.
"""

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._codecs.maps.lossy import avoid_invalid
from dsc._schemas import Task, TaskKind

FACTOR = 4


def coarse_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width of the coarse map of a map."""
    return -(-height // FACTOR), -(-width // FACTOR)


def coarse_map(task: Task, array: Array) -> Array:
    """Return the coarse map of an image or a depth map.

    Parameters
    ----------
    array
        (H, W) or (H, W, C), uint8 or uint16.

    Returns
    -------
    array (⌈H/4⌉, ⌈W/4⌉) or (⌈H/4⌉, ⌈W/4⌉, C)
        Of the same dtype.
    """
    valid = np.ones(array.shape[:2], bool)
    if task.invalid:
        valid = ~task.invalid_mask(array)
    values = _squares(array.reshape(*array.shape[:2], -1))
    valid = _squares(valid[..., None])
    coarse = _medians(values, valid) if task.kind is TaskKind.DEPTH else _means(values, valid)
    coarse = coarse.astype(array.dtype).reshape(*coarse.shape[:2], *array.shape[2:])
    if task.invalid:
        coarse = avoid_invalid(task, coarse).copy()
        coarse[~valid.any(axis=(2, 3))] = task.invalid[0]
    return coarse


def _squares(planes: Array) -> Array:
    """Return (h, w, 16, C): the pixels of each square; those beyond the map's end are 0."""
    height, width, channels = planes.shape
    padded = np.pad(planes, ((0, -height % FACTOR), (0, -width % FACTOR), (0, 0)))
    rows, columns = coarse_size(height, width)
    squares = padded.reshape(rows, FACTOR, columns, FACTOR, channels).swapaxes(1, 2)
    return squares.reshape(rows, columns, FACTOR * FACTOR, channels)


def _means(values: Array, valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the mean of the valid pixels of each square, halves rounded up."""
    count = np.maximum(valid.sum(axis=2), 1)
    total = np.where(valid, values, 0).sum(axis=2, dtype=np.int64)
    means: NDArray[np.int64] = (2 * total + count) // (2 * count)
    return means


def _medians(values: Array, valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the lower median of the valid pixels of each square."""
    last = np.iinfo(np.int64).max  # behind all that are valid
    ranked = np.sort(np.where(valid, values.astype(np.int64), last), axis=2)
    middle = np.maximum(valid.sum(axis=2, keepdims=True) - 1, 0) // 2
    medians = np.take_along_axis(ranked, middle, axis=2)[:, :, 0]
    return np.where(valid.any(axis=2), medians, 0)
