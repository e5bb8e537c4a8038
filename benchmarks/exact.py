"""Archives in which nothing is lost, beside JPEG XL task by task, and JPEG files beside themselves.

    python -m benchmarks.exact [--views 8] [--every 10]

Rooms are rendered with the tasks that follow from others, and compressed with ``--exact``; JPEG XL
codes each map alone, without loss, at its effort 7. Of the files of 7-Scenes, NYUv2, ImageNet and
Tiny-ImageNet one of so many is packed by `jpeg-exact`, which has learnt what files begin with from
eight of them, and given back; it must be the same file. What was learnt stands in `dsc.json` once.
"""

import argparse
import os
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import imagecodecs

import dsc
from dsc._bench.markdown import markdown_table
from dsc._codecs.base import Codec, LearningCodec, Sample
from dsc._codecs.registry import make_codec
from dsc._pipeline.choose.derive import Samples
from dsc._schemas import Quality, Task, TaskKind
from dsc._schemas.from_file import file_of
from dsc._sources.base import read_sample
from dsc._sources.meaning.decode import read_array
from dsc._sources.registry import open_source

TASKS = (
    "rgb", "depth_zbuffer", "normal", "segment_semantic", "edge_texture", "edge_occlusion",
    "keypoints2d", "depth_euclidean",
)  # fmt: skip
ALONE = TASKS[:4]
RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
FILES = {
    "7-Scenes": "sevenscenes/*.jpg",
    "NYUv2": "nyuv2/*/*.jpg",
    "ImageNet": "natural/*.JPEG",
    "Tiny-ImageNet, 64×64": "tiny_imagenet40/val.zip",
}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--effort", default="default")
    parser.add_argument("--every", type=int, default=1, help="take one of so many JPEG files")
    options = parser.parse_args()
    head = ["task", "codec", "JPEG XL, bytes a view", "archive", "ratio"]
    print(markdown_table(head, list(rooms(options.views, options.size, options.effort))), "\n")
    head = ["files", "n", "bytes", "jpeg-exact", "learnt, bytes", "MPix/s coded", "given back"]
    print(markdown_table(head, list(jpegs(Path(options.data), options.every))))


def rooms(views: int, size: int, effort: str) -> Iterator[list[str]]:
    """Yield a row a task, and of four and all tasks together."""
    source = open_source("sample", n=views, size=size, tasks=TASKS)
    alone = dict.fromkeys(TASKS, 0)
    for index in range(views):
        for name, array in read_sample(source, index, TASKS).arrays.items():
            coded = imagecodecs.jpegxl_encode(array, lossless=True, effort=7, numthreads=1)
            alone[name] += len(coded)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "archive"
        dsc.compress(source, out, exact=True, effort=effort)
        manifest = dsc.open(out).manifest
    ours = {name: manifest.totals[name].payload_bytes for name in TASKS}
    names = {stream: record.label for record in manifest.codecs for stream in record.streams}
    for name in TASKS:
        yield row(name, names[name], alone[name], ours[name], views)
    for label, some in (("the first four", ALONE), ("all", TASKS)):
        yield row(label, "", sum(alone[n] for n in some), sum(ours[n] for n in some), views)


def row(name: str, codec: str, alone: int, ours: int, views: int) -> list[str]:
    """Return a row of the first table."""
    return [name, codec, f"{alone / views:,.0f}", f"{ours / views:,.0f}", f"{ours / alone:.2f}"]


def jpegs(data: Path, every: int) -> Iterator[list[str]]:
    """Yield a row a data set."""
    for name, pattern in FILES.items():
        files = list(files_of(data, pattern))[::every]
        codec = learnt(files)
        known = len(codec.config().get("starts", ""))
        after = same = pixels = 0
        seconds = 0.0
        for file in files:
            array = read_array(file, RGB, name)
            start = time.process_time()
            streams = codec.encode_batch([{"rgb": array}], Quality())
            seconds += time.process_time() - start
            (decoded,) = codec.decode_batch(streams, ["rgb"], array.size)
            same += file_of(decoded["rgb"]) == file
            after += len(streams[0]["rgb"])
            pixels += array.shape[0] * array.shape[1]
        before = sum(map(len, files))
        if files:
            yield [
                name,
                f"{len(files):,}",
                f"{before:,}",
                f"{(after + known) / before:.3f}",
                f"{known:,}",
                f"{pixels / 1e6 / seconds:.1f}",
                f"{same:,} of {len(files):,}",
            ]


def files_of(data: Path, pattern: str) -> Iterator[bytes]:
    """Yield the JPEG files of a pattern, those in a zip too."""
    for path in sorted(data.glob(pattern)):
        if path.suffix != ".zip":
            yield path.read_bytes()
            continue
        with zipfile.ZipFile(path) as packed:
            names = sorted(packed.namelist())
            yield from (packed.read(name) for name in names if name.lower().endswith(".jpeg"))


def learnt(files: Sequence[bytes]) -> Codec:
    """Return the codec as archives of these files have it."""
    codec = make_codec("jpeg-exact", [RGB])

    def read(index: int) -> Sample:
        return {"rgb": read_array(files[index], RGB, str(index))}

    assert isinstance(codec, LearningCodec)
    return codec.learning(Samples(len(files), read), len(files))


if __name__ == "__main__":
    main()
