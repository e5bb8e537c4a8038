"""Makes one batch of samples: stacked tensors, images in channels-first shape."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dsc.errors import UsageError
from dsc.schemas import Task, TaskKind, resolve_task

INDEX = "__index__"
LATENTS = "latents"


class Batch(dict[str, Any]):
    """Tensors by task; aliases are understood, so ``batch["depth"]`` finds ``depth_zbuffer``."""

    def __missing__(self, name: str) -> Any:
        return self[resolve_task(name, list(self))]


def collate(
    samples: Sequence[Mapping[str, Any]], tasks: Mapping[str, Task], lists: frozenset[str]
) -> Batch:
    """Stack samples.

    Parameters
    ----------
    samples
        What a transform gave, or arrays by task; every one has the same names.
    tasks
        What the names mean; names that are no task are stacked if they can be.
    lists
        Names whose values stay a list.

    Returns
    -------
    Batch
        Arrays (H, W, 3) of image and normal tasks as (B, 3, H, W) in channels_last memory, other
        arrays (B, ...), numbers (B,); what cannot be stacked, such as text, as a list.

    Raises
    ------
    UsageError
        When arrays of one name differ in shape; the message names two samples.
    """
    batch = Batch()
    for name in samples[0]:
        values = [sample[name] for sample in samples]
        if name in lists:
            batch[name] = [None if v is None else _tensor(v, tasks.get(name)) for v in values]
        else:
            batch[name] = _stack(name, values, tasks.get(name), samples)
    return batch


def _stack(
    name: str, values: Sequence[Any], task: Task | None, samples: Sequence[Mapping[str, Any]]
) -> Any:
    first = values[0]
    if isinstance(first, np.ndarray | np.generic | torch.Tensor):
        for value, sample in zip(values, samples, strict=True):
            if np.shape(value) != np.shape(first):
                raise UsageError(
                    f"{name}: sample {int(sample.get(INDEX, -1))} is {_size(value)}, sample "
                    f"{int(samples[0].get(INDEX, -1))} is {_size(first)}; give a transform that "
                    "makes them one size, or stream with mixed_sizes='list'"
                )
        if isinstance(first, torch.Tensor):
            return torch.stack(list(values))
        stacked = torch.from_numpy(np.stack(values))
        return stacked.permute(0, 3, 1, 2) if _has_channels(first, task) else stacked
    if isinstance(first, bool | int | float):
        return torch.tensor(values)
    return list(values)


def _tensor(value: Any, task: Task | None) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    tensor = torch.from_numpy(np.ascontiguousarray(value))
    return tensor.permute(2, 0, 1) if _has_channels(value, task) else tensor


def _has_channels(array: Any, task: Task | None) -> bool:
    is_image = task is not None and task.kind in (TaskKind.IMAGE, TaskKind.NORMAL)
    return is_image and array.ndim == 3


def _size(value: Any) -> str:
    return "×".join(map(str, np.shape(value))) or "a number"
