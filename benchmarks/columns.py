"""Bytes of text, JSON and numbers: ours, gzip a file, zstd of the whole column, Parquet.

    python -m benchmarks.columns

Captions are made of real words (class names of DSC_TEST_DATA's sets, where they are there) by
templates; sentences are those of this repository's pages; JSON is made as COCO's ``images`` are;
poses are those of 7-Scenes. *alone* is an archive of these tasks only, *beside maps* one with
shards of 1,024 samples, which is what images make. Ours is everything that is stored: tars,
indexes, dictionaries. The last column counts what one sample takes of a server, after its shard's
index was read: requests and bytes.
"""

import argparse
import gzip
import io
import json
import random
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import zstandard

import dsc
from dsc._bench.server import serve
from dsc._schemas import Task
from dsc._sources.base import SourceSample
from dsc._storage.format.zstd import LEVEL
from tests.places import DATA, ROOT

ADJECTIVES = ("red", "blue", "small", "large", "old", "wooden", "white", "black", "young", "two")
VERBS = (
    "sitting on", "standing next to", "lying under", "parked near", "holding", "looking at",
    "in front of", "on top of", "behind", "walking past", "eating", "filled with", "leaning on",
)  # fmt: skip
PLACES = (
    "in a kitchen", "on the street", "at the beach", "in a field", "near a window", "on a table",
    "in a bathroom", "in the snow", "at night", "under a tree", "in a living room", "",
)  # fmt: skip
NOUNS = ["man", "woman", "dog", "cat", "chair", "table", "bottle", "bus", "bench", "clock", "vase"]


class Columns:
    """Tasks in memory: a list of payloads by name, shorter ones repeated to the end."""

    name: ClassVar[str] = "columns"

    def __init__(self, tasks: Sequence[Task], values: dict[str, list[Any]]) -> None:
        self.tasks, self._values = tuple(tasks), values

    def __len__(self) -> int:
        return max(map(len, self._values.values()))

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        return f"s{index:07d}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Return the values of a sample."""
        found = {name: self._values[name][index] for name in tasks}
        return SourceSample(self.key(index), found, dict.fromkeys(found, 1))

    def describe(self) -> dict[str, Any]:
        """Say what it is; it is never the same twice."""
        return {"name": self.name, "root": None, "options": {}, "fingerprint": ""}


def nouns() -> list[str]:
    files = ("tiny_imagenet40/classes.txt", "cifar100/classes.txt")
    lines = [line for file in files if (DATA / file).is_file() for line in (DATA / file).open()]
    words = [
        word.strip().replace("_", " ") for line in lines for word in line.split("\t")[-1].split(",")
    ]
    return NOUNS + [word for word in words if word]


def captions(n: int, rng: random.Random) -> list[str]:
    things = nouns()

    def thing() -> str:
        return f"{rng.choice(ADJECTIVES)} " * (rng.random() < 0.5) + rng.choice(things)

    def one() -> str:
        start = rng.choice(["A", "The", "There is a", "A photo of a", "A close up of a", "Some"])
        text = f"{start} {thing()} {rng.choice(VERBS)} {rng.choice(['a', 'the'])} {thing()}"
        return f"{text} {rng.choice(PLACES)}".strip() + rng.choice([".", "", " ."])

    return [one() for _ in range(n)]


def sentences() -> list[str]:
    pages = sorted((ROOT / "docs").rglob("*.md"))
    text = " ".join(page.read_text() for page in pages)
    found = [" ".join(part.split()) for part in re.split(r"(?<=[.:;])\s", text)]
    return [one for one in found if 20 < len(one) < 200]


def metadata(n: int, rng: random.Random) -> list[Any]:
    return [
        {
            "license": rng.randint(1, 8),
            "file_name": f"COCO_val2014_{rng.randint(0, 600_000):012d}.jpg",
            "height": rng.choice([480, 427, 640, 426, 375]),
            "width": rng.choice([640, 640, 500, 480]),
            "date_captured": f"2013-11-{rng.randint(10, 30)} {rng.randint(0, 23):02d}:"
            f"{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}",
            "id": rng.randint(0, 600_000),
        }
        for _ in range(n)
    ]


def numbers(n: int) -> dict[str, tuple[Task, list[Any]]]:
    rng = np.random.default_rng(0)
    poses = [np.loadtxt(path) for path in sorted(DATA.glob("sevenscenes*/*.pose.txt"))]
    if not poses:
        poses = list(np.round(np.cumsum(rng.normal(size=(200, 4, 4)) / 100, axis=0), 8))
    intrinsics = np.array([[585.0, 0, 320], [0, 585, 240], [0, 0, 1]])
    times = 1_385_000_000_000_000_000 + np.cumsum(33_333_333 + rng.integers(-9000, 9000, n))
    matrix = {"kind": "matrix", "dtype": "float64"}
    return {
        "pose": (Task(name="pose", shape=(4, 4), **matrix), poses),
        "intrinsics": (Task(name="intrinsics", shape=(3, 3), **matrix), [intrinsics] * n),
        "taken": (Task(name="taken", kind="time", dtype="int64", channels=0), times.tolist()),
        "scene": (
            Task(name="scene", kind="class", dtype="int64", channels=0),
            rng.integers(0, 40, n).tolist(),
        ),
    }


def stored(root: Path, stream: str) -> int:
    """Bytes of a stream's files, and of the dictionary that it alone has."""
    whole = sum(path.stat().st_size for path in (root / stream).iterdir())
    return whole + sum(path.stat().st_size for path in root.glob("codecs/*"))


def parquet(values: Sequence[bytes]) -> int | None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return None
    file = io.BytesIO()
    pq.write_table(
        pa.table({"v": pa.array(values, pa.binary())}), file, compression="zstd",
        compression_level=LEVEL,
    )  # fmt: skip
    return len(file.getvalue())


def one_sample(root: Path, name: str, index: int) -> str:
    with serve(root) as (url, traffic):
        data = dsc.open(url, tasks=[name])
        data[0]
        for path in root.glob("*/*.idx"):  # known: what is left is the sample
            traffic.requests.pop(str(path.relative_to(root)), None)
        data = dsc.open(url, tasks=[name])
        before = {path: count for path, count in traffic.sent.items() if path.endswith(".tar")}
        asked = sum(count for path, count in traffic.requests.items() if path.endswith(".tar"))
        data[index]
        tars = {path: count for path, count in traffic.sent.items() if path.endswith(".tar")}
        requests = sum(count for path, count in traffic.requests.items() if path.endswith(".tar"))
        return f"{requests - asked}, {sum(tars.values()) - sum(before.values()):,}"


def show(task: Task, values: list[Any], folder: Path) -> None:
    source = Columns([task], {task.name: values})
    native = [task.to_native(value).tobytes() for value in values]
    single = sum(len(gzip.compress(one, 9)) for one in native)
    joined = (b"\n" if task.is_blob else b"").join(native)
    whole = len(zstandard.ZstdCompressor(level=LEVEL).compress(joined))
    table = parquet(native)
    cells = [f"{len(values):,}", f"{sum(map(len, native)):,}", f"{single:,}", f"{whole:,}"]
    cells.append("-" if table is None else f"{table:,}")
    for kind, options in (("alone", {}), ("maps", {"shard_size": 1024, "pack": 64})):
        root = folder / f"{task.name}-{kind}"
        dsc.compress(source, root, **options)
        ours = stored(root, task.name)
        cells.append(f"{ours:,} ({ours / single:.2f}, {ours / whole:.2f})")
    cells.append(one_sample(folder / f"{task.name}-maps", task.name, len(values) // 2))
    print(f"| {task.name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=20_000)
    args = parser.parse_args()
    rng = random.Random(1)
    blob: dict[str, Any] = {"dtype": "uint8"}
    print(
        "| column | values | bytes | gzip a file | zstd, whole | Parquet, zstd | ours, alone (of "
        "gzip, of zstd) | ours, beside maps | one sample: requests, bytes |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        show(Task(name="caption", kind="text", **blob), captions(args.samples, rng), folder)
        show(Task(name="sentence", kind="text", **blob), sentences(), folder)
        meta = [json.dumps(one).encode() for one in metadata(args.samples, rng)]
        show(Task(name="meta", kind="json", **blob), meta, folder)
        for task, values in numbers(args.samples).values():
            show(task, values, folder)


if __name__ == "__main__":
    main()
