"""From what HDF5 files hold to samples and tasks; nothing is read here.

`make_plan` chooses the layout (see `hdf5_layout`), names the tasks, finds the samples, and notes
everything that is left over with the reason.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dsc._schemas import LeftOut
from dsc._schemas.task import spelled
from dsc._sources.files.passed_over import printable
from dsc._sources.folder.layouts import MOST_TASKS, split_of
from dsc._sources.hdf5.items import Item
from dsc._sources.hdf5.layout import (
    LAYOUTS,
    KindOf,
    Told,
    Unit,
    file_words,
    generic,
    kind_known,
    stem_of,
    tasks_first,
    tell,
    units_of,
)
from dsc._sources.hdf5.table import SampleTable
from dsc._sources.meaning.kinds import kind_of_name
from dsc._sources.meaning.options import Options
from dsc.errors import UsageError

CONSTANTS = ("intrinsic", "camera", "matrix", "calib", "extrinsic", "transform")
Words = Mapping[str, tuple[str, str, str]]  # group, stem and task by path


@dataclass(frozen=True)
class Found:
    """A dataset that is (part of) a task."""

    file: str
    item: Item
    axis: int = 0

    @property
    def where(self) -> str:
        """Name it, for messages."""
        return printable(f"{self.file}, dataset {self.item.path}")


@dataclass
class Plan:
    """What becomes of the files.

    Attributes
    ----------
    layout
        How the samples lie, and why.
    table
        The samples.
    found
        By task that is wanted, every dataset of it.
    options
        What the user states, by the names of tasks.
    beside
        For each unit, the datasets that stand beside one another, for checks of their sizes.
    """

    layout: Told
    table: SampleTable
    found: dict[str, list[Found]]
    options: Options
    beside: list[dict[str, Found]]
    left_out: list[LeftOut]

    @property
    def rows(self) -> bool:
        """Whether the first axis counts samples."""
        return self.layout.name == "rows"

    def shape(self, place: Found) -> tuple[int, ...]:
        """Return the shape of one sample's value."""
        item = place.item
        if not self.rows:
            return item.whole
        return item.row if place.axis == 0 else item.shape[:1]


class Left:
    """Collects what is not read; alike ones of several files or groups are one entry."""

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


def make_plan(
    content: Mapping[str, tuple[Item, ...]], options: Options, layout: str | None, where: str
) -> Plan:
    """Choose a layout and find samples and tasks.

    Parameters
    ----------
    content
        What each file holds, by path.
    options
        What the user states; tasks may be named by their datasets' names.
    layout
        One of `LAYOUTS`, or None to tell it.
    where
        The root, for messages.

    Raises
    ------
    UsageError
        When the layout cannot be told, datasets of one file disagree, or keys would be equal.
    UnknownTaskError
        When a task that is asked for is not there.
    """
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"--layout {layout}: known are {', '.join(LAYOUTS)}")
    left = Left()
    content = {
        file: _without_ignored(file, items, options, left) for file, items in content.items()
    }
    _check_asked(content, options)
    words = _words_of_files(content)
    kind_of = _Kinds(options, words)
    units = _units(content, layout)
    _note_beside(content, units, left)
    judged = [_only_wanted(unit, options, words) for unit in units]
    in_files = {} if layout in ("rows", "frames") else _numbered_datasets(judged, kind_of)
    if in_files:
        told = Told("groups", "datasets are numbered, those of a task lie together")
    elif layout is not None:
        told = Told(layout, "stated")
    else:
        told = _tell(units, judged, kind_of, where)
    if told.name == "rows":
        from dsc._sources.hdf5.rows import plan_rows

        return plan_rows(units, words, told, options, left)
    from dsc._sources.hdf5.frames import plan_frames

    return plan_frames(units, words, in_files, told, options, left)


def _tell(units: Sequence[Unit], judged: Sequence[Unit], kind_of: KindOf, where: str) -> Told:
    """Tell the layout by everything, or by what is asked for where the rest says otherwise."""
    try:
        return tell(units, kind_of, where)
    except UsageError:
        return tell(judged, kind_of, where)


def _without_ignored(
    file: str, items: Sequence[Item], options: Options, left: Left
) -> tuple[Item, ...]:
    if not options.ignore:
        return tuple(items)
    kept = []
    for item in items:
        pattern = options.ignores(f"{file}/{item.path}")
        if pattern:
            left.add(file, item.path, f"--ignore {pattern}")
        else:
            kept.append(item)
    return tuple(kept)


def _check_asked(content: Mapping[str, Sequence[Item]], options: Options) -> None:
    """Say why something that is asked for by name can be no task."""
    asked = {spelled(word) for word in options.tasks or ()}
    seen: dict[str, str] = {}
    for file, items in content.items() if asked else ():
        for item in items:
            names = {spelled(item.path), spelled(item.path.rpartition("/")[2])} & asked
            if not item.no_task:
                asked -= names
            for name in names:
                seen.setdefault(name, f"{file}, dataset {item.path}: {item.no_task}")
    for name in asked & set(seen):
        raise UsageError(f"{printable(seen[name])}, which is no task; leave {name} out of --tasks")


def _units(content: Mapping[str, Sequence[Item]], layout: str | None) -> list[Unit]:
    if layout == "frames":
        return [Unit(file, "", tuple(items)) for file, items in content.items()]
    found = [unit for file, items in content.items() for unit in units_of(file, items)]
    if layout == "groups" and not any(unit.numbered for unit in found):
        return [unit for file, items in content.items() for unit in _every_group(file, items)]
    return found


def _note_beside(content: Mapping[str, Sequence[Item]], units: Sequence[Unit], left: Left) -> None:
    """Note what lies in none of the groups that are units."""
    inside = {(unit.file, item.path) for unit in units for item in unit.items}
    for file, items in content.items():
        for item in items:
            if (file, item.path) not in inside:
                left.add(file, item.path, item.no_task or "beside the groups that hold samples")


def _every_group(file: str, items: Sequence[Item]) -> list[Unit]:
    """Take each group that holds datasets for a sample."""
    found: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        found[item.path.rpartition("/")[0]].append(item)
    return [
        Unit(file, group, tuple(below), split_of(group.split("/")), numbered=bool(group))
        for group, below in found.items()
        if group or len(found) == 1
    ]


def _words_of_files(content: Mapping[str, Sequence[Item]]) -> Words:
    """Read what file names say, where each file holds one dataset."""
    single = [
        file for file, items in content.items() if sum(not item.no_task for item in items) == 1
    ]
    if not single or len(single) != len(content):
        return {}
    return file_words(single)


class _Kinds:
    """Gives the kind that is known of a dataset: stated, by its own name, by the file's."""

    def __init__(self, options: Options, words: Words) -> None:
        self._kinds, self._words = dict(options.kinds or {}), words

    def __call__(self, file: str, item: Item) -> str | None:
        word = self._words.get(file, ("", "", ""))[2]
        for own in (item.path, item.path.rpartition("/")[2], word):
            stated = self._kinds.get(spelled(own))
            if stated:
                return "label" if stated == "array" else stated
        named = kind_known(item.path) or kind_of_name(word) or kind_of_name(stem_of(file))
        return item.stated.kind or named


def _only_wanted(unit: Unit, options: Options, words: Words) -> Unit:
    """Keep what is asked for, by any of its names: the rest must not sway the layout."""
    if options.tasks is None:
        return unit
    asked = {spelled(word) for word in options.tasks}
    word = words.get(unit.file, ("", "", ""))[2]
    kept = [
        item
        for item in unit.items
        if asked & {spelled(unit.inner(item)), spelled(item.path.rpartition("/")[2]), spelled(word)}
        or spelled(item.path.partition("/")[0]) in asked
    ]
    return replace(unit, items=tuple(kept)) if kept else unit


def _numbered_datasets(units: Sequence[Unit], kind_of: _Kinds) -> dict[str, Words]:
    """Read files whose datasets are numbered, by file; empty unless all are like that."""
    if any(unit.numbered for unit in units):
        return {}
    found = {unit.file: tasks_first(unit, kind_of) for unit in units}
    return dict(found) if found and all(found.values()) else {}


def task_of(unit: Unit, item: Item, words: Words) -> str:
    """Name the task of a dataset: by itself, unless its name says nothing and the file's does."""
    inner, word = unit.inner(item), words.get(unit.file, ("", "", ""))[2]
    return spelled(word if word and generic(inner) else inner)


def options_by_task(options: Options, own: Mapping[str, set[str]], tasks: Sequence[str]) -> Options:
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


def check_number(tasks: Sequence[str], units: Sequence[Unit]) -> None:
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


def not_wanted(task: str, wanted: Sequence[str], options: Options) -> str:
    """Say why a task is left out; empty where it is wanted."""
    if task in wanted:
        return ""
    pattern = options.ignores("", task)
    return f"--ignore {pattern}" if pattern else "not in --tasks"


def check_readable(file: str, item: Item) -> None:
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


def too_deep(shape: tuple[int, ...], task: str, options: Options) -> str:
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
