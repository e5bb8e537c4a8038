"""Maps of several sizes in one batch: each in the corner of one as large as the largest."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Task
from dsc._transforms.blank import blank

MASK = "__mask__"
Sizes = list[tuple[int, int]]


def padded(
    samples: Sequence[Mapping[str, Any]], tasks: Mapping[str, Task], lists: Set[str] = frozenset()
) -> list[dict[str, Any]]:
    """Make the maps of samples one size, with masks of where they are.

    Parameters
    ----------
    samples
        Of one batch.
    tasks
        What their names mean.
    lists
        Names that stay as they are.

    Returns
    -------
    list of dict
        The samples; maps have nothing (`blank`) to the right and below, and are rows of one array.
        `MASK` is (H, W) bool, true where the first map is, and so is ``__mask_NAME__`` for each
        map whose sizes are not the first one's.
    """
    out = [dict(sample) for sample in samples]
    first: Sizes | None = None
    for name in samples[0]:
        values = [sample.get(name) for sample in samples]
        if name in lists or name not in tasks or not tasks[name].is_map or not _are_maps(values):
            continue
        sizes: Sizes = [sample[name].shape[:2] for sample in samples]
        _put(out, name, _corners(values, sizes, tasks[name]))
        if first is None or sizes != first:
            _put(out, MASK if first is None else f"__mask_{name}__", _masks(sizes))
        first = first or sizes
    return out


def _are_maps(values: Sequence[Any]) -> bool:
    """Tell whether values are maps that differ in height and width alone."""
    if not all(isinstance(value, np.ndarray) and value.ndim >= 2 for value in values):
        return False
    return len({(value.dtype, value.shape[2:]) for value in values}) == 1


def _corners(values: Sequence[Any], sizes: Sizes, task: Task) -> NDArray[Any]:
    height, width = np.max(sizes, axis=0).tolist()
    whole = np.empty((len(values), height, width, *values[0].shape[2:]), values[0].dtype)
    nothing = blank(task.kind, whole.dtype, task.invalid)
    for row, value, (h, w) in zip(whole, values, sizes, strict=True):
        row[:h, :w] = value
        row[h:] = nothing
        row[:h, w:] = nothing
    return whole


def _masks(sizes: Sizes) -> NDArray[np.bool_]:
    height, width = np.max(sizes, axis=0).tolist()
    masks = np.zeros((len(sizes), height, width), bool)
    for mask, (h, w) in zip(masks, sizes, strict=True):
        mask[:h, :w] = True
    return masks


def _put(samples: Sequence[dict[str, Any]], name: str, rows: NDArray[Any]) -> None:
    for sample, row in zip(samples, rows, strict=True):
        sample[name] = row
