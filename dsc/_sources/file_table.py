"""A table of which file holds which task of which sample, small enough for millions of files.

A file's path is ``head + stem + tail``, where (head, tail) is one of a few templates (a directory
and an ending) and the stem is its sample's. A sample costs its stem plus 12 bytes, a file 4 bytes.
(A file whose name has nothing of its sample's stem is a template of its own, and costs its path.)
Samples come in natural order (2 before 10) of group and stem, whatever order files were listed in,
split by split.
"""

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dsc._sources.keys import group_prefix, join_key, natural_order, split_rank
from dsc.errors import UsageError

KINDS_OF_FILES = 8  # of which a task has one looked at
WHOLE = "\0"  # the tail of a template whose head is the whole path: no path has this character


@dataclass(frozen=True, eq=False)
class FileTable:
    """Samples in order, and the file of each of their tasks.

    Attributes
    ----------
    groups
        Directory (or other) part that samples of one group share, as found.
    prefixes
        What the keys of a group begin with.
    group
        (N,) int32: the group of each sample.
    stems, ends
        All stems one after the other in UTF-8, and (N + 1,) int64 where each begins.
    templates
        (head, tail) pairs of paths.
    files
        By task, (N,) int32: the template of the sample's file, -1 where it has none.
    splits
        The split of each group, ``""`` where there is none.
    """

    groups: tuple[str, ...]
    prefixes: tuple[str, ...]
    group: NDArray[np.int32]
    stems: bytes
    ends: NDArray[np.int64]
    templates: tuple[tuple[str, str], ...]
    files: dict[str, NDArray[np.int32]]
    splits: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.group)

    def stem(self, index: int) -> str:
        """Return the part of a sample's file names that all its tasks share."""
        return _text(self.stems[self.ends[index] : self.ends[index + 1]])

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        return join_key(self.prefixes[self.group[index]], self.stem(index))

    def path(self, index: int, task: str) -> str | None:
        """Return the path of a sample's file, None when it lacks the task."""
        template = int(self.files[task][index])
        if template < 0:
            return None
        head, tail = self.templates[template]
        return head if tail == WHOLE else f"{head}{self.stem(index)}{tail}"

    def paths(self, index: int) -> dict[str, str]:
        """Return the path of each file of a sample, by task."""
        found = {task: self.path(index, task) for task in self.files}
        return {task: path for task, path in found.items() if path is not None}

    def name(self, index: int) -> str:
        """Return what the files of a sample are called: its group, if it has one, and its stem."""
        group = self.groups[self.group[index]]
        return f"{group}/{self.stem(index)}" if group else self.stem(index)

    def counts(self) -> dict[str, int]:
        """Count the files of each task."""
        return {task: int((column >= 0).sum()) for task, column in self.files.items()}

    def split_sizes(self) -> dict[str, int]:
        """Count the samples of each split, in order; empty where there are no splits."""
        if not any(self.splits):
            return {}
        counts = np.bincount(self.group, minlength=len(self.groups))
        found: dict[str, int] = {}
        for split, count in zip(self.splits, counts, strict=True):
            if count:
                found[split] = found.get(split, 0) + int(count)
        return found

    def rows_of_split(self, split: str) -> NDArray[np.int64]:
        """Return the rows of one split."""
        chosen = np.array([own == split for own in self.splits], bool)
        return np.flatnonzero(chosen[self.group])

    def some_paths(self, task: str, count: int) -> list[str]:
        """Return a few files of a task from which its meaning can be learned.

        They are spread over all, at even and odd places, for files of two kinds may take turns;
        where more than one is asked for, one of each of `KINDS_OF_FILES` directories and endings is
        among them.
        """
        rows = np.flatnonzero(self.files[task] >= 0)
        if len(rows) > count:
            spread = np.linspace(0, len(rows) - 1, count).astype(np.int64)
            spread[1:-1] += np.arange(count - 2) % 2 if count > 2 else 0
            alike = self.files[task][rows] if count > 1 else np.zeros(len(rows))
            firsts = np.unique(alike, return_index=True)[1]
            few = np.linspace(0, len(firsts) - 1, min(len(firsts), KINDS_OF_FILES)).astype(np.int64)
            rows = rows[np.unique([*spread, *firsts[few]])]
        return [path for row in rows if (path := self.path(int(row), task)) is not None]

    def without(self, tasks: Sequence[str]) -> "FileTable":
        """Return the table without these tasks, and without samples that had no other."""
        files = {task: column for task, column in self.files.items() if task not in tasks}
        kept = replace(self, files=files)
        left = np.zeros(len(self), bool)
        for column in files.values():
            left |= column >= 0
        return kept if left.all() else kept.select(np.flatnonzero(left))

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> "FileTable":
        """Return the table of these samples only, in this order."""
        rows = np.asarray(rows, np.int64)
        stems = [self.stems[self.ends[row] : self.ends[row + 1]] for row in rows]
        files = {task: column[rows] for task, column in self.files.items()}
        return FileTable(
            self.groups,
            self.prefixes,
            self.group[rows],
            b"".join(stems),
            _ends(stems),
            self.templates,
            {task: column for task, column in files.items() if (column >= 0).any()},
            self.splits,
        )

    def digest(self) -> str:
        """Return a hash of everything listed: two equal digests mean the same keys and files."""
        known = (self.groups, self.prefixes, self.templates, *([self.splits] * any(self.splits)))
        sha = hashlib.sha256(_bytes(repr(known)))
        sha.update(self.ends.astype("<i8").tobytes())
        for column in (self.group, *(self.files[task] for task in sorted(self.files))):
            sha.update(column.astype("<i4").tobytes())
        sha.update(self.stems + repr(sorted(self.files)).encode())
        return sha.hexdigest()


class TableBuilder:
    """Collects files in any order and makes the table of them.

    Attributes
    ----------
    twins
        By task, what is wrong where two files claim one sample; told by `build`.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, int]] = {}
        self._count = 0
        self._templates: dict[tuple[str, str], int] = {}
        self._cells: dict[str, tuple[array[int], array[int]]] = {}
        self._splits: dict[str, str] = {}
        self.twins: dict[str, str] = {}

    def add(self, group: str, stem: str, task: str, head: str, tail: str, split: str = "") -> None:
        """Note that the file ``head + stem + tail`` holds `task` of sample (`group`, `stem`).

        With the tail `WHOLE`, the head is the file's whole path. All samples of a group are of one
        split.
        """
        self._splits.setdefault(group, split)
        rows = self._rows.setdefault(group, {})
        row = rows.get(stem)
        if row is None:
            row = rows[stem] = self._count
            self._count += 1
        template = self._templates.setdefault((head, tail), len(self._templates))
        cells = self._cells.get(task)
        if cells is None:
            cells = self._cells[task] = (array("q"), array("i"))
        cells[0].append(row)
        cells[1].append(template)

    def build(self, key_tail: str = "", *, strict: bool = True) -> FileTable:
        """Make the table; `key_tail` follows the group's part in every key.

        Raises
        ------
        UsageError
            When two files claim the same task of the same sample, and `strict`.
        """
        groups = tuple(sorted(self._rows, key=self._order))
        new_row = np.empty(self._count, np.int64)
        stems: list[bytes] = []
        for group in groups:
            rows = self._rows[group]
            for stem in sorted(rows, key=natural_order):
                new_row[rows[stem]] = len(stems)
                stems.append(_bytes(stem))
        counts = [len(self._rows[group]) for group in groups]
        table = FileTable(
            groups,
            tuple(group_prefix(group) + key_tail for group in groups),
            np.repeat(np.arange(len(groups), dtype=np.int32), counts),
            b"".join(stems),
            _ends(stems),
            tuple(sorted(self._templates)),
            {},
            tuple(self._splits[group] for group in groups),
        )
        self._fill(table, new_row)
        if strict and self.twins:
            raise UsageError(next(iter(self.twins.values())))
        return table

    def counts(self) -> dict[str, int]:
        """Count the files of each task, twins and all."""
        return {task: len(rows) for task, (rows, _) in self._cells.items()}

    def _order(self, group: str) -> tuple[int, str, tuple[str, str]]:
        split = self._splits[group]
        return split_rank(split), split, natural_order(group)

    def _fill(self, table: FileTable, new_row: NDArray[np.int64]) -> None:
        rank = {template: place for place, template in enumerate(table.templates)}
        new_template = np.array([rank[template] for template in self._templates], np.int32)
        for task, (rows, used) in sorted(self._cells.items()):
            places = new_row[np.frombuffer(rows, np.int64)]
            chosen = new_template[np.frombuffer(used, np.int32)]
            column = table.files[task] = np.full(len(table), -1, np.int32)
            column[places] = chosen
            twins = _twins(table, task, places, chosen)
            if twins is not None:
                self.twins[task] = twins


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")  # a file name need not be valid UTF-8


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _ends(stems: Sequence[bytes]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, stems)], dtype=np.int64)


def _twins(
    table: FileTable, task: str, places: NDArray[np.int64], chosen: NDArray[np.int32]
) -> str | None:
    lost = np.flatnonzero(table.files[task][places] != chosen)
    if len(lost):
        row = int(places[lost[0]])
        head, tail = table.templates[chosen[lost[0]]]
        twin = head if tail == WHOLE else f"{head}{table.stem(row)}{tail}"
        return (
            f"{twin} and {table.path(row, task)} are both {task} of sample {table.key(row)}; "
            "remove one of them, leave it out with --ignore, or point --root at the directory that "
            "is meant"
        )
    return None
