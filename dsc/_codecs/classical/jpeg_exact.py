"""The codec `jpeg-exact`: pictures as their JPEG files, about an eighth smaller and the same again.

JPEG XL packs the coefficients of a JPEG file anew and gives the same file back, byte for byte; the
pixels are what libjpeg decodes from that file, as the source read them. A sample whose array knows
its file (`dsc._schemas.from_file`) is kept so; one that does not, or whose file decodes to other
pixels than the array's, is coded by `exact`. A stream's bytes, little-endian::

    u8   tag            bits 0-1: form; bits 2-4: orientation less 1; the other bits are 0
    u32  CRC-32 of the tag and what follows

PICTURE: the CRC is of the values, little-endian in C order; then a bitstream of `exact`. Other
forms: the CRC is of height, width and the file; then ``u16`` height and width of the array. FILE:
the file. REPACKED: ``u32`` bytes of the file, and the JPEG XL file that it comes back from. The
array is the file's picture turned as EXIF's orientation of that number says; a gray picture serves
a task of three channels, and the first of three channels a task of one.
"""

import struct
from enum import IntEnum
from typing import ClassVar
from zlib import crc32

import numpy as np

from dsc._codecs.base import Array, check_array
from dsc._codecs.canvas import Place
from dsc._codecs.classical.exact import ExactCodec
from dsc._codecs.classical.jpeg_file import MAGIC, apply_orientation, decode_jpeg, stored_size
from dsc._codecs.classical.jxl_head import Bits, codestream, read_size
from dsc._codecs.maps.base import MAX_SIDE, NOT_DAMAGE, TaskCodec
from dsc._schemas import Effort, Task
from dsc._schemas.from_file import file_of, with_file

HEAD, SIDES, SIZE = struct.Struct("<BI"), struct.Struct("<HH"), struct.Struct("<I")
FORM_BITS, TURN_SHIFT, MOST_TURN = 0b11, 2, 7
ORIENTATIONS = range(1, 9)
MOST_TIMES, MOST_MORE = 1024, 1 << 16  # what a repacked file may grow to: times its size, and more


class KeptForm(IntEnum):
    """How a sample is kept; the numbers stand in bitstreams."""

    PICTURE = 0
    REPACKED = 1
    FILE = 2


class JpegExactCodec(TaskCodec):
    """Lossless whatever the quality; JPEG files come back as they were."""

    id: ClassVar[str] = "jpeg-exact"
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT

    def refusal(self, task: Task) -> str | None:
        """Refuse what no JPEG file holds."""
        if not task.is_map:
            return f"keeps pictures, not {task.kind.value} tasks; use plain"
        if task.dtype not in ("uint8", "uint16") or task.channels not in (1, 3):
            return (
                f"keeps pictures of 8 or 16 bits and one or three channels, not {task.channels} of "
                f"{task.dtype}; use exact"
            )
        return None

    def _encode(self, task: Task, array: Array, quality: int) -> bytes:
        file = file_of(array)
        kept = None if file is None else _keep(task, check_array(task, array), file)
        return super()._encode(task, array, quality) if kept is None else kept

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode an array that knows no JPEG file."""
        body = self._pictures(task).encode_task(task, array, quality)
        return _sealed(KeptForm.PICTURE, _values(array), body)

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode to the source's pixels; of a kept file, the array knows it."""
        tag, checksum = HEAD.unpack_from(data)
        form, turn = KeptForm(tag & FORM_BITS), tag >> TURN_SHIFT
        if turn > MOST_TURN or (turn and form is KeptForm.PICTURE):
            raise ValueError(f"unknown tag {tag:#04x}")
        if form is KeptForm.PICTURE:
            array = self._pictures(task).decode_task(task, data[HEAD.size :], max_pixels)
            _check(tag, _values(array), checksum)
            return array
        file, shape = _file(form, data, max_pixels)
        _check(tag, data[HEAD.size : HEAD.size + SIDES.size] + file, checksum)
        if _turned(stored_size(file), turn + 1) != shape:
            raise ValueError(f"the file is no picture of {shape[0]}×{shape[1]} pixels")
        pixels = _fitting(task, decode_jpeg(file), turn + 1)
        if pixels is None or pixels.shape[:2] != shape:
            raise ValueError("the file is no picture of this task")
        return with_file(pixels, file)

    def decode_task_to(self, task: Task, data: bytes, max_pixels: int, place: Place) -> Array:
        """Decode the same to where it is wanted; an array of its own still knows its file."""
        array = self.decode_task(task, data, max_pixels)
        if place.native and place.room is None:
            return array
        return np.asarray(place.put(task, np.asarray(array)))

    def _pictures(self, task: Task) -> ExactCodec:
        return ExactCodec([task]).at_effort(self.effort)


def _keep(task: Task, array: Array, file: bytes) -> bytes | None:
    """Return the bitstream of a JPEG file; None where it does not decode to the array."""
    orientation = _orientation(task, array, file)
    if orientation is None:
        return None
    sides = SIDES.pack(*array.shape[:2])
    turn = (orientation - 1) << TURN_SHIFT
    packed = _repack(file)
    if packed is None:
        return _sealed(KeptForm.FILE | turn, sides + file, sides + file)
    return _sealed(KeptForm.REPACKED | turn, sides + file, sides + SIZE.pack(len(file)) + packed)


def _orientation(task: Task, array: Array, file: bytes) -> int | None:
    """Tell how a file's picture is turned to be the array; None where it is another one."""
    if not file.startswith(MAGIC) or max(array.shape[:2]) > MAX_SIDE:
        return None
    try:
        size, pixels = stored_size(file), decode_jpeg(file)
    except NOT_DAMAGE:
        raise
    except Exception:  # whatever a broken file raises: its pixels are then coded as they are
        return None
    if pixels.shape[:2] != size:
        return None
    for orientation in ORIENTATIONS:
        found = _fitting(task, pixels, orientation)
        if found is not None and np.array_equal(array, found):
            return orientation
    return None


def _repack(file: bytes) -> bytes | None:
    """Return a file as JPEG XL packs it; None where that is not smaller, or not the same again."""
    import imagecodecs

    try:
        packed = bytes(imagecodecs.jpegxl_encode_jpeg(file, numthreads=1))
        smaller = len(packed) + SIZE.size < len(file) <= MOST_TIMES * len(packed) + MOST_MORE
        return packed if smaller and _unpack(packed, len(file)) == file else None
    except NOT_DAMAGE:
        raise
    except Exception:  # arithmetic coding, inks, profiles that are none: the file is kept as it is
        return None


def _unpack(packed: bytes, size: int) -> bytes:
    """Return the file of `size` bytes that JPEG XL packed."""
    import imagecodecs

    return bytes(imagecodecs.jpegxl_decode_jpeg(packed, numthreads=1, out=size))


def _file(form: KeptForm, data: bytes, max_pixels: int) -> tuple[bytes, tuple[int, int]]:
    """Return the file in a bitstream, and height and width, all that is declared checked first."""
    height, width = SIDES.unpack_from(data, HEAD.size)
    if not 0 < height * width <= max_pixels:
        raise ValueError(f"{height}×{width} pixels, at most {max_pixels} are expected here")
    body = data[HEAD.size + SIDES.size :]
    if form is KeptForm.FILE:
        return body, (height, width)
    (size,), packed = SIZE.unpack_from(body), body[SIZE.size :]
    if size > MOST_TIMES * len(packed) + MOST_MORE:
        raise ValueError(f"{len(packed)} bytes do not hold a file of {size}")
    stored = read_size(Bits(codestream(packed)[0]))
    if sorted(stored) != sorted((height, width)):
        raise ValueError(f"a picture of {stored[0]}×{stored[1]} pixels in one of {height}×{width}")
    return _unpack(packed, size), (height, width)


def _fitting(task: Task, pixels: Array, orientation: int) -> Array | None:
    """Return a file's picture as a task has it; None where it has other channels or numbers."""
    pixels = apply_orientation(pixels, orientation)
    if pixels.ndim == 2 and task.channels == 3:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    elif pixels.ndim == 3 and task.channels == 1:
        pixels = pixels[:, :, 0]
    fits = pixels.dtype == np.dtype(task.dtype) and pixels.shape[2:] in ((), (3,))
    return np.ascontiguousarray(pixels) if fits else None


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return size if orientation < 5 else (size[1], size[0])


def _values(array: Array) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _sealed(tag: int, checked: bytes, body: bytes) -> bytes:
    return HEAD.pack(tag, crc32(checked, crc32(bytes([tag])))) + body


def _check(tag: int, found: bytes, checksum: int) -> None:
    if crc32(found, crc32(bytes([tag]))) != checksum:
        raise ValueError("what comes out is not what went in")
