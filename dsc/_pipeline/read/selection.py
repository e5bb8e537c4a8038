"""Which samples of an archive are wanted: by split, condition, key, index, hash and number.

What is chosen is a mask over all samples of the archive, so that it costs a byte a sample
whatever was asked for. Columns and keys are read shard by shard, side by side over a network, and
only as far as a limit needs them.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from dsc._columns.column import Ints, Mask, sample_values
from dsc._columns.where import Predicate, Where
from dsc._hashing import splitmix64
from dsc._pipeline.read.columns import ArchiveColumns
from dsc._storage.files.root import CONNECTIONS
from dsc._storage.format.keys import hash_keys
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc.errors import UnknownSampleError, UsageError

ShardFilter = Callable[[int, Mask], Mask]
Subset = float | tuple[float, str | int]
AT_A_TIME = 32  # shards that are looked at side by side, where nobody wants the first ones only
FEW = 8  # shards of a local archive that are no work for threads
MOST_THREADS = 4
LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was asked for; everything that is given must hold.

    Attributes
    ----------
    splits
        Names of splits; None for all.
    where
        See `Where`.
    keys, indices
        The samples themselves, each once; `indices` count all samples of the archive.
    subset
        Fraction of the samples, above 0 to 1, and what else decides which.
    limit
        At most so many, the first ones.

    Raises
    ------
    UsageError
        When one of them cannot be read.
    """

    splits: tuple[str, ...] | None = None
    where: Where | None = None
    keys: tuple[str, ...] | None = None
    indices: Ints | None = field(default=None, compare=False)
    subset: tuple[float, str] | None = None
    limit: int | None = None

    @classmethod
    def of(
        cls,
        split: str | Sequence[str] | None = None,
        where: str | Predicate | None = None,
        keys: Iterable[str] | str | None = None,
        indices: Iterable[int] | None = None,
        subset: Subset | None = None,
        limit: int | None = None,
    ) -> Self:
        """Read what a user gave."""
        return cls(
            splits=None if split is None else _splits(split),
            where=None if where is None else Where(where),
            keys=None if keys is None else _keys(keys),
            indices=None if indices is None else _indices(indices),
            subset=None if subset is None else _subset(subset),
            limit=None if limit is None else _limit(limit),
        )

    @property
    def is_whole(self) -> bool:
        """Whether all samples of the splits are wanted."""
        asked = (self.where, self.keys, self.indices, self.subset, self.limit)
        return all(one is None for one in asked)

    @property
    def has_order(self) -> bool:
        """Whether samples were named one by one, in an order of its own."""
        return self.keys is not None or self.indices is not None

    def __str__(self) -> str:
        asked = [str(self.where)] if self.where is not None else []
        if self.keys is not None:
            asked.append(f"keys= ({len(self.keys)})")
        if self.indices is not None:
            asked.append(f"indices= ({len(self.indices)})")
        if self.subset is not None:
            asked.append(f"subset={self.subset[0]}")
        if self.limit is not None:
            asked.append(f"limit={self.limit}")
        return ", ".join(asked)

    def order(self, archive: Archive, chosen: Mask) -> Ints:
        """Return the indices of what was chosen, in the order that they were asked for.

        That is the order of `indices` or `keys`, and otherwise the archive's.
        """
        if self.indices is not None:
            return self.indices[chosen[self.indices]]
        found = np.flatnonzero(chosen)
        if self.keys is None:
            return found
        at = {archive.key(index): index for index in found.tolist()}
        return np.array([at[key] for key in self.keys if key in at], np.int64)


def all_of(*filters: ShardFilter | None) -> ShardFilter | None:
    """Return what leaves the samples that all filters leave; None where there are none."""
    given = [one for one in filters if one is not None]

    def left_by_all(shard: int, left: Mask) -> Mask:
        for one in given:
            left = one(shard, left)
        return left

    return left_by_all if given else None


def choose(
    archive: Archive,
    reader: PackReader,
    selection: Selection,
    more: ShardFilter | None = None,
    among: Mask | None = None,
) -> Mask:
    """Choose samples of an archive.

    Parameters
    ----------
    reader
        Reads its packs.
    more
        What else must hold: given a shard and which of its samples are chosen, (n,), it gives which
        of these remain. It comes last, before the limit.
    among
        Which samples may be chosen, (all samples of the archive,); None for all.

    Returns
    -------
    array
        Which samples are chosen, (all samples of the archive,).

    Raises
    ------
    UsageError
        When there is no such split, column, key or index, or nothing is chosen.
    """
    chosen = _of_splits(archive, selection.splits)
    if among is not None:
        chosen &= among
    if selection.indices is not None:
        chosen &= _of_indices(archive, selection, chosen)
    columns = ArchiveColumns(archive, reader)
    if selection.where is not None:
        selection.where.holds(columns.of(None))  # wrong names and kinds, before anything is read
    found_keys: set[str] = set()
    filters: list[ShardFilter] = []
    if selection.keys is not None:
        filters.append(_KeyFilter(archive, frozenset(selection.keys), found_keys))
    if selection.subset is not None:
        filters.append(_SubsetFilter(archive, *selection.subset))
    if selection.where is not None:
        filters.append(_WhereFilter(columns, selection.where))
    if more is not None:
        filters.append(more)
    if filters:
        is_function = selection.where is not None and selection.where.is_function
        alone = is_function or (archive.root.local is not None and len(archive.shards) <= FEW)
        limit = None if selection.has_order else selection.limit
        _filter(archive, chosen, filters, limit, alone)
    if selection.keys is not None and len(found_keys) < len(selection.keys):
        _refuse_keys(archive, selection, found_keys)
    if selection.limit is not None:
        chosen = _limited(archive, selection, chosen)
    return chosen


def _filter(
    archive: Archive,
    chosen: Mask,
    filters: Sequence[ShardFilter],
    limit: int | None,
    alone: bool,
) -> None:
    """Take out of a mask what filters do not leave, shard by shard.

    Each `alone`, or some of them side by side, which a function of a user's is not made for.
    """

    def kept(shard: int) -> Mask:
        first = archive.start(shard)
        left: Mask = chosen[first : first + archive.shards[shard].samples]
        for one in filters:
            if not left.any():
                break
            left = one(shard, left)
        return left

    total = 0
    few = 1 if alone else MOST_THREADS
    groups = _groups(archive, chosen, few if alone or limit is not None else AT_A_TIME)
    for shards, results in _side_by_side(archive, kept, groups, alone):
        for shard, left in zip(shards, results, strict=True):
            first = archive.start(shard)
            chosen[first : first + len(left)] = left
            total += int(left.sum())
        if limit is not None and total >= limit:
            chosen[archive.start(shards[-1]) + archive.shards[shards[-1]].samples :] = False
            return


def _side_by_side(
    archive: Archive, call: Callable[[int], Mask], groups: Iterator[list[int]], alone: bool
) -> Iterator[tuple[list[int], list[Mask]]]:
    """Call a function for shards, those of a group side by side."""
    is_local = archive.root.local is not None
    if alone:
        yield from ((shards, [call(shard) for shard in shards]) for shards in groups)
        return
    if not is_local:
        archive.root.connect()  # once, not once a thread
    threads = min(os.cpu_count() or 1, MOST_THREADS) if is_local else CONNECTIONS
    with ThreadPoolExecutor(threads) as pool:  # readers wait in threads of their own
        yield from ((shards, list(pool.map(call, shards))) for shards in groups)


def _groups(archive: Archive, chosen: Mask, size: int) -> Iterator[list[int]]:
    """Yield the shards of which some samples are chosen, a few at a time."""
    group: list[int] = []
    for shard, record in enumerate(archive.shards):
        first = archive.start(shard)
        if chosen[first : first + record.samples].any():
            group.append(shard)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def nothing_chosen(
    archive: Archive, selection: Selection, reader: PackReader, among: Mask | None = None
) -> UsageError:
    """Return the error that says what there is, where nothing was chosen."""
    of = "" if selection.splits is None else f" of split {', '.join(selection.splits)}"
    splits = selection.splits or tuple(archive.manifest.splits)
    could = _of_splits(archive, selection.splits)
    count = int(could.sum() if among is None else (could & among).sum())
    text = f"{archive.root.url}: {selection} leaves none of the {count} samples{of}"
    if selection.where is None:
        return UsageError(text)
    columns = ArchiveColumns(archive, reader)
    shard = next(n for n, record in enumerate(archive.shards) if record.split in splits)
    of_shard = columns.of(shard)
    names = [name for name in selection.where.columns if name != "index"]
    held = "; ".join(sample_values(of_shard.column(name) for name in names))
    return UsageError(f"{text}; its first shard has {held}" if held else text)


# ---- what was asked for


def _splits(split: str | Sequence[str]) -> tuple[str, ...]:
    names = split.split(",") if isinstance(split, str) else list(split)
    if not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"split={split!r}: the name of a split, or several")
    return tuple(dict.fromkeys(name.strip() for name in names))


def _keys(keys: Iterable[str] | str) -> tuple[str, ...]:
    found = keys.split(",") if isinstance(keys, str) else list(keys)
    odd = next((key for key in found if not isinstance(key, str)), None)
    if odd is not None:
        raise UsageError(f"keys: {odd!r} is no key; keys are text, indices= takes numbers")
    found = [key.strip() for key in found]
    if not found:
        raise UsageError("keys: none is given")
    if len(set(found)) < len(found):
        raise UsageError(f"keys: {_twice(found)} is given twice; each sample is taken once")
    return tuple(found)


def _indices(indices: Iterable[int]) -> Ints:
    found = np.asarray(indices if hasattr(indices, "__array__") else list(indices))
    if found.dtype == bool:
        raise UsageError("indices: a mask; give np.flatnonzero(mask)")
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise UsageError(f"indices: whole numbers in a row, got {found.dtype} of {found.ndim} axes")
    if not found.size:
        raise UsageError("indices: none is given")
    found = found.astype(np.int64)
    if len(np.unique(found)) < len(found):
        raise UsageError(f"indices: {_twice(found.tolist())} is given twice; each is taken once")
    return found


def _twice(values: Sequence[Any]) -> Any:
    seen: set[Any] = set()
    return next(value for value in values if value in seen or seen.add(value))  # type: ignore[func-returns-value]


def _subset(subset: Subset) -> tuple[float, str]:
    fraction, seed = subset if isinstance(subset, tuple) and len(subset) == 2 else (subset, "")
    share = _real(fraction)
    if share is None or not 0 < share <= 1:
        raise UsageError(
            f"subset={subset!r}: a fraction above 0 and at most 1, or (fraction, seed)"
        )
    if not isinstance(seed, str | int):
        raise UsageError(f"subset={subset!r}: its seed is text or a whole number")
    return share, str(seed)


def _real(value: object) -> float | None:
    """Return a number; None where it is none, a truth value included."""
    is_number = isinstance(value, int | float | np.integer | np.floating)
    return float(value) if is_number and type(value) is not bool else None  # type: ignore[arg-type]


def _limit(limit: object) -> int:
    is_whole = isinstance(limit, int | np.integer) and type(limit) is not bool
    number = int(limit) if is_whole else 0  # type: ignore[call-overload]
    if number < 1:
        raise UsageError(f"limit={limit!r}: at least 1; leave it out for all samples")
    return number


# ---- what it means in an archive


def _of_splits(archive: Archive, splits: tuple[str, ...] | None) -> Mask:
    found = list(archive.manifest.splits)
    unknown = [name for name in splits or () if name not in found]
    if unknown:
        raise UsageError(f"{archive.root.url}: no split {unknown[0]!r}; found: {', '.join(found)}")
    chosen = np.ones(len(archive), bool)
    if splits is not None:
        for shard, record in enumerate(archive.shards):
            if record.split not in splits:
                first = archive.start(shard)
                chosen[first : first + record.samples] = False
    return chosen


def _of_indices(archive: Archive, selection: Selection, in_splits: Mask) -> Mask:
    indices = selection.indices
    found = np.zeros(len(archive), bool)
    if indices is None:
        return ~found
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= len(archive):
        odd = low if low < 0 else high
        raise UsageError(
            f"{archive.root.url}: indices: no sample {odd}; there are 0 to {len(archive) - 1}"
        )
    outside = indices[~in_splits[indices]]
    if len(outside):
        split = archive.shards[archive.locate(int(outside[0]))[0]].split
        raise UsageError(
            f"{archive.root.url}: indices: sample {outside[0]} is of split {split}, not of "
            f"{', '.join(selection.splits or ())}; indices count all samples of the archive"
        )
    found[indices] = True
    return found


def _limited(archive: Archive, selection: Selection, chosen: Mask) -> Mask:
    order = selection.order(archive, chosen)
    found = np.zeros(len(chosen), bool)
    found[order[: selection.limit]] = True
    return found


def _refuse_keys(archive: Archive, selection: Selection, found: set[str]) -> None:
    absent = [key for key in selection.keys or () if key not in found]
    some = ", ".join(repr(key) for key in absent[:LISTED])
    more = f" and {len(absent) - LISTED} more" if len(absent) > LISTED else ""
    of = "" if selection.splits is None else f" in split {', '.join(selection.splits)}"
    of += " among these indices" if selection.indices is not None else ""
    raise UnknownSampleError(
        f"{archive.root.url}: keys: no sample {some}{more}{of}; {_about_keys(archive, absent)}"
    )


def _about_keys(archive: Archive, absent: Sequence[str]) -> str:
    """Say where keys are listed, and that of a name of the source where one was given."""
    from dsc._sources.keys import group_prefix, join_key

    for name in absent[:LISTED]:
        group, _, stem = name.rpartition("/")
        key = join_key(group_prefix(group), stem)
        if key == name:
            continue
        try:
            archive.index_of(key)
        except UnknownSampleError:
            continue
        return (
            f"the source's {name!r} has the key {key!r}; names of the source are chosen by where="
        )
    return "`dsc ls` lists the keys"


class _KeyFilter:
    """Leaves the samples of some keys, and notes which were found."""

    def __init__(self, archive: Archive, wanted: frozenset[str], found: set[str]) -> None:
        self._archive, self._wanted, self._found = archive, wanted, found

    def __call__(self, shard: int, left: Mask) -> Mask:
        keys = self._archive.keys(shard)
        found = np.zeros(len(left), bool)
        if not self._wanted.isdisjoint(keys):
            found = left & np.fromiter((key in self._wanted for key in keys), bool, len(keys))
            self._found.update(keys[k] for k in np.flatnonzero(found))
        return found


class _SubsetFilter:
    """Leaves a fraction of the samples, by a hash of each key; part of every larger fraction.

    Subsets that people have published follow from it, so it never changes.
    """

    def __init__(self, archive: Archive, fraction: float, seed: str) -> None:
        self._archive, self._fraction = archive, fraction
        digest = hashlib.sha256(f"dsc subset {seed}".encode()).digest()
        self._factor = int.from_bytes(digest[:8], "little") | 1

    def __call__(self, shard: int, left: Mask) -> Mask:
        hashes = splitmix64(hash_keys(self._archive.keys(shard), self._factor))
        found = (hashes >> np.uint64(11)) < np.uint64(self._fraction * (1 << 53))
        both: Mask = np.logical_and(left, found)
        return both


class _WhereFilter:
    """Leaves the samples for which a condition holds."""

    def __init__(self, columns: ArchiveColumns, where: Where) -> None:
        self._columns, self._where = columns, where

    def __call__(self, shard: int, left: Mask) -> Mask:
        return left & self._where.holds(self._columns.of(shard), left)
