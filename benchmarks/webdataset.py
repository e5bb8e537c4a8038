"""Bytes of tars of webdataset, of the archive made of them, and of tars written of that again.

    python -m benchmarks.webdataset

Real data, put into tars with webdataset's own writer: 7-Scenes (jpg, depth.png, pose.npy and facts
of a frame as JSON) and photographs of ImageNet (jpg, cls, txt). What is not pictures must come back
to the byte, depth value for value, and names, endings and order as they were; else this stops.
"""

import argparse
import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

import dsc
from dsc._copies.export.run import export
from dsc._copies.export.webdataset import member_bytes
from tests.places import DATA

Sample = dict[str, Any]


def sevenscenes(most: int) -> Iterator[Sample]:
    """Yield frames as webdataset takes them."""
    for at, color in enumerate(sorted((DATA / "sevenscenes").rglob("*.color.jpg"))[:most]):
        stem = color.name.split(".")[0]
        pose = np.loadtxt(color.with_name(f"{stem}.pose.txt"), dtype=np.float64)
        facts = {"scene": "chess", "frame": at * 10, "camera": "kinect", "fps": 30.0}
        yield {
            "__key__": f"chess/{stem}",
            "jpg": color.read_bytes(),
            "depth.png": color.with_name(f"{stem}.depth.png").read_bytes(),
            "pose.npy": pose,
            "json": facts,
        }


def photographs(most: int) -> Iterator[Sample]:
    """Yield photographs with a class and a caption made of its name."""
    for at, path in enumerate(sorted((DATA / "natural").rglob("*.JPEG"))[:most]):
        words = path.stem.partition("_")[2].replace("_", " ")
        yield {
            "__key__": f"{at:05d}",
            "jpg": path.read_bytes(),
            "cls": at,
            "txt": f"a photograph of a {words}",
        }


def write_tar(path: Path, samples: Iterator[Sample]) -> None:
    """Write a tar as webdataset's own writer does by default."""
    import webdataset

    with webdataset.TarWriter(str(path)) as tar:
        for sample in samples:
            tar.write(sample)


def files_of(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        return [(one.name, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]


def check(before: list[tuple[str, bytes]], after: list[tuple[str, bytes]]) -> None:
    """Stop where anything but the loss of pictures is not as it was."""
    if [name for name, _ in before] != [name for name, _ in after]:
        raise SystemExit("names, endings or their order differ")
    for (name, one), (_, two) in zip(before, after, strict=True):
        if name.endswith(".png"):
            same = np.array_equal(imagecodecs.png_decode(one), imagecodecs.png_decode(two))
        else:
            same = name.endswith(".jpg") or one == two
        if not same:
            raise SystemExit(f"{name} differs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100, help="of each set at most")
    args = parser.parse_args()
    print("| set | samples | stock tars | plain tars | archive | of that, fields beside pictures |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, samples, codec in (
        ("7-Scenes, depth exact", sevenscenes(args.samples), "depth=jxl-lossless"),
        ("photographs", photographs(args.samples), None),
    ):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "in").mkdir()
            write_tar(root / "in" / "train-000000.tar", samples)
            before = files_of(root / "in" / "train-000000.tar")
            manifest = dsc.compress("webdataset", root / "a", root=root / "in", codec=codec)
            export(root / "a", None, root / "out", to="webdataset", image_format="source")
            check(before, files_of(root / "out" / "train-000000.tar"))
            stock = (root / "in" / "train-000000.tar").stat().st_size
            plain = sum(len(member_bytes(name, data)) for name, data in before) + 1024
            stored = sum(path.stat().st_size for path in (root / "a").rglob("*") if path.is_file())
            beside = sum(
                manifest.totals[task.name].stored_bytes
                for task in manifest.tasks
                if not task.is_map
            )
            print(
                f"| {name} | {sum(manifest.splits.values())} | {stock:,} | {plain:,} | "
                f"{stored:,} ({stored / stock:.2f}) | {beside:,} |"
            )
            small = [data for name, data in before if not name.endswith((".jpg", ".png"))]
            print(
                f"    fields beside pictures: {len(small)} files of {sum(map(len, small)):,} "
                f"bytes, {sum(len(member_bytes('x', data)) for data in small):,} in plain tars"
            )
    print(json.dumps({"checked": "names, endings, order, exact fields to the byte"}))


if __name__ == "__main__":
    main()
