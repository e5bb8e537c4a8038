"""What is read of an archive at a rate and at levels, and which samples have their frames in it."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import carrying_streams
from dsc._schemas.levels import Levels, left_out, parse_levels
from dsc._schemas.rate import Rate, layers_of, parse_rate, streams_at
from dsc._storage.files.place import redact
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader

Mask = NDArray[np.bool_]


class AtRate:
    """Leaves the samples that have a frame of some task; only tables of packs are read.

    Parameters
    ----------
    streams
        By task that is coded in layers, those of its layers that are read.
    """

    def __init__(self, archive: Archive, streams: Sequence[Sequence[str]]) -> None:
        self._archive, self._streams = archive, streams
        self._reader = PackReader(archive)

    @classmethod
    def of(cls, archive: Archive, tasks: Sequence[str], read: Sequence[str]) -> Self:
        """Return it for tasks of which only some streams are read."""
        layers = layers_of(archive.manifest.codecs)
        carrying = [carrying_streams(archive.manifest.streams, task) for task in tasks]
        found = [[name for name in own if name in layers and name in read] for own in carrying]
        return cls(archive, [own for own in found if own])

    def __call__(self, shard: int, left: Mask) -> Mask:
        """Tell which of the samples of a shard remain."""
        size = self._archive.manifest.pack_size
        packs = range(self._archive.n_packs(shard))
        wanted = [pack for pack in packs if left[pack * size :][:size].any()]
        found = np.zeros(len(left), bool)
        for pack, one in zip(
            wanted, self._reader.each(lambda pack: self._has(shard, pack), wanted), strict=True
        ):
            found[pack * size :][: len(one)] = one
        kept: Mask = left & found
        return kept

    def _has(self, shard: int, pack: int) -> Mask:
        names = [name for own in self._streams for name in own]
        found: Mask = np.logical_or.reduce(
            [~self._reader.missing(shard, name, pack) for name in names]
        )
        return found


def streams_read(
    archive: Archive, tasks: Sequence[str], rate: Rate, levels: Levels | None = None
) -> tuple[Archive, tuple[str, ...], AtRate | None]:
    """Find what is read for tasks at a rate, and at levels.

    Returns
    -------
    archive
        The archive without the streams that levels leave out.
    streams
        Those to read.
    at_rate
        What leaves the samples of the frames that are read; None where all are.

    Raises
    ------
    UsageError
        When the archive does not have the tasks at this rate, or at these levels.
    """
    where = redact(archive.root.url)
    layers, gone = layers_of(archive.manifest.codecs), frozenset[str]()
    if levels is not None:
        option = f"{where}: levels"
        wanted = parse_levels(levels, option)
        gone = left_out(archive.manifest, tasks, wanted, option)
        archive = archive.without(gone) if gone else archive
    manifest = archive.manifest
    asked = parse_rate(rate, f"{where}: rate")
    read = streams_at(manifest.streams, manifest.codecs, tasks, asked, f"{where}: rate")
    has_all_frames = asked == 1 and not gone & layers.keys()
    return archive, read, None if has_all_frames else AtRate.of(archive, tasks, read)
