"""The replay buffer's speed from task to task, beside raw HDF5 and JPEG files, and its memory.

    python -m benchmarks.replay_buffer [--data cifar100/train.zip] [--tasks 20] [--budgets 2,20,200]

One core. Speeds are medians over rounds that take turns. Pictures are generated unless --data names
a zip or folder of ``<class>/<file>``.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.scenario.images import load_images
from tests.replay.pictures import pictures

BATCH = 64


def task_images(args: argparse.Namespace) -> NDArray[np.uint8]:
    if args.data:
        train = load_images(args.data)
        rng = np.random.default_rng(0)
        return train.images[rng.permutation(len(train.images))[: args.samples * args.tasks]]
    return pictures(args.samples * args.tasks, args.side)


def over_tasks(images: NDArray[np.uint8], args: argparse.Namespace, folder: Path) -> None:
    print(f"\nadding {args.samples} images a task, then reading {args.reads} at random, in batches")
    print(f"{'task':>4} {'exemplars':>9} {'bytes':>9} {'offered/s':>10} {'decoded/s':>10}")
    buffer = ReplayBuffer(
        folder / "tasks.h5", budget=args.budget, codec=args.codec, policy=args.policy
    )
    rng = np.random.default_rng(0)
    for task in range(args.tasks):
        part = images[task * args.samples : (task + 1) * args.samples]
        began = time.perf_counter()
        buffer.add(part, np.arange(len(part)) % 5 + 5 * task)
        added_s = time.perf_counter() - began
        speeds = [decoded_per_second(buffer, rng, args.reads) for _ in range(args.rounds)]
        print(
            f"{task + 1:4d} {len(buffer):9d} {buffer.nbytes:9d} {len(part) / added_s:10.0f} "
            f"{statistics.median(speeds):10.0f}"
        )


def decoded_per_second(buffer: Any, rng: np.random.Generator, reads: int) -> float:
    order = rng.integers(0, len(buffer), reads).tolist()
    began = time.perf_counter()
    for start in range(0, reads, BATCH):
        buffer.__getitems__(order[start : start + BATCH])
    return reads / (time.perf_counter() - began)


class RawHdf5:
    """Images as they are in one data set, a chunk an image."""

    def __init__(self, path: Path, images: NDArray[np.uint8]) -> None:
        self._file = h5py.File(path, "w")
        self._data = self._file.create_dataset("images", data=images, chunks=(1, *images.shape[1:]))
        self.nbytes = images.nbytes

    def __len__(self) -> int:
        return len(self._data)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        return [self._data[index] for index in indices]


class JpegFiles:
    """A JPEG file an image, quality 50."""

    def __init__(self, folder: Path, images: NDArray[np.uint8]) -> None:
        folder.mkdir()
        self._paths = [folder / f"{at}.jpg" for at in range(len(images))]
        self.nbytes = 0
        for path, image in zip(self._paths, images, strict=True):
            self.nbytes += path.write_bytes(imagecodecs.jpeg8_encode(image, level=50))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        return [imagecodecs.jpeg8_decode(self._paths[index].read_bytes()) for index in indices]


def beside_others(images: NDArray[np.uint8], args: argparse.Namespace, folder: Path) -> None:
    images = images[: args.samples]
    labels = np.zeros(len(images), int)
    stores: dict[str, Any] = {"raw HDF5": RawHdf5(folder / "raw.h5", images)}
    stores["JPEG files q50"] = JpegFiles(folder / "jpeg", images)
    for codec in args.codecs.split(","):
        stores[f"buffer {codec} q50"] = made = ReplayBuffer(
            folder / f"{codec}.h5", budget="10GB", codec=codec
        )
        made.add(images, labels)
    stores["buffer webp, cache"] = cached = ReplayBuffer(
        folder / "cached.h5", budget="10GB", codec="webp", cache="1GB"
    )
    cached.add(images, labels)
    cached.__getitems__(range(len(cached)))
    print(f"\ndecoded exemplars a second on one core, {images.shape[1]} px, batches of {BATCH}")
    print(f"{'store':20} {'bytes each':>10} {'a second':>10} {'ratio':>6}")
    speeds: dict[str, list[float]] = {name: [] for name in stores}
    for turn in range(args.rounds):
        for name, store in stores.items():
            speeds[name].append(decoded_per_second(store, np.random.default_rng(turn), args.reads))
    base = statistics.median(speeds["raw HDF5"])
    for name, store in stores.items():
        speed = statistics.median(speeds[name])
        print(f"{name:20} {store.nbytes / len(store):10.0f} {speed:10.0f} {speed / base:6.2f}")


def memory(args: argparse.Namespace) -> None:
    print("\npeak memory of a process that fills a buffer with noise, then reads all of it")
    print(f"{'budget MB':>9} {'exemplars':>9} {'peak MB':>8} {'over the smallest MB':>21}")
    first = None
    for budget in args.budgets.split(","):
        command = [sys.executable, "-m", "benchmarks.replay_buffer", "--memory-of", budget]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        count, peak = ran.stdout.split()
        first = float(peak) if first is None else first
        print(f"{budget:>9} {count:>9} {float(peak):8.1f} {float(peak) - first:21.1f}")


def fill(budget_mb: int) -> None:
    """Fill a buffer by parts of one size, whatever the budget; print exemplars and peak memory."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        buffer = ReplayBuffer(Path(folder) / "b.h5", budget=budget_mb * 1_000_000, codec="png")
        with buffer.transaction():
            while buffer.nbytes < 0.95 * buffer.budget:
                images = rng.integers(0, 256, (16, 96, 96, 3)).astype(np.uint8)
                buffer.add(images, np.zeros(16, int))
        for start in range(0, len(buffer), BATCH):
            buffer.__getitems__(range(start, min(start + BATCH, len(buffer))))
        print(len(buffer), peak_mb())


def peak_mb() -> float:
    """Return the peak of this process; `getrusage` would count its parent's at the fork too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def commits(args: argparse.Namespace, folder: Path) -> None:
    print("\none image added to a full buffer, with commit")
    print(f"{'budget MB':>9} {'ms':>8}")
    for budget in args.budgets.split(","):
        rng = np.random.default_rng(0)
        path = folder / f"commit{budget}.h5"
        buffer = ReplayBuffer(path, budget=int(budget) * 1_000_000, codec="png")
        count = int(budget) * 1_000_000 // 27_000
        with buffer.transaction():
            for start in range(0, count, 64):
                images = rng.integers(0, 256, (min(64, count - start), 96, 96, 3))
                buffer.add(images.astype(np.uint8), np.zeros(len(images), int))
        one = pictures(1, 96)
        found = []
        for _ in range(args.rounds):
            began = time.perf_counter()
            buffer.add(one, [0])
            found.append(time.perf_counter() - began)
        print(f"{budget:>9} {1000 * statistics.median(found):8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="zip or folder of <class>/<file>")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--samples", type=int, default=1000, help="images a task")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--budget", default="200kB")
    parser.add_argument("--codec", default="webp")
    parser.add_argument("--codecs", default="webp,jpeg,png")
    parser.add_argument("--policy", default="class-balanced")
    parser.add_argument("--reads", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budgets", default="2,20,100", help="MB")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        fill(args.memory_of)
        return
    images = task_images(args)
    with tempfile.TemporaryDirectory() as name:
        over_tasks(images, args, Path(name))
        beside_others(images, args, Path(name))
        commits(args, Path(name))
    memory(args)


if __name__ == "__main__":
    main()
