"""``dsc bench rd``: measures all points, derives the figures, writes tables, plots and JSON.

Every result goes to ``points.jsonl`` as soon as it is there, under a hash of what decides it (data,
code, weights, quality, library versions). Running again measures only what is missing. What is
written is a function of the results, so one command regenerates everything.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dsc._bench.environment import environment
from dsc._bench.rate_distortion.candidates import ComparedCodec
from dsc._bench.rate_distortion.datasets import BenchSet
from dsc._bench.rate_distortion.extras import channels, speeds
from dsc._bench.rate_distortion.following import on_set
from dsc._bench.rate_distortion.measuring import BenchProgress, measure_all
from dsc._bench.rate_distortion.points import Job, Point, make_point
from dsc._bench.rate_distortion.report import AT, SetReport
from dsc._bench.store import Store
from dsc._codecs.registry import OF_GROUPS
from dsc._schemas import Task, TaskKind
from dsc._storage.files.writable import check_folder
from dsc.errors import DscError, UsageError

Note = Callable[[str], None]
NEEDED = ("bjontegaard", "matplotlib", "scipy")
POINTS = "points.jsonl"


@dataclass(frozen=True)
class RdOptions:
    """What is measured, and how.

    Attributes
    ----------
    sets
        The data.
    candidates
        The codecs.
    optional
        Whether a candidate that cannot be made is left out with a note, rather than an error.
    qualities
        Instead of each codec's own; None keeps those.
    fewer
        Whether four of each codec's six qualities do.
    operating
        Quality of joint codecs in subset and channel figures, and of times.
    at
        Distortion of the table of equal distortion, by kind.
    ms_ssim
        Whether images are measured by MS-SSIM as well.
    speed_rounds
        Rounds of every time; 0 measures none.
    workers
        Processes; 1 works in this one.
    fresh
        Whether earlier results in the output directory are thrown away.
    """

    sets: Sequence[BenchSet]
    candidates: Sequence[ComparedCodec]
    optional: bool = False
    qualities: tuple[int, ...] | None = None
    fewer: bool = False
    operating: int = 60
    at: Mapping[TaskKind, float] = field(default_factory=lambda: dict(AT))
    ms_ssim: bool = False
    speed_rounds: int = 3
    workers: int = 1
    fresh: bool = False


@dataclass(frozen=True)
class RdResult:
    """What was found.

    Attributes
    ----------
    reports
        One a set.
    failures
        A line for each part that a codec failed on; that point has no figures.
    environment
        Machine and versions.
    files
        What was written.
    """

    reports: tuple[SetReport, ...]
    failures: tuple[str, ...]
    environment: dict[str, Any]
    files: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything but the names of files; a number that JSON does not know is None."""
        value = {
            "version": 1,
            "environment": self.environment,
            "failures": list(self.failures),
            "sets": {report.name: report.to_json() for report in self.reports},
        }
        return {name: _plain(item) for name, item in value.items()}


def run_rd(
    options: RdOptions, out: Path, progress: BenchProgress = lambda d, t: None, note: Note = print
) -> RdResult:
    """Measure, derive, write.

    Parameters
    ----------
    out
        Directory for ``rd.json``, ``rd.md``, plots and ``points.jsonl``.
    progress
        Called with (done, total) parts.
    note
        Called with a line for people.

    Raises
    ------
    UsageError
        When there is no set or codec to work on, or a codec that was asked for cannot be made.
    IncompleteError
        When a worker process died.
    """
    _check_installed()
    check_folder(out, f"--out {out}")
    store = Store(out / POINTS, options.fresh)
    left_out: dict[str, list[str]] = defaultdict(list)
    own = {data: replace(options, candidates=on_set(options.candidates, data))
           for data in options.sets}  # fmt: skip
    jobs = [job for data in options.sets for job in _jobs(data, own[data], left_out)]
    for reason, names in left_out.items():
        note(f"{reason} (left out on {', '.join(names)})")
    alone = (one.name for one in options.candidates if one.codec in OF_GROUPS)
    for name in dict.fromkeys(alone):
        note(f"{name} codes each sample by itself here; dsc bench sequences measures recordings")
    if not jobs:
        raise UsageError("nothing to measure: no codec here codes a task of these sets")
    parts, failures = measure_all(jobs, store, options.workers, progress)
    for line in failures:
        note(line)
    found = [_report(data, own[data], parts, store) for data in options.sets]
    reports = tuple(report for report in found if report.candidates)
    return _write(RdResult(reports, tuple(failures), environment()), out)


def _check_installed() -> None:
    """Find out now, not after an hour, that figures cannot be derived or drawn."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"benchmarks need {', '.join(missing)}; install with `pip install 'dsc[bench]'`"
        )


def _jobs(data: BenchSet, options: RdOptions, left_out: dict[str, list[str]]) -> list[Job]:
    """List the parts of a set, chunk by chunk, so that samples are read once a process."""
    chosen: list[tuple[ComparedCodec, tuple[Task, ...], int]] = []
    for candidate in options.candidates:
        try:
            groups = candidate.groups(data.schemas())
            for group in groups:
                candidate.make(group)
        except (DscError, OSError) as error:
            if not options.optional:
                raise
            left_out[f"{candidate.name}: {error}"].append(data.name)
            continue
        if not groups and not options.optional:
            left_out[f"{candidate.name}: codes no task"].append(data.name)
        for group in groups:
            chosen += [(candidate, group, q) for q in _qualities(candidate, group, options)]
    return [
        Job(data, candidate, tuple(t.name for t in group), quality, chunk, options.ms_ssim)
        for chunk in data.chunks()
        for candidate, group, quality in chosen
    ]


def _qualities(
    candidate: ComparedCodec, group: Sequence[Task], options: RdOptions
) -> tuple[int, ...]:
    qualities = candidate.qualities(group, options.qualities)
    if options.fewer and len(qualities) > 4:
        qualities = (*qualities[:1], *qualities[1::2])
    if not options.qualities and len(group) > 1 and len(qualities) > 1:
        qualities = tuple(sorted({*qualities, options.operating}))
    return qualities


def _report(
    data: BenchSet, options: RdOptions, parts: Mapping[Job, dict[str, Any]], store: Store
) -> SetReport:
    points = _points(data, parts)
    used = {point.codec for point in points}
    candidates = tuple(c for c in options.candidates if c.name in used)
    first = next(iter(data.read(data.indices[0]).values()))
    return SetReport(
        name=data.name,
        title=data.title,
        samples=len(data.indices),
        total=data.total,
        size=(first.shape[0], first.shape[1]),
        tasks=data.schemas(),
        candidates=candidates,
        points=tuple(points),
        operating=options.operating,
        speed=speeds(data, candidates, options.operating, options.speed_rounds, store),
        channels=channels(data, candidates, options.operating, store),
        at=options.at,
    )


def _points(data: BenchSet, parts: Mapping[Job, dict[str, Any]]) -> list[Point]:
    """Add up the parts of a set, in order of codec and quality; points with a gap are left out."""
    grouped: dict[tuple[ComparedCodec, tuple[str, ...], int], list[Job]] = defaultdict(list)
    for job in parts:
        if job.data == data:
            grouped[job.candidate, job.tasks, job.quality].append(job)
    chunks = len(data.chunks())
    whole = [jobs for jobs in grouped.values() if len(jobs) == chunks]
    points = [make_point(jobs[0], [parts[job] for job in jobs]) for jobs in whole]
    return sorted(points, key=lambda p: (p.codec, list(p.pixels), p.quality))


def _write(result: RdResult, out: Path) -> RdResult:
    from dsc._bench.rate_distortion.plots import draw_all
    from dsc._bench.rate_distortion.tables import markdown

    out.mkdir(parents=True, exist_ok=True)
    (out / "rd.json").write_text(json.dumps(result.to_json(), indent=1), encoding="utf-8")
    (out / "rd.md").write_text(markdown(result.reports, result.environment), encoding="utf-8")
    drawn = [path for report in result.reports for path in draw_all(report, out)]
    return replace(result, files=(out / "rd.md", out / "rd.json", *drawn))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
