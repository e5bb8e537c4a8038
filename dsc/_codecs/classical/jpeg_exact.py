"""The codec `jpeg-exact`: pictures as their JPEG files, about an eighth smaller and the same again.

JPEG XL packs the coefficients of a JPEG file anew and gives the same file back, byte for byte, and
what files of a data set begin with is kept once, in the codec's configuration. The pixels are what
libjpeg decodes from that file, as the source read them. A sample whose array knows its file
(`dsc._schemas.from_file`) is kept so; one that does not, or whose file decodes to other pixels than
the array's, is coded by `exact`. A stream's bytes, little-endian::

    u8   tag            bits 0-1: form; bits 2-4: orientation less 1; bit 5: the start is
                        deflated; the other bits are 0
    u32  CRC-32 of the tag and what follows

PICTURE: the CRC is of the values, little-endian in C order; then a bitstream of `exact`. Other
forms: the CRC is of height, width and the file; then ``u16`` height and width of the array. FILE:
the file. REPACKED: ``u32`` bytes of the file, and the JPEG XL file that it comes back from. Where
bit 5 is set, the JPEG or JPEG XL file begins with its start deflated, with the starts that the
codec's configuration has (`dsc._codecs.classical.file_starts`). The array is the file's picture
turned as EXIF's orientation of that number says; a gray picture serves a task of three channels,
and the first of three channels a task of one.
"""

import struct
from collections.abc import Mapping, Sequence
from copy import copy
from enum import IntEnum
from typing import Any, ClassVar, Self
from zlib import crc32

import numpy as np

from dsc._codecs.base import Array, Sample, check_array
from dsc._codecs.canvas import Place
from dsc._codecs.classical.exact import ExactCodec
from dsc._codecs.classical.file_starts import Starts, starts_of
from dsc._codecs.classical.jpeg_file import MAGIC, apply_orientation, decode_jpeg, stored_size
from dsc._codecs.classical.jxl_head import Bits, codestream, read_size
from dsc._codecs.maps.base import MAX_SIDE, NOT_DAMAGE, TaskCodec
from dsc._schemas import Effort, Task
from dsc._schemas.from_file import file_of, with_file
from dsc.errors import CodecError

HEAD, SIDES, SIZE = struct.Struct("<BI"), struct.Struct("<HH"), struct.Struct("<I")
FORM_BITS, TURN_SHIFT, MOST_TURN, CUT = 0b11, 2, 0b111, 1 << 5
ORIENTATIONS = range(1, 9)
MOST_TIMES, MOST_MORE = 1024, 1 << 16  # what a repacked file may grow to: times its size, and more
STARTS = "starts"  # in a configuration
LARGE = 1 << 17  # bytes; of a file as large as that, its start is less than a hundredth


class KeptForm(IntEnum):
    """How a sample is kept; the numbers stand in bitstreams."""

    PICTURE = 0
    REPACKED = 1
    FILE = 2


class JpegExactCodec(TaskCodec):
    """Lossless whatever the quality; JPEG files come back as they were."""

    id: ClassVar[str] = "jpeg-exact"
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT
    learns_from: ClassVar[int] = 8

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks)
        self.starts = Starts()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes, with the starts that it knows."""
        return super().from_config(config, weights).knowing(config)

    def config(self) -> dict[str, Any]:
        """Return the tasks, and what their files begin with where that is known."""
        known = {STARTS: self.starts.to_text()} if self.starts.text else {}
        return super().config() | known

    def knowing(self, config: Mapping[str, Any]) -> Self:
        """Return this codec with the starts of another one's configuration, or with none.

        Raises
        ------
        CodecError
            When they are no starts.
        """
        try:
            return self._with(Starts.from_text(config.get(STARTS, "")))
        except ValueError as error:
            raise CodecError(f"{self.id}: not a configuration of this codec: {error}") from None

    def learning(self, samples: Sequence[Sample], count: int) -> Self:
        """Return this codec with what files begin with, where knowing it takes fewer bytes in all.

        The starts of every other sample are tried on those between.

        Parameters
        ----------
        samples
            Some samples of the data, far apart.
        count
            How many samples the data has.
        """
        some = samples[1::2]
        learnt = starts_of(_forms_of(file) for file in self._small_files(samples[::2]))
        other = self._with(learnt)
        tried = [_forms_of(file) for file in self._small_files(some)]
        saved = sum(_fewest(forms, Starts()) - _fewest(forms, learnt) for forms in tried)
        cost = len(learnt.to_text()) * len(some)
        return other if saved * count > cost else self

    def _small_files(self, samples: Sequence[Sample]) -> list[bytes]:
        """Return the JPEG files of samples that are not large."""
        files = [file_of(one[t.name]) for one in samples for t in self.tasks if t.name in one]
        return [f for f in files if f is not None and f.startswith(MAGIC) and len(f) < LARGE]

    def _with(self, starts: Starts) -> Self:
        other = copy(self)
        other.starts = starts
        return other

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
        kept = None if file is None else _keep(task, check_array(task, array), file, self.starts)
        return super()._encode(task, array, quality) if kept is None else kept

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode an array that knows no JPEG file."""
        body = self._pictures(task).encode_task(task, array, quality)
        return _sealed(KeptForm.PICTURE, _values(array), body)

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode to the source's pixels; of a kept file, the array knows it."""
        tag, checksum = HEAD.unpack_from(data)
        form, turn = KeptForm(tag & FORM_BITS), tag >> TURN_SHIFT & MOST_TURN
        if tag >= 2 * CUT or (form is KeptForm.PICTURE and tag != form):
            raise ValueError(f"unknown tag {tag:#04x}")
        if form is KeptForm.PICTURE:
            array = self._pictures(task).decode_task(task, data[HEAD.size :], max_pixels)
            _check(tag, _values(array), checksum)
            return array
        file, shape = _file(tag, data, max_pixels, self.starts)
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


def _keep(task: Task, array: Array, file: bytes, starts: Starts) -> bytes | None:
    """Return the bitstream of a JPEG file; None where it does not decode to the array."""
    orientation = _orientation(task, array, file)
    if orientation is None:
        return None
    height, width = array.shape[:2]
    sides = SIDES.pack(height, width)
    turn = (orientation - 1) << TURN_SHIFT
    bodies = _bodies(_forms_of(file), starts)
    for form, body in sorted(bodies.items(), key=lambda item: len(item[1])):
        if _gives_back(file, form, body, starts, (height, width)):
            return _sealed(form | turn, sides + file, sides + body)
    return _sealed(KeptForm.FILE | turn, sides + file, sides + file)


def _forms_of(file: bytes) -> list[bytes]:
    """Return a file as it is, and as JPEG XL packs it where it can."""
    import imagecodecs

    try:
        return [file, bytes(imagecodecs.jpegxl_encode_jpeg(file, numthreads=1))]
    except NOT_DAMAGE:
        raise
    except Exception:  # arithmetic coding, inks, profiles that are none
        return [file]


def _bodies(forms: Sequence[bytes], starts: Starts) -> dict[int, bytes]:
    """Return what a file may be kept as: by bits of the tag, what comes after the sides."""
    ways = {KeptForm.FILE: b"", KeptForm.REPACKED: SIZE.pack(len(forms[0]))}
    found: dict[int, bytes] = {}
    for (form, head), data in zip(ways.items(), forms, strict=False):
        found[form] = head + data
        cut = starts.cut(data)
        if cut is not None:
            found[form | CUT] = head + cut
    return found


def _fewest(forms: Sequence[bytes], starts: Starts) -> int:
    return min(map(len, _bodies(forms, starts).values()))


def _gives_back(file: bytes, tag: int, body: bytes, starts: Starts, sides: tuple[int, int]) -> bool:
    """Tell whether a file comes back from what it may be kept as."""
    try:
        return _opened(tag, body, starts, sides) == file
    except NOT_DAMAGE:
        raise
    except Exception:  # whatever JPEG XL raises: the file is kept in another way
        return False


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


def _opened(tag: int, body: bytes, starts: Starts, sides: tuple[int, int]) -> bytes:
    """Return the file of what comes after height and width, which are compared with JPEG XL's."""
    import imagecodecs

    if tag & FORM_BITS == KeptForm.FILE:
        return starts.whole(body) if tag & CUT else body
    (size,), packed = SIZE.unpack_from(body), body[SIZE.size :]
    if size > MOST_TIMES * len(packed) + MOST_MORE:
        raise ValueError(f"{len(packed)} bytes do not hold a file of {size}")
    packed = starts.whole(packed) if tag & CUT else packed
    stored = read_size(Bits(codestream(packed)[0]))
    if sorted(stored) != sorted(sides):
        raise ValueError(
            f"a picture of {stored[0]}×{stored[1]} pixels in one of {sides[0]}×{sides[1]}"
        )
    return bytes(imagecodecs.jpegxl_decode_jpeg(packed, numthreads=1, out=size))


def _file(tag: int, data: bytes, max_pixels: int, starts: Starts) -> tuple[bytes, tuple[int, int]]:
    """Return the file in a bitstream, and height and width, all that is declared checked first."""
    height, width = SIDES.unpack_from(data, HEAD.size)
    if not 0 < height * width <= max_pixels:
        raise ValueError(f"{height}×{width} pixels, at most {max_pixels} are expected here")
    body = data[HEAD.size + SIDES.size :]
    return _opened(tag, body, starts, (height, width)), (height, width)


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
