"""What a caller of `dsc.compress` asks for: checked, resolved, and spelled as a command."""

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from dsc._pipeline.choose.auto import DEFAULT_SAMPLES
from dsc._pipeline.choose.codec_set import LOSSLESS
from dsc._pipeline.choose.codec_spec import Spec
from dsc._pipeline.write.plan import check_split
from dsc._schemas import (
    Bound,
    BoundKind,
    Quality,
    SourceReport,
    Target,
    Task,
    resolve_task,
    resolve_tasks,
)
from dsc._sources.base import left_out_of
from dsc._sources.registry import Source, open_source, options_of
from dsc._storage.files.place import absolute
from dsc.errors import UnknownTaskError, UsageError

ON_ERROR = ("fail", "skip")
LISTED = 8


@dataclass(frozen=True)
class Request:
    """The arguments of `dsc._jobs.archive.compress.compress`, which documents them."""

    anew: ClassVar[str] = "without overwrite"
    source: str | Source
    out: str
    tasks: Sequence[str] | str | None
    root: str | os.PathLike[str] | None
    sample: int | None
    codec: str | None
    quality: str | int | Quality
    shard_size: int | None
    pack: int | None
    split: str | None
    workers: int
    address: str | None
    on_error: str
    overwrite: bool
    layout: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None
    max_error: str | None = None
    auto_samples: int = DEFAULT_SAMPLES
    rounding: Mapping[str, tuple[float, float]] = field(default_factory=dict, kw_only=True)

    def rounded(self, report: SourceReport) -> Self:
        """Return the request that knows which depth is rounded when it is read, and by how much.

        A bound is a promise about the source's values, so rounding is taken off it.
        """
        found = {
            name: (task.rounding_m, task.near_m)
            for name, task in report.tasks.items()
            if task.rounding_m
        }
        return replace(self, rounding=found)

    def check(self) -> None:
        """Refuse what can be refused before anything is opened.

        Raises
        ------
        UsageError
            When an option is out of range or contradicts another one.
        """
        if self.on_error not in ON_ERROR:
            raise UsageError(f"--on-error {self.on_error}: {' or '.join(ON_ERROR)}")
        if self.workers < 0:
            raise UsageError(f"--workers {self.workers}: 0 (in this process) or more")
        if self.workers and self.address:
            raise UsageError("--workers starts a Ray here, --address uses one: give one of them")
        if self.split is not None:
            check_split(self.split)
        if self.auto_samples < 1:
            raise UsageError(f"--auto-samples {self.auto_samples}: at least 1")

    def open_source(self) -> Source:
        """Open the dataset.

        Raises
        ------
        UsageError
            When the layout is unknown, or an option does not fit it.
        """
        root = None if self.root is None else absolute(os.fspath(self.root))
        if not isinstance(self.source, str):
            given = {"root": root, "sample": self.sample, **self.layout}
            extra = [name for name, value in given.items() if value is not None]
            if extra:
                raise UsageError(f"an open source takes no {', '.join(extra)}")
            return self.source
        if self.sample is None:
            return open_source(self.source, root, **self.layout, **self._chosen())
        if self.source not in ("taskonomy", "sample", "clevr"):
            raise UsageError(
                f"--sample renders Taskonomy's layout; it does not go with {self.source}"
            )
        if root is not None:
            raise UsageError(f"--sample {self.sample} renders views, --root {root} reads them")
        name = "clevr" if self.source == "clevr" else "sample"
        return open_source(name, None, **{"n": self.sample, **self.layout})

    def _chosen(self) -> dict[str, Any]:
        """Return what a layout is asked for, as far as it can choose: tasks, and a split."""
        wanted = {"tasks": self.tasks, "split": self.split}
        known = options_of(str(self.source))
        return {name: value for name, value in wanted.items() if value and name in known}

    def check_left_out(self, source: Source) -> None:
        """Refuse to leave out in silence what looks like a task.

        Raises
        ------
        UsageError
            When files look like a task that was asked for, or all were, and cannot be read.
        """
        asked = None if self.tasks is None else _known(self.tasks, task_names(source))
        like = [
            one for one in left_out_of(source) if one.task and (asked is None or one.task in asked)
        ]
        if not like:
            return
        lines = [f"  {one.what}: {count(one.files, 'file')}, {one.reason}" for one in like[:LISTED]]
        lines += [f"  and {len(like) - LISTED} more"] * (len(like) > LISTED)
        listed = "\n".join(lines)
        paths = shlex.quote(",".join(dict.fromkeys(one.what for one in like)))
        advice = f"leave them out with --ignore {paths}"
        whole = [name for name in task_names(source) if name not in {one.task for one in like}]
        if asked is None and whole:
            advice = f"name the tasks you want with --tasks {','.join(whole)}, or {advice}"
        raise UsageError(f"these look like tasks, and cannot be read:\n{listed}\n{advice}")

    def choose_tasks(self, source: Source) -> tuple[Task, ...]:
        """Return the tasks to compress, in the order asked for.

        Raises
        ------
        UnknownTaskError
            When the source lacks one; the message lists those it has.
        """
        found = {task.name: task for task in source.tasks}
        chosen = tuple(found[name] for name in resolve_tasks(self.tasks, list(found)))
        if not chosen:
            raise UsageError(f"no task to compress; found: {', '.join(found) or 'none'}")
        coded = self._coded_by_name(list(found))
        return tuple(
            task.model_copy(update={"exact": False}) if task.name in coded else task
            for task in chosen
        )

    def _coded_by_name(self, found: Sequence[str]) -> set[str]:
        """List the tasks that ``--codec rgb=jpeg`` or ``--target rgb=38dB`` calls pictures by name.

        What was only guessed to be ids is then coded as it is asked.
        """
        words = Spec.parse(self.codec, found).chosen
        lossy = [name for name, word in words.items() if word not in LOSSLESS]
        aimed = [part.partition("=") for part in (self.target or "").split(",") if "=" in part]
        return {*lossy, *_known([name.strip() for name, _, _ in aimed], found)}

    def choose_quality(self, tasks: Sequence[Task], streams: Sequence[str] = ()) -> Quality:
        """Return the quality of each task, with the targets and bounds.

        Parameters
        ----------
        streams
            Names of streams that have a quality of their own, such as ``shared``.
        """
        quality = self.quality
        if not isinstance(quality, Quality):
            quality = Quality.parse(str(quality), [*(task.name for task in tasks), *streams])
        targets = self.targets(tasks)
        bounds = {**quality.max_error, **self.bounds(tasks)}
        bounds = {
            name: without_rounding(name, bound, *self.rounding[name])
            if name in self.rounding
            else bound
            for name, bound in bounds.items()
        }
        return quality.model_copy(update={"targets": targets, "max_error": bounds})

    def targets(self, tasks: Sequence[Task]) -> dict[str, Target]:
        """Return the distortions that the quality or ``--target`` asks for."""
        given = self.quality.targets if isinstance(self.quality, Quality) else {}
        return {**given, **Target.parse(self.target or "", tasks)}

    def bounds(self, tasks: Sequence[Task]) -> dict[str, Bound]:
        """Return the bounds that ``--max-error`` asks for."""
        return Bound.parse(self.max_error or "", tasks)

    def again(self) -> str:
        """Say how to go on: the command, without ``--overwrite``, which would begin anew."""
        if not isinstance(self.source, str) or isinstance(self.quality, Quality):
            return f"call dsc.{self.command()[0]} again with the same arguments, {self.anew}"
        given = [_option(name, value) for name, value in self.options().items()]
        return shlex.join(["dsc", *self.command(), *(word for words in given for word in words)])

    def command(self) -> list[str]:
        """Return the command's name and arguments."""
        return ["compress", str(self.source)]

    def options(self) -> dict[str, Any]:
        """Return the command's options, None for what was not asked for."""
        return {
            "--tasks": _word(self.tasks),
            "--out": self.out,
            "--root": self.root,
            "--sample": self.sample,
            "--codec": self.codec,
            "--quality": self.quality,
            "--target": self.target,
            "--max-error": self.max_error,
            "--auto-samples": self.auto_samples if self.auto_samples != DEFAULT_SAMPLES else None,
            "--shard-size": self.shard_size,
            "--pack": self.pack,
            "--split": self.split,
            "--workers": self.workers or None,
            "--address": self.address,
            "--on-error": self.on_error if self.on_error != "fail" else None,
            **{f"--{name.replace('_', '-')}": _word(value) for name, value in self.layout.items()},
        }


def without_rounding(name: str, bound: Bound, rounding_m: float, near_m: float) -> Bound:
    """Take what depth is rounded by, when it is read, off its bound.

    Parameters
    ----------
    near_m
        The nearest depth that was seen: there, rounding is the largest share.

    Raises
    ------
    UsageError
        When too little is left; the message gives the step that would do.
    """
    if bound.kind is BoundKind.COUNTS:
        return bound
    relative = bound.kind is BoundKind.RELATIVE
    lost = rounding_m * (1 + bound.value) / near_m if relative and near_m else rounding_m
    if lost > bound.value / 2:
        step_m = 2 * rounding_m * bound.value / (4 * lost)
        raise UsageError(
            f"--max-error {name}={bound}: depth is rounded by up to {rounding_m:g} m when it is "
            f"read, which takes more than half of it; store it in finer steps, with --depth-unit "
            f"{name}={step_m:.1g} or less"
        )
    return bound.model_copy(update={"value": bound.value - lost})


def _known(names: Sequence[str] | str, found: Sequence[str]) -> set[str]:
    """Resolve those names that are there; what is not is told where it is asked for."""
    known = set()
    for name in names.split(",") if isinstance(names, str) else names:
        with suppress(UnknownTaskError):
            known.add(resolve_task(name.strip(), found))
    return known


def task_names(source: Source) -> list[str]:
    """List the names of a source's tasks."""
    return [task.name for task in source.tasks]


def count(number: int, what: str) -> str:
    """Spell a number of things."""
    return f"{number} {what}{'s' * (number != 1)}"


def _option(name: str, value: Any) -> list[str]:
    """Spell an option: nothing where it was not given, a switch by its name alone."""
    if value is None:
        return []
    if isinstance(value, bool):
        return [name if value else f"--no-{name.removeprefix('--')}"]
    return [name, str(value)]


def _word(value: Any) -> Any:
    """Spell a list or mapping as the command line does: with commas, as ``name=value``."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={part}" for name, part in value.items())
    return ",".join(value) if isinstance(value, list | tuple) else value
