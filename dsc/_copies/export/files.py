"""Files in the layout of the archive's source, so that old code reads them.

| source | files |
| --- | --- |
| taskonomy, nyuv2, folder, coco | the paths that the source had |
| nyuv2 | beside them the lists of its splits and classes |
| sample | ``<domain>/point_P_view_V_domain_<domain>.png`` |
| every other, and archives that do not know the paths | ``<task>/<key>.png`` |

Text, JSON and other files come back to the byte, and JPEG files that were kept; ``.npy`` as
``.npy`` (depth of floating point as such again), numbers that were text as text. Other maps of 8
and 16 bits become PNG, also where the source had JPEG, because coding decoded pixels with loss
again would add a second loss; everything else becomes ``.npy``. Alpha that was kept as a task goes
back into its picture, and a class that the directory says has no file. A file appears whole or not
at all, and one that is there is kept, so an interrupted export goes on.
"""

import io
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.classical.png import png_file
from dsc._codecs.registry import OF_FILES
from dsc._copies.export.encode import ENDINGS, KEPT, Encoder
from dsc._copies.export.target import (
    MARK,
    ExportJob,
    ExportReport,
    named_exists,
    write_named,
)
from dsc._pipeline.read.dataset import Dataset
from dsc._schemas import VECTORS, Manifest, Origin, Task, TaskKind
from dsc._schemas.from_file import file_of
from dsc._schemas.sample import Sample
from dsc._sources.folder.placing import CLASS_TASK
from dsc._sources.meaning.endings import JSON_ENDINGS, NUMBER_ENDINGS, TEXT_ENDINGS
from dsc.errors import UsageError

NAMES = ("original", "keys")
OWN_NAMES = ("sample", "clevr", "rendered", "huggingface")  # files are named by keys
BATCH = 8
LOOKED_AT = 8  # pairs of neighbours
PNG_LEVEL = 6
NUMBERS = ("npy", *JSON_ENDINGS, *TEXT_ENDINGS, *NUMBER_ENDINGS)  # files of numbers
SHAPE = re.compile(r"\S+ (\d+(?:×\d+)*)")
ALPHA = "_alpha"
TURNED = "sun-rgbd"  # the layout whose depth files have their bits turned
NYU_FRAME, NYU_CLASSES = re.compile(r"nyu_(\d+)"), 256
NYUV2 = {"rgb": "nyu_images", "depth": "nyu_depths", "label": "nyu_labels40"}


def write_files(job: ExportJob, *, names: str = "original") -> ExportReport:
    """Write one file a task and sample.

    Parameters
    ----------
    names
        ``original``: files are called as the source's were, ``keys``: ``<task>/<key>``.

    Raises
    ------
    UsageError
        When there are no such names.
    """
    if names not in NAMES:
        raise UsageError(f"--names {names}: {' or '.join(NAMES)}")
    job.claim()
    dataset = job.dataset
    writer = _Writer(job, names)
    keys = list(dataset.keys())
    for start in range(0, len(keys), BATCH):
        stop = min(start + BATCH, len(keys))
        writer.write(range(start, stop), keys[start:stop])
        job.progress(stop, len(keys))
    if names == "original" and job.manifest.source == "nyuv2":
        writer.write_nyuv2_lists()
    return ExportReport(dataset.tasks, writer.written, writer.kept, writer.missing)


def native_path(manifest: Manifest, task: Task, key: str) -> str:
    """Return the path of a task's file in the layout of the archive's source."""
    suffix = suffix_of(task)
    if manifest.source in ("taskonomy", "sample"):
        *places, view = key.split("__")
        return "/".join([task.name, *places, f"{view}_domain_{task.name}.{suffix}"])
    frame = NYU_FRAME.fullmatch(key)
    if manifest.source == "nyuv2" and frame and task.name in NYUV2 and _is_8_bit(manifest):
        return f"{NYUV2[task.name]}/{int(frame[1])}.{suffix}"
    return f"{task.name}/{key}.{suffix}"


def suffix_of(task: Task) -> str:
    """Return the ending of the files that a task is written to, where the source's is not known."""
    if task.is_blob:
        known = {TaskKind.TEXT: "txt", TaskKind.JSON: "json"}.get(task.kind)
        return known or ENDINGS.get(task.media_type or "", "bin")
    return "png" if task.is_map and task.dtype in ("uint8", "uint16") else "npy"


def file_paths(
    manifest: Manifest,
    tasks: Sequence[Task],
    key: str,
    origin: Origin | None,
    keeping: Collection[str] = (),
) -> dict[str, str]:
    """Return the path of each task's file of a sample.

    That of the source's file, where it is known.

    An archive may come from anyone: a path that could leave the output, or that two tasks share,
    is not used.

    Parameters
    ----------
    keeping
        Tasks of which the source's own files are kept, with their endings.
    """
    by_key = {task.name: native_path(manifest, task, key) for task in tasks}
    by_key |= {name: with_ending(by_key[name], KEPT) for name in by_key if name in keeping}
    if origin is None or manifest.source in OWN_NAMES:
        return by_key
    named = {
        task.name: path
        for task in tasks
        if (path := _own_path(task, origin.files.get(task.name, ""), by_key[task.name], keeping))
    }
    others = [name for name in by_key if not _is_alpha(name, named)]
    taken = Counter(named.get(name) or by_key[name] for name in others)
    return {
        name: own if (own := named.get(name)) and taken[own] == 1 else by_key[name]
        for name in by_key
    }


def _is_alpha(name: str, named: Mapping[str, str]) -> bool:
    """Tell whether a task is the alpha of another's pictures, and in the same files."""
    of = name.removesuffix(ALPHA)
    return of != name and name in named and named.get(of) == named[name]


def _own_path(task: Task, path: str, by_key: str, keeping: Collection[str]) -> str:
    """Return the path that a task's file had, with the ending of what is written."""
    if task.is_blob or task.name.removesuffix(ALPHA) in keeping:
        return safe_path(path)
    stem, known = _safe_stem(path), path.rpartition(".")[2].lower()
    keeps = known == "npy" if task.is_map else known in NUMBERS
    return path if stem and keeps else f"{stem}.{by_key.rpartition('.')[2]}" if stem else ""


def safe_path(path: str) -> str:
    """Return a path that an archive gives; empty where it is no plain one below a directory."""
    parts = path.split("/")
    try:
        plain = all(part not in ("", ".", "..") and len(os.fsencode(part)) < 200 for part in parts)
    except UnicodeEncodeError:  # half a letter, which no file is called
        plain = False
    if not plain or path == MARK or any(ord(letter) < 32 or letter == "\\" for letter in path):
        return ""
    return path


def with_ending(path: str, ending: str) -> str:
    """Return a path with another ending."""
    return f"{_safe_stem(path)}.{ending}"


def _safe_stem(path: str) -> str:
    """Return a safe path without its ending; empty where it is none."""
    path = safe_path(path)
    head, dot, ending = path.rpartition(".")
    return head if dot and "/" not in ending and head and not head.endswith("/") else path


def _is_8_bit(manifest: Manifest) -> bool:
    # the frames out of the official .mat have 16-bit depth, which that folder layout cannot say
    return all(task.dtype == "uint8" for task in manifest.tasks)


def file_bytes(array: NDArray[Any], path: str) -> bytes:
    """Return the file of an array: PNG, ``.npy`` or the bytes themselves by the path's ending."""
    if path.endswith(".png"):
        return png_file(array, PNG_LEVEL)
    if not path.endswith(".npy"):
        return array.tobytes()
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


class _Writer:
    """Decodes batches of samples and writes the files that are not there."""

    def __init__(self, job: ExportJob, names: str) -> None:
        self._dataset, self._root, self._overwrite = job.dataset, job.root, job.overwrite
        self._original = names == "original"
        self._tasks = {task.name: task for task in job.dataset.tasks}
        self._encoder = Encoder.of(job.manifest, "png")
        self._shapes = stored_shapes(job.manifest)
        self._has_classes = self._original and layouts_of(job.manifest) == {"classes"}
        self._is_turned = self._original and layouts_of(job.manifest) == {TURNED}
        self._keeping = keeping_tasks(job.manifest)
        self._shares = shared_tasks(job.dataset) if self._original else frozenset()
        self._shared: dict[str, bytes] = {}  # by path, what files hold that samples share
        self.written = self.kept = 0
        self.missing = dict.fromkeys(self._tasks, 0)

    def write(self, indices: Sequence[int], keys: Sequence[str]) -> None:
        """Write what is not there of these samples."""
        wanted = {
            index: paths
            for index, key in zip(indices, keys, strict=True)
            if (paths := self._absent(index, key))
        }
        samples = self._dataset.batch(list(wanted)) if wanted else []
        for (index, paths), sample in zip(wanted.items(), samples, strict=True):
            at = index - indices[0]
            for name, path in paths.items():
                if sample[name] is None:
                    self.missing[name] += 1
                elif not _is_alpha(name, paths):
                    where = self._path(name, path, sample, paths, keys[at])
                    data = self._file(name, where, sample, paths)
                    if name not in self._shares or self._is_new(where, data):
                        write_named(self._root, where, data)
                        self.written += 1
                    elif self._shared[where] != data:  # of another set that was appended
                        own = native_path(self._dataset.manifest, self._tasks[name], keys[at])
                        write_named(self._root, own, self._file(name, own, sample, paths))
                        self.written += 1

    def _is_new(self, path: str, data: bytes) -> bool:
        """Tell whether a file that samples share is to be written: it comes with the first."""
        if path in self._shared:
            return False
        self._shared[path] = data
        if self._overwrite or not named_exists(self._root, path):
            return True
        self.kept += 1
        return False

    def write_nyuv2_lists(self) -> None:
        """Write what the folder of NYU Depth v2 has beside its frames: splits and classes."""
        lists: dict[str, list[str]] = {}
        for split in ("train", "test"):
            if split not in self._dataset.manifest.splits:
                continue
            with suppress(UsageError):  # of which a selection leaves nothing
                keys = self._dataset.select(split=split).keys()
                found = [match for key in keys if (match := NYU_FRAME.fullmatch(key))]
                lists[f"{split}.txt"] = [str(int(match[1])) for match in found]
        label = self._tasks.get("label")
        if label is not None and label.classes and len(label.classes) <= NYU_CLASSES:
            lists["classes40.txt"] = [f"{at}\t{name}" for at, name in enumerate(label.classes)]
        for path, lines in lists.items():
            write_named(self._root, path, ("\n".join(lines) + "\n").encode())
            self.written += 1

    def _path(
        self, name: str, path: str, sample: Sample, paths: Mapping[str, str], key: str
    ) -> str:
        """Return where a file is written: what was no JPEG of a task that keeps them is PNG."""
        if name not in self._keeping or file_of(sample[name]) is not None:
            return path
        found = with_ending(path, "png")
        others = {other for task, other in paths.items() if task != name and other != path}
        return (
            native_path(self._dataset.manifest, self._tasks[name], key)
            if found in others
            else found
        )

    def _file(self, name: str, path: str, sample: Sample, paths: Mapping[str, str]) -> bytes:
        task, array = self._tasks[name], sample[name]
        file = file_of(array)
        if file is not None:
            return file
        alpha = sample.get(f"{name}{ALPHA}") if f"{name}{ALPHA}" in paths else None
        if alpha is not None and _is_alpha(f"{name}{ALPHA}", paths):
            return file_bytes(np.dstack([array, alpha]), path)
        shape = self._shapes.get(name, ())
        if not task.is_map and not task.is_blob and np.prod(shape, dtype=np.int64) == array.size:
            array = array.reshape(shape) if task.kind in VECTORS else array
        if path.endswith(".png") and task.is_map:
            turns = self._is_turned and task.kind is TaskKind.DEPTH and array.dtype == np.uint16
            return file_bytes((array << 3) | (array >> 13) if turns else array, path)
        return self._encoder.file_of(task, array, path.rpartition(".")[2])[0]

    def _absent(self, index: int, key: str) -> dict[str, str]:
        """Return the paths, by task, of a sample's files that must be written."""
        origin = self._dataset.origin(index) if self._original else None
        manifest, tasks = self._dataset.manifest, self._dataset.tasks
        paths = file_paths(manifest, tasks, key, origin, self._keeping)
        if self._root.local is None and not all(map(str.isascii, paths.values())):
            paths = file_paths(manifest, tasks, key, None, self._keeping)
        if self._has_classes and len(paths) > 1:  # their directories say it
            paths = {name: path for name, path in paths.items() if name != CLASS_TASK}
        if self._overwrite:
            return paths
        absent = {
            name: path
            for name, path in paths.items()
            if name in self._shares or not self._is_there(name, path)
        }
        self.kept += len(paths) - len(absent)
        return absent

    def _is_there(self, name: str, path: str) -> bool:
        """Tell whether a task's file was written, under either name where files are kept."""
        return named_exists(self._root, path) or (
            name in self._keeping and named_exists(self._root, with_ending(path, "png"))
        )


def keeping_tasks(manifest: Manifest) -> frozenset[str]:
    """Return the tasks whose codec keeps files as the source had them."""
    kept = [record.streams for record in manifest.codecs if record.id in OF_FILES]
    return frozenset(name for streams in kept for name in streams)


def shared_tasks(dataset: Dataset) -> frozenset[str]:
    """Return the tasks of which a file is that of many samples, as of neighbours in a recording."""
    last, maps = len(dataset) - 1, {task.name for task in dataset.tasks if task.is_map}
    pairs = {last * k // LOOKED_AT for k in range(LOOKED_AT)} if last > 0 else set()
    found = set[str]()
    for index in sorted(pairs):
        one, other = dataset.origin(index), dataset.origin(index + 1)
        found |= {name for name, path in one.files.items() if other.files.get(name) == path}
    return frozenset(found - maps)


def layouts_of(manifest: Manifest) -> set[str]:
    """Return the layouts of the folders that an archive was made of; of other sources, no name."""
    made = [(manifest.source, manifest.source_report)]
    made += [(one.source, one.source_report) for one in manifest.appended]
    return {
        str(report.options.get("layout", "")) if report and source == "folder" else ""
        for source, report in made
    }


def stored_shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """Return the shape that the source's files had, by task, as far as the archive knows."""
    reports = [manifest.source_report, *(one.source_report for one in manifest.appended)]
    found: dict[str, tuple[int, ...]] = {}
    for report in reports:
        for name, one in (report.tasks if report else {}).items():
            match = SHAPE.fullmatch(one.stored)
            if match:
                found[name] = tuple(map(int, match[1].split("×")))
    return found
