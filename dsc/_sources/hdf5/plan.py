"""What a plan of HDF5 files is, and what the two ways of making one share.

See `dsc._sources.hdf5.make_plan`, which chooses between them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dsc._files.passed_over import printable
from dsc._schemas import LeftOut
from dsc._schemas.task import spelled
from dsc._sources.hdf5.inventory import DatasetItem
from dsc._sources.hdf5.layout import SampleUnit, ToldLayout
from dsc._sources.hdf5.names import NO_WORDS, NameWords, generic
from dsc._sources.hdf5.sample_table import SampleTable
from dsc._sources.meaning.names import MOST_TASKS
from dsc._sources.meaning.options import TaskOptions, wanted_tasks
from dsc.errors import UsageError

NO_NAME = "a task's name needs letters a to z or digits: rename it"


@dataclass(frozen=True)
class TaskDataset:
    """A dataset that holds a task, or part of one.

    `axis` is the one that counts samples, see `Cell`.
    """

    file: str
    item: DatasetItem
    axis: int = 0

    @property
    def where(self) -> str:
        """Name it, for messages."""
        return printable(f"{self.file}, dataset {self.item.path}")


@dataclass
class Plan:
    """What becomes of the datasets of all files: the samples and tasks, and what is left out.

    Attributes
    ----------
    layout
        How the samples lie, and why.
    table
        The samples.
    found
        By task that is wanted, all of its datasets.
    options
        What the user states, by the names of tasks.
    beside
        For each file or group, the datasets that belong to the same samples, by task: their heights
        and widths must agree.
    left_out
        What is not read, with the reason.
    """

    layout: ToldLayout
    table: SampleTable
    found: dict[str, list[TaskDataset]]
    options: TaskOptions
    beside: list[dict[str, TaskDataset]]
    left_out: list[LeftOut]

    @property
    def rows(self) -> bool:
        """Whether the first axis counts samples."""
        return self.layout.name == "rows"

    def shape(self, dataset: TaskDataset) -> tuple[int, ...]:
        """Return the shape of one sample's value."""
        item = dataset.item
        if not self.rows:
            return item.whole
        return item.row if dataset.axis == 0 else item.shape[:1]


class LeftOutDatasets:
    """Collects the datasets that are not read; equal ones of several files are one entry."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str, str], str] = {}
        self._files: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def add(self, file: str, path: str, reason: str, task: str = "", group: str = "") -> None:
        """Note a dataset; of a group that is a sample, together with those of the other groups."""
        inner = f"*/{path[len(group) + 1 :]}" if group else path
        entry = (reason, task, f"/{inner}")
        self._first.setdefault(entry, f"{file}: /{path}")
        if len(self._files[entry]) <= 1:
            self._files[entry].add(file)
        self._counts[entry] += 1

    def skip(self, task: str, reason: str) -> None:
        """Note that a dataset of a task was not wanted."""
        entry = (reason, "", f"task {task}")
        self._first.setdefault(entry, entry[2])
        self._counts[entry] += 1

    def listed(self) -> list[LeftOut]:
        """Return what was noted."""
        return [
            LeftOut(what=printable(self._spell(entry)), files=count, reason=entry[0], task=entry[1])
            for entry, count in self._counts.items()
        ]

    def _spell(self, entry: tuple[str, str, str]) -> str:
        files = self._files.get(entry, set())
        if self._counts[entry] == 1 or not files:
            return self._first[entry]
        return f"{'*' if len(files) > 1 else next(iter(files))}: {entry[2]}"


def name_task(unit: SampleUnit, item: DatasetItem, words: Mapping[str, NameWords]) -> str:
    """Name the task of a dataset: by itself, unless its name says nothing and the file's does."""
    inner, word = unit.inner(item), words.get(unit.file, NO_WORDS).task
    return spelled(word if word and generic(inner) else inner)


def choose_wanted(
    options: TaskOptions, found: Sequence[tuple[DatasetItem, str]], units: Sequence[SampleUnit]
) -> tuple[TaskOptions, Sequence[str]]:
    """Choose the tasks that are wanted.

    Parameters
    ----------
    options
        What the user states, who may name a task by one of its datasets.
    found
        The datasets, each with the name of its task.
    units
        Where they lie.

    Returns
    -------
    tuple
        The options by names of tasks, and the names of the tasks that are wanted.

    Raises
    ------
    UsageError
        When a name that the user gives is not there, or of several tasks, or there are too many.
    """
    own: dict[str, set[str]] = defaultdict(set)
    for item, task in found:
        for name in (item.path, item.path.rpartition("/")[2]):
            own[spelled(name)].add(task)
    tasks = list(dict.fromkeys(task for _, task in found))
    named = _options_by_task(options, own, tasks)
    wanted = wanted_tasks(named, tasks)
    _check_number(wanted, units)
    return named, wanted


def _options_by_task(
    options: TaskOptions, own: Mapping[str, set[str]], tasks: Sequence[str]
) -> TaskOptions:
    """Let options speak of tasks by the names of their datasets, where that is clear.

    Raises
    ------
    UsageError
        When a dataset's name stands for several tasks, or there is none of that name.
    """
    names = {name: _one_task(name, own, tasks) for name in options.named()}
    changes: dict[str, Any] = {
        one: {names.get(name, name): value for name, value in given.items()}
        for one in ("depth_unit", "file_unit", "kinds", "invalid")
        if isinstance(given := getattr(options, one), Mapping)
    }
    renamed = replace(options, **changes)
    if options.tasks is None:
        return renamed
    words = []
    for word in options.tasks:
        several = own.get(spelled(word), set())
        known = word in tasks or spelled(word) in tasks or len(several) != 1
        words.append(word if known else next(iter(several)))
    return replace(renamed, tasks=tuple(words))


def _one_task(name: str, own: Mapping[str, set[str]], tasks: Sequence[str]) -> str:
    if name in tasks:
        return name
    several = sorted(own.get(name, ()))
    if len(several) == 1:
        return several[0]
    if several:
        raise UsageError(
            f"{name} is the dataset of tasks {', '.join(several)}; name the one that is meant"
        )
    raise UsageError(f"no task {name} here; found: {', '.join(tasks) or 'none'}")


def _check_number(tasks: Sequence[str], units: Sequence[SampleUnit]) -> None:
    """Refuse so many names that they cannot be those of tasks.

    Raises
    ------
    UsageError
        With some of them.
    """
    if len(tasks) > MOST_TASKS:
        raise UsageError(
            f"{printable(units[0].file)}: {len(tasks)} datasets of different names ({tasks[0]}, "
            f"{tasks[1]}, ...) are too many for tasks; datasets that are samples have numbers: "
            "images/0001, or 0001/image. Say with --tasks which are meant"
        )


def not_wanted(task: str, wanted: Sequence[str], options: TaskOptions) -> str:
    """Say why a task is left out; empty where it is wanted."""
    if task in wanted:
        return ""
    pattern = options.ignores("", task)
    return f"--ignore {pattern}" if pattern else "not in --tasks"


def check_readable(file: str, item: DatasetItem) -> None:
    """Refuse a dataset that is wanted and cannot be read.

    Raises
    ------
    UsageError
        Saying why.
    """
    if item.problem:
        raise UsageError(
            f"{printable(file)}, dataset {item.path}: {item.problem}; or leave it out with --tasks"
        )


def too_deep(shape: tuple[int, ...], task: str, options: TaskOptions) -> str:
    """Say that no task has such a shape.

    Raises
    ------
    UsageError
        When it was asked for.
    """
    if options.tasks is not None:
        raise UsageError(
            f"task {task}: {shape} a sample; a task is (H, W), (H, W, C) or numbers: leave it out "
            "with --tasks, or write it as several datasets"
        )
    return f"{shape} a sample; a task is (H, W), (H, W, C) or numbers"
