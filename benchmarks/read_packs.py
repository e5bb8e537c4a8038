"""Reading bitstreams without decoding, beside stock webdataset with one member a sample.

    python -m benchmarks.read_packs

Both read the same 20,000 bitstreams of 0.5 to 3 kB from local tars, every byte into Python bytes or
memoryviews; ours checks every CRC on the way. Rounds alternate. Also prints the storage overhead.
"""

import argparse
import io
import statistics
import tarfile
import tempfile
import time
from pathlib import Path

import webdataset

from dsc._storage.read.archive import Archive
from dsc._storage.read.unpack import unpack
from tests.archives import build_archive, payload


def write_plain(path: Path, count: int) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for index in range(count):
            data = payload("rgb", index, 500, 3000) or b""
            info = tarfile.TarInfo(f"view_{index:06d}.rgb")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def read_stock(path: Path) -> int:
    return sum(len(s["rgb"]) for s in webdataset.WebDataset(str(path), shardshuffle=False))


def read_ours(root: Path) -> int:
    archive = Archive.open(root)
    return sum(
        len(data)
        for shard in range(len(archive.shards))
        for pack in archive.iter_packs(shard, "rgb")
        for data in pack.payloads
        if data is not None
    )


def read_unpack(root: Path) -> int:
    urls = sorted(str(path) for path in (root / "rgb").glob("*.tar"))
    stage = webdataset.WebDataset(urls, shardshuffle=False).compose(unpack)
    return sum(len(sample["rgb"]) for sample in stage)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, plain = Path(folder) / "a", Path(folder) / "plain.tar"
        build_archive(root, args.samples, args.samples // 4, 64, (500, 3000))
        write_plain(plain, args.samples)
        readers = {
            "webdataset, one member a sample": lambda: read_stock(plain),
            "webdataset + dsc.unpack": lambda: read_unpack(root),
            "dsc": lambda: read_ours(root),
        }
        times: dict[str, list[float]] = {name: [] for name in readers}
        totals = set()
        for _ in range(args.rounds):
            for name, reader in readers.items():
                start = time.perf_counter()
                totals.add(reader())
                times[name].append(time.perf_counter() - start)
        if len(totals) != 1:
            raise SystemExit(f"the readers gave different bytes: {totals}")
        base = statistics.median(times["webdataset, one member a sample"])
        for name, values in times.items():
            median = statistics.median(values)
            print(f"{name:34} {args.samples / median:10.0f} samples/s {base / median:7.1f}x")
        stored = Archive.open(root).manifest.totals["rgb"]
        packed = stored.stored_bytes / stored.payload_bytes - 1
        one_each = plain.stat().st_size / stored.payload_bytes - 1
        print(
            f"storage over payload: packs of 64 {packed:+.2%}, one member a sample {one_each:+.2%}"
        )


if __name__ == "__main__":
    main()
