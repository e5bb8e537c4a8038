"""HDF5: datasets whose first axis is the sample, one file a sample, or one group a sample.

`open` lists every dataset of the file, or of every HDF5 file below a directory, each file once. How
samples lie is told from names and shapes (see `dsc.pipeline.sources.hdf5_layout`) or stated with
``--layout``. A dataset's attributes say what it is, where it has them: ``kind``, ``unit_m`` (metres
a count), ``invalid`` (one value or several) and ``classes``; otherwise its name and some of its
values do, see `dsc.pipeline.sources.kinds`. Both (H, W, 3) and (3, H, W) are understood, MATLAB's
axes are restored, and bytes of JPEG, PNG and so on are decoded. The key of row 12 of ``train.h5`` is
``train_000012``; where files or groups are samples, their names are the keys.

Cost: about 1 ms a file and 0.1 ms a dataset to list, and five rows of every task to look at.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc.errors import SampleError, UsageError
from dsc.pipeline.sources.base import Origin, SourceSample
from dsc.pipeline.sources.decode import Reading, check_sizes, fit_to_task, probe
from dsc.pipeline.sources.evidence import Evidence, look, merge
from dsc.pipeline.sources.file_source import UPRIGHT, fingerprint, task_of, task_report
from dsc.pipeline.sources.formats import read_pixels
from dsc.pipeline.sources.hdf5_elsewhere import files_of, unmapped
from dsc.pipeline.sources.hdf5_items import Item, as_bytes, list_items
from dsc.pipeline.sources.hdf5_plan import Found, Plan, make_plan
from dsc.pipeline.sources.hdf5_table import Cell, SampleTable
from dsc.pipeline.sources.kinds import Meaning, Stated, decide, kind_of_name
from dsc.pipeline.sources.listing import FileTree, nothing_found
from dsc.pipeline.sources.open_files import OpenFiles, is_hdf5
from dsc.pipeline.sources.options import Options
from dsc.pipeline.sources.rest import Rest
from dsc.pipeline.sources.table import natural_order
from dsc.schemas import LeftOut, SourceReport, Task, TaskKind

SUFFIXES = (".h5", ".hdf5", ".he5", ".hdf", ".mat", ".nc")
SURE = (".h5", ".hdf5", ".he5")  # a file of these endings that is no HDF5 is damaged
LOOKED_FOR = ("train.h5 with datasets such as rgb (N, H, W, 3) and depth (N, H, W)",)
PROBES = 5
ALPHA = "_alpha"


class Hdf5Source:
    """HDF5 files, opened; see `dsc.pipeline.sources.base.Source`.

    Parameters
    ----------
    tree
        What the paths are below.
    root
        What was opened: the tree's root, or the only file.
    table
        The samples.
    meanings
        What the tasks are.
    first
        Tasks whose channels come first, (C, H, W).
    options, left_out, notes
        See `dsc.pipeline.sources.file_source.FileSource`.
    """

    name: ClassVar[str] = "hdf5"

    def __init__(
        self,
        tree: FileTree,
        root: str,
        table: SampleTable,
        meanings: Sequence[Meaning],
        first: frozenset[str],
        options: Mapping[str, Any],
        left_out: Sequence[LeftOut],
        notes: Sequence[str],
    ) -> None:
        self._files = OpenFiles(tree)
        self._root = root
        self._table = table
        self._meanings = {meaning.task.name: meaning for meaning in meanings}
        self._tasks = {name: meaning.task for name, meaning in self._meanings.items()}
        self._first = first
        self._options = {name: value for name, value in options.items() if value is not None}
        self._left_out, self._notes = tuple(left_out), tuple(notes)

    @classmethod
    def open(
        cls,
        root: str,
        depth_unit: object = None,
        kinds: object = None,
        layout: str | None = None,
        file_unit: object = None,
        invalid: object = None,
        alpha: str | None = None,
        tasks: Sequence[str] | str | None = None,
        ignore: Sequence[str] | str = (),
        split: str | None = None,
    ) -> Self:
        """Look at the datasets of one file, or of every HDF5 file below a directory.

        Parameters
        ----------
        root
            File, directory, or fsspec URL of one.
        depth_unit
            Metres a stored count of depth; before a ``unit_m`` attribute. By task where given as a
            mapping. 1/1000 unless stated.
        kinds
            ``{"task": kind}`` with one of `dsc.pipeline.sources.kinds.KINDS`; a dataset's own name
            will do where it stands for one task.
        layout
            ``rows``, ``frames`` or ``groups``; told from names and shapes by default.
        file_unit
            What depth datasets hold: ``mm``, or by task; see `dsc.pipeline.sources.units`.
        invalid
            ``{"task": (values,)}`` that mean "nothing here".
        alpha
            ``drop``, or ``mask`` to keep it as a task; refused by default.
        tasks
            The tasks that are wanted (names or aliases); the others are not judged.
        ignore
            Patterns of paths (``old/*.h5``, ``*/preview`` for a dataset), or tasks, to leave out.
        split
            One of the splits; all by default.

        Raises
        ------
        SourceNotFoundError
            When there is no HDF5 file, or no sample in any.
        UsageError
            When the layout cannot be told, a dataset that is wanted cannot be read or be what its
            name says, datasets differ in length or type, or an option cannot be honoured.
        SampleError
            When none of a task's first values can be read.
        """
        options = Options.parse(depth_unit, file_unit, kinds, invalid, alpha, tasks, ignore)
        tree, paths, left_out = _find_files(root, options)
        files = OpenFiles(tree)
        plan = make_plan(_contents(files, paths, left_out, root), options, layout, str(root))
        left_out += plan.left_out
        if not len(plan.table):
            raise nothing_found(cls.name, f"no sample in {root}{_why(left_out)}", LOOKED_FOR)
        table = plan.table
        if split is not None and table.split_sizes():
            table = table.of_split(_known_split(split, table))
        tasks_found = _Tasks(files, plan)
        meanings = tasks_found.meanings()
        single = len(paths) == 1 and FileTree(root).is_file()
        return cls(
            tree,
            tree.where(paths[0]) if single else tree.url,
            table,
            meanings,
            frozenset(tasks_found.first),
            {**options.to_json(), "layout": layout, "split": split},
            left_out,
            [f"layout {plan.layout.name}: {plan.layout.why}", *tasks_found.notes],
        )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task found, in the files' order."""
        return tuple(self._tasks.values())

    @property
    def splits(self) -> dict[str, int]:
        """Number of samples by split, in order; empty where there are none."""
        return self._table.split_sizes()

    def __len__(self) -> int:
        """Give the number of samples over all files."""
        return len(self._table)

    def _check(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return index

    def key(self, index: int) -> str:
        """Give the key of a sample without reading it."""
        return self._table.key(self._check(index))

    def origin(self, index: int) -> Origin:
        """Say where a sample lies: its file and row, its file, or its group."""
        return Origin(self._table.name(self._check(index)), self._table.files(index))

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read these tasks of one sample; its bytes are those of its values (or pictures).

        Raises
        ------
        UnknownTaskError
            When no file has such a task.
        SampleError
            When the file is damaged, or a value is not what its task holds.
        """
        key, arrays, sizes = self.key(index), {}, {}
        for name in tasks:
            task = task_of(self._tasks, name)
            cell = self._table.cell(index, name.removesuffix(ALPHA) if self._is_alpha(name) else name)
            if cell is not None:
                arrays[name], sizes[name] = self._read(cell, task, f"sample {key}")
        check_sizes(key, arrays, self._tasks)
        return SourceSample(key, arrays, sizes)

    def _is_alpha(self, name: str) -> bool:
        return self._meanings[name].reading.alpha == "only"

    def _read(self, cell: Cell, task: Task, where: str) -> tuple[NDArray[Any], int]:
        reading = self._meanings[task.name].reading
        array, size = read_cell(self._files, cell, where, reading.indexes)
        where = f"{where}: {spell(self._files.tree, cell)}"
        if task.is_map and array.ndim == 3 and _comes_first(
            array.shape, task.name in self._first, _stored_channels(task, reading)
        ):
            array = np.moveaxis(array, 0, -1)
        return fit_to_task(array, task, where, reading), size

    def report(self) -> SourceReport:
        """Say what was found, decided and left out."""
        present = {
            name: self._table.present(name.removesuffix(ALPHA) if self._is_alpha(name) else name)
            for name in self._tasks
        }
        complete = np.ones(len(self), bool)
        for column in present.values():
            complete &= column
        return SourceReport(
            samples=len(self),
            complete=int(complete.sum()),
            tasks={
                name: task_report(meaning, int(present[name].sum()))
                for name, meaning in self._meanings.items()
            },
            left_out=self._left_out,
            notes=self._notes,
        )

    def describe(self) -> dict[str, Any]:
        """Give the JSON from which `source_from_description` makes the same source again."""
        return {
            "name": self.name,
            "root": self._root,
            "options": self._options,
            "fingerprint": fingerprint(self.tasks, self._table.digest()),
        }


def read_cell(
    files: OpenFiles, cell: Cell, where: str, indexes: bool
) -> tuple[NDArray[Any], int]:
    """Read one value of a dataset, and give the bytes that it had.

    MATLAB's axes are restored, bytes of an image file are decoded; channels may still come first.

    Raises
    ------
    SampleError
        When it cannot be read.
    """
    selection: Any = () if cell.row is None else cell.row
    if cell.axis:
        selection = (slice(None), cell.row)
    raw = files.select(cell.file, cell.dataset, selection, where)
    held = files.held(cell.file, cell.dataset)
    if held.files:
        data = as_bytes(raw[0] if cell.row is None and np.shape(raw) == (1,) else raw)
        spelled = f"{where}: {spell(files.tree, cell)}"
        return read_pixels(data, spelled, indexes=indexes), len(data)
    array = np.asarray(raw)
    size = array.nbytes
    array = array.T if held.matlab else array
    return array.astype(bool) if held.logical else array, size


def spell(tree: FileTree, cell: Cell) -> str:
    """Name a value for messages."""
    row = "" if cell.row is None else f", row {cell.row}"
    return f"{tree.where(cell.file)}, dataset {cell.dataset}{row}"


def _stored_channels(task: Task, reading: Reading) -> int:
    return task.channels + (reading.alpha == "drop") if reading.alpha != "only" else 0


def _comes_first(shape: tuple[int, ...], first: bool, channels: int) -> bool:
    """Tell whether an array of three axes is (C, H, W): as the task's are, unless that cannot be."""
    fits_first, fits_last = shape[0] == channels, shape[2] == channels
    if not channels or (fits_first and fits_last) or not (fits_first or fits_last):
        return first
    return fits_first


class _Tasks:
    """Finds out what the tasks of a plan are."""

    def __init__(self, files: OpenFiles, plan: Plan) -> None:
        self._files, self._plan = files, plan
        self.first: set[str] = set()
        self.notes: list[str] = []

    def meanings(self) -> list[Meaning]:
        """Decide every task, and check that all of its datasets can be that.

        Raises
        ------
        UsageError
            When one cannot, or when maps of one sample differ in height and width.
        """
        found = []
        pictures = False
        for name, places in self._plan.found.items():
            self._look_elsewhere(name, places)
            pictures |= any(place.item.files for place in places)
            stated = self._plan.options.stated(name, _stated(name, places, self._files.tree))
            evidence = self._evidence(name, places, stated)
            where = f"{self._files.tree.where(places[0].where)}"
            meaning = decide(name, evidence, stated, where)
            found.append(meaning)
            self._check_forms(places, meaning)
            if evidence.alpha and stated.alpha == "mask" and meaning.reading.alpha == "drop":
                found.append(_alpha_meaning(meaning))
        self._check_sizes({meaning.task.name: meaning.task for meaning in found})
        if pictures:
            self.notes.append(UPRIGHT)
        return found

    def _look_elsewhere(self, name: str, places: Sequence[Found]) -> None:
        """Make sure that values in other files are there, and name those outside of the root."""
        root = self._files.tree.local
        outside: dict[str, None] = {}
        for place in places:
            if not place.item.elsewhere or root is None:
                continue
            dataset = self._files.dataset(place.file, place.item.path)
            where = self._files.tree.where(place.where)
            for path in files_of(dataset, where):
                if not path.startswith(f"{root}/"):
                    outside[path] = None
            share = unmapped(dataset)
            if share:
                self.notes.append(
                    f"{place.where}: {share:.0%} of this virtual dataset is in no file; HDF5 gives "
                    f"its fill value {dataset.fillvalue} there"
                )
        if outside:
            more = f" and {len(outside) - 3} more" if len(outside) > 3 else ""
            self.notes.append(f"{name} lies outside of {root}: {', '.join([*outside][:3])}{more}")

    def _evidence(self, name: str, places: Sequence[Found], stated: Stated) -> Evidence:
        """Look at a few values, spread over all, and at one of each form."""
        found, failure = [], None
        for place, cell in self._probes(name, places):
            try:
                found.append(self._look(name, place, cell, stated))
            except SampleError as error:
                failure = error  # reading the sample will report it, if others are whole
        if not found:
            raise failure or SampleError(f"task {name}: nothing can be read")
        forms = {(one.is_map, one.channels if one.is_map else one.shape) for one in found}
        if len({is_map for is_map, _ in forms}) > 1:
            shapes = " and ".join(str(one.shape) for one in found[:4])
            raise UsageError(
                f"task {name}: shapes {shapes}; values of one task must be of one form: leave one "
                "kind out with --ignore, or the task with --tasks"
            )
        return merge(sorted(found, key=lambda one: -one.channels))

    def _probes(self, name: str, places: Sequence[Found]) -> Iterator[tuple[Found, Cell]]:
        by_place = {(place.file, place.item.path): place for place in places}
        rows = np.flatnonzero(self._plan.table.present(name))
        chosen = rows[np.linspace(0, len(rows) - 1, min(PROBES, len(rows))).astype(np.int64)]
        seen = set()
        for index in chosen:
            cell = self._plan.table.cell(int(index), name)
            if cell is not None:
                place = by_place[cell.file, cell.dataset]
                seen.add(place.item.dtype)
                yield place, cell
        for place in places:
            if place.item.dtype not in seen:
                seen.add(place.item.dtype)
                own = place.item.whole if _is_frame(self._plan) else place.item.row
                row = None if own == place.item.whole and _is_frame(self._plan) else 0
                yield place, Cell(place.file, place.item.path, row, place.axis)

    def _look(self, name: str, place: Found, cell: Cell, stated: Stated) -> Evidence:
        where = spell(self._files.tree, cell)
        if place.item.files:
            return probe(self._bytes(cell, where), where)
        array, _ = read_cell(self._files, cell, where, indexes=True)
        if array.ndim == 3:
            if self._first_by_shape(name, place, array.shape):
                self.first.add(name)
                array = np.moveaxis(array, 0, -1)
        kind = stated.kind or kind_of_name(name)
        pictures = array.dtype in (np.uint8, np.uint16) and kind in ("rgb", "image")
        alpha = array.ndim == 3 and array.shape[2] in (2, 4) and pictures
        return look(array, format="hdf5", alpha=alpha)

    def _bytes(self, cell: Cell, where: str) -> bytes:
        raw = self._files.select(
            cell.file, cell.dataset, () if cell.row is None else cell.row, where
        )
        return as_bytes(raw[0] if cell.row is None and np.shape(raw) == (1,) else raw)

    def _first_by_shape(self, name: str, place: Found, shape: tuple[int, ...]) -> bool:
        """Tell whether (a, b, c) is (C, H, W): by what stands beside it, or by its shape."""
        for beside in self._plan.beside:
            if beside.get(name) is not place:
                continue
            sizes = {
                own[:2] if len(own) == 2 else own[:2] if own[2] in (1, 3) else own[1:]
                for task, other in beside.items()
                if task != name and len(own := self._own_shape(other)) in (2, 3)
                and not other.item.files
            }  # fmt: skip
            if shape[:2] in sizes or shape[1:] in sizes:
                return shape[:2] not in sizes
            break
        return shape[2] not in (1, 2, 3, 4) and shape[0] in (1, 2, 3, 4)

    def _own_shape(self, place: Found) -> tuple[int, ...]:
        return place.item.whole if _is_frame(self._plan) else place.item.row

    def _check_forms(self, places: Sequence[Found], meaning: Meaning) -> None:
        """Try each form that a task's datasets have on zeros: what fails there fails on values."""
        seen = set()
        for place in places:
            own = self._own_shape(place)
            if place.item.files or (place.item.dtype, own) in seen:
                continue
            seen.add((place.item.dtype, own))
            where = self._files.tree.where(place.where)
            zeros = np.zeros(own if place.axis == 0 else place.item.shape[:1], place.item.dtype)
            task = meaning.task
            channels = _stored_channels(task, meaning.reading)
            if task.is_map and zeros.ndim == 3 and _comes_first(
                zeros.shape, task.name in self.first, channels
            ):
                zeros = np.moveaxis(zeros, 0, -1)
            if zeros.ndim > 1 and task.is_map:
                zeros = zeros[:1, :1]
            try:
                fit_to_task(zeros, task, where, meaning.reading)
            except SampleError as error:
                raise UsageError(str(error)) from None

    def _check_sizes(self, tasks: Mapping[str, Task]) -> None:
        """Refuse maps of one sample that differ in height and width, as far as shapes say it."""
        seen = set()
        for beside in self._plan.beside:
            sizes = {}
            for name, place in beside.items():
                own = self._own_shape(place)
                if tasks[name].is_map and not place.item.files and len(own) in (2, 3):
                    channels = tasks[name].channels
                    first = len(own) == 3 and _comes_first(own, name in self.first, channels)
                    sizes[name] = own[1:] if first else own[:2]
            look_alike = tuple(sizes.items())
            if look_alike in seen:
                continue
            seen.add(look_alike)
            if len(set(sizes.values())) > 1:
                spelled = ", ".join(f"{name} {size[1]}x{size[0]}" for name, size in sizes.items())
                where = self._files.tree.where(next(iter(beside.values())).file)
                raise UsageError(
                    f"{where}: tasks differ in size (width x height): {spelled}; resize them to "
                    "one size, or leave tasks out with --tasks"
                )


def _is_frame(plan: Plan) -> bool:
    return plan.layout.name != "rows"


def _stated(name: str, places: Sequence[Found], tree: FileTree) -> Stated:
    """Give what the attributes of a task's datasets say.

    Raises
    ------
    UsageError
        When those of two files differ.
    """
    first = places[0]
    for place in places:
        if place.item.stated != first.item.stated:
            raise UsageError(
                f"task {name}: the attributes of {tree.where(first.where)} and of "
                f"{tree.where(place.where)} differ; make them alike, or leave one out with --ignore"
            )
    return first.item.stated


def _alpha_meaning(meaning: Meaning) -> Meaning:
    task = meaning.task.model_copy(
        update={"name": f"{meaning.task.name}{ALPHA}", "kind": TaskKind.IMAGE, "channels": 1}
        | {"exact": True, "invalid": ()}
    )
    return Meaning(
        task, "alpha of its pictures", stored=meaning.stored, reading=Reading(alpha="only")
    )


def _find_files(root: str, options: Options) -> tuple[FileTree, list[str], list[LeftOut]]:
    """List the HDF5 files below a root, and what else is there."""
    tree = FileTree(root)
    tree.require_root("hdf5", root)
    if tree.is_file():
        directory, _, name = tree.url.rpartition("/")
        return FileTree(directory or "/"), [name], []
    left_out: list[LeftOut] = []
    rest, paths = Rest(), []
    for directory, names in tree.walk(left_out):
        for name in names:
            path = f"{directory}/{name}" if directory else name
            pattern = options.ignores(path) if options.ignore else None
            if pattern:
                rest.add(path, f"--ignore {pattern}")
            elif name.lower().endswith(SUFFIXES):
                paths.append(path)
            else:
                rest.add(path, "no HDF5 file")
    if not paths:
        raise nothing_found("hdf5", f"no HDF5 file under {root}", LOOKED_FOR)
    return tree, sorted(paths, key=natural_order), [*left_out, *rest.listed()]


def _contents(
    files: OpenFiles, paths: Sequence[str], left_out: list[LeftOut], root: str
) -> dict[str, tuple[Item, ...]]:
    """List the datasets of every file; equal lists are kept once."""
    found: dict[str, tuple[Item, ...]] = {}
    alike: dict[tuple[Item, ...], tuple[Item, ...]] = {}
    rest = Rest()
    for path in paths:
        try:
            items = list_items(files.get(path), files.local)
        except SampleError as error:
            if not path.lower().endswith(SURE) and not is_hdf5(files.tree, path) and paths != [path]:
                rest.add(path, "no HDF5 file (a .mat must be of version 7.3: save -v7.3)")
                continue
            raise UsageError(str(error)) from None
        found[path] = alike.setdefault(items, items)
    left_out += rest.listed()
    if not found:
        raise nothing_found("hdf5", f"no HDF5 file under {root}", LOOKED_FOR)
    return found


def _known_split(split: str, table: SampleTable) -> str:
    sizes = table.split_sizes()
    if split not in sizes:
        raise UsageError(f"--split {split}: found are {', '.join(name or '-' for name in sizes)}")
    return split


def _why(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return ""
    first = "; ".join(f"{one.what}: {one.reason}" for one in left_out[:3])
    return f" (left out: {first})"
