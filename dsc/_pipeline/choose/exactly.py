"""Codecs with which every task comes back value for value, in the fewest bytes that are known.

JPEG files and frames of videos stay what they are, as long as the source has them; label maps take
the smaller of two on samples at fixed places of the source, so that equal data gives equal bytes;
every other map is coded by `exact`, which keeps the smallest of several forms of each sample.
"""

from collections.abc import Sequence

import numpy as np

from dsc._codecs.base import Array, Sample
from dsc._codecs.registry import LOSSLESS, OF_FILES
from dsc._pipeline.choose.codec_spec import (
    AUTO,
    OF_RECORDINGS,
    Spec,
    can_code,
    takes,
)
from dsc._pipeline.choose.light import mean_bytes, some_samples
from dsc._pipeline.choose.recorded import are_kept
from dsc._schemas import Effort, SourceReport, Task, TaskKind
from dsc._schemas.from_file import file_of
from dsc._sources.base import Source
from dsc.errors import UsageError

OF_JPEG, OF_VIDEO, OF_NUMBERS = "jpeg-exact", "keep", "plain"
OF_LABELS = ("label-context", "label-scan", "exact")


def exact_codecs(
    spec: Spec, source: Source, tasks: Sequence[Task], effort: Effort, is_recorded: bool
) -> dict[str, str]:
    """Choose a codec for every task; what is asked for by name is taken, if it loses nothing.

    Parameters
    ----------
    spec
        What was asked for by name; ``auto`` asks for nothing.
    source
        Gives the samples that codecs are tried on.
    is_recorded
        Whether the samples are frames of recordings.

    Raises
    ------
    UsageError
        When a codec is lossy, or codes none of the tasks.
    """
    named = _named(spec, tasks)
    rest = [task for task in tasks if task.name not in named]
    samples = some_samples(source, [task for task in rest if task.is_map])
    return named | {
        task.name: _smallest(task, source, samples, effort, is_recorded) for task in rest
    }


def check_values(tasks: Sequence[Task], report: SourceReport) -> None:
    """Refuse tasks that are rounded already when they are read: nothing after that is exact.

    Raises
    ------
    UsageError
        Naming the tasks, and how their numbers are kept.
    """
    rounded = [task for task in tasks if task.is_map and _is_rounded(task, report)]
    if rounded:
        first, names = rounded[0], ", ".join(task.name for task in rounded)
        raise UsageError(
            f"--exact: the numbers of {names} are rounded to {first.dtype} when they are read "
            f"({report.tasks[first.name].stored}); --kinds {first.name}=array keeps them as they "
            "are, or leave the task out with --tasks"
        )


def no_files_warning(task: Task, word: str, arrays: Sequence[Array]) -> str | None:
    """Say that a codec that keeps files has none to keep, where it is so.

    Parameters
    ----------
    word
        The task's codec.
    arrays
        Of some samples, as the source gives them.
    """
    if word not in OF_FILES or not arrays or any(file_of(one) is not None for one in arrays):
        return None
    looked_at = f"{len(arrays)} sample{'s' * (len(arrays) != 1)} looked at"
    return (
        f"{task.name}: no JPEG files ({looked_at}); {word} keeps JPEG files, and codes other "
        f"pictures as {OF_FILES[word]} does"
    )


def _is_rounded(task: Task, report: SourceReport) -> bool:
    found = report.tasks.get(task.name)
    if found is None:
        return False
    stored = found.stored.partition(" ")[0]
    known = stored in np.sctypeDict or stored == "bool"
    fits = not known or np.can_cast(np.dtype(stored), np.dtype(task.dtype), "safe")
    whole = known and np.dtype(stored).kind in "iu"  # ids that do not fit are refused when read
    return bool(found.rounding_m) or not (fits or whole)


def _named(spec: Spec, tasks: Sequence[Task]) -> dict[str, str]:
    """Return the codecs that were asked for by name, by task."""
    chosen = {name: word for name, word in spec.chosen.items() if word != AUTO}
    named = {task.name: chosen[task.name] for task in tasks if task.name in chosen}
    if spec.general is not None and spec.general != AUTO:
        rest = [task for task in tasks if task.name not in spec.chosen]
        taken = takes(spec.general, rest)
        if rest and not taken:
            names = ", ".join(task.name for task in rest)
            raise UsageError(f"--codec {spec.text}: {spec.general} codes none of {names}")
        named |= {task.name: spec.general for task in taken}
    for task in tasks:
        word = named.get(task.name, "exact")
        if task.may_lose and word not in LOSSLESS:
            raise UsageError(
                f"--exact: --codec {task.name}={word} is lossy; leave it out, or name one of "
                f"{', '.join(name for name in LOSSLESS if can_code(name, [task]))}"
            )
    return named


def _smallest(
    task: Task, source: Source, samples: Sequence[Sample], effort: Effort, is_recorded: bool
) -> str:
    """Return the codec of one task."""
    if not task.is_map:
        return OF_NUMBERS
    files = [file_of(one[task.name]) for one in samples if task.name in one]
    if any(file is not None for file in files) and can_code(OF_JPEG, [task]):
        return OF_JPEG
    if can_code(OF_VIDEO, [task]) and are_kept(source, task.name):
        return OF_VIDEO
    if task.kind is not TaskKind.LABEL:
        return "exact"
    if is_recorded and can_code(OF_RECORDINGS, [task]):
        return OF_RECORDINGS
    able = [word for word in OF_LABELS if can_code(word, [task])]
    return min(able, key=lambda word: mean_bytes(word, task, samples, effort))
