"""Processor time of short commands, of the working tree, and beside it of another revision.

    python -m benchmarks.start_up [--at REV] [--rounds 15]

Each command is a process of its own, and the trees take turns; a figure is the median of its
rounds, user and system time together, a ratio the median of the ratios within rounds. Beside them
stand Python alone and NumPy, which say how fast the machine is.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.house import check_out
from benchmarks.stream_speed import environment

NOW = "working tree"
YARDSTICKS = {"python": ["-c", "pass"], "import numpy": ["-c", "import numpy"]}
COMMANDS = ("--version", "--help", "compress --help", "info ARCHIVE", "ls ARCHIVE")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--at", help="a revision to set beside the working tree")
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive"
        made = ["-m", "dsc", "compress", "taskonomy", "--views", "6", "--codec", "png"]
        run(root, [*made, "--out", str(archive)])
        trees = {NOW: root}
        if asked.at:
            check_out(root, asked.at, Path(folder) / "other")
            trees = {asked.at: Path(folder) / "other", NOW: root}
        calls = dict(YARDSTICKS)
        for text in COMMANDS:
            words = [str(archive) if word == "ARCHIVE" else word for word in text.split()]
            calls[f"dsc {text}"] = ["-m", "dsc", *words]
        found: dict[tuple[str, str], list[float]] = {}
        for number in range(asked.rounds + 1):
            for title, words in calls.items():
                for name, tree in trees.items():
                    took_s = run(tree, words)
                    if number:  # the first one writes what Python compiles
                        found.setdefault((title, name), []).append(took_s)
    report(found, list(calls), list(trees))


def run(tree: Path, words: Sequence[str]) -> float:
    """Run Python with the package of one tree; return its processor time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *words]
    subprocess.run(command, cwd=tree, env=environment(tree), check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def report(
    found: Mapping[tuple[str, str], list[float]], calls: Sequence[str], trees: Sequence[str]
) -> None:
    """Print medians, and the working tree's over the other revision's within rounds."""
    print(f"| processor time, ms | {' | '.join(trees)} |{' ratio |' if len(trees) > 1 else ''}")
    print(f"| --- |{' ---: |' * (2 * len(trees) - 1)}")
    for title in calls:
        cells = [f"{1000 * median(found[title, name]):.0f}" for name in trees]
        if len(trees) > 1:
            pairs = zip(found[title, trees[0]], found[title, NOW], strict=True)
            cells.append(f"{median(now / before for before, now in pairs):.2f}")
        print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
