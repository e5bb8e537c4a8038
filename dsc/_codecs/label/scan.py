"""The codec `label-scan`: label maps, bit for bit, without weights.

A stream's bytes, little-endian::

    u8   method         CONSTANT, ZSTD, JPEG_XL or SCAN, as `LabelMethod` numbers them
    u16  height, width
    ...                 the method's data

or, where they begin with 0xFF, a lossless JPEG XL codestream and nothing else.

SCAN: words of the entropy coder, which hold the map row by row, each pixel coded as one of the
labels already known around it under chances that learn from the map itself
(`dsc._coding.context.scan`), then the palette, then the byte `END`, without which a cut could pass
for a map. CONSTANT: one pixel, little-endian. ZSTD: all of them, compressed. JPEG_XL: a lossless
image file; it is only read.

The smallest is kept of what is tried: SCAN, and JPEG XL where something says that it may be smaller
(`dsc._codecs.label.likely`), which the best effort always tries. Noise is not given to SCAN.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.canvas import Place
from dsc._codecs.label.likely import may_be_smaller, share_unlike
from dsc._codecs.label.palette import (
    MOST_CHANNELS,
    Packed,
    get_palette,
    index_labels,
    names_of,
    put_palette,
    write_names,
)
from dsc._codecs.maps.base import HEADER, MAX_SIDE, TaskCodec
from dsc._coding import jpeg_xl
from dsc._coding.context.lattice import Ids
from dsc._coding.context.scan import decode_scan, encode_scan
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder
from dsc._schemas import Effort, Task, TaskKind

NOISE = 0.5  # share of pixels unlike their left neighbour above which a map is no label map
JPEG_XL_EFFORTS: Mapping[Effort, int] = {Effort.FAST: 3, Effort.DEFAULT: 7, Effort.BEST: 9}
IMAGES = [(np.dtype(name), shape) for name in ("uint8", "uint16") for shape in ((), (3,))]
END, END_SIZE = 0xA5, 1 << 8
ZSTD_LEVEL = 3  # takes 1 ms; it is there for periodic maps, not for natural ones


class LabelMethod(IntEnum):
    """How a map is coded; the numbers stand in bitstreams."""

    CONTEXT = 0
    CONSTANT = 1
    ZSTD = 2
    JPEG_XL = 3
    SCAN = 4


class LabelScanCodec(TaskCodec):
    """Lossless whatever the quality.

    Parameters
    ----------
    tasks
        Label maps of any integers.
    """

    id: ClassVar[str] = "label-scan"
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT

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
            return headed(LabelMethod.CONSTANT, array, little(array[0, 0]))
        try:
            indexed = None if share_unlike(array) > NOISE else index_labels(array)
        except ValueError:  # more labels than can be modelled
            indexed = None
        tried = [] if indexed is None else self.modelled(array, *indexed)
        tried.append(headed(LabelMethod.ZSTD, array, _zstd(array)))
        best = min(tried, key=len)
        if (array.dtype, array.shape[2:]) in IMAGES and (
            indexed is None
            or self.effort is Effort.BEST
            or may_be_smaller(array, indexed[1].shape[1], len(best), len(tried[-1]))
        ):
            best = min(best, _jpeg_xl(array, JPEG_XL_EFFORTS[self.effort]), key=len)
        return best

    def modelled(self, array: Array, ids: Ids, palette: Packed) -> list[bytes]:
        """Encode a map as labels, in each way that may be the best."""
        return [encode_by_scan(array, ids, palette)]

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode a map, the declared size checked first."""
        return self.decode_task_to(task, data, max_pixels, Place())

    def decode_task_to(self, task: Task, data: bytes, max_pixels: int, place: Place) -> Array:
        """Decode a map to where it is wanted, the declared size checked first.

        `task` may be of another kind, whose maps have been encoded as labels.
        """
        bare = data.startswith(jpeg_xl.BARE)
        tag, height, width = (0, *jpeg_xl.size_of(data)) if bare else HEADER.unpack_from(data)
        if not 0 < height * width <= max_pixels:
            raise ValueError(f"{height}×{width} pixels, at most {max_pixels} are expected here")
        shape = (height, width) if task.channels == 1 else (height, width, task.channels)
        dtype = np.dtype(task.dtype)
        if bare:
            return place.put(task, _from_jpeg_xl(data, shape, dtype))
        method, body = LabelMethod(tag), data[HEADER.size :]
        if method is LabelMethod.CONSTANT:
            pixel = np.frombuffer(body, dtype.newbyteorder("<")).reshape(shape[2:])
            return place.put(task, np.full(shape, pixel, task.dtype))
        if method is LabelMethod.ZSTD:
            return place.put(task, _from_zstd(body, shape, dtype))
        if method is LabelMethod.JPEG_XL:
            return place.put(task, _from_jpeg_xl(body, shape, dtype))
        return self._decode_words(method, body, shape, task, place)

    def read_ids(self, method: LabelMethod, decoder: SymbolDecoder, shape: Sequence[int]) -> Ids:
        """Read what `modelled` wrote, (H, W); anything raised is damage."""
        if method is not LabelMethod.SCAN:
            raise ValueError(f"method {method.name} takes a model file")
        return decode_scan(decoder, shape[0], shape[1])

    def _decode_words(
        self, method: LabelMethod, words: bytes, shape: tuple[int, ...], task: Task, place: Place
    ) -> Array:
        """Decode what CONTEXT or SCAN wrote."""
        if not words:  # the coder would give zeros for ever; two labels have words
            raise ValueError("there are no words")
        decoder = SymbolDecoder(words)
        ids = self.read_ids(method, decoder, shape)
        dtype, channels = np.dtype(task.dtype), channels_of(shape)
        palette = get_palette(decoder, int(ids.max()) + 1, dtype, channels)
        if method is LabelMethod.SCAN and decoder.get_uniform(1, END_SIZE)[0] != END:
            raise ValueError("after the palette comes no mark of the end")
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


def headed(method: LabelMethod, array: Array, body: bytes) -> bytes:
    """Put the header of a method before its data."""
    return HEADER.pack(method, *array.shape[:2]) + body


def channels_of(shape: tuple[int, ...]) -> int:
    """Return how many channels a map of a shape has."""
    return shape[2] if len(shape) == 3 else 1


def encode_by_scan(array: Array, ids: Ids, palette: Packed) -> bytes:
    """Encode a map row by row; see `dsc._coding.context.scan`."""
    encoder = SymbolEncoder()
    order = encode_scan(encoder, ids)
    put_palette(encoder, palette[:, order], array.dtype, channels_of(array.shape))
    encoder.put_uniform(np.array([END], np.int32), END_SIZE)
    return headed(LabelMethod.SCAN, array, encoder.finish())


def _zstd(array: Array) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_encode(little(array), level=ZSTD_LEVEL))


def little(array: Array) -> bytes:
    """Return the values of an array, little-endian."""
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

    file = bytes(imagecodecs.jpegxl_encode(array, lossless=True, effort=effort, numthreads=1))
    return jpeg_xl.codestream_of(file)


def _from_jpeg_xl(body: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    import imagecodecs

    # imagecodecs compares the file's header with `out` first, so a giant size allocates nothing
    out: Array = imagecodecs.jpegxl_decode(body, numthreads=1, out=np.empty(shape, dtype))
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"the image is {out.dtype} {out.shape}, expected {dtype} {shape}")
    return out
