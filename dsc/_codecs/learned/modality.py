"""Between native arrays and the planes that a network sees.

Images and normals become values in [-0.5, 0.5]. Depth becomes ``(ln d - offset) / 2`` with the
sample's own offset (its median log depth), so that a relative error of 1 % is 0.005 everywhere and
no range is fixed beforehand. Invalid pixels are filled smoothly before the network and put back
after it, from a lossless mask.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.coding.fill import fill_invalid
from dsc._schemas import Task, TaskKind

Float = NDArray[np.float32]
LOG_DEPTH_SCALE = 0.5


def modality_of(task: Task) -> str | None:
    """Name the network's modality that codes this task; None when there is none, or it is exact."""
    if task.is_exact:
        return None
    if task.kind is TaskKind.DEPTH:
        return "depth"
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
