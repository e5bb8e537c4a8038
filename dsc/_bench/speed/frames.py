"""What is measured on: frames of a data set, kind by kind, and the same as a source in memory.

A `Kind` is one task of a few frames: pixels as they are, depth with holes where it has none of its
own, label maps once more as small as those that robots and phones make. `HeldSource` is what whole
jobs compress: reading and decoding files, which dsc and what it is set beside have to do alike, is
then no part of any time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsc._bench.rate_distortion.datasets import BenchSet
from dsc._bench.speed.holes import punch_holes, with_invalid
from dsc._schemas import Task, TaskKind
from dsc._sources.base import SourceSample

Array = NDArray[Any]
SMALL = (102, 180)  # height and width of small label maps


@dataclass(frozen=True)
class Kind:
    """One task of a few frames.

    Attributes
    ----------
    name
        For people: ``depth, 10 % holes``.
    task
        What the arrays mean.
    arrays
        Native arrays, one a frame.
    """

    name: str
    task: Task
    arrays: tuple[Array, ...]

    @property
    def pixels(self) -> int:
        """Pixels of all frames."""
        return sum(array.shape[0] * array.shape[1] for array in self.arrays)

    @property
    def size(self) -> str:
        """Width and height of the first frame."""
        height, width = self.arrays[0].shape[:2]
        return f"{width}×{height}"


def kinds_of(data: BenchSet, tasks: Sequence[str], holes: float) -> list[Kind]:
    """List what is measured of a set.

    Parameters
    ----------
    tasks
        Names of its tasks, in order.
    holes
        The share of depth that is punched out, where less is missing by itself; 0 for none.
    """
    by_name = {task.name: task for task in data.schemas()}
    found: list[Kind] = []
    for name in tasks:
        task = by_name[name]
        read = (data.read(index) for index in data.indices)
        plain = Kind(name, task, tuple(sample[name] for sample in read if name in sample))
        if not plain.arrays:
            continue
        if task.kind is TaskKind.DEPTH:
            found += _depths(plain, holes)
        elif task.kind is TaskKind.LABEL:
            found += [plain, *_small(plain)]
        else:
            found.append(plain)
    return found


def _depths(plain: Kind, holes: float) -> list[Kind]:
    own = invalid_share(plain.task, plain.arrays)
    named = Kind(f"{plain.name}, {percent(own)} holes", plain.task, plain.arrays) if own else plain
    if own >= holes or not holes:
        return [named]
    task = with_invalid(plain.task)
    punched = tuple(punch_holes(a, task, holes, seed) for seed, a in enumerate(plain.arrays))
    return [named, Kind(f"{plain.name}, {percent(holes)} holes", task, punched)]


def percent(share: float) -> str:
    """Spell a share."""
    return f"{100 * share:.0f} %"


def invalid_share(task: Task, arrays: Sequence[Array]) -> float:
    """Return the mean share of invalid pixels."""
    return float(np.mean([task.invalid_mask(array).mean() for array in arrays]))


def _small(plain: Kind) -> list[Kind]:
    if any(array.shape[0] <= SMALL[0] or array.shape[1] <= SMALL[1] for array in plain.arrays):
        return []
    small = tuple(nearest(array, *SMALL) for array in plain.arrays)
    return [Kind(f"{plain.name}, {SMALL[1]}×{SMALL[0]}", plain.task, small)]


def nearest(array: Array, height: int, width: int) -> Array:
    """Return a smaller map whose pixels are those nearest to the middles of its own."""
    rows = ((np.arange(height) + 0.5) * array.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * array.shape[1] / width).astype(int)
    return np.ascontiguousarray(array[rows][:, columns])


class HeldSource:
    """Frames of a set as a source that holds its arrays; see `dsc._sources.base.Source`.

    Parameters
    ----------
    data
        The set.
    tasks
        Which of its tasks.
    holes
        The share of depth that is punched out.
    """

    name: ClassVar[str] = "bench"

    def __init__(self, data: BenchSet, tasks: Sequence[str], holes: float = 0.0) -> None:
        by_name = {task.name: task for task in data.schemas()}
        self._data, self._holes = data, holes
        self._tasks = tuple(self._with_holes(by_name[name]) for name in tasks)
        self._held: dict[int, SourceSample] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_held": {}}

    def hold(self) -> "HeldSource":
        """Read all frames now. Return the source."""
        for index in range(len(self)):
            self._sample(index)
        return self

    def first(self) -> "HeldSource":
        """Return a source of the first frame alone."""
        first = replace(self._data, indices=self._data.indices[:1])
        return HeldSource(first, [task.name for task in self._tasks], self._holes)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks."""
        return self._tasks

    @property
    def holes(self) -> float:
        """The share of depth that is punched out."""
        return self._holes

    @property
    def pixels(self) -> int:
        """Pixels of all frames, each counted once however many tasks it has."""
        arrays = (next(iter(self._sample(at).arrays.values())) for at in range(len(self)))
        return sum(array.shape[0] * array.shape[1] for array in arrays)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._data.indices)

    def key(self, index: int) -> str:
        """Return the key of a frame."""
        return f"frame_{self._data.indices[index]:06d}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Return tasks of a frame."""
        held = self._sample(index)
        arrays = {name: held.arrays[name] for name in tasks if name in held.arrays}
        return SourceSample(held.key, arrays, {n: a.nbytes for n, a in arrays.items()})

    def describe(self) -> dict[str, Any]:
        """Say which frames these are; they cannot be opened by name."""
        told = {"source": self._data.source, "holes": self._holes}
        options = {
            **told,
            "indices": list(self._data.indices),
            "tasks": [t.name for t in self.tasks],
        }
        return {"name": self.name, "root": self._data.root, "options": options}

    def _sample(self, index: int) -> SourceSample:
        if index not in self._held:
            read = self._data.read(self._data.indices[index])
            arrays = {t.name: self._array(t, read, index) for t in self._tasks if t.name in read}
            self._held[index] = SourceSample(self.key(index), arrays, {})
        return self._held[index]

    def _array(self, task: Task, read: Mapping[str, Array], index: int) -> Array:
        array = read[task.name]
        if task.kind is not TaskKind.DEPTH or not self._holes:
            return array
        return punch_holes(array, task, self._holes, index)

    def _with_holes(self, task: Task) -> Task:
        return with_invalid(task) if self._holes and task.kind is TaskKind.DEPTH else task
