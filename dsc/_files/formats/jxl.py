"""JPEG XL: gray and colour with or without alpha, 8 to 16 bits and floating point.

The head is read as ISO/IEC 18181-1 gives it (annexes D, E and F), up to the first frame, so that
size, depth and whether the file is lossless are known without decoding. JPEG XL rotates as part of
decoding; the shape is the rotated one. Of lossless halves, libjxl 0.11 keeps all but those below
2**-14, which it rounds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from dsc._files.formats.content import (
    Content,
    Family,
    Pixels,
    decoding,
    picture,
    refused,
    turned,
)

_BARE = b"\xff\x0a"
_BOXED = b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_HEAD_BYTES = 4096
_EXTRA = ("alpha", "depth", "spot colour", "selection", "black", "CFA", "thermal")

# how the format writes small integers: two bits choose among (bits to read, offset)
_Choices = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]
_ENUM: _Choices = ((0, 0), (0, 1), (4, 2), (6, 18))
_SIZE: _Choices = ((9, 1), (13, 1), (18, 1), (30, 1))
_XY: _Choices = ((19, 0), (19, 524288), (20, 1048576), (21, 2097152))


class _Bits:
    """Reads a codestream's bits, the least significant of a byte first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise EOFError("its head is cut")
        self._left -= count
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value

    def flag(self) -> bool:
        return bool(self.take(1))

    def u32(self, choices: _Choices) -> int:
        bits, offset = choices[self.take(2)]
        return self.take(bits) + offset

    def u64(self) -> int:
        kind = self.take(2)
        if kind < 3:
            return (0, self.take(4 * (kind == 1)) + 1, self.take(8 * (kind == 2)) + 17)[kind]
        value, shift = self.take(12), 12
        while self.flag():
            width = 4 if shift == 60 else 8
            value |= self.take(width) << shift
            if width == 4:
                break
            shift += 8
        return value

    def align(self) -> None:
        self.take(self._left % 8)


class _Depth(NamedTuple):
    floating: bool
    bits: int


_USUAL = _Depth(False, 8)


@dataclass
class _Head:
    height: int
    width: int
    depth: _Depth = _USUAL
    gray: bool = False
    orientation: int = 1
    animated: bool = False
    extra: tuple[int, ...] = ()  # kinds of the extra channels
    lossy: bool = True


def _content(data: bytes, where: str) -> Content:
    with decoding(where, "JPEG XL"):
        stream, recompressed = _codestream(data)
        head = _head(_Bits(stream))
    alpha = head.extra == (0,)
    if head.extra and not alpha:
        names = ", ".join(_EXTRA[kind] if kind < len(_EXTRA) else str(kind) for kind in head.extra)
        raise refused(
            where, f"extra channels ({names}) in a JPEG XL file", "write them to files of their own"
        )
    floating, bits = head.depth
    dtype = f"float{16 if bits <= 16 else 32}" if floating else f"uint{8 if bits <= 8 else 16}"
    shape = picture(head.height, head.width, (1 if head.gray else 3) + alpha)
    return Content(
        "jxl",
        dtype if floating or bits <= 16 else "uint32",
        turned(shape, head.orientation),
        lossless=not head.lossy and not recompressed,
        bits=bits,
        pages=_frames(data, where, shape) if head.animated else 1,
        alpha=alpha,
    )


def _pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    import imagecodecs

    with decoding(where, "JPEG XL"):
        array: Pixels = imagecodecs.jpegxl_decode(data)
    return array


def _frames(data: bytes, where: str, shape: tuple[int, ...]) -> int:
    import imagecodecs

    with decoding(where, "JPEG XL"):
        array: Pixels = imagecodecs.jpegxl_decode(data)
    return array.shape[0] if array.ndim > len(shape) else 1


def _codestream(data: bytes) -> tuple[bytes, bool]:
    """Return the start of the codestream, and whether the file is a recompressed JPEG."""
    if data.startswith(_BARE):
        return data[2:_HEAD_BYTES], False
    stream, recompressed = b"", False
    for kind, start, stop in _boxes(data):
        recompressed |= kind == b"jbrd"
        if kind in (b"jxlc", b"jxlp") and len(stream) < _HEAD_BYTES:
            stream += data[start + 4 * (kind == b"jxlp") : min(stop, start + _HEAD_BYTES)]
    if not stream.startswith(_BARE):
        raise EOFError("it has no codestream")
    return stream[2:], recompressed


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    place = 0
    while place + 8 <= len(data):
        size, start = int.from_bytes(data[place : place + 4], "big"), place + 8
        if size == 1:
            size, start = int.from_bytes(data[place + 8 : place + 16], "big"), place + 16
        stop = place + size if size else len(data)
        if stop < start:
            raise ValueError(f"a box at byte {place} has no size")
        yield data[place + 4 : place + 8], start, stop
        place = stop


def _head(bits: _Bits) -> _Head:
    head = _Head(*_size(bits))
    if bits.flag():  # all as usual: 8 bits, RGB, lossy
        return head
    extra_fields = bits.flag()
    preview = False
    if extra_fields:
        head.orientation = 1 + bits.take(3)
        if bits.flag():
            _size(bits)  # the size that a viewer should show
        preview = bits.flag()
        if preview:
            _preview_size(bits)
        head.animated = bits.flag()
        if head.animated:
            _animation(bits)
    head.depth = _depth(bits)
    bits.flag()  # whether 16-bit buffers are enough
    count = bits.u32(((0, 0), (0, 1), (4, 2), (12, 1)))
    head.extra = tuple(_extra_channel(bits) for _ in range(count))
    xyb = bits.flag()
    head.gray, profile = _colour(bits)
    if xyb or profile or preview:  # XYB is lossy; else the first frame cannot be found cheaply
        head.lossy = xyb
        return head
    if extra_fields and not bits.flag():
        bits.take(16 + 16 + 1 + 16)  # tone mapping
    _skip_extensions(bits)
    head.lossy = not bits.flag() or not _modular(bits)  # the usual upsampling, then the frame
    return head


def _modular(bits: _Bits) -> bool:
    bits.align()
    if bits.flag():  # a frame with all as usual has lossy blocks
        return False
    bits.take(2)
    return bits.flag()


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()
    height = 8 * (bits.take(5) + 1) if small else bits.u32(_SIZE)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        return height, height * across // down
    return height, 8 * (bits.take(5) + 1) if small else bits.u32(_SIZE)


def _preview_size(bits: _Bits) -> None:
    eighths: _Choices = ((0, 16), (0, 32), (5, 1), (9, 33))
    choices: _Choices = eighths if bits.flag() else ((6, 1), (8, 65), (10, 321), (12, 1345))
    bits.u32(choices)
    if not bits.take(3):
        bits.u32(choices)


def _animation(bits: _Bits) -> None:
    bits.u32(((0, 100), (0, 1000), (10, 1), (30, 1)))
    bits.u32(((0, 1), (0, 1001), (8, 1), (10, 1)))
    bits.u32(((0, 0), (3, 0), (16, 0), (32, 0)))
    bits.flag()


def _depth(bits: _Bits) -> _Depth:
    if bits.flag():
        depth = _Depth(True, bits.u32(((0, 32), (0, 16), (0, 24), (6, 1))))
        bits.take(4)
        return depth
    return _Depth(False, bits.u32(((0, 8), (0, 10), (0, 12), (6, 1))))


def _extra_channel(bits: _Bits) -> int:
    if bits.flag():
        return 0
    kind = bits.u32(_ENUM)
    _depth(bits)
    bits.u32(((0, 0), (0, 3), (0, 4), (3, 1)))
    for _ in range(bits.u32(((0, 0), (4, 0), (5, 16), (10, 48)))):
        bits.take(8)
    if kind == 0:
        bits.flag()
    elif kind == 2:
        bits.take(64)
    elif kind == 5:
        bits.u32(((0, 1), (2, 0), (4, 3), (8, 19)))
    return kind


def _colour(bits: _Bits) -> tuple[bool, bool]:
    """Return whether the picture is gray, and whether it brings a colour profile."""
    if bits.flag():
        return False, False
    profile, space = bits.flag(), bits.u32(_ENUM)
    gray = space == 1
    if profile:
        return gray, True
    if space != 2:  # XYB has its own white, primaries and transfer
        _custom(bits, 1)
        if not gray:
            _custom(bits, 3)
        if bits.flag():
            bits.take(24)
        else:
            bits.u32(_ENUM)
    bits.u32(_ENUM)
    return gray, False


def _custom(bits: _Bits, points: int) -> None:
    if bits.u32(_ENUM) == 2:
        for _ in range(2 * points):
            bits.u32(_XY)


def _skip_extensions(bits: _Bits) -> None:
    present = bits.u64()
    sizes = [bits.u64() for _ in range(present.bit_count())]
    for size in sizes:
        bits.take(size)


FAMILY = Family(
    "JPEG XL",
    (".jxl",),
    lambda data: data.startswith((_BARE, _BOXED)),
    _content,
    _pixels,
)
