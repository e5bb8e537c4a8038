"""What `dsc fetch --tasks depth` moves over HTTP, counted by the server.

    python -m benchmarks.fetch_bytes

Beside it, all streams of the archive: what a reader of one tar for all tasks has to read.
"""

import argparse
import tempfile
from pathlib import Path

import dsc
from dsc._bench.server import serve
from dsc._schemas import required_streams
from dsc._storage.read.archive import Archive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=128)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made, fetched = Path(folder) / "a", Path(folder) / "b"
        tasks = ["rgb", "depth", "normals", "segment_semantic"]
        dsc.compress("taskonomy", made, sample=args.views, tasks=tasks, shard_size=args.views)
        manifest = Archive.open(made).manifest
        needed = required_streams(manifest.streams, ["depth_zbuffer"])
        with serve(made) as (url, traffic):
            dsc.fetch(url, ["depth"], fetched)
        by_folder: dict[str, int] = {}
        for path, count in traffic.sent.items():
            top = path.split("/")[0]
            by_folder[top] = by_folder.get(top, 0) + count
        payload = sum(manifest.totals[name].payload_bytes for name in needed)
        small = sum(by_folder.get(name, 0) for name in ("dsc.json", "shards.jsonl", "keys"))
        streams = sum(by_folder.get(name, 0) for name in needed)
        everything = sum(totals.stored_bytes for totals in manifest.totals.values())
        for name, count in sorted(by_folder.items()):
            print(f"{name:20} {count:10} bytes sent")
        print(f"payload of {' + '.join(needed)}: {payload} bytes")
        print(f"streams sent / payload: {streams / payload:.4f}")
        print(f"manifest, shard records and keys: {small} bytes")
        other = sum(by_folder.values()) - streams - small
        print(f"bytes of anything else: {other}")
        print(f"all streams of the archive: {everything} bytes ({everything / streams:.1f} times)")


if __name__ == "__main__":
    main()
