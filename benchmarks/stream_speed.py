"""Speed of streaming and of reading at random, of the working tree beside another revision.

    python -m benchmarks.stream_speed --at REV [--rounds 7]

All rows are measured in turn, round after round, each in a process of its own; a row's figure is
the median of its rounds. Processor time is given beside the wall clock's, for other work on the
machine disturbs it less.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from benchmarks.house import check_out

SAMPLES, SIZE = 192, 96
CHILD = """
import json, sys, time
import torch
import dsc

torch.set_num_threads(1)
url, how, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])

def stream(**options):
    found = dsc.stream(url, ["rgb", "depth"], batch_size=32, shuffle=True, **options)
    def epoch():
        return sum(len(batch["__index__"]) for batch in found)
    return epoch

def single():
    found = dsc.open(url, ["rgb"])
    return lambda: sum(found[at * 37 % len(found)]["rgb"] is not None for at in range(len(found)))

epoch = {"bytes": lambda: stream(decode="bytes"), "pixels": stream, "single": single}[how]()
epoch()
samples, wall, cpu = 0, time.perf_counter(), time.process_time()
while time.perf_counter() - wall < seconds:
    samples += epoch()
print(json.dumps([samples / (time.perf_counter() - wall), samples / (time.process_time() - cpu)]))
"""
WAYS = {
    "bytes": "stream, bitstreams, shuffled",
    "pixels": "stream, decoded, shuffled",
    "single": "open, one sample at a time, decoded",
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--at", required=True, help="the revision to set beside the working tree")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a row in a round, about")
    asked = parser.parse_args()
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        other, archive = Path(folder) / "other", Path(folder) / "archive"
        check_out(root, asked.at, other)
        compress(root, archive)
        trees = {asked.at: other, "working tree": root}
        found: dict[tuple[str, str], list[list[float]]] = {}
        for _ in range(asked.rounds):
            for way in WAYS:
                for name, tree in trees.items():
                    rates = measure(tree, archive, way, asked.seconds)
                    found.setdefault((way, name), []).append(rates)
    report(found, asked.at)


def compress(tree: Path, archive: Path) -> None:
    """Write rendered views as an archive of JPEG and PNG."""
    code = (
        f"import dsc; dsc.compress('taskonomy', {str(archive)!r}, sample={SAMPLES}, size={SIZE}, "
        "tasks='rgb,depth', codec='rgb=jpeg,depth=png')"
    )
    run(tree, code)


def measure(tree: Path, archive: Path, way: str, seconds: float) -> list[float]:
    """Return samples a second: of the wall clock, and of processor time."""
    rates: list[float] = json.loads(run(tree, CHILD, str(archive), way, str(seconds)))
    return rates


def run(tree: Path, code: str, *words: str) -> str:
    """Run Python code with the package of one tree; return what it printed last."""
    ran = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tree, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return (ran.stdout.strip().splitlines() or [""])[-1]


def report(found: Mapping[tuple[str, str], list[list[float]]], base: str) -> None:
    """Print rates, and the working tree's over the other revision's within rounds."""
    print(f"| | {base}, samples/s | working tree, samples/s | ratio | ratio, processor time |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for way, title in WAYS.items():
        before, now = found[way, base], found[way, "working tree"]
        rates = [f"{median(rate for rate, _ in rounds):,.0f}" for rounds in (before, now)]
        ratios = [
            f"{median(b[at] / a[at] for a, b in zip(before, now, strict=True)):.3f}"
            for at in (0, 1)
        ]
        print(f"| {title} | {' | '.join(rates)} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
