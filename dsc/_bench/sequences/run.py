"""``dsc bench sequences``: measures point by point, and writes ``sequences.md`` and ``.json``.

Each point goes to ``points.jsonl`` as soon as it is there, under a hash of what decides it, so that
a run that was stopped goes on.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsc._bench.sequences.contenders import Contender, contenders_for
from dsc._bench.sequences.guaranteed import measure_guaranteed
from dsc._bench.sequences.measuring import measure_point
from dsc._bench.sequences.recording import Clip
from dsc._bench.sequences.tables import markdown
from dsc._bench.speed.run import speed_environment
from dsc._bench.store import Store
from dsc._schemas import Effort, TaskKind
from dsc._storage.files.writable import check_folder
from dsc.errors import DscError

POINTS = "points.jsonl"
BOUND = 0.01  # of depth: the largest relative error


@dataclass(frozen=True)
class SequenceResult:
    """What was found.

    Attributes
    ----------
    parts
        One a task of a recording: ``data``, ``kind``, ``size``, ``frames``, ``pixels``, ``rows``.
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


def run_sequences(
    recordings: Sequence[Clip],
    out: Path,
    effort: Effort = Effort.DEFAULT,
    fresh: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SequenceResult:
    """Measure what is not there yet, derive tables, write.

    Parameters
    ----------
    out
        Directory for ``sequences.md``, ``sequences.json`` and ``points.jsonl``.
    progress
        Called with (done, total) points.
    """
    check_folder(out, f"--out {out}")
    where = speed_environment()
    store = Store(out / POINTS, fresh)
    todo = [(one, contenders_for(one.task, effort)) for one in recordings]
    total = sum(len(c.levels) for _, contenders in todo for c in contenders) + len(todo)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    parts = []
    for recording, contenders in todo:
        identity = _identity(recording, effort, where)
        rows = [_row(recording, one, store, identity, step) for one in contenders]
        bounded = store.get_or_make(
            {**identity, "part": "guaranteed"},
            lambda r=recording: _guaranteed(r, effort),  # type: ignore[misc]
        )
        step()
        parts.append(_part(recording, rows, bounded))
    return _write(SequenceResult(parts, where), out)


def _part(
    recording: Clip, rows: Sequence[dict[str, Any]], bounded: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "data": recording.name,
        "task": recording.task.name,
        "kind": recording.task.kind.value,
        "size": recording.size,
        "frames": len(recording.frames),
        "pixels": recording.pixels,
        "rows": list(rows),
        "guaranteed": dict(bounded),
    }


def _row(
    recording: Clip,
    contender: Contender,
    store: Store,
    identity: Mapping[str, Any],
    step: Callable[[], None],
) -> dict[str, Any]:
    row: dict[str, Any] = {"name": contender.name, "points": []}
    for level in contender.levels:
        known = {**identity, "contender": contender.name, "level": level}
        found = store.get_or_make(known, lambda at=level: _point(recording, contender, at))  # type: ignore[misc]
        if "error" in found:
            row["error"] = found["error"]
        else:
            row["points"].append(found)
        step()
    return row


def _point(recording: Clip, contender: Contender, level: int) -> dict[str, Any]:
    """Measure a point; whatever a library raises becomes a line of the table."""
    try:
        return measure_point(recording, contender, level)
    except Exception as error:
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())[:200]}


def _guaranteed(recording: Clip, effort: Effort) -> dict[str, Any]:
    if recording.task.kind is not TaskKind.DEPTH:
        return {}
    try:
        return measure_guaranteed(recording, BOUND, effort)
    except DscError as error:
        return {"error": str(error)[:200]}


def _identity(recording: Clip, effort: Effort, where: Mapping[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for frame in recording.frames:
        digest.update(frame.tobytes())
    return {
        "task": recording.task.model_dump(mode="json"),
        "shape": list(recording.frames[0].shape),
        "frames": len(recording.frames),
        "pixels": digest.hexdigest(),
        "effort": str(effort),
        "where": {name: value for name, value in where.items() if name != "load"},
    }


def _write(result: SequenceResult, out: Path) -> SequenceResult:
    out.mkdir(parents=True, exist_ok=True)
    text, data = out / "sequences.md", out / "sequences.json"
    text.write_text(markdown(result.parts, result.environment), encoding="utf-8")
    data.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
    return SequenceResult(result.parts, result.environment, (text, data))
