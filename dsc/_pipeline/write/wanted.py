"""Tells from the tasks that an append is asked for what it is to add, and whether it may.

Tasks that the archive has mean new samples; tasks that it lacks mean new tasks for the samples that
are there. Both at once is refused: one append makes one generation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dsc._pipeline.write.growth import Adds
from dsc._schemas import Task, resolve_task
from dsc._sources.base import Source
from dsc._storage.read.archive import Archive
from dsc.errors import UnknownTaskError, UsageError

ENCODING = ("kind", "dtype", "channels", "unit_m", "invalid", "classes")  # what must not differ


@dataclass(frozen=True)
class Wanted:
    """What is to be added.

    Attributes
    ----------
    tasks
        Of new samples, the archive's tasks that the source is asked for; or the new tasks.
    """

    adds: Adds
    tasks: tuple[Task, ...]


def what_to_add(archive: Archive, source: Source, tasks: Sequence[str] | str | None) -> Wanted:
    """Tell from the tasks that were asked for what an append is to do.

    Parameters
    ----------
    tasks
        Names or aliases; None stands for the archive's own.

    Raises
    ------
    UnknownTaskError
        When neither the archive nor the source has a task.
    UsageError
        When some tasks are in the archive and some are not, or the source means something else by
        a task of the archive.
    """
    own = {task.name: task for task in archive.manifest.tasks}
    offered = {task.name: task for task in source.tasks}
    names = _resolve(archive, tasks, list(own), list(offered))
    new = [name for name in names if name not in own]
    if new and len(new) < len(names):
        old = [name for name in names if name in own]
        raise UsageError(
            f"--tasks {','.join(names)}: the archive has {', '.join(old)} and lacks "
            f"{', '.join(new)}. One append adds either samples or tasks: run it with --tasks "
            f"{','.join(new)} for the samples that are there, and again without for new samples"
        )
    if new:
        return Wanted(Adds.TASKS, tuple(offered[name] for name in new))
    read = [name for name in names if name in offered]
    if not read:
        raise UsageError(
            f"the source has none of the archive's tasks ({', '.join(own)}); it has "
            f"{', '.join(offered)}. To add one of these to the samples that are there, name it: "
            f"--tasks {next(iter(offered), 'TASK')}"
        )
    for name in read:
        _check_same(own[name], offered[name])
    return Wanted(Adds.SAMPLES, tuple(own[name] for name in read))


def check_complete(archive: Archive, wanted: Wanted) -> None:
    """Check that new samples have every task of the archive.

    Raises
    ------
    UsageError
        When they lack one.
    """
    own = [task.name for task in archive.manifest.tasks]
    lacking = [name for name in own if name not in {task.name for task in wanted.tasks}]
    if lacking:
        raise UsageError(
            f"the archive has {', '.join(own)} already, and the source has new samples, which "
            f"would lack {', '.join(lacking)}; give all of these tasks, or add samples without "
            "them with --missing none"
        )


def _resolve(
    archive: Archive, tasks: Sequence[str] | str | None, own: Sequence[str], offered: Sequence[str]
) -> list[str]:
    """Find what each word means: by its own name, then by an alias; the archive comes first."""
    if tasks is None:
        return list(own)
    words = tasks.split(",") if isinstance(tasks, str) else tasks
    names = [word.strip() for word in words if word.strip()]
    if not names:
        raise UsageError(f"--tasks: name one of {', '.join(dict.fromkeys([*own, *offered]))}")
    found = []
    for name in names:
        exact = name in own or name in offered
        for available in (own, offered):
            try:
                found.append(resolve_task(name, [name] if exact else available))
                break
            except UnknownTaskError:
                continue
        else:
            raise UnknownTaskError(
                f"no task {name!r}: {archive.root.url} has {', '.join(own)}, the source has "
                f"{', '.join(offered) or 'none'}"
            )
    return list(dict.fromkeys(found))


def _check_same(own: Task, offered: Task) -> None:
    differ = [name for name in ENCODING if getattr(own, name) != getattr(offered, name)]
    if differ:
        values = ", ".join(
            f"{name} {_short(getattr(own, name))} there and {_short(getattr(offered, name))} here"
            for name in differ
        )
        advice = "; --depth-unit says what a count is" if "unit_m" in differ else ""
        raise UsageError(
            f"task {own.name} of the archive and of the source are not the same: {values}. "
            f"Samples of one task must mean the same{advice}"
        )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
