"""Plans which byte ranges of one file to ask for, so that neighbours share a request.

Pure: nothing is read here. Every given range is served by exactly one merged range, which holds
all of it; the answer depends on the ranges alone, not on their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MergedRange:
    """Bytes [start, end) of a file, read at once.

    Attributes
    ----------
    start, end
        In bytes; `end` is not included.
    members
        Positions, in the given sequence, of the ranges that it serves, by their start.
    """

    start: int
    end: int
    members: tuple[int, ...]


def merge_ranges(
    ranges: Sequence[tuple[int, int]], max_gap: int, max_bytes: int
) -> list[MergedRange]:
    """Merge ranges that lie close together.

    Parameters
    ----------
    ranges
        (start, end) in bytes, `end` not included; any order; they may overlap or be empty.
    max_gap
        Bytes that nobody asked for and that may be read to save a request.
    max_bytes
        Length of the longest merged range. A single range that is longer is served by itself,
        and by it whatever lies inside it.

    Returns
    -------
    list of MergedRange
        By their start.

    Raises
    ------
    ValueError
        When a range ends before it starts, or a limit is negative.
    """
    if max_gap < 0 or max_bytes < 0:
        raise ValueError(f"limits are 0 or more, got gap {max_gap} and {max_bytes} bytes")
    merged: list[MergedRange] = []
    start = end = 0
    members: list[int] = []
    for at in sorted(range(len(ranges)), key=lambda position: (*ranges[position], position)):
        first, last = ranges[at]
        if not 0 <= first <= last:
            raise ValueError(f"bytes {first} to {last} are no range")
        fits = last <= end or last - start <= max_bytes
        if members and first - end <= max_gap and fits:
            end = max(end, last)
            members.append(at)
            continue
        if members:
            merged.append(MergedRange(start, end, tuple(members)))
        start, end, members = first, last, [at]
    if members:
        merged.append(MergedRange(start, end, tuple(members)))
    return merged
