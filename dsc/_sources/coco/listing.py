"""Joins annotation files and the images below a root to a table of samples.

A sample is an image of a group (``val2017``); files of one group (instances, captions, ...) list
the same images by the same ids, perhaps in another order. Samples come in the order of the first
file, instances where there are such.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._files.directories import join_path
from dsc._files.formats import can_read
from dsc._files.passed_over import PassedOver
from dsc._files.tree import FileTree
from dsc._schemas import LeftOut
from dsc._sources.coco.names import base_and_group, split_names
from dsc._sources.coco.scan import ScannedFile, looks_like_coco, scan
from dsc._sources.file_table import WHOLE, FileTable
from dsc._sources.keys import group_prefix, natural_order, split_rank
from dsc._sources.meaning.options import TaskOptions
from dsc.errors import UsageError

IMAGE, INFO = "image", "image_info"
SEGMENTS = "_segments"
PIXELMAPS = "_pixelmaps"
FIRST = ("instances", "annotations")
NONE = -1


@dataclass
class AnnotationFile:
    """One annotation file, and what of it belongs to which sample.

    Attributes
    ----------
    base
        What its tasks are called after: ``instances``.
    scanned
        Where everything stands in it; ids and entries are let go of.
    group
        Label of its group.
    image_row
        (N,) int32: the sample of each image of the file.
    place
        By sample, its image's place in the file: (samples,) int32, -1 where it is not listed.
    by_sample, bounds
        Places of annotations, sample by sample, and (samples + 1,) where each sample's begin.
    rows
        The samples of its group.
    """

    path: str
    base: str
    group: str
    scanned: ScannedFile
    image_row: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    place: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    by_sample: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    bounds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    rows: slice = field(default_factory=lambda: slice(0, 0))

    @property
    def task(self) -> str | None:
        """Name of the task that the annotations are; None where the file has no list of them.

        Where they speak of maps (a panoptic file), the maps are called so themselves.
        """
        if not self.scanned.has_annotations:
            return None
        return f"{self.base}{SEGMENTS}" if self.scanned.map_names else self.base

    def has(self, row: int) -> bool:
        """Tell whether the file speaks of a sample."""
        return bool(self.place[row] != NONE or self.bounds[row + 1] > self.bounds[row])

    def there(self) -> NDArray[np.bool_]:
        """Tell of which samples the file speaks: (samples,) bool."""
        found: NDArray[np.bool_] = (self.place != NONE) | (np.diff(self.bounds) > 0)
        return found

    def places(self, row: int) -> NDArray[np.int32]:
        """Return the places of a sample's annotations in the file, in its order."""
        return self.by_sample[self.bounds[row] : self.bounds[row + 1]]

    def keeps_order(self) -> bool:
        """Tell whether samples one after the other give the order of images and annotations."""
        if ((np.diff(self.bounds) > 0) & (self.place == NONE)).any():
            return False  # annotations of an image that is listed in another file only
        images = bool((np.diff(self.image_row) > 0).all())
        return images and bool((np.diff(self.by_sample) > 0).all())


@dataclass
class Group:
    """The images of one group, in order, and the files that speak of them.

    Attributes
    ----------
    name
        ``val2017``; empty where no file's name says one.
    ids
        Number of each image in the group, by its id.
    names, sizes, digests
        Of each image: ``file_name``, (height, width) and a hash of its entry.
    label
        What its samples are called after: the name, or some other word where there are several
        groups and this one has none.
    """

    name: str
    label: str = ""
    files: list[AnnotationFile] = field(default_factory=list)
    ids: dict[Any, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int] | None] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)


@dataclass
class CocoListing:
    """Everything that was found below a root.

    Attributes
    ----------
    table
        Samples, and the files of those tasks that are pictures, as far as they are there.
    missing
        By task, paths of files that annotations speak of and that are not there, by sample.
    files
        Annotation files, with rows of the table.
    info
        By sample, which file its ``image_info`` is taken from: (samples,) int32 into `files`.
    others
        By base, samples whose entry in that file says something else: (samples,) bool.
    sizes
        By sample, height and width as its entry says; -1 where it does not.
    """

    table: FileTable
    missing: dict[str, dict[int, str]]
    files: list[AnnotationFile]
    info: NDArray[np.int32]
    others: dict[str, NDArray[np.bool_]]
    sizes: NDArray[np.int32]
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class PicturesBelow:
    """The pictures below a root, found by name; where several have it, by their directories."""

    def __init__(self, listing: Mapping[str, Sequence[str]]) -> None:
        self._directories: dict[str, list[str]] = defaultdict(list)
        for directory, names in listing.items():
            for name in names:
                if can_read(name):
                    self._directories[name].append(directory)
        self.used: set[str] = set()

    def find(
        self, file_name: str, likely: Sequence[str], is_other: Callable[[str, str], bool]
    ) -> str | None:
        """Return the path of a file that annotations call so; None where there is none.

        Parameters
        ----------
        likely
            Names of directories that it probably lies in, the likeliest first.
        is_other
            Tells of a directory and a path in it that it is something else.
        """
        inner, _, name = file_name.replace("\\", "/").rpartition("/")
        fitting = [
            directory
            for directory in self._directories.get(name, ())
            if f"/{directory}".endswith(f"/{inner}" if inner else "")
            and not is_other(directory, join_path(directory, name))
        ]
        if not fitting:
            return None
        path = join_path(min(fitting, key=lambda directory: _rank(directory, likely)), name)
        self.used.add(path)
        return path

    def take(self, path: str) -> bool:
        """Tell whether a picture is there, and note that it is some task's."""
        directory, _, name = path.rpartition("/")
        found = directory in self._directories.get(name, ())
        self.used.update([path] * found)
        return found

    def unused(self) -> Iterator[str]:
        """Yield the paths of pictures that nobody asked for."""
        for name, directories in self._directories.items():
            for directory in directories:
                path = join_path(directory, name)
                if path not in self.used:
                    yield path


def _rank(directory: str, likely: Sequence[str]) -> tuple[int, int, str]:
    parts = directory.split("/")
    near = next((n for n, name in enumerate(likely) if name in parts), len(likely))
    return near, len(parts), directory


def list_coco(tree: FileTree, options: TaskOptions, split: str | None = None) -> CocoListing:
    """List what lies below a root.

    Parameters
    ----------
    split
        A split, or a group, that alone is wanted.

    Raises
    ------
    UsageError
        When two files claim the same, disagree about an image, or no such split is there.
    SampleError
        When an annotation file is damaged.
    """
    left_out: list[LeftOut] = []
    listing = dict(tree.walk(left_out))
    rest = PassedOver()
    files = _annotation_files(tree, listing, options, rest)
    groups = _grouped(files, tree)
    left_out += _without_image(groups)
    found = _Lister(tree, listing, groups, options, rest).listing(split)
    found.left_out = [*options.excuse([*left_out, *found.left_out]), *rest.left_out()]
    return found


def _annotation_files(
    tree: FileTree,
    listing: Mapping[str, Sequence[str]],
    options: TaskOptions,
    rest: PassedOver,
) -> list[AnnotationFile]:
    found: dict[tuple[str, str], AnnotationFile] = {}
    for directory, names in listing.items():
        for name in names:
            path = join_path(directory, name)
            pattern = options.ignores(path) if options.ignore else None
            if pattern and not can_read(name):
                rest.add_file(path, f"--ignore {pattern}")
            elif name.lower().endswith(".json"):
                data = tree.read(path)
                scanned = scan(data, tree.where(path)) if looks_like_coco(data) else None
                if scanned is None:
                    rest.add_file(path, "JSON that lists no images")
                    continue
                base, group = base_and_group(path)
                if base in (IMAGE, INFO) and scanned.has_annotations:
                    base += "_annotations"
                one = AnnotationFile(path, base, group, scanned)
                twin = found.setdefault((one.base, one.group), one)
                if twin is not one:
                    raise UsageError(
                        f"{tree.where(twin.path)} and {tree.where(path)} are both {one.base} of "
                        f"{one.group or 'the same images'}; leave one out with --ignore"
                    )
            elif not can_read(name):
                rest.add_file(path, "no annotations and no picture")
    return sorted(found.values(), key=_file_order)


def _file_order(one: AnnotationFile) -> tuple[int, tuple[str, str]]:
    known = FIRST.index(one.base) if one.base in FIRST else len(FIRST)
    return known, natural_order(one.base)


def _grouped(files: Sequence[AnnotationFile], tree: FileTree) -> list[Group]:
    """Give the images of each group numbers, in the order of its first file."""
    groups: dict[str, Group] = {}
    for one in files:
        group = groups.setdefault(one.group, Group(one.group))
        rows = []
        for entry in one.scanned.images:
            row = group.ids.setdefault(entry.id, len(group.names))
            rows.append(row)
            if row == len(group.names):
                group.names.append(entry.file_name)
                group.sizes.append(entry.size)
                group.digests.append(entry.digest)
            elif group.names[row] != entry.file_name:
                raise UsageError(
                    f"{tree.where(one.path)}: image {entry.id!r} is {entry.file_name}, and "
                    f"{group.names[row]} in {group.files[0].path}; annotations of one image would "
                    "be another's: repair one of the files, or leave it out with --ignore"
                )
        one.image_row = np.array(rows, np.int32)
        group.files.append(one)
    for group in groups.values():
        group.label = group.name or ("_" if len(groups) > 1 else "")
        for one in group.files:
            one.group = group.label
    return list(groups.values())


def _without_image(groups: Sequence[Group]) -> Iterator[LeftOut]:
    """Yield the annotations of images that no file lists: no sample can have them."""
    for group in groups:
        for one in group.files:
            lost = [id_ for id_ in one.scanned.image_ids if id_ not in group.ids]
            if lost:
                some = ", ".join(map(str, dict.fromkeys(lost[:3])))
                yield LeftOut(
                    what=f"{one.path}: annotations without image",
                    files=len(lost),
                    reason=f"their image_id ({some}) is no image's",
                    task=one.base,
                )


class _Lister:
    """Makes one table of all groups."""

    def __init__(
        self,
        tree: FileTree,
        listing: Mapping[str, Sequence[str]],
        groups: Sequence[Group],
        options: TaskOptions,
        rest: PassedOver,
    ) -> None:
        self._tree, self._options, self._rest = tree, options, rest
        self._pictures = PicturesBelow(listing)
        self._images_found: set[str] = set()
        self._groups = groups
        self._maps = frozenset(_map_directories(one for group in groups for one in group.files))
        self._left_out: list[LeftOut] = []
        self._notes: list[str] = []
        self._templates: dict[tuple[str, str], int] = {}
        self._cells: dict[str, dict[int, int]] = defaultdict(dict)
        self._missing: dict[str, dict[int, str]] = defaultdict(dict)

    def listing(self, split: str | None) -> CocoListing:
        splits = split_names(group.name for group in self._groups)
        paths = {group.name: self._images(group) for group in self._groups}
        self._images_found = set(self._pictures.used)
        for group in self._groups:
            self._find_maps(group)
        kept = [group for group in self._groups if self._is_there(group, paths[group.name])]
        if split is not None and any(splits.values()):
            names = {splits[group.name] for group in kept}
            kept = [group for group in kept if split in (splits[group.name], group.name)]
            if not kept:
                raise UsageError(f"--split {split}: found are {', '.join(sorted(names)) or 'none'}")
        kept.sort(key=lambda group: _split_order(splits[group.name], group.name))
        return self._table(kept, splits, paths)

    def _images(self, group: Group) -> list[str | None]:
        likely = [name for name in (group.name, *_similar(group.name)) if name]
        likely += [one.path.rpartition("/")[0].rpartition("/")[2] for one in group.files]

        def is_map(directory: str, path: str) -> bool:
            return not self._maps.isdisjoint(directory.split("/"))

        return [self._pictures.find(name, likely, is_map) for name in group.names]

    def _is_there(self, group: Group, paths: Sequence[str | None]) -> bool:
        """Tell whether a group has any image; annotations of others often lie beside them."""
        wanted = self._options.tasks
        needs = not self._options.ignores("", IMAGE) and (wanted is None or IMAGE in wanted)
        if any(paths) or not needs or not paths:
            return True
        why = "not one of its images is there"
        self._left_out += [LeftOut(what=one.path, reason=why) for one in group.files]
        return False

    def _find_maps(self, group: Group) -> None:
        """Note which pictures are maps of annotation files, so that no image is taken for one."""
        for one in group.files:
            for name in one.scanned.map_names.values():
                self._map(one, name)

    def _map(self, one: AnnotationFile, name: str) -> str | None:
        def is_image(directory: str, path: str) -> bool:
            return path in self._images_found

        return self._pictures.find(name, (_stem(one), one.base), is_image)

    def _table(
        self, groups: Sequence[Group], splits: Mapping[str, str], paths: Mapping[str, Any]
    ) -> CocoListing:
        rows, names = list[int](), list[str]()
        files: list[AnnotationFile] = []
        info, sizes = list[int](), list[tuple[int, int]]()
        others: dict[str, list[bool]] = defaultdict(list)
        total = sum(len(group.names) for group in groups)
        for at, group in enumerate(groups):
            first = len(names)
            stems = _stems(group.names)
            self._place_images(group, paths[group.name], stems, first)
            names += stems
            rows += [at] * len(stems)
            sizes += [size or (NONE, NONE) for size in group.sizes]
            info += self._settle(group, first, total, len(files), others)
            for one in group.files:
                self._place_maps(one, stems, first)
            files += group.files
        for task in self._missing.keys() - self._cells.keys() - {IMAGE}:
            self._drop_maps(task)
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        table = FileTable(
            tuple(group.label for group in groups),
            tuple(group_prefix(group.label) for group in groups),
            np.array(rows, np.int32),
            b"".join(encoded),
            np.cumsum([0, *map(len, encoded)], dtype=np.int64),
            tuple(self._templates),
            {task: self._column(task, total) for task in self._tasks_of_pictures(total)},
            tuple(splits[group.name] for group in groups),
        )
        _check_keys(table)
        for path in self._pictures.unused():
            pattern = self._options.ignores(path) if self._options.ignore else None
            self._rest.add_file(path, f"--ignore {pattern}" if pattern else "in no annotation file")
        return CocoListing(
            table,
            dict(self._missing),
            files,
            np.array(info, np.int32),
            {name: _padded(found, total) for name, found in others.items()},
            np.array(sizes, np.int32).reshape(-1, 2),
            left_out=self._left_out,
            notes=self._notes,
        )

    def _drop_maps(self, task: str) -> None:
        """Go on without maps of which none is there: people often have the JSON alone."""
        missing = self._missing.pop(task)
        first = missing[min(missing)].rpartition("/")[0]
        why = "its annotations speak of these files, and none is there"
        self._left_out.append(LeftOut(what=f"{first}/*", files=len(missing), reason=why))

    def _tasks_of_pictures(self, total: int) -> list[str]:
        return [task for task in dict.fromkeys((IMAGE, *self._cells, *self._missing)) if total]

    def _column(self, task: str, total: int) -> NDArray[np.int32]:
        column = np.full(total, NONE, np.int32)
        for row, template in self._cells.get(task, {}).items():
            column[row] = template
        return column

    def _place(self, task: str, row: int, stem: str, path: str) -> None:
        head, found, tail = path.rpartition(stem)
        fits = found and "/" not in tail
        template = (head, tail) if fits else (path, WHOLE)
        self._cells[task][row] = self._templates.setdefault(template, len(self._templates))

    def _place_images(
        self, group: Group, paths: Sequence[str | None], stems: Sequence[str], first: int
    ) -> None:
        there = Counter(path.rpartition("/")[0] for path in paths if path)
        usual = there.most_common(1)[0][0] if there else group.name
        for row, (path, name, stem) in enumerate(zip(paths, group.names, stems, strict=True)):
            if path is None:
                self._missing[IMAGE][first + row] = join_path(usual, name)
            else:
                self._place(IMAGE, first + row, stem, path)

    def _place_maps(self, one: AnnotationFile, stems: Sequence[str], first: int) -> None:
        """Note the maps of a file: those that annotations name, or pixel maps beside them."""
        folder = join_path(one.path.rpartition("/")[0], _stem(one))
        for row, stem in enumerate(stems, first):
            if one.scanned.map_names:
                called = [one.scanned.map_names.get(int(place)) for place in one.places(row)]
                for called_so in filter(None, called[:1]):
                    path = self._map(one, called_so)
                    if path is None:
                        self._missing[one.base][row] = join_path(folder, called_so)
                    else:
                        self._place(one.base, row, stem, path)
            else:
                path = f"{folder}{PIXELMAPS}/{stem.rpartition('/')[2]}.png"
                if self._pictures.take(path):
                    self._place(f"{one.base}{PIXELMAPS}", row, stem, path)

    def _settle(
        self,
        group: Group,
        first: int,
        total: int,
        number: int,
        others: dict[str, list[bool]],
    ) -> list[int]:
        """Make rows of a group's files rows of the table; return where image entries come from."""
        source = np.full(len(group.names), NONE, np.int32)
        for at, one in enumerate(group.files, number):
            differs = np.zeros(len(group.names), bool)
            for row, entry in zip(one.image_row, one.scanned.images, strict=True):
                differs[row] = entry.digest != group.digests[row]
            source[one.image_row[source[one.image_row] == NONE]] = at
            self._settle_file(one, group, first, total)
            if differs.any():
                column = others[one.base]
                column += [False] * (first - len(column)) + differs.tolist()
            if one.scanned.twins:
                self._notes.append(
                    f"{one.path}: {one.scanned.twins} annotations have an id that another has"
                )
        return [int(one) for one in source]

    def _settle_file(self, one: AnnotationFile, group: Group, first: int, total: int) -> None:
        ids = one.scanned.image_ids
        rows = np.array([group.ids.get(id_, NONE) for id_ in ids], np.int64)
        order = np.argsort(rows, kind="stable")[int((rows == NONE).sum()) :]
        one.by_sample = order.astype(np.int32)
        one.bounds = np.searchsorted(rows[order] + first, np.arange(total + 1))
        one.image_row = one.image_row + np.int32(first)
        one.rows = slice(first, first + len(group.names))
        one.place = np.full(total, NONE, np.int32)
        one.place[one.image_row] = np.arange(len(one.image_row), dtype=np.int32)
        one.scanned.image_ids, one.scanned.images = [], []


def _stem(one: AnnotationFile) -> str:
    """Return the name of an annotation file without its ending: that of a directory of its maps."""
    return one.path.rpartition("/")[2].rpartition(".")[0]


def _map_directories(files: Iterable[AnnotationFile]) -> Iterator[str]:
    for one in files:
        yield f"{_stem(one)}{PIXELMAPS}"
        if one.scanned.map_names:
            yield _stem(one)


def _similar(group: str) -> tuple[str, ...]:
    """Return other names that a group's directory may have: test2017 of test-dev2017."""
    return (group.replace("test-dev", "test"), group.partition("_")[0])


def _split_order(split: str, group: str) -> tuple[int, str, tuple[str, str]]:
    return split_rank(split), split, natural_order(group)


def _stems(names: Sequence[str]) -> list[str]:
    """Return what samples are called: file names less their endings, or whole where those meet."""
    stems = [name.replace("\\", "/").rpartition(".")[0] or name for name in names]
    counts = Counter(stems)
    found = [s if counts[s] == 1 else n for s, n in zip(stems, names, strict=True)]
    seen: Counter[str] = Counter()
    for at, name in enumerate(found):
        seen[name] += 1
        if seen[name] > 1:  # two images of one file: a sample each
            found[at] = f"{name}-{seen[name]}"
    return found


def _check_keys(table: FileTable) -> None:
    keys: dict[str, int] = {}
    for row in range(len(table)):
        other = keys.setdefault(table.key(row), row)
        if other != row:
            raise UsageError(
                f"images {table.name(other)} and {table.name(row)} would both be sample "
                f"{table.key(row)}; rename one of them"
            )


def _padded(found: list[bool], total: int) -> NDArray[np.bool_]:
    column = np.zeros(total, bool)
    column[: len(found)] = found
    return column
