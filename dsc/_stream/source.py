"""One archive of a stream: which splits, tasks, packs and samples of it are read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dsc._pipeline.read.at_rate import streams_read
from dsc._pipeline.read.frame_index import FrameIndex
from dsc._pipeline.read.paths import find_tasks
from dsc._pipeline.read.selection import Selection, ShardFilter, all_of, choose, nothing_chosen
from dsc._pipeline.read.window import Windows, WindowSpec, no_window_complete
from dsc._schemas import LOSSY_NUMBERS, Task
from dsc._schemas.levels import Levels
from dsc._schemas.rate import Rate
from dsc._storage.files.root import Root
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc._stream.groups import group_starts
from dsc._stream.order import GroupOf, Ints
from dsc._stream.state import fingerprint
from dsc.errors import UnknownTaskError, UsageError

Mask = NDArray[np.bool_]
AT_A_TIME = 4096  # packs of which the chosen samples are listed, so that memory is bounded


@dataclass(frozen=True)
class StreamSource:
    """One archive of a stream, with what of it is read.

    Attributes
    ----------
    splits
        Those that are read.
    packs
        Those of the splits of which samples take part, and which do.
    tasks
        In the order asked for.
    streams
        Those that the tasks require; nothing else is read.
    is_selected
        Whether samples were chosen by more than splits and tasks.
    left_out
        How many samples that were chosen do not take part: they lack a task or a frame of their
        window, or could not be coded when the archive was made.
    windows
        Where each sample comes with frames around it.
    """

    archive: Archive
    splits: tuple[str, ...]
    packs: "PackIndex"
    tasks: tuple[Task, ...]
    streams: tuple[str, ...]
    is_selected: bool = False
    left_out: int = 0
    windows: Windows | None = None

    @classmethod
    def open(
        cls,
        url: str,
        tasks: Sequence[str] | str | None,
        selection: Selection | None = None,
        missing: str | None = None,
        timeout_s: float | None = None,
        rate: Rate = 1,
        window: WindowSpec | None = None,
        as_features: bool = False,
        levels: Levels | None = None,
    ) -> Self:
        """Open an archive.

        Parameters
        ----------
        selection
            Which samples are wanted; None for all. Without splits those of the only one.
        missing
            Which of them take part: with ``skip`` those that have all tasks; with ``error`` and
            ``none`` all but those that could not be coded when the archive was made (and were left
            out by ``--on-error skip``) and for that lack a task, or all tasks; with None all.
        timeout_s
            Seconds that a server may be silent; None for the default.
        rate
            The part of the frames of recordings that is read; other samples do not take part.
        window
            Of which frames each sample comes with; None for its own alone.
        as_features
            Whether None of `tasks` leaves out the pictures that others were computed from.
        levels
            How many of a task's levels are read, coarse first; None for all.

        Raises
        ------
        ArchiveNotFoundError, CorruptArchiveError, UnsupportedVersionError
            When it cannot be opened.
        UnknownTaskError, UsageError
            When it lacks a task or a split, or the selection cannot be made.
        """
        archive, names = find_tasks(Archive.open(Root(url, timeout_s=timeout_s)), tasks)
        known = {task.name: task for task in archive.manifest.tasks}
        if as_features:
            names = _for_heads(names, archive, is_named=tasks is not None)
        if not names:
            raise UnknownTaskError(f"{archive.root.url}: no task to read; found: {list(known)}")
        selection = selection or Selection()
        splits = choose_splits(archive, selection.splits)
        selection = replace(selection, splits=splits)
        archive, streams, at_rate = streams_read(archive, names, rate, levels)
        own = tuple(known[name] for name in names)
        packs, left_out = PackIndex.of(archive, splits), 0
        windows = None if window is None else Windows.open(archive, window, own)
        complete = None if missing is None else _Complete.of(archive, names, missing)
        whole = None if windows is None else windows.filter(archive)
        left = _Left(complete, whole) if complete is not None or whole is not None else None
        both = all_of(at_rate, left)
        if both is not None or not selection.is_whole:
            reader = PackReader(archive)
            packs = packs.among(choose(archive, reader, selection, both))
            left_out = 0 if left is None else left.dropped
            if not len(packs.counts) and whole is not None and left_out:
                raise no_window_complete(archive)
            if not len(packs.counts) and not left_out:
                raise nothing_chosen(archive, selection, reader)
        is_selected = at_rate is not None or whole is not None or not selection.is_whole
        return cls(archive, splits, packs, own, streams, is_selected, left_out, windows)

    @cached_property
    def all_packs(self) -> "PackIndex":
        """All packs of the splits, also those of which no sample takes part."""
        return PackIndex.of(self.archive, self.splits)

    @property
    def samples(self) -> int:
        """How many samples take part."""
        return int(self.packs.counts.sum())

    @property
    def pack_bytes(self) -> float:
        """Mean bytes of a pack, all streams that are read together."""
        shards = [shard for shard in self.archive.shards if shard.split in self.splits]
        whole = sum(shard.streams[name].bytes for shard in shards for name in self.streams)
        packs = sum(-(-shard.samples // self.archive.manifest.pack_size) for shard in shards)
        return whole / max(packs, 1)

    @property
    def frame_bytes(self) -> int:
        """The most bytes that the decoded maps and feature maps of a sample take, about."""
        pixels = self.archive.manifest.max_pixels
        return sum(
            task.most_values(pixels) * (np.dtype(task.dtype).itemsize if task.is_physical else 4)
            for task in self.tasks
            if task.is_spatial
        )

    @property
    def pack_samples(self) -> int:
        """How many samples a pack has that take part, rounded up: the mean where not all do."""
        if not self.is_selected:
            return self.archive.manifest.pack_size
        return -(-self.samples // max(len(self.packs.counts), 1))

    @property
    def lacks_some(self) -> bool:
        """Whether some sample of the archive lacks one of the tasks."""
        return any(self.archive.may_lack(task.name) for task in self.tasks)

    def lacking_tasks(self) -> frozenset[str]:
        """Name the tasks that some sample lacks."""
        return frozenset(task.name for task in self.tasks if self.archive.may_lack(task.name))

    def fingerprint(self) -> int:
        """Hash what the order of its samples depends on: not the tasks, unless some are skipped."""
        parts = [
            self.archive.manifest.plan_sha256,
            self.archive.manifest.pack_size,
            self.splits[0] if len(self.splits) == 1 else self.splits,
            [shard.samples for shard in self.archive.shards if shard.split in self.splits],
        ]
        if self.is_selected:
            return fingerprint(*parts, "selection", self.packs.digest())
        return fingerprint(*parts, self.packs.partial())

    @cached_property
    def group_of(self) -> GroupOf:
        """What says which samples are decoded together; the keys files are read for it.

        Raises
        ------
        UsageError
            When the archive knows no recordings.
        """
        frames = self.frames
        if not frames.names:
            raise UsageError(
                f"{self.archive.root.url}: shuffle='group' is of the frames of recordings, and "
                "this archive knows none: take shuffle=True, or compress the data again, with "
                "--sequence-by where dsc finds no recordings by itself (docs/recordings.md)"
            )
        return PackGroups(self.packs, group_starts(self.archive, frames))

    @cached_property
    def frames(self) -> FrameIndex:
        """Where its samples stand in recordings."""
        return FrameIndex.read(self.archive) if self.windows is None else self.windows.frames

    def in_this_process(self) -> Self:
        """Return the same with connections of its own: those of a parent must not be used."""
        return replace(self, archive=self.archive.fresh())


@dataclass(frozen=True)
class PackIndex:
    """The packs of some splits of an archive, in order, from their records alone.

    Attributes
    ----------
    shard, pack
        For each: its shard in the archive, and its number in that shard.
    first
        Index in the archive of its first sample.
    counts
        How many of its samples take part.
    at
        For packs of which not all do: where in `kept` those stand that do; -1 for the others.
    kept
        Places in their packs of these samples.
    """

    shard: Ints
    pack: Ints
    first: Ints
    counts: Ints
    at: Ints
    kept: NDArray[np.int32]

    @classmethod
    def of(cls, archive: Archive, splits: Sequence[str]) -> "PackIndex":
        """List all packs of some splits; every sample takes part."""
        size = archive.manifest.pack_size
        numbers = [i for i, record in enumerate(archive.shards) if record.split in splits]
        samples = np.array([record.samples for record in archive.shards], np.int64)
        begins = np.concatenate([[0], np.cumsum(samples)])
        packs = -(-samples[numbers] // size)
        shard = np.repeat(np.asarray(numbers, np.int64), packs)
        pack = np.arange(len(shard)) - np.repeat(np.cumsum(packs) - packs, packs)
        counts = np.minimum(samples[shard] - pack * size, size)
        first = begins[shard] + pack * size
        return cls(shard, pack, first, counts, np.full(len(shard), -1), np.zeros(0, np.int32))

    def among(self, chosen: Mask) -> "PackIndex":
        """Leave out samples, and packs of which none is left.

        Parameters
        ----------
        chosen
            Which samples of the archive take part; none of another split.
        """
        counts = np.add.reduceat(chosen, self.first, dtype=np.int64)
        used = np.flatnonzero(counts)
        partial = used[counts[used] < self.counts[used]]
        at = np.full(len(counts), -1)
        at[partial] = np.cumsum(counts[partial]) - counts[partial]
        kept = [
            self._kept(chosen, partial[start : start + AT_A_TIME])
            for start in range(0, len(partial), AT_A_TIME)
        ]
        return PackIndex(
            self.shard[used], self.pack[used], self.first[used], counts[used], at[used],
            np.concatenate([*kept, np.zeros(0, np.int32)]),
        )  # fmt: skip

    def _kept(self, chosen: Mask, packs: Ints) -> NDArray[np.int32]:
        """Return the places of the chosen samples of some packs, one after the other."""
        counts = self.counts[packs]
        places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        kept: NDArray[np.int32] = places[
            chosen[np.repeat(self.first[packs], counts) + places]
        ].astype(np.int32)
        return kept

    def places(self, packs: Ints, ordinals: Ints) -> Ints:
        """Turn ordinals among the samples that take part into places in their packs."""
        if not len(self.kept):
            return ordinals
        at = self.at[packs]
        return np.where(at < 0, ordinals, self.kept[np.where(at < 0, 0, at + ordinals)])

    def partial(self) -> list[tuple[int, list[int]]]:
        """List the packs of which not all samples take part, and which do."""
        numbers = np.flatnonzero(self.at >= 0).tolist()
        return [(n, self.kept[self.at[n] : self.at[n] + self.counts[n]].tolist()) for n in numbers]

    def digest(self) -> str:
        """Hash which samples take part."""
        found = hashlib.sha256()
        for part in (self.first, self.counts, self.at, self.kept):
            found.update(part.astype("<i8").tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class PackGroups:
    """Says which samples that take part are of one group.

    Attributes
    ----------
    packs
        What the numbers of packs and the ordinals are of.
    starts
        For each sample of the archive the first one of its group.
    """

    packs: PackIndex
    starts: Ints

    def __call__(self, pack: Ints, ordinal: Ints) -> Ints:
        """Return a number of the group of each sample."""
        found: Ints = self.starts[self.packs.first[pack] + self.packs.places(pack, ordinal)]
        return found


def choose_splits(archive: Archive, splits: tuple[str, ...] | None) -> tuple[str, ...]:
    """Find the splits to read: the named ones, or the only one.

    Raises
    ------
    UsageError
        When one is not there, or there are several and none is named.
    """
    found = list(archive.manifest.splits)
    if splits is None and len(found) == 1:
        return (found[0],)
    odd = [name for name in splits or () if name not in found]
    if splits is None or odd:
        problem = f"no split {odd[0]!r}" if odd else "say which split to read, split=..."
        raise UsageError(f"{archive.root.url}: {problem}; found: {', '.join(found)}")
    return splits


class _Left:
    """Leaves what several filters leave, and counts the others."""

    def __init__(self, *filters: ShardFilter | None) -> None:
        self._filters = [one for one in filters if one is not None]
        self._dropped: dict[int, int] = {}  # by shard, for shards are looked at side by side

    @property
    def dropped(self) -> int:
        """How many samples were left out."""
        return sum(self._dropped.values())

    def __call__(self, shard: int, left: Mask) -> Mask:
        kept = left
        for one in self._filters:
            kept = one(shard, kept)
        self._dropped[shard] = int(left.sum() - kept.sum())
        return kept


class _Complete:
    """Leaves the samples that have their tasks, as `StreamSource.open` says.

    Only the tables of packs are read, and only in shards that miss something.
    """

    def __init__(self, archive: Archive, tasks: Sequence[str], missing: str) -> None:
        self._archive, self._tasks, self._missing = archive, tasks, missing
        self._reader = PackReader(archive)

    @classmethod
    def of(cls, archive: Archive, tasks: Sequence[str], missing: str) -> "Self | None":
        """Return it for some tasks; None where it would leave every sample."""
        lacking = [name for name in tasks if archive.may_lack(name)]
        failed = any(shard.failed for shard in archive.shards)
        if not lacking or (missing != "skip" and not failed):
            return None
        return cls(archive, tasks, missing)

    def __call__(self, shard: int, left: Mask) -> Mask:
        record = self._archive.shards[shard]
        names = [
            self._archive.carriers(task)
            for task in self._tasks
            if self._archive.may_lack(task, shard)
        ]
        if not names or (self._missing != "skip" and not record.failed):
            return left
        if self._missing == "none" and len(names) < len(self._tasks):
            return left  # every sample has something
        lacks = np.stack([self._lacks(shard, one, left) for one in names])
        together = np.logical_and if self._missing == "none" else np.logical_or
        drop: Mask = together.reduce(lacks)
        if self._missing != "skip":
            failed = frozenset(sample.key for sample in record.failed)
            drop &= np.array([key in failed for key in self._archive.keys(shard)], bool)
        kept: Mask = left & ~drop
        return kept

    def _lacks(self, shard: int, carriers: Sequence[str], left: Mask) -> Mask:
        """Return which samples lack a task; of packs of which none is wanted nothing is read."""
        size = self._archive.manifest.pack_size
        packs = range(self._archive.n_packs(shard))
        wanted = [pack for pack in packs if left[pack * size :][:size].any()]

        def missing(pack: int) -> Mask:
            found = [self._reader.missing(shard, name, pack) for name in carriers]
            lacking: Mask = np.logical_and.reduce(found)
            return lacking

        found = np.zeros(len(left), bool)
        for pack, one in zip(wanted, self._reader.each(missing, wanted), strict=True):
            found[pack * size :][: len(one)] = one
        return found


def _for_heads(names: Sequence[str], archive: Archive, is_named: bool) -> tuple[str, ...]:
    """Return the tasks that heads on features are trained with.

    Raises
    ------
    UsageError
        When there are no features among them.
    """
    tasks = [task for task in archive.manifest.tasks if task.name in names]
    if not any(task.kind in LOSSY_NUMBERS for task in tasks):
        raise UsageError(
            f"{archive.root.url}: decode='features': {', '.join(names)} are no feature maps and no "
            "embeddings; `dsc append --features` computes some, or take decode='pixels'"
        )
    seen = {task.extractor.of for task in tasks if task.extractor is not None}
    return tuple(name for name in names if is_named or name not in seen)
