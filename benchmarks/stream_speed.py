"""Speed of streaming and of reading at random, of the working tree beside another revision.

    python -m benchmarks.stream_speed --at REV [--rounds 40]

Each tree has a process, and the processes take short turns, round after round; a figure is the
median of its rounds, a ratio the median of the ratios within rounds. Processor time is given
beside the wall clock's, for other work on the machine disturbs it less.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.house import check_out

SAMPLES, SIZE = 192, 96
CHILD = """
import json, sys, time
import torch
import dsc

torch.set_num_threads(1)
url, seconds = sys.argv[1], float(sys.argv[2])

def stream(**options):
    found = dsc.stream(url, ["rgb", "depth"], batch_size=32, shuffle=True, **options)
    def epoch():
        return sum(len(batch["__index__"]) for batch in found)
    return epoch

def single():
    found = dsc.open(url, ["rgb"])
    return lambda: sum(found[at * 37 % len(found)]["rgb"] is not None for at in range(len(found)))

epochs = {"bytes": stream(decode="bytes"), "pixels": stream(), "single": single()}
for epoch in epochs.values():
    epoch()
print("ready", flush=True)
for line in sys.stdin:
    epoch, samples = epochs[line.strip()], 0
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        samples += epoch()
    took = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps([samples / part for part in took]), flush=True)
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
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.3, help="of a turn, about")
    asked = parser.parse_args()
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        other, archive = Path(folder) / "other", Path(folder) / "archive"
        check_out(root, asked.at, other)
        compress(root, archive)
        trees = {asked.at: other, "working tree": root}
        found: dict[tuple[str, str], list[list[float]]] = {}
        with ExitStack() as stack:
            readers = {
                name: stack.enter_context(reader(tree, archive, asked.seconds))
                for name, tree in trees.items()
            }
            for _ in range(asked.rounds):
                for way in WAYS:
                    for name, ask in readers.items():
                        found.setdefault((way, name), []).append(ask(way))
    report(found, asked.at)


def compress(tree: Path, archive: Path) -> None:
    """Write rendered views as an archive of JPEG and PNG."""
    code = (
        f"import dsc; dsc.compress('taskonomy', {str(archive)!r}, sample={SAMPLES}, size={SIZE}, "
        "tasks='rgb,depth', codec='rgb=jpeg,depth=png')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tree, env=environment(tree), check=True)


@contextmanager
def reader(tree: Path, archive: Path, seconds: float) -> Iterator[Callable[[str], list[float]]]:
    """Start a process that reads with the package of one tree, and yield what asks it.

    Asked for one of `WAYS` it returns samples a second: of the wall clock, and of processor time.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(archive), str(seconds)],
        cwd=tree, env=environment(tree), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    requests, answers = process.stdin, process.stdout
    if requests is None or answers is None or answers.readline() != "ready\n":
        raise RuntimeError(f"{tree}: its reader did not start")

    def ask(way: str) -> list[float]:
        requests.write(f"{way}\n")
        requests.flush()
        rates: list[float] = json.loads(answers.readline())
        return rates

    try:
        yield ask
    finally:
        process.kill()
        process.wait()


def environment(tree: Path) -> dict[str, str]:
    """Return the variables of a process that imports the package of one tree."""
    return {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}


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
