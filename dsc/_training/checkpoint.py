"""Checkpoints of a run: one file, written whole or not at all; the one before it is kept too.

A file holds plain values and tensors only and is read without pickled code. A run that was killed
at any moment finds ``checkpoint.pt`` (or ``checkpoint.previous.pt``, on a file system without hard
links).
"""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from dsc._storage.files.atomic import part_name, publish
from dsc.errors import CorruptCheckpointError, UsageError

CHECKPOINT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
VERSION = 1
KEYS = {"version", "config", "data", "spec", "modalities", "steps", "done", "network", "seconds"}


def pack(state: dict[str, Any]) -> bytes:
    """Turn a state of tensors, numbers, text, lists and dicts into bytes."""
    buffer = io.BytesIO()
    torch.save(state | {"version": VERSION}, buffer)
    return buffer.getvalue()


def save(out: Path, data: bytes) -> None:
    """Make `data` the newest checkpoint of the directory, and keep the one before."""
    out.mkdir(parents=True, exist_ok=True)
    target = out / CHECKPOINT
    part = part_name(target)
    try:
        part.write_bytes(data)
        if target.exists():
            _keep_as_previous(target, out / PREVIOUS)
        publish(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _keep_as_previous(target: Path, previous: Path) -> None:
    """Return the old checkpoint its second name, so that the first is there at every moment."""
    link = part_name(previous)
    try:
        os.link(target, link)
    except OSError:  # no links on this file system: for a moment only the second name is there
        os.replace(target, previous)
        return
    os.replace(link, previous)


def newest(out: Path) -> Path | None:
    """Return the newest checkpoint of a directory; None when there is none."""
    return next((out / name for name in (CHECKPOINT, PREVIOUS) if (out / name).exists()), None)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint file.

    Raises
    ------
    UsageError
        When there is no such file.
    CorruptCheckpointError
        When it is not one; names the one before it, if that is there.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"{path}: there is no such checkpoint") from None
    try:
        return unpack(data, str(path))
    except CorruptCheckpointError as error:
        other = path.with_name(PREVIOUS)
        advice = "begin anew with --overwrite"
        if path.name == CHECKPOINT and other.exists():
            advice = f"remove it, and the same command goes on from {other.name}"
        raise CorruptCheckpointError(f"{error}; {advice}") from None


def unpack(data: bytes, where: str) -> dict[str, Any]:
    """Read what `pack` gave.

    Parameters
    ----------
    where
        The file, for messages.

    Raises
    ------
    CorruptCheckpointError
        When it is something else.
    """
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not state.keys() >= KEYS:
            raise ValueError("it lacks what a checkpoint of dsc train holds")
        if state["version"] != VERSION:
            raise ValueError(f"version {state['version']}, this dsc reads {VERSION}")
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptCheckpointError(
            f"{where}: not a checkpoint that can be read ({reason})"
        ) from None
    return state
