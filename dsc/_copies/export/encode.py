"""Native arrays as files of the kinds that sources have: from a task and an ending to bytes.

What a source had without loss comes back as it was: text, JSON and other files to the byte, numbers
as `numpy.save` writes them, classes as text, maps of 8 and 16 bits as PNG. Depth and normals of
floating point come back as such, from their counts. A JPEG file that was kept comes back as it was,
unless WebP is asked for; other decoded images become PNG, which adds no second loss, or what is
asked for.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.classical.png import png_file
from dsc._schemas import Manifest, Task, TaskKind
from dsc._schemas.from_file import file_of
from dsc._sources.meaning.endings import JSON_ENDINGS, MEDIA_TYPES
from dsc._sources.meaning.options import TaskOptions
from dsc._sources.meaning.units import FileUnit
from dsc._sources.webdataset.values import npy_bytes
from dsc.errors import UsageError

PNG_LEVEL = 6
QUALITY = 95  # of lossy pictures
KEPT = "jpg"  # the ending of files that were kept, where the source's is not known
SAME = "source"  # the format of pictures that says: as the source had it
FORMATS: dict[str, tuple[str, ...]] = {
    "png": ("png",),
    "jpg": ("jpg", "jpeg", "jpe", "jfif"),
    "webp": ("webp",),
}
ENDINGS = {kind: ending for ending, kind in reversed(MEDIA_TYPES.items())}
PICTURED = ("uint8", "uint16")  # dtypes that PNG holds


@dataclass(frozen=True)
class Encoder:
    """Makes files of native arrays.

    Attributes
    ----------
    image_format
        Of decoded images: one of `FORMATS`, or `SAME`.
    quality
        Of lossy formats, 1 to 100.
    stored
        By task, the dtype of the source's files, where the archive knows it.
    units
        By task, what its depth files held, where that was stated; ``""`` is all tasks.
    """

    image_format: str = "png"
    quality: int = QUALITY
    stored: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, FileUnit] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest, image_format: str) -> Self:
        """Return what makes the files of an archive.

        Parameters
        ----------
        image_format
            ``png``, ``jpg``, ``webp`` or ``source``, lossy ones with a quality: ``jpg:90``.

        Raises
        ------
        UsageError
            When it is none.
        """
        name, mark, text = image_format.partition(":")
        quality = int(text) if text.isdigit() else (0 if mark else QUALITY)
        if name not in (*FORMATS, SAME) or not 1 <= quality <= 100 or (mark and name == "png"):
            raise UsageError(
                f"--image-format {image_format}: {', '.join(FORMATS)} or {SAME}, lossy ones with a "
                "quality from 1 to 100, as in jpg:90"
            )
        report = manifest.source_report
        tasks = {} if report is None else report.tasks
        options = {} if report is None else dict(report.options)
        units = TaskOptions.parse(file_unit=options.get("file_unit")).file_unit or {}
        stored = {name: one.stored.partition(" ")[0] for name, one in tasks.items()}
        return cls(name, quality, stored, units)

    def file_of(self, task: Task, array: NDArray[Any], ending: str) -> tuple[bytes, str]:
        """Return the bytes of a file, and the ending that it then has.

        Parameters
        ----------
        array
            Native.
        ending
            That of the source's file, which may have several parts (``depth.png``); or only what
            stands before the last one and a dot (``depth.``), where the source's is not known.
        """
        head, dot, last = ending.rpartition(".")
        if task.is_blob:
            return array.tobytes(), ending if last else f"{head}{dot}{_blob_ending(task)}"
        if not task.is_map:
            data, last = self._numbers(task, array, last)
        else:
            data, last = self._map(task, array, last)
        return data, f"{head}{dot}{last}"

    def _numbers(self, task: Task, array: NDArray[Any], last: str) -> tuple[bytes, str]:
        known = last.lower()
        if not known:
            known = last = "cls" if task.kind is TaskKind.CLASS else "npy"
        if known == "npy":
            return npy_bytes(array), last
        if known in JSON_ENDINGS:
            return json.dumps(array.tolist()).encode(), last
        rows = array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)
        return "\n".join(" ".join(map(repr, row)) for row in rows.tolist()).encode(), last

    def _map(self, task: Task, array: NDArray[Any], last: str) -> tuple[bytes, str]:
        known, file = last.lower(), file_of(array)
        if file is not None and self.image_format != "webp":
            return file, last or KEPT
        if known == "npy" or array.dtype.name not in PICTURED or not _is_pictured(array):
            return npy_bytes(self._as_stored(task, array)), last if known == "npy" else "npy"
        name = self._picture_format(task, known)
        ending = last if known in FORMATS[name] else name
        return picture_bytes(array, name, self.quality), ending

    def _picture_format(self, task: Task, known: str) -> str:
        """Choose the format of a picture: what may be ids or a measure is kept without loss."""
        lossy = task.kind is TaskKind.IMAGE and task.dtype == "uint8" and not task.is_exact
        if not lossy:
            return "png"
        if self.image_format != SAME:
            return self.image_format
        return next((name for name, endings in FORMATS.items() if known in endings), "png")

    def _as_stored(self, task: Task, array: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers that a ``.npy`` file of the source had, as near as the archive is."""
        dtype = self.stored.get(task.name, "")
        if dtype not in np.sctypeDict or dtype == array.dtype.name:
            return array
        wanted = np.dtype(dtype)
        if wanted.kind != "f":
            same = wanted.kind in "biu" and bool((array.astype(wanted) == array).all())
            return array.astype(wanted) if same else array
        if task.kind is TaskKind.DEPTH:
            metres = task.to_physical(array)
            unit = self.units.get(task.name) or self.units.get("") or FileUnit(1.0)
            if unit.rotated:
                return array
            values = unit.factor / metres if unit.inverse else metres / unit.factor
            return np.asarray(np.nan_to_num(values, nan=0.0), wanted)
        if task.kind is TaskKind.NORMAL:
            vectors = (array.astype(np.float64) - 127.5) / 127.5  # rounds to the same 8 bits again
            vectors[task.invalid_mask(array)] = 0.0
            return np.asarray(vectors, wanted)
        return array


def picture_bytes(array: NDArray[Any], name: str, quality: int = QUALITY) -> bytes:
    """Return a picture (H, W) or (H, W, 3) as a file of one of `FORMATS`."""
    import imagecodecs

    if name == "jpg":
        return bytes(imagecodecs.jpeg8_encode(array, level=quality))
    if name == "webp":
        rgb = np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array
        return bytes(imagecodecs.webp_encode(rgb, level=quality))
    return png_file(array, PNG_LEVEL)


def _is_pictured(array: NDArray[Any]) -> bool:
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)


def _blob_ending(task: Task) -> str:
    known = {TaskKind.TEXT: "txt", TaskKind.JSON: "json"}.get(task.kind)
    return known or ENDINGS.get(task.media_type or "", "bin")
