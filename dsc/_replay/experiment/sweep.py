"""Computes the runs of a sweep and writes their results; what is finished is never computed again.

The directory::

    runs/<id>.json   a finished run, everything about it
    runs/<id>.h5     its buffer at the end
    work/<id>/       a run that is under way: its checkpoint and buffer
    work/<id>.lock   held by the process that computes it
    features/        features of frozen backbones, computed once; may be removed
    tensorboard/     losses and accuracies, where TensorBoard is installed
    results.jsonl    all finished runs of the sweep, one a line
    results.csv      the same as a table, one row a run
    steps.csv        one row for each step of each run

Runs know nothing of each other, so any number of processes may work on one directory at the same
time; each run is computed by one of them, and the others take its result.
"""

import csv
import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from dsc._replay.experiment.claim import claim
from dsc._replay.experiment.log import Board, board_place
from dsc._replay.experiment.plan import DataConfig, RunConfig, Sweep
from dsc._replay.experiment.result import ResultRow
from dsc._replay.experiment.run import (
    CHECKPOINT_EVERY_S,
    FEATURES,
    RunPlace,
    Tell,
    buffer_path,
    data_sha256,
    run,
)
from dsc._replay.learners.pretrained import weights_sha256
from dsc._replay.scenario.images import LabelledImages, MixedSizesError, load_split
from dsc._storage.files.atomic import atomic_write, rename
from dsc.errors import CorruptArchiveError, RunClaimedError, UsageError

RUNS, WORK = "runs", "work"
RUN_COLUMNS = (
    "data", "learner", "codec", "quality", "budget", "policy", "preprocess", "herd_decoded",
    "seed", "average_incremental_accuracy", "last_accuracy", "forgetting", "backward_transfer",
    "exemplars", "buffer_bytes",
    "learner_bytes", "bytes", "bytes_with_decoder", "seconds", "id",
)  # fmt: skip
STEP_COLUMNS = (
    "data", "learner", "codec", "quality", "budget", "policy", "preprocess", "herd_decoded",
    "seed", "step", "seen", "accuracy", "exemplars", "buffer_bytes", "learner_bytes", "bytes",
    "bytes_with_decoder", "id",
)  # fmt: skip


def sweep(
    plan: Sweep,
    out: str | Path,
    *,
    device: str = "cpu",
    features: Path | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
    tell: Tell = lambda line: None,
    notify: Tell = lambda line: None,
) -> list[ResultRow]:
    """Compute the runs of a sweep that are not finished; write the tables after each.

    Parameters
    ----------
    out
        The directory; see the module.
    device
        ``cpu`` or ``cuda``.
    features
        Directory for features of frozen backbones; None: ``features`` in `out`.
    report
        Is told (runs done, runs in all).
    tell
        Is told how far a run is, in a line.
    notify
        Is told which runs another process computes, when all others are done.

    Returns
    -------
    list of ResultRow
        The result of every run, in the order of ``plan.runs()``.

    Raises
    ------
    UsageError
        When the sweep does not fit the data, or finished runs have other data.
    """
    configs: list[RunConfig] = plan.runs()
    done: dict[str, ResultRow] = {}
    for wait in (False, True):
        for config in [one for one in configs if one.id not in done]:
            report(len(finished(configs, done)), len(configs))
            if wait:
                notify(f"waiting for run {config.id}, which another process computes")
            with suppress(RunClaimedError):  # then other runs come first
                row = compute(config, out, device=device, features=features, tell=tell, wait=wait)
                done[config.id] = row
                write_tables(finished(configs, done), out)
    report(len(configs), len(configs))
    return finished(configs, done)


def finished(configs: Sequence[RunConfig], done: Mapping[str, ResultRow]) -> list[ResultRow]:
    """Return the results that there are, in the order of their configurations."""
    return [done[config.id] for config in configs if config.id in done]


def compute(
    config: RunConfig,
    out: str | Path,
    *,
    device: str = "cpu",
    features: Path | None = None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    tell: Tell = lambda line: None,
    wait: bool = True,
) -> ResultRow:
    """Return the result of one run: from its file, else computed (or gone on with) and written.

    Parameters
    ----------
    features
        Directory for features of frozen backbones; None: ``features`` in `out`.
    wait
        Whether to wait for another process that computes the run.

    Raises
    ------
    UsageError
        When the run does not fit the data, or saw other data or other weights of its backbone.
    RunClaimedError
        When another process computes it and `wait` is false.
    """
    path, work = result_path(config, out), work_path(config, out)
    side = None if config.recipe.backbone is None else config.recipe.backbone_side
    train, test, sha256 = load_data(config.data.to_json(), side)
    features = Path(out) / FEATURES if features is None else features
    if not path.exists():
        with claim(work, wait):
            if not path.exists():
                with Board(board_place(Path(out), config)) as board:
                    place = RunPlace(work, device, checkpoint_every_s, tell, board, features)
                    row = run(config, train, test, place)
                _publish(row, work, path)
                return row
    found = _read(path)
    if found["data_sha256"] != sha256:
        raise UsageError(f"{path}: this run saw other data; use another directory")
    if found.get("weights_sha256") != weights_sha256(config.recipe):
        raise UsageError(
            f"{path}: this run had other weights of backbone {config.recipe.backbone}; use another "
            "directory"
        )
    return found


def result_path(config: RunConfig, out: str | Path) -> Path:
    """Name the file of a finished run."""
    return Path(out) / RUNS / f"{config.id}.json"


def work_path(config: RunConfig, out: str | Path) -> Path:
    """Name the directory of a run that is under way."""
    return Path(out) / WORK / config.id


def _publish(row: ResultRow, work: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):  # moved already, by a process that was killed just after
        rename(buffer_path(work, len(row["steps"])), path.with_suffix(".h5"))
    _write(path, json.dumps(row, indent=1) + "\n")
    shutil.rmtree(work, ignore_errors=True)


def write_tables(results: Sequence[ResultRow], out: str | Path) -> list[Path]:
    """Write ``results.jsonl``, ``results.csv`` and ``steps.csv``; return their paths."""
    texts = {
        "results.jsonl": "".join(json.dumps(row) + "\n" for row in results),
        "results.csv": _csv(RUN_COLUMNS, [_named(row) | row for row in results]),
        "steps.csv": _csv(
            STEP_COLUMNS, [_named(row) | step for row in results for step in row["steps"]]
        ),
    }
    Path(out).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        _write(Path(out) / name, text)
    return [Path(out) / name for name in texts]


@lru_cache(maxsize=2)
def load_data(data: str, side: int | None = None) -> tuple[LabelledImages, LabelledImages, str]:
    """Load what a `DataConfig` in JSON names; the runs of a sweep share it.

    Parameters
    ----------
    side
        Of a backbone, which pictures of different sizes are resized to; None: they are refused.
    """
    config = DataConfig.from_json(data)

    def load(size: int | None) -> tuple[LabelledImages, LabelledImages]:
        return load_split(
            config.place, config.test, classes=config.classes, per_class=config.per_class,
            size=size,
        )  # fmt: skip

    try:
        train, test = load(config.size)
    except MixedSizesError:
        if side is None:
            raise
        train, test = load(side)
    return train, test, data_sha256(train, test)


def _read(path: Path) -> ResultRow:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or "data_sha256" not in found:
            raise ValueError("it is no result of a run")
    except ValueError as error:
        raise CorruptArchiveError(f"{path}: {error}; remove it to compute the run anew") from None
    return found


def _named(row: ResultRow) -> ResultRow:
    config: ResultRow = row["config"]
    return config | {"id": row["id"], "data": config["data"]["place"]}


def _csv(columns: Sequence[str], rows: Sequence[ResultRow]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in columns} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value


def _write(path: Path, text: str) -> None:
    atomic_write(path, text.encode())
