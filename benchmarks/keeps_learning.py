"""What an encoder gains that learns each task's images while its decoder stays frozen.

    python -m benchmarks.keeps_learning DIR [--test DIR] [--tasks 4] [--classes 10] [--steps 150]

DIR is what `dsc._replay.scenario.images.load_split` reads: a folder with ``train.zip`` and
``val.zip`` of ``<class>/<file>``. With ``--photographs``, DIR is a folder of pictures instead: one
task, of whose 256-pixel middles every second one is learned from and the others are measured.

Version 0 is the shipped ``independent``. After each task its encoder is trained on that task's
training images: once from the version of the task before (continued), once from version 0 (anew).
All figures are of held-out images: Bjøntegaard-delta rates against version 0 over the qualities,
and bits at equal PSNR at each of them. Negative is fewer bits; - stands where version 0 does not
reach that PSNR. At the end the exemplars of every
version are read back and compared, by hash, with what they were when they were written.
"""

import argparse
import hashlib
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray

from dsc._bench.rate_distortion.curves import Curve, bd_rate, rate_at
from dsc._codecs.registry import make_codec
from dsc._replay.buffer.adapt import adapt_encoder
from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.tasks import IMAGE
from dsc._replay.scenario.images import load_split
from dsc._schemas import Quality, TaskKind

KIND = "independent"
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Task:
    """One task: images to learn from, and held-out ones to measure on."""

    train: Images
    held_out: Images


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    tasks = photographs(args) if args.photographs else class_tasks(args)
    size = "x".join(map(str, tasks[0].train.shape[1:3]))
    print(
        f"{len(tasks)} tasks, {len(tasks[0].train)} images of {size} to learn from and "
        f"{len(tasks[0].held_out)} to measure on in each; {args.steps} steps of {args.batch}, "
        f"lr {args.lr:g}, qualities {args.train_quality}"
    )
    first: Any = make_codec(KIND, [IMAGE])
    before = [curve(first, task.held_out, args.qualities) for task in tasks]
    for number, points in enumerate(before, 1):
        text = "  ".join(f"{rate:.3f}/{db:.2f}" for rate, db in points)
        print(f"version 0, task {number}, bpp/dB at {list(args.qualities)}: {text}")
    versions = continued(first, tasks, before, args)
    anew(first, tasks, before, args)
    verify(versions, tasks, args)


def continued(
    first: Any, tasks: Sequence[Task], before: Sequence[Any], args: argparse.Namespace
) -> list[Any]:
    """Train from task to task, and measure on all tasks after each, also on those to come."""
    print("\ncontinued, v(t-1) to v(t): BD-rate on each task's held-out images, % against v0")
    print("version  seconds  " + "".join(f"task {n:<6}" for n in range(1, len(tasks) + 1)))
    versions, rows = [first], []
    for number, task in enumerate(tasks, 1):
        codec, seconds = adapted(versions[-1], task, args, number)
        versions.append(codec)
        cells = []
        for place, other in enumerate(tasks, 1):
            points = curve(codec, other.held_out, args.qualities)
            cells.append(f"{delta(before[place - 1], points):+.2f}")
            if place == number:
                rows.append((number, per_quality(before[place - 1], points)))
        print(
            f"v{number:<7} {seconds:7.0f}  " + "".join(f"{cell:<11}" for cell in cells), flush=True
        )
    print_qualities("continued, own task: bits at equal PSNR, % against v0", rows, args)
    return versions


def anew(
    first: Any, tasks: Sequence[Task], before: Sequence[Any], args: argparse.Namespace
) -> None:
    """Train from version 0 for each task."""
    rows, found = [], []
    for number, task in enumerate(tasks[1:], 2):
        codec, _ = adapted(first, task, args, number)
        points = curve(codec, task.held_out, args.qualities)
        found.append(delta(before[number - 1], points))
        rows.append((number, per_quality(before[number - 1], points)))
    if not rows:
        return
    text = "  ".join(f"task {number} {x:+.2f}" for number, x in enumerate(found, 2))
    print(f"\nanew, v0 to v(t): BD-rate on the own task, % against v0: {text}")
    print(f"median {statistics.median(found):+.2f} (task 1 is the same in both arms)")
    print_qualities("anew, own task: bits at equal PSNR, % against v0", rows, args)


def adapted(codec: Any, task: Task, args: argparse.Namespace, seed: int) -> tuple[Any, float]:
    began = time.perf_counter()
    made = adapt_encoder(
        codec, task.train, steps=args.steps, batch=args.batch, lr=args.lr, seed=seed,
        quality=args.train_quality,
    )  # fmt: skip
    return made, time.perf_counter() - began


def verify(versions: Sequence[Any], tasks: Sequence[Task], args: argparse.Namespace) -> None:
    """Write exemplars of every version into one buffer and read them all at the end."""
    with tempfile.TemporaryDirectory() as folder:
        path, written = Path(folder) / "buffer.h5", {}
        for number, codec in enumerate(versions):
            images = tasks[max(0, number - 1)].held_out[:8]
            with ReplayBuffer(path, "50MB", codec, quality=50) as buffer:
                keys = [f"v{number}-{at}" for at in range(len(images))]
                buffer.add(images, np.full(len(images), number), keys=keys)
                decoded, _ = buffer.through_codec(images)
            written |= {key: sha256(x) for key, x in zip(keys, decoded, strict=True)}
        reader = ReplayBuffer.open(path)
        found = {key: sha256(reader[at][0]) for at, key in enumerate(reader.keys)}
        same = sum(found[key] == written[key] for key in written)
        with h5py.File(path) as file:
            copies = len(file["weights"])
        report = reader.report()
    whole = sum(len(codec.weights()) for codec in versions)
    print(
        f"\n{same} of {len(written)} exemplars of {len(versions)} encoder versions decode to the "
        f"bytes that they had when they were written; the buffer holds {copies} decoder of "
        f"{report.decoder_bytes} bytes ({whole} as whole codec files)"
    )


def curve(codec: Any, images: Images, qualities: Sequence[int]) -> list[tuple[float, float]]:
    """Return bits a pixel and PSNR over all images at each quality, from real bitstreams."""
    points = []
    for quality in qualities:
        streams = codec.encode_batch([{"rgb": x} for x in images], Quality(default=quality))
        decoded = codec.decode_batch(streams, ["rgb"], images[0].size)
        errors = [
            np.mean((x["rgb"].astype(np.float64) - y) ** 2)
            for x, y in zip(decoded, images, strict=True)
        ]
        bits = 8 * sum(len(stream["rgb"]) for stream in streams)
        psnr_db = 10 * np.log10(255**2 / np.mean(errors))
        points.append((bits / (images.size / 3), float(psnr_db)))
    return points


def delta(anchor: Any, points: Any) -> float:
    found = bd_rate(Curve.of(TaskKind.IMAGE, anchor), Curve.of(TaskKind.IMAGE, points))
    return float("nan") if found is None else found.percent


def per_quality(anchor: Any, points: Any) -> list[float]:
    """Return the bits of each point against the anchor's at the same PSNR, in per cent."""
    known = Curve.of(TaskKind.IMAGE, anchor)
    rates = [(rate, rate_at(known, db)) for rate, db in points]
    return [float("nan") if old is None else 100 * (new / old - 1) for new, old in rates]


def print_qualities(
    title: str, rows: Sequence[tuple[int, list[float]]], args: argparse.Namespace
) -> None:
    print(f"\n{title}")
    print("task  " + "".join(f"q{quality:<7}" for quality in args.qualities))
    for number, values in rows:
        cells = ("-" if math.isnan(value) else f"{value:+.2f}" for value in values)
        print(f"{number:<4}  " + "".join(f"{cell:<8}" for cell in cells))


def class_tasks(args: argparse.Namespace) -> list[Task]:
    count = args.tasks * args.classes
    train, held_out = load_split(args.place, args.test, classes=count)
    rng = np.random.default_rng(0)
    found = []
    for number in range(args.tasks):
        low = number * args.classes
        own, other = (
            (s.labels >= low) & (s.labels < low + args.classes) for s in (train, held_out)
        )
        chosen = rng.permutation(np.flatnonzero(other))[: args.measured]
        found.append(Task(train.images[own], held_out.images[np.sort(chosen)]))
    return found


def photographs(args: argparse.Namespace) -> list[Task]:
    images = np.stack(list(middles(Path(args.place), 256)))
    return [Task(images[::2], images[1::2][: args.measured])]


def middles(place: Path, side: int) -> Iterator[Images]:
    for path in sorted(place.iterdir()):
        image = imagecodecs.imread(path)
        if image.ndim == 3 and min(image.shape[:2]) >= side:
            top, left = ((size - side) // 2 for size in image.shape[:2])
            yield image[top : top + side, left : left + side, :3]


def sha256(image: Images) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("place")
    parser.add_argument("--test", help="where the held-out images are, if not in the same folder")
    parser.add_argument("--photographs", action="store_true", help="a folder of pictures, one task")
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--classes", type=int, default=10, help="of a task")
    parser.add_argument("--steps", type=int, default=150, help="of each training")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--measured", type=int, default=64, help="held-out images of a task")
    parser.add_argument("--qualities", type=int, nargs="+", default=[10, 30, 50, 70, 90])
    parser.add_argument(
        "--train-quality", type=int, nargs=2, default=(1, 100), metavar=("LOW", "HIGH")
    )
    args = parser.parse_args()
    args.train_quality = tuple(args.train_quality)
    return args


if __name__ == "__main__":
    main()
