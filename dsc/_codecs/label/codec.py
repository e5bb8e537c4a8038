"""The codec `label-context`: label maps, bit for bit, one stream a task that requires nothing.

A stream's bytes, little-endian::

    u8   method         CONTEXT, CONSTANT, ZSTD or JPEG_XL
    u16  height, width
    ...                 the method's data

CONTEXT: words of the entropy coder, which hold the map from coarse to fine
(`dsc._codecs.context.lattice`), each pixel coded as one of the labels already known around it
(`dsc._codecs.context.coder`), then the palette. CONSTANT: one pixel, little-endian. ZSTD: all of
them, compressed. JPEG_XL: a lossless image file. The smallest is kept; JPEG XL is only tried where
CONTEXT takes a bit a pixel or more, and noise is not even given to CONTEXT.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.canvas import Place
from dsc._codecs.coding.entropy import SymbolDecoder, SymbolEncoder
from dsc._codecs.context.coder import decode_labels, encode_labels
from dsc._codecs.context.lattice import Ids
from dsc._codecs.context.network import LabelModel
from dsc._codecs.context.weights import cached_model, shipped_file
from dsc._codecs.label.palette import (
    MOST_CHANNELS,
    get_palette,
    index_labels,
    index_named,
    names_of,
    put_palette,
    write_names,
)
from dsc._codecs.maps.base import HEADER, MAX_SIDE, ModelTaskCodec
from dsc._schemas import Effort, Task, TaskKind

NOISE = 0.5  # share of pixels unlike their left neighbour above which a map is no label map
JPEG_XL_EFFORTS: Mapping[Effort, int] = {Effort.FAST: 3, Effort.DEFAULT: 7, Effort.BEST: 9}
ZSTD_LEVEL = 3  # takes 1 ms; it is there for periodic maps, not for natural ones


class LabelMethod(IntEnum):
    """How a map is coded; the numbers stand in bitstreams."""

    CONTEXT = 0
    CONSTANT = 1
    ZSTD = 2
    JPEG_XL = 3


class LabelContextCodec(ModelTaskCodec):
    """Lossless whatever the quality.

    Parameters
    ----------
    tasks
        Label maps of any integers.
    weights
        A model file (`dsc._codecs.context.weights`).
    """

    id: ClassVar[str] = "label-context"
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT

    def __init__(self, tasks: Sequence[Task], weights: bytes) -> None:
        super().__init__(tasks, weights)
        self._model = cached_model(weights)

    @staticmethod
    def shipped() -> bytes:
        """Return the model file that comes with dsc."""
        return shipped_file()

    def refusal(self, task: Task) -> str | None:
        """Refuse what is no label map of integers."""
        return self.refusal_of(task)

    @staticmethod
    def refusal_of(task: Task) -> str | None:
        """Say why a task is no label map of integers, and what codes it."""
        if task.kind is not TaskKind.LABEL:
            return f"codes label maps, not {task.kind.value} tasks; use another codec for it"
        dtype = np.dtype(task.dtype)
        if dtype.kind not in "iu":
            return f"codes integers, not {task.dtype}; convert the source"
        if not 0 < task.channels <= MOST_CHANNELS:
            return f"codes labels of 1 to {MOST_CHANNELS} channels, not {task.channels}; use exact"
        return None

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode a map by the method that takes the fewest bytes."""
        if max(array.shape[:2]) > MAX_SIDE:
            raise ValueError(f"a side is longer than {MAX_SIDE}")
        if (array == array[0, 0]).all():
            return HEADER.pack(LabelMethod.CONSTANT, *array.shape[:2]) + _little(array[0, 0])
        method, body = LabelMethod.ZSTD, _zstd(array)
        modelled = _encode_context(self._model, array) if _is_label_map(array) else None
        if modelled is not None and len(modelled) <= len(body):
            method, body = LabelMethod.CONTEXT, modelled
        many = modelled is None or 8 * len(modelled) > array.shape[0] * array.shape[1]
        if many and array.dtype in (np.uint8, np.uint16) and array.shape[2:] in ((), (3,)):
            image = _jpeg_xl(array, JPEG_XL_EFFORTS[self.effort])
            if len(image) < len(body):
                method, body = LabelMethod.JPEG_XL, image
        return HEADER.pack(method, *array.shape[:2]) + body

    def encode_named(self, labels: Ids, names: Array, below: int) -> bytes | None:
        """Encode ``names[labels]`` by its context, or as one label; None where it is no shorter.

        Parameters
        ----------
        labels
            (H, W) uint16
        names
            (n, channels), all different, of at most 8 bytes each.
        below
            Bytes that it is to be shorter than.
        """
        if max(labels.shape) > MAX_SIDE:
            return None
        if (labels == labels[0, 0]).all():
            method, body = LabelMethod.CONSTANT, _little(names[labels[0, 0]])
        else:
            most = below - 1 - HEADER.size
            method, words = LabelMethod.CONTEXT, _encode_named(self._model, labels, names, most)
            if words is None:
                return None
            body = words
        coded = HEADER.pack(method, *labels.shape) + body
        return coded if len(coded) < below else None

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode a map, the declared size checked first."""
        return self.decode_task_to(task, data, max_pixels, Place())

    def decode_task_to(self, task: Task, data: bytes, max_pixels: int, place: Place) -> Array:
        """Decode a map to where it is wanted, the declared size checked first.

        `task` may be of another kind, whose maps have been encoded as labels.
        """
        tag, height, width = HEADER.unpack_from(data)
        if not 0 < height * width <= max_pixels:
            raise ValueError(f"{height}×{width} pixels, at most {max_pixels} are expected here")
        shape = (height, width) if task.channels == 1 else (height, width, task.channels)
        method, body = LabelMethod(tag), data[HEADER.size :]
        if method is LabelMethod.CONTEXT:
            return _decode_context(self._model, body, shape, task, place)
        if method is LabelMethod.CONSTANT:
            pixel = np.frombuffer(body, np.dtype(task.dtype).newbyteorder("<")).reshape(shape[2:])
            return place.put(task, np.full(shape, pixel, task.dtype))
        if method is LabelMethod.ZSTD:
            return place.put(task, _from_zstd(body, shape, np.dtype(task.dtype)))
        return place.put(task, _from_jpeg_xl(body, shape, np.dtype(task.dtype)))


def _is_label_map(array: Array) -> bool:
    """Tell whether most pixels are like their left neighbour."""
    differ = array[:, 1:] != array[:, :-1]
    return differ.size == 0 or float(differ.mean()) <= NOISE


def _encode_context(model: LabelModel, array: Array) -> bytes | None:
    """Return the words of a map; None when it has more labels than can be modelled."""
    try:
        ids, palette = index_labels(array)
    except ValueError:
        return None
    encoder = SymbolEncoder()
    encode_labels(encoder, model, ids)
    put_palette(encoder, palette, array.dtype, array.shape[2] if array.ndim == 3 else 1)
    return encoder.finish()


def _encode_named(model: LabelModel, labels: Ids, names: Array, most: int) -> bytes | None:
    """Return the words of ``names[labels]``; None when they are known to be more than `most`."""
    ids, palette = index_named(labels, names)
    encoder = SymbolEncoder()
    if not encode_labels(encoder, model, ids, 8 * most):
        return None
    put_palette(encoder, palette, names.dtype, names.shape[1])
    return encoder.finish()


def _decode_context(
    model: LabelModel, words: bytes, shape: tuple[int, ...], task: Task, place: Place
) -> Array:
    if not words:  # the coder would give zeros for ever; two labels have words
        raise ValueError("there are no words")
    decoder = SymbolDecoder(words)
    ids = decode_labels(decoder, model, shape[0], shape[1])
    dtype, channels = np.dtype(task.dtype), shape[2] if len(shape) == 3 else 1
    palette = get_palette(decoder, int(ids.max()) + 1, dtype, channels)
    decoder.check_end()
    names = names_of(palette, dtype, channels)
    if not place.takes(task):
        names = task.to_physical(names[None])[0]
    out = place.empty((*ids.shape, *names.shape[1:]), names.dtype)
    if not out.flags.c_contiguous:
        out[...] = names[ids]
        return out
    write_names(ids, names, out)
    return out


def _zstd(array: Array) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_encode(_little(array), level=ZSTD_LEVEL))


def _little(array: Array) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _from_zstd(body: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    import imagecodecs

    n_bytes = int(np.prod(shape)) * dtype.itemsize
    # one byte of room more than is due: more is then seen, and a bomb cannot inflate
    raw = imagecodecs.zstd_decode(body, out=n_bytes + 1)
    if len(raw) != n_bytes:
        raise ValueError(f"{len(raw)} bytes of pixels, expected {n_bytes}")
    return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape).astype(dtype)


def _jpeg_xl(array: Array, effort: int) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpegxl_encode(array, lossless=True, effort=effort, numthreads=1))


def _from_jpeg_xl(body: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    import imagecodecs

    # imagecodecs compares the file's header with `out` first, so a giant size allocates nothing
    out: Array = imagecodecs.jpegxl_decode(body, numthreads=1, out=np.empty(shape, dtype))
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"the image is {out.dtype} {out.shape}, expected {dtype} {shape}")
    return out
