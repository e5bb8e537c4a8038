"""COCO and every data set in its form: images, and JSON files of annotations.

    annotations/instances_val2017.json    instances: per image, its annotations as JSON
    annotations/captions_val2017.json     captions, and so on, for any name
    annotations/panoptic_val2017.json     panoptic_segments, and panoptic, the PNG files' ids
    annotations/panoptic_val2017/*.png
    val2017/*.jpg                         image

``image_info`` is what a file's ``images`` says of a sample. What it says in a second file, where
that is something else, is ``captions_image_info``; and where images and annotations do not come in
the order of the samples, ``captions_order`` has their places in the file: that of the image (-1
where it is not listed), then those of its annotations. What remains of a file (info, licenses,
categories) is kept whole, so an export gives the same files back.
"""

import hashlib
import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc._files.formats import read_content, read_pixels
from dsc._files.tree import FileTree, nothing_found
from dsc._schemas import SourceReport, Task, TaskKind, WholeFile
from dsc._sources.coco.listing import (
    IMAGE,
    INFO,
    NONE,
    AnnotationFile,
    CocoListing,
    list_coco,
)
from dsc._sources.coco.scan import compact
from dsc._sources.file_source import FileSource, probe_task
from dsc._sources.meaning.decide import Meaning, Stated, decide
from dsc._sources.meaning.decode import fit_to_task, knowing_file
from dsc._sources.meaning.options import TaskOptions, unwanted, wanted_tasks
from dsc.errors import SampleError

ORDER = "_order"
LAYOUTS = (
    "annotations/instances_val2017.json with val2017/000000000139.jpg",
    "train/_annotations.coco.json with train/*.jpg",
    "any JSON file with a list of images",
)
LISTED = 3


class CocoSource(FileSource):
    """Images with their annotations, opened.

    Parameters
    ----------
    listing
        What was found.
    more
        See `FileSource`.
    """

    name: ClassVar[str] = "coco"

    def __init__(self, tree: FileTree, listing: CocoListing, **more: Any) -> None:
        super().__init__(tree, listing.table, **more)
        self._listing = listing
        self._texts = _Texts(tree)
        self._by_task = _columns(listing)

    @classmethod
    def open(
        cls,
        root: str,
        tasks: Sequence[str] | str | None = None,
        ignore: Sequence[str] | str = (),
        split: str | None = None,
        kinds: object = None,
        alpha: str | None = None,
    ) -> Self:
        """Find the annotation files below `root`, and the images that they speak of.

        Parameters
        ----------
        root
            Directory or fsspec URL, or a zip or tar.
        tasks, ignore
            The tasks that are wanted, and patterns of paths that are left out.
        split
            One split (``val``, or as files call it, ``val2017``); all by default.
        kinds
            What images are, where they are no pictures of 8 or 16 bits: ``{"image": "array"}``.
        alpha
            What becomes of the alpha channel of images: ``drop``; refused by default.

        Raises
        ------
        SourceNotFoundError
            When no annotation file lies under `root`, or none of an image that is there.
        UsageError
            When annotation files contradict each other.
        SampleError
            When one is damaged, or none of the first images can be read.
        """
        options = TaskOptions.parse(kinds=kinds, alpha=alpha, tasks=tasks, ignore=ignore)
        tree = FileTree(root)
        tree.require_root(cls.name, root)
        listing = list_coco(tree, options, split)
        if not len(listing.table):
            raise nothing_found(cls.name, f"no annotated image under {root}", LAYOUTS, tree)
        found = _found_tasks(listing)
        wanted = wanted_tasks(options, list(found))
        counts = {name: int(has.sum()) for name, has in found.items()}
        pictures = {name: c for name, c in listing.table.files.items() if name in wanted}
        listing = replace(listing, table=replace(listing.table, files=pictures))
        columns = _columns(listing)
        meanings = [
            _meaning(name, columns[name])
            if name in columns
            else _picture_meaning(tree, listing, name, options)
            for name in found
            if name in wanted
        ]
        return cls(
            tree,
            listing,
            meanings=meanings,
            options={**options.to_json(), "split": split},
            left_out=[*listing.left_out, *unwanted(counts, wanted, options)],
            notes=["layout coco", *listing.notes, *_missing_notes(listing, wanted)],
        )

    def report(self) -> SourceReport:
        """Say what was found, and keep what is of no one sample."""
        whole = tuple(
            WholeFile(
                path=one.path,
                task=one.base,
                group=one.group,
                text=one.scanned.header,
                samples=int(one.there().sum()),
                in_order=one.keeps_order(),
            )
            for one in self._listing.files
        )
        return super().report().model_copy(update={"whole_files": whole})

    def check(self, tasks: Sequence[str]) -> None:
        """Look for every file, and at the head of those that are there.

        Raises
        ------
        SampleError
            Naming the first image that is missing, with the number of those that are; or the first
            file that will not do.
        """
        for task in tasks:
            missing = self._listing.missing.get(task, {})
            if missing:
                row = min(missing)
                raise SampleError(
                    f"sample {self.key(row)}: {self._gone(task, missing[row])}, and "
                    f"{len(missing)} of {len(self)} like it; put them there"
                )
        super().check(tasks)

    def _gone(self, task: str, path: str) -> str:
        return f"{self.tree.where(path)}: annotations speak of this file, and it is not there"

    def _read_task(self, index: int, task: Task, key: str) -> tuple[NDArray[Any], int] | None:
        name = task.name
        if name in self._by_task:
            return self._by_task[name].read(index, self._texts)
        if index in self._listing.missing.get(name, {}):
            path = self._listing.missing[name][index]
            raise SampleError(f"sample {key}: {self._gone(name, path)}")
        found = super()._read_task(index, task, key)
        if found is None or name != IMAGE:
            return found
        wanted = tuple(map(int, self._listing.sizes[index]))
        if found[0].shape[:2] == wanted or found[0].shape[1::-1] != wanted:
            return found
        return self._as_stored(index, task, key, wanted) or found

    def _as_stored(
        self, index: int, task: Task, key: str, size: tuple[int, ...]
    ) -> tuple[NDArray[Any], int] | None:
        """Read an image without turning it, if its entry has that height and width.

        Annotations are of the pixels as stored, where the entry says so.
        """
        path = self.table.path(index, task.name) or ""
        data, where = self.tree.read(path), f"sample {key}: {self.tree.where(path)}"
        if read_content(data, where).orientation == 1:
            return None
        pixels = read_pixels(data, where, upright=False)
        if pixels.shape[:2] != size:
            return None
        conversion = self.meanings[task.name].conversion
        array = fit_to_task(pixels, task, where, conversion)
        return knowing_file(array, task, data), len(data)

    def _has(self, index: int, task: str) -> bool:
        if task in self._by_task:
            return bool(self._by_task[task].present[index])
        return index in self._listing.missing.get(task, {}) or super()._has(index, task)

    def _present(self, task: str) -> NDArray[np.bool_]:
        return _found_tasks(self._listing)[task]

    def describe(self) -> dict[str, Any]:
        """Return the JSON from which `source_from_description` makes the same source again."""
        found = super().describe()
        files = [one.scanned.sha256 for one in self._listing.files]
        return found | {"fingerprint": f"{found['fingerprint']}-{_digest(files)}"}


class _Texts:
    """Cuts annotations out of their files; a file is mapped, or read once where it is remote."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self._open: dict[str, bytes | mmap.mmap] = {}

    def __getstate__(self) -> FileTree:
        return self._tree

    def __setstate__(self, tree: FileTree) -> None:
        self.__init__(tree)  # type: ignore[misc]

    def cut(self, path: str, spans: NDArray[np.int64]) -> list[bytes]:
        """Return the JSON of objects that stand at these places of a file, without white space.

        Raises
        ------
        SampleError
            When the file is another than that which was listed.
        """
        data = self._data(path)
        found = [bytes(data[begin:end]) for begin, end in spans.tolist()]
        for one, (begin, end) in zip(found, spans.tolist(), strict=True):
            if len(one) != end - begin or one[:1] != b"{" or one[-1:] != b"}":
                raise SampleError(
                    f"{self._tree.where(path)}: changed since it was listed; start again"
                )
        return [compact(one) for one in found]

    def _data(self, path: str) -> bytes | mmap.mmap:
        if path not in self._open:
            local = self._tree.local
            if local is None:
                self._open[path] = self._tree.read(path)
            else:
                with (local / path).open("rb") as file:
                    self._open[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._open[path]


class _Column(ABC):
    """A task that is cut out of annotation files: which samples have it."""

    kind = TaskKind.JSON

    def __init__(
        self, listing: CocoListing, base: str, present: NDArray[np.bool_], why: str
    ) -> None:
        self.files, self.info = listing.files, listing.info
        self.base, self.present, self.why = base, present, why

    def read(self, row: int, texts: _Texts) -> tuple[NDArray[Any], int] | None:
        """Return a sample's native array and how many bytes of files it was; None without it."""
        if not self.present[row]:
            return None
        return self._read(row, texts)

    @abstractmethod
    def _read(self, row: int, texts: _Texts) -> tuple[NDArray[Any], int]:
        """Return what `read` does of a sample that has it."""

    def _file(self, row: int) -> AnnotationFile:
        return next(one for one in self.files if one.base == self.base and one.has(row))


class _Info(_Column):
    """What a file's images say of a sample: of its first file, or of one of this kind."""

    def _read(self, row: int, texts: _Texts) -> tuple[NDArray[Any], int]:
        one = self._file(row) if self.base else self.files[self.info[row]]
        place = int(one.place[row])
        spans = one.scanned.image_spans[place : place + 1]
        return _json(texts.cut(one.path, spans)[0]), int((spans[:, 1] - spans[:, 0]).sum())


class _Annotations(_Column):
    """A sample's annotations in the files of one kind, a list."""

    def _read(self, row: int, texts: _Texts) -> tuple[NDArray[Any], int]:
        one = self._file(row)
        spans = one.scanned.spans[one.places(row)]
        size = int((spans[:, 1] - spans[:, 0]).sum())
        return _json(b"[" + b",".join(texts.cut(one.path, spans)) + b"]"), size


class _Order(_Column):
    """Where a sample's image and annotations stand in the files of one kind, int32."""

    kind = TaskKind.MATRIX

    def _read(self, row: int, texts: _Texts) -> tuple[NDArray[Any], int]:
        one = self._file(row)
        return np.array([one.place[row], *one.places(row)], np.int32), 0


def _json(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, np.uint8).copy()


def _columns(listing: CocoListing) -> dict[str, _Column]:
    """Make the tasks that are cut out of annotation files, by name."""
    why = "images of annotation files"
    found: dict[str, _Column] = {INFO: _Info(listing, "", listing.info != NONE, why)}
    for base in dict.fromkeys(one.base for one in listing.files):
        own = [one for one in listing.files if one.base == base]
        task = next((one.task for one in own if one.task), None)
        told, listed = np.zeros((2, len(listing.table)), bool)
        for one in own:
            told |= one.there() & one.scanned.has_annotations
            listed |= one.there()
        in_order = all(one.keeps_order() and _says_whose(one, listing) for one in own)
        others = listing.others.get(base, np.zeros(0, bool))
        why = ", ".join(one.path for one in own[:LISTED])
        for name, kind, present in (
            (task, _Annotations, told),
            (f"{base}_{INFO}", _Info, others),
            (f"{base}{ORDER}", _Order, listed & (not in_order)),
        ):
            if name and present.any():
                found[name] = kind(listing, base, present, why)
    return found


def _says_whose(one: AnnotationFile, listing: CocoListing) -> bool:
    """Tell whether a file's list of annotations, or the lack of it, says which images it lists."""
    return one.scanned.has_annotations or not (one.place[one.rows] == NONE).any()


def _found_tasks(listing: CocoListing) -> dict[str, NDArray[np.bool_]]:
    """List all tasks: which samples have each, be it that its file is missing."""
    found = {}
    for name, column in listing.table.files.items():
        found[name] = column >= 0
        found[name][list(listing.missing.get(name, {}))] = True
    return found | {name: column.present for name, column in _columns(listing).items()}


def _meaning(name: str, column: _Column) -> Meaning:
    if column.kind is TaskKind.JSON:
        task = Task(name=name, kind=TaskKind.JSON, dtype="uint8")
        return Meaning(task, column.why, stored="json")
    task = Task(name=name, kind=TaskKind.MATRIX, dtype="int32", shape=(-1,))
    return Meaning(task, f"places in {column.why}", stored="int32")


def _picture_meaning(
    tree: FileTree, listing: CocoListing, name: str, options: TaskOptions
) -> Meaning:
    stated = options.stated(name, Stated(kind="rgb" if name == IMAGE else "label"))
    evidence = probe_task(tree, listing.table, name)
    where = tree.where(listing.table.some_paths(name, 1)[0])
    return decide(name, evidence, stated, where)


def _missing_notes(listing: CocoListing, wanted: Sequence[str]) -> Iterator[str]:
    for name, missing in listing.missing.items():
        if missing and name in wanted:
            first = missing[min(missing)]
            yield f"{len(missing)} files of {name} are not there, for example {first}"


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()
