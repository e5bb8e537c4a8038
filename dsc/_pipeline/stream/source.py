"""One archive of a stream: which split, tasks, packs and samples of it are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dsc._pipeline.stream.order import Ints
from dsc._pipeline.stream.state import fingerprint
from dsc._schemas import Task, carrying_streams, required_streams, resolve_tasks
from dsc._storage.files.root import Root
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc.errors import UnknownTaskError, UsageError

Lacks = NDArray[np.bool_]  # (tasks, samples) or (samples,): which sample lacks which task
Drop = Callable[[int, Lacks], Lacks]


@dataclass(frozen=True)
class StreamSource:
    """One archive of a stream, with what of it is read.

    Attributes
    ----------
    packs
        Those of the split, and which of their samples take part.
    tasks
        In the order asked for.
    streams
        Those that the tasks require; nothing else is read.
    """

    archive: Archive
    split: str
    packs: "PackIndex"
    tasks: tuple[Task, ...]
    streams: tuple[str, ...]

    @classmethod
    def open(
        cls,
        url: str,
        tasks: Sequence[str] | str | None,
        split: str | None,
        missing: str | None = None,
        timeout_s: float | None = None,
    ) -> Self:
        """Open an archive.

        Parameters
        ----------
        missing
            Which samples take part: with ``skip`` those that have all tasks; with ``error`` and
            ``none`` all but those that could not be coded when the archive was made (and were left
            out by ``--on-error skip``) and for that lack a task, or all tasks; with None all.
        timeout_s
            Seconds that a server may be silent; None for the default.

        Raises
        ------
        ArchiveNotFoundError, CorruptArchiveError, UnsupportedVersionError
            When it cannot be opened.
        UnknownTaskError, UsageError
            When it lacks a task or the split.
        """
        archive = Archive.open(Root(url, timeout_s=timeout_s))
        known = {task.name: task for task in archive.manifest.tasks}
        try:
            names = resolve_tasks(tasks, list(known))
        except UnknownTaskError as error:
            raise UnknownTaskError(f"{archive.root.url}: {error}") from None
        if not names:
            raise UnknownTaskError(f"{archive.root.url}: no task to read; found: {list(known)}")
        chosen = choose_split(archive, split)
        packs = PackIndex.of(archive, chosen)
        if missing is not None:
            carriers = [carrying_streams(archive.manifest.streams, name) for name in names]
            packs = _that_take_part(archive, packs, carriers, missing)
        streams = required_streams(archive.manifest.streams, names)
        return cls(archive, chosen, packs, tuple(known[name] for name in names), streams)

    @property
    def samples(self) -> int:
        """How many samples take part."""
        return int(self.packs.counts.sum())

    @property
    def left_out(self) -> int:
        """How many samples of the split do not."""
        whole = sum(shard.samples for shard in self.archive.shards if shard.split == self.split)
        return whole - self.samples

    @property
    def pack_bytes(self) -> float:
        """Mean bytes of a pack, all streams that are read together."""
        shards = [s for s in self.archive.shards if s.split == self.split]
        whole = sum(shard.streams[name].bytes for shard in shards for name in self.streams)
        return whole / max(len(self.packs.shard), 1)

    @property
    def lacks_some(self) -> bool:
        """Whether some sample of the archive lacks one of the streams."""
        return any(self.archive.manifest.totals[name].n_missing for name in self.streams)

    def lacking_tasks(self) -> frozenset[str]:
        """Name the tasks that some sample lacks."""
        totals, streams = self.archive.manifest.totals, self.archive.manifest.streams
        return frozenset(
            task.name
            for task in self.tasks
            if all(totals[name].n_missing for name in carrying_streams(streams, task.name))
        )

    def fingerprint(self) -> int:
        """Hash what the order of its samples depends on: not the tasks, unless some are skipped."""
        kept = {pack: places.tolist() for pack, places in self.packs.kept.items()}
        return fingerprint(
            self.archive.manifest.plan_sha256,
            self.archive.manifest.pack_size,
            self.split,
            [shard.samples for shard in self.archive.shards if shard.split == self.split],
            sorted(kept.items()),
        )

    def in_this_process(self) -> Self:
        """Return the same with connections of its own: those of a parent must not be used."""
        return replace(self, archive=self.archive.fresh())


@dataclass(frozen=True)
class PackIndex:
    """The packs of one split of an archive, in order, from their records alone.

    Attributes
    ----------
    shard, pack
        For each: its shard in the archive, and its number in that shard.
    first
        Index in the archive of its first sample.
    counts
        How many of its samples take part.
    kept
        For packs of which not all do: those that do, by number of the pack in this index.
    """

    shard: Ints
    pack: Ints
    first: Ints
    counts: Ints
    kept: Mapping[int, Ints] = field(default_factory=dict)

    @classmethod
    def of(cls, archive: Archive, split: str) -> "PackIndex":
        """List all packs of a split; every sample takes part."""
        size = archive.manifest.pack_size
        at = [i for i, record in enumerate(archive.shards) if record.split == split]
        samples = np.array([record.samples for record in archive.shards], np.int64)
        begins = np.concatenate([[0], np.cumsum(samples)])
        packs = -(-samples[at] // size)
        shard = np.repeat(np.asarray(at, np.int64), packs)
        pack = np.arange(len(shard)) - np.repeat(np.cumsum(packs) - packs, packs)
        counts = np.minimum(samples[shard] - pack * size, size)
        return cls(shard, pack, begins[shard] + pack * size, counts)

    def places(self, packs: Ints, ordinals: Ints) -> Ints:
        """Turn ordinals among the samples that take part into places in their packs."""
        if not self.kept:
            return ordinals
        out = ordinals.copy()
        for number in np.unique(packs).tolist():
            if number in self.kept:
                at = packs == number
                out[at] = self.kept[number][ordinals[at]]
        return out

    def without_missing(
        self,
        archive: Archive,
        reader: PackReader,
        carriers: Sequence[Sequence[str]],
        drop: Drop,
    ) -> "PackIndex":
        """Leave out samples that lack tasks.

        Only the tables of packs are read, and only in shards that miss something.

        Parameters
        ----------
        carriers
            For each task, the streams that carry it; a sample has the task if one is there.
        drop
            Which samples are left out: given the number of a pack in this index and which of its
            samples lack which task, (tasks, n) bool, it gives (n,) bool.
        """
        jobs = [
            (at, task)
            for at, shard in enumerate(self.shard.tolist())
            for task, names in enumerate(carriers)
            if all(archive.shards[shard].streams[name].n_missing for name in names)
        ]

        def lacks(job: tuple[int, int]) -> Lacks:
            at, task = job
            place = int(self.shard[at]), int(self.pack[at])
            found = [reader.missing(place[0], name, place[1]) for name in carriers[task]]
            missing: Lacks = np.logical_and.reduce(found)
            return missing

        whole: dict[int, Lacks] = {}
        for (at, task), missing in zip(jobs, reader.each(lacks, jobs), strict=True):
            blank = np.zeros((len(carriers), len(missing)), bool)
            whole.setdefault(at, blank)[task] = missing
        counts, kept = self.counts.copy(), dict(self.kept)
        for at, missing in whole.items():
            dropped = drop(at, missing)
            if dropped.any():
                kept[at] = np.flatnonzero(~dropped).astype(np.int64)
                counts[at] = len(kept[at])
        return PackIndex(self.shard, self.pack, self.first, counts, kept)


def choose_split(archive: Archive, split: str | None) -> str:
    """Find the split to read: the named one, or the only one.

    Raises
    ------
    UsageError
        When it is not there, or there are several and none is named.
    """
    found = list(archive.manifest.splits)
    if split is None and len(found) == 1:
        return found[0]
    if split not in found:
        problem = "say which split to read, split=..." if split is None else f"no split {split!r}"
        raise UsageError(f"{archive.root.url}: {problem}; found: {', '.join(found)}")
    return split


def _that_take_part(
    archive: Archive, packs: PackIndex, carriers: Sequence[Sequence[str]], missing: str
) -> PackIndex:
    """Leave out samples that lack tasks, as `StreamSource.open` says."""
    failed = {
        shard: frozenset(sample.key for sample in archive.shards[shard].failed)
        for shard in np.unique(packs.shard).tolist()
        if archive.shards[shard].failed
    }
    if missing != "skip" and not failed:
        return packs

    def drop(at: int, lacks: Lacks) -> Lacks:
        some = np.logical_and if missing == "none" else np.logical_or
        lacking: Lacks = some.reduce(lacks)
        shard, first = int(packs.shard[at]), int(packs.pack[at]) * archive.manifest.pack_size
        if missing != "skip":
            keys = archive.keys(shard)[first : first + len(lacking)] if shard in failed else ()
            for place in np.flatnonzero(lacking).tolist():
                lacking[place] = bool(keys) and keys[place] in failed[shard]
        return lacking

    return packs.without_missing(archive, PackReader(archive), carriers, drop)
