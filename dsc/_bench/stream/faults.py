"""Faults: a server that drops connections and fails, and damaged packs; every sample is checked.

An epoch of bitstreams is read over loopback under each fault, and every payload is held against its
checksum. What is delivered, left out and asked for again is counted by `stream.report`.
"""

import shutil
import zlib
from pathlib import Path
from typing import Any

from dsc._bench.server import Traffic, serve
from dsc._bench.stream.archives import PACK
from dsc._bench.stream.children import Child, ChildError, child
from dsc._bench.stream.workshop import Workshop
from dsc._storage.format.pack import HEADER
from dsc._storage.format.tar import BLOCK
from dsc._storage.read.archive import Archive

STREAM = "rgb"
SAMPLES = 2048
EVERY = 3
SMALL = {"prefetch": "256kB", "memory": "512kB"}  # many requests, so that faults meet some


def measure_faults(shop: Workshop) -> dict[str, Any]:
    """Read one epoch under each fault.

    Returns
    -------
    dict
        ``samples`` of the archive, and ``rows``: ``name``, what `child.exact` gives, ``requests``
        that the server saw, ``dropped`` and ``failed`` by it; or ``error``.
    """
    whole = shop.archive("av1", SAMPLES)
    skip = {"on_error": "skip"}
    payload, table = (damaged(shop, whole, where) for where in ("payload", "table"))
    cases: dict[str, tuple[Path, Traffic, dict[str, Any]]] = {
        "none": (whole, Traffic(), {}),
        f"every {EVERY}rd connection dropped": (whole, Traffic(cut_every=EVERY), {}),
        f"every {EVERY}rd request answered 500": (whole, Traffic(fail_every=EVERY), {}),
        "a payload damaged, skip": (payload, Traffic(), skip),
        "a pack's table damaged, skip": (table, Traffic(), skip),
    }
    with child() as process:
        rows = [{"name": name} | _read(shop, process, *case) for name, case in cases.items()]
    return {"samples": SAMPLES, "rows": rows}


def damaged(shop: Workshop, archive: Path, where: str) -> Path:
    """Copy an archive and flip a bit of its second pack: in the last payload, or in the table."""
    copy = shop.fresh("damaged") / "archive"
    shutil.copytree(archive, copy)
    found = Archive.open(copy)
    offsets = found.offsets(0, STREAM)
    path = copy / found.shards[0].streams[STREAM].path
    data = bytearray(path.read_bytes())
    start = int(offsets[1]) + BLOCK
    size = int(bytes(data[start - BLOCK + 124 : start - BLOCK + 135]), 8)
    at = start + size - 1 if where == "payload" else start + HEADER.size + 8 * (PACK // 2)
    data[at] ^= 1
    path.write_bytes(data)
    return copy


def _read(
    shop: Workshop, process: Child, archive: Path, traffic: Traffic, options: dict[str, Any]
) -> dict[str, Any]:
    payloads = shop.material.payloads("av1")
    sums = {STREAM: [zlib.crc32(sample[STREAM]) for sample in payloads]}
    asked = {"tasks": STREAM, "shuffle": True, **SMALL, **options}
    with serve(archive, traffic) as (url, _):
        try:
            found: dict[str, Any] = process.ask("exact", url=url, options=asked, sums=sums)
        except ChildError as error:
            found = {"error": f"failed: {error}"}
    made = {"dropped": traffic.made["cut"], "failed": traffic.made["fail"]}
    return found | {"requests": traffic.bodies} | made
