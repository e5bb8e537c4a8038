"""Values of a column for some samples.

Numbers are arrays. Everything else (text, names of classes, JSON) is *coded*: a table of values and
for each sample its place in the table, so that what is done to text is done once for each different
text. Which samples have a value at all stands beside it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
Plain = bool | int | float | str | None | tuple[Any, ...]

SHORT = 64
MOST_CELLS = 64 << 20


@dataclass(frozen=True)
class NumberColumn:
    """Numbers, one for each sample, or one array of them.

    Attributes
    ----------
    values
        (n,), or (n, ...) of what is no single number; anything where there is no value.
    there
        Which samples have a value, (n,).
    what
        What they are: ``number``, ``flag`` (true or false), ``class``, ``time`` (nanoseconds since
        1970); or how many ``bytes`` a file has, or 0 for a ``map``, which is not looked into.
    name
        Of the column, for messages.
    classes
        Names of the classes, where there are any; of an array those of its elements.
    """

    values: NDArray[Any]
    there: Mask
    what: str = "number"
    name: str = ""
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def has_names(self) -> bool:
        """Whether each number is a class that has a name."""
        return self.what == "class" and bool(self.classes)

    def value(self, k: int) -> Any:
        """Return the value of a sample as Python has it; None where there is none."""
        if not self.there[k] or self.what in ("bytes", "map"):
            return None
        found = self.values[k]
        if self.values.ndim > 1:
            return np.array(found)
        return found.item() if isinstance(found, np.generic) else found


@dataclass(frozen=True)
class TableColumn:
    """Values out of a table.

    Attributes
    ----------
    table
        The values; not empty.
    codes
        For each sample the place of its value in the table, (n,).
    there
        Which samples have a value, (n,).
    what
        What they are: ``text``, ``json``, or an ``array`` of a shape of its own.
    name
        Of the column, for messages.
    """

    table: Sequence[Any]
    codes: Ints
    there: Mask
    what: str
    name: str = ""

    def __len__(self) -> int:
        return len(self.codes)

    def value(self, k: int) -> Any:
        """Return the value of a sample; None where there is none."""
        return self.table[int(self.codes[k])] if self.there[k] else None

    def mapped(self, call: Callable[[Any], Any], what: str) -> "TableColumn":
        """Return what a call makes of each value; there is none where it gives None."""
        table = [call(value) for value in self.table]
        some = np.array([value is not None for value in table], bool)
        return TableColumn(table, self.codes, self.there & some[self.codes], what, self.name)

    def flags(self, call: Callable[[Any], bool]) -> NumberColumn:
        """Return for each sample whether its value is such; False where there is none."""
        found = np.fromiter((bool(call(value)) for value in self.table), bool, len(self.table))
        return flag(found[self.codes] & self.there)


Column = NumberColumn | TableColumn


def flag(values: Mask) -> NumberColumn:
    """Return truth values; they are known for every sample."""
    return NumberColumn(values, np.ones(len(values), bool), "flag")


def coded(values: Sequence[Any], what: str, name: str = "") -> TableColumn:
    """Return values, each in a place of its own; None is no value."""
    there = np.array([value is not None for value in values], bool)
    codes = np.arange(len(values), dtype=np.int64)
    return TableColumn(list(values) or [None], codes, there, what, name)


def described(value: "Column | Plain") -> str:
    """Say what something is, for a message."""
    if isinstance(value, TableColumn):
        kinds = {"text": "text", "json": "JSON", "array": "arrays of several shapes"}
        return f"{value.name or 'this'} is {kinds[value.what]}"
    if isinstance(value, NumberColumn):
        kinds = {
            "number": "a number",
            "flag": "true or false",
            "class": "a class",
            "time": "a time",
        }
        kinds |= {"bytes": "a file", "map": "a map"}
        if value.values.ndim > 1:
            shape = "×".join(map(str, value.values.shape[1:]))
            return f"{value.name or 'this'} is an array of {shape}"
        return f"{value.name or 'this'} is {kinds[value.what]}"
    if isinstance(value, str):
        return f"{value!r} is text"
    return f"{value!r} is a number" if isinstance(value, int | float) else f"{value!r} is a list"


def named(column: NumberColumn) -> TableColumn:
    """Return the names of classes; numbers without a name have none."""
    known = column.there & (column.values >= 0) & (column.values < len(column.classes))
    codes = np.where(known, column.values, 0).astype(np.int64)
    return TableColumn(column.classes, codes, known, "text", column.name)


def unique_blobs(data: NDArray[np.uint8], lengths: Ints) -> tuple[list[bytes], Ints]:
    """Find which of many byte strings are the same.

    Parameters
    ----------
    data
        All of them, back to back.
    lengths
        Of each, (n,).

    Returns
    -------
    list of bytes, array
        Those that differ, and for each of the n its place among them.
    """
    found = _unique_short(data, lengths)
    if found is not None:
        return found
    ends = np.cumsum(lengths).tolist()
    places: dict[bytes, int] = {}
    whole = data.tobytes()
    codes = [
        places.setdefault(whole[end - size : end], len(places))
        for end, size in zip(ends, lengths.tolist(), strict=True)
    ]
    return list(places), np.array(codes, np.int64)


def _unique_short(data: NDArray[np.uint8], lengths: Ints) -> tuple[list[bytes], Ints] | None:
    """Do that by a hash of each; None where they are long, or two have one hash."""
    longest = int(lengths.max(initial=0))
    if longest > SHORT or not longest or len(lengths) * SHORT > MOST_CELLS:
        return None
    cells = np.zeros((len(lengths), -(-longest // 8) * 8), np.uint8)
    cells[:, :longest][np.arange(longest) < lengths[:, None]] = data
    words = cells.view("<u8")
    hashes = lengths.astype(np.uint64)
    for word in words.T:
        hashes ^= word
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(32)
    _, first, codes = np.unique(hashes, return_index=True, return_inverse=True)
    at = first[codes]
    if (words != words[at]).any() or (lengths != lengths[at]).any():
        return None
    sizes = lengths[first].tolist()
    return [row.tobytes()[:size] for row, size in zip(cells[first], sizes, strict=True)], codes


def sample_values(columns: Iterable[Column], most: int = 8) -> list[str]:
    """Say what some columns hold, for a message."""
    return [f"{column.name}: {_some(column, most)}" for column in columns]


def _some(column: Column, most: int) -> str:
    known = np.flatnonzero(column.there)
    if not len(known):
        return "no sample here has it"
    if isinstance(column, NumberColumn) and column.has_names:
        column = named(column)
        known = np.flatnonzero(column.there)
    if isinstance(column, NumberColumn):
        values = column.values[known]
        if values.ndim > 1 or column.what in ("map", "bytes"):
            return described(column).partition(" is ")[2]
        if values.dtype.kind == "f" and not np.isnan(values).all():
            values = values[~np.isnan(values)]
        low, high = values.min(), values.max()
        return f"{low} to {high}" if low != high else f"{low}"
    found = dict.fromkeys(str(column.table[code])[:40] for code in column.codes[known].tolist())
    shown = [repr(text) for text in list(found)[:most]]
    return ", ".join(shown) + (", ..." if len(found) > most else "")
