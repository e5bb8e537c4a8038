"""From synthesised planes to what a trainer wants, on the planes' device.

The twin of `modality.from_planes` and `Task.to_physical`: the same operations in the same order,
on tensors, without a round trip through the host. On a CPU 8-bit integers are the same; where a
last bit decides how a depth is rounded it may be the next count, and the last bit of a unit vector
may differ.
"""

import numpy as np
import torch
from torch import Tensor

from dsc._codecs.learned.modality import LOG_DEPTH_SCALE, valid_counts
from dsc._schemas import Task, TaskKind


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
