"""Prints how long it takes to filter ten million samples by columns, to the first batch.

    python -m benchmarks.filter_rows                        # 10 M samples, 65,536 a shard
    python -m benchmarks.filter_rows --shard-size 1024      # as many shards as of large pictures

The archive is made by the storage layer's own functions: a class (64 scenes), a score (float32) and
a line of text, all of them columns, and a picture of 4×4 pixels. Its shards hold the same values
under keys and indices of their own, so that it is made in seconds. Each line is a process of its
own: the time from `dsc.stream` until it was opened and to the first batch of 256 pictures and
scores, shuffled; what processors worked for that; by how much memory grew at most since `dsc` and
torch were loaded.
"""

import argparse
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from dsc._codecs.classical.raw import RawCodec
from dsc._schemas import (
    CodecRecord,
    FileRecord,
    Manifest,
    Quality,
    ShardRecord,
    Stream,
    StreamRecord,
    StreamTotals,
    Task,
)
from dsc._schemas.stream import Compressed
from dsc._storage.files.root import Root
from dsc._storage.format.commit import write_manifest, write_shards
from dsc._storage.format.names import keys_path, member_name, stream_path
from dsc._storage.format.pack import Packing, encode_compressed, encode_pack
from dsc._storage.format.shard import idx_bytes
from dsc._storage.format.tar import END, member_bytes

SCENES = tuple(f"scene_{number:02d}" for number in range(64))
PLACES = ("a kitchen", "a bathroom", "a long corridor", "the garden behind the house")
TASKS = (
    Task(name="scene", kind="class", dtype="uint8", channels=0, classes=SCENES),
    Task(name="score", kind="scalar", dtype="float32", channels=0),
    Task(name="place", kind="text", dtype="uint8"),
    Task(name="thumb", kind="image", dtype="uint8", channels=3),
)
COLUMNS, THUMB = TASKS[:3], TASKS[3]
PACK = 128
CASES: tuple[tuple[str, dict[str, object]], ...] = (
    ("a class", {"where": "scene == 'scene_07'"}),
    ("a class and a number", {"where": "scene in ('scene_07', 8) and score > 0.9"}),
    ("text", {"where": "place.startswith('the garden') and len(place) > 20"}),
    ("one sample in 100", {"where": "score > 0.99"}),
    ("a limit", {"where": "score > 0.5", "limit": 1000}),
    ("a subset by hash of the key", {"subset": 0.01}),
    ("all samples, nothing filtered", {}),
)
CHILD = """
import json, resource, sys, time
import dsc, torch
from dsc._stream import feed
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
start, begun = time.perf_counter(), time.process_time()
stream = dsc.stream(sys.argv[1], ["thumb", "score"], 256, shuffle=True, **json.loads(sys.argv[2]))
opened = time.perf_counter()
batch = next(iter(stream))
done, worked = time.perf_counter(), time.process_time()
assert len(batch["thumb"]) == min(256, stream.samples)
print(json.dumps({"open": opened - start, "first": done - start, "cpu": worked - begun,
                  "memory": peak() - before, "samples": stream.samples}))
"""


@cache
def template(count: int) -> dict[str, tuple[list[bytes], int]]:
    """Return the packs of each stream of a shard of so many samples, and bytes of payloads."""
    rng = np.random.default_rng(0)
    pictures = [{"thumb": rng.integers(0, 256, (4, 4, 3), np.uint8)} for _ in range(PACK)]
    thumbs = [one["thumb"] for one in RawCodec([THUMB]).encode_batch(pictures, Quality())]
    values = {
        "scene": [bytes([n]) for n in rng.integers(0, len(SCENES), count).tolist()],
        "score": [struct.pack("<f", value) for value in rng.random(count).tolist()],
        "place": [PLACES[n].encode() for n in rng.integers(0, len(PLACES), count).tolist()],
    }
    packs: dict[str, tuple[list[bytes], int]] = {}
    for task in COLUMNS:
        packing = Packing(dtype=None if task.is_blob else task.dtype)
        pack, size = encode_compressed(values[task.name], 0, 0, packing)
        packs[task.name] = [pack], size
    pictures_of = [thumbs[: min(PACK, count - first)] for first in range(0, count, PACK)]
    packs["thumb"] = (
        [encode_pack(part, at * PACK, 1) for at, part in enumerate(pictures_of)],
        sum(len(thumb) for part in pictures_of for thumb in part),
    )
    return packs


def moved(pack: bytes, first: int) -> bytes:
    """Return a pack whose samples begin elsewhere in the split."""
    start = pack[:16] + struct.pack("<Q", struct.unpack_from("<Q", pack, 16)[0] + first)
    version, n = struct.unpack_from("<H2xI", pack, 4)
    covered = pack[28:] if version == 2 else pack[32 : 32 + 8 * n]
    return start + struct.pack("<I", zlib.crc32(covered, zlib.crc32(start))) + pack[28:]


def write_shard(place: str, number: int, first: int, count: int) -> ShardRecord:
    """Write one shard."""
    root = Path(place)
    keys = [f"sample_{index:08d}" for index in range(first, first + count)]
    lines = ('{"key":"' + '"}\n{"key":"'.join(keys) + '"}\n').encode()
    path = keys_path("train", number)
    (root / path).write_bytes(lines)
    record = FileRecord(path=path, bytes=len(lines), sha256=hashlib.sha256(lines).hexdigest())
    streams = {}
    for stream, (packs, payload_bytes) in template(count).items():
        members = [
            member_bytes(member_name(keys[at * PACK], stream), moved(pack, first))
            for at, pack in enumerate(packs)
        ]
        data = b"".join([*members, END])
        path = stream_path(stream, "train", number)
        (root / path).write_bytes(data)
        ends = np.cumsum([len(member) for member in members]).tolist()
        (root / f"{path}.idx").write_bytes(idx_bytes([0, *ends]))
        streams[stream] = StreamRecord(
            path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(),
            payload_bytes=payload_bytes, n_missing=0,
        )  # fmt: skip
    return ShardRecord(
        n=number, split="train", first_index=first, samples=count, keys=record, streams=streams
    )


def make(place: Path, samples: int, shard_size: int) -> None:
    """Write the archive."""
    for task in TASKS:
        (place / task.name).mkdir(parents=True)
    (place / "keys").mkdir()
    firsts = list(range(0, samples, shard_size))
    counts = [min(shard_size, samples - first) for first in firsts]
    places, numbers = [str(place)] * len(firsts), range(len(firsts))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        records = list(pool.map(write_shard, places, numbers, firsts, counts, chunksize=32))
    root = Root(place)
    totals = {
        task.name: StreamTotals(
            payload_bytes=sum(r.streams[task.name].payload_bytes for r in records),
            stored_bytes=sum(r.streams[task.name].bytes for r in records),
        )
        for task in TASKS
    }
    graph = [
        Stream(
            name=task.name, carries=(task.name,), compressed=Compressed.TOGETHER,
            pack_size=-(-shard_size // PACK) * PACK,
        )
        for task in COLUMNS
    ]  # fmt: skip
    config = {"tasks": [task.model_dump(mode="json") for task in COLUMNS]}
    manifest = Manifest(
        format_version=2,
        created_by="benchmarks.filter_rows",
        plan_sha256=hashlib.sha256(f"{samples} {shard_size}".encode()).hexdigest(),
        source="synthetic",
        tasks=TASKS,
        streams=(*graph, Stream(name="thumb", carries=("thumb",))),
        codecs=(
            CodecRecord(id="plain", streams=tuple(t.name for t in COLUMNS), config=config),
            CodecRecord(
                id="raw", streams=("thumb",),
                config={"tasks": [THUMB.model_dump(mode="json")]},
            ),
        ),
        quality=Quality(),
        pack_size=PACK,
        shard_size=shard_size,
        max_pixels=16,
        splits={"train": samples},
        totals=totals,
        source_bytes={},
        files=(write_shards(root, records),),
    )  # fmt: skip
    write_manifest(root, manifest)


def measured(place: Path, options: dict[str, object]) -> dict[str, float]:
    """Measure in a process of its own."""
    words = [sys.executable, "-c", CHILD, str(place), json.dumps(options)]
    ran = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def rows(place: Path, rounds: int) -> Iterator[str]:
    """Yield the lines of the table."""
    heads = f"{'samples':>10} {'opened':>8} {'first batch':>12} {'processors':>11} {'memory':>8}"
    yield f"{'':32} {heads}"
    for name, options in CASES:
        found = [measured(place, options) for _ in range(rounds)]
        best = sorted(found, key=lambda one: one["first"])[rounds // 2]
        yield (
            f"{name:32} {best['samples']:>10,} {best['open']:>6.2f} s {best['first']:>10.2f} s "
            f"{best['cpu']:>9.2f} s {best['memory'] / 1e6:>5.0f} MB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--shard-size", type=int, default=1 << 16)
    parser.add_argument("--out", type=Path, default=Path("/tmp/dsc-filter-rows"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="leave the archive")
    args = parser.parse_args()
    place = args.out / f"{args.samples}-{args.shard_size}"
    if not (place / "dsc.json").is_file():
        start = time.perf_counter()
        make(place, args.samples, args.shard_size)
        print(f"made in {time.perf_counter() - start:.0f} s", flush=True)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    print(f"{args.samples:,} samples, shards of {args.shard_size:,}, {size / 1e6:,.0f} MB")
    for line in rows(place, args.rounds):
        print(line, flush=True)
    if not args.keep:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
