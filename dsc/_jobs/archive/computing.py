"""What is to be computed of pictures: from what was asked for, and from what an archive holds.

An archive whose task was computed by a backbone gets the same of new samples, by the same weights.
"""

import re
from collections.abc import Iterator, Sequence

from dsc._pipeline.options import ComputeOptions
from dsc._schemas import EMBEDDING, Extractor, Task, TaskKind
from dsc._sources.base import Source
from dsc._sources.computed import with_computed
from dsc.errors import UsageError

TASK_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,47}")


def asked_names(asked: ComputeOptions) -> tuple[str, ...]:
    """Name the tasks that are to be computed.

    Raises
    ------
    UsageError
        When the options cannot be understood.
    """
    return tuple(name for name, _ in _parts(asked))


def computing(source: Source, asked: ComputeOptions) -> Source:
    """Return a source with the tasks that are to be computed of its pictures.

    One that the source has by that very backbone is not computed again.

    Raises
    ------
    UsageError
        When the options cannot be understood, there is no such backbone, the source has no
        pictures for it, or a task of that name.
    MissingPackageError
        When what the backbone needs is not installed.
    """
    there = {task.name: task for task in source.tasks}
    made = []
    for name, backbone in _parts(asked):
        task = _embedding(name, backbone, _pictures(source.tasks, asked.of), asked)
        if name not in there:
            made.append(task)
        elif there[name].extractor != task.extractor:
            raise UsageError(
                f"there is a task {name} already, {_whence(there[name])}; call this one otherwise: "
                f"--embed NAME={backbone}"
            )
    return with_computed(source, made)


def computing_as(source: Source, own: Sequence[Task]) -> Source:
    """Return a source that also computes what an archive's tasks were computed by.

    Parameters
    ----------
    own
        The archive's tasks. Of those that the source has itself nothing is computed, nor of
        pictures that it lacks.
    """
    there = {task.name for task in source.tasks}
    return with_computed(
        source,
        [
            task
            for task in own
            if task.extractor is not None and task.name not in there and task.extractor.of in there
        ],
    )


def check_computable(tasks: Sequence[Task]) -> None:
    """Check that what computes tasks is at hand, before any work is done.

    Raises
    ------
    UsageError
        When a backbone is unknown here, or has other weights.
    MissingPackageError
        When what one needs is not installed.
    """
    for extractor in filter(None, (task.extractor for task in tasks)):
        from dsc._backbones.registry import load_extractor  # brings torch

        load_extractor(extractor)


def _parts(asked: ComputeOptions) -> Iterator[tuple[str, str]]:
    """Yield name of the task and of the backbone."""
    if asked.embed is None:
        if asked.of is not None or asked.side is not None:
            raise UsageError("--of and --side say what --embed sees; give it, too")
        return
    seen = set()
    for part in asked.embed.split(","):
        name, _, backbone = part.strip().rpartition("=")
        name = name.strip() or EMBEDDING
        if not backbone or not TASK_NAME.fullmatch(name):
            raise UsageError(
                f"--embed {asked.embed}: write BACKBONE or TASK=BACKBONE, the task of a to z, 0 to "
                "9 and _; for example looks=efficientnet-lite0"
            )
        if name in seen:
            raise UsageError(
                f"--embed {asked.embed}: two tasks would be called {name}; name one otherwise: "
                f"{name}2={backbone}"
            )
        seen.add(name)
        yield name, backbone


def _embedding(name: str, backbone: str, of: str, asked: ComputeOptions) -> Task:
    from dsc._backbones.extract import make_extractor  # brings torch
    from dsc._backbones.registry import load_backbone

    extractor = make_extractor(backbone, of, side=asked.side)
    size = load_backbone(backbone).embedding_size
    return Task(
        name=name, kind=TaskKind.EMBEDDING, dtype="float32", channels=size, extractor=extractor
    )


def _pictures(tasks: Sequence[Task], of: str | None) -> str:
    """Return the task whose pictures a backbone sees."""
    known = {task.name: task for task in tasks}
    usable = [task.name for task in tasks if task.kind is TaskKind.IMAGE and task.dtype == "uint8"]
    if of in usable:
        return str(of)
    if of is not None:
        what = f"{known[of].kind.value} {known[of].dtype}" if of in known else "not there"
        raise UsageError(
            f"--of {of}: it is {what}; --embed sees 8-bit pictures: {', '.join(usable) or 'none'}"
        )
    if not usable:
        found = ", ".join(f"{task.name} ({task.kind.value} {task.dtype})" for task in tasks)
        raise UsageError(f"--embed sees 8-bit pictures, and there are none: {found or 'no task'}")
    if "rgb" not in usable and len(usable) > 1:
        raise UsageError(f"--embed: there are the pictures {', '.join(usable)}; choose with --of")
    return "rgb" if "rgb" in usable else usable[0]


def _whence(task: Task) -> str:
    found: Extractor | None = task.extractor
    return "which the data brings" if found is None else f"computed by {found}"
