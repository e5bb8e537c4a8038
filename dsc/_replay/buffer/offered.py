"""Checks what a user offers to a replay buffer: images or samples, labels, keys, features.

Everything is checked before anything is encoded, so a refused call changes nothing. A gray image
among RGB ones is taken as three equal channels, as image loaders do; nothing else is converted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array, check_array
from dsc._replay.buffer.format import MAX_KEY_BYTES
from dsc._schemas import Task, TaskKind
from dsc.errors import CodecError, UsageError

IMAGE = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
"""The task of a buffer that holds plain images."""

Images = NDArray[Any] | Sequence[Any]


@dataclass(frozen=True)
class OfferedSamples:
    """Checked samples.

    Attributes
    ----------
    arrays
        By task, N arrays each, None where a sample lacks the task.
    labels
        (N,) int64.
    keys
        N times UTF-8 bytes; None when none were given.
    features
        (N, D); None when none were given.
    max_pixels
        Pixels of the largest map.
    """

    tasks: tuple[Task, ...]
    arrays: Mapping[str, Images]
    labels: NDArray[np.int64]
    keys: list[bytes] | None
    features: NDArray[Any] | None
    max_pixels: int

    def __len__(self) -> int:
        return len(self.labels)

    def sample(self, index: int) -> dict[str, Array]:
        """Return one sample as a codec takes it."""
        found = {task.name: self.arrays[task.name][index] for task in self.tasks}
        return {
            task.name: _native(task, found[task.name])
            for task in self.tasks
            if found[task.name] is not None
        }


def check_offered(
    tasks: tuple[Task, ...],
    plain: bool,
    images: Images | Mapping[str, Images],
    labels: Any,
    keys: Sequence[str] | None,
    features: Any,
) -> OfferedSamples:
    """Check everything that one call offers.

    Raises
    ------
    UsageError
        When something does not fit; the message names it and says what would.
    """
    numbers = check_labels(labels)
    if plain == isinstance(images, Mapping):
        wanted = "images (N, H, W, 3)" if plain else "a mapping from task to arrays"
        listed = ", ".join(task.name for task in tasks)
        raise UsageError(f"this buffer takes {wanted} ({listed}), got {type(images).__name__}")
    arrays = images if isinstance(images, Mapping) else {tasks[0].name: images}
    names = {task.name for task in tasks}
    if set(arrays) != names:
        raise UsageError(
            f"tasks {', '.join(sorted(arrays))}; this buffer holds {', '.join(sorted(names))}: "
            "give all, with None for a sample that lacks one"
        )
    pixels = [_check_arrays(task, arrays[task.name], len(numbers)) for task in tasks]
    _check_present(tasks, arrays, len(numbers))
    return OfferedSamples(
        tasks,
        arrays,
        numbers,
        _check_keys(keys, len(numbers)),
        _check_features(features, len(numbers)),
        max(pixels),
    )


def check_labels(labels: Any) -> NDArray[np.int64]:
    """Return labels as (N,) int64.

    Raises
    ------
    UsageError
        When they are no integers in one row.
    """
    array = np.asarray(labels)
    if array.size == 0:
        array = array.reshape(-1).astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise UsageError(
            f"labels of shape {array.shape} and dtype {array.dtype}; give N integers, one an image"
        )
    if array.dtype == np.uint64 and array.max(initial=0) > np.iinfo(np.int64).max:
        raise UsageError("a label is beyond 2^63 - 1")
    return array.astype(np.int64)


def _check_arrays(task: Task, arrays: Images, count: int) -> int:
    """Check the arrays of one task; return the pixels of the largest."""
    if len(arrays) != count:
        raise UsageError(f"{len(arrays)} arrays of {task.name} and {count} labels")
    if isinstance(arrays, np.ndarray) and arrays.dtype != object and count:
        _check_one(task, arrays[0], 0)  # all of one block have one shape and dtype
        return _pixels(task, arrays[0])
    present = [(at, array) for at, array in enumerate(arrays) if array is not None]
    for at, array in present:
        _check_one(task, array, at)
    return max((_pixels(task, array) for _, array in present), default=1)


def _check_one(task: Task, array: Any, at: int) -> None:
    if not isinstance(array, (np.ndarray, np.number, int, float)):
        raise UsageError(
            f"image {at}, {task.name}: {type(array).__name__}; give NumPy arrays "
            f"(of a tensor, `.numpy()`)"
        )
    try:
        check_array(task, _native(task, array))
    except CodecError as error:
        found, hint = np.asarray(array), ""
        if found.ndim == 3 and found.shape[0] == task.channels == 3 and found.shape[2] != 3:
            hint = "; channels come last here: use np.moveaxis(images, -3, -1)"
        elif found.dtype.kind == "f":
            hint = "; give the integers of the file, before any transform"
        raise UsageError(f"image {at}: {error}{hint}") from None


def _native(task: Task, array: Any) -> Array:
    """Return an array in the shape of its task: gray becomes three equal channels."""
    found = np.asarray(array)
    if not task.is_map and not found.ndim and found.dtype.kind in "iu":
        return found.astype(task.dtype)  # a class as a plain integer
    if task.kind is TaskKind.IMAGE and task.channels == 3:
        if found.ndim == 2:
            found = found[..., None]
        if found.ndim == 3 and found.shape[2] == 1:
            found = np.repeat(found, 3, axis=2)
    return found


def _check_present(tasks: tuple[Task, ...], arrays: Mapping[str, Images], count: int) -> None:
    for at in range(count):
        if all(arrays[task.name][at] is None for task in tasks):
            raise UsageError(f"image {at} has none of the tasks; leave it out")


def _check_keys(keys: Sequence[str] | None, count: int) -> list[bytes] | None:
    if keys is None:
        return None
    if isinstance(keys, str) or len(keys) != count:
        raise UsageError(f"{len(keys)} keys and {count} labels; give one key an image")
    coded = [key.encode() for key in keys]
    for key in coded:
        if len(key) > MAX_KEY_BYTES:
            raise UsageError(f"a key of {len(key)} bytes; at most {MAX_KEY_BYTES} are possible")
    return coded


def _check_features(features: Any, count: int) -> NDArray[Any] | None:
    if features is None:
        return None
    array = np.asarray(features)
    if array.ndim != 2 or len(array) != count or array.dtype.kind not in "fiu":
        raise UsageError(
            f"features of shape {array.shape} and dtype {array.dtype}; give ({count}, D) numbers"
        )
    return array


def _pixels(task: Task, array: Any) -> int:
    shape = np.shape(array)
    return int(shape[0] * shape[1]) if task.is_map else 1
