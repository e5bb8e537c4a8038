"""COCO: the annotation files that an archive was made from, with images and maps under their names.

What each file says is the same as before, value for value and in its order, only white space
between is not. Images have the names that the files give them: JPEG files that were kept, as
they were, PNG and WebP without loss, other JPEG with quality 95 and full colour, which is a second,
small loss; other endings hold PNG.
"""

import json
import mmap
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dsc._copies.export.files import file_bytes, safe_path
from dsc._copies.export.target import (
    ExportJob,
    ExportReport,
    named_exists,
    write_named,
)
from dsc._schemas import Manifest, Origin, Task, WholeFile
from dsc._schemas.from_file import file_of
from dsc._schemas.sample import Sample
from dsc._schemas.values import json_bytes
from dsc._sources.coco.listing import INFO, NONE, SEGMENTS
from dsc._sources.coco.scan import ANNOTATIONS, IMAGES, split_list
from dsc._sources.coco.source import ORDER
from dsc._storage.files.root import Root
from dsc.errors import CorruptArchiveError, UsageError

BATCH = 8
JPEG_LEVEL = 95
PICTURES = (np.uint8, np.uint16)
JPEG, WEBP = (".jpg", ".jpeg"), (".webp",)


def write_coco(job: ExportJob) -> ExportReport:
    """Write the annotation files, images and maps.

    Raises
    ------
    UsageError
        When the archive was not made from COCO files, or the tasks that are asked for do not say
        what belongs to them.
    """
    headers = headers_of(job.manifest)
    if not headers:
        raise UsageError(
            f"--to coco: {job.manifest.source} is not the source coco, so there are no annotation "
            "files to give back; --to files writes one file a task and sample"
        )
    names = [task.name for task in job.dataset.tasks]
    there = [task.name for task in job.manifest.tasks]
    texts = [_Text(one, names) for one in headers if _is_asked(one, names, there)]
    job.claim()
    writer = _Writer(job.root, job.overwrite, job.dataset.tasks)
    total = len(job.dataset)
    for start in range(0, total, BATCH):
        rows = range(start, min(start + BATCH, total))
        for row, sample in zip(rows, job.dataset.batch(rows), strict=True):
            origin = job.dataset.origin(row)
            writer.write(sample, origin)
            _add(texts, sample, origin, headers)
        job.progress(rows.stop, total)
    for text in texts:
        writer.put(text.header.path, text.whole())
    return writer.report(_notes(headers, texts, job))


def headers_of(manifest: Manifest) -> list[WholeFile]:
    """Return what remains of annotation files, of all that were added; the last of each path."""
    reports = [manifest.source_report, *(one.source_report for one in manifest.appended)]
    whole = [one for report in reports if report for one in report.whole_files]
    return list({one.path: one for one in whole if one.task}.values())


def _task_of(header: WholeFile, names: Sequence[str]) -> str:
    segments = f"{header.task}{SEGMENTS}"
    return segments if segments in names else header.task


def _has_list(header: WholeFile) -> bool:
    return ANNOTATIONS in json.loads(header.text)


def _is_asked(header: WholeFile, names: Sequence[str], there: Sequence[str]) -> bool:
    """Tell whether an annotation file is to be written.

    Raises
    ------
    UsageError
        When its annotations are asked for without what says how they belong together.
    """
    if not header.samples:
        return True
    task = _task_of(header, there)
    asked = task in names if _has_list(header) else INFO in names
    more = [INFO, f"{header.task}_{INFO}", f"{header.task}{ORDER}"]
    absent = [name for name in more if name in there and name not in names]
    if asked and INFO not in there:
        return False
    if asked and absent:
        raise UsageError(
            f"--to coco: {header.path} needs {', '.join(absent)}, too: add them to --tasks"
        )
    return asked


def _notes(headers: Sequence[WholeFile], texts: Sequence["_Text"], job: ExportJob) -> Iterator[str]:
    written = {text.header.path for text in texts}
    for header in headers:
        if header.path not in written:
            yield f"{header.path}: not written, for its annotations are not among the tasks"
    there = {task.name for task in job.manifest.tasks}
    for header in headers:
        order = f"{header.task}{ORDER}"
        if not header.in_order and header.path in written and order not in there:
            yield f"{header.path}: in the order of the samples, for {order} was not kept"
    if job.manifest.n_failed:
        yield f"{job.manifest.n_failed} samples that could not be read are in no annotation file"


def _add(
    texts: Sequence["_Text"], sample: Sample, origin: Origin, headers: Sequence[WholeFile]
) -> None:
    groups = {header.group for header in headers}
    head = origin.name.partition("/")[0]
    group = head if head in groups else ""
    for text in texts:
        if text.header.group == group and text.header.samples:
            text.add(sample)


@dataclass
class _Items:
    """JSON of many objects, kept in a file that has no name until they are put in order."""

    file: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    lengths: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def add(self, item: bytes, place: int | None) -> None:
        self.places.append(len(self.places) if place is None else place)
        self.lengths.append(len(item))
        self.file.write(item)

    def joined(self) -> bytes:
        self.file.flush()
        ends = np.cumsum([0, *self.lengths])
        if not ends[-1]:
            return b"[]"
        with mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            order = np.argsort(np.array(self.places), kind="stable")
            return b"[" + b",".join(data[ends[at] : ends[at + 1]] for at in order) + b"]"


class _Text:
    """One annotation file that is put together again."""

    def __init__(self, header: WholeFile, names: Sequence[str]) -> None:
        self.header = header
        self._task = _task_of(header, names) if _has_list(header) else None
        self._order = f"{header.task}{ORDER}" if f"{header.task}{ORDER}" in names else None
        self._info = (f"{header.task}_{INFO}", INFO)
        self._images, self._annotations = _Items(), _Items()

    def add(self, sample: Sample) -> None:
        """Take what belongs to this file of a sample of its group."""
        order = None if self._order is None else sample[self._order]
        items = None if self._task is None else sample[self._task]
        info = next((sample[n] for n in self._info if n in sample and sample[n] is not None), None)
        if (self._order and order is None) or (self._task and items is None) or info is None:
            return
        places = None if order is None else order.tolist()
        if places is None or places[0] != NONE:
            self._images.add(info.tobytes(), None if places is None else places[0])
        if items is not None:
            self._add_annotations(split_list(items.tobytes()), places)

    def _add_annotations(self, items: list[bytes], places: list[int] | None) -> None:
        if places is not None and len(places) != len(items) + 1:
            raise CorruptArchiveError(
                f"{self.header.path}: {len(items)} annotations of a sample have "
                f"{len(places) - 1} places; the archive is damaged"
            )
        for at, item in enumerate(items):
            self._annotations.add(item, None if places is None else places[at + 1])

    def whole(self) -> bytes:
        """Return the file."""
        parts = []
        for name, value in json.loads(self.header.text).items():
            if name == IMAGES:
                text = self._images.joined()
            elif name == ANNOTATIONS and self._task is not None:
                text = self._annotations.joined()
            else:
                text = json_bytes(value)
            parts.append(json_bytes(name) + b":" + text)
        return b"{" + b",".join(parts) + b"}\n"


class _Writer:
    """Writes images and maps under their own names, and keeps what is there."""

    def __init__(self, root: Root, overwrite: bool, tasks: Sequence[Task]) -> None:
        self._root, self._overwrite, self._tasks = root, overwrite, tasks
        self._endings: Counter[str] = Counter()
        self.written = self.kept = self.unnamed = 0
        self.missing = {task.name: 0 for task in tasks}

    def write(self, sample: Sample, origin: Origin) -> None:
        for task in self._tasks:
            array = sample[task.name]
            if array is None:
                self.missing[task.name] += 1
            elif task.is_map:
                path = safe_path(origin.files.get(task.name, ""))
                path += ".npy" if path and array.dtype not in PICTURES else ""
                if not path:
                    self.unnamed += 1
                elif named_exists(self._root, path) and not self._overwrite:
                    self.kept += 1
                else:
                    self.put(path, self._picture(array, path))

    def put(self, path: str, data: bytes) -> None:
        write_named(self._root, path, data)
        self.written += 1

    def report(self, notes: Iterator[str]) -> ExportReport:
        said = list(notes)
        if self._endings["jpeg"]:
            said.append(f"{self._endings['jpeg']} images are JPEG of quality {JPEG_LEVEL}")
        if self._endings["other"]:
            said.append(f"{self._endings['other']} files hold PNG whatever their names end with")
        if self.unnamed:
            said.append(f"{self.unnamed} maps have no name in annotation files and are not written")
        missing = {name: count for name, count in self.missing.items()}
        return ExportReport(tuple(self._tasks), self.written, self.kept, missing, tuple(said))

    def _picture(self, array: NDArray[Any], path: str) -> bytes:
        import imagecodecs

        low, file = path.lower(), file_of(array)
        if file is not None:
            return file
        if low.endswith(".npy"):
            return file_bytes(array, low)
        if low.endswith(JPEG) and array.dtype == np.uint8:
            self._endings["jpeg"] += 1
            sampling = "444" if array.ndim == 3 else None
            return bytes(imagecodecs.jpeg8_encode(array, level=JPEG_LEVEL, subsampling=sampling))
        if low.endswith(WEBP) and array.dtype == np.uint8 and array.ndim == 3:
            return bytes(imagecodecs.webp_encode(array, lossless=True))
        self._endings["other"] += not low.endswith(".png")
        return file_bytes(array, "x.png")
