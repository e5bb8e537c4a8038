"""Samples that are the rows of datasets: how many there are, and which datasets have them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dsc._files.passed_over import printable
from dsc._sources.hdf5.inventory import DatasetItem
from dsc._sources.hdf5.layout import CHANNELS, SampleUnit, ToldLayout
from dsc._sources.hdf5.names import NameWords, stem_of
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
from dsc._sources.hdf5.sample_table import Cell, RowBlock, RowTable
from dsc._sources.meaning.evidence import MATRIX
from dsc._sources.meaning.names import name_of_split, split_of
from dsc._sources.meaning.options import TaskOptions
from dsc.errors import UsageError

CONSTANTS = ("intrinsic", "camera", "matrix", "calib", "extrinsic", "transform")
Named = dict[str, DatasetItem]


def plan_rows(
    units: Sequence[SampleUnit],
    words: Mapping[str, NameWords],
    told: ToldLayout,
    options: TaskOptions,
    left: LeftOutDatasets,
) -> Plan:
    """Make the plan of files or groups whose datasets have an axis of samples; see `make_plan`.

    Parameters
    ----------
    units
        The files or groups.
    words
        What the names of files say, where each holds one dataset.
    told
        The layout.
    options
        What the user states; tasks may be named by their datasets' names.
    left
        Gets what is not read.
    """
    names = [_names(unit, words, left) for unit in units]
    found_tasks = [(item, task) for named in names for task, item in named.items()]
    options, wanted = choose_wanted(options, found_tasks, units)
    found: dict[str, list[TaskDataset]] = defaultdict(list)
    parts, beside = [], []
    for unit, named, split in zip(units, names, _splits(units), strict=True):
        samples = _length(unit, {task: i for task, i in named.items() if task in wanted}, options)
        taken = _take(unit, named, samples, wanted, options, left)
        _leave(unit, samples, words, left)
        for task, one in taken.items():
            found[task].append(one)
        cells = {task: Cell(unit.file, one.item.path, axis=one.axis) for task, one in taken.items()}
        if cells:
            parts.append(RowBlock(unit.file, unit.group, samples, cells, split))
            beside.append(taken)
    table = RowTable(_joined(parts, words))
    return Plan(told, table, dict(found), options, beside, left.listed())


def _names(unit: SampleUnit, words: Mapping[str, NameWords], left: LeftOutDatasets) -> Named:
    """Name every dataset that may be a task."""
    named: Named = {}
    for item in unit.items:
        if item.no_task:
            continue
        task = name_task(unit, item, words)
        if not task:
            left.add(unit.file, item.path, NO_NAME, printable(item.path))
        elif task in named:
            problem = (
                f"it and /{item.path} are both task {task}; rename one, or leave it out with "
                f"--ignore '{printable(unit.file)}/{item.path}'"
            )
            named[task] = replace(named[task], problem=problem)
        else:
            named[task] = item
    return named


def _take(
    unit: SampleUnit,
    named: Named,
    samples: int,
    wanted: Sequence[str],
    options: TaskOptions,
    left: LeftOutDatasets,
) -> dict[str, TaskDataset]:
    """Choose the datasets that are read, by task, and note the others."""
    taken = {}
    group = unit.group if unit.numbered else ""
    for task, item in named.items():
        reason = not_wanted(task, wanted, options)
        if reason:
            left.skip(task, reason)
            continue
        check_readable(unit.file, item)
        axis = _axis(item, samples)
        if axis is None:
            left.add(unit.file, item.path, _why_no_row(item, samples), "", group)
        elif len(item.row) > 3 and not item.files:
            left.add(unit.file, item.path, too_deep(item.row, task, options), task, group)
        else:
            taken[task] = TaskDataset(unit.file, item, axis)
    return taken


def _leave(
    unit: SampleUnit, samples: int, words: Mapping[str, NameWords], left: LeftOutDatasets
) -> None:
    """Note what can be no task; with one row a sample, it looks like one."""
    for item in unit.items:
        if item.no_task:
            like = bool(item.shape) and item.shape[0] == samples > 1
            task = name_task(unit, item, words) if like else ""
            group = unit.group if unit.numbered else ""
            left.add(unit.file, item.path, item.no_task, task, group)


def _length(unit: SampleUnit, chosen: Mapping[str, DatasetItem], options: TaskOptions) -> int:
    """Tell how many samples a unit has: what its maps say, or else most of its datasets.

    Raises
    ------
    UsageError
        When maps of one size have different numbers, or all that are asked for do not agree.
    """
    usable = {task: item for task, item in chosen.items() if item.shape and not item.problem}
    sure = _counting(usable)
    counted = sure or {task: i for task, i in usable.items() if not _is_constant(i)}
    if options.tasks is not None and len(chosen) == len(options.tasks):
        counted = {task: i for task, i in usable.items() if not _is_constant(i)} or usable
    lengths = Counter(_count(item) for item in counted.values())
    if len(lengths) > 1 and (sure or options.tasks is not None):
        found = ", ".join(f"{item.path} {_count(item)}" for item in counted.values())
        raise UsageError(
            f"{printable(unit.file)}: datasets differ in their first axis, which counts samples: "
            f"{found}; say with --tasks which are meant, or --layout frames if the file is one "
            "sample"
        )
    return lengths.most_common(1)[0][0] if lengths else 0


def _counting(usable: Mapping[str, DatasetItem]) -> dict[str, DatasetItem]:
    """Choose the datasets that surely have an axis of samples: those of maps."""
    sure = {
        task: item
        for task, item in usable.items()
        if len(item.shape) > 3 or item.files == "elements" or (item.files and len(item.shape) > 1)
    }
    maps = {
        task: item
        for task, item in usable.items()
        if len(item.shape) == 3 and max(item.row) > MATRIX
    }
    sizes = {_size(item.row) for item in sure.values()}
    if not sure:
        return maps
    return sure | {task: item for task, item in maps.items() if item.row in sizes}


def _size(row: tuple[int, ...]) -> tuple[int, ...]:
    """Return the height and width of a row."""
    if len(row) == 3:
        return row[1:] if row[0] in CHANNELS and row[2] not in CHANNELS else row[:2]
    return row


def _count(item: DatasetItem) -> int:
    if item.matlab and len(item.shape) == 2 and item.shape[0] == 1:
        return item.shape[1]
    return item.shape[0]


def _axis(item: DatasetItem, samples: int) -> int | None:
    """Tell which axis counts the samples; None where none does."""
    if not item.shape or (item.files == "axis" and len(item.shape) == 1):
        return None
    if item.shape[0] == samples and not _is_constant(item):
        return 0
    return 1 if item.matlab and len(item.shape) == 2 and item.shape[1] == samples else None


def _is_constant(item: DatasetItem) -> bool:
    """Tell whether it is one matrix for all samples, with as many rows as they are or not."""
    square = len(item.shape) == 2 and item.shape[0] == item.shape[1] <= MATRIX
    word = item.path.lower().rpartition("/")[2]
    return square and (word == "k" or any(one in word for one in CONSTANTS))


def _why_no_row(item: DatasetItem, samples: int) -> str:
    if not item.shape:
        return "one value, not one a sample"
    if _is_constant(item):
        return "one matrix, not one a sample"
    return f"its first axis is {item.shape[0]}, there are {samples} samples"


def _splits(units: Sequence[SampleUnit]) -> list[str]:
    """Return each unit's split: of its group, directories, or (where all have one) file name."""
    named = [unit.split or split_of(unit.file.split("/")[:-1]) for unit in units]
    stems = [own or _split_of_stem(unit.file) for unit, own in zip(units, named, strict=True)]
    return stems if all(stems) else named


def _split_of_stem(file: str) -> str:
    """Read the split that a file's name is, or begins with: ``train``, ``val_0``, ``test-rgb``."""
    stem = stem_of(file.rpartition("/")[2])
    first = stem.replace("-", "_").replace(".", "_").partition("_")[0]
    return name_of_split(stem) or name_of_split(first.rstrip("0123456789")) or ""


def _joined(parts: Sequence[RowBlock], words: Mapping[str, NameWords]) -> list[RowBlock]:
    """Put files that hold a task each of the same samples together: ``rgb.h5`` and ``depth.h5``.

    Raises
    ------
    UsageError
        When they do not have the same number of samples.
    """
    groups: dict[tuple[str, str, str], list[RowBlock]] = defaultdict(list)
    for part in parts:
        group, stem, _ = words.get(part.file, NameWords("", part.file, ""))
        groups[group, stem, part.group].append(part)
    found: list[RowBlock] = []
    for (group, stem, _), several in groups.items():
        tasks = [task for part in several for task in part.cells]
        if len(several) == 1 or len(set(tasks)) < len(tasks):
            found += several
            continue
        if len({part.samples for part in several}) > 1:
            counts = ", ".join(f"{part.where} {part.samples}" for part in several)
            raise UsageError(
                f"files of one name hold different numbers of samples: {counts}; complete them, "
                "or leave one out with --ignore"
            )
        cells = {task: cell for part in several for task, cell in part.cells.items()}
        name = "/".join(part for part in (group, stem.strip("._-")) if part)
        found.append(replace(several[0], cells=cells, name=name))
    return found
