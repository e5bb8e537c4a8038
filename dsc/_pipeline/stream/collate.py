"""Makes one batch of samples: stacked tensors, channels first, in dtypes that torch computes with.

torch holds uint16, uint32 and uint64 and can hardly do more: no comparison, no maximum, no
indexing. Such arrays become the next wider signed integers, so that every value stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsc._schemas import Task, TaskKind, resolve_task
from dsc.errors import UsageError

INDEX = "__index__"
LATENTS = "latents"
WIDER = {"u2": np.int32, "u4": np.int64, "u8": np.int64}
CHANNELS_FIRST = (TaskKind.IMAGE, TaskKind.NORMAL, TaskKind.FLOW, TaskKind.ARRAY)


class StreamBatch(dict[str, Any]):
    """Tensors by task; aliases are understood, so ``batch["depth"]`` finds ``depth_zbuffer``."""

    def __missing__(self, name: str) -> Any:
        return self[resolve_task(name, list(self))]


def collate(
    samples: Sequence[Mapping[str, Any]],
    tasks: Mapping[str, Task],
    lists: frozenset[str] = frozenset(),
    counts: frozenset[str] = frozenset(),
) -> StreamBatch:
    """Stack samples.

    Parameters
    ----------
    samples
        What a transform gave, or arrays by task, with `INDEX`.
    tasks
        What the names mean; names that are no task are stacked if they can be.
    lists
        Names whose values stay a list.
    counts
        Names whose values keep the dtype of the source's files.

    Returns
    -------
    StreamBatch
        Arrays (H, W, C) of images, normals, flow and other arrays as (B, C, H, W) in channels_last
        memory, arrays without channels (B, H, W), label maps and what is no task (B, ...), numbers
        (B,); what cannot be stacked, such as text, as a list. uint16 comes as int32, uint32 and
        uint64 as int64.

    Raises
    ------
    UsageError
        When samples have different names, or arrays of one name differ in shape, or a uint64 is
        too large for int64; the message names the samples.
    """
    batch = StreamBatch()
    _check_names(samples)
    for name in samples[0]:
        values = [sample[name] for sample in samples]
        if name not in counts:
            values = [_computable(name, value) for value in values]
        if name in lists:
            batch[name] = [_tensor(value, tasks.get(name)) for value in values]
        else:
            batch[name] = _stack(name, values, tasks.get(name), samples)
    return batch


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in a dtype that torch computes with; the same where it does already."""
    wider = {torch.uint16: torch.int32, torch.uint32: torch.int64}.get(tensor.dtype)
    return tensor if wider is None else tensor.to(wider)


def _check_names(samples: Sequence[Mapping[str, Any]]) -> None:
    first = samples[0]
    for sample in samples[1:]:
        odd = sorted(map(str, sample.keys() ^ first.keys()))
        if odd:
            raise UsageError(
                f"the transform gave {', '.join(odd)} for only one of samples {first[INDEX]} and "
                f"{sample[INDEX]}: it must give the same names for every sample"
            )


def _computable(name: str, value: Any) -> Any:
    """Return an array in a dtype that torch computes with; anything else stays what it is."""
    if not _is_numeric(value):
        return value
    if value.dtype == np.uint64 and value.size and int(value.max()) > np.iinfo(np.int64).max:
        raise UsageError(
            f"{name}: {int(value.max())} is more than int64 holds, and torch hardly computes with "
            "uint64; give a transform that makes it smaller, or read it with dsc.open"
        )
    wider = WIDER.get(value.dtype.str[1:])
    return value if wider is None else value.astype(wider)


def _stack(
    name: str, values: Sequence[Any], task: Task | None, samples: Sequence[Mapping[str, Any]]
) -> Any:
    first = values[0]
    if isinstance(first, np.ndarray | np.generic | torch.Tensor):
        for value, sample in zip(values, samples, strict=True):
            if np.shape(value) != np.shape(first):
                raise UsageError(
                    f"{name}: sample {sample[INDEX]} is {_size(value)}, sample "
                    f"{samples[0][INDEX]} is {_size(first)}; give a transform that "
                    "makes them one size, or stream with mixed_sizes='list'"
                )
    if isinstance(first, torch.Tensor):
        return torch.stack(list(values))
    if _is_numeric(first):
        stacked = torch.from_numpy(_own_order(np.stack(values)))
        return stacked.permute(0, 3, 1, 2) if _has_channels(first, task) else stacked
    if isinstance(first, bool | int | float):
        return torch.tensor(values)
    return list(values)


def _tensor(value: Any, task: Task | None) -> Any:
    if not _is_numeric(value):
        return value
    tensor = torch.from_numpy(np.array(_own_order(np.asarray(value)), order="C"))
    return tensor.permute(2, 0, 1) if _has_channels(value, task) else tensor


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc"


def _own_order(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in this machine's byte order; torch has no other."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _has_channels(array: Any, task: Task | None) -> bool:
    return task is not None and task.kind in CHANNELS_FIRST and array.ndim == 3


def _size(value: Any) -> str:
    if value is None:
        return "None"
    return "×".join(map(str, np.shape(value))) or "a number"
