"""Pixels of a picture on another grid: between them where values are smooth, else the nearest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def resized(array: Any, size: tuple[int, int], smooth: bool) -> Any:
    """Return a map (H, W) or (H, W, C) in another size.

    Parameters
    ----------
    size
        Height and width.
    smooth
        Bilinear, over the area of a pixel where it gets smaller, as Pillow does; otherwise the
        pixel in which the new one's centre lies.
    """
    if array.shape[:2] == size:
        return array
    if not smooth:
        rows, columns = (_nearest(n, m) for n, m in zip(array.shape, size, strict=False))
        return array[rows[:, None], columns]
    steps = [(axis, array.shape[axis], size[axis]) for axis in (0, 1)]
    found = array
    for axis, n, m in sorted(steps, key=lambda step: step[2] / step[1]):  # the smaller one first
        if n != m:
            found = _along(found, axis, *_weights(n, m))
    return as_dtype(found, array.dtype)


def mirrored(array: Any, axis: int) -> Any:
    """Return a copy of a map with its rows (axis 0) or columns in reverse."""
    if axis == 1 and array.ndim == 3:  # half the time of a copy with a negative stride
        return np.take(array, np.arange(array.shape[1])[::-1], axis=1)
    return np.flip(array, axis).copy()


def as_dtype(values: Any, dtype: Any) -> Any:
    """Return floats in the dtype of a picture: rounded, and no more than it holds."""
    if np.dtype(dtype).kind not in "iu":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.rint(values).clip(limits.min, limits.max).astype(dtype)


def _nearest(n: int, m: int) -> NDArray[np.intp]:
    """Return which of n pixels each of m lies in."""
    return ((2 * np.arange(m) + 1) * n // (2 * m)).astype(np.intp)


def _weights(n: int, m: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return which of n pixels make up each of m, (m, k), and how much of each, (m, k)."""
    scale = n / m
    support = max(scale, 1.0)
    centre = (np.arange(m) + 0.5) * scale
    first = np.floor(centre - support).astype(np.intp)
    which = first[:, None] + np.arange(int(np.ceil(2 * support)) + 1)
    weight = 1 - np.abs(which + 0.5 - centre[:, None]) / support
    weight[(weight < 0) | (which < 0) | (which >= n)] = 0
    weight /= weight.sum(axis=1, keepdims=True)
    return which.clip(0, n - 1), weight.astype(np.float32)


def _along(
    array: Any, axis: int, which: NDArray[np.intp], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return sums of pixels along an axis, each with its weight."""
    shape = [1] * array.ndim
    shape[axis] = -1
    size = [*array.shape]
    size[axis] = len(which)
    out = np.zeros(size, np.float32)
    for pixels, weights in zip(which.T, weight.T, strict=True):
        if weights.any():
            out += np.take(array, pixels, axis) * weights.reshape(shape)
    return out
