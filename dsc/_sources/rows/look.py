"""What all rows of a column say of it: which have a value, and the lengths of their lists.

Where the statistics of Parquet say enough, nothing is read. Otherwise a column is read once, a row
group at a time; of files in a column (bytes and path) as little as tells which are there.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._sources.rows.arrow import arrow, is_file, is_list, is_number
from dsc._sources.rows.groups import Rows, known_valid

Mask = NDArray[np.bool_]


@dataclass
class Facts:
    """What is known of a column's rows.

    Attributes
    ----------
    valid
        Which rows have a value, (N,) bool; None where all have.
    lengths
        Smallest and largest length of lists, by depth; None where lists differ inside of a row,
        or some number in them is missing.
    low, high
        Smallest and largest moment, in the column's own counts.
    """

    valid: Mask | None = None
    lengths: list[tuple[int, int]] | None = field(default_factory=list)
    low: int = 0
    high: int = 0

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of the lists' numbers, -1 where it varies; None where they are no array."""
        if self.lengths is None:
            return None
        return tuple(low if low == high and high else -1 for low, high in self.lengths)


def look_at(rows: Rows, column: str, kind: Any) -> Facts:
    """Gather what a column's rows say, of a plain type.

    Raises
    ------
    SampleError
        When a row group that has to be read is damaged.
    """
    types = arrow().types
    facts, depth = Facts(), depth_of(kind)
    of_numbers = depth > 0 and is_number(leaf_of(kind))
    of_moments = bool(types.is_timestamp(kind) or types.is_date(kind))
    if not (of_numbers or of_moments) and known_valid(rows, column):
        return facts
    valid = np.zeros(len(rows), bool)
    for group, array in rows.scan(column):
        if array is None:
            continue
        valid[group.first : group.first + group.rows] = valid_of(array)
        if of_numbers:
            _add_lengths(facts, array, depth)
        elif of_moments:
            _add_range(facts, array)
    facts.valid = None if valid.all() else valid
    if of_numbers and facts.lengths is not None and len(facts.lengths) < depth:
        facts.lengths += [(0, 1)] * (depth - len(facts.lengths))  # all lists are empty
    return facts


def valid_of(array: Any) -> Mask:
    """Tell which rows of an array have a value; a file has one where it has bytes or a path."""
    if is_file(array.type):
        own = _mask(array)
        inner = [_mask(array.field(i)) for i in range(array.type.num_fields)]
        found: Mask = own & np.logical_or.reduce(inner)
        return found
    return _mask(array)


def _mask(array: Any) -> Mask:
    if array.null_count == 0 and not arrow().types.is_null(array.type):
        return np.ones(len(array), bool)
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), bool)


def depth_of(kind: Any) -> int:
    """Return how many lists deep the values of a plain type lie."""
    return 1 + depth_of(kind.value_type) if is_list(kind) else 0


def leaf_of(kind: Any) -> Any:
    """Return the type of what lies in the lists of a plain type."""
    return leaf_of(kind.value_type) if is_list(kind) else kind


def _add_lengths(facts: Facts, array: Any, depth: int) -> None:
    """Put the lengths of lists into the facts: they must be alike within a row."""
    if facts.lengths is None:
        return
    pc = arrow().compute
    array = array.drop_null()
    rows = np.arange(len(array))
    for level in range(depth):
        if array.null_count:
            facts.lengths = None
            return
        own = np.asarray(pc.list_value_length(array).to_numpy(zero_copy_only=False), np.int64)
        if len(own):
            if level and not _alike(own, rows):
                facts.lengths = None
                return
            low, high = int(own.min()), int(own.max())
            if level < len(facts.lengths):
                old = facts.lengths[level]
                facts.lengths[level] = min(low, old[0]), max(high, old[1])
            else:
                facts.lengths.append((low, high))
        rows = np.repeat(rows, own)
        array = array.flatten()
    if array.null_count:
        facts.lengths = None


def _alike(lengths: NDArray[np.int64], rows: NDArray[np.int64]) -> bool:
    """Tell whether lengths that belong to one row, rows in order, are alike."""
    same_row = rows[1:] == rows[:-1]
    return not bool(np.any(same_row & (lengths[1:] != lengths[:-1])))


def _add_range(facts: Facts, array: Any) -> None:
    pa = arrow()
    array = array.drop_null()
    if not len(array):
        return
    wide = pa.types.is_timestamp(array.type) or pa.types.is_date64(array.type)
    counts = array.cast(pa.int64() if wide else pa.int32())
    found = pa.compute.min_max(counts).as_py()
    facts.low, facts.high = min(facts.low, found["min"]), max(facts.high, found["max"])
