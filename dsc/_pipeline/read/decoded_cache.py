"""Decoded arrays in memory, so that later epochs decode nothing; as many as fit.

They are kept in the source's integers, half of what metres take. What is there stays: each epoch
asks for every sample once, and a cache that gave up the least recently used one would have given up
each just before it is asked for again. Threads share it; a process of its own has one of its own.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dsc._codecs.base import Array
from dsc._codecs.canvas import Canvas, Forms, Place
from dsc._schemas import Task

OVERHEAD_BYTES = 256  # of an array and its entry here


class Wanted(NamedTuple):
    """One task of one sample: number of the archive, index of the sample in it, name."""

    archive: int
    sample: int
    task: str


class DecodedCache:
    """Native arrays by archive, sample and task; None of a task that the sample lacks.

    Parameters
    ----------
    limit_bytes
        The most that all arrays may take.

    Attributes
    ----------
    used_bytes
        What they take.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.used_bytes = limit_bytes, 0
        self._counts: Counter[str] = Counter()
        self._arrays: dict[Wanted, Array | None] = {}
        self._lock = threading.Lock()

    def __contains__(self, wanted: Wanted) -> bool:
        return wanted in self._arrays

    def holds(self, archive: int, index: int, tasks: Iterable[str]) -> bool:
        """Tell whether all these tasks of a sample are there."""
        return all(Wanted(archive, index, task) in self._arrays for task in tasks)

    def get(self, wanted: Wanted) -> Array | None:
        """Return an array that is there, which nobody may write to."""
        return self._arrays[wanted]

    def put(self, wanted: Wanted, array: Array | None) -> None:
        """Keep an array, which nobody may write to from here on, if there is room for it."""
        cost = OVERHEAD_BYTES + (0 if array is None else array.nbytes)
        with self._lock:
            if wanted not in self._arrays and self.used_bytes + cost <= self.limit_bytes:
                self._arrays[wanted] = array
                self.used_bytes += cost
                self._counts["bytes"] += cost

    def count(self, hits: int, misses: int) -> None:
        """Count how often an array that was asked for was there, and was not."""
        with self._lock:
            self._counts.update(hits=hits, misses=misses)

    def take_counts(self) -> Counter[str]:
        """Return hits and misses since this was last asked, and the bytes kept since then."""
        with self._lock:
            found, self._counts = self._counts, Counter()
        return found


class CachedCanvas(Canvas):
    """A canvas that has what a cache holds, and gives it what is decoded.

    Parameters
    ----------
    archive, indices
        Number of the archive, and the samples' indices in it.
    """

    def __init__(
        self,
        cache: DecodedCache,
        archive: int,
        indices: list[int],
        tasks: Mapping[str, Task],
        native: bool,
        together: bool,
        forms: Forms | None = None,
    ) -> None:
        super().__init__(len(indices), tasks, native, together, forms)
        self._cache, self._archive, self._indices = cache, archive, indices
        self._held = {
            (number, task)
            for number, index in enumerate(indices)
            for task in tasks
            if Wanted(archive, index, task) in cache
        }
        cache.count(len(self._held), len(indices) * len(tasks) - len(self._held))

    def has(self, sample: int, task: str) -> bool:
        """Tell whether the cache held a task of a sample when the canvas was made."""
        return (sample, task) in self._held

    def held(self) -> list[tuple[int, str]]:
        """List the samples and tasks that the cache held, those that a sample lacks left out."""
        return [
            one for one in sorted(self._held) if self._cache.get(self._wanted(*one)) is not None
        ]

    def fetch(self, sample: int, task: str) -> None:
        """Take an array out of the cache."""
        array = self._cache.get(self._wanted(sample, task))
        if array is not None:
            self._show(sample, task, array)

    def place(self, sample: int, task: str) -> Place:
        """Return a place for a native array by itself, which the cache may keep."""
        return Place()

    def take(self, sample: int, task: str, array: Array) -> None:
        """Take the native array that was decoded."""
        array = array if array.base is None else array.copy()  # a view would keep all that it is of
        self._cache.put(self._wanted(sample, task), array)
        self._show(sample, task, array)

    def put(self, sample: int, task: str, array: Array) -> None:
        """Take a native array from elsewhere."""
        self.take(sample, task, array)

    def lacks(self, sample: int, task: str) -> None:
        """Remember that a sample has no such task."""
        self._cache.put(self._wanted(sample, task), None)

    def _wanted(self, sample: int, task: str) -> Wanted:
        return Wanted(self._archive, self._indices[sample], task)

    def _show(self, sample: int, task: str, array: Array) -> None:
        """Write a copy of what the cache has, or may have, to where it is wanted."""
        placed = super().place(sample, task).put(self.tasks[task], array)
        self.arrays[sample][task] = placed.copy() if placed is array else placed
