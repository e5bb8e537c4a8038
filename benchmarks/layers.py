"""Coarse first: what levels of `av1-layered` and `label-layered` take, beside one stream.

    DSC_TEST_DATA=../shared/data python -m benchmarks.layers

For each set, pictures evenly spread. Bytes are payloads and, of each stream, the 8 bytes that a
pack's table has for a sample. The whole maps of `av1-layered` are those of `av1`, value for value,
so that all levels are compared at equal distortion as they are; those of `label-layered` come back
exactly, as those of `label-context`, beside which they are. The coarse map is compared with the
means (of depth the medians) of the original's squares.

The last column is a control: a second level that is the residual to the enlarged coarse picture,
128 for none, coded by `av1` as a picture. It comes back with another error, so its bytes are put
beside those that `av1` takes for that PSNR, interpolated in their logarithm between qualities.
"""

import argparse
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np

from benchmarks.effort import photographs
from dsc._codecs.base import Codec, decoder_from
from dsc._codecs.maps.coarse import FACTOR, coarse_map
from dsc._codecs.registry import make_codec
from dsc._pipeline.metrics import measure
from dsc._schemas import Quality, Task, TaskKind
from dsc._sources.registry import open_source

QUALITIES = (45, 60, 75)
CURVE = (25, 35, 45, 55, 65, 75, 85)
TABLE_BYTES = 8  # of a sample and stream in a pack
METRIC = {TaskKind.IMAGE: ("psnr_db", "{:.1f} dB"), TaskKind.DEPTH: ("absrel", "{:.2%}")}
# Of 64: what the first two of four pixels are of the means of five squares, theirs in the middle;
# the other two have them the other way round. The least squares on photographs, NYUv2 and
# Tiny-ImageNet.
TAPS = ((-3, 20, 57, -12, 2), (0, 1, 71, -10, 2))
Set = tuple[Task, list[np.ndarray]]


@dataclass(frozen=True)
class Row:
    """Of a set at a quality: bytes of the levels and of `av1`, and the coarse maps' distortion."""

    coarse_bytes: int
    whole_bytes: int
    single_bytes: int
    distortion: float
    residual: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--pictures", type=int, default=4, help="of each set, evenly spread")
    args = parser.parse_args()
    print("| set | quality | first level of all | all beside one | coarse map | residual |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (task, arrays) in sets(Path(args.data), args.pictures):
        if task.kind is TaskKind.LABEL:
            coarse, whole, single = labels_compared(task, arrays)
            every = coarse + whole
            print(
                f"| {name} | | {coarse / every:.3f} | {every / single:.3f} | exact | |", flush=True
            )
            continue
        curves = [curve(task, array) for array in arrays]
        for quality in QUALITIES:
            row = compared(task, arrays, curves, Quality(default=quality))
            _, form = METRIC[task.kind]
            cells = (
                f"{row.coarse_bytes / (row.coarse_bytes + row.whole_bytes):.3f}",
                f"{(row.coarse_bytes + row.whole_bytes) / row.single_bytes:.3f}",
                form.format(row.distortion),
                "" if row.residual is None else f"{row.residual:.3f}",
            )
            print(f"| {name} | {quality} | {' | '.join(cells)} |", flush=True)


def sets(data: Path, count: int) -> Iterator[tuple[str, Set]]:
    """Yield each set's name, task and pictures."""
    yield "photographs", photographs(data / "natural", count)
    yield "Kodak", photographs(data / "kodak", count)
    small = photographs(data / "kodak", 1)[0], list(_thumbnails(data, 8 * count))
    yield "Tiny-ImageNet-40, 64 px", small
    readers: Sequence[tuple[str, str, Callable[[], object]]] = (
        ("NYUv2", "rgb", lambda: open_source("nyuv2", str(data / "nyuv2"))),
        ("NYUv2", "depth", lambda: open_source("nyuv2", str(data / "nyuv2"))),
        ("7-Scenes", "depth", lambda: open_source("folder", str(data / "sevenscenes"))),
        ("NYUv2", "label", lambda: open_source("nyuv2", str(data / "nyuv2"))),
        ("rendered rooms", "segment_semantic", lambda: open_source("sample", n=8 * count)),
    )
    for name, task_name, opened in readers:
        source = opened()
        (task,) = (one for one in source.tasks if one.name == task_name)
        some = 8 * count if task.kind is TaskKind.LABEL else count
        chosen = [(2 * k + 1) * len(source) // (2 * some) for k in range(some)]
        arrays = [source.read(k, [task_name]).arrays[task_name] for k in chosen]
        yield f"{name} {task_name}", (task, arrays)


def _thumbnails(data: Path, count: int) -> Iterator[np.ndarray]:
    """Yield pictures of 64×64 pixels."""
    with zipfile.ZipFile(data / "tiny_imagenet40" / "val.zip") as held:
        names = sorted(name for name in held.namelist() if name.endswith(".JPEG"))
        for k in range(count):
            image = imagecodecs.jpeg8_decode(
                held.read(names[(2 * k + 1) * len(names) // 2 // count])
            )
            yield np.ascontiguousarray(np.broadcast_to(np.atleast_3d(image), (64, 64, 3)))


def curve(task: Task, array: np.ndarray) -> np.ndarray:
    """Return (n, 2): PSNR, rising, and bytes of a picture by `av1`; of depth none."""
    if task.kind is not TaskKind.IMAGE:
        return np.empty((0, 2))
    codec, points = make_codec("av1", [task]), []
    for quality in CURVE:
        data = _coded(codec, task, array, Quality(default=quality))
        points.append((_psnr(task, array, _decoded(codec, task, data, array.size)), len(data)))
    return np.array(sorted(points))


def compared(
    task: Task, arrays: Sequence[np.ndarray], curves: Sequence[np.ndarray], quality: Quality
) -> Row:
    """Code the pictures both ways."""
    layered, single = make_codec("av1-layered", [task]), make_codec("av1", [task])
    metric, _ = METRIC[task.kind]
    coarse_bytes = whole_bytes = single_bytes = 0
    distortions, residuals = [], []
    for array, known in zip(arrays, curves, strict=True):
        (levels,) = layered.encode_batch([{task.name: array}], quality)
        first, second = levels
        coarse_bytes += len(levels[first]) + TABLE_BYTES
        whole_bytes += len(levels[second]) + TABLE_BYTES
        single_bytes += len(_coded(single, task, array, quality)) + TABLE_BYTES
        decoder = decoder_from(layered, [first])
        (found,) = decoder.decode_batch([levels], [task.name], array.size)
        distortions.append(measure(task, coarse_map(task, array), found[task.name])[metric])
        if task.kind is TaskKind.IMAGE:
            both = residual_levels(task, array, found[task.name], len(levels[first]), quality)
            residuals.append(beside_curve(known, *both))
    mean = float(np.mean(residuals)) if residuals else None
    return Row(coarse_bytes, whole_bytes, single_bytes, float(np.mean(distortions)), mean)


def labels_compared(task: Task, arrays: Sequence[np.ndarray]) -> tuple[int, int, int]:
    """Return the bytes of both levels of label maps, and those of one stream."""
    layered, single = make_codec("label-layered", [task]), make_codec("label-context", [task])
    coarse_bytes = whole_bytes = single_bytes = 0
    for array in arrays:
        (levels,) = layered.encode_batch([{task.name: array}], Quality())
        first, second = levels.values()
        coarse_bytes += len(first) + TABLE_BYTES
        whole_bytes += len(second) + TABLE_BYTES
        single_bytes += len(_coded(single, task, array, Quality())) + TABLE_BYTES
    return coarse_bytes, whole_bytes, single_bytes


def residual_levels(
    task: Task, image: np.ndarray, coarse: np.ndarray, coarse_bytes: int, quality: Quality
) -> tuple[float, int]:
    """Code a residual to the coarse picture; return the PSNR, and the bytes of both levels."""
    codec = make_codec("av1", [task])
    predicted = enlarged(coarse, image.shape[0], image.shape[1])
    residual = (image - predicted + 128).clip(0, 255).astype(np.uint8)
    data = _coded(codec, task, residual, quality)
    back = (predicted + _decoded(codec, task, data, image.size) - 128).clip(0, 255)
    reached = _psnr(task, image, back.astype(np.uint8))
    return reached, coarse_bytes + len(data) + 2 * TABLE_BYTES


def beside_curve(known: np.ndarray, psnr_db: float, size: int) -> float:
    """Return bytes beside those of one picture of the same PSNR."""
    decibels, sizes = known.T
    return size / float(np.exp(np.interp(psnr_db, decibels, np.log(sizes + TABLE_BYTES))))


def enlarged(coarse: np.ndarray, height: int, width: int) -> np.ndarray:
    """Predict a picture (H, W, 3), int, from the means of its squares, (⌈H/4⌉, ⌈W/4⌉, 3)."""
    rows = _along_first(coarse.astype(np.int64))[:height].swapaxes(0, 1)
    found = _along_first(rows)[:width].swapaxes(0, 1)
    return ((found + (1 << 11)) >> 12).clip(0, 255)


def _along_first(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, ((2, 2), (0, 0), (0, 0)), mode="edge")
    shifted = [padded[at : at + len(values)] for at in range(len(TAPS[0]))]
    phases = (*TAPS, TAPS[1][::-1], TAPS[0][::-1])
    parts = [sum(tap * one for tap, one in zip(taps, shifted, strict=True)) for taps in phases]
    return np.stack(parts, axis=1).reshape(FACTOR * len(values), *values.shape[1:])


def _coded(codec: Codec, task: Task, array: np.ndarray, quality: Quality) -> bytes:
    return codec.encode_batch([{task.name: array}], quality)[0][task.name]


def _decoded(codec: Codec, task: Task, data: bytes, max_pixels: int) -> np.ndarray:
    return codec.decode_batch([{task.name: data}], [task.name], max_pixels)[0][task.name]


def _psnr(task: Task, image: np.ndarray, back: np.ndarray) -> float:
    return float(measure(task, image, back)["psnr_db"])


if __name__ == "__main__":
    main()
