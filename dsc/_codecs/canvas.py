"""Where decoded arrays go: each for itself, or as the rows of one array for a whole batch.

A codec that decodes each task of a sample alone asks a `Place` for memory of the shape that it has
read, and writes there what is wanted: the source's integers, or physical units. So nothing is
copied when samples become a batch.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import numpy as np

from dsc import _kernels
from dsc._codecs.base import Array
from dsc._schemas import Task
from dsc._schemas.group import Linked

Forms = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
Room = Callable[[tuple[int, ...], np.dtype[Any]], Array]


@dataclass(frozen=True)
class Place:
    """Where one array goes.

    Attributes
    ----------
    native
        Whether it stays in the source's encoding; else it is what `Task.to_physical` gives.
    room
        Gives memory of a shape and dtype; None where any will do.
    """

    native: bool = True
    room: Room | None = None

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return memory for the array, to be written as a whole."""
        return np.empty(shape, dtype) if self.room is None else self.room(shape, dtype)

    def takes(self, task: Task) -> bool:
        """Tell whether native values are what is wanted."""
        return self.native or task.is_physical

    def put(self, task: Task, array: Array) -> Array:
        """Turn a native array into what is wanted, and return it where it is wanted.

        What is wanted of text, JSON and bytes is no array, see `Task.to_physical`.
        """
        if not self.takes(task) and array.ndim == 2 and array.dtype.str[1:] in ("u1", "u2"):
            table = _physical_table(task, array.dtype)
            placed = self.empty(array.shape, table.dtype)
            look_up(array, table, placed)
            return placed
        wanted = array if self.native else task.to_physical(array)
        if self.room is None or task.varies:
            return cast(Array, wanted)
        placed = self.room(wanted.shape, wanted.dtype)
        placed[...] = wanted
        return placed


def look_up(array: Array, table: Array, out: Array) -> None:
    """Write what each value of an array (H, W), uint8 or uint16, stands for to `out`."""
    whole = array.flags.c_contiguous and out.flags.c_contiguous and table.dtype == np.float32
    if not (whole and _kernels.in_use()):
        np.take(table, array, out=out, mode="clip")  # other modes copy `out`
        return
    _kernels.compiled.plane_look_up(
        array.view(np.uint8).reshape(-1), array.strides[0], array.itemsize, table.view(np.uint32),
        4, None, out.view(np.uint32),
    )  # fmt: skip


@lru_cache(maxsize=32)
def _physical_table(task: Task, dtype: np.dtype[Any]) -> Array:
    """Return what `Task.to_physical` makes of each count; one entry more, which none is."""
    counts = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    return np.append(task.to_physical(counts), np.float32(0))


@runtime_checkable
class PlacedCodec(Protocol):
    """A codec that decodes each task of a sample to where its array is wanted.

    Attributes
    ----------
    decodes_alone
        Whether that gives what `Codec.decode_batch` gives; else all samples are decoded at once.
    """

    decodes_alone: ClassVar[bool]

    def has(self, name: str, streams: Mapping[str, bytes]) -> bool:
        """Tell whether a sample has a task, by its streams that are there."""
        ...

    def decode_sample(
        self, name: str, streams: Mapping[str, bytes], max_pixels: int, place: Place
    ) -> Array:
        """Decode one task of one sample that has it to its place, from any thread.

        Raises
        ------
        BitstreamError
            When a bitstream is damaged, or one that is required is not there.
        """
        ...


@runtime_checkable
class PlacedGroupCodec(Protocol):
    """A codec of groups that decodes to where arrays are wanted."""

    def decode_together(
        self, name: str, payloads: Sequence[Linked], max_pixels: int, places: Sequence[Place]
    ) -> list[Array]:
        """Decode a task of several samples, each frame of a group once, to a place each.

        Raises
        ------
        BitstreamError
            When one cannot be decoded.
        """
        ...


class Canvas:
    """The decoded arrays of some samples; may be filled from several threads.

    Parameters
    ----------
    samples
        How many.
    tasks
        By name, those that are decoded.
    native
        As of `Place`.
    together
        Whether arrays of a task are the rows of one array, as long as they have one shape.
    forms
        Shape and dtype of a task's arrays as they were last, kept up to date: memory for as many is
        had at once, in the thread that makes the canvas, where it costs least.
    """

    def __init__(
        self,
        samples: int,
        tasks: Mapping[str, Task],
        native: bool,
        together: bool,
        forms: Forms | None = None,
    ) -> None:
        self.arrays: list[dict[str, Array]] = [{} for _ in range(samples)]
        self.tasks, self._native, self._together = tasks, native, together
        self._forms = {} if forms is None else forms
        self._whole = {
            task: np.empty((samples, *self._forms[task][0]), self._forms[task][1])
            for task in tasks
            if together and task in self._forms
        }
        self._begun: set[str] = set()
        self._lock = threading.Lock()

    def place(self, sample: int, task: str) -> Place:
        """Return where the array of a task of a sample goes."""

        def row(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
            def fits(whole: Array) -> bool:
                return whole.shape[1:] == shape and whole.dtype == dtype

            with self._lock:
                whole = self._whole.get(task)
                if whole is None or (task not in self._begun and not fits(whole)):
                    whole = self._whole[task] = np.empty((len(self.arrays), *shape), dtype)
                    self._forms[task] = shape, dtype
                self._begun.add(task)
            return whole[sample, ...] if fits(whole) else np.empty(shape, dtype)

        return Place(self._native, row if self._together else None)

    def has(self, sample: int, task: str) -> bool:
        """Tell whether nothing is to be decoded for a task of a sample."""
        return False

    def take(self, sample: int, task: str, array: Array) -> None:
        """Take the array that was decoded to `place`."""
        self.arrays[sample][task] = array

    def put(self, sample: int, task: str, array: Array) -> None:
        """Take a native array from elsewhere."""
        self.arrays[sample][task] = self.place(sample, task).put(self.tasks[task], array)
