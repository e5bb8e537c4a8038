"""Whole jobs on one core: compressing frames, and streaming an epoch of them.

Frames lie decoded in memory (`frames.HeldSource`), so that times are of what dsc does and not of
reading JPEG files: planning, encoding, packing, commit. Beside it, the same frames are written as
image files into a tar. Reading is measured in processes of their own, as ``dsc bench stream`` does,
and counts what a training loop gets: decoded batches.
"""

import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dsc._bench.speed.clock import processor_s
from dsc._bench.speed.contenders import AVIF, JPEG
from dsc._bench.speed.frames import HeldSource
from dsc._bench.speed.rivals import fields_of, write_tar
from dsc._bench.stream.children import Child, ChildError, child
from dsc._bench.stream.readers import Read
from dsc._bench.stream.speed import too_little
from dsc._bench.stream.workshop import absent, error_row
from dsc._extras import is_installed
from dsc._schemas import Effort, TaskKind
from dsc.errors import DscError

AVIF_TAR, JPEG_TAR = f"tar of {AVIF}, PNG", f"tar of {JPEG}, PNG"
PLAIN = "dsc compress"
RATE_LIMIT_S = 300.0
SECONDS = 2.0
BATCH = 8
STREAM, LATER = "dsc stream", "dsc stream, cache_decoded: later epochs"
CACHE_BYTES = 8 << 30
WEBDATASET = "webdataset, JPEG and PNG, PIL"
Report = Callable[[], None]


@dataclass(frozen=True)
class Way:
    """A row of a table of compressing: one way to store the frames.

    Attributes
    ----------
    name
        For people.
    options
        Of `dsc.compress`; None for a tar.
    image
        Library call for images in a tar.
    """

    name: str
    options: Mapping[str, Any] | None = field(default_factory=dict)
    image: str = AVIF

    def store(self, source: HeldSource, out: Path) -> None:
        """Store all frames in a directory that is not there yet."""
        if self.options is None:
            write_tar(source, self.image, out)
            return
        import dsc

        dsc.compress(source, out, **self.options)


@dataclass(frozen=True)
class JobTable:
    """What is measured together.

    Attributes
    ----------
    ways
        The rows.
    baseline
        Name of the row that ratios are to.
    """

    ways: tuple[Way, ...]
    baseline: str


def job_table(name: str, source: HeldSource, efforts: Sequence[Effort] = ()) -> JobTable:
    """List the ways of a part: ``compress``, ``max-error``, ``target``, ``auto``, ``workers``.

    Parameters
    ----------
    efforts
        What ``compress`` is measured at beside the default.
    """
    other = [Way(f"{PLAIN} --effort {effort}", {"effort": str(effort)})
             for effort in efforts if effort is not Effort.DEFAULT]  # fmt: skip
    images = [task.name for task in source.tasks if task.kind is TaskKind.IMAGE]
    depths = [task.name for task in source.tasks if task.kind is TaskKind.DEPTH]
    bound = ",".join(f"{task}=1%" for task in depths)
    target = ",".join([*(f"{task}=38dB" for task in images), *(f"{t}=0.5%" for t in depths)])
    ways = {
        "compress": (*other, Way(AVIF_TAR, None, AVIF), Way(JPEG_TAR, None, JPEG)),
        "max-error": (Way(f"{PLAIN} --max-error {bound}", {"max_error": bound}),),
        "target": (Way(f"{PLAIN} --target {target}", {"target": target}),),
        "auto": (Way(f"{PLAIN} --codec auto", {"codec": "auto"}),),
        "workers": (Way(f"{PLAIN} --workers 2", {"workers": 2}),),
    }  # fmt: skip
    return JobTable((Way(PLAIN), *ways[name]), AVIF_TAR if name == "compress" else PLAIN)


def measure_ways(
    source: HeldSource, table: JobTable, rounds: int, report: Report = lambda: None
) -> dict[str, Any]:
    """Store the frames in every way, in turn.

    A way that fails has no second turn.

    Returns
    -------
    dict
        JSON: ``frames``, ``pixels``, ``baseline`` and ``rows``: ``name``, ``cpu_s`` and ``wall_s``
        by round, and ``bytes`` stored; or ``error``.
    """
    source.hold()
    _warm(source, table)
    rows: dict[str, dict[str, Any]] = {
        way.name: {"name": way.name, "cpu_s": [], "wall_s": []} for way in table.ways
    }
    for _ in range(rounds):
        for way in table.ways:
            if "error" not in rows[way.name]:
                _store(source, way, rows[way.name])
            report()
    return {
        "frames": len(source),
        "pixels": source.pixels,
        "baseline": table.baseline,
        "rows": list(rows.values()),
    }


def _warm(source: HeldSource, table: JobTable) -> None:
    """Let every library be imported: the smallest job, which does not count."""
    for way in table.ways:
        if not way.options:
            _store(source.first(), way, {"cpu_s": [], "wall_s": []})


def _store(source: HeldSource, way: Way, row: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="dsc-bench-") as folder:
        out = Path(folder) / "out"
        cpu, wall = processor_s(), time.perf_counter()
        try:
            way.store(source, out)
        except DscError as error:
            row["error"] = " ".join(str(error).split())[:200]
            return
        row["cpu_s"].append(processor_s() - cpu)
        row["wall_s"].append(time.perf_counter() - wall)
        row["bytes"] = stored_bytes(out)


def stored_bytes(folder: Path) -> int:
    """Count the bytes of the tars in a folder, without the zeros that each ends in."""
    total = 0
    for path in folder.rglob("*.tar"):
        with tarfile.open(path) as tar:
            total += sum(m.offset_data - m.offset + blocks(m.size) for m in tar.getmembers())
    return total


def blocks(size: int) -> int:
    """Round a size up to what a tar takes for it."""
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def measure_epochs(
    source: HeldSource, rounds: int, report: Report = lambda: None
) -> dict[str, Any]:
    """Stream the frames, decoded, from an archive and from a tar of JPEG and PNG, in turn.

    Returns
    -------
    dict
        JSON: ``frames``, ``pixels``, ``baseline`` and ``rows``: ``name``, ``rates`` (samples a
        second of processor time, by round) and ``bytes`` stored; or ``error``.
    """
    folder = Path(tempfile.mkdtemp(prefix="dsc-bench-"))
    try:
        reads = _reads(source.hold(), folder)
        rows = {name: {"name": name, "rates": []} for name in reads}
        if not is_installed("torch"):  # a stream of tensors is what users wait for
            for name in (STREAM, LATER):
                rows[name]["error"] = "not installed (pip install torch)"
        sizes = {name: stored_bytes(Path(read.where)) for name, read in reads.items()}
        with ExitStack() as stack:
            processes = {
                name: stack.enter_context(child()) for name in {r.library for r in reads.values()}
            }
            for _ in range(rounds):
                for name, read in reads.items():
                    _rate(processes, read, rows[name])
                    report()
    finally:
        shutil.rmtree(folder)
    found = [row | {"bytes": sizes[name]} for name, row in rows.items()]
    missing = absent("webdataset")
    return {
        "frames": len(source),
        "pixels": source.pixels,
        "baseline": WEBDATASET,
        "rows": [*found, *([error_row(WEBDATASET, missing)] if missing else [])],
    }


def _reads(source: HeldSource, folder: Path) -> dict[str, Read]:
    """Write an archive and a tar, and say how each is read, by name of the row."""
    archive, tar = folder / "archive", folder / "tar"
    Way(PLAIN).store(source, archive)
    tasks = tuple(task.name for task in source.tasks)
    found = {
        STREAM: Read("dsc", str(archive), tasks, "pixels", batch_size=BATCH,
                     memory=too_little(archive, tasks)),
    }  # fmt: skip
    found[LATER] = replace(found[STREAM], cache_decoded=CACHE_BYTES)
    if absent("webdataset"):
        return found
    write_tar(source, JPEG, tar)
    depth = next(task for task in source.tasks if task.kind is TaskKind.DEPTH)
    read = Read(
        "webdataset",
        str(tar),
        tuple(member for member, _ in fields_of(source, JPEG).values()),
        batch_size=BATCH,
        unit_m=depth.unit_m or 1.0,
        invalid=depth.invalid,
    )
    ways = {WEBDATASET: "pil", WEBDATASET.replace("PIL", "imagecodecs"): "imagecodecs"}
    return found | {name: replace(read, decode=decode) for name, decode in ways.items()}


def _rate(processes: Mapping[str, Child], read: Read, row: dict[str, Any]) -> None:
    if "error" in row:
        return
    core = sorted(os.sched_getaffinity(0))[:1]
    try:
        found = processes[read.library].ask(
            "rate", RATE_LIMIT_S, read=vars(read), seconds=SECONDS, cpus=core
        )
    except ChildError as error:
        row["error"] = f"failed: {error}"
    else:
        row["rates"].append(found["cpu_rate"])


def turns(name: str, source: HeldSource, rounds: int, efforts: Sequence[Effort] = ()) -> int:
    """Count the turns of a part, for its progress."""
    return rounds * (4 if name == "stream" else len(job_table(name, source, efforts).ways))


def measure_job(
    name: str,
    source: HeldSource,
    rounds: int,
    efforts: Sequence[Effort] = (),
    report: Report = lambda: None,
) -> dict[str, Any]:
    """Measure a part of whole jobs: ``stream``, or one of `job_table`."""
    if name == "stream":
        return measure_epochs(source, rounds, report)
    return measure_ways(source, job_table(name, source, efforts), rounds, report)


JOBS: Sequence[str] = ("compress", "stream", "max-error", "target", "auto", "workers")
