"""HDF5: one dataset a task, whose first axis is the sample; one file, or a directory of them.

The files of a directory follow one another in natural order. Datasets inside groups get the
group's name in front (``left/depth`` is task ``left_depth``). A dataset's attributes say what it
is, where it has them: ``kind``, ``unit_m`` (metres a count), ``invalid`` (one value or several) and
``classes``; otherwise its name does, see `dsc.pipeline.sources.kinds`. Both (N, H, W, 3) and
(N, 3, H, W) are understood. The key of row 12 of ``train.h5`` is ``train_000012``.
"""

import bisect
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, Self

import numpy as np

from dsc.errors import SampleError, UsageError
from dsc.pipeline.sources.base import SourceSample
from dsc.pipeline.sources.decode import Found, check_sizes, fit_to_task
from dsc.pipeline.sources.file_source import fingerprint, task_of
from dsc.pipeline.sources.kinds import (
    DepthUnit,
    Stated,
    make_task,
    parse_depth_unit,
    parse_kinds,
    task_name,
    unit_of,
)
from dsc.pipeline.sources.listing import FileTree, nothing_found
from dsc.pipeline.sources.open_files import OpenFiles
from dsc.pipeline.sources.table import fit, natural_order, plain
from dsc.schemas import Task
from dsc.schemas.base import canonical_json

SUFFIXES = (".h5", ".hdf5", ".hdf", ".mat", ".nc")
LAYOUTS = ("train.h5 with datasets such as rgb (N, H, W, 3) and depth (N, H, W)",)


@dataclass(frozen=True)
class Part:
    """One file: its path, its number of samples and, by task, its dataset's path."""

    path: str
    samples: int
    datasets: Mapping[str, str]

    def key(self, row: int) -> str:
        """Give the key of a row."""
        stem = self.path.rpartition(".")[0] or self.path
        return f"{fit('__'.join(map(plain, stem.split('/'))), 68)}_{row:06d}"


class Hdf5Source:
    """HDF5 files, opened; see `dsc.pipeline.sources.base.Source`."""

    name: ClassVar[str] = "hdf5"

    def __init__(
        self, tree: FileTree, parts: Sequence[Part], tasks: Sequence[Task], options: dict[str, Any]
    ) -> None:
        self._files = OpenFiles(tree)
        self._parts = tuple(parts)
        self._ends = list(accumulate(part.samples for part in parts))
        self._tasks = {task.name: task for task in tasks}
        self._options = {name: value for name, value in options.items() if value}

    @classmethod
    def open(cls, root: str, depth_unit: object = None, kinds: object = None) -> Self:
        """Look at the datasets of one file, or of every HDF5 file below a directory.

        Parameters
        ----------
        root
            File, directory, or fsspec URL of one.
        depth_unit
            Metres a count of depth where no ``unit_m`` attribute says it; by task where given as a
            mapping. 1/1000 for 16-bit depth unless stated.
        kinds
            ``{"task": kind}`` with kind image, rgb, depth, normal, label, class or vector.

        Raises
        ------
        SourceNotFoundError
            When there is no HDF5 file.
        UsageError
            When datasets differ in length within a file or in type between files, or cannot be
            what their names say.
        """
        units, stated = parse_depth_unit(depth_unit), parse_kinds(kinds)
        tree, paths = _find_files(root)
        files = OpenFiles(tree)
        parts, tasks = [], dict[str, Task]()
        for path in paths:
            try:
                content = files.get(path)
            except SampleError as error:
                raise UsageError(str(error)) from None
            part = _part(path, content, tree.where(path))
            for name, dataset in part.datasets.items():
                where = f"{tree.where(path)}, dataset {dataset}"
                task = _task(name, content[dataset], units, stated, where)
                if tasks.setdefault(name, task) != task:
                    raise UsageError(f"{where}: {task} differs from {tasks[name]} of files before")
            parts.append(part)
        unknown = set(stated) - set(tasks)
        if unknown:
            raise UsageError(f"kinds: no task {', '.join(unknown)}; found: {', '.join(tasks)}")
        if not sum(part.samples for part in parts):
            raise nothing_found(cls.name, f"no sample in {root}", LAYOUTS)
        return cls(tree, parts, list(tasks.values()), {"depth_unit": units, "kinds": stated})

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task found, in the files' order."""
        return tuple(self._tasks.values())

    def __len__(self) -> int:
        """Give the number of samples over all files."""
        return self._ends[-1]

    def _place(self, index: int) -> tuple[Part, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number = bisect.bisect_right(self._ends, index)
        part = self._parts[number]
        return part, index - (self._ends[number] - part.samples)

    def key(self, index: int) -> str:
        """Give the key of a sample: its file and row."""
        part, row = self._place(index)
        return part.key(row)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read these tasks of one sample; its bytes are those of the raw arrays in the file.

        Raises
        ------
        UnknownTaskError
            When no file has such a task.
        SampleError
            When the file is damaged.
        """
        part, row = self._place(index)
        key, arrays, sizes = part.key(row), {}, {}
        for name in tasks:
            task = task_of(self._tasks, name)
            if name not in part.datasets:
                continue
            where = f"sample {key}"
            raw = self._files.row(part.path, part.datasets[name], row, where)
            if task.is_map and _channels_first((0, *raw.shape)):
                arrays[name] = fit_to_task(np.moveaxis(raw, 0, -1), task, where)
            else:
                arrays[name] = fit_to_task(raw, task, where)
            sizes[name] = raw.nbytes
        check_sizes(key, arrays, self._tasks)
        return SourceSample(key, arrays, sizes)

    def describe(self) -> dict[str, Any]:
        """Give the JSON from which `source_from_description` makes the same source again."""
        parts = [[part.path, part.samples, dict(part.datasets)] for part in self._parts]
        content = hashlib.sha256(canonical_json(parts).encode()).hexdigest()
        single = len(self._parts) == 1
        return {
            "name": self.name,
            "root": self._files.tree.where(self._parts[0].path if single else ""),
            "options": self._options,
            "fingerprint": fingerprint(self.tasks, content),
        }


def _find_files(root: str) -> tuple[FileTree, list[str]]:
    tree = FileTree(root)
    tree.require_root("hdf5", root)
    if tree.is_file():
        directory, name = tree.parent()
        return directory, [name]
    paths = [
        f"{directory}/{name}" if directory else name
        for directory, names in tree.walk()
        for name in names
        if name.lower().endswith(SUFFIXES)
    ]
    if not paths:
        raise nothing_found("hdf5", f"no HDF5 file under {root}", LAYOUTS)
    return tree, sorted(paths, key=natural_order)


def _part(path: str, content: Any, where: str) -> Part:
    import h5py

    found: dict[str, str] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim and item.dtype.kind in "uif":
            task = task_name(name)
            if task in found:
                raise UsageError(
                    f"{where}: datasets {found[task]} and {name} are both task {task}; rename one"
                )
            found[task] = name

    content.visititems(note)
    lengths = {len(content[dataset]) for dataset in found.values()}
    if len(lengths) > 1:
        sizes = ", ".join(f"{name} {len(content[name])}" for name in found.values())
        raise UsageError(
            f"{where}: datasets differ in their first axis, which counts samples: {sizes}; "
            "keep what is no task in another file"
        )
    return Part(path, lengths.pop() if lengths else 0, found)


def _task(
    name: str, dataset: Any, units: DepthUnit | None, kinds: dict[str, str], where: str
) -> Task:
    attributes = dataset.attrs
    unit_m = float(attributes["unit_m"]) if "unit_m" in attributes else unit_of(units, name)
    invalid = None
    if "invalid" in attributes:
        invalid = tuple(int(value) for value in np.ravel(attributes["invalid"]))
    kind = kinds.get(name) or (_text(attributes["kind"]) if "kind" in attributes else None)
    parse_kinds({name: kind} if kind else None)
    classes = tuple(_text(word) for word in np.ravel(attributes.get("classes", ())))
    shape = tuple(dataset.shape[1:])
    if _channels_first(dataset.shape):
        shape = (*shape[1:], shape[0])
    found = Found(dataset.dtype.newbyteorder("=").name, shape)
    return make_task(name, found, Stated(kind, unit_m, invalid, classes), where)


def _channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
