"""The checkpoint of a replay run: one file, whole or not at all, read without pickled code."""

import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dsc._replay.experiment.plan import RunConfig
from dsc._storage.files.atomic import atomic_write
from dsc.errors import CorruptArchiveError, UsageError

CHECKPOINT = "checkpoint.pt"
VERSION = 1
IncrementRow = dict[str, Any]
"""What was measured after an increment, JSON values by name."""


@dataclass
class RunProgress:
    """How far a run is.

    Attributes
    ----------
    increment, epoch
        Increments that are complete, and epochs of the one that is not.
    seconds
        Time that was spent.
    rows
        What was measured, a row an increment.
    """

    increment: int = 0
    epoch: int = 0
    seconds: float = 0.0
    rows: list[IncrementRow] = field(default_factory=list)


def save(
    work: Path,
    config: RunConfig,
    data_sha256: str,
    weights_sha256: str | None,
    done: RunProgress,
    learner: dict[str, Any],
) -> None:
    """Write the checkpoint of a run's directory."""
    state = {
        "version": VERSION,
        "config": config.to_json(),
        "data": data_sha256,
        "backbone": weights_sha256,
        "step": done.increment,
        "epoch": done.epoch,
        "seconds": done.seconds,
        "rows": done.rows,
        "learner": learner,
    }
    packed = io.BytesIO()
    torch.save(state, packed)
    atomic_write(work / CHECKPOINT, packed.getvalue())


def load(
    work: Path,
    config: RunConfig,
    data_sha256: str,
    weights_sha256: str | None,
    device: torch.device,
) -> tuple[RunProgress, dict[str, Any]] | None:
    """Read the checkpoint of a run's directory: progress and the learner's state; None without one.

    Raises
    ------
    CorruptArchiveError
        When it cannot be read.
    UsageError
        When it is of another configuration, other data, or other weights of its backbone.
    """
    path = work / CHECKPOINT
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        found = {name: state.get(name) for name in ("version", "config", "data", "backbone")}
        done = RunProgress(state["step"], state["epoch"], state["seconds"], state["rows"])
        learner: dict[str, Any] = state["learner"]
    except (RuntimeError, ValueError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as why:
        raise CorruptArchiveError(
            f"{path}: not a checkpoint that can be read ({why}); remove it to begin anew"
        ) from None
    wanted = {
        "version": VERSION,
        "config": config.to_json(),
        "data": data_sha256,
        "backbone": weights_sha256,
    }
    for name, value in wanted.items():
        if found[name] != value:
            raise UsageError(f"{path}: begun with another {name}; use another directory")
    return done, learner
