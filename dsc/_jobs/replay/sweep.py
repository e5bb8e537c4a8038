"""Runs a sweep of replay runs, in this process or as Ray tasks; what is finished is kept.

A run is one task, on a CPU or a share of a GPU. It keeps its own checkpoint below the output
directory, so a worker or node that dies costs the time since then and changes no result. A run
that fails does not stop the others; one error at the end names those that failed. Any number of
sweeps may work on one directory: each run is computed by one of them.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dsc._jobs.replay.task import Workplace
from dsc._replay.experiment.plan import RunConfig, Sweep
from dsc._replay.experiment.result import ResultRow
from dsc._replay.experiment.run import CHECKPOINT_EVERY_S, Tell
from dsc._replay.experiment.sweep import finished, write_tables
from dsc._replay.experiment.sweep import sweep as sweep_here
from dsc._storage.files.place import absolute
from dsc._storage.files.writable import check_folder
from dsc.errors import IncompleteError, UsageError

LISTED = 8  # failures spelled out in a message
GPUS_PER_RUN = 1.0

Report = Callable[[int, int], None]


def sweep(
    plan: Sweep,
    out: str | os.PathLike[str],
    *,
    workers: int = 0,
    address: str | None = None,
    device: str = "cpu",
    gpus_per_run: float | None = None,
    threads: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    report: Report = lambda done, total: None,
    notify: Tell = lambda line: None,
) -> list[ResultRow]:
    """Compute the runs of a sweep that are not finished; write the tables after each.

    Parameters
    ----------
    out
        The directory of results, which several sweeps may share; on a cluster, one that all
        machines share.
    workers
        Runs at a time on this machine, by Ray; 0 computes one after the other in this process.
    address
        An existing Ray cluster instead.
    device
        ``cpu`` or ``cuda``.
    gpus_per_run
        Share of a GPU that a run gets, 0.5 for two runs on each; 1 by default. For Ray and
        ``cuda`` only.
    threads
        CPU threads of a run. With Ray 1 by default; another number may change results in the last
        digits.
    cache
        Directory where features of frozen backbones are kept, for other sweeps too; by default
        ``features`` in `out`. It may be removed at any time.
    checkpoint_every_s
        Seconds between checkpoints within a step.
    report
        Is told (runs done, runs in all).
    notify
        Is told, in a line, what the sweep waits for.

    Returns
    -------
    list of ResultRow
        The result of every run, in the order of ``plan.runs()``.

    Raises
    ------
    UsageError
        When an option cannot be honoured, Ray is not installed or does not answer, or a worker
        does not see the directory.
    IncompleteError
        When runs failed; all others are finished then. In this process the first error ends it.
    """
    on_ray = bool(workers) or address is not None
    _check(workers, address, device, gpus_per_run)
    features = None if cache is None else _folder(cache, "--cache")
    if not on_ray:
        return _here(plan, _folder(out), device, threads, features, report, notify)
    from dsc._jobs.replay.on_ray import compute_all

    configs = plan.runs()
    place = Workplace(
        _folder(out), Path.cwd(), device, threads or 1, checkpoint_every_s,
        0.0 if device == "cpu" else gpus_per_run or GPUS_PER_RUN, features,
    )  # fmt: skip
    done: dict[str, ResultRow] = {}

    def received(config: RunConfig, row: ResultRow) -> None:
        done[config.id] = row
        write_tables(finished(configs, done), place.out)
        report(len(finished(configs, done)), len(configs))

    report(0, len(configs))
    failures = compute_all(configs, place, workers, address, received, notify)
    if failures:
        raise _incomplete(configs, place.out, failures)
    return finished(configs, done)


def _check(workers: int, address: str | None, device: str, gpus_per_run: float | None) -> None:
    if workers and address is not None:
        raise UsageError(
            f"--workers {workers} starts a Ray on this machine and --address {address} names one; "
            "give one of them"
        )
    if gpus_per_run is None:
        return
    if device != "cuda" or not (workers or address is not None):
        raise UsageError(
            f"--gpus-per-run {gpus_per_run:g} goes with --device cuda and --workers or --address"
        )
    if gpus_per_run <= 0 or (gpus_per_run > 1 and gpus_per_run % 1):
        raise UsageError(f"--gpus-per-run {gpus_per_run:g}: a part of 1, as 0.5, or a whole number")


def _here(
    plan: Sweep,
    out: Path,
    device: str,
    threads: int | None,
    features: Path | None,
    report: Report,
    notify: Tell,
) -> list[ResultRow]:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    return sweep_here(plan, out, device=device, features=features, report=report, notify=notify)


def _folder(out: str | os.PathLike[str], option: str = "--out") -> Path:
    text = absolute(os.fspath(out))
    if "://" in text:
        written = "checkpoints are" if option == "--out" else "features are"
        raise UsageError(f"{option} {text}: {written} written to a directory; give one")
    folder = Path(text)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{option} {folder} is a file; give a directory")
    check_folder(folder, f"{option} {text}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _incomplete(
    configs: Sequence[RunConfig], out: Path, failures: Mapping[str, BaseException]
) -> IncompleteError | UsageError:
    named = {config.id: config for config in configs}
    lines = [f"  {_named(named[one])}: {_first(why)}" for one, why in failures.items()]
    more = [f"  and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    listed = "\n".join([*lines[:LISTED], *more])
    # wrong options fail in every run alike, and then the call was wrong
    wrong = all(isinstance(why, UsageError) for why in failures.values())
    return (UsageError if wrong else IncompleteError)(
        f"{out}: {len(failures)} of {len(named)} runs failed:\n{listed}\n"
        f"{len(named) - len(failures)} of {len(named)} runs are done and kept. "
        "To go on, run the same again"
    )


def _named(config: RunConfig) -> str:
    return (
        f"{config.learner}, {config.arm}, {config.budget:,} bytes, seed {config.seed} "
        f"(run {config.id})"
    )


def _first(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
