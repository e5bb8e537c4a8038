"""Files in the layout of the archive's source, so that old code reads them.

| source | files |
| --- | --- |
| taskonomy, sample | ``<domain>/<building>/point_P_view_V_domain_<domain>.png`` |
| nyuv2 (8-bit frames) | ``nyu_images/<i>.png``, ``nyu_depths/<i>.png``, ``nyu_labels40/<i>.png`` |
| every other | the path that the source had, if the archive knows it, or ``<task>/<key>.png`` |

Values are the integers of the source's files. Maps of 8 and 16 bits become PNG, also where the
source had JPEG, because coding decoded pixels with loss again would add a second loss; everything
else (vectors, classes, wider integers) becomes ``.npy``. A file appears whole or not at all, and
one that is there is kept, so an interrupted export goes on.
"""

import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._pipeline.copy.export.target import MARK, ExportJob, ExportReport
from dsc._pipeline.read.dataset import Dataset
from dsc._schemas import Manifest, Origin, Task, TaskKind
from dsc._storage.files.atomic import atomic_write
from dsc._storage.files.root import Root
from dsc.errors import UsageError

NAMES = ("original", "keys")
OWN_NAMES = ("taskonomy", "sample", "clevr", "nyuv2", "huggingface")  # files are named by keys
BATCH = 8
PNG_LEVEL = 6
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
    writer = _Writer(dataset, job.root, names, job.overwrite)
    keys = list(dataset.keys())
    for start in range(0, len(keys), BATCH):
        stop = min(start + BATCH, len(keys))
        writer.write(range(start, stop), keys[start:stop])
        job.progress(stop, len(keys))
    return ExportReport(dataset.tasks, writer.written, writer.kept, writer.missing)


def native_path(manifest: Manifest, task: Task, key: str) -> str:
    """Return the path of a task's file in the layout of the archive's source."""
    suffix = suffix_of(task)
    if manifest.source in ("taskonomy", "sample"):
        *places, view = key.split("__")
        return "/".join([task.name, *places, f"{view}_domain_{task.name}.{suffix}"])
    frame = re.fullmatch(r"nyu_(\d+)", key)
    if manifest.source == "nyuv2" and frame and task.name in NYUV2 and _is_8_bit(manifest):
        return f"{NYUV2[task.name]}/{int(frame[1])}.{suffix}"
    return f"{task.name}/{key}.{suffix}"


def suffix_of(task: Task) -> str:
    """Return the ending of the files that a task is written to."""
    if task.is_blob:
        return {TaskKind.TEXT: "txt", TaskKind.JSON: "json"}.get(task.kind, "bin")
    return "png" if task.is_map and task.dtype in ("uint8", "uint16") else "npy"


def file_paths(
    manifest: Manifest, tasks: Sequence[Task], key: str, origin: Origin | None
) -> dict[str, str]:
    """Return the path of each task's file of a sample.

    That of the source's file, where it is known.

    An archive may come from anyone: a path that could leave the output, or that two tasks share,
    is not used.
    """
    by_key = {task.name: native_path(manifest, task, key) for task in tasks}
    if origin is None or manifest.source in OWN_NAMES:
        return by_key
    named = {
        task.name: path
        for task in tasks
        if (path := _own_path(task, origin.files.get(task.name, ""), by_key[task.name]))
    }
    taken = Counter([*named.values(), *(by_key[name] for name in by_key.keys() - named.keys())])
    return {
        name: own if (own := named.get(name)) and taken[own] == 1 else by_key[name]
        for name in by_key
    }


def _own_path(task: Task, path: str, by_key: str) -> str:
    """Return the path that a task's file had, with the ending of what is written."""
    if task.is_blob:
        return safe_path(path)
    stem = _safe_stem(path)
    return f"{stem}.{by_key.rpartition('.')[2]}" if stem else ""


def safe_path(path: str) -> str:
    """Return a path that an archive gives; empty where it is no plain one below a directory."""
    parts = path.split("/")
    plain = all(part not in ("", ".", "..") and len(os.fsencode(part)) < 200 for part in parts)
    if not plain or path == MARK or any(ord(letter) < 32 or letter == "\\" for letter in path):
        return ""
    return path


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
        import imagecodecs

        return bytes(imagecodecs.png_encode(array, level=PNG_LEVEL))
    if not path.endswith(".npy"):
        return array.tobytes()
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


class _Writer:
    """Decodes batches of samples and writes the files that are not there."""

    def __init__(self, dataset: Dataset, root: Root, names: str, overwrite: bool) -> None:
        self._dataset, self._root, self._overwrite = dataset, root, overwrite
        self._original = names == "original"
        self.written = self.kept = 0
        self.missing = {task.name: 0 for task in dataset.tasks}

    def write(self, indices: Sequence[int], keys: Sequence[str]) -> None:
        """Write what is not there of these samples."""
        wanted = {
            index: paths
            for index, key in zip(indices, keys, strict=True)
            if (paths := self._absent(index, key))
        }
        for paths, sample in zip(
            wanted.values(), self._dataset.batch(list(wanted)) if wanted else (), strict=True
        ):
            for name, path in paths.items():
                array = sample[name]
                if array is None:
                    self.missing[name] += 1
                else:
                    self._write(path, file_bytes(array, path))
                    self.written += 1

    def _write(self, path: str, data: bytes) -> None:
        if self._root.local is not None:  # names of the source's may be any
            atomic_write(self._root.local / path, data)
        else:
            self._root.write(path, data)

    def _exists(self, path: str) -> bool:
        if self._root.local is not None:
            return (self._root.local / path).is_file()
        return self._root.exists(path)

    def _absent(self, index: int, key: str) -> dict[str, str]:
        """Return the paths, by task, of a sample's files that must be written."""
        origin = self._dataset.origin(index) if self._original else None
        paths = file_paths(self._dataset.manifest, self._dataset.tasks, key, origin)
        if self._root.local is None and not all(map(str.isascii, paths.values())):
            paths = file_paths(self._dataset.manifest, self._dataset.tasks, key, None)
        if self._overwrite:
            return paths
        absent = {name: path for name, path in paths.items() if not self._exists(path)}
        self.kept += len(paths) - len(absent)
        return absent
