"""What the tasks of a plan are: told from some of their values, checked on all of their shapes."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dsc._files.tree import FileTree
from dsc._schemas import Task
from dsc._sources.hdf5.layout import CHANNELS
from dsc._sources.hdf5.linked_files import files_of, unmapped
from dsc._sources.hdf5.plan import Plan, TaskDataset
from dsc._sources.hdf5.reading import (
    OpenFiles,
    channels_last,
    comes_first,
    name_cell,
    read_bytes,
    read_cell,
    stored_channels,
)
from dsc._sources.hdf5.sample_table import Cell
from dsc._sources.meaning.decide import Meaning, Stated, alpha_meaning, decide
from dsc._sources.meaning.decode import Conversion, fit_to_task, probe
from dsc._sources.meaning.evidence import PROBES, Evidence, look, merge
from dsc._sources.meaning.names import kind_of_name
from dsc._sources.report import UPRIGHT
from dsc.errors import SampleError, UsageError

NAMED = 3  # files outside of the root that are named


class TaskFinder:
    """Finds out what the tasks of a plan are.

    Attributes
    ----------
    first
        Tasks whose channels come first, (C, H, W).
    notes
        What people should know of all files.
    """

    def __init__(self, files: OpenFiles, plan: Plan) -> None:
        self._files, self._plan = files, plan
        self.first: set[str] = set()
        self.notes: list[str] = []

    def meanings(self) -> list[Meaning]:
        """Decide every task, and check that all of its datasets can be that.

        Raises
        ------
        UsageError
            When one cannot, when values in other files are missing, or when maps of one sample
            differ in height and width.
        SampleError
            When none of a task's first values can be read.
        """
        found = []
        for name, datasets in self._plan.found.items():
            self._look_elsewhere(name, datasets)
            stated = self._plan.options.stated(name, _stated(name, datasets, self._files.tree))
            evidence = self._evidence(name, datasets, stated)
            meaning = decide(name, evidence, stated, self._files.tree.where(datasets[0].where))
            found.append(meaning)
            self._check_forms(datasets, meaning)
            if evidence.alpha and stated.alpha == "mask" and meaning.conversion.alpha == "drop":
                found.append(alpha_meaning(meaning))
        self._check_sizes({meaning.task.name: meaning for meaning in found})
        if any(
            dataset.item.files for datasets in self._plan.found.values() for dataset in datasets
        ):
            self.notes.append(UPRIGHT)
        return found

    def _look_elsewhere(self, name: str, datasets: Sequence[TaskDataset]) -> None:
        """Make sure that values in other files are there, and name those outside of the root."""
        root = self._files.tree.local
        if root is None:
            return
        outside: dict[str, None] = {}
        for dataset in datasets:
            if not dataset.item.elsewhere:
                continue
            opened = self._files.dataset(dataset.file, dataset.item.path)
            own = files_of(opened, self._files.tree.where(dataset.where))
            outside |= dict.fromkeys(path for path in own if not path.startswith(f"{root}/"))
            share = unmapped(opened)
            if share:
                self.notes.append(
                    f"{dataset.where}: {share:.0%} of this virtual dataset is in no file; its fill "
                    f"value {opened.fillvalue} stands there"
                )
        if outside:
            more = f" and {len(outside) - NAMED} more" if len(outside) > NAMED else ""
            named = ", ".join([*outside][:NAMED])
            self.notes.append(f"values of {name} lie outside of {root}: {named}{more}")

    def _evidence(self, name: str, datasets: Sequence[TaskDataset], stated: Stated) -> Evidence:
        """Look at a few values, spread over all, and at one of each dtype."""
        found, failure = [], None
        for dataset, cell in self._probes(name, datasets):
            try:
                found.append(self._look(name, dataset, cell, stated))
            except SampleError as error:
                failure = error  # reading the sample will report it, if others are whole
        if not found:
            raise failure or SampleError(f"task {name}: nothing can be read")
        if len({one.is_map for one in found}) > 1:
            shapes = " and ".join(dict.fromkeys(str(one.shape) for one in found))
            raise UsageError(
                f"task {name}: shapes {shapes}; values of one task must be of one form: leave one "
                "kind out with --ignore, or the task with --tasks"
            )
        return merge(sorted(found, key=lambda one: -one.channels))

    def _probes(
        self, name: str, datasets: Sequence[TaskDataset]
    ) -> Iterator[tuple[TaskDataset, Cell]]:
        by_path = {(dataset.file, dataset.item.path): dataset for dataset in datasets}
        rows = np.flatnonzero(self._plan.table.present(name))
        chosen = rows[np.linspace(0, len(rows) - 1, min(PROBES, len(rows))).astype(np.int64)]
        seen = set()
        for index in chosen:
            cell = self._plan.table.cell(int(index), name)
            if cell is not None:
                dataset = by_path[cell.file, cell.dataset]
                seen.add(dataset.item.dtype)
                yield dataset, cell
        for dataset in datasets:
            if dataset.item.dtype not in seen:
                seen.add(dataset.item.dtype)
                row = 0 if self._plan.rows else None
                yield dataset, Cell(dataset.file, dataset.item.path, row, dataset.axis)

    def _look(self, name: str, dataset: TaskDataset, cell: Cell, stated: Stated) -> Evidence:
        where = name_cell(self._files.tree, cell)
        if dataset.item.files:
            return probe(read_bytes(self._files, cell, where), where)
        array, _ = read_cell(self._files, cell, where, indexes=True)
        if stated.kind in ("vector", "embedding"):
            return look(array.reshape(-1), format="hdf5")
        if array.ndim == 3 and self._is_first(name, dataset, array.shape):
            self.first.add(name)
            array = np.moveaxis(array, 0, -1)
        colours = (stated.kind or kind_of_name(name)) in ("rgb", "image")
        whole = array.dtype.newbyteorder("=") in (np.uint8, np.uint16)
        alpha = array.ndim == 3 and array.shape[2] in (2, 4) and whole and colours
        return look(array, format="hdf5", alpha=alpha)

    def _is_first(self, name: str, dataset: TaskDataset, shape: tuple[int, ...]) -> bool:
        """Tell whether (a, b, c) is (C, H, W): by what stands beside it, or by its shape."""
        beside = next((one for one in self._plan.beside if one.get(name) is dataset), {})
        sizes = {
            size
            for task, other in beside.items()
            if task != name and not other.item.files
            for size in _sizes(self._plan.shape(other))
        }
        if (shape[:2] in sizes) != (shape[1:] in sizes):
            return shape[1:] in sizes
        return shape[2] not in CHANNELS and shape[0] in CHANNELS

    def _check_forms(self, datasets: Sequence[TaskDataset], meaning: Meaning) -> None:
        """Try each form that a task's datasets have on zeros: what fails there fails on values."""
        task, seen = meaning.task, set()
        for dataset in datasets:
            own = self._plan.shape(dataset)
            if dataset.item.files or (dataset.item.dtype, own) in seen:
                continue
            seen.add((dataset.item.dtype, own))
            zeros = np.broadcast_to(np.zeros((), dataset.item.dtype), own)
            zeros = channels_last(zeros, task, meaning.conversion, task.name in self.first)
            zeros = zeros[:1, :1] if task.is_map and zeros.ndim > 1 else zeros
            try:
                fit_to_task(zeros, task, self._files.tree.where(dataset.where), meaning.conversion)
            except SampleError as error:
                raise UsageError(str(error)) from None

    def _check_sizes(self, meanings: Mapping[str, Meaning]) -> None:
        """Refuse maps of one sample that differ in height and width, as far as shapes say it."""
        tasks = {name: meaning.task for name, meaning in meanings.items()}
        seen = set()
        for beside in self._plan.beside:
            sizes = {
                name: self._size(tasks[name], meanings[name].conversion, self._plan.shape(dataset))
                for name, dataset in beside.items()
                if tasks[name].is_map and not dataset.item.files
            }
            if len(set(sizes.values())) > 1 and tuple(sizes.items()) not in seen:
                spelled = ", ".join(f"{name} {size[1]}x{size[0]}" for name, size in sizes.items())
                file = next(iter(beside.values())).file
                raise UsageError(
                    f"{self._files.tree.where(file)}: tasks differ in size (width x height): "
                    f"{spelled}; resize them to one size, leave tasks out with --tasks, or say "
                    "--kinds NAME=vector of one that holds no map"
                )
            seen.add(tuple(sizes.items()))

    def _size(self, task: Task, conversion: Conversion, shape: tuple[int, ...]) -> tuple[int, ...]:
        first = len(shape) == 3 and comes_first(
            shape, task.name in self.first, stored_channels(task, conversion)
        )
        return shape[1:] if first else shape[:2]


def _sizes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return what height and width are, where a shape says it."""
    if len(shape) == 2:
        return (shape,)
    if len(shape) != 3 or (shape[0] in CHANNELS) == (shape[2] in CHANNELS):
        return ()
    return (shape[:2] if shape[2] in CHANNELS else shape[1:],)


def _stated(name: str, datasets: Sequence[TaskDataset], tree: FileTree) -> Stated:
    """Return what the attributes of a task's datasets say.

    Raises
    ------
    UsageError
        When those of two files differ.
    """
    first = datasets[0]
    for dataset in datasets:
        if dataset.item.stated != first.item.stated:
            raise UsageError(
                f"task {name}: the attributes of {tree.where(first.where)} and of "
                f"{tree.where(dataset.where)} differ; make them alike, or leave one out with "
                "--ignore"
            )
    return first.item.stated
