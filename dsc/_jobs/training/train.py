"""Trains a codec: begins or goes on, writes logs and checkpoints, and ends in a codec file.

A run can be stopped at any moment and repeated: it goes on from its newest checkpoint and gives the
losses of a run that was never stopped. In its directory there are at the end:

``checkpoint.pt``, ``checkpoint.previous.pt``
    The state of the run, and the one before.
``log.csv``, ``figures.csv``, ``tensorboard/``
    Means of training steps; evaluations on held-out samples.
``card.json``
    Data, steps, time, seed, configuration and figures.
``KIND.safetensors``
    The codec file, where the kind can write archives.

With ``jobs="ray"`` the loop runs in a Ray actor, on a GPU where the cluster has one; everything is
written here, and the data must be readable there.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dsc._codecs.learned.codec_file import default_weights
from dsc._jobs.training.on_ray import AnySession, ray_session
from dsc._jobs.training.run import CARD, Pace, Run, TrainProgress, TrainReport
from dsc._pipeline.choose.codec_spec import FILE_SUFFIX, codec_id_of
from dsc._storage.files.place import absolute
from dsc._storage.files.writable import check_folder
from dsc._training.checkpoint import CHECKPOINT, PREVIOUS, load, newest
from dsc._training.config import TrainConfig, differences
from dsc._training.log import BOARD, FIGURES, LOG
from dsc._training.session import Machine, Session
from dsc.errors import PlanMismatchError, UsageError


@dataclass(frozen=True)
class _Origins:
    """Files that a session begins with: checkpoint, start, teacher; and where the first is."""

    state: bytes | None
    start: bytes | None
    teacher: bytes | None
    where: str


def train(
    config: TrainConfig | None,
    out: str | os.PathLike[str],
    *,
    machine: Machine | None = None,
    pace: Pace | None = None,
    jobs: str = "here",
    address: str | None = None,
    overwrite: bool = False,
    export_only: bool = False,
    tell: Callable[[TrainProgress], None] | None = None,
) -> TrainReport:
    """Train a codec, or go on with a run that was begun in `out`.

    Parameters
    ----------
    config
        The run; None takes that of the checkpoint in `out`.
    out
        Local directory.
    machine
        Device and threads; by default a GPU where there is one, and one thread.
    pace
        How often a checkpoint is written and the network evaluated.
    jobs
        Where the work is done: ``here``, or on ``ray``.
    address
        Address of a Ray cluster; None starts a Ray on this machine. Only with ``ray``.
    overwrite
        Begin anew, whatever run is in `out`.
    export_only
        Write card and codec file of the newest checkpoint, and train no further.
    tell
        Called after every slice of the loop.

    Raises
    ------
    PlanMismatchError
        When `out` holds a run of another configuration; what differs is named.
    DivergedError
        When the loss left all bounds; names the last good checkpoint and what to try.
    KeyboardInterrupt
        When it was interrupted; a checkpoint has been written, and the message says how to go on.
    """
    place = _open_out(out, overwrite)
    found = newest(place)
    if export_only and found is None:
        raise UsageError(f"--export-only: {place} holds no checkpoint; train first")
    config = _same_run(config, found, place)
    start = _read_start(config) if found is None else None
    state = found.read_bytes() if found is not None else None
    origins = _Origins(state, start, _read_teacher(config), str(found or ""))
    with _session(config, origins, machine or Machine(), jobs, address) as session:
        run = Run(session, config, place, pace or Pace(), tell)
        if not export_only:
            run.train(fresh=found is None)
        return run.conclude()


def _open_out(out: str | os.PathLike[str], overwrite: bool) -> Path:
    text = absolute(os.fspath(out))
    if "://" in text:
        raise UsageError(f"--out {text}: checkpoints are written to a local directory")
    place = Path(text)
    if place.exists() and not place.is_dir():
        raise UsageError(f"--out {place} is a file; give a directory")
    check_folder(place, f"--out {text}")
    if overwrite and newest(place) is not None:
        for name in (CHECKPOINT, PREVIOUS, LOG, FIGURES, CARD):
            (place / name).unlink(missing_ok=True)
        for event in (place / BOARD).glob("events.*"):
            event.unlink()
    place.mkdir(parents=True, exist_ok=True)
    return place


def _same_run(config: TrainConfig | None, found: Path | None, place: Path) -> TrainConfig:
    """Return the configuration to run; that of the checkpoint, where there is one, or an error."""
    if found is None:
        if config is None:
            raise UsageError(f"{place} holds no run to go on with; give --data")
        return config
    stored = TrainConfig.from_json(load(found)["config"], str(found))
    changed = differences(stored, config) if config is not None else []
    if changed:
        listed = "; ".join(changed)
        raise PlanMismatchError(
            f"{place} holds a run of another configuration: {listed}. Give the same options to go "
            f"on, another --out, or --overwrite to begin anew; --start {found} begins a new run "
            "from its weights"
        )
    return stored


def start_of(path: str | os.PathLike[str], freeze_decoder: bool = False) -> tuple[str, str]:
    """Return what `TrainConfig.start` holds: a checkpoint's place and hash, or a codec file's.

    Parameters
    ----------
    path
        A checkpoint, or the directory of a run; with `freeze_decoder` a codec file, or the
        directory of a run that has exported one.
    """
    place = Path(absolute(os.fspath(path)))
    if freeze_decoder:
        files = sorted(place.glob(f"*{FILE_SUFFIX}")) if place.is_dir() else [place]
        found = files[0] if len(files) == 1 and files[0].suffix == FILE_SUFFIX else None
    else:
        found = newest(place) if place.is_dir() else place
    if found is None or not found.is_file():
        what = f"codec file (*{FILE_SUFFIX})" if freeze_decoder else "checkpoint"
        raise UsageError(f"--start {path}: there is no {what}")
    if found.suffix == FILE_SUFFIX and not freeze_decoder:
        raise UsageError(
            f"--start {path}: of a codec file only the encoder can be trained on: add "
            "--freeze-decoder; to train everything, give the directory of the run it came from"
        )
    return str(found), hashlib.sha256(found.read_bytes()).hexdigest()


def teacher_of(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Return what `TrainConfig.teacher` holds: a checkpoint's place and hash.

    Parameters
    ----------
    path
        A checkpoint, or the directory of a run.
    """
    place = Path(absolute(os.fspath(path)))
    found = newest(place) if place.is_dir() else place
    if found is None or not found.is_file():
        raise UsageError(f"--teacher {path}: there is no checkpoint")
    return str(found), hashlib.sha256(found.read_bytes()).hexdigest()


def _read_teacher(config: TrainConfig) -> bytes | None:
    """Read the teacher, which a run needs up to its last step."""
    if config.teacher is None:
        return None
    path, sha256 = config.teacher
    if not Path(path).is_file():
        raise UsageError(f"--teacher {path}: it is not there any more; put it back to go on")
    data = Path(path).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UsageError(
            f"--teacher {path}: it is not what it was when this run began; put that back to go "
            "on, or begin anew with --overwrite"
        )
    return data


def _read_start(config: TrainConfig) -> bytes | None:
    if config.start is None:
        return default_weights(config.kind) if config.freeze_decoder else None
    path, sha256 = config.start
    if config.freeze_decoder:
        kind = codec_id_of(path)
    else:
        kind = TrainConfig.from_json(load(Path(path))["config"], path).kind
    if kind != config.kind:
        raise UsageError(f"--start {path}: a {kind}, not a {config.kind}")
    data = Path(path).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UsageError(f"--start {path}: it changed while it was read; try again")
    return data


@contextmanager
def _session(
    config: TrainConfig, origins: _Origins, machine: Machine, jobs: str, address: str | None
) -> Iterator[AnySession]:
    state, start = origins.state, origins.start
    where, teacher = origins.where, origins.teacher
    if jobs == "here":
        if address is not None:
            raise UsageError(f"--address {address} goes with --run-on ray")
        session = Session(config, state, start, machine, where, teacher)
        try:
            yield session
        finally:
            session.close()
    elif jobs == "ray":
        with ray_session(config, state, start, machine, where, teacher, address) as there:
            yield there
    else:
        raise UsageError(f"--run-on {jobs}: here or ray")
