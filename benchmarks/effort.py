"""What effort costs and what it saves: `av1` at each effort beside libaom's plain speeds.

    python -m benchmarks.effort                 # the curve, sets one after another
    python -m benchmarks.effort --job 16        # and `dsc compress`, beside AVIF and PNG in a tar
    python -m benchmarks.effort --show          # tables and picture of the figures that were kept

For each set and codec, some pictures at four qualities. Bytes are compared at equal distortion (the
mean difference of log bytes over the distortions that both reach), seconds are processor time and
are given beside those of speed 4, which was the default before there were efforts, in one run.
"""

import argparse
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

import dsc
from dsc._codecs.base import at_effort
from dsc._codecs.classical.av1 import Av1Codec
from dsc._codecs.classical.ycbcr import Settings
from dsc._codecs.registry import make_codec
from dsc._pipeline.metrics import HIGHER_IS_BETTER, measure
from dsc._schemas import Effort, Quality, Task, TaskKind
from dsc._sources.registry import open_source

KEPT = Path(__file__).parent / "results" / "effort.json"
QUALITIES = (45, 55, 65, 75)
METRICS = {
    TaskKind.IMAGE: ("psnr_db", "ms_ssim"),
    TaskKind.DEPTH: ("absrel", "rmse_m"),
    TaskKind.NORMAL: ("mean_angle_deg",),
}
SPEEDS = (4, 5, 6, 7, 8, 9)
BEFORE = "speed 4"
SUMMARY = ("speed 5", "speed 6", "speed 8", "av1 fast", "av1 default", "av1 best")
Point = tuple[float, dict[str, float]]  # bytes, and the mean of each metric
Set = tuple[Task, list[np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--pictures", type=int, default=3, help="of each set, evenly spread")
    parser.add_argument("--sets", help="some of them, with commas")
    parser.add_argument("--job", type=int, default=0, help="frames of the whole job")
    parser.add_argument("--show", action="store_true", help="only show what was kept")
    parser.add_argument("--out", type=Path, default=KEPT)
    parser.add_argument("--figure", type=Path, help="where to draw the curves")
    args = parser.parse_args()
    found = json.loads(args.out.read_text()) if args.out.exists() else {}
    if not args.show:
        for name, (task, arrays) in sets(Path(args.data), args.pictures, args.sets):
            found[name] = {label: curve(codec, task, arrays) for label, codec in codecs(task)}
            print(f"{name}: {len(arrays)} pictures", flush=True)
            args.out.write_text(json.dumps(found, indent=1) + "\n")
        if args.job:
            found["job"] = whole_job(Path(args.data), args.job)
            args.out.write_text(json.dumps(found, indent=1) + "\n")
    show(found)
    if args.figure:
        draw(found, args.figure)


def sets(data: Path, count: int, wanted: str | None) -> Iterator[tuple[str, Set]]:
    """Yield each set's name, task and pictures."""
    where: list[tuple[str, str, Callable[[], Any]]] = [
        ("NYUv2", "rgb,depth", lambda: open_source("nyuv2", str(data / "nyuv2"))),
        ("7-Scenes", "rgb,depth", lambda: open_source("folder", str(data / "sevenscenes"))),
        ("rendered", "rgb,depth_zbuffer,normal", lambda: open_source("sample", n=count, seed=7)),
        ("Kodak", "kodak", lambda: open_source("folder", str(data), tasks="kodak")),
        ("photographs", "natural", lambda: open_source("folder", str(data), tasks="natural")),
    ]
    for name, tasks, make in where:
        for task_name in tasks.split(","):
            label = f"{name} {task_name.partition('_')[0]}".replace(" kodak", "").replace(
                " natural", ""
            )
            if wanted and label not in wanted.split(","):
                continue
            if task_name in ("kodak", "natural"):
                yield label, photographs(data / task_name, count)
                continue
            source = make()
            (task,) = (one for one in source.tasks if one.name == task_name)
            chosen = (np.arange(count) * 2 + 1) * len(source) // (2 * count)
            arrays = [source.read(int(k), [task_name]).arrays[task_name] for k in chosen]
            yield label, (task, arrays)


def photographs(folder: Path, count: int) -> Set:
    """Read some photographs of a folder."""
    files = sorted(folder.iterdir())
    chosen = [files[(2 * k + 1) * len(files) // (2 * count)] for k in range(count)]
    arrays = [np.ascontiguousarray(imagecodecs.imread(str(path))[..., :3]) for path in chosen]
    return Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3), arrays


class PlainAv1(Av1Codec):
    """`av1` by one of libaom's speeds, without any option."""

    def __init__(self, tasks: Sequence[Task], speed: int) -> None:
        super().__init__(tasks)
        self._speed = speed

    def settings(self, task: Task, image: np.ndarray) -> Settings:
        """Return the speed."""
        return Settings(self._speed)


def codecs(task: Task) -> Iterator[tuple[str, Any]]:
    """Yield what is compared, by name."""
    for speed in SPEEDS:
        yield f"speed {speed}", PlainAv1([task], speed)
    for effort in Effort:
        yield f"av1 {effort}", at_effort(make_codec("av1", [task]), effort)
    if task.kind is TaskKind.IMAGE:
        for effort in (Effort.FAST, Effort.DEFAULT):
            yield f"jxl {effort}", at_effort(make_codec("jxl", [task]), effort)


def curve(codec: Any, task: Task, arrays: Sequence[np.ndarray]) -> dict[str, Any]:
    """Measure bytes and distortion at each quality, and seconds of encoding and decoding."""
    points, encode_s, decode_s = [], 0.0, 0.0
    for quality in QUALITIES:
        size, means = 0, []
        for array in arrays:
            began = time.process_time()
            (coded,) = codec.encode_batch([{task.name: array}], Quality(default=quality))
            middle = time.process_time()
            (back,) = codec.decode_batch([coded], [task.name], array.size)
            encode_s, decode_s = encode_s + middle - began, decode_s + time.process_time() - middle
            size += len(coded[task.name])
            means.append(measure(task, array, back[task.name]))
        metrics = {m: float(np.mean([one[m] for one in means])) for m in METRICS[task.kind]}
        points.append((size / len(arrays), metrics))
    each = len(arrays) * len(QUALITIES)
    return {
        "points": points,
        "encode_ms": 1e3 * encode_s / each,
        "decode_ms": 1e3 * decode_s / each,
    }


def more_bytes(points: Sequence[Point], reference: Sequence[Point], metric: str) -> float:
    """Return by what share more bytes reach the same; NaN where nothing is the same."""

    def line(of: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
        values = np.array([metrics[metric] for _, metrics in of])
        if metric == "ms_ssim":
            values = -np.log(1 - values)
        elif not HIGHER_IS_BETTER[metric]:
            values = -np.log(values)
        order = np.argsort(values)
        return values[order], np.log([size for size, _ in of])[order]

    (here, sizes), (there, others) = line(points), line(reference)
    low, high = max(here[0], there[0]), min(here[-1], there[-1])
    if low >= high:
        return float("nan")
    at = np.linspace(low, high, 100)
    return float(np.exp(np.mean(np.interp(at, here, sizes) - np.interp(at, there, others))) - 1)


def whole_job(data: Path, frames: int) -> dict[str, dict[str, float]]:
    """Compress the first frames of NYUv2, each way once after another; seconds and bytes in all."""
    names, found = ["rgb", "depth"], {}
    source = open_source("nyuv2", str(data / "nyuv2"))
    first = Some(source, frames)
    with tempfile.TemporaryDirectory() as place:
        ways: dict[str, Callable[[Path], Any]] = {"AVIF speed 6, PNG16, tar": first.tar}
        for effort in Effort:
            ways[f"dsc compress --effort {effort}"] = lambda out, effort=effort: dsc.compress(
                first, out, tasks=names, effort=str(effort)
            )
        for name, way in ways.items():
            out = Path(place) / name.replace(" ", "-")
            began = time.process_time()
            way(out)
            seconds = time.process_time() - began
            files = [out] if out.is_file() else [p for p in out.rglob("*") if p.is_file()]
            found[name] = {"seconds": seconds, "bytes": sum(p.stat().st_size for p in files)}
    return found


class Some:
    """The first samples of a source."""

    def __init__(self, source: Any, count: int) -> None:
        self._source, self._count = source, count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __len__(self) -> int:
        return self._count

    def tar(self, out: Path) -> None:
        """Write AVIF files by speed 6 and PNG files of 16 bits into a tar."""
        with tarfile.open(out, "w") as tar:
            for k in range(self._count):
                arrays = self._source.read(k, ["rgb", "depth"]).arrays
                files = {
                    "rgb.avif": imagecodecs.avif_encode(
                        arrays["rgb"], level=60, speed=6, numthreads=1
                    ),
                    "depth.png": imagecodecs.png_encode(arrays["depth"].astype(np.uint16)),
                }
                for name, coded in files.items():
                    info = tarfile.TarInfo(f"{k:06d}.{name}")
                    info.size = len(coded)
                    tar.addfile(info, io.BytesIO(coded))


def show(found: dict[str, Any]) -> None:
    """Print the tables: all codecs of each set, then the efforts of all sets, and the whole job."""
    every = {name: curves for name, curves in found.items() if name != "job"}
    for name, curves in every.items():
        metrics = list(curves[BEFORE]["points"][0][1])
        print(f"\n### {name}\n\n| codec | bytes at equal {' / '.join(metrics)} | encode, beside "
              f"{BEFORE} | decode |\n| --- | --- | --- | --- |")  # fmt: skip
        before = curves[BEFORE]
        for label, one in curves.items():
            more = [more_bytes(one["points"], before["points"], metric) for metric in metrics]
            text = " / ".join(f"{100 * share:+.1f} %" for share in more)
            encode, decode = (one[k] / before[k] for k in ("encode_ms", "decode_ms"))
            print(f"| {label} | {text} | {encode:.2f} ({one['encode_ms']:.0f} ms) | {decode:.2f} |")
    print(f"\n| data | {' | '.join(SUMMARY)} |\n| --- |{' --- |' * len(SUMMARY)}")
    for name, curves in every.items():
        print(f"| {name} | {' | '.join(cell(curves, label) for label in SUMMARY)} |")
    if "job" in found:
        (first, *_), whole = found["job"], found["job"]
        print("\n| whole job | processor seconds | beside | bytes |\n| --- | --- | --- | --- |")
        for label, one in whole.items():
            ratio = one["seconds"] / whole[first]["seconds"]
            print(f"| {label} | {one['seconds']:.1f} | {ratio:.2f} | {one['bytes']:,.0f} |")


def cell(curves: dict[str, Any], label: str) -> str:
    """Return bytes and seconds of one codec beside speed 4, for a table."""
    one, before = curves[label], curves[BEFORE]
    metrics = before["points"][0][1]
    more = [more_bytes(one["points"], before["points"], metric) for metric in metrics]
    text = " / ".join(f"{100 * share:+.1f}" for share in more).replace("-", "−")
    return f"{text} %; {one['encode_ms'] / before['encode_ms']:.2f} ×"


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw bytes over seconds, both beside speed 4, a panel a set."""
    import matplotlib.pyplot as plt

    every = {name: curves for name, curves in found.items() if name != "job"}
    rows = -(-len(every) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(9, 2.6 * rows), sharex=True)
    for axis, (name, curves) in zip(axes.flat, every.items(), strict=False):
        before = curves[BEFORE]
        metric = next(iter(before["points"][0][1]))
        for labels, style in ((SPEEDS, "o-"), (list(Effort), "s-")):
            names = [f"speed {one}" if style == "o-" else f"av1 {one}" for one in labels]
            x = [curves[one]["encode_ms"] / before["encode_ms"] for one in names]
            y = [100 * more_bytes(curves[one]["points"], before["points"], metric) for one in names]
            label = "libaom, speeds 4 to 9" if style == "o-" else "av1: fast, default, best"
            axis.plot(x, y, style, label=label, markersize=4)
        axis.set(title=name, xscale="log", ylim=(-15, 60))
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=7)
    figure.supxlabel("processor time of encoding, beside speed 4")
    figure.supylabel("more bytes at equal distortion, %")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
