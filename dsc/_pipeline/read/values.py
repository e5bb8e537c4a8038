"""What the tasks that are no maps hold: counts of classes, ranges of numbers, lengths of texts.

Columns are read whole shard by whole shard, as many shards, evenly spread, as it takes to have the
samples asked for; of a task no stream but its own is read.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._columns.column import Column, TableColumn
from dsc._pipeline.read.columns import ArchiveColumns
from dsc._pipeline.read.originals import spread
from dsc._schemas import VECTORS, Task, TaskKind, carrying_streams, resolve_tasks
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader

SAMPLES = 10_000
EXAMPLES = 3
MOST_LISTED = 1000  # classes, fields, shapes
MOST_NUMBERS = 1 << 24  # of a task; of more, some are left out evenly
MOST_LENGTH = 200  # letters of an example
MOST_DIFFERENT = 1 << 20
Progress = Callable[[int, int], None]
Numbers = NDArray[Any]


@dataclass
class ValueSummary:
    """What one task holds, over the samples that were looked at.

    Attributes
    ----------
    looked_at
        Samples that were looked at.
    there
        Of these, those that have the task.
    missing
        Samples of the whole archive that lack it.
    counts
        Of a class: how many samples by class, in the order of the classes; of JSON objects: how
        many samples by field, the most frequent first; of matrices whose shape varies: by shape.
    numbers
        ``least``, ``median`` and ``most`` of all numbers (times as text, UTC), and how many are
        ``not_finite``.
    entries
        The same of each entry of a vector of at most 16, by the name of its class or its number.
    lengths
        ``least``, ``median`` and ``most``: characters of texts, bytes of files.
    different
        How many different texts there are; None where that was not counted.
    examples
        Some texts, or JSON values as text.
    """

    task: str
    kind: str
    looked_at: int = 0
    there: int = 0
    missing: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    lengths: dict[str, float] = field(default_factory=dict)
    different: int | None = None
    examples: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON; what says nothing is left out."""
        always = ("task", "kind", "looked_at", "there", "missing")
        known = vars(self).items()
        return {name: v for name, v in known if name in always or v not in ({}, [], None)}


def summarise_values(
    archive: Archive,
    *,
    samples: int = SAMPLES,
    tasks: Sequence[str] | str | None = None,
    progress: Progress | None = None,
) -> list[ValueSummary]:
    """Sum up the tasks of an archive that are neither maps nor feature maps.

    Parameters
    ----------
    archive
        The archive.
    samples
        How many are looked at, at least; 0 for all.
    tasks
        Names or aliases; None for all. Maps and feature maps are passed over.
    progress
        Called with (columns of a shard read, columns in all).

    Raises
    ------
    UnknownTaskError
        When the archive lacks a task.
    CorruptArchiveError, BitstreamError
        When a column is damaged.
    """
    manifest = archive.manifest
    names = resolve_tasks(tasks, [task.name for task in manifest.tasks])
    wanted = [task for task in manifest.tasks if task.name in names and not task.is_spatial]
    shards = _shards(archive, samples)
    reader = ArchiveColumns(archive, PackReader(archive))
    found = []
    for number, task in enumerate(wanted):
        collected = _Collected(task)
        for done, shard in enumerate(shards, 1):
            collected.add(reader.read(task.name, shard))
            if progress is not None:
                progress(number * len(shards) + done, len(wanted) * len(shards))
        streams = carrying_streams(manifest.streams, task.name)
        missing = min((manifest.totals[name].n_missing for name in streams), default=0)
        found.append(collected.summary(missing))
    return found


def _shards(archive: Archive, samples: int) -> list[int]:
    """Choose shards, evenly spread, that hold so many samples."""
    count = len(archive.shards)
    if not samples or not count:
        return list(range(count))
    wanted = min(-(-samples * count // max(len(archive), 1)), count)
    chosen = spread(count, wanted)
    while sum(archive.shards[n].samples for n in chosen) < samples and wanted < count:
        wanted += 1
        chosen = spread(count, wanted)
    return chosen


class _Collected:
    """Takes in a task's column, shard by shard."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._looked_at = self._there = self._numbers = 0
        self._parts: list[Numbers] = []
        self._lengths: list[Numbers] = []
        self._counts: Counter[str] = Counter()
        self._classes: Counter[int] = Counter()
        self._different: set[int] = set()
        self._examples: dict[str, None] = {}

    def add(self, column: Column) -> None:
        self._looked_at += len(column)
        self._there += int(column.there.sum())
        if isinstance(column, TableColumn):
            self._add_table(column)
            return
        values = column.values[column.there]
        if column.what == "bytes":
            self._lengths.append(values)
        elif self._task.kind is TaskKind.CLASS:
            numbers, counts = np.unique(values, return_counts=True)
            self._classes.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        else:
            self._keep(values)

    def _keep(self, values: Numbers) -> None:
        room = MOST_NUMBERS - self._numbers
        if values.size > max(room, 0) and len(values):
            values = values[:: max(len(values) // 256, 1)]
        self._numbers += values.size
        self._parts.append(values)

    def _add_table(self, column: TableColumn) -> None:
        kind, codes = self._task.kind, column.codes[column.there]
        uses = np.bincount(codes, minlength=len(column.table))
        if kind is TaskKind.MATRIX:
            for code in np.flatnonzero(uses).tolist():
                value = np.asarray(column.table[code])
                self._counts["×".join(map(str, value.shape))] += int(uses[code])
                self._keep(value.reshape(-1))
            return
        lengths = np.array([_length(value) for value in column.table], np.int64)
        if kind is not TaskKind.JSON:
            self._lengths.append(lengths[codes])
        used, first = np.unique(codes, return_index=True)
        for code in used[np.argsort(first)].tolist():  # examples are the first samples'
            self._add_value(column.table[code], int(uses[code]))

    def _add_value(self, value: Any, uses: int) -> None:
        if self._task.kind is TaskKind.BYTES:
            return
        text = (
            value if isinstance(value, str) and self._task.kind is TaskKind.TEXT else _json(value)
        )
        if len(self._different) < MOST_DIFFERENT:
            self._different.add(hash(text))
        if len(self._examples) < EXAMPLES:
            self._examples[text[:MOST_LENGTH]] = None
        if self._task.kind is TaskKind.JSON:
            names = [f".{name}" for name in value] if isinstance(value, dict) else [_sort(value)]
            for name in names:
                if name in self._counts or len(self._counts) < MOST_LISTED:
                    self._counts[name] += uses

    def summary(self, missing: int) -> ValueSummary:
        task = self._task
        found = ValueSummary(task.name, task.kind.value, self._looked_at, self._there, missing)
        if self._classes:
            ordered = sorted(self._classes.items())[:MOST_LISTED]
            found.counts = {_class_name(task, number): count for number, count in ordered}
        elif self._counts:
            found.counts = dict(self._counts.most_common(MOST_LISTED))
        if self._lengths and sum(map(len, self._lengths)):
            found.lengths = _spread_of(np.concatenate(self._lengths))
        if self._different:
            many = len(self._different) >= MOST_DIFFERENT
            found.different = None if many else len(self._different)
            found.examples = list(self._examples)
        if self._parts:
            self._sum_up_numbers(found)
        return found

    def _sum_up_numbers(self, found: ValueSummary) -> None:
        if self._task.kind is TaskKind.TIME:
            found.numbers = {
                name: time_text(int(value))
                for name, value in _spread_of(np.concatenate(self._parts)).items()
            }
            return
        flat = np.concatenate([part.reshape(-1) for part in self._parts])
        found.numbers = _numbers(flat)
        channels = self._task.channels if self._task.kind in VECTORS else 0
        if 1 < channels <= 16:
            rows = np.concatenate(self._parts)
            names = [_class_name(self._task, at) for at in range(channels)]
            found.entries = {name: _numbers(rows[:, at]) for at, name in enumerate(names)}


def time_text(nanoseconds: int) -> str:
    """Spell a time since 1970 in UTC, with as many digits as it has: ``2026-09-21T14:13:20.5Z``."""
    text = str(np.datetime64(nanoseconds, "ns"))
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}Z"


def _numbers(values: Numbers) -> dict[str, Any]:
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    odd = int(values.size - finite.size)
    return (_spread_of(finite) if finite.size else {}) | ({"not_finite": odd} if odd else {})


def _spread_of(values: Numbers) -> dict[str, Any]:
    """Return least, median and most; of whole numbers the median is the lower of two."""
    if not values.size:
        return {}
    if values.dtype.kind == "f":
        middle: Any = float(np.median(values.astype(np.float64)))
    else:
        at = (values.size - 1) // 2
        middle = np.partition(values, at)[at].item()
    return {"least": values.min().item(), "median": middle, "most": values.max().item()}


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 0


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _sort(value: Any) -> str:
    kinds = {dict: "objects", list: "lists", str: "texts", bool: "true or false"}
    return kinds.get(type(value), "numbers" if isinstance(value, int | float) else "null")


def _class_name(task: Task, number: int) -> str:
    return task.classes[number] if 0 <= number < len(task.classes) else str(number)
