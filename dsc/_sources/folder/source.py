"""Folders of files, one file a task and sample: ``folder``.

The layout is recognised from names: a published one (`dsc._sources.folder.published`) or a
general one (`dsc._sources.folder.layouts`), or stated with ``--layout``. What a task's values mean
is told from its name and from some of its files, see `dsc._sources.meaning.kinds`; `kinds`,
`depth_unit` and the like say it outright. Only the tasks that are asked for are judged. Everything
that is there is read, or is listed in `FolderSource.left_out` with the reason.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import LeftOut, Task, TaskKind
from dsc._schemas.task import spelled
from dsc._sources.file_source import FileSource, example_of, probe_task
from dsc._sources.files.listing import FileTree, nothing_found
from dsc._sources.files.passed_over import PassedOver, ending_of, printable
from dsc._sources.folder.layouts import (
    STRAY,
    Aside,
    Layout,
    Listing,
    Place,
    stated_layout,
    tell_layout,
)
from dsc._sources.folder.published import PUBLISHED, recognise
from dsc._sources.formats import can_read
from dsc._sources.meaning.evidence import Evidence
from dsc._sources.meaning.kinds import (
    ALPHA,
    Meaning,
    Stated,
    alpha_meaning,
    decide,
    is_task_word,
    kind_of_name,
    task_name,
)
from dsc._sources.meaning.options import Options, unwanted, wanted_tasks
from dsc._sources.table import WHOLE, FileTable, TableBuilder, natural_order
from dsc.errors import UsageError

LAYOUTS = ("directories", "split-directories", "suffixes", "classes", *PUBLISHED)
LOOKED_FOR = (
    "rgb/0001.jpg with depth/0001.png",
    "0001.color.jpg with 0001.depth.png",
    "photographs such as 0001.jpg",
)
CLASS_TASK = "class_label"
MATRIX_ENDINGS = (".txt",)
MATRIX_TASKS = ("pose", "extrinsic", "intrinsic", "matrix", "transform")
ARRAY_ENDINGS = (".h5", ".hdf5")
HOLDERS = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar", *ARRAY_ENDINGS, ".mat", ".lmdb")
UNREAD_PICTURES = (
    ".heic", ".heif", ".jp2", ".j2k", ".hdr", ".dng", ".cr2", ".nef", ".arw", ".psd", ".raw",
    ".dcm", ".nii", ".fits",
)  # fmt: skip


class FolderSource(FileSource):
    """A folder of files, opened.

    Parameters
    ----------
    labels
        Name of the class by group, where the layout has classes.
    more
        See `FileSource`.
    """

    name: ClassVar[str] = "folder"

    def __init__(
        self, tree: FileTree, table: FileTable, labels: Mapping[str, str], **more: Any
    ) -> None:
        super().__init__(tree, table, **more)
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
            ``{"task": kind}`` with one of `dsc._sources.meaning.kinds.KINDS`.
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
        options = Options.parse(depth_unit, file_unit, kinds, invalid, alpha, tasks, ignore)
        tree = FileTree(root)
        tree.require_root(cls.name, root)
        left_out: list[LeftOut] = []
        files = Files.of(tree.walk(left_out), options)
        chosen = _choose_layout(layout, files, str(root), options)
        built = build(chosen, files)
        wanted = wanted_tasks(options, built.tasks)
        _check_twins(built, wanted)
        _check_named(options, built.table)
        table = built.table.without([name for name in built.table.files if name not in wanted])
        left_out = [
            *options.excuse(left_out),
            *built.left_out,
            *unwanted(built.files, wanted, options),
        ]
        if split is not None and table.split_sizes():
            table = table.select(table.rows_of_split(_known_split(split, table)))
        meanings = _meanings(tree, table, chosen, options)
        if built.labels and CLASS_TASK in wanted:
            meanings.append(_class_meaning(class_names(built.labels)))
        return cls(
            tree,
            table,
            built.labels,
            meanings=meanings,
            options={**options.to_json(), "layout": chosen.name, "split": split},
            left_out=left_out,
            notes=[f"layout {chosen.name}: {chosen.why}", *_idle(options, left_out)],
        )

    def _read_task(self, index: int, task: Task, key: str) -> tuple[NDArray[Any], int] | None:
        if task.name in self.table.files:
            return super()._read_task(index, task, key)
        number = self._class_of_group.get(int(self.table.group[index]))
        if number is None:
            return None
        label = np.array(number, task.dtype)
        return label, label.nbytes

    def _has(self, index: int, task: str) -> bool:
        if task in self.table.files:
            return super()._has(index, task)
        return int(self.table.group[index]) in self._class_of_group

    def _present(self, task: str) -> NDArray[np.bool_]:
        if task in self.table.files:
            return super()._present(task)
        return np.isin(self.table.group, list(self._class_of_group))


@dataclass(frozen=True)
class Files:
    """The files below a root, by directory.

    Attributes
    ----------
    readable
        Those whose ending says a format of pictures or arrays: a layout is told from these.
    others
        The rest, of which a layout may still take small matrices and single arrays.
    ignored
        Those that an option leaves out, with its pattern.
    """

    readable: dict[str, list[str]]
    others: dict[str, list[str]]
    ignored: dict[str, list[str]]

    @classmethod
    def of(cls, walk: Iterable[tuple[str, list[str]]], options: Options) -> Self:
        """Sort the files that a tree has."""
        sorted_out: tuple[dict[str, list[str]], ...] = ({}, {}, {})
        for directory, names in walk:
            head = f"{directory}/" if directory else ""
            for name in names:
                pattern = options.ignores(f"{head}{name}") if options.ignore else None
                kind = 2 if pattern else 0 if can_read(name) else 1
                where = directory if kind < 2 else str(pattern)
                found = name if kind < 2 else f"{head}{name}"
                sorted_out[kind].setdefault(where, []).append(found)
        return cls(*sorted_out)

    def all(self) -> dict[str, list[str]]:
        """Return every file that no option leaves out: published layouts know those beside, too."""
        there = dict.fromkeys([*self.readable, *self.others])
        return {
            directory: [*self.readable.get(directory, ()), *self.others.get(directory, ())]
            for directory in there
        }

    def seen(self) -> str:
        """Say what there is where nothing can be read."""
        endings = Counter(ending_of(name) for names in self.others.values() for name in names)
        found = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(4))
        return f" (there: {found})" if found else ""


@dataclass(frozen=True)
class Built:
    """What a layout makes of the files: the table, classes by group, and what it leaves out.

    `files` counts the files of every task; `twins` says, by task, which two claim one sample.
    """

    table: FileTable
    labels: dict[str, str]
    left_out: list[LeftOut]
    files: dict[str, int]
    twins: dict[str, str]

    @property
    def tasks(self) -> list[str]:
        """Every task that was found."""
        return [*self.table.files, *([CLASS_TASK] if self.labels else [])]


def build(layout: Layout, files: Files) -> Built:
    """Put every file that has a place into the table, and list the others with the reason."""
    labels, rest = dict[str, str](), PassedOver()
    placed = _place_pictures(layout, files.readable, labels, rest)
    placed += _place_others(layout, files.others, [place for place, _ in placed], rest)
    builder = TableBuilder()
    for place, path in _joined(layout, placed, rest):
        head, tail = _template(path, place.stem)
        builder.add(place.group, place.stem, place.task, head, tail, place.split)
    for pattern, paths in files.ignored.items():
        for path in paths:
            rest.add_file(path, f"--ignore {pattern}")
    table = builder.build(strict=False)
    return Built(table, labels, rest.left_out(), builder.counts(), builder.twins)


def _sample(place: Place) -> tuple[str, str]:
    return place.group, place.stem


def _place_pictures(
    layout: Layout, readable: Listing, labels: dict[str, str], rest: PassedOver
) -> list[tuple[Place, str]]:
    """Place the files that can be read; `labels` gets the class of every group that has one."""
    placed: list[tuple[Place, str]] = []
    for directory, name, path in _paths(readable):
        place = layout.place(directory, name)
        if not isinstance(place, Place):
            rest.add_file(path, *((place.why, place.task) if place else (STRAY,)))
            continue
        if place.label is not None:
            labels[place.group] = place.label
        placed.append((place, path))
    return placed


def _place_others(
    layout: Layout, others: Listing, pictures: Sequence[Place], rest: PassedOver
) -> list[tuple[Place, str]]:
    """Place small matrices and single arrays of samples that are there.

    What is left may look like a task; beside a picture of the same task (``rgb/1.txt``), like one
    of its own.
    """
    placed: list[tuple[Place, str]] = []
    samples = {_sample(place) for place in pictures}
    taken = {(place.task, *_sample(place)) for place in pictures}
    tasks = {place.task for place in pictures}
    by_task = _by_task(layout, others, rest)
    for place, path in itertools.chain.from_iterable(by_task.values()):
        if place is not None and path.endswith(layout.arrays):
            samples.add(_sample(place))
    for task, found in by_task.items():
        fits = sum(_sample(place) in samples for place, _ in found if place)
        like = bool(task) and (fits > 0 or (_is_named(task) and 2 * len(found) >= len(samples)))
        for place, path in found:
            if place and _sample(place) in samples and _may_hold(task, path, layout):
                placed.append((place, path))
            elif place and fits and _may_hold(task, path, layout):
                rest.add_file(path, f"{task} of a sample that has nothing else")
            else:
                rest.add_file(path, _why_not(path), _looks_like(place, path, tasks, taken, like))
    return placed


def _looks_like(
    place: Place | None,
    path: str,
    tasks: Collection[str],
    taken: Collection[tuple[str, str, str]],
    like: bool,
) -> str:
    """Return the task that a file which is not read looks like, ``""`` for none.

    `like` says whether the other files of its task do. ``depth.zip`` looks like a task where no
    directory is one of that name; a picture of a format that is not read, always.
    """
    ending = ending_of(path).lower()
    name = path.rpartition("/")[2]
    if ending in HOLDERS and is_task_word(name.partition(".")[0]):
        held = task_name(name.partition(".")[0])
        if held not in tasks and kind_of_name(held) not in ("rgb", "image"):
            return held
    if place is None or not (like or ending in UNREAD_PICTURES):
        return ""
    beside = (place.task, *_sample(place)) in taken or ending in UNREAD_PICTURES
    return spelled(place.task + ending) if beside else place.task


def _joined(
    layout: Layout, placed: list[tuple[Place, str]], rest: PassedOver
) -> list[tuple[Place, str]]:
    """Join samples as the layout says; what then has no partner is left out."""
    if layout.pair is None:
        return placed
    kept = list(layout.pair(placed))
    there = {path for _, path in kept}
    for place, path in placed:
        if path not in there:
            rest.add_file(path, "has no partner", place.task)
    return kept


def _by_task(
    layout: Layout, others: Listing, rest: PassedOver
) -> dict[str, list[tuple[Place | None, str]]]:
    """Sort files that are no pictures by the task of their place, ``""`` where they have none.

    What the layout leaves aside goes to the rest.
    """
    found: dict[str, list[tuple[Place | None, str]]] = {}
    for directory, name, path in _paths(others):
        place = layout.place(directory, name)
        if isinstance(place, Aside):
            rest.add_file(path, place.why, place.task)
            continue
        found.setdefault(place.task if place else "", []).append((place, path))
    return found


def _paths(listing: Listing) -> Iterator[tuple[str, str, str]]:
    for directory, names in listing.items():
        for name in names:
            yield directory, name, f"{directory}/{name}" if directory else name


def _may_hold(task: str, name: str, layout: Layout) -> bool:
    """Tell whether a file may hold its task though it is no picture: a matrix, a single array."""
    ending = ending_of(name).lower()
    if ending in layout.arrays:
        return True
    if ending in MATRIX_ENDINGS:
        return any(word in task for word in MATRIX_TASKS)
    return ending in ARRAY_ENDINGS and _is_named(task)


def _is_named(task: str) -> bool:
    return is_task_word(task) and task != "rgb"


def class_names(labels: Mapping[str, str]) -> tuple[str, ...]:
    """List the classes letter by letter, as torchvision's ImageFolder numbers them."""
    return tuple(sorted(set(labels.values())))


def _choose_layout(stated: str | None, files: Files, root: str, options: Options) -> Layout:
    if stated is None and (found := recognise(files.all(), root)) is not None:
        return found
    if stated in PUBLISHED:
        found = PUBLISHED[stated](files.all())
        if found is None:
            raise UsageError(f"--layout {stated}: {root} does not look like that")
        return found
    if not files.readable:
        raise nothing_found("folder", f"no image under {root}{files.seen()}", LOOKED_FOR)
    named = {*options.named(), *map(spelled, options.tasks or ())}
    if stated is not None:
        return stated_layout(stated, files.readable, LAYOUTS, named)
    return tell_layout(files.readable, root, named)


def _idle(options: Options, left_out: Sequence[LeftOut]) -> list[str]:
    """Say which --ignore leaves out nothing: it may be misspelt."""
    reasons = " ".join(one.reason for one in left_out)
    return [
        f"--ignore {pattern}: nothing here is called that"
        for pattern in options.ignore
        if f"--ignore {pattern}" not in reasons
    ]


def _template(path: str, stem: str) -> tuple[str, str]:
    head, found, tail = path.rpartition(stem) if stem else ("", "", path)
    return (head, tail) if found and stem and "/" not in tail else (path, WHOLE)


def _why_not(name: str) -> str:
    ending = ending_of(name)
    if ending.lower() in MATRIX_ENDINGS:
        return "text that is no matrix of a sample"
    return f"{ending} is no format that is read" if ending.startswith(".") else "no known ending"


def _check_twins(built: Built, wanted: Sequence[str]) -> None:
    for task, what in built.twins.items():
        if task in wanted:
            others = [name for name in built.table.files if name not in built.twins]
            more = f"; or name the tasks you want with --tasks {','.join(others)}" if others else ""
            raise UsageError(what + more)


def _check_named(options: Options, table: FileTable) -> None:
    unknown = {name for name in options.named() if name not in table.files}
    if unknown:
        raise UsageError(
            f"no task {', '.join(sorted(unknown))} here; found: {', '.join(sorted(table.files))}"
        )


def _check_invalid(name: str, found: Evidence, options: Options, where: str) -> None:
    """Refuse a value that no file can hold: it would stand for those that do mean nothing."""
    if found.dtype == "bool" or found.is_float:
        return
    info = np.iinfo(found.dtype)
    for value in (options.invalid or {}).get(name, ()):
        if not info.min <= value <= info.max:
            raise UsageError(
                f"--invalid {name}={value}: {where} holds {found.dtype} values, {info.min} to "
                f"{info.max}"
            )


def _known_split(split: str, table: FileTable) -> str:
    sizes = table.split_sizes()
    if split not in sizes:
        raise UsageError(f"--split {split}: found are {', '.join(name or '-' for name in sizes)}")
    return split


def _meanings(tree: FileTree, table: FileTable, layout: Layout, options: Options) -> list[Meaning]:
    found = []
    for name in sorted(table.files, key=_task_order):
        where = tree.where(table.some_paths(name, 1)[0])
        stated = options.stated(name, layout.known.get(name, Stated()))
        evidence = probe_task(tree, table, name, stated.invalid or ())
        if evidence.alpha:
            where = example_of(tree, table, name)
        _check_invalid(name, evidence, options, where)
        meaning = decide(name, evidence, stated, where)
        found.append(meaning)
        if evidence.alpha and options.alpha == "mask" and meaning.reading.alpha == "drop":
            found.append(alpha_meaning(meaning))
            table.files[f"{name}{ALPHA}"] = table.files[name]
    return found


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
