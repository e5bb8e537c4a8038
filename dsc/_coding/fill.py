"""Fills holes of a map smoothly, so that they cost few bits; masks say where the holes were."""

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels

Float = NDArray[np.float32]


def fill_invalid(planes: Float, invalid: NDArray[np.bool_], default: float) -> Float:
    """Fill holes smoothly: pull the valid values up an image pyramid, push them down into holes.

    Parameters
    ----------
    planes
        (c, H, W).
    invalid
        (H, W), True in the holes.
    default
        The value everywhere when nothing is valid.
    """
    weight = (~invalid).astype(np.float32)
    if not weight.any():
        return np.full_like(planes, default)
    if _kernels.in_use():
        filled = np.ascontiguousarray(planes * weight)
        _kernels.compiled.maps_fill(filled, weight)
        return filled
    return _push_pull(planes * weight, weight)


def _push_pull(weighted: Float, weight: Float) -> Float:
    if weight.min() > 0:
        return weighted / weight
    height, width = weight.shape
    pad = ((0, height % 2), (0, width % 2))
    small = _halve(np.pad(weighted, ((0, 0), *pad)))
    small_weight = _halve(np.pad(weight, pad))
    coarse = _push_pull(small, small_weight)
    fine = np.repeat(np.repeat(coarse, 2, axis=1), 2, axis=2)[:, :height, :width]
    filled: Float = np.where(weight > 0, weighted / np.maximum(weight, 1e-9), fine)
    return filled


def _halve(x: Float) -> Float:
    total: Float = x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]
    return total
