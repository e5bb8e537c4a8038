"""What rules ask of samples before they believe in themselves, and of what they are given."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dsc._codecs.base import Array, Sample
from dsc._schemas import Task
from dsc.errors import BitstreamError, CodecError

COUNTS = ("uint8", "uint16")


def is_count_map(task: Task) -> bool:
    """Tell whether a task is a map (H, W) of 8 or 16 bits."""
    return task.is_map and task.dtype in COUNTS and task.channels == 1


def complete(samples: Sequence[Sample], *names: str) -> list[Sample]:
    """Return the samples that have all tasks; none where the tasks of one differ in size."""
    whole = [sample for sample in samples if all(name in sample for name in names)]
    sizes = [{sample[name].shape[:2] for name in names} for sample in whole]
    return whole if all(len(size) == 1 for size in sizes) else []


def share_within(first: Array, second: Array, most: int) -> float:
    """Return the share of values of two arrays of 8 or 16 bits that differ by at most `most`."""
    difference = np.abs(first.astype(np.int32) - second.astype(np.int32))
    return float(np.count_nonzero(difference <= most)) / max(difference.size, 1)


def most_frequent(values: Array, default: int) -> int:
    """Return the most frequent value (the smallest of several), `default` where there is none."""
    if not values.size:
        return default
    return int(np.bincount(values.ravel()).argmax())


def middle(values: Array) -> float:
    """Return the upper median of at least one value (n,): one of them, so the same everywhere."""
    half = len(values) // 2
    return float(np.partition(values, half)[half])


def thinned(shape: Sequence[int], most: int) -> tuple[slice, slice]:
    """Return slices of rows and columns that leave at most `most` pixels of a picture, evenly."""
    height, width = shape[:2]
    step = 1
    while -(-height // step) * -(-width // step) > most:
        step += 1
    rows, columns = (slice(min(step, side) // 2, None, step) for side in (height, width))
    return rows, columns


def dtype_range(task: Task) -> int:
    """Return the largest value of a task of 8 or 16 bits."""
    return int(np.iinfo(task.dtype).max)


def input_maps(inputs: Mapping[str, Array], tasks: Sequence[Task]) -> Iterator[Array]:
    """Yield the decoded maps of tasks, all of one size, each contiguous.

    Raises
    ------
    BitstreamError
        When one is not there, is not what its task says, or has another size.
    """
    size: tuple[int, ...] | None = None
    for task in tasks:
        array = inputs.get(task.name)
        if array is None:
            raise BitstreamError(f"no {task.name} to derive from")
        channels = () if task.channels == 1 else (task.channels,)
        if array.dtype != task.dtype or array.ndim != 2 + len(channels) or not array.size:
            raise BitstreamError(f"{task.name} is {array.dtype} {array.shape}, not its task's map")
        if array.shape[2:] != channels or (size or array.shape[:2]) != array.shape[:2]:
            raise BitstreamError(f"{task.name} has shape {array.shape}, which fits nothing here")
        size = array.shape[:2]
        yield np.ascontiguousarray(array)


def check_own(own: Sequence[int], count: int) -> None:
    """Refuse parameters of a sample that are not as many as the rule has.

    Raises
    ------
    BitstreamError
        When they are not.
    """
    if len(own) != count:
        raise BitstreamError(f"{len(own)} parameters of a sample, where the rule has {count}")


def read_param(rule: str, params: Mapping[str, int], name: str, least: int, most: int) -> int:
    """Return a parameter from `least` to `most`.

    Raises
    ------
    CodecError
        When it is not there, no integer, or out of range.
    """
    value = params.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise CodecError(f"rule {rule}: {name} is {value!r}, where {least} to {most} make sense")
    return value


def check_fit(rule: str, fits: bool, child: Task, inputs: Sequence[Task]) -> None:
    """Refuse tasks that a rule is not for.

    Raises
    ------
    CodecError
        When they do not fit.
    """
    if not fits:
        names = ", ".join(task.name for task in inputs) or "nothing"
        raise CodecError(f"rule {rule} cannot derive {child.name} from {names}")
