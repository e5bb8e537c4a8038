"""What the codecs for small images share: one byte of header where `ImageCodec` has five.

At 32×32 pixels a picture is 60 to 400 bytes, so each byte of header is a percent. The bytes::

    u8      tag             bits 0-1: method; bit 2: a mask follows; bits 3-7: k
    varint  height, width   only where k is 0; else both are 4k pixels: 4, 8 ... 124
    ...                     the method's own header and the picture, as `ImageCodec` has them

Bits 0 to 2 are those of `dsc._codecs.maps.base`. A side that k could say is never written out,
so that a sample has one bitstream.
"""

from dsc._codecs.base import Array
from dsc._codecs.maps.base import HEADER, MASK_BIT, MAX_SIDE, METHOD_BITS, ImageCodec
from dsc._coding.varint import pack_varint, unpack_varint
from dsc._schemas import Task

UNIT = 4  # pixels; 28, 32, 64, 84 and 96 are among its multiples
MAX_UNITS = 31
UNITS_AT = 3  # the lowest bit of k in the tag
SIDE_BYTES = 3  # of a side that is written out, at most


class SmallImageCodec(ImageCodec):
    """An `ImageCodec` with a short header. A subclass stores pictures without what is constant.

    Where a picture says nothing of its own length, a cut may decode to damaged pixels; the
    archive's checksums see it.
    """

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode a map under a short header."""
        data = super().encode_task(task, array, quality)
        tag, height, width = HEADER.unpack_from(data)
        units = _units(height, width)
        sides = b"" if units else pack_varint(height) + pack_varint(width)
        return bytes([tag | units << UNITS_AT]) + sides + data[HEADER.size :]

    def read_header(self, data: bytes) -> tuple[int, int, int, bytes]:
        """Return tag, height and width, and the bytes that follow them."""
        tag, start = data[0], 1
        height = width = UNIT * (tag >> UNITS_AT)
        if not height:
            height, start = unpack_varint(data, start, SIDE_BYTES)
            width, start = unpack_varint(data, start, SIDE_BYTES)
            if max(height, width) > MAX_SIDE or _units(height, width):
                raise ValueError(f"{height}×{width} pixels are not written like this")
        return tag & (METHOD_BITS | MASK_BIT), height, width, data[start:]


def _units(height: int, width: int) -> int:
    """Return k of the tag; 0 where the sides do not fit it."""
    fits = height == width and height % UNIT == 0 and height <= UNIT * MAX_UNITS
    return height // UNIT if fits else 0
