"""Makes one batch of samples: arrays stacked as they are, or as what tensors are made of.

Tensors have channels first, and dtypes that torch computes with: torch holds uint16, uint32 and
uint64 and can hardly do more: no comparison, no maximum, no indexing. Such arrays become the next
wider signed integers, so that every value stays. All of it is done in NumPy; `tensors` wraps the
arrays, and copies nothing.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Task, TaskKind, resolve_task
from dsc._schemas.sample import NO_WINDOWS
from dsc.errors import UsageError

INDEX = "__index__"
KEY = "__key__"
LATENTS = "latents"
WIDER = {"u2": np.int32, "u4": np.int64, "u8": np.int64}
CHANNELS_FIRST = (TaskKind.IMAGE, TaskKind.NORMAL, TaskKind.FLOW, TaskKind.ARRAY)


class StreamBatch(dict[str, Any]):
    """Tensors or arrays by task.

    Aliases are understood: ``batch["depth"]`` finds ``depth_zbuffer``.
    """

    def __missing__(self, name: str) -> Any:
        return self[resolve_task(name, list(self))]


def collate(
    samples: Sequence[Mapping[str, Any]],
    tasks: Mapping[str, Task],
    lists: frozenset[str] = frozenset(),
    counts: frozenset[str] = frozenset(),
    for_torch: bool = True,
    windows: Mapping[str, int] = NO_WINDOWS,
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
    for_torch
        Whether tensors are made of it.
    windows
        Names whose values are of several frames, (n, ...), and how many.

    Returns
    -------
    StreamBatch
        Arrays (B, ...) of those of the samples, in their dtypes; numbers (B,); what cannot be
        stacked, such as text, as a list. For torch, arrays (H, W, C) of images, normals, flow and
        other arrays are (B, C, H, W) in channels_last memory, of windows (B, n, C, H, W); uint16
        comes as int32, uint32 and uint64 as int64, and Python's floats as float32. Tensors that a
        transform gave are stacked as tensors for torch, else as arrays.

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
        if not for_torch:
            values = [value.numpy() if is_tensor(value) else value for value in values]
        elif name not in counts:
            values = [_computable(name, value) for value in values]
        channels = for_torch and name in tasks and tasks[name].kind in CHANNELS_FIRST
        if name in tasks and tasks[name].is_blob:
            batch[name] = list(values)
        elif name in lists:
            batch[name] = [_alone(value, channels, windows.get(name)) for value in values]
        elif all(_is_number(value) for value in values):
            batch[name] = _numbers(values, for_torch)
        else:
            batch[name] = _stack(name, values, channels, samples, windows.get(name))
    return batch


def is_tensor(value: Any) -> bool:
    """Tell whether something is a tensor of torch, which is not loaded for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


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
    if not is_numeric(value):
        return value
    if value.dtype == np.uint64 and value.size and int(value.max()) > np.iinfo(np.int64).max:
        raise UsageError(
            f"{name}: {int(value.max())} is more than int64 holds, and torch hardly computes with "
            "uint64; give a transform that makes it smaller, or read it with dsc.open"
        )
    wider = WIDER.get(value.dtype.str[1:])
    return value if wider is None else value.astype(wider)


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) and not is_numeric(value)


def _numbers(values: Sequence[float], for_torch: bool) -> NDArray[Any]:
    numbers = np.array(values)
    return numbers.astype(np.float32) if for_torch and numbers.dtype == np.float64 else numbers


def _stack(
    name: str,
    values: Sequence[Any],
    channels: bool,
    samples: Sequence[Mapping[str, Any]],
    frames: int | None,
) -> Any:
    first = values[0]
    if isinstance(first, np.ndarray | np.generic) or is_tensor(first):
        for value, sample in zip(values, samples, strict=True):
            if np.shape(value) != np.shape(first):
                raise UsageError(
                    f"{name}: sample {sample[INDEX]} is {_size(value)}, sample "
                    f"{samples[0][INDEX]} is {_size(first)}; give a transform that "
                    "makes them one size, or stream with mixed_sizes='pad' or 'list'"
                )
    if is_tensor(first):
        return sys.modules["torch"].stack(list(values))
    if is_numeric(first):
        whole = _whole(values)
        stacked = _own_order(np.stack(values)) if whole is None else whole
        return (
            np.moveaxis(stacked, -1, -3) if channels and _has_channels(first, frames) else stacked
        )
    return list(values)


def _whole(values: Sequence[Any]) -> NDArray[Any] | None:
    """Return the array whose rows the values are, in order; None where they are no such.

    That is how they come where nothing was done to them after decoding.
    """
    whole = getattr(values[0], "base", None)
    if not isinstance(whole, np.ndarray) or whole.shape != (len(values), *np.shape(values[0])):
        return None
    start, step = whole.__array_interface__["data"][0], whole.strides[0]
    rows = all(
        value.base is whole
        and value.strides == whole.strides[1:]
        and value.__array_interface__["data"][0] == start + step * row
        for row, value in enumerate(values)
    )
    return whole if rows and whole.flags.owndata else None


def _alone(value: Any, channels: bool, frames: int | None) -> Any:
    if not is_numeric(value):
        return value
    array = np.array(_own_order(np.asarray(value)), order="C")
    return np.moveaxis(array, -1, -3) if channels and _has_channels(array, frames) else array


def _has_channels(array: Any, frames: int | None) -> bool:
    """Tell whether an array is (H, W, C), or (n, H, W, C) of the frames of a window."""
    if frames is None or len(array) != frames:
        return bool(array.ndim == 3)
    return bool(array.ndim == 4)


def is_numeric(value: Any) -> bool:
    """Tell whether something is an array of numbers, or one of NumPy's numbers."""
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc"


def _own_order(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in this machine's byte order; torch has no other."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _size(value: Any) -> str:
    if value is None:
        return "None"
    return "×".join(map(str, np.shape(value))) or "a number"
