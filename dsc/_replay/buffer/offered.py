"""Checks what a user offers to a replay buffer: images or samples, labels, keys, features.

Everything is checked before anything is encoded, so a refused call changes nothing. A gray image
among RGB ones is taken as three equal channels, as image loaders do; embeddings of any floats get
the dtype of their task; nothing else is converted. Of an embedding that a backbone computes the
picture may be offered in its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array, check_array
from dsc._replay.buffer.embedded import EmbeddedPictures
from dsc._replay.buffer.format import MAX_KEY_BYTES
from dsc._replay.buffer.tasks import IMAGE, mixed
from dsc._schemas import Task, TaskKind
from dsc.errors import CodecError, UsageError

Images = NDArray[Any] | Sequence[Any]
Present = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class OfferedSamples:
    """Checked samples.

    Attributes
    ----------
    arrays
        By task, N arrays each.
    present
        By task, (N,) bool, which samples have it.
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
    arrays: Mapping[str, Images | EmbeddedPictures]
    present: Present
    labels: NDArray[np.int64]
    keys: list[bytes] | None
    features: NDArray[Any] | None
    max_pixels: int

    def __len__(self) -> int:
        return len(self.labels)

    def sample(self, index: int) -> dict[str, Array]:
        """Return one sample as a codec takes it."""
        return {
            task.name: _native(task, self.arrays[task.name][index])
            for task in self.tasks
            if self.present[task.name][index]
        }

    def either(self, pictures: NDArray[np.bool_]) -> "OfferedSamples":
        """Leave each sample one of its two tasks, where it has both.

        Parameters
        ----------
        pictures
            (N,) bool, which samples stay pictures; the others stay embeddings.
        """
        picture, embedding = (self.present[task.name] for task in mixed(self.tasks))
        names = [task.name for task in mixed(self.tasks)]
        kept = (picture & (pictures | ~embedding), embedding & (~pictures | ~picture))
        return replace(self, present=dict(zip(names, kept, strict=True)))


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
    given = _by_task(tasks, plain, images)
    arrays, pixels = _embedded(tasks, given, len(numbers)), [1]
    names = {task.name for task in tasks}
    if set(arrays) != names:
        raise UsageError(
            f"tasks {', '.join(sorted(given))}; this buffer holds {', '.join(sorted(names))}: "
            "give all, with None for a sample that lacks one"
        )
    for task in tasks:
        one = arrays[task.name]
        if not isinstance(one, EmbeddedPictures):
            pixels.append(_check_arrays(task, one, len(numbers)))
    present = {task.name: _present(arrays[task.name]) for task in tasks}
    _check_present(present)
    return OfferedSamples(
        tasks,
        arrays,
        present,
        numbers,
        _check_keys(keys, len(numbers)),
        _check_features(features, len(numbers)),
        max(pixels),
    )


def _by_task(
    tasks: tuple[Task, ...], plain: bool, images: Images | Mapping[str, Images]
) -> Mapping[str, Images]:
    """Name what was offered bare: the one task, or the pictures that all tasks are of."""
    if isinstance(images, Mapping) and not plain:
        return images
    extractors = [task.extractor for task in tasks if task.extractor is not None]
    of = {extractor.of for extractor in extractors}
    bare = plain or (len(of) == 1 and all(t.extractor is not None or t.name in of for t in tasks))
    if isinstance(images, Mapping) or not bare:
        wanted = "a mapping from task to arrays"
        if plain:
            wanted = "vectors (N, D), or images" if of else "images (N, H, W, 3)"
        listed = ", ".join(task.name for task in tasks)
        raise UsageError(f"this buffer takes {wanted} ({listed}), got {type(images).__name__}")
    if not of:
        return {tasks[0].name: images}
    if not _are_vectors(images):
        return {of.pop(): images}
    if len(tasks) > 1:
        raise UsageError(
            f"vectors alone; this buffer holds {', '.join(task.name for task in tasks)}: give "
            "pictures, or a mapping from task to arrays with both"
        )
    return {tasks[0].name: images}


def _are_vectors(arrays: Images) -> bool:
    """Tell vectors from pictures by the first one that is there."""
    first = next((array for array in arrays if array is not None), None)
    return first is None or np.ndim(first) == 1


def _embedded(
    tasks: tuple[Task, ...], given: Mapping[str, Images], count: int
) -> dict[str, Images | EmbeddedPictures]:
    """Put the embeddings of pictures in the place of those that were not given."""
    arrays: dict[str, Images | EmbeddedPictures] = dict(given)
    own = {task.name for task in tasks}
    for task in tasks:
        made = task.extractor
        if made is None or task.name in given or made.of not in given:
            continue
        pictures = given[made.of]
        _check_arrays(IMAGE.model_copy(update={"name": made.of}), pictures, count)
        arrays[task.name] = EmbeddedPictures(pictures, made)
        if made.of not in own:
            arrays.pop(made.of, None)
    return arrays


def _present(arrays: Images | EmbeddedPictures) -> NDArray[np.bool_]:
    """Tell which samples have an array."""
    if isinstance(arrays, EmbeddedPictures):
        arrays = arrays.pictures
    if isinstance(arrays, np.ndarray) and arrays.dtype != object:
        return np.ones(len(arrays), bool)
    return np.array([array is not None for array in arrays], bool)


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
        present = list(enumerate(arrays)) if task.kind is TaskKind.EMBEDDING else [(0, arrays[0])]
    else:
        present = [(at, array) for at, array in enumerate(arrays) if array is not None]
        for at, array in present:
            _check_one(task, array, at)
    if task.kind is TaskKind.EMBEDDING:
        for at, array in present:
            _check_finite(task, array, at)
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
        if task.kind is TaskKind.EMBEDDING:
            hint = f"; {_whose(task)} are {task.channels} floats each"
        elif found.ndim == 3 and found.shape[0] == task.channels == 3 and found.shape[2] != 3:
            hint = "; channels come last here: use np.moveaxis(images, -3, -1)"
        elif found.dtype.kind == "f":
            hint = "; give the integers of the file, before any transform"
        raise UsageError(f"image {at}: {error}{hint}") from None


def _check_finite(task: Task, array: Any, at: int) -> None:
    vector = _native(task, array)
    odd = np.flatnonzero(~np.isfinite(vector))
    if len(odd):
        raise UsageError(
            f"image {at}, {task.name}: component {odd[0]} is {np.asarray(array)[odd[0]]}, and no "
            f"{task.dtype} embedding has that; leave the sample out, or compute it anew"
        )


def _whose(task: Task) -> str:
    made = task.extractor
    return "embeddings of this buffer" if made is None else f"embeddings by {made}"


def _native(task: Task, array: Any) -> Array:
    """Return an array in the shape of its task: gray becomes three equal channels."""
    found = np.asarray(array)
    if task.kind is TaskKind.EMBEDDING and found.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows is refused: it is not finite
            return found.astype(task.dtype, copy=False)
    if not task.is_map and not found.ndim and found.dtype.kind in "iu":
        return found.astype(task.dtype)  # a class as a plain integer
    if task.kind is TaskKind.IMAGE and task.channels == 3:
        if found.ndim == 2:
            found = found[..., None]
        if found.ndim == 3 and found.shape[2] == 1:
            found = np.repeat(found, 3, axis=2)
    return found


def _check_present(present: Present) -> None:
    lacking = np.flatnonzero(~np.any(list(present.values()), axis=0))
    if len(lacking):
        raise UsageError(f"image {lacking[0]} has none of the tasks; leave it out")


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
