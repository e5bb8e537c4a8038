"""The packs of a split, and which of their samples take part in a stream."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dsc._pipeline.stream.order import Ints
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc.errors import UsageError

Lacks = NDArray[np.bool_]
Drop = Callable[[int, Lacks], Lacks]


@dataclass(frozen=True)
class PackTable:
    """The packs of one split of an archive, in order.

    Attributes
    ----------
    shard, pack
        For each: its shard in the archive, and its number in that shard.
    first
        Index in the archive of its first sample.
    counts
        How many of its samples take part.
    kept
        For packs of which not all do: those that do, by number of the pack in this table.
    """

    shard: Ints
    pack: Ints
    first: Ints
    counts: Ints
    kept: Mapping[int, Ints] = field(default_factory=dict)

    @classmethod
    def of(cls, archive: Archive, split: str) -> "PackTable":
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

    def samples_of(self, pack: int, ordinals: Ints) -> Ints:
        """Turn ordinals among the samples that take part into places in a pack."""
        kept = self.kept.get(pack)
        return ordinals if kept is None else kept[ordinals]

    def without_missing(
        self,
        archive: Archive,
        reader: PackReader,
        carriers: Sequence[Sequence[str]],
        drop: "Drop",
    ) -> "PackTable":
        """Leave out samples that lack tasks.

        Only the tables of packs are read, and only in shards that miss something.

        Parameters
        ----------
        carriers
            For each task, the streams that carry it; a sample has the task if one is there.
        drop
            Which samples are left out: given the number of a pack in this table and which of its
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
        return PackTable(self.shard, self.pack, self.first, counts, kept)


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
