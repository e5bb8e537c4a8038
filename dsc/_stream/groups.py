"""Which group each sample of an archive is of, by where samples stand in recordings.

The cut is the writer's (`dsc._pipeline.write.groups`): at the start of a pack, where the sequence
changes, and after as many samples as are coded together. It follows from positions alone, so an
archive whose codec codes frames one by one has the same groups.
"""

import numpy as np

from dsc._columns.column import Ints
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.read.frame_index import NONE, FrameIndex
from dsc._storage.read.archive import Archive

USUAL = 16  # samples of a group, where no codec says


def group_starts(archive: Archive, frames: FrameIndex) -> Ints:
    """Return for each sample the first sample of its group, int64 (samples,)."""
    size = CodecSet.from_archive(archive).group_size
    return cut(frames.sequence.astype(np.int64), pack_starts(archive), USUAL if size == 1 else size)


def cut(sequence: Ints, pack_start: Ints, most: int) -> Ints:
    """Cut samples into groups.

    Parameters
    ----------
    sequence
        Number of each sample's sequence; -1 of those of none, which are groups by themselves.
    pack_start
        For each sample the first one of its pack.
    most
        The most samples of a group.
    """
    at = np.arange(len(sequence), dtype=np.int64)
    begins = pack_start == at
    begins[1:] |= sequence[1:] != sequence[:-1]
    begins |= sequence == NONE
    run = np.maximum.accumulate(np.where(begins, at, 0))
    return run + (at - run) // most * most


def pack_starts(archive: Archive) -> Ints:
    """Return for each sample the first one of its pack, int64 (samples,)."""
    size = archive.manifest.pack_size
    parts = [
        archive.start(shard) + np.arange(record.samples, dtype=np.int64) // size * size
        for shard, record in enumerate(archive.shards)
    ]
    return np.concatenate([*parts, np.zeros(0, np.int64)])
