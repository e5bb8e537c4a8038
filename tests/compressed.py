"""Builds an archive whose streams packs compress, each in its own way, without any real codec."""

from pathlib import Path

import numpy as np

from dsc._schemas import (
    CodecRecord,
    Manifest,
    Quality,
    ShardRecord,
    Stream,
    StreamTotals,
    Task,
)
from dsc._schemas.manifest import format_version_of
from dsc._storage.files.root import Root
from dsc._storage.format.commit import write_codec, write_file, write_manifest, write_shards
from dsc._storage.format.dictionary import write_dictionary
from dsc._storage.format.pack import Packing
from dsc._storage.format.shard import ShardWriter, Written

SHARD, PACK, N = 40, 4, 97
WORDS = b"a brown chair table in front of the old white lamp near window".split()
DICTIONARY = b" ".join(WORDS * 3)
PACKINGS = {
    "caption": (PACK * 4, Packing(dictionary=DICTIONARY)),
    "pose": (SHARD, Packing(dtype="float64")),
    "sound": (None, Packing(together=False)),
}
STREAMS = tuple(PACKINGS)


def payload(stream: str, index: int) -> bytes | None:
    rng = np.random.default_rng([index, STREAMS.index(stream)])
    if stream == "caption":
        words = [WORDS[k] for k in rng.integers(0, len(WORDS), 12)]
        return None if index % 7 == 3 else b" ".join(words)
    if stream == "pose":
        return np.round(rng.normal(size=16), 5).tobytes()
    return None if index % 5 == 1 else rng.bytes(3000) + bytes(300)


def build(root: Path) -> Manifest:
    """Write an archive of three streams, each packed in its own way."""
    place, records = Root(root), []
    streams = tuple(
        Stream(name=name, carries=(name,), pack_size=size,
               compressed="together" if packing.together else "each")
        for name, (size, packing) in PACKINGS.items()
    )  # fmt: skip
    written = {n: Written(at, *how) for at, (n, how) in enumerate(PACKINGS.items())}
    for number, first in enumerate(range(0, N, SHARD)):
        count = min(SHARD, N - first)
        writer = ShardWriter(place, "train", number, first, written, PACK)
        for index in range(first, first + count):
            found = {name: payload(name, index) for name in STREAMS}
            writer.add(f"s{index:03d}", {n: p for n, p in found.items() if p is not None})
        keys, files = writer.finish()
        records.append(
            ShardRecord(
                n=number, split="train", first_index=first, samples=count, keys=keys, streams=files
            )
        )
    weights = write_codec(place, write_dictionary(DICTIONARY))
    files_ = (weights, write_file(place, "README.md", b"x"), write_shards(place, records))
    tasks = (
        Task(name="caption", kind="text", dtype="uint8"),
        Task(name="pose", kind="matrix", dtype="float64", shape=(4, 4)),
        Task(name="sound", kind="bytes", dtype="uint8"),
    )
    totals = {
        name: StreamTotals(
            payload_bytes=sum(r.streams[name].payload_bytes for r in records),
            stored_bytes=sum(r.streams[name].bytes for r in records),
            n_missing=sum(r.streams[name].n_missing for r in records),
        )
        for name in STREAMS
    }
    manifest = Manifest(
        format_version=format_version_of(tasks, streams),
        created_by="dsc test",
        plan_sha256="0" * 64,
        source="test",
        tasks=tasks,
        streams=streams,
        codecs=tuple(
            CodecRecord(
                id="plain",
                streams=(name,),
                weights_sha256=weights.sha256 if name == "caption" else None,
            )
            for name in STREAMS
        ),
        quality=Quality(),
        pack_size=PACK,
        shard_size=SHARD,
        max_pixels=0,
        splits={"train": N},
        totals=totals,
        source_bytes=dict.fromkeys(STREAMS, 1),
        files=tuple(sorted(files_, key=lambda file: file.path)),
    )
    write_manifest(place, manifest)
    return manifest
