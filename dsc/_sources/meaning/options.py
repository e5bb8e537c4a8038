"""What a user states of a dataset's tasks: parsed, by task name, the same for all sources."""

import fnmatch
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from dsc._schemas import LeftOut, resolve_tasks
from dsc._schemas.task import spelled
from dsc._sources.meaning.decide import KINDS, VALUE_KINDS, Stated
from dsc._sources.meaning.names import task_name
from dsc._sources.meaning.units import (
    DepthUnit,
    FileUnit,
    parse_depth_unit,
    parse_file_unit,
    unit_of,
)
from dsc.errors import UsageError

ALPHAS = ("drop", "mask")
_PLUS = re.compile(r"(?<![eE])\+")  # between values; that of 1e+10 is part of one


@dataclass(frozen=True)
class TaskOptions:
    """What the user states of a dataset's tasks, by the names that tasks have.

    Attributes
    ----------
    depth_unit
        Metres a stored count of depth, for all tasks or by task; None where it is not stated.
    file_unit
        What the values of depth in the files are, by task; ``""`` is all tasks.
    kinds
        One of `KINDS` by task.
    invalid
        Values that mean "nothing here", by task.
    alpha
        ``drop``, ``mask`` (kept as a task of its own), or None to refuse it.
    tasks
        The tasks that are wanted; None for all.
    ignore
        Patterns of paths, or names of tasks, that are left out.
    """

    depth_unit: DepthUnit | None = None
    file_unit: Mapping[str, FileUnit] | None = None
    kinds: Mapping[str, str] | None = None
    invalid: Mapping[str, tuple[int, ...]] | None = None
    alpha: str | None = None
    tasks: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls,
        depth_unit: object = None,
        file_unit: object = None,
        kinds: object = None,
        invalid: object = None,
        alpha: str | None = None,
        tasks: Sequence[str] | str | None = None,
        ignore: Sequence[str] | str = (),
    ) -> Self:
        """Check what a command line or caller gave.

        Raises
        ------
        UsageError
            When an option cannot be understood.
        """
        if alpha is not None and alpha not in ALPHAS:
            raise UsageError(f"--alpha {alpha}: drop or mask")
        units = parse_depth_unit(depth_unit)
        return cls(
            {task_name(name): unit for name, unit in units.items()}
            if isinstance(units, dict)
            else units,
            {name and task_name(name): u for name, u in parse_file_unit(file_unit).items()},
            parse_kinds(kinds),
            parse_invalid(invalid),
            alpha,
            None if tasks is None else tuple(words_of(tasks)),
            tuple(words_of(ignore)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `parse` reads, as JSON; unset options are left out."""
        found = {
            "depth_unit": self.depth_unit,
            "file_unit": {name: unit.text for name, unit in (self.file_unit or {}).items()},
            "kinds": dict(self.kinds or {}),
            "invalid": {name: list(values) for name, values in (self.invalid or {}).items()},
            "alpha": self.alpha,
            "tasks": None if self.tasks is None else list(self.tasks),
            "ignore": list(self.ignore),
        }
        return {name: value for name, value in found.items() if value}

    def stated(self, task: str, known: Stated) -> Stated:
        """Put what the user states of a task over what its layout or file knows."""
        units = self.file_unit or {}
        unit_m = unit_of(self.depth_unit, task)
        file_unit = units.get(task) or units.get("") or (None if unit_m else known.file_unit)
        return replace(
            known,
            kind=(self.kinds or {}).get(task) or known.kind,
            unit_m=unit_m or (None if file_unit is not known.file_unit else known.unit_m),
            file_unit=file_unit,
            invalid=(self.invalid or {}).get(task, known.invalid),
            alpha=self.alpha,
        )

    def named(self) -> set[str]:
        """List the tasks that options speak of by name."""
        by_task: tuple[Any, ...] = (self.depth_unit, self.file_unit, self.kinds, self.invalid)
        return {name for one in by_task if isinstance(one, Mapping) for name in one if name}

    def excuse(self, left_out: Sequence[LeftOut]) -> list[LeftOut]:
        """Return what a walk passed over; what an option leaves out looks like no task any more."""
        return [
            one.model_copy(update={"task": "", "reason": f"{one.reason} (--ignore {pattern})"})
            if one.task and (pattern := self.ignores(one.what, one.task))
            else one
            for one in left_out
        ]

    def ignores(self, path: str, task: str = "") -> str | None:
        """Return the pattern that leaves out a path or task; None when none does."""
        for given in self.ignore:
            pattern = given.replace(": /", "/")  # as datasets inside a file are spelled to people
            if task and not set(pattern) & set("*?[/") and spelled(pattern) == task:
                return pattern
            folder = f"/{pattern.strip('/')}/"
            if fnmatch.fnmatchcase(path, pattern) or folder in f"/{path}":
                return pattern
        return None


EVERYTHING = TaskOptions()


def parse_kinds(kinds: object) -> dict[str, str]:
    """Check the user's kinds by task name, spelled as tasks are.

    Raises
    ------
    UsageError
        When it is no mapping or a kind is unknown.
    """
    if kinds is None:
        return {}
    known = (*KINDS, *VALUE_KINDS)
    if not isinstance(kinds, Mapping):
        raise UsageError(f"--kinds {kinds}: write task=kind with kinds {', '.join(known)}")
    for name, kind in kinds.items():
        if kind not in known:
            raise UsageError(f"--kinds {name}={kind}: no such kind; known are {', '.join(known)}")
    return {task_name(str(name)): str(kind) for name, kind in kinds.items()}


def parse_invalid(given: object) -> dict[str, tuple[int, ...]]:
    """Read ``normal=0+128,disp=0`` or a mapping of tasks to values.

    Raises
    ------
    UsageError
        When a value is no whole number.
    """
    if given is None:
        return {}
    if isinstance(given, str):
        parts = [part.partition("=") for part in given.split(",") if part.strip()]
        given = {name.strip(): _PLUS.split(values) for name, _, values in parts}
    if not isinstance(given, Mapping):
        raise UsageError(f"--invalid {given}: write task=value, several with +: normal=0+128")
    found = {}
    for name, values in given.items():
        several = values if isinstance(values, list | tuple) else [values]
        try:
            found[task_name(str(name))] = tuple(map(_whole, several))
        except (TypeError, ValueError, OverflowError):
            raise UsageError(
                f"--invalid {name}={values}: expected whole numbers, several with +: normal=0+128"
            ) from None
    return found


def _whole(value: Any) -> int:
    """Read a whole number, also one spelt as 1e10 or 65504.0."""
    number = float(value)
    if not number.is_integer():
        raise ValueError(f"{value} is no whole number")
    return int(value) if str(value).strip().lstrip("+-").isdigit() else int(number)


def wanted_tasks(options: TaskOptions, found: Sequence[str]) -> tuple[str, ...]:
    """Choose among the tasks found those that are wanted, by name, alias or spelling.

    Raises
    ------
    UnknownTaskError
        When one that is asked for is not there; the message lists those that are.
    """
    left = [name for name in found if not options.ignores("", name)]
    if options.tasks is None:
        return tuple(left)
    words = [word if word in left else spelled(word) or word for word in options.tasks]
    return resolve_tasks(words, left)


def unwanted(
    files: Mapping[str, int], wanted: Sequence[str], options: TaskOptions
) -> Iterator[LeftOut]:
    """List the tasks that nobody asked for; `files` counts those of every task."""
    for name, count in files.items():
        if name not in wanted:
            pattern = options.ignores("", name)
            reason = f"--ignore {pattern}" if pattern else "not in --tasks"
            yield LeftOut(what=f"task {name}", files=count, reason=reason)


def check_named(options: TaskOptions, found: Collection[str]) -> None:
    """Refuse options that speak of tasks which are not there.

    Raises
    ------
    UsageError
        When they do; the message lists the tasks that are.
    """
    unknown = options.named() - set(found)
    if unknown:
        raise UsageError(
            f"no task {', '.join(sorted(unknown))} here; found: {', '.join(sorted(found))}"
        )


def idle_notes(options: TaskOptions, left_out: Sequence[LeftOut]) -> list[str]:
    """Say which --ignore leaves out nothing: it may be misspelt."""
    reasons = " ".join(one.reason for one in left_out)
    return [
        f"--ignore {pattern}: nothing here is called that"
        for pattern in options.ignore
        if f"--ignore {pattern}" not in reasons
    ]


def known_split(split: str, sizes: Mapping[str, int]) -> str:
    """Return a split that was asked for, after making sure that it is there.

    Raises
    ------
    UsageError
        When it is not; the message lists those that are.
    """
    if split not in sizes:
        raise UsageError(f"--split {split}: found are {', '.join(name or '-' for name in sizes)}")
    return split


def words_of(given: Sequence[str] | str) -> list[str]:
    """Read names or patterns with commas, or a sequence of them."""
    parts = given.split(",") if isinstance(given, str) else given
    return [part for part in (str(part).strip() for part in parts) if part]
