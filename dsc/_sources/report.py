"""What a source says of itself: the account of what it found, and the hash of what it holds."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import LeftOut, SourceReport, Task, TaskReport
from dsc._schemas.base import canonical_json
from dsc._sources.meaning.decide import Meaning

UPRIGHT = "pictures are turned upright by their EXIF orientation"


def make_report(
    meanings: Mapping[str, Meaning],
    present: Mapping[str, NDArray[np.bool_]],
    left_out: Sequence[LeftOut],
    notes: Sequence[str],
    options: Mapping[str, Any],
) -> SourceReport:
    """Return the account of what a source found, decided and left out.

    Parameters
    ----------
    meanings, present
        By task, what it is, and which samples have it: (N,) bool.
    left_out
        What was found and is not read.
    notes
        What was decided for all files, in words for people.
    options
        What the source was opened with, as JSON.
    """
    columns = list(present.values())
    return SourceReport(
        samples=len(columns[0]) if columns else 0,
        complete=int(np.logical_and.reduce(columns).sum()) if columns else 0,
        tasks={
            name: task_report(meaning, int(present[name].sum()))
            for name, meaning in meanings.items()
        },
        left_out=tuple(left_out),
        notes=tuple(notes),
        options=options,
    )


def task_report(meaning: Meaning, samples: int) -> TaskReport:
    """Return the account of one task, which so many samples have."""
    shape = "×".join(map(str, meaning.shape))
    return TaskReport(
        samples=samples,
        stored=f"{meaning.stored} {shape}".strip(),
        why=meaning.why,
        warnings=meaning.warnings,
        rounding_m=meaning.rounding_m,
        near_m=meaning.near_m,
    )


def fingerprint(tasks: Sequence[Task], content: str) -> str:
    """Return the SHA-256 of what a source holds: its tasks, and a hash of its samples."""
    text = canonical_json([task.model_dump(mode="json") for task in tasks]) + content
    return hashlib.sha256(text.encode()).hexdigest()
