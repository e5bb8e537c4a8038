"""Counts the lines of one training loop, written with dsc and with other libraries.

    python -m benchmarks.loop_lines          # lines of code: no comments, docstrings, blank lines
    python -m benchmarks.loop_lines --run    # and what happens when each is stopped and goes on

The loops are those of ``examples/loops``: depth from rgb on random crops of both, from a directory
of PNG files, with a checkpoint in mid-epoch, on one rank or two. With ``--run`` each is run
unbroken, and stopped after a step of two ranks; then it goes on on two ranks, and on one. It went
on exactly if every sample of both epochs came once, with the crops of the unbroken run.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOOPS = ROOT / "examples" / "loops"
NEEDS = {"dsc": "dsc", "webdataset": "webdataset", "litdata": "litdata", "datasets": "datasets"}
BESIDE = {"map_style": "dsc", "accelerate": "accelerate", "lightning": "lightning"}
STOPPED = 3


def lines_of(path: Path) -> int:
    """Count the lines of a file that hold code."""
    found: set[int] = set()
    passed = (
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
        tokenize.ENDMARKER, tokenize.ENCODING,
    )  # fmt: skip
    last = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        begins = last in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.NL)
        is_docstring = token.type == tokenize.STRING and begins
        if token.type not in passed and not is_docstring:
            found.update(range(token.start[0], token.end[0] + 1))
        if token.type != tokenize.COMMENT:
            last = token.type
    return len(found)


def run_loop(name: str, work: Path, ranks: int, stop_at: int | None = None) -> str:
    """Run a loop, and return what it printed.

    Raises
    ------
    RuntimeError
        When it failed.
    """
    work.mkdir(parents=True, exist_ok=True)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    stop = [] if stop_at is None else ["--stop-at", str(stop_at)]
    command = [sys.executable, *(launch if ranks > 1 else []), str(LOOPS / f"{name}_loop.py")]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [*command, "--work", str(work), *stop],
        capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )  # fmt: skip
    wanted = (0,) if stop_at is None else (STOPPED, 1)  # torchrun says 1 for any failure
    if done.returncode not in wanted or (stop_at and not (work / "log-0.jsonl").exists()):
        raise RuntimeError(f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def seen(work: Path) -> Counter[tuple[int, str]]:
    """Return which crops of which samples a run saw, on all ranks."""
    found: Counter[tuple[int, str]] = Counter()
    for log in work.glob("log-*.jsonl"):
        for line in map(json.loads, log.read_text().splitlines()):
            found.update(zip(line["which"], line["crops"], strict=True))
    return found


def goes_on(name: str, work: Path, wanted: Counter[tuple[int, str]], ranks: int) -> bool:
    """Tell whether a run that two ranks left goes on exactly on some ranks.

    Parameters
    ----------
    wanted
        What an unbroken run saw.
    ranks
        That go on.
    """
    run_loop(name, work, 2, stop_at=1)
    run_loop(name, work, ranks)
    return seen(work) == wanted


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", action="store_true", help="and run them")
    parser.add_argument("loops", nargs="*", default=list(NEEDS), help=f"of {', '.join(NEEDS)}")
    options = parser.parse_args()
    run, chosen = options.run, options.loops
    print("| loop | lines | with --run: goes on on two ranks | on one |\n| --- | --- | --- | --- |")
    for name, package in ((name, NEEDS[name]) for name in chosen):
        two, one = measured(name) if run and find_spec(package) else ("", "")
        print(f"| {name} | {lines_of(LOOPS / f'{name}_loop.py')} | {two} | {one} |", flush=True)
    others = (f"{name} {lines_of(LOOPS / f'{name}_loop.py')}" for name in BESIDE)
    print(f"\nWith dsc, too: {', '.join(others)}; all share {lines_of(LOOPS / 'common.py')}.")


def measured(name: str) -> tuple[str, str]:
    """Run a loop, and say on how many ranks it goes on exactly."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        run_loop(name, work / "unbroken", 1)
        wanted = seen(work / "unbroken")
        two, one = (told(name, work / str(ranks), wanted, ranks) for ranks in (2, 1))
        shutil.rmtree(work, ignore_errors=True)
    return two, one


def told(name: str, work: Path, wanted: Counter[tuple[int, str]], ranks: int) -> str:
    """Say how a loop goes on."""
    try:
        return "exactly" if goes_on(name, work, wanted, ranks) else "not exactly"
    except RuntimeError as error:
        return f"not: {str(error).splitlines()[-1][:80]}"


if __name__ == "__main__":
    main()
