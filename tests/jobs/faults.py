"""Runs compressions that get killed, and looks at what they leave."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.places import ROOT

KILLS = int(os.environ.get("DSC_KILLS", "4"))

SCRIPT = """
import sys
from pathlib import Path
from dsc._jobs.archive.compress import compress
from tests.jobs.sources import PixelSource

out, log, n, slow_s, workers, of_ray = sys.argv[1:7]
if int(of_ray):
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
source = PixelSource(n=int(n), log=Path(log), slow_s=float(slow_s))
try:
    compress(source, out, codec="png", shard_size=4, pack=2, workers=int(workers))
except KeyboardInterrupt as stopped:
    print(f"KeyboardInterrupt: {stopped}")
    sys.exit(130)
"""


def start(
    out: Path, log: Path, n: int, slow_s: float, workers: int = 0, of_ray: bool = False
) -> subprocess.Popen[str]:
    """Start a compression of a `PixelSource` in a process, and a session, of its own."""
    words = [str(out), str(log), str(n), str(slow_s), str(workers), str(int(of_ray))]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below a directory with its bytes."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def finished(out: Path) -> set[int]:
    """Return the numbers of the shards that have a record."""
    return {int(path.stem.rpartition("-")[2]) for path in (out / ".dsc/records").glob("*.json")}


def wait_for(condition: Callable[[], bool], timeout_s: float = 180.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s")
        time.sleep(0.01)


def descendants(pid: int) -> list[int]:
    """List the processes that a process started, and those that they started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    pending = [pid]
    while pending:
        below = parents.get(pending.pop(), [])
        found += below
        pending += below
    return found


def kill(pids: list[int]) -> None:
    """Kill exactly these processes, where they still live."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
