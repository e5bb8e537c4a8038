"""Decodes an archive to files in the layout of its source, so that old code reads them.

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
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._pipeline.read.dataset import Dataset
from dsc._schemas import Manifest, Origin, Task, TaskKind
from dsc._storage.files.atomic import atomic_write
from dsc._storage.files.root import Root
from dsc._storage.files.writable import check_root
from dsc._storage.format.names import MANIFEST
from dsc.errors import PlanMismatchError, UsageError

MARK = ".dsc-export.json"
NAMES = ("original", "keys")
OWN_NAMES = ("taskonomy", "sample", "clevr", "nyuv2")  # whose files are named by keys
BATCH = 8
PNG_LEVEL = 6
NYUV2 = {"rgb": "nyu_images", "depth": "nyu_depths", "label": "nyu_labels40"}
ExportProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class ExportReport:
    """What an export did.

    Attributes
    ----------
    written, kept
        Files written now, and files that an earlier run had left.
    missing
        By task, how many samples lack it and so have no file.
    """

    tasks: tuple[Task, ...]
    written: int
    kept: int
    missing: dict[str, int]


def export(
    url: str | os.PathLike[str],
    tasks: Sequence[str] | str | None,
    out: str | os.PathLike[str],
    *,
    names: str = "original",
    overwrite: bool = False,
    progress: ExportProgress | None = None,
) -> ExportReport:
    """Decode `tasks` of the archive at `url` to files below `out`.

    Parameters
    ----------
    tasks
        Names or aliases, as a sequence or with commas; None for all.
    out
        Directory or fsspec URL.
    names
        ``original``: files are called as the source's were, ``keys``: ``<task>/<key>``.
    overwrite
        Write every file again, also over those of another archive.
    progress
        Called with (samples done, samples in all).

    Raises
    ------
    ArchiveNotFoundError, UnknownTaskError
        When there is no archive at `url`, or it lacks a task.
    PlanMismatchError, UsageError
        When `out` holds files of another archive; when it is one, or cannot be written to.
    CorruptArchiveError, BitstreamError
        When a sample cannot be decoded.
    """
    if names not in NAMES:
        raise UsageError(f"--names {names}: {' or '.join(NAMES)}")
    dataset = Dataset.open(os.fspath(url), tasks, native=True)
    root = Root(os.fspath(out))
    check_root(root, f"--out {root.url}")
    if root.local is not None and (root.local / MANIFEST).is_file():
        raise UsageError(f"--out {root.url}: an archive is there; give another directory")
    _claim(root, dataset.manifest, overwrite)
    writer = _Writer(dataset, root, names, overwrite)
    keys = list(dataset.keys())
    for start in range(0, len(keys), BATCH):
        stop = min(start + BATCH, len(keys))
        writer.write(range(start, stop), keys[start:stop])
        if progress is not None:
            progress(stop, len(keys))
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
        task.name: f"{stem}.{by_key[task.name].rpartition('.')[2]}"
        for task in tasks
        if (stem := _safe_stem(origin.files.get(task.name, "")))
    }
    taken = Counter([*named.values(), *(by_key[name] for name in by_key.keys() - named.keys())])
    return {
        name: path if (path := named.get(name)) and taken[path] == 1 else by_key[name]
        for name in by_key
    }


def _safe_stem(path: str) -> str:
    """Return a path without its ending; empty where it is no plain path below a directory."""
    parts = path.split("/")
    plain = all(part not in ("", ".", "..") and len(os.fsencode(part)) < 200 for part in parts)
    if not plain or path == MARK or any(ord(letter) < 32 or letter == "\\" for letter in path):
        return ""
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


def _claim(root: Root, manifest: Manifest, overwrite: bool) -> None:
    """Note whose files lie at an output; refuse to mix those of two archives."""
    mark = {
        "plan_sha256": manifest.plan_sha256,
        "source": manifest.source,
        "depth_unit_m": {task.name: task.unit_m for task in manifest.tasks if task.unit_m},
    }
    try:
        found = json.loads(root.read(MARK)).get("plan_sha256")
    except (FileNotFoundError, ValueError, AttributeError):
        found = None
    if found is not None and found != mark["plan_sha256"] and not overwrite:
        raise PlanMismatchError(
            f"--out {root.url}: it holds files decoded from another archive (plan {found[:12]}, "
            f"this one {manifest.plan_sha256[:12]}); give another directory, or --overwrite"
        )
    root.write(MARK, json.dumps(mark, sort_keys=True).encode() + b"\n")


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
