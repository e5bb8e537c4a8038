"""One archive of a stream: which split, tasks and streams of it are read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from dsc._pipeline.stream.state import fingerprint
from dsc._pipeline.stream.table import Lacks, PackTable, choose_split
from dsc._schemas import Task, required_streams, resolve_tasks
from dsc._storage.files.root import Root
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc.errors import UnknownTaskError


@dataclass(frozen=True)
class StreamSource:
    """See the module.

    Attributes
    ----------
    tasks
        In the order asked for.
    streams
        Those that the tasks require; nothing else is read.
    """

    archive: Archive
    split: str
    table: PackTable
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
        table = PackTable.of(archive, chosen)
        if missing is not None:
            carriers = [
                [s.name for s in archive.manifest.streams if name in s.carries] for name in names
            ]
            table = _that_take_part(archive, table, carriers, missing)
        streams = required_streams(archive.manifest.streams, names)
        return cls(archive, chosen, table, tuple(known[name] for name in names), streams)

    @property
    def samples(self) -> int:
        """How many samples take part."""
        return int(self.table.counts.sum())

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
        return whole / max(len(self.table.shard), 1)

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
            if all(totals[s.name].n_missing for s in streams if task.name in s.carries)
        )

    def fingerprint(self) -> int:
        """Hash what the order of its samples depends on: not the tasks, unless some are skipped."""
        kept = {pack: places.tolist() for pack, places in self.table.kept.items()}
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


def _that_take_part(
    archive: Archive, table: PackTable, carriers: Sequence[Sequence[str]], missing: str
) -> PackTable:
    """Leave out samples that lack tasks, as `StreamSource.open` says."""
    failed = {
        shard: frozenset(sample.key for sample in archive.shards[shard].failed)
        for shard in np.unique(table.shard).tolist()
        if archive.shards[shard].failed
    }
    if missing != "skip" and not failed:
        return table

    def drop(at: int, lacks: Lacks) -> Lacks:
        some = np.logical_and if missing == "none" else np.logical_or
        lacking: Lacks = some.reduce(lacks)
        shard, first = int(table.shard[at]), int(table.pack[at]) * archive.manifest.pack_size
        if missing != "skip":
            keys = archive.keys(shard)[first : first + len(lacking)] if shard in failed else ()
            for place in np.flatnonzero(lacking).tolist():
                lacking[place] = bool(keys) and keys[place] in failed[shard]
        return lacking

    return table.without_missing(archive, PackReader(archive), carriers, drop)
