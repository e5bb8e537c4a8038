"""Pictures of an archive's samples: what was decoded, the original, and where the two differ.

What is small enough to be sent as it lies in the archive is sent so. All else is decoded here and
coloured as on the page of `dsc view`. Caches are bounded by bytes.
"""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.classical.png import png_file
from dsc._codecs.maps.base import ImageCodec, PictureFile
from dsc._codecs.registry import codec_class
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.metrics import angles_deg, measure
from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.read.originals import FoundOriginals, Originals, find_originals
from dsc._pipeline.view.pictures import RGB, colour, error_map, scale_of, scale_text
from dsc._schemas import Task, TaskKind, carrying_streams
from dsc._storage.cache.lru import LruCache
from dsc._storage.read.archive import Archive
from dsc.errors import DscError, MissingTaskError, SampleError

DECODED, ORIGINAL, ERROR = KINDS = ("decoded", "original", "error")
THUMB = 256  # pixels a side
SMALL_PIXELS, SMALL_BYTES = 512 * 512, 48 << 10  # what is a thumbnail as it is
KEPT_PICTURES, KEPT_ARRAYS = 64 << 20, 192 << 20  # bytes
WEBP_LEVEL, PNG_LEVEL = 82, 3


@dataclass(frozen=True)
class Image:
    """An image file for a browser."""

    media_type: str
    data: bytes


class Pictures:
    """Makes pictures of one archive; shared by threads.

    Parameters
    ----------
    archive
        The archive.
    source_root
        Where its source lies; None to look where this machine remembers it.
    """

    def __init__(self, archive: Archive, source_root: str | None = None) -> None:
        self.archive = archive
        self.tasks = {task.name: task for task in archive.manifest.tasks}
        self._codecs = CodecSet.from_archive(archive)
        self._root = source_root
        self._component = {
            task: part.tasks for part in self._codecs.components() for task in part.tasks
        }
        self._datasets: dict[tuple[str, ...], Dataset] = {}
        self._opening = threading.Lock()
        self._working = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))
        self._images: LruCache[tuple[int, str, str, bool, bool], Image] = LruCache(KEPT_PICTURES)
        self._arrays: LruCache[tuple[int, str, bool], tuple[Array | None]] = LruCache(KEPT_ARRAYS)
        self._looking, self._reading = threading.Lock(), threading.Lock()
        self.looked: FoundOriginals | None = None

    def codec_name(self, task: str) -> str:
        """Name the codec of a task."""
        return self._codecs.codec_name(task)

    def is_exact(self, task: Task) -> bool:
        """Tell whether a task comes back bit for bit."""
        return self._codecs.is_exact(task)

    def shown_by_browser(self, task: str) -> bool:
        """Tell whether a task's bitstreams are sent undecoded, as a rule."""
        if len(carrying_streams(self.archive.manifest.streams, task)) != 1:
            return False
        found = self.tasks[task]
        plain = found.kind in (TaskKind.IMAGE, TaskKind.NORMAL) and found.dtype == "uint8"
        return plain and _is_picture_file(self._codecs.records()[self._codecs.slot_of(task)].id)

    def dataset(self, task: str) -> Dataset:
        """Return what reads a task, and those that are coded together with it."""
        names = self._component.get(task, (task,))
        with self._opening:
            if names not in self._datasets:
                self._datasets[names] = Dataset(self.archive, list(names), native=True)
            return self._datasets[names]

    def payloads(self, index: int, task: str) -> Mapping[str, memoryview | bytes | None]:
        """Read the bitstreams that carry a task of a sample."""
        found = self.dataset(task).payloads([index])[0]
        carriers = carrying_streams(self.archive.manifest.streams, task)
        return {name: found[name] for name in carriers}

    def array(self, index: int, task: str) -> Array | None:
        """Return the native array of a task; None where the sample lacks it."""
        kept = self._arrays.get((index, task, False))
        if kept is not None:
            return kept[0]
        with self._working:
            (found,) = self.dataset(task).batch([index])
        arrays: dict[str, Array | None] = dict(found)
        for name, array in arrays.items():
            self._keep((index, name, False), array)
        return arrays[task]

    def _keep(self, key: tuple[int, str, bool], array: Array | None) -> None:
        self._arrays.put(key, (array,), 0 if array is None else array.nbytes)

    # ---- originals

    def look(self) -> FoundOriginals:
        """Look for the originals, once; that may take its time.

        Raises
        ------
        UsageError
            When a root was given that does not hold the archive's source.
        """
        with self._looking:
            if self.looked is None:
                try:
                    dataset = Dataset(self.archive, native=True)
                    self.looked = find_originals(dataset, self._root)
                except (DscError, OSError) as error:
                    if self._root is not None:
                        raise
                    self.looked = FoundOriginals(None, f"no originals: {error}")
            return self.looked

    def original(self, index: int, task: str) -> Array | None:
        """Return the original of a task of a sample, where there is one of the decoded shape."""
        originals = self.look().originals
        if originals is None or task not in originals.tasks:
            return None
        kept = self._arrays.get((index, task, True)) or self._read_originals(index, task, originals)
        original, decoded = kept[0], self.array(index, task)
        if original is None or decoded is None or original.shape != decoded.shape:
            return None
        return original

    def _read_originals(self, index: int, task: str, originals: Originals) -> tuple[Array | None]:
        """Read all originals of a sample, once: who looks at one of them looks at the others."""
        with self._reading:
            kept = self._arrays.get((index, task, True))
            if kept is None:
                found = originals.read(index, self.archive.key(index))
                for name in originals.tasks:
                    self._keep((index, name, True), found.get(name))
                kept = (found.get(task),)
            return kept

    # ---- pictures

    def picture(self, index: int, task: str, what: str, whole: bool, drawn: bool = False) -> Image:
        """Return a picture of a map.

        Parameters
        ----------
        what
            One of `KINDS`.
        whole
            Whether with all pixels; else a thumbnail, which may be all pixels, too.
        drawn
            Whether it is decoded here in any case, for a browser that cannot.

        Raises
        ------
        MissingTaskError
            When the sample lacks the task, or there is no original.
        BitstreamError, CorruptArchiveError, OSError
            When it cannot be read or decoded.
        """
        key = (index, task, what, whole, drawn)
        found = self._images.get(key)
        if found is None:
            as_it_is = what == DECODED and not drawn
            found = self._undecoded(index, task, whole) if as_it_is else None
            found = found or self._drawn(index, task, what, whole)
            self._images.put(key, found, len(found.data))
        return found

    def file(self, index: int, task: str) -> PictureFile | None:
        """Return a task's bitstream as an image file; None where it has to be decoded."""
        if not self.shown_by_browser(task):
            return None
        (payload,) = self.payloads(index, task).values()
        if payload is None:
            raise MissingTaskError(f"sample {self.archive.key(index)} has no {task}")
        codec = self._codecs.codec(self._codecs.slot_of(task))
        if not isinstance(codec, ImageCodec):
            return None
        return codec.picture_file(task, bytes(payload), self.archive.manifest.max_pixels)

    def _undecoded(self, index: int, task: str, whole: bool) -> Image | None:
        file = self.file(index, task)
        if file is None:
            return None
        small = file.height * file.width <= SMALL_PIXELS or len(file.data) <= SMALL_BYTES
        return Image(file.media_type, file.data) if whole or small else None

    def _drawn(self, index: int, task: str, what: str, whole: bool) -> Image:
        decoded, described = self.array(index, task), self.tasks[task]
        if decoded is None:
            raise MissingTaskError(f"sample {self.archive.key(index)} has no {task}")
        side = None if whole else THUMB
        if what == DECODED:
            scale = scale_of(described, decoded)
            with self._working:
                return _image(described, colour(described, decoded, scale, side), whole)
        original = self.original(index, task)
        if original is None:
            raise MissingTaskError(f"no original of {task} of sample {self.archive.key(index)}")
        with self._working:
            if what == ORIGINAL:
                scale = scale_of(described, decoded)
                return _image(described, colour(described, original, scale, side), whole)
            return _image(described, error_map(described, original, decoded, side)[0], whole)

    # ---- what is said of a picture

    def size(self, index: int, task: str) -> tuple[int, int] | None:
        """Return height and width of a map; None where the sample lacks it."""
        try:
            file = self.file(index, task)
        except MissingTaskError:
            return None
        if file is not None:
            return file.height, file.width
        array = self.array(index, task)
        return None if array is None else (array.shape[0], array.shape[1])

    def caption(self, index: int, task: str) -> str:
        """Say what a map's colours mean; empty where that goes without saying."""
        described = self.tasks[task]
        if self.shown_by_browser(task):
            return ""
        array = self.array(index, task)
        return "" if array is None else scale_text(described, scale_of(described, array))

    def metrics(self, index: int, task: str) -> dict[str, float]:
        """Measure a task of a sample against its original; empty without one."""
        original, decoded = self.original(index, task), self.array(index, task)
        if original is None or decoded is None:
            return {}
        with self._working:
            return measure(self.tasks[task], original, decoded)

    def error_caption(self, index: int, task: str) -> str:
        """Say what the colours of an error map mean; empty without an original."""
        original, decoded = self.original(index, task), self.array(index, task)
        if original is None or decoded is None:
            return ""
        with self._working:
            return error_map(self.tasks[task], original, decoded, THUMB)[1]

    def at(self, index: int, task: str, x: int, y: int, what: str) -> str:
        """Spell the value of a pixel: metres, a label's name, a normal, intensities.

        Raises
        ------
        MissingTaskError
            When the sample lacks the task, or there is no original.
        SampleError
            When the map has no such pixel.
        """
        decoded = self.array(index, task)
        array = self.original(index, task) if what != DECODED else decoded
        if array is None or decoded is None:
            raise MissingTaskError(f"sample {self.archive.key(index)} has no {what} {task}")
        if not (0 <= y < array.shape[0] and 0 <= x < array.shape[1]):
            raise SampleError(f"{task} of sample {self.archive.key(index)} has no pixel {x}, {y}")
        described, pixel = self.tasks[task], array[y : y + 1, x : x + 1]
        if what == ERROR:
            return _difference(described, pixel, decoded[y : y + 1, x : x + 1])
        return pixel_text(described, pixel)


def _is_picture_file(codec_id: str) -> bool:
    """Tell whether a codec's bitstreams are image files that browsers show; no weights are read."""
    try:
        kind = codec_class(codec_id)
    except DscError:  # of a package that is not installed here: other tasks are shown all the same
        return False
    return issubclass(kind, ImageCodec) and kind.media_type is not None


def pixel_text(task: Task, pixel: Array) -> str:
    """Spell the value of one pixel, a native array (1, 1) or (1, 1, C)."""
    if task.invalid and task.invalid_mask(pixel).all():
        return "nothing measured"
    if task.kind is TaskKind.DEPTH:
        return f"{float(task.to_physical(pixel)[0, 0]):.4g} m"
    if task.kind is TaskKind.NORMAL:
        return _listed(task.to_physical(pixel)[0, 0], "+.2f")
    if task.kind is TaskKind.LABEL and pixel.ndim == 2:
        number = int(pixel[0, 0])
        known = 0 <= number < len(task.classes)
        return f"{number} {task.classes[number]}" if known else str(number)
    values = np.atleast_1d(pixel[0, 0])
    return _listed(values, ".6g" if values.dtype.kind == "f" else "d")


def _listed(values: Array, form: str) -> str:
    shown = ", ".join(format(value.item(), form) for value in values[:8])
    return shown if len(values) <= 8 else f"{shown} …"


def _difference(task: Task, original: Array, decoded: Array) -> str:
    if task.kind is TaskKind.LABEL or task.is_exact:
        nan = original.dtype.kind == "f"
        return "same" if np.array_equal(original, decoded, equal_nan=nan) else "differs"
    if task.kind is TaskKind.NORMAL:
        angle = angles_deg(task.to_physical(original), task.to_physical(decoded))
        return f"{float(np.ravel(angle)[0]):.2f}°"
    if task.kind is TaskKind.DEPTH:
        off = task.to_physical(decoded) - task.to_physical(original)
        return f"{float(off[0, 0]):+.4g} m"
    off = decoded[0, 0].astype(np.float64) - original[0, 0].astype(np.float64)
    return _listed(np.atleast_1d(off), "+.6g")


def _image(task: Task, pixels: RGB, whole: bool) -> Image:
    """Encode what was drawn: thumbnails of soft maps as WebP, all else without loss."""
    import imagecodecs

    soft = task.kind in (TaskKind.IMAGE, TaskKind.NORMAL, TaskKind.DEPTH)
    if soft and not whole:
        data = imagecodecs.webp_encode(pixels, level=WEBP_LEVEL, lossless=False, numthreads=1)
        return Image("image/webp", bytes(data))
    return Image("image/png", png_file(pixels, PNG_LEVEL))
