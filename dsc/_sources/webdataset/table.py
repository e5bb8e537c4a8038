"""Which bytes of which tar hold which field of which sample, as arrays: small enough for millions.

A field is an ending in small letters (``jpg``, ``seg.png``), a sample's name is the path before its
first dot. A sample costs its name plus 20 bytes, a file of it 18 bytes.
"""

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsc._sources.keys import group_prefix, join_key
from dsc.errors import UsageError

MOST_FIELDS = 256


class Cell(NamedTuple):
    """A file in a tar.

    Attributes
    ----------
    tar
        Number of the tar.
    start, size
        Where it lies in it, in bytes.
    ending
        As the tar spells it.
    """

    tar: int
    start: int
    size: int
    ending: str


@dataclass(frozen=True, eq=False)
class Column:
    """The files of one field: (N,) each; a size of -1 where a sample has none."""

    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    endings: NDArray[np.int16]

    def digest_into(self, sha: "hashlib._Hash") -> None:
        """Add it to a hash."""
        for values, dtype in ((self.starts, "<i8"), (self.sizes, "<i8"), (self.endings, "<i2")):
            sha.update(values.astype(dtype).tobytes())


@dataclass(frozen=True, eq=False)
class TarTable:
    """Samples in the order of their tars.

    Attributes
    ----------
    tars
        Paths of the tars.
    counts
        Samples of each tar.
    names, ends
        All names one after the other in UTF-8, and (N + 1,) int64 where each begins.
    endings
        Spellings of endings.
    columns
        By field.
    orders, order
        Fields in the order in which samples have them, and (N,) int32: which order each has.
    prefixes
        Of each tar, what is put before the names of its samples; empty strings where names are
        unique over all tars.
    """

    tars: tuple[str, ...]
    counts: tuple[int, ...]
    names: bytes
    ends: NDArray[np.int64]
    endings: tuple[str, ...]
    columns: dict[str, Column]
    orders: tuple[tuple[str, ...], ...]
    order: NDArray[np.int32]
    prefixes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tar_ends", np.cumsum(self.counts, dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.order)

    def tar(self, index: int) -> int:
        """Return the number of the tar that a sample lies in."""
        ends: NDArray[np.int64] = self.__dict__["_tar_ends"]
        return int(np.searchsorted(ends, index, side="right"))

    def own_name(self, index: int) -> str:
        """Return a sample's name as its tar has it."""
        return _text(self.names[self.ends[index] : self.ends[index + 1]])

    def name(self, index: int) -> str:
        """Return a sample's name, unique over all tars."""
        prefix = self.prefixes[self.tar(index)] if self.prefixes else ""
        return prefix + self.own_name(index)

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        directory, _, stem = self.name(index).rpartition("/")
        return join_key(group_prefix(directory), stem)

    def cell(self, index: int, name: str) -> Cell | None:
        """Return where a field of a sample lies, None where the sample lacks it."""
        column = self.columns[name]
        size = int(column.sizes[index])
        if size < 0:
            return None
        ending = self.endings[column.endings[index]]
        return Cell(self.tar(index), int(column.starts[index]), size, ending)

    def fields(self, index: int) -> tuple[str, ...]:
        """Return the fields of a sample, in the order in which its tar has them."""
        return self.orders[self.order[index]]

    def present(self, name: str) -> NDArray[np.bool_]:
        """Tell which samples have a field: (N,) bool."""
        return self.columns[name].sizes >= 0

    def rows(self, name: str, count: int) -> list[int]:
        """Return some samples that have a field: spread over all, of every spelling and tar form.

        Those with the smallest and the largest file are among them, so that files of several sizes
        are seen.
        """
        column = self.columns[name]
        rows = np.flatnonzero(column.sizes >= 0)
        if len(rows) <= count:
            return [int(row) for row in rows]
        spread = np.linspace(0, len(rows) - 1, count).astype(np.int64)
        spread[1:-1] += np.arange(count - 2) % 2
        firsts = np.unique(column.endings[rows], return_index=True)[1][:count]
        sizes = column.sizes[rows]
        chosen = np.unique([*spread, *firsts, int(sizes.argmin()), int(sizes.argmax())])
        return [int(rows[at]) for at in chosen]

    def select(self, rows: NDArray[np.int64]) -> "TarTable":
        """Return the table of these samples only, in their order."""
        tars = np.searchsorted(self.__dict__["_tar_ends"], rows, side="right")
        names = [self.names[self.ends[row] : self.ends[row + 1]] for row in rows]
        columns = {
            name: Column(one.starts[rows], one.sizes[rows], one.endings[rows])
            for name, one in self.columns.items()
        }
        return replace(
            self,
            counts=tuple(np.bincount(tars, minlength=len(self.tars)).tolist()),
            names=b"".join(names),
            ends=_ends(names),
            columns=columns,
            order=self.order[rows],
        )

    def without(self, fields: Sequence[str]) -> "TarTable":
        """Return the table without these fields, and without samples that had no other."""
        kept = replace(
            self,
            columns={name: one for name, one in self.columns.items() if name not in fields},
            orders=tuple(
                tuple(name for name in order if name not in fields) for order in self.orders
            ),
        )
        left = np.zeros(len(self), bool)
        for name in kept.columns:
            left |= kept.present(name)
        return kept if left.all() else kept.select(np.flatnonzero(left))

    def digest(self) -> str:
        """Return a hash of everything listed: two equal digests mean the same names and files."""
        known = (self.tars, self.counts, self.endings, self.orders, self.prefixes)
        sha = hashlib.sha256(_bytes(repr((*known, sorted(self.columns)))))
        sha.update(self.names + self.ends.astype("<i8").tobytes())
        sha.update(self.order.astype("<i4").tobytes())
        for _, column in sorted(self.columns.items()):
            column.digest_into(sha)
        return sha.hexdigest()

    def where(self, index: int) -> str:
        """Say in which tar a sample lies, and under which name, for people."""
        return f"{self.tars[self.tar(index)]}: {self.own_name(index)}"

    def twins(self) -> tuple[int, int] | None:
        """Return two samples of one name; None where there are none."""
        hashes = np.fromiter(
            (hash(self.name(row)) for row in range(len(self))), np.int64, len(self)
        )
        order = np.argsort(hashes, kind="stable")
        for at in np.flatnonzero(hashes[order][1:] == hashes[order][:-1]).tolist():
            first, second = sorted((int(order[at]), int(order[at + 1])))
            if self.name(first) == self.name(second):
                return first, second
        return None


class TableBuilder:
    """Collects samples tar by tar, and makes the table of them."""

    def __init__(self) -> None:
        self._tars: list[str] = []
        self._counts: list[int] = []
        self._names: list[bytes] = []
        self._endings: dict[str, int] = {}
        self._orders: dict[tuple[str, ...], int] = {}
        self._order = array("i")
        # by field: rows, starts, sizes, endings
        self._cells: dict[str, tuple[array[int], array[int], array[int], array[int]]] = {}

    def begin_tar(self, path: str) -> None:
        """Go to the next tar."""
        self._tars.append(path)
        self._counts.append(0)

    def add(self, name: str, files: Sequence[tuple[str, int, int]]) -> None:
        """Add a sample of the tar: of each of its files the ending, where it lies, its size.

        Raises
        ------
        UsageError
            When the endings of all samples are too many to be fields.
        """
        row = len(self._names)
        self._names.append(_bytes(name))
        self._counts[-1] += 1
        order = tuple(ending.lower() for ending, _, _ in files)
        self._order.append(self._orders.setdefault(order, len(self._orders)))
        for (ending, start, size), known in zip(files, order, strict=True):
            cells = self._cells.get(known)
            if cells is None:
                self._check_fields(name, ending)
                cells = self._cells[known] = (array("q"), array("q"), array("q"), array("h"))
            number = self._endings.setdefault(ending, len(self._endings))
            for values, value in zip(cells, (row, start, size, number), strict=True):
                values.append(value)

    def _check_fields(self, name: str, ending: str) -> None:
        if len(self._cells) >= MOST_FIELDS:
            some = ", ".join(list(self._cells)[-4:])
            raise UsageError(
                f"{self._tars[-1]}: more than {MOST_FIELDS} endings ({some}, {ending} of {name}): "
                "a sample's name ends at the first dot of its files' names, and all behind it is a "
                "field; write names without dots"
            )

    def build(self, prefixes: Sequence[str] = ()) -> TarTable:
        """Make the table; `prefixes` are put before the names of each tar's samples."""
        return TarTable(
            tars=tuple(self._tars),
            counts=tuple(self._counts),
            names=b"".join(self._names),
            ends=_ends(self._names),
            endings=tuple(self._endings),
            columns={name: self._column(cells) for name, cells in sorted(self._cells.items())},
            orders=tuple(self._orders),
            order=np.array(self._order, np.int32),
            prefixes=tuple(prefixes),
        )

    def _column(self, cells: tuple["array[int]", ...]) -> Column:
        count = len(self._names)
        rows = np.frombuffer(cells[0], np.int64)
        starts, sizes = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
        endings = np.full(count, -1, np.int16)
        starts[rows], sizes[rows] = (
            np.frombuffer(cells[1], np.int64),
            np.frombuffer(cells[2], np.int64),
        )
        endings[rows] = np.frombuffer(cells[3], np.int16)
        return Column(starts, sizes, endings)


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")  # a name in a tar need not be valid UTF-8


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _ends(names: Sequence[bytes]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, names)], dtype=np.int64)
