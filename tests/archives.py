"""Builds small, complete archives without any real codec, and forges them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dsc._schemas import (
    CodecRecord,
    Manifest,
    Quality,
    ShardRecord,
    Stream,
    StreamTotals,
    Task,
    TaskKind,
)
from dsc._storage.files.root import Root
from dsc._storage.format.commit import write_codec, write_file, write_manifest, write_shards
from dsc._storage.format.shard import ShardWriter

STREAMS = ("rgb", "depth")


def payload(stream: str, index: int, low: int = 20, high: int = 90) -> bytes | None:
    """Return the bitstream of a sample; every seventh sample has no depth."""
    if stream == "depth" and index % 7 == 3:
        return None
    rng = np.random.default_rng([index, STREAMS.index(stream)])
    return rng.bytes(int(rng.integers(low, high)))


def build_archive(
    root: str | Path | Root,
    n: int = 23,
    shard_size: int = 8,
    pack_size: int = 3,
    sizes: tuple[int, int] = (20, 90),
) -> Manifest:
    """Write a committed archive of two streams and a codec file."""
    root = root if isinstance(root, Root) else Root(root)
    records = []
    for number, first in enumerate(range(0, n, shard_size)):
        writer = ShardWriter(root, "train", number, first, {"rgb": 0, "depth": 1}, pack_size)
        count = min(shard_size, n - first)
        for index in range(first, first + count):
            found = {stream: payload(stream, index, *sizes) for stream in STREAMS}
            writer.add(f"view_{index:05d}", {k: v for k, v in found.items() if v is not None})
        keys, streams = writer.finish()
        records.append(
            ShardRecord(
                n=number, split="train", first_index=first, samples=count, keys=keys,
                streams=streams, source_bytes={"rgb": 100 * count, "depth": 50 * count},
            )
        )  # fmt: skip
    weights = b"not really weights, but hashed like them" * 3
    files = [
        write_codec(root, weights),
        write_file(root, "README.md", b"# A small archive\n"),
        write_shards(root, records),
    ]
    totals = {
        stream: StreamTotals(
            payload_bytes=sum(r.streams[stream].payload_bytes for r in records),
            stored_bytes=sum(r.streams[stream].bytes for r in records),
            n_missing=sum(r.streams[stream].n_missing for r in records),
        )
        for stream in STREAMS
    }
    manifest = Manifest(
        created_by="dsc test",
        plan_sha256=hashlib.sha256(b"plan").hexdigest(),
        source="test",
        tasks=(
            Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3),
            Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,)),
        ),
        streams=tuple(Stream(name=stream, carries=(stream,)) for stream in STREAMS),
        codecs=(
            CodecRecord(id="png", streams=("rgb",), weights_sha256=files[0].sha256),
            CodecRecord(id="png", streams=("depth",)),
        ),
        quality=Quality(),
        pack_size=pack_size,
        shard_size=shard_size,
        max_pixels=1 << 16,
        splits={"train": n},
        totals=totals,
        source_bytes={"rgb": 100 * n, "depth": 50 * n},
        files=tuple(sorted(files, key=lambda record: record.path)),
    )
    write_manifest(root, manifest)
    return manifest.sealed()


def forge(
    root: Path,
    shards: Callable[[list[dict[str, Any]]], object] | None = None,
    manifest: Callable[[dict[str, Any]], object] | None = None,
) -> None:
    """Edit the records of an archive and make every hash true again.

    What is left to find a forgery are the checks of meaning: sizes, names, counts and limits.
    """
    whole = json.loads((root / "dsc.json").read_text())
    records = [json.loads(line) for line in (root / "shards.jsonl").read_text().splitlines()]
    if shards is not None:
        shards(records)
    for record in records:
        for file in (record["keys"], *record["streams"].values()):
            if (root / file["path"]).is_file():
                file["sha256"] = hashlib.sha256((root / file["path"]).read_bytes()).hexdigest()
    lines = "".join(json.dumps(record, sort_keys=True) + "\n" for record in records)
    (root / "shards.jsonl").write_text(lines)
    for file in whole["files"]:
        data = (root / file["path"]).read_bytes()
        file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if manifest is not None:
        manifest(whole)
    whole["sha256"] = ""
    made = Manifest.model_validate_json(json.dumps(whole))
    (root / "dsc.json").write_bytes(made.sealed().to_file_bytes())
