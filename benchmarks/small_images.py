"""Codecs on images of 32 and 64 pixels, where headers weigh: bytes, PSNR and speed.

    DSC_TEST_DATA=../shared/data python -m benchmarks.small_images
    python -m benchmarks.small_images --sets 224 --images 40 --codecs webp,av1-small

Reads ``cifar100/test.zip`` and ``tiny_imagenet40/val.zip``, images evenly spaced over the classes;
with ``--sets 128,224`` photographs of ``natural``, the middle of each resized to that many pixels.
Bytes are those of whole streams, dsc's header included. PSNR is that of the mean squared error over
all images. Bytes at equal PSNR are interpolated in their logarithm between qualities. Speeds are
images over CPU time of this process on one thread, at quality 60. The JPEGs of Tiny-ImageNet are
4:2:0 themselves, which favours coders of that above 28 dB. The last table is of codecs that have
weights: how many images at equal PSNR fit a budget that their weights are paid from, beside
`av1-small`, which has none.
"""

import argparse
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import torch

from dsc._backbones.pictures import resize_middle
from dsc._codecs.base import Codec
from dsc._codecs.registry import make_codec
from dsc._schemas import Quality, Task

SETS = {
    32: ("CIFAR-100", "cifar100/test.zip"),
    64: ("Tiny-ImageNet-40", "tiny_imagenet40/val.zip"),
    128: ("photographs", "natural"),
    224: ("photographs", "natural"),
}
PLAIN = "av1-small"
WEIGHTED = ("av1-small-restored",)
CODECS = ("png", "jpeg", "jpeg-bare", "webp", "webp-bare", "av1", "av1-fast", PLAIN, *WEIGHTED)
REFERENCE = "webp"
BUDGETS_KB = (250, 500, 1000, 2000)
QUALITIES = (2, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90)
PRINTED = (20, 40, 60, 80)
TARGETS_DB = (22, 24, 26, 28, 30, 32, 34)
SPEED_QUALITY = 60
RGB = Task(name="rgb", kind="image", dtype="uint8", channels=3)
READERS: dict[str, Callable[[bytes], np.ndarray]] = {
    ".png": imagecodecs.png_decode,
    ".JPEG": imagecodecs.jpeg8_decode,
}


@dataclass(frozen=True)
class Point:
    """A codec at one quality: bytes an image, PSNR, images a CPU second."""

    payload_bytes: float
    psnr_db: float
    encode_s: float
    decode_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200, help="of each set")
    parser.add_argument("--sets", default="32,64", help="pixels of a side, with commas")
    parser.add_argument("--codecs", default=",".join(CODECS), help="with commas")
    args = parser.parse_args()
    root = Path(os.environ.get("DSC_TEST_DATA", "../shared/data"))
    for side in map(int, args.sets.split(",")):
        title, place = SETS[side]
        images = list(read_images(root / place, args.images, side))
        print(f"{title}, {side} px: {len(images)} images, {images[0].nbytes} bytes raw\n")
        codecs = args.codecs.split(",")
        curves = {codec: [measure(codec, images, q) for q in QUALITIES] for codec in codecs}
        print_qualities(curves)
        print_equal(curves)
        for codec in WEIGHTED:
            if {codec, PLAIN} <= curves.keys():
                print_budgets(codec, curves)


def read_images(path: Path, count: int, side: int | None = None) -> Iterator[np.ndarray]:
    """Yield (H, W, 3) images evenly spaced over the sorted names of a zip file or folder.

    Those whose sides are others are resized to `side`, if one is given.
    """
    for name, data in _files(path, count):
        picture = READERS[Path(name).suffix](data)
        if side is not None and picture.shape[:2] != (side, side):
            picture = resized(picture, side)
        yield picture


def _files(path: Path, count: int) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        files = sorted(found for found in path.iterdir() if found.suffix in READERS)
        for at in np.linspace(0, len(files) - 1, count).astype(int):
            yield files[at].name, files[at].read_bytes()
        return
    with zipfile.ZipFile(path) as file:
        names = sorted(name for name in file.namelist() if Path(name).suffix in READERS)
        for at in np.linspace(0, len(names) - 1, count).astype(int):
            yield names[at], file.read(names[at])


def resized(picture: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of a picture as (side, side, 3)."""
    planes = resize_middle(torch.from_numpy(picture).permute(2, 0, 1)[None].float(), side)
    return planes[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()


def measure(codec_id: str, images: Sequence[np.ndarray], quality: int) -> Point:
    codec: Codec = make_codec(codec_id, [RGB])
    samples = [{RGB.name: image} for image in images]
    codec.encode_batch(samples[:1], Quality(default=quality))  # imports are not timed
    start = time.process_time()
    streams = codec.encode_batch(samples, Quality(default=quality))
    middle = time.process_time()
    decoded = codec.decode_batch(streams, [RGB.name], images[0].size)
    end = time.process_time()
    error = np.mean(
        [
            np.square(image.astype(float) - found[RGB.name]).mean()
            for image, found in zip(images, decoded, strict=True)
        ]
    )
    return Point(
        float(np.mean([len(stream[RGB.name]) for stream in streams])),
        float(10 * np.log10(255**2 / error)) if error else float("inf"),
        len(images) / max(middle - start, 1e-9),
        len(images) / max(end - middle, 1e-9),
    )


def print_qualities(curves: dict[str, list[Point]]) -> None:
    """Bytes and dB at each quality, and speeds."""
    print("| codec | " + " | ".join(f"q {q}: B, dB" for q in PRINTED) + " | enc/s | dec/s |")
    print("| --- |" + " ---: |" * (len(PRINTED) + 2))
    for codec, points in curves.items():
        found = dict(zip(QUALITIES, points, strict=True))
        cells = [f"{found[q].payload_bytes:.0f}, {found[q].psnr_db:.1f}" for q in PRINTED]
        speed = found[SPEED_QUALITY]
        print(f"| {codec} | " + " | ".join(cells)
              + f" | {speed.encode_s:,.0f} | {speed.decode_s:,.0f} |")  # fmt: skip
    print()


def print_equal(curves: dict[str, list[Point]]) -> None:
    """Bytes an image at equal PSNR, and of what the reference takes."""
    reference = [bytes_at(curves[REFERENCE], target) for target in TARGETS_DB]
    print(f"| bytes, and % of {REFERENCE} | " + " | ".join(f"{t} dB" for t in TARGETS_DB) + " |")
    print("| --- |" + " ---: |" * len(TARGETS_DB))
    for codec, points in curves.items():
        if np.isinf(points[0].psnr_db):
            continue
        cells = []
        for target, other in zip(TARGETS_DB, reference, strict=True):
            found = bytes_at(points, target)
            share = "" if np.isnan(other) else f", {100 * found / other:.0f} %"
            cells.append("-" if np.isnan(found) else f"{found:.0f}{share}")
        print(f"| {codec} | " + " | ".join(cells) + " |")
    print()


def print_budgets(codec: str, curves: dict[str, list[Point]]) -> None:
    """Images in a budget at equal PSNR, the decoder's weights included, against `PLAIN`."""
    weights = len(make_codec(codec, [RGB]).weights() or b"")
    print(f"| {codec}, {weights:,} bytes of weights: images, and against {PLAIN} | "
          + " | ".join(f"{target} dB" for target in TARGETS_DB) + " |")  # fmt: skip
    print("| --- |" + " ---: |" * len(TARGETS_DB))
    for budget in BUDGETS_KB:
        cells = []
        for target in TARGETS_DB:
            own = (1000 * budget - weights) / bytes_at(curves[codec], target)
            other = 1000 * budget / bytes_at(curves[PLAIN], target)
            known = not np.isnan(own / other)
            cells.append(f"{own:,.0f}, {100 * own / other - 100:+.1f} %" if known else "-")
        print(f"| {budget} kB | " + " | ".join(cells) + " |")
    print()


def bytes_at(points: Sequence[Point], psnr_db: float) -> float:
    """Interpolate the bytes at a PSNR; NaN outside of what was measured."""
    ordered = sorted(points, key=lambda point: point.psnr_db)
    logs = np.log([point.payload_bytes for point in ordered])
    psnrs = [point.psnr_db for point in ordered]
    return float(np.exp(np.interp(psnr_db, psnrs, logs, np.nan, np.nan)))


if __name__ == "__main__":
    main()
