"""WebP for small pictures: no RIFF container, and nothing that is constant in a frame's header.

`bare` keeps the length of a lossy picture's first partition and its partitions, or the
entropy-coded data of a lossless picture; `contain` writes the file back, byte for byte, with the
size, which the picture itself no longer says. The bytes::

    varint  bytes of the first partition; 0: the picture is lossless
    ...     partitions of a VP8 key frame, or what follows the header of VP8L

Source: RFC 9649 (WebP), 2.3 to 2.6 and 3.4; RFC 6386 (VP8), 9.1.
"""

import struct
from typing import ClassVar

from dsc._codecs.base import Array
from dsc._codecs.classical.webp import WebpCodec
from dsc._codecs.maps.small import SmallImageCodec
from dsc._coding.varint import pack_varint, unpack_varint
from dsc._schemas import Task

RIFF = struct.Struct("<4sI4s4sI")  # RIFF, its size, WEBP, kind of the only chunk, its size
VP8 = struct.Struct("<HB3sHH")  # frame tag of 24 bits, start code, width, height
VP8L = struct.Struct("<BI")  # signature, then width - 1, height - 1, alpha, version
START_CODE, SIGNATURE = b"\x9d\x01\x2a", 0x2F
# A key frame of profile 0 that is shown; above it, the length of the first partition.
TAG, TAG_BITS = 0b10000, 5
SIDE_BITS, LOSSLESS_MAX = 14, 1 << 14
PARTITION_BYTES = 3  # of its length, at most


class WebpBareCodec(SmallImageCodec, WebpCodec):
    """The pixels of `webp` at the same quality, in 27 to 34 bytes less a picture."""

    id: ClassVar[str] = "webp-bare"

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write a picture without container."""
        return bare(super().write_image(image, task, quality))

    def whole_file(self, data: bytes, shape: tuple[int, ...]) -> bytes:
        """Return a WebP file."""
        return contain(data, *shape[:2])

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read what `write_image` gave."""
        return super().read_image(contain(data, *out.shape[:2]), out)


def bare(webp: bytes) -> bytes:
    """Take the picture out of a WebP file.

    Raises
    ------
    ValueError
        When the file is more than one opaque picture, or its header is not what it always is.
    """
    riff, _, form, kind, size = RIFF.unpack_from(webp)
    chunk = webp[RIFF.size : RIFF.size + size]
    if (riff, form) == (b"RIFF", b"WEBP") and len(chunk) == size and len(webp) - len(chunk) < 22:
        if kind == b"VP8 ":
            low, high, start, *_ = VP8.unpack_from(chunk)
            tag = high << 16 | low
            if tag & ((1 << TAG_BITS) - 1) == TAG and start == START_CODE and tag >> TAG_BITS:
                return pack_varint(tag >> TAG_BITS) + chunk[VP8.size :]
        if kind == b"VP8L" and chunk[0] == SIGNATURE and not chunk[4] >> 4:
            return pack_varint(0) + chunk[VP8L.size :]
    raise ValueError("not a WebP file of one opaque picture")


def contain(data: bytes, height: int, width: int) -> bytes:
    """Return the WebP file of what `bare` gave.

    Raises
    ------
    ValueError
        When the bytes do not start as they should, or the format cannot hold the size.
    """
    partition, start = unpack_varint(data, most=PARTITION_BYTES)
    if max(height, width) > LOSSLESS_MAX - (partition > 0):
        raise ValueError(f"{height}×{width} pixels are more than WebP holds")
    if partition:
        tag = partition << TAG_BITS | TAG
        kind, header = b"VP8 ", VP8.pack(tag & 0xFFFF, tag >> 16, START_CODE, width, height)
    else:
        sides = width - 1 | height - 1 << SIDE_BITS
        kind, header = b"VP8L", VP8L.pack(SIGNATURE, sides)
    chunk = header + data[start:]
    padding = bytes(len(chunk) % 2)
    whole = RIFF.size - 8 + len(chunk) + len(padding)
    return RIFF.pack(b"RIFF", whole, b"WEBP", kind, len(chunk)) + chunk + padding
