"""What is to be computed of pictures: from what was asked for, and from what an archive holds.

An archive whose task was computed by a backbone gets the same of new samples, by the same weights.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dsc._pipeline.options import ComputeOptions
from dsc._schemas import EMBEDDING, Extractor, Task, TaskKind
from dsc._sources.base import Source
from dsc._sources.computed import with_computed
from dsc.errors import UsageError

FEATURES = "features"
"""The usual name of a task of feature maps."""

TASK_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,47}")


def asked_names(asked: ComputeOptions) -> tuple[str, ...]:
    """Name the tasks that are to be computed.

    Raises
    ------
    UsageError
        When the options cannot be understood.
    """
    return tuple(one.name for one in _parts(asked))


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
    for one in _parts(asked):
        task = _task(one, _pictures(source.tasks, asked.of, one.option), asked.side)
        if one.name not in there:
            made.append(task)
        elif there[one.name].extractor != task.extractor:
            raise UsageError(
                f"there is a task {one.name} already, {_whence(there[one.name])}; call this one "
                f"otherwise: {one.spelled}"
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


@dataclass(frozen=True)
class _Asked:
    """One task that is to be computed: its name, and what computes it."""

    name: str
    backbone: str
    layer: str

    @property
    def option(self) -> str:
        """The option by which it is asked for."""
        return "--embed" if self.layer == EMBEDDING else "--features"

    @property
    def spelled(self) -> str:
        """The option by which it is asked for under another name."""
        layer = "" if self.layer == EMBEDDING else f":{self.layer}"
        return f"{self.option} NAME={self.backbone}{layer}"


def _parts(asked: ComputeOptions) -> list[_Asked]:
    """List what is to be computed."""
    if asked.embed is asked.features is None:
        if asked.of is not None or asked.side is not None:
            raise UsageError("--of and --side say what --embed and --features see; give one, too")
        return []
    found = [*_named("--embed", asked.embed), *_named("--features", asked.features)]
    for at, one in enumerate(found):
        if one.name in (other.name for other in found[:at]):
            raise UsageError(f"two tasks would be called {one.name}; name one: {one.spelled}")
    return found


def _named(option: str, value: str | None) -> Iterator[_Asked]:
    """Read one of the two options: ``[TASK=]BACKBONE``, or ``[TASK=]BACKBONE:LAYER``."""
    embeds = option == "--embed"
    for part in [] if value is None else value.split(","):
        name, _, whole = part.strip().rpartition("=")
        backbone, layer = (whole, EMBEDDING) if embeds else _halves(whole)
        name = name.strip() or (EMBEDDING if embeds else FEATURES)
        if not (backbone and layer and TASK_NAME.fullmatch(name)):
            form = "BACKBONE" if embeds else "BACKBONE:LAYER"
            example = "looks=efficientnet-lite0" if embeds else "deep=efficientnet-lite0:block15"
            raise UsageError(
                f"{option} {value}: write {form} or TASK={form}, the task of a to z, 0 to 9 and _; "
                f"for example {example}"
            )
        yield _Asked(name, backbone, layer)


def _halves(whole: str) -> tuple[str, str]:
    backbone, _, layer = whole.rpartition(":")
    return backbone, layer


def _task(one: _Asked, of: str, side: int | str | None) -> Task:
    """Return the task that is asked for, as the backbone here computes it."""
    from dsc._backbones.extract import make_extractor, shape_of  # brings torch

    extractor = make_extractor(one.backbone, of, one.layer, side)
    shape = shape_of(extractor)
    own: dict[str, Any] = {"kind": TaskKind.EMBEDDING, "dtype": "float32"}
    if one.layer != EMBEDDING:
        own = {"kind": TaskKind.FEATURE, "dtype": "float16", "shape": shape}
    return Task(name=one.name, channels=shape[0], extractor=extractor, **own)


def _pictures(tasks: Sequence[Task], of: str | None, option: str) -> str:
    """Return the task whose pictures a backbone sees."""
    known = {task.name: task for task in tasks}
    usable = [task.name for task in tasks if task.kind is TaskKind.IMAGE and task.dtype == "uint8"]
    if of in usable:
        return str(of)
    if of is not None:
        what = f"{known[of].kind.value} {known[of].dtype}" if of in known else "not there"
        raise UsageError(
            f"--of {of}: it is {what}; {option} sees 8-bit pictures: {', '.join(usable) or 'none'}"
        )
    if not usable:
        found = ", ".join(f"{task.name} ({task.kind.value} {task.dtype})" for task in tasks)
        raise UsageError(f"{option} sees 8-bit pictures, and there are none: {found or 'no task'}")
    if "rgb" not in usable and len(usable) > 1:
        raise UsageError(f"{option}: there are the pictures {', '.join(usable)}; choose with --of")
    return "rgb" if "rgb" in usable else usable[0]


def _whence(task: Task) -> str:
    found: Extractor | None = task.extractor
    return "which the data brings" if found is None else f"computed by {found}"
