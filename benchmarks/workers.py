"""How much faster `dsc compress --workers 2` is than one process: a short job, and one of minutes.

    DSC_TEST_DATA=../shared/data python -m benchmarks.workers

Compresses frames of NYUv2 (rgb and depth) by whole commands, their start included, in turn without
and with workers, and prints the ratio of wall-clock times: medians over the rounds. It says
something only where nothing else runs. So processor seconds stand beside, and what they allow: as
many times as fast as if no worker ever waited. The long job's frames are the short one's again, as
often as `--seconds` needs.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PARTS = {"nyu_images": "jpg", "nyu_depths": "png"}


@dataclass(frozen=True)
class Ran:
    """What one command took: wall-clock and processor seconds, all its processes together."""

    wall_s: float
    cpu_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--frames", type=int, default=96, help="of the short job")
    parser.add_argument("--seconds", type=float, default=300, help="of the long job; 0 for none")
    parser.add_argument("--rounds", type=int, default=3, help="of the short job")
    parser.add_argument("--codec", default="av1-fast")
    args = parser.parse_args()
    print(f"{args.codec}, {args.workers} workers, {os.cpu_count()} cores")
    print("samples   one process (CPU)   workers (CPU)       times   CPU allows")
    with tempfile.TemporaryDirectory(prefix="dsc-workers-") as scratch:
        short = measure(Path(scratch), args, args.frames, args.rounds)
        if args.seconds:
            measure(Path(scratch), args, round(args.frames * args.seconds / short.wall_s), 1)


def measure(scratch: Path, args: argparse.Namespace, frames: int, rounds: int) -> Ran:
    """Print a row; return what one process took."""
    root = linked(scratch / f"data-{frames}", Path(args.data) / "nyuv2", frames)
    found: dict[int, list[Ran]] = {0: [], args.workers: []}
    for turn in range(rounds):
        for workers, runs in found.items():
            out = scratch / f"out-{frames}-{turn}-{workers}"
            runs.append(compress(root, out, args.codec, workers))
    alone, together = (median(runs) for runs in found.values())
    print(
        f"{frames:7}   {alone.wall_s:6.1f} s ({alone.cpu_s:6.1f})   "
        f"{together.wall_s:6.1f} s ({together.cpu_s:6.1f})   "
        f"{alone.wall_s / together.wall_s:5.2f}   "
        f"{args.workers * alone.cpu_s / together.cpu_s:10.2f}",
        flush=True,
    )
    return alone


def linked(root: Path, data: Path, frames: int) -> Path:
    """Make a data set of so many frames, of links; the frames there are come again and again."""
    for part, suffix in PARTS.items():
        files = sorted((data / part).glob(f"*.{suffix}"), key=lambda path: int(path.stem))
        (root / part).mkdir(parents=True)
        for n in range(frames):
            (root / part / f"{n}.{suffix}").symlink_to(files[n % len(files)].resolve())
    return root


def compress(root: Path, out: Path, codec: str, workers: int) -> Ran:
    words = ["compress", "nyuv2", "--root", root, "--tasks", "rgb,depth", "--codec", codec]
    began_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "dsc", *map(str, words), "--out", out, "--workers", str(workers)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"dsc compress ended with exit code {process.returncode}")
    return Ran(time.perf_counter() - began_s, used.ru_utime + used.ru_stime)


def median(runs: list[Ran]) -> Ran:
    return Ran(
        statistics.median(run.wall_s for run in runs), statistics.median(run.cpu_s for run in runs)
    )


if __name__ == "__main__":
    main()
