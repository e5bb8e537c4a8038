"""``dsc bench speed``: measures part by part, and writes ``speed.md`` and ``speed.json``.

A part is one table: what is compared with each other is measured in turn, in one run. Each part
goes to ``parts.jsonl`` as soon as it is there, under a hash of what decides it (frames, options,
machine, library versions, dsc's own code). Running again measures only what is missing, and the
tables are a function of the results.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dsc
from dsc import _kernels
from dsc._bench.environment import environment, package_version
from dsc._bench.rate_distortion.candidates import ComparedCodec
from dsc._bench.rate_distortion.datasets import BenchSet
from dsc._bench.speed.codecs import measure_codecs
from dsc._bench.speed.contenders import contenders_for
from dsc._bench.speed.frames import HeldSource, Kind, kinds_of
from dsc._bench.speed.jobs import JOBS, measure_job, turns
from dsc._bench.speed.tables import markdown
from dsc._bench.store import Store
from dsc._schemas import Effort, TaskKind
from dsc._storage.files.writable import check_folder
from dsc.errors import UsageError

PARTS = "parts.jsonl"
CODECS = "codecs"
NAMES = (CODECS, *JOBS)
LIBRARIES = ("imagecodecs", "torch", "numpy", "pillow", "webdataset")
BenchProgress = Callable[[int, int], None]
Report = Callable[[], None]


@dataclass(frozen=True)
class SpeedOptions:
    """What is measured, and how.

    Attributes
    ----------
    sets
        The data: of each as many samples as the jobs take.
    parts
        Which tables: of `NAMES`.
    codecs
        Codecs of dsc's that are timed frame by frame; None for all that have weights.
    samples
        Frames of each set that codecs are timed on, of those that jobs take.
    quality
        Of dsc's codecs, 1 to 100.
    efforts
        Of dsc's codecs that know more than one, and of compressing.
    holes
        The share of depth that is punched out, where less is missing by itself; 0 for none.
    rounds
        Times that everything takes its turn.
    fresh
        Whether earlier results are thrown away.
    """

    sets: Sequence[BenchSet]
    parts: Sequence[str] = (CODECS, "compress", "stream")
    codecs: Sequence[ComparedCodec] | None = None
    samples: int = 4
    quality: int = 60
    efforts: Sequence[Effort] = tuple(Effort)
    holes: float = 0.1
    rounds: int = 3
    fresh: bool = False


@dataclass(frozen=True)
class SpeedResult:
    """What was found.

    Attributes
    ----------
    parts
        Results, in order; each says its ``part`` and its ``data``.
    environment
        Machine, versions, how busy it was.
    files
        What was written.
    """

    parts: Sequence[Mapping[str, Any]]
    environment: Mapping[str, Any]
    files: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything but the names of files."""
        return {"version": 1, "environment": dict(self.environment), "parts": list(self.parts)}


@dataclass(frozen=True)
class _Part:
    """A table to be: how many turns it takes, what decides it, what measures it."""

    turns: int
    identity: Mapping[str, Any]
    measure: Callable[[Report], dict[str, Any]]


def run_speed(
    options: SpeedOptions,
    out: Path,
    progress: BenchProgress = lambda done, total: None,
    note: Callable[[str], None] = print,
) -> SpeedResult:
    """Measure, derive, write.

    Parameters
    ----------
    out
        Directory for ``speed.md``, ``speed.json`` and ``parts.jsonl``.
    progress
        Called with (done, total) turns.
    note
        Called with a line for people.

    Raises
    ------
    UsageError
        When a part is not known, or no set has what a part takes.
    """
    check_parts(options.parts)
    check_folder(out, f"--out {out}")
    where = speed_environment()
    parts = [part for data in options.sets for part in _parts(data, options, note)]
    if not parts:
        raise UsageError("nothing to measure: no set here has what these parts take")
    store, total, done = Store(out / PARTS, options.fresh), sum(p.turns for p in parts), 0
    found = []
    for part in parts:
        identity = {**part.identity, "where": {k: v for k, v in where.items() if k != "load"}}
        value = store.get(identity)
        if value is None:
            steps = iter(range(done + 1, total + 1))
            value = part.measure(lambda steps=steps: progress(next(steps, total), total))  # type: ignore[misc]
            store.put(identity, value)
        done += part.turns
        progress(done, total)
        found.append(value)
    return _write(SpeedResult(found, where), out)


def check_parts(names: Sequence[str]) -> None:
    """Refuse what is no part, with a `UsageError`."""
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        raise UsageError(f"parts {', '.join(unknown) or 'none'}: known are {', '.join(NAMES)}")


def _parts(data: BenchSet, options: SpeedOptions, note: Callable[[str], None]) -> list[_Part]:
    """List the tables of a set, in order."""
    found: list[_Part] = []
    if CODECS in options.parts:
        few = fewer(data, options.samples)
        kinds = kinds_of(few, data.tasks, options.holes)
        found += [_codec_part(few, kind, options) for kind in kinds]
    jobs = [name for name in JOBS if name in options.parts]
    by_kind = {task.kind: task.name for task in reversed(data.schemas())}
    tasks = [by_kind[kind] for kind in (TaskKind.IMAGE, TaskKind.DEPTH) if kind in by_kind]
    if jobs and len(tasks) == 2:
        sources = [HeldSource(data, tasks, holes) for holes in _shares(data, tasks[1], options)]
        found += [_job_part(data, name, source, options) for name in jobs for source in sources]
    elif jobs:
        note(f"{data.name}: {', '.join(jobs)} take images and depth, left out")
    return found


def _shares(data: BenchSet, depth: str, options: SpeedOptions) -> list[float]:
    """List with which holes jobs run: none, and those of `kinds_of`."""
    few = fewer(data, options.samples)
    return [0.0, options.holes][: len(kinds_of(few, [depth], options.holes))]


def fewer(data: BenchSet, count: int) -> BenchSet:
    """Return a set of at most so many of a set's samples, evenly spread."""
    number, count = len(data.indices), min(count, len(data.indices))
    return replace(data, indices=tuple(data.indices[at * number // count] for at in range(count)))


def _codec_part(data: BenchSet, kind: Kind, options: SpeedOptions) -> _Part:
    contenders = contenders_for(kind, options.codecs, options.quality, options.efforts)

    def measure(report: Report) -> dict[str, Any]:
        found = measure_codecs(kind, contenders, options.rounds, report)
        return {"part": CODECS, "data": data.title, **found}

    identity = {
        "part": CODECS,
        "data": data.identity(data.indices),
        "kind": kind.name,
        "codecs": [one.name for one in contenders],
        "files": [one.file for one in options.codecs or ()],
        "quality": options.quality,
        "rounds": options.rounds,
    }
    return _Part(len(contenders) * (options.rounds + 1), identity, measure)


def _job_part(data: BenchSet, name: str, source: HeldSource, options: SpeedOptions) -> _Part:
    def measure(report: Report) -> dict[str, Any]:
        found = measure_job(name, source, options.rounds, options.efforts, report)
        return {"part": name, "data": data.title, "holes": source.holes, **found}

    identity = {
        "part": name,
        "data": data.identity(data.indices),
        "holes": source.holes,
        "efforts": list(options.efforts),
        "rounds": options.rounds,
    }
    return _Part(turns(name, source, options.rounds, options.efforts), identity, measure)


def speed_environment() -> dict[str, Any]:
    """Say in JSON which machine, libraries, kernels and code this is, and how busy it is."""
    found = environment()
    versions = {name: found["versions"].get(name) for name in ("dsc", "dav1d")}
    versions |= {name: package_version(name) for name in LIBRARIES}
    return found | {
        "versions": versions,
        "kernels": _kernels.description(),
        "code": code_hash(),
        "load": os.getloadavg()[0],
    }


def code_hash() -> str:
    """Hash dsc's own code, what is compiled included."""
    root, digest = Path(dsc.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".so", ".safetensors"):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _write(result: SpeedResult, out: Path) -> SpeedResult:
    out.mkdir(parents=True, exist_ok=True)
    files = (out / "speed.md", out / "speed.json")
    files[0].write_text(markdown(result.parts, result.environment), encoding="utf-8")
    files[1].write_text(json.dumps(result.to_json(), indent=1), encoding="utf-8")
    return replace(result, files=files)
