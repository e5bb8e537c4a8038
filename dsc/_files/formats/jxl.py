"""JPEG XL: gray and colour with or without alpha, 8 to 16 bits and floating point.

The head is read as ISO/IEC 18181-1 gives it (annexes D, E and F), up to the first frame, so that
size, depth and whether the file is lossless are known without decoding. JPEG XL rotates as part of
decoding; the shape is the rotated one. Of lossless halves, libjxl 0.11 keeps all but those below
2**-14, which it rounds.
"""

from dataclasses import dataclass
from typing import NamedTuple

from dsc._codecs.classical.jxl_head import BARE, BOXED, Bits, Choices, codestream, read_size
from dsc._files.formats.content import (
    Content,
    Family,
    Pixels,
    decoding,
    picture,
    refused,
    turned,
)

_EXTRA = ("alpha", "depth", "spot colour", "selection", "black", "CFA", "thermal")
_ENUM: Choices = ((0, 0), (0, 1), (4, 2), (6, 18))
_XY: Choices = ((19, 0), (19, 524288), (20, 1048576), (21, 2097152))


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
        stream, recompressed = codestream(data)
        head = _head(Bits(stream))
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


def _head(bits: Bits) -> _Head:
    head = _Head(*read_size(bits))
    if bits.flag():  # all as usual: 8 bits, RGB, lossy
        return head
    extra_fields = bits.flag()
    preview = False
    if extra_fields:
        head.orientation = 1 + bits.take(3)
        if bits.flag():
            read_size(bits)  # the size that a viewer should show
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


def _modular(bits: Bits) -> bool:
    bits.align()
    if bits.flag():  # a frame with all as usual has lossy blocks
        return False
    bits.take(2)
    return bits.flag()


def _preview_size(bits: Bits) -> None:
    eighths: Choices = ((0, 16), (0, 32), (5, 1), (9, 33))
    choices: Choices = eighths if bits.flag() else ((6, 1), (8, 65), (10, 321), (12, 1345))
    bits.u32(choices)
    if not bits.take(3):
        bits.u32(choices)


def _animation(bits: Bits) -> None:
    bits.u32(((0, 100), (0, 1000), (10, 1), (30, 1)))
    bits.u32(((0, 1), (0, 1001), (8, 1), (10, 1)))
    bits.u32(((0, 0), (3, 0), (16, 0), (32, 0)))
    bits.flag()


def _depth(bits: Bits) -> _Depth:
    if bits.flag():
        depth = _Depth(True, bits.u32(((0, 32), (0, 16), (0, 24), (6, 1))))
        bits.take(4)
        return depth
    return _Depth(False, bits.u32(((0, 8), (0, 10), (0, 12), (6, 1))))


def _extra_channel(bits: Bits) -> int:
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


def _colour(bits: Bits) -> tuple[bool, bool]:
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


def _custom(bits: Bits, points: int) -> None:
    if bits.u32(_ENUM) == 2:
        for _ in range(2 * points):
            bits.u32(_XY)


def _skip_extensions(bits: Bits) -> None:
    present = bits.u64()
    sizes = [bits.u64() for _ in range(present.bit_count())]
    for size in sizes:
        bits.take(size)


FAMILY = Family(
    "JPEG XL",
    (".jxl",),
    lambda data: data.startswith((BARE, BOXED)),
    _content,
    _pixels,
)
