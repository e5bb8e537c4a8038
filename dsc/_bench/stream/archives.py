"""Writes archives of any length from a few bitstreams, which samples take in turn.

What is written is an archive like any other: packs, indexes, keys, records, manifest.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from dsc._bench.stream.material import keys
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._schemas import FileRecord, Manifest, Quality, ShardRecord, StreamTotals, Task
from dsc._storage.files.root import Root
from dsc._storage.format.commit import write_codec, write_manifest, write_shards
from dsc._storage.format.shard import ShardWriter

SPLIT = "train"
PACK, SHARD = 64, 1024


def write_archive(
    folder: Path,
    tasks: Sequence[Task],
    codecs: CodecSet,
    payloads: Sequence[Mapping[str, bytes]],
    samples: int,
    max_pixels: int,
) -> Manifest:
    """Write an archive whose sample i is ``payloads[i % len(payloads)]``.

    Parameters
    ----------
    folder
        A directory that holds no archive yet.
    max_pixels
        Pixels of the largest sample.
    """
    root = Root(folder)
    records = [
        _write_shard(root, codecs, payloads, number, range(first, min(first + SHARD, samples)))
        for number, first in enumerate(range(0, samples, SHARD))
    ]
    files = [write_codec(root, weights) for weights in codecs.weight_files()]
    files.append(write_shards(root, records))
    manifest = make_manifest(tasks, codecs, records, files, max_pixels)
    write_manifest(root, manifest)
    return manifest


def _write_shard(
    root: Root,
    codecs: CodecSet,
    payloads: Sequence[Mapping[str, bytes]],
    number: int,
    indices: range,
) -> ShardRecord:
    with ShardWriter(root, SPLIT, number, indices.start, codecs.slots, PACK) as writer:
        for index, key in zip(indices, keys(indices.start, indices.stop), strict=True):
            writer.add(key, payloads[index % len(payloads)])
        named, streams = writer.finish()
    return ShardRecord(
        n=number,
        split=SPLIT,
        first_index=indices.start,
        samples=len(indices),
        keys=named,
        streams=streams,
    )


def make_manifest(
    tasks: Sequence[Task],
    codecs: CodecSet,
    records: Sequence[ShardRecord],
    files: Sequence[FileRecord],
    max_pixels: int,
) -> Manifest:
    """Make the manifest that fits these records, sealed."""
    totals = {
        stream.name: StreamTotals(
            payload_bytes=sum(r.streams[stream.name].payload_bytes for r in records),
            stored_bytes=sum(
                r.streams[stream.name].bytes + 8 * (-(-r.samples // PACK) + 1) for r in records
            ),
        )
        for stream in codecs.streams()
    }
    return Manifest(
        created_by="dsc bench stream",
        plan_sha256=hashlib.sha256(b"dsc bench stream").hexdigest(),
        source="sample",
        tasks=tuple(tasks),
        streams=codecs.streams(),
        codecs=codecs.records(),
        quality=Quality(),
        pack_size=PACK,
        shard_size=SHARD,
        max_pixels=max_pixels,
        splits={SPLIT: sum(record.samples for record in records)},
        totals=totals,
        source_bytes=dict.fromkeys((task.name for task in tasks), 0),
        files=tuple(sorted(files, key=lambda file: file.path)),
    ).sealed()
