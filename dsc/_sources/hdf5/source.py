"""HDF5: datasets whose first axis is the sample, one file a sample, or one group a sample.

`open` lists every dataset of the file, or of every HDF5 file below a directory, each file once. How
samples lie is told from names and shapes (see `dsc._sources.hdf5.layout`) or stated with
``--layout``. A dataset's attributes say what it is, where it has them: ``kind``, ``unit_m`` (metres
a count), ``invalid`` (one value or several) and ``classes``; otherwise its name and some of its
values do, see `dsc._sources.meaning.decide`. Both (H, W, 3) and (3, H, W) are understood, MATLAB's
axes are restored, bytes of JPEG, PNG and so on are decoded. The key of row 12 of ``train.h5`` is
``train_000012``; where files or groups are samples, their names are the keys.

Cost: one or two milliseconds a local file to list it, and some five values of every task are read.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from numpy.typing import NDArray

from dsc._files.directories import join_path
from dsc._files.passed_over import PassedOver
from dsc._files.tree import FileTree, nothing_found
from dsc._schemas import LeftOut, Origin, SourceReport, Task
from dsc._schemas.from_file import file_of
from dsc._sources.base import SourceSample, find_task
from dsc._sources.hdf5.inventory import DatasetItem, list_datasets
from dsc._sources.hdf5.make_plan import make_plan
from dsc._sources.hdf5.names import pictures_beside
from dsc._sources.hdf5.reading import OpenFiles, channels_last, is_hdf5, name_cell, read_cell
from dsc._sources.hdf5.sample_table import Cell, SampleTable
from dsc._sources.hdf5.tasks import TaskFinder
from dsc._sources.keys import natural_order
from dsc._sources.meaning.decide import ALPHA, Meaning
from dsc._sources.meaning.decode import check_sizes, fit_to_task, knowing_file, map_sizes
from dsc._sources.meaning.options import TaskOptions, known_split
from dsc._sources.report import fingerprint, make_report
from dsc.errors import SampleError, UsageError

SUFFIXES = (".h5", ".hdf5", ".he5", ".hdf", ".mat", ".nc")
SURE = (".h5", ".hdf5", ".he5")  # a file of these endings that is no HDF5 is damaged
LOOKED_FOR = ("train.h5 with datasets such as rgb (N, H, W, 3) and depth (N, H, W)",)


class Hdf5Source:
    """HDF5 files, opened; see `dsc._sources.base.Source`.

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
        See `dsc._sources.file_source.FileSource`.
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
            ``{"task": kind}`` with one of `dsc._sources.meaning.decide.KINDS`; a dataset's own name
            will do where it stands for one task.
        layout
            ``rows``, ``frames`` or ``groups``; told from names and shapes by default.
        file_unit
            What depth datasets hold: ``mm``, or by task; see `dsc._sources.meaning.units`.
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
        options = TaskOptions.parse(depth_unit, file_unit, kinds, invalid, alpha, tasks, ignore)
        tree, paths, left_out = _find_files(root, options)
        files = OpenFiles(tree)
        plan = make_plan(_contents(files, paths, left_out, root), options, layout, str(root))
        left_out += plan.left_out
        if not len(plan.table):
            raise nothing_found(cls.name, f"no sample in {root}{_why(left_out)}", LOOKED_FOR)
        table = plan.table
        if split is not None and table.split_sizes():
            table = table.of_split(known_split(split, table.split_sizes()))
        finder = TaskFinder(files, plan)
        meanings = finder.meanings()
        single = len(paths) == 1 and FileTree(root).is_file()
        return cls(
            tree,
            tree.where(paths[0]) if single else tree.url,
            table,
            meanings,
            frozenset(finder.first),
            {**options.to_json(), "layout": layout, "split": split},
            left_out,
            [f"layout {plan.layout.name}: {plan.layout.why}", *finder.notes],
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
        """Return the number of samples over all files."""
        return len(self._table)

    def _check(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return index

    def key(self, index: int) -> str:
        """Return the key of a sample without reading it."""
        return self._table.key(self._check(index))

    def origin(self, index: int) -> Origin:
        """Say where a sample lies: its file and row, its file, or its group."""
        return Origin(name=self._table.name(self._check(index)), files=self._table.files(index))

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
            task = find_task(self._tasks, name)
            cell = self._table.cell(index, self._column(name))
            if cell is not None:
                arrays[name], sizes[name] = self._read(cell, task, f"sample {key}")
        check_sizes(key, map_sizes(arrays, self._tasks))
        return SourceSample(key, arrays, sizes)

    def _column(self, name: str) -> str:
        alpha = self._meanings[name].conversion.alpha == "only"
        return name.removesuffix(ALPHA) if alpha else name

    def _read(self, cell: Cell, task: Task, where: str) -> tuple[NDArray[Any], int]:
        conversion = self._meanings[task.name].conversion
        array, size = read_cell(self._files, cell, where, conversion.indexes)
        where = f"{where}: {name_cell(self._files.tree, cell)}"
        file = file_of(array)
        array = channels_last(array, task, conversion, task.name in self._first)
        array = fit_to_task(array, task, where, conversion)
        return array if file is None else knowing_file(array, task, file), size

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        """List which of these tasks a sample lacks, without reading it."""
        cells = {name: self._table.cell(self._check(index), self._column(name)) for name in tasks}
        return tuple(name for name, cell in cells.items() if cell is None)

    def report(self) -> SourceReport:
        """Say what was found, decided and left out."""
        present = {name: self._table.present(self._column(name)) for name in self._tasks}
        return make_report(self._meanings, present, self._left_out, self._notes, self._options)

    def describe(self) -> dict[str, Any]:
        """Return the JSON from which `source_from_description` makes the same source again."""
        return {
            "name": self.name,
            "root": self._root,
            "options": self._options,
            "fingerprint": fingerprint(self.tasks, self._table.digest()),
        }


def _find_files(root: str, options: TaskOptions) -> tuple[FileTree, list[str], list[LeftOut]]:
    """List the HDF5 files below a root, and what else is there."""
    tree = FileTree(root)
    tree.require_root("hdf5", root)
    if tree.is_file():
        directory, _, name = tree.url.rpartition("/")
        return FileTree(directory or "/"), [name], []
    left_out: list[LeftOut] = []
    rest, paths, others = PassedOver(), list[str](), list[str]()
    for directory, names in tree.walk(left_out):
        for name in names:
            path = join_path(directory, name)
            pattern = options.ignores(path) if options.ignore else None
            if pattern:
                rest.add_file(path, f"--ignore {pattern}")
            elif name.lower().endswith(SUFFIXES):
                paths.append(path)
            else:
                others.append(path)
    if not paths:
        raise nothing_found("hdf5", f"no HDF5 file under {root}", LOOKED_FOR, tree)
    beside = pictures_beside(paths, others)
    for path in others:
        advice = "; the source folder reads pictures and HDF5 together" if path in beside else ""
        rest.add_file(path, f"no HDF5 file{advice}", beside.get(path, ""))
    return tree, sorted(paths, key=natural_order), [*left_out, *rest.left_out()]


def _contents(
    files: OpenFiles, paths: Sequence[str], left_out: list[LeftOut], root: str
) -> dict[str, tuple[DatasetItem, ...]]:
    """List the datasets of every file; equal lists are kept once."""
    found: dict[str, tuple[DatasetItem, ...]] = {}
    alike: dict[tuple[DatasetItem, ...], tuple[DatasetItem, ...]] = {}
    rest = PassedOver()
    for path in paths:
        try:
            items = list_datasets(files.get(path), files.local)
        except SampleError as error:
            sure = path.lower().endswith(SURE) or len(paths) == 1
            if not sure and not is_hdf5(files.tree, path):
                rest.add_file(path, "no HDF5 file (a .mat must be of version 7.3: save -v7.3)")
                continue
            raise UsageError(str(error)) from None
        found[path] = alike.setdefault(items, items)
    left_out += rest.left_out()
    if not found:
        raise nothing_found("hdf5", f"no HDF5 file under {root}", LOOKED_FOR)
    return found


def _why(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return ""
    first = "; ".join(f"{one.what}: {one.reason}" for one in left_out[:3])
    return f" (left out: {first})"
