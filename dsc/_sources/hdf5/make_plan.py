"""From what HDF5 files hold to samples and tasks; no value is read here.

`make_plan` chooses the layout (see `dsc._sources.hdf5.layout`) and hands over to the one that names
the tasks and finds the samples: `dsc._sources.hdf5.rows` where the first axis counts samples,
`dsc._sources.hdf5.frames` where each file or group is one. Everything that is left over is noted
with the reason.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dsc._files.passed_over import printable
from dsc._schemas.task import spelled
from dsc._sources.hdf5.frames import plan_frames
from dsc._sources.hdf5.inventory import DatasetItem
from dsc._sources.hdf5.layout import (
    LAYOUTS,
    KindOf,
    SampleUnit,
    ToldLayout,
    part_into_units,
    tasks_first,
    tell,
)
from dsc._sources.hdf5.names import NO_WORDS, NameWords, file_words, kind_known, stem_of
from dsc._sources.hdf5.plan import LeftOutDatasets, Plan
from dsc._sources.hdf5.rows import plan_rows
from dsc._sources.meaning.names import kind_of_name, split_of
from dsc._sources.meaning.options import TaskOptions
from dsc.errors import UsageError


def make_plan(
    content: Mapping[str, tuple[DatasetItem, ...]],
    options: TaskOptions,
    layout: str | None,
    where: str,
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
    left = LeftOutDatasets()
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
        told = ToldLayout("groups", "datasets are numbered, those of a task lie together")
    elif layout is not None:
        told = ToldLayout(layout, "stated")
    else:
        told = _tell(units, judged, kind_of, where)
    if told.name == "rows":
        return plan_rows(units, words, told, options, left)
    return plan_frames(units, words, in_files, told, options, left)


def _tell(
    units: Sequence[SampleUnit], judged: Sequence[SampleUnit], kind_of: KindOf, where: str
) -> ToldLayout:
    """Tell the layout by everything, or by what is asked for where the rest says otherwise."""
    try:
        return tell(units, kind_of, where)
    except UsageError:
        return tell(judged, kind_of, where)


def _without_ignored(
    file: str, items: Sequence[DatasetItem], options: TaskOptions, left: LeftOutDatasets
) -> tuple[DatasetItem, ...]:
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


def _check_asked(content: Mapping[str, Sequence[DatasetItem]], options: TaskOptions) -> None:
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


def _units(content: Mapping[str, Sequence[DatasetItem]], layout: str | None) -> list[SampleUnit]:
    if layout == "frames":
        return [SampleUnit(file, "", tuple(items)) for file, items in content.items()]
    found = [unit for file, items in content.items() for unit in part_into_units(file, items)]
    if layout == "groups" and not any(unit.numbered for unit in found):
        return [unit for file, items in content.items() for unit in _every_group(file, items)]
    return found


def _note_beside(
    content: Mapping[str, Sequence[DatasetItem]], units: Sequence[SampleUnit], left: LeftOutDatasets
) -> None:
    """Note what lies in none of the groups that are units."""
    inside = {(unit.file, item.path) for unit in units for item in unit.items}
    for file, items in content.items():
        for item in items:
            if (file, item.path) not in inside:
                left.add(file, item.path, item.no_task or "beside the groups that hold samples")


def _every_group(file: str, items: Sequence[DatasetItem]) -> list[SampleUnit]:
    """Take each group that holds datasets for a sample."""
    found: dict[str, list[DatasetItem]] = defaultdict(list)
    for item in items:
        found[item.path.rpartition("/")[0]].append(item)
    return [
        SampleUnit(file, group, tuple(below), split_of(group.split("/")), numbered=bool(group))
        for group, below in found.items()
        if group or len(found) == 1
    ]


def _words_of_files(content: Mapping[str, Sequence[DatasetItem]]) -> Mapping[str, NameWords]:
    """Read what file names say, where each file holds one dataset."""
    single = [
        file for file, items in content.items() if sum(not item.no_task for item in items) == 1
    ]
    if not single or len(single) != len(content):
        return {}
    return file_words(single)


class _Kinds:
    """Tells the kind of a dataset where it is known: stated, or by its own or its file's name."""

    def __init__(self, options: TaskOptions, words: Mapping[str, NameWords]) -> None:
        self._kinds, self._words = dict(options.kinds or {}), words

    def __call__(self, file: str, item: DatasetItem) -> str | None:
        word = self._words.get(file, NO_WORDS).task
        for own in (item.path, item.path.rpartition("/")[2], word):
            stated = self._kinds.get(spelled(own))
            if stated:
                return "label" if stated == "array" else stated
        named = kind_known(item.path) or kind_of_name(word) or kind_of_name(stem_of(file))
        return item.stated.kind or named


def _only_wanted(
    unit: SampleUnit, options: TaskOptions, words: Mapping[str, NameWords]
) -> SampleUnit:
    """Keep what is asked for, by any of its names: the rest must not sway the layout."""
    if options.tasks is None:
        return unit
    asked = {spelled(word) for word in options.tasks}
    word = words.get(unit.file, NO_WORDS).task
    kept = [
        item
        for item in unit.items
        if asked & {spelled(unit.inner(item)), spelled(item.path.rpartition("/")[2]), spelled(word)}
        or spelled(item.path.partition("/")[0]) in asked
    ]
    return replace(unit, items=tuple(kept)) if kept else unit


def _numbered_datasets(
    units: Sequence[SampleUnit], kind_of: _Kinds
) -> dict[str, Mapping[str, NameWords]]:
    """Read the names of numbered datasets, by file and path; empty unless all files have such."""
    if any(unit.numbered for unit in units):
        return {}
    found = {unit.file: tasks_first(unit, kind_of) for unit in units}
    return dict(found) if found and all(found.values()) else {}
