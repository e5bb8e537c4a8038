"""Puts the files of a folder into the table of samples, as its layout says.

Pictures go where the layout places them. What is no picture is taken only where it belongs to a
sample that is there: small matrices as text, single arrays, and any other file as a field of its
own (`dsc._sources.folder.fields`), but for formats that hold pictures which are not read.
Everything else is left out, with the reason and, where it looks like one, the task.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from dsc._files.directories import join_path
from dsc._files.formats import can_read
from dsc._files.passed_over import PassedOver, ending_of
from dsc._schemas import LeftOut
from dsc._schemas.task import spelled
from dsc._sources.file_table import WHOLE, FileTable, TableBuilder
from dsc._sources.folder.fields import has_known_family, is_bare, name_fields, of_sample
from dsc._sources.folder.layout import STRAY, FilePlace, Layout, Listing, SetAside, SharedPlace
from dsc._sources.meaning.names import is_task_word, kind_of_name, task_name
from dsc._sources.meaning.options import TaskOptions

CLASS_TASK = "class_label"
MATRIX_ENDINGS = (".txt",)
MATRIX_TASKS = ("pose", "extrinsic", "intrinsic", "matrix", "transform")
ARRAY_ENDINGS = (".h5", ".hdf5")
HOLDERS = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar", *ARRAY_ENDINGS, ".mat", ".lmdb")
UNREAD_PICTURES = (
    ".heic", ".heif", ".jp2", ".j2k", ".hdr", ".dng", ".cr2", ".nef", ".arw", ".psd", ".raw",
    ".dcm", ".nii", ".fits",
)  # fmt: skip


@dataclass(frozen=True)
class ListedFiles:
    """The files below a root, by directory.

    Attributes
    ----------
    readable
        Those whose ending says a format of pictures or arrays: a layout is told from these.
    others
        The rest, of which a layout may still take small matrices and single arrays.
    ignored
        Whole paths of those that the user leaves out, by the pattern that does it.
    """

    readable: dict[str, list[str]]
    others: dict[str, list[str]]
    ignored: dict[str, list[str]]

    @classmethod
    def of(cls, walk: Iterable[tuple[str, list[str]]], options: TaskOptions) -> Self:
        """Sort the files that a walk finds, less those that the user leaves out."""
        found = cls({}, {}, {})
        for directory, names in walk:
            head = f"{directory}/" if directory else ""
            for name in names:
                pattern = options.ignores(f"{head}{name}") if options.ignore else None
                if pattern:
                    found.ignored.setdefault(pattern, []).append(f"{head}{name}")
                else:
                    kind = found.readable if can_read(name) else found.others
                    kind.setdefault(directory, []).append(name)
        return found

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
class PlacedFiles:
    """What a layout makes of the files: the table, classes by group, and what it leaves out.

    Attributes
    ----------
    table
        The samples and their files.
    labels
        Name of the class by group, where the layout has classes.
    left_out
        What has no place, or cannot be read, with the reason.
    files
        Number of files by task, twins and all.
    twins
        By task, which two files claim one sample, in words for people.
    fields
        The tasks whose files are neither pictures nor arrays.
    shared
        The tasks of which one file is that of many samples.
    """

    table: FileTable
    labels: dict[str, str]
    left_out: list[LeftOut]
    files: dict[str, int]
    twins: dict[str, str]
    fields: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()

    @property
    def tasks(self) -> list[str]:
        """Every task that was found."""
        return [*self.table.files, *([CLASS_TASK] if self.labels else [])]


def place_files(layout: Layout, files: ListedFiles, kept: Collection[str] = ()) -> PlacedFiles:
    """Put every file that has a place into the table, and list the others with the reason.

    `kept` are tasks whose files are to be taken as they are, of whatever format.
    """
    labels, rest = dict[str, str](), PassedOver()
    others, shared = _part_shared(layout, files.others)
    placed = _place_pictures(layout, files.readable, labels, rest)
    placed += _place_others(layout, others, [place for place, _ in placed], rest, kept)
    fields = _place_fields(layout, others, placed, rest, kept)
    placed += fields
    joined = _joined(layout, placed, rest)
    builder = TableBuilder()
    for place, path in joined:
        head, tail = _template(path, place.stem)
        builder.add(place.group, place.stem, place.task, head, tail, place.split)
    for place, path in _share(shared, [place for place, _ in joined], rest):
        builder.add(place.group, place.stem, place.task, path, WHOLE, place.split)
    for pattern, paths in files.ignored.items():
        for path in paths:
            rest.add_file(path, f"--ignore {pattern}")
    table = builder.build(strict=False)
    return PlacedFiles(
        table,
        labels,
        rest.left_out(),
        builder.counts(),
        builder.twins,
        frozenset(place.task for place, _ in fields),
        frozenset(place.task for place, _ in shared),
    )


def _part_shared(layout: Layout, others: Listing) -> tuple[Listing, list[tuple[SharedPlace, str]]]:
    """Part files that many samples share from the others."""
    if layout.shared is None:
        return others, []
    own: dict[str, list[str]] = {}
    shared: list[tuple[SharedPlace, str]] = []
    for directory, name, path in _paths(others):
        place = layout.shared(directory, name)
        if place is None:
            own.setdefault(directory, []).append(name)
        else:
            shared.append((place, path))
    return own, shared


def _share(
    shared: Sequence[tuple[SharedPlace, str]], samples: Sequence[FilePlace], rest: PassedOver
) -> Iterator[tuple[FilePlace, str]]:
    """Give each sample the file that lies nearest above it, of each task that is shared."""
    by_group: dict[str, dict[str, list[str]]] = {}
    for place, path in shared:
        by_group.setdefault(place.group, {}).setdefault(place.task, []).append(path)
    used = set[str]()
    found: dict[str, dict[str, list[str]]] = {}
    seen = set[tuple[str, str]]()
    for sample in samples if shared else ():
        if (key := _sample(sample)) in seen:
            continue
        seen.add(key)
        if sample.group not in found:
            above = [by_group.get(group, {}) for group in _above(sample.group)]
            found[sample.group] = {task: paths for own in above for task, paths in own.items()}
        for task, paths in found[sample.group].items():
            used.update(paths)
            yield from ((replace(sample, task=task), path) for path in paths)
    for place, path in shared:
        if path not in used:
            rest.add_file(path, "of samples that are not there", place.task)


def _above(group: str) -> list[str]:
    """List a group and the directories above it, the outermost first."""
    parts = group.split("/") if group else []
    return ["/".join(parts[:end]) for end in range(len(parts) + 1)]


def _sample(place: FilePlace) -> tuple[str, str]:
    return place.group, place.stem


def _place_pictures(
    layout: Layout, readable: Listing, labels: dict[str, str], rest: PassedOver
) -> list[tuple[FilePlace, str]]:
    """Place the files that can be read; `labels` gets the class of every group that has one."""
    placed: list[tuple[FilePlace, str]] = []
    for directory, name, path in _paths(readable):
        place = layout.place(directory, name)
        if not isinstance(place, FilePlace):
            rest.add_file(path, *((place.why, place.task) if place else (STRAY,)))
            continue
        if place.label is not None:
            labels[place.group] = place.label
        placed.append((place, path))
    return placed


def _place_others(
    layout: Layout,
    others: Listing,
    pictures: Sequence[FilePlace],
    rest: PassedOver,
    kept: Collection[str],
) -> list[tuple[FilePlace, str]]:
    """Place small matrices and single arrays of samples that are there.

    What is left may look like a task; beside a picture of the same task (``rgb/1.txt``), like one
    of its own.
    """
    placed: list[tuple[FilePlace, str]] = []
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
            elif (
                place
                and (owned := of_sample(layout, place, path, samples))
                and _is_field(layout, owned, path, kept)
            ):
                continue
            elif (
                place
                and fits
                and (_may_hold(task, path, layout) or _is_field(layout, place, path, kept))
            ):
                rest.add_file(path, f"{task} of a sample that has nothing else")
            else:
                looks = _looks_like(place, path, tasks, taken, like)
                why = f"; --kinds {looks}=bytes keeps such files as they are" if looks else ""
                rest.add_file(path, _why_not(path) + why, looks)
    return placed


def _place_fields(
    layout: Layout,
    others: Listing,
    placed: Sequence[tuple[FilePlace, str]],
    rest: PassedOver,
    kept: Collection[str],
) -> list[tuple[FilePlace, str]]:
    """Place the files that are fields of samples which are there."""
    samples = {_sample(place) for place, _ in placed}
    there = {path for _, path in placed}
    found = [
        (place, path)
        for directory, name, path in _paths(others)
        if path not in there
        and isinstance(placed_at := layout.place(directory, name), FilePlace)
        and (place := of_sample(layout, placed_at, path, samples)) is not None
        and _is_field(layout, place, path, kept)
    ]
    named, unnamed = name_fields(layout, found, placed)
    for path in unnamed:
        rest.add_file(path, "its task has no name that can be spelled; rename it")
    return named


def _is_field(layout: Layout, place: FilePlace, path: str, kept: Collection[str]) -> bool:
    """Tell whether a file may be a field of a sample: no picture or array that cannot be read."""
    ending = ending_of(path).lower()
    if not {place.task, spelled(place.task + ending)}.isdisjoint(kept):
        return True
    if ending in (*HOLDERS, *UNREAD_PICTURES):
        return False
    may_be_map = kind_of_name(place.task) is not None and not is_bare(layout, place, path)
    return not may_be_map or has_known_family(path)


def _looks_like(
    place: FilePlace | None,
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
    layout: Layout, placed: list[tuple[FilePlace, str]], rest: PassedOver
) -> list[tuple[FilePlace, str]]:
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
) -> dict[str, list[tuple[FilePlace | None, str]]]:
    """Sort files that are no pictures by the task of their place, ``""`` where they have none.

    What the layout leaves aside goes to the rest.
    """
    found: dict[str, list[tuple[FilePlace | None, str]]] = {}
    for directory, name, path in _paths(others):
        place = layout.place(directory, name)
        if isinstance(place, SetAside):
            rest.add_file(path, place.why, place.task)
            continue
        found.setdefault(place.task if place else "", []).append((place, path))
    return found


def _paths(listing: Listing) -> Iterator[tuple[str, str, str]]:
    for directory, names in listing.items():
        for name in names:
            yield directory, name, join_path(directory, name)


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


def _template(path: str, stem: str) -> tuple[str, str]:
    head, found, tail = path.rpartition(stem) if stem else ("", "", path)
    return (head, tail) if found and stem and "/" not in tail else (path, WHOLE)


def _why_not(name: str) -> str:
    ending = ending_of(name)
    if ending.lower() in MATRIX_ENDINGS:
        return "text that is no matrix of a sample"
    return f"{ending} is no format that is read" if ending.startswith(".") else "no known ending"
