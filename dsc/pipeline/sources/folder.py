"""Folders of image files that follow no published layout: ``folder``.

Four layouts, told apart by the names, or stated with ``layout=``:

- ``directories``: one directory a task, matched by stem: ``rgb/0001.jpg``, ``depth/0001.png``.
  Directories below them are part of the stem: ``rgb/seq-01/0001.jpg`` goes with
  ``depth/seq-01/0001.png``.
- ``suffixes``: tasks side by side, the stem ends at the first dot: ``frame-000000.color.jpg``,
  ``frame-000000.depth.png``. A file without a middle part (``01.png``) is ``rgb``.
- ``classes``: one directory a class, as ImageNet has it: ``n02123/cat.jpg``; tasks ``rgb`` and
  ``class_label`` (the directory's number, by name). It must be stated.

What a task's values mean is guessed from its name and first file, see `dsc.pipeline.sources.kinds`;
`kinds` and `depth_unit` say it outright.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc.errors import UsageError
from dsc.pipeline.sources.file_source import FileSource, probe_task
from dsc.pipeline.sources.kinds import (
    DepthUnit,
    Stated,
    kind_of_name,
    make_task,
    parse_depth_unit,
    parse_kinds,
    task_name,
    unit_of,
)
from dsc.pipeline.sources.listing import FileTree, nothing_found
from dsc.pipeline.sources.table import FileTable, TableBuilder, natural_order
from dsc.schemas import Task, TaskKind

LAYOUTS = ("directories", "suffixes", "classes")
LOOKED_FOR = (
    "rgb/0001.jpg with depth/0001.png",
    "0001.color.jpg with 0001.depth.png",
    "photographs such as 0001.jpg",
)
CLASS_TASK = "class_label"
_FILE = re.compile(r"(.+)\.(?:png|jpe?g|webp|jxl|tiff?|npy)", re.IGNORECASE)
Listing = dict[str, list[str]]  # names of image and .npy files, by directory


class FolderSource(FileSource):
    """A folder of image files, opened."""

    name: ClassVar[str] = "folder"

    @classmethod
    def open(
        cls,
        root: str,
        depth_unit: object = None,
        kinds: object = None,
        layout: str | None = None,
    ) -> Self:
        """List the files under `root`.

        Parameters
        ----------
        root
            Directory or fsspec URL.
        depth_unit
            Metres a count of depth; 1/1000 for 16-bit files unless stated. By task where given as
            a mapping.
        kinds
            ``{"task": kind}`` with kind image, rgb, depth, normal, label, class or vector.
        layout
            ``directories``, ``suffixes`` or ``classes``; by default told from the names.

        Raises
        ------
        SourceNotFoundError
            When there is no image or ``.npy`` file under `root`.
        UsageError
            When an option cannot be honoured, or a task's files cannot be what its name says.
        SampleError
            When none of a task's first files can be read.
        """
        units, stated = parse_depth_unit(depth_unit), parse_kinds(kinds)
        tree = FileTree(root)
        tree.require_root(cls.name, root)
        listing = {
            directory: kept
            for directory, names in tree.walk()
            if (kept := [name for name in names if _FILE.fullmatch(name)])
        }
        if not listing:
            raise nothing_found(cls.name, f"no image under {root}", LOOKED_FOR)
        chosen = layout or tell_layout(listing, str(root))
        table = _list_as(chosen, listing)
        tasks = _tasks(tree, table, units, stated)
        if chosen == "classes":
            tasks.append(_class_task(table))
        options = {"depth_unit": units, "kinds": stated or None, "layout": chosen}
        return cls(tree, table, tasks, options)

    def _read_task(self, index: int, task: Task, key: str) -> tuple[NDArray[Any], int] | None:
        if task.kind is not TaskKind.CLASS or task.name in self.table.files:
            return super()._read_task(index, task, key)
        label = np.array(self.table.group[index], task.dtype)
        return label, label.nbytes


def tell_layout(listing: Listing, root: str) -> str:
    """Tell ``directories`` from ``suffixes`` by the names of directories and files.

    Raises
    ------
    UsageError
        When the directories look neither like tasks nor like parts of one task.
    """
    tops = {directory.split("/")[0] for directory in listing if directory}
    if any(kind_of_name(top) for top in tops):
        return "directories"
    middles = {_middle(name) for names in listing.values() for name in names}
    if "" in listing or any(kind_of_name(middle) for middle in middles if middle):
        return "suffixes"
    if len(tops) == 1 or _share_a_stem(listing):
        return "directories"
    some = ", ".join(sorted(tops, key=natural_order)[:4])
    raise UsageError(
        f"{root}: the directories {some} share no file names, so they are not tasks of the same "
        "samples; if each is a class, say layout=classes"
    )


def _list_as(layout: str, listing: Listing) -> FileTable:
    add: dict[str, Callable[[TableBuilder, str, Iterable[str]], None]] = {
        "directories": _add_directory,
        "suffixes": _add_suffixes,
        "classes": _add_class,
    }
    if layout not in add:
        raise UsageError(f"layout={layout}: known are {', '.join(LAYOUTS)}")
    builder = TableBuilder()
    for directory, names in listing.items():
        add[layout](builder, directory, names)
    return builder.build()


def _add_directory(builder: TableBuilder, directory: str, names: Iterable[str]) -> None:
    top, _, below = directory.partition("/")
    if not top:
        return  # files beside the task directories: a preview, a floor plan
    task = task_name(top)
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        builder.add(below, stem, task, f"{directory}/", dot + suffix)


def _add_suffixes(builder: TableBuilder, directory: str, names: Iterable[str]) -> None:
    head = f"{directory}/" if directory else ""
    for name in names:
        middle = _middle(name)
        stem, _, tail = name.partition(".")
        if stem:
            builder.add(directory, stem, task_name(middle or "rgb"), head, f".{tail}")


def _add_class(builder: TableBuilder, directory: str, names: Iterable[str]) -> None:
    if not directory:
        return
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        builder.add(directory, stem, "rgb", f"{directory}/", dot + suffix)


def _middle(name: str) -> str:
    """Give what lies between the first and the last dot: color of ``frame-1.color.jpg``."""
    return ".".join(name.split(".")[1:-1])


def _share_a_stem(listing: Listing) -> bool:
    seen: dict[str, str] = {}
    for directory, names in listing.items():
        top, _, below = directory.partition("/")
        for name in names:
            stem = f"{below}/{name.rpartition('.')[0]}"
            if seen.setdefault(stem, top) != top:
                return True
    return False


def _tasks(
    tree: FileTree, table: FileTable, units: DepthUnit | None, kinds: dict[str, str]
) -> list[Task]:
    unknown = set(kinds).difference(table.files)
    unknown |= set(units if isinstance(units, dict) else ()).difference(table.files)
    if unknown:
        raise UsageError(
            f"no task {', '.join(sorted(unknown))} here; found: {', '.join(sorted(table.files))}"
        )
    tasks = []
    for name in sorted(table.files, key=_task_order):
        kind = kinds.get(name) or kind_of_name(name)
        found = probe_task(tree, table, name, label=kind == "label")
        stated = Stated(kind=kinds.get(name), unit_m=unit_of(units, name))
        tasks.append(make_task(name, found, stated, tree.where(table.first_paths(name, 1)[0])))
    return tasks


def _task_order(name: str) -> tuple[int, tuple[str, str]]:
    kinds = ("rgb", "image", "depth", "normal", "label")
    kind = kind_of_name(name)
    return (kinds.index(kind) if kind else len(kinds)), natural_order(name)


def _class_task(table: FileTable) -> Task:
    return Task(
        name=CLASS_TASK,
        kind=TaskKind.CLASS,
        dtype="int64",
        channels=0,
        valid_range=(0, len(table.groups) - 1),
        classes=table.groups,
    )
