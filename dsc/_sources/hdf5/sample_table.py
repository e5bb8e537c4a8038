"""Which dataset, and which row of it, holds which task of which sample.

Two tables answer the same questions (`SampleTable`): `RowTable` where datasets have an axis of
samples, `FrameTable` where each sample has datasets of its own.
"""

import bisect
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dsc._files.passed_over import printable
from dsc._schemas.base import canonical_json
from dsc._sources.file_table import FileTable
from dsc._sources.keys import fit, natural_order, plain, split_rank
from dsc.errors import UsageError

INSIDE = "//"  # between a file's path and a dataset's: neither has two slashes in a row


class Cell(NamedTuple):
    """A dataset, and the row of it that is a sample's; None where it is the whole.

    `axis` is the one that counts samples: 1 for a MATLAB matrix of one row a sample.
    """

    file: str
    dataset: str
    row: int | None = None
    axis: int = 0


class SampleTable(Protocol):
    """The samples in order; see the module."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def key(self, index: int) -> str:
        """Return a sample's key."""
        ...

    def name(self, index: int) -> str:
        """Say where a sample lies, for people."""
        ...

    def files(self, index: int) -> dict[str, str]:
        """Return the file of each task; none where a file holds many samples."""
        ...

    def cell(self, index: int, task: str) -> Cell | None:
        """Return where a task of a sample lies, None where the sample lacks it."""
        ...

    def present(self, task: str) -> NDArray[np.bool_]:
        """Tell which samples have a task: (N,) bool."""
        ...

    def split_sizes(self) -> dict[str, int]:
        """Count the samples of each split, in order; empty where there are none."""
        ...

    def of_split(self, split: str) -> "SampleTable":
        """Return the table of one split's samples."""
        ...

    def digest(self) -> str:
        """Return a hash of everything listed."""
        ...


@dataclass(frozen=True)
class RowBlock:
    """Rows that follow one another.

    Attributes
    ----------
    file, group
        The file that names them, and the group in it.
    samples
        How many they are.
    cells
        By task, the dataset, without a row.
    split
        The split they are of.
    name
        What their keys begin with instead of the file's name, where several files make one part.
    """

    file: str
    group: str
    samples: int
    cells: Mapping[str, Cell]
    split: str = ""
    name: str | None = None

    @property
    def prefix(self) -> str:
        """What the keys of its rows begin with."""
        stem = (self.file.rpartition(".")[0] or self.file) if self.name is None else self.name
        parts = [part for part in (*stem.split("/"), *self.group.split("/")) if part]
        return fit("__".join(map(plain, parts)), 68) + "_" * bool(parts)

    @property
    def where(self) -> str:
        """Name it, for people."""
        return printable(f"{self.file}: /{self.group}" if self.group else self.file)


class RowTable:
    """Samples that are rows: part by part, split by split, in natural order.

    Raises
    ------
    UsageError
        When the keys of two parts would be equal.
    """

    def __init__(self, parts: Sequence[RowBlock]) -> None:
        self._parts = tuple(sorted((part for part in parts if part.samples), key=_order))
        self._ends = list(accumulate(part.samples for part in self._parts))
        seen: dict[str, RowBlock] = {}
        for part in self._parts:
            twin = seen.setdefault(part.prefix, part)
            if twin is not part:
                raise UsageError(
                    f"{twin.where} and {part.where} give their samples the same keys, "
                    f"{part.prefix}000000 and so on; rename one of them, or leave one out with "
                    f"--ignore '{printable(part.file)}'"
                )

    def __len__(self) -> int:
        """Return the number of samples over all parts."""
        return self._ends[-1] if self._ends else 0

    def key(self, index: int) -> str:
        """Return a sample's key: its file, group and row."""
        part, row = self._place(index)
        return f"{part.prefix}{row:06d}"

    def name(self, index: int) -> str:
        """Name a sample's file, group and row: ``train.h5#12``."""
        part, row = self._place(index)
        return f"{part.where}#{row}"

    def files(self, index: int) -> dict[str, str]:
        """Return no files: each holds many samples."""
        return {}

    def cell(self, index: int, task: str) -> Cell | None:
        """Return the dataset and row of a task."""
        part, row = self._place(index)
        cell = part.cells.get(task)
        return None if cell is None else cell._replace(row=row)

    def _place(self, index: int) -> tuple[RowBlock, int]:
        number = bisect.bisect_right(self._ends, index)
        part = self._parts[number]
        return part, index - (self._ends[number] - part.samples)

    def present(self, task: str) -> NDArray[np.bool_]:
        """Tell which samples have a task: (N,) bool."""
        counts = [part.samples for part in self._parts]
        return np.repeat(np.array([task in part.cells for part in self._parts], bool), counts)

    def split_sizes(self) -> dict[str, int]:
        """Count the samples of each split."""
        found: dict[str, int] = {}
        for part in self._parts:
            found[part.split] = found.get(part.split, 0) + part.samples
        return found if any(found) else {}

    def of_split(self, split: str) -> "RowTable":
        """Return one split's samples."""
        return RowTable([part for part in self._parts if part.split == split])

    def digest(self) -> str:
        """Return a hash of everything listed."""
        parts = [
            [printable(part.file), part.group, part.samples, part.split]
            + [[task, *map(str, cell)] for task, cell in sorted(part.cells.items())]
            for part in self._parts
        ]
        return hashlib.sha256(canonical_json(parts).encode("utf-8", "replace")).hexdigest()


def _order(part: RowBlock) -> tuple[int, str, tuple[str, str], tuple[str, str]]:
    return split_rank(part.split), part.split, natural_order(part.file), natural_order(part.group)


class FrameTable:
    """Samples with datasets of their own; paths of the table are ``file//dataset``."""

    def __init__(self, table: FileTable) -> None:
        self._table = table

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._table)

    def key(self, index: int) -> str:
        """Return a sample's key."""
        return self._table.key(index)

    def name(self, index: int) -> str:
        """Name a sample's file, or group of a file; where it has several, what they share."""
        stem, places = self._table.stem(index), set()
        for path in self._table.paths(index).values():
            file, _, dataset = path.rpartition(INSIDE)
            parts = dataset.split("/")
            inner = "/".join(parts[: parts.index(stem) + 1]) if stem in parts[:-1] else ""
            places.add(f"{file}: /{inner}" if inner else file)
        shared = places.pop() if len(places) == 1 else self._table.name(index)
        numbered = shared.rpartition(".")[0] and stem not in shared
        return printable(f"{shared}: {stem}" if numbered else shared)

    def files(self, index: int) -> dict[str, str]:
        """Return the file of each task."""
        paths = self._table.paths(index)
        return {task: printable(path.rpartition(INSIDE)[0]) for task, path in paths.items()}

    def cell(self, index: int, task: str) -> Cell | None:
        """Return a task's file and dataset."""
        path = self._table.path(index, task)
        if path is None:
            return None
        file, _, dataset = path.rpartition(INSIDE)
        return Cell(file, dataset)

    def present(self, task: str) -> NDArray[np.bool_]:
        """Tell which samples have a task: (N,) bool."""
        return self._table.files[task] >= 0

    def split_sizes(self) -> dict[str, int]:
        """Count the samples of each split."""
        return self._table.split_sizes()

    def of_split(self, split: str) -> "FrameTable":
        """Return one split's samples."""
        return FrameTable(self._table.select(self._table.rows_of_split(split)))

    def digest(self) -> str:
        """Return a hash of everything listed."""
        return self._table.digest()
