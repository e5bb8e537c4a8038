"""Samples with datasets of their own: one file each, one group each, or one number each."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dsc._files.passed_over import printable
from dsc._schemas.task import spelled
from dsc._sources.file_table import WHOLE, TableBuilder
from dsc._sources.hdf5.inventory import DatasetItem
from dsc._sources.hdf5.layout import SampleUnit, ToldLayout
from dsc._sources.hdf5.names import NameWords, generic, stem_of
from dsc._sources.hdf5.plan import (
    NO_NAME,
    LeftOutDatasets,
    Plan,
    TaskDataset,
    check_readable,
    choose_wanted,
    name_task,
    not_wanted,
    too_deep,
)
from dsc._sources.hdf5.sample_table import INSIDE, FrameTable
from dsc._sources.meaning.names import split_of
from dsc._sources.meaning.options import TaskOptions


@dataclass(frozen=True)
class _Spot:
    """A dataset with its task, and the sample that it is of.

    Attributes
    ----------
    group, stem
        What tells the sample from all others.
    end
        Where in ``file//dataset`` the stem ends at most: it may occur behind that once more.
    """

    unit: SampleUnit
    item: DatasetItem
    task: str
    group: str
    stem: str
    end: int

    def template(self) -> tuple[str, str]:
        """Return what stands before and behind the stem in ``file//dataset``."""
        path = f"{self.unit.file}{INSIDE}{self.item.path}"
        at = path.rfind(self.stem, 0, self.end) if self.stem else -1
        return (path, WHOLE) if at < 0 else (path[:at], path[at + len(self.stem) :])


def plan_frames(
    units: Sequence[SampleUnit],
    words: Mapping[str, NameWords],
    in_files: Mapping[str, Mapping[str, NameWords]],
    told: ToldLayout,
    options: TaskOptions,
    left: LeftOutDatasets,
) -> Plan:
    """Make the plan of files or groups that are a sample each; see `make_plan`.

    Parameters
    ----------
    units
        The files or groups.
    words
        What the names of files say, where each holds one dataset.
    in_files
        What the names of datasets say, by file, where those of one task are numbered.
    told
        The layout.
    options
        What the user states; tasks may be named by their datasets' names.
    left
        Gets what is not read.
    """
    spots = list(_spots(units, words, in_files, left))
    options, wanted = choose_wanted(options, [(spot.item, spot.task) for spot in spots], units)
    found: dict[str, list[TaskDataset]] = defaultdict(list)
    beside: dict[tuple[str, str], dict[str, TaskDataset]] = defaultdict(dict)
    builder = TableBuilder()
    for spot in spots:
        unit, item, task = spot.unit, spot.item, spot.task
        reason = not_wanted(task, wanted, options)
        if reason:
            left.skip(task, reason)
            continue
        check_readable(unit.file, item)
        if len(item.shape) > 3:
            reason = too_deep(item.whole, task, options)
            left.add(unit.file, item.path, reason, task, unit.group)
            continue
        head, tail = spot.template()
        split = unit.split or split_of(unit.file.split("/")[:-1])
        builder.add(spot.group, spot.stem, task, head, tail, split)
        found[task].append(TaskDataset(unit.file, item))
        beside[spot.group, spot.stem][task] = found[task][-1]
    _leave(units, left)
    table = FrameTable(builder.build())
    return Plan(told, table, dict(found), options, list(beside.values()), left.listed())


def _spots(
    units: Sequence[SampleUnit],
    words: Mapping[str, NameWords],
    in_files: Mapping[str, Mapping[str, NameWords]],
    left: LeftOutDatasets,
) -> Iterator[_Spot]:
    held = [(unit, item) for unit in units for item in unit.items if not item.no_task]
    several = len({one.task for one in words.values()}) > 1
    used = words if several or all(generic(unit.inner(item)) for unit, item in held) else {}
    for unit, item in held:
        read = in_files.get(unit.file, {})
        if item.path in read:
            above, stem, word = read[item.path]
            group = "/".join(part for part in (stem_of(unit.file), above) if part)
            end = len(unit.file) + len(INSIDE) + len(item.path)
            yield _Spot(unit, item, spelled(word), group, stem, end)
        elif read:
            left.add(unit.file, item.path, "has no number of a sample", spelled(item.path))
        elif task := name_task(unit, item, used):
            yield _Spot(unit, item, task, *_sample_of(unit, used))
        else:
            left.add(unit.file, item.path, NO_NAME, printable(item.path), unit.group)


def _sample_of(unit: SampleUnit, words: Mapping[str, NameWords]) -> tuple[str, str, int]:
    """Return the group and stem of a unit's sample, and where the stem ends at most."""
    if unit.group:
        above, _, leaf = unit.group.rpartition("/")
        group = "/".join(part for part in (stem_of(unit.file), above) if part)
        return group, leaf, len(unit.file) + len(INSIDE) + len(unit.group)
    if unit.file in words:
        return words[unit.file].group, words[unit.file].stem, len(stem_of(unit.file))
    directory, _, name = unit.file.rpartition("/")
    return directory, stem_of(name), len(stem_of(unit.file))


def _leave(units: Sequence[SampleUnit], left: LeftOutDatasets) -> None:
    """Note what can be no task; arrays that half of the samples have look like one."""
    rest = [(unit, item) for unit in units for item in unit.items if item.no_task]
    counts = Counter(spelled(unit.inner(item)) for unit, item in rest if item.shape)
    for unit, item in rest:
        name = spelled(unit.inner(item))
        like = bool(item.shape) and 2 * counts[name] >= len(units) > 1
        left.add(unit.file, item.path, item.no_task, name if like else "", unit.group)
