"""Folders of files, one file a task and sample: ``folder``.

The layout is recognised from names: a published one (`dsc._sources.folder.published`) or a
general one (`dsc._sources.folder.general`), or stated with ``--layout``. What a task's values mean
is told from its name and from some of its files, see `dsc._sources.meaning.decide`; `kinds`,
`depth_unit` and the like say it outright. Only the tasks that are asked for are judged. Everything
that is there is read, or is listed in `FolderSource.left_out` with the reason.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc._files.formats import can_read
from dsc._files.passed_over import printable
from dsc._files.tree import FileTree, nothing_found
from dsc._schemas import SHAPED, LeftOut, Task, TaskKind
from dsc._schemas.task import spelled
from dsc._sources.file_source import FileSource, example_of, probe_task
from dsc._sources.file_table import FileTable
from dsc._sources.folder.fields import (
    BLOB_KINDS,
    BYTES,
    OF_TEXT,
    field_meaning,
    matrix_meaning,
    native_field,
    native_matrix,
)
from dsc._sources.folder.general import stated_layout, tell_layout
from dsc._sources.folder.layout import Layout
from dsc._sources.folder.placing import CLASS_TASK, ListedFiles, PlacedFiles, place_files
from dsc._sources.folder.published import PUBLISHED, recognise
from dsc._sources.folder.recordings import read_times
from dsc._sources.keys import natural_order
from dsc._sources.meaning.decide import ALPHA, Meaning, Stated, alpha_meaning, check_invalid, decide
from dsc._sources.meaning.names import kind_of_name
from dsc._sources.meaning.options import (
    TaskOptions,
    check_named,
    idle_notes,
    known_split,
    unwanted,
    wanted_tasks,
)
from dsc.errors import UsageError

KEPT_SHARED = 64  # files
LAYOUTS = ("directories", "split-directories", "suffixes", "classes", *PUBLISHED)
LOOKED_FOR = (
    "rgb/0001.jpg with depth/0001.png",
    "0001.color.jpg with 0001.depth.png",
    "photographs such as 0001.jpg",
)


class FolderSource(FileSource):
    """A folder of files, opened.

    Parameters
    ----------
    layout
        How the files are laid out.
    labels
        Name of the class by group, where the layout has classes.
    shared
        The tasks of which one file is that of many samples.
    more
        See `FileSource`.
    """

    name: ClassVar[str] = "folder"

    def __init__(
        self,
        tree: FileTree,
        table: FileTable,
        layout: Layout,
        labels: Mapping[str, str],
        shared: Collection[str] = (),
        **more: Any,
    ) -> None:
        super().__init__(tree, table, **more)
        self._sequence, self._times = layout.sequence, layout.times
        # a file that many samples share is read once, and its bytes are those of the first of them
        self._firsts = {
            name: frozenset(np.unique(table.files[name], return_index=True)[1].tolist())
            for name in shared
            if name in table.files
        }
        self._read_before: dict[tuple[str, str], tuple[NDArray[Any], int]] = {}
        numbers = {name: number for number, name in enumerate(class_names(labels))}
        self._class_of_group = {
            at: numbers[labels[group]] for at, group in enumerate(table.groups) if group in labels
        }

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
        """List the files under `root`.

        Parameters
        ----------
        root
            Directory or fsspec URL.
        depth_unit
            Metres a stored count of depth; 1/1000 unless stated. By task where given as a mapping.
        kinds
            ``{"task": kind}`` with one of `dsc._sources.meaning.decide.KINDS`.
        layout
            One of `LAYOUTS`; by default told from the names.
        file_unit
            What depth files hold: ``mm``, or by task; see `dsc._sources.meaning.units`.
        invalid
            ``{"task": (values,)}`` that mean "nothing here".
        alpha
            ``drop``, or ``mask`` to keep it as a task; refused by default.
        tasks
            The tasks that are wanted (names or aliases); the others are not judged.
        ignore
            Patterns of paths (``previews/*``), or tasks, to leave out.
        split
            One of the layout's splits; all by default.

        Raises
        ------
        SourceNotFoundError
            When there is no file that can be read under `root`.
        UsageError
            When an option cannot be honoured, or a task's files cannot be what its name says.
        SampleError
            When none of a task's first files can be read.
        """
        options = TaskOptions.parse(depth_unit, file_unit, kinds, invalid, alpha, tasks, ignore)
        tree = FileTree(root)
        tree.require_root(cls.name, root)
        left_out: list[LeftOut] = []
        files = ListedFiles.of(tree.walk(left_out), options)
        chosen = _choose_layout(layout, files, tree, str(root), options)
        stated = [name for name, kind in (options.kinds or {}).items() if kind in BLOB_KINDS]
        built = place_files(chosen, files, stated)
        wanted = wanted_tasks(options, built.tasks)
        _check_twins(built, wanted)
        check_named(options, built.table.files)
        table = built.table.without([name for name in built.table.files if name not in wanted])
        left_out = [
            *options.excuse(left_out),
            *built.left_out,
            *unwanted(built.files, wanted, options),
        ]
        if split is not None and table.split_sizes():
            table = table.select(table.rows_of_split(known_split(split, table.split_sizes())))
        meanings = _meanings(tree, table, chosen, options, built.fields)
        if built.labels and CLASS_TASK in wanted:
            meanings.append(_class_meaning(class_names(built.labels)))
        return cls(
            tree,
            table,
            chosen,
            built.labels,
            built.shared,
            meanings=meanings,
            options={**options.to_json(), "layout": chosen.name, "split": split},
            left_out=left_out,
            notes=[
                f"layout {chosen.name}: {chosen.why}",
                *_shared_notes(built, table),
                *idle_notes(options, left_out),
            ],
        )

    @property
    def sequence_rule(self) -> str | None:
        """What names say of recordings, where the layout's samples are frames; see the base."""
        return self._sequence or None

    def frame_times(self, index: int) -> dict[int, int] | None:
        """Read the times of the recording that a sample is of; see the base.

        Raises
        ------
        SampleError
            When the file that lists them holds something else.
        """
        return read_times(self.tree, self.table.paths(index).values(), self._times)

    def _decode(self, data: bytes, task: Task, path: str, where: str) -> NDArray[Any]:
        if task.kind in SHAPED:
            return native_matrix(data, task, where)
        if self._is_value(task):
            return native_field(data, task, where)
        return super()._decode(data, task, path, where)

    def _is_value(self, task: Task) -> bool:
        """Tell whether a task's files are read as text or bytes."""
        return task.is_blob or self.meanings[task.name].stored == BYTES

    def _check_file(self, task: Task, path: str, key: str) -> tuple[int, int] | None:
        if task.kind not in SHAPED and not self._is_value(task):
            return super()._check_file(task, path, key)
        self._decode(self.tree.read(path), task, path, f"sample {key}: {self.tree.where(path)}")
        return None

    def _read_task(self, index: int, task: Task, key: str) -> tuple[NDArray[Any], int] | None:
        if task.name in self._firsts:
            return self._read_shared(index, task, key)
        if task.name in self.table.files:
            return super()._read_task(index, task, key)
        number = self._class_of_group.get(int(self.table.group[index]))
        if number is None:
            return None
        label = np.array(number, task.dtype)
        return label, label.nbytes

    def _read_shared(self, index: int, task: Task, key: str) -> tuple[NDArray[Any], int] | None:
        path = self.table.path(index, task.name)
        if path is None:
            return None
        known = self._read_before.get((task.name, path))
        if known is None:
            known = super()._read_task(index, task, key)
            if known is not None:
                for old in list(self._read_before)[:-KEPT_SHARED]:
                    del self._read_before[old]
                self._read_before[task.name, path] = known
        if known is None or index in self._firsts[task.name]:
            return known
        return known[0], 0

    def _has(self, index: int, task: str) -> bool:
        if task in self.table.files:
            return super()._has(index, task)
        return int(self.table.group[index]) in self._class_of_group

    def _present(self, task: str) -> NDArray[np.bool_]:
        if task in self.table.files:
            return super()._present(task)
        return np.isin(self.table.group, list(self._class_of_group))


def class_names(labels: Mapping[str, str]) -> tuple[str, ...]:
    """List the classes letter by letter, as torchvision's ImageFolder numbers them."""
    return tuple(sorted(set(labels.values())))


def _choose_layout(
    stated: str | None, files: ListedFiles, tree: FileTree, root: str, options: TaskOptions
) -> Layout:
    if stated is None and (found := recognise(files.all(), root)) is not None:
        return found
    if stated in PUBLISHED:
        found = PUBLISHED[stated](files.all())
        if found is None:
            raise UsageError(f"--layout {stated}: {root} does not look like that")
        return found
    if not files.readable:
        raise nothing_found("folder", f"no image under {root}{files.seen()}", LOOKED_FOR, tree)
    named = {*options.named(), *map(spelled, options.tasks or ())}
    if stated is not None:
        return stated_layout(stated, files.readable, LAYOUTS, named)
    return tell_layout(files.readable, root, named)


def _shared_notes(built: PlacedFiles, table: FileTable) -> list[str]:
    names = sorted(built.shared & set(table.files))
    return [f"one file for all frames: {', '.join(names)}"] if names else []


def _check_twins(built: PlacedFiles, wanted: Sequence[str]) -> None:
    for task, what in built.twins.items():
        if task in wanted:
            others = [name for name in built.table.files if name not in built.twins]
            more = f"; or name the tasks you want with --tasks {','.join(others)}" if others else ""
            raise UsageError(what + more)


def _meanings(
    tree: FileTree,
    table: FileTable,
    layout: Layout,
    options: TaskOptions,
    fields: Collection[str],
) -> list[Meaning]:
    found = []
    for name in sorted(table.files, key=lambda name: (name in fields, *_task_order(name))):
        where = tree.where(table.some_paths(name, 1)[0])
        stated = options.stated(name, layout.known.get(name, Stated()))
        if stated.kind in SHAPED:
            found.append(matrix_meaning(tree, table, name, stated.kind))
            continue
        if _is_value(name, stated, table, fields):
            found.append(field_meaning(tree, table, name, stated))
            continue
        evidence = probe_task(tree, table, name, stated.invalid or ())
        if evidence.alpha:
            where = example_of(tree, table, name)
        check_invalid(name, evidence, options.invalid, where)
        meaning = decide(name, evidence, stated, where)
        found.append(meaning)
        if evidence.alpha and options.alpha == "mask" and meaning.conversion.alpha == "drop":
            found.append(alpha_meaning(meaning))
            table.files[f"{name}{ALPHA}"] = table.files[name]
    return found


def _is_value(name: str, stated: Stated, table: FileTable, fields: Collection[str]) -> bool:
    """Tell whether the files of a task are kept as they are, or are one value each."""
    if name in fields:
        return stated.kind in (None, *OF_TEXT)
    if stated.kind == "bytes":
        return True
    return stated.kind in BLOB_KINDS and not can_read(table.some_paths(name, 1)[0])


def _task_order(name: str) -> tuple[int, tuple[str, str]]:
    kinds = ("rgb", "image", "depth", "normal", "label")
    kind = kind_of_name(name)
    return (kinds.index(kind) if kind in kinds else len(kinds)), natural_order(name)


def _class_meaning(names: tuple[str, ...]) -> Meaning:
    task = Task(
        name=CLASS_TASK,
        kind=TaskKind.CLASS,
        dtype="int64",
        channels=0,
        valid_range=(0, len(names) - 1),
        classes=tuple(map(printable, names)),
    )
    return Meaning(task, f"directories, {len(names)} classes in the order of their names")
