"""Between native arrays and the planes that a network sees.

Images and normals become values in [-0.5, 0.5]. Depth becomes ``(ln d - offset) / 2`` with the
sample's own offset (its median log depth), so that a relative error of 1 % is 0.005 everywhere and
no range is fixed beforehand. Invalid pixels are filled smoothly before the network and put back
after it, from a lossless mask.

The way back exists twice, in NumPy for samples on the host and in torch for batches on a device:
the same operations in the same order. On a CPU 8-bit integers are the same; where a last bit
decides how a depth is rounded it may be the next count, and the last bit of a unit vector may
differ.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsc._coding.fill import fill_invalid
from dsc._schemas import Task, TaskKind

Float = NDArray[np.float32]
LOG_DEPTH_SCALE = 0.5


def modality_of(task: Task) -> str | None:
    """Name the network's modality that codes this task; None when there is none, or it is exact."""
    if task.is_exact:
        return None
    if task.kind is TaskKind.DEPTH and np.issubdtype(task.dtype, np.integer):
        return "depth"  # floats: a source stores their counts of a unit
    if task.kind is TaskKind.NORMAL and task.dtype == "uint8":
        return "normal"
    is_rgb = task.kind is TaskKind.IMAGE and task.channels == 3 and task.dtype == "uint8"
    return "rgb" if is_rgb and task.name == "rgb" else None


def to_planes(task: Task, array: NDArray[Any]) -> tuple[Float, NDArray[np.bool_] | None, float]:
    """Turn a native array into planes.

    Returns
    -------
    planes
        (c, H, W) float32.
    invalid
        (H, W) bool, or None when every pixel is valid.
    offset
        Median log depth in ln(metres), already rounded as it is stored; 0 for other kinds.
    """
    invalid = task.invalid_mask(array) if task.invalid else None
    if invalid is not None and not invalid.any():
        invalid = None
    if task.kind is TaskKind.DEPTH:
        counts = np.maximum(array.astype(np.float32), 0.5)  # a valid 0 has no logarithm
        log_depth = np.log(counts * np.float32(task.unit_m or 1.0))
        valid = log_depth if invalid is None else log_depth[~invalid]
        offset = float(np.float16(np.median(valid))) if valid.size else 0.0
        planes = ((log_depth - np.float32(offset)) * np.float32(LOG_DEPTH_SCALE))[None]
        center = 0.0
    elif task.kind is TaskKind.NORMAL:
        planes = (array.astype(np.float32).transpose(2, 0, 1) - 127.5) / 255
        offset = center = 0.0
    else:
        planes = array.astype(np.float32).transpose(2, 0, 1) / 255 - 0.5
        offset = center = 0.0
    if invalid is not None:
        planes = fill_invalid(planes, invalid, center)
    return np.ascontiguousarray(planes, np.float32), invalid, offset


def from_planes(
    task: Task, planes: Float, invalid: NDArray[np.bool_] | None, offset: float
) -> NDArray[Any]:
    """Turn planes (c, H, W) back into a native array; valid pixels never become invalid ones."""
    limit = np.iinfo(np.dtype(task.dtype)).max
    if task.kind is TaskKind.DEPTH:
        log_depth = np.clip(planes[0] / np.float32(LOG_DEPTH_SCALE) + np.float32(offset), -20, 20)
        counts = np.rint(np.exp(log_depth) / np.float32(task.unit_m or 1.0))
        low, high = valid_counts(task, int(limit))
        native = np.clip(counts, low, high).astype(task.dtype)
    elif task.kind is TaskKind.NORMAL:
        vector = planes / np.maximum(np.linalg.norm(planes, axis=0, keepdims=True), 1e-6)
        native = np.rint(vector * 127.5 + 127.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        native[task.invalid_mask(native)] = (128, 127, 127)
    else:
        native = np.rint((planes + 0.5) * 255).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    if invalid is not None and task.invalid:
        native[invalid] = task.invalid[0]
    return np.ascontiguousarray(native)


def valid_counts(task: Task, limit: int) -> tuple[int, int]:
    """Return the widest range of counts around the middle that holds no invalid value."""
    low = max((v + 1 for v in task.invalid if v < limit // 2), default=0)
    high = min((v - 1 for v in task.invalid if v >= limit // 2), default=limit)
    return low, high


def native_tensor(task: Task, planes: Tensor, invalid: Tensor | None, offset: Tensor) -> Tensor:
    """Turn planes into the integers of the source's files.

    Parameters
    ----------
    planes
        (B, c, H, W) float32.
    invalid
        (B, H, W) bool, or None when every pixel is valid.
    offset
        (B,) median log depth in ln(metres); read for depth only.

    Returns
    -------
    Tensor
        (B, H, W) for depth, else (B, 3, H, W) in channels_last memory; of the task's dtype.
    """
    counts = _counts(task, planes, invalid, offset)
    dtype = getattr(torch, task.dtype)
    if task.kind is TaskKind.DEPTH:
        return counts.to(dtype)
    return counts.to(dtype, memory_format=torch.channels_last)


def physical_tensor(task: Task, planes: Tensor, invalid: Tensor | None, offset: Tensor) -> Tensor:
    """Turn planes into images, metres or unit vectors; parameters as for `native_tensor`.

    Returns
    -------
    Tensor
        Images uint8 (B, 3, H, W); depth float32 (B, H, W), metres; normals float32 (B, 3, H, W),
        unit vectors. NaN where nothing was measured.
    """
    if task.kind is TaskKind.IMAGE:
        return native_tensor(task, planes, invalid, offset)
    counts = _counts(task, planes, None, offset)
    if task.kind is TaskKind.DEPTH:
        physical, mask = counts.mul_(task.unit_m or 1.0), invalid
    else:
        physical = counts.sub_(127.5).div_(127.5)
        physical = physical.div_(_length(physical).clamp_min_(1e-6))
        mask = None if invalid is None else invalid[:, None]
    return physical if mask is None else physical.masked_fill_(mask, torch.nan)


def _counts(task: Task, planes: Tensor, invalid: Tensor | None, offset: Tensor) -> Tensor:
    """Return native values as float32, (B, H, W) for depth, else (B, 3, H, W)."""
    if task.kind is TaskKind.DEPTH:
        low, high = valid_counts(task, int(np.iinfo(np.dtype(task.dtype)).max))
        log_depth = (planes[:, 0] / LOG_DEPTH_SCALE).add_(offset[:, None, None]).clamp_(-20, 20)
        counts = log_depth.exp_().div_(task.unit_m or 1.0).round_().clamp_(low, high)
    elif task.kind is TaskKind.NORMAL:
        vector = planes / _length(planes).clamp_min_(1e-6)
        counts = vector.mul_(127.5).add_(127.5).round_().clamp_(0, 255)
        _leave_invalid(task, counts)
    else:
        counts = (planes + 0.5).mul_(255).round_().clamp_(0, 255)
    if invalid is not None and task.invalid:
        mask = invalid if task.kind is TaskKind.DEPTH else invalid[:, None]
        counts.masked_fill_(mask, task.invalid[0])
    return counts


def _length(vector: Tensor) -> Tensor:
    """Return |v| of (B, 3, H, W) as (B, 1, H, W), summed in the order in which numpy sums."""
    x, y, z = (vector[:, c : c + 1] for c in range(3))
    return (x * x).add_(y * y).add_(z * z).sqrt_()


def _leave_invalid(task: Task, counts: Tensor) -> None:
    """Move a valid normal that reads as "nothing measured" to its neighbour (128, 127, 127)."""
    x, y, z = (counts[:, c : c + 1] for c in range(3))
    for value in task.invalid:
        reads_invalid = (x == value) & (y == value) & (z == value)
        counts.masked_fill_(reads_invalid, 127.0)
        x.masked_fill_(reads_invalid, 128.0)
