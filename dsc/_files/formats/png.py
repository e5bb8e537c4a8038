"""PNG: every colour type and depth, 16 bits too, with palette, transparency and EXIF.

Gray of 2 and 4 bits is scaled to 0..255, as every reader of PNG does. Of a palette, `indexes` gives
the indexes; of samples of 1 bit, 0 and 1. A colour that is declared transparent (``tRNS``) becomes
an alpha channel.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from dsc._files.formats.content import (
    Content,
    Family,
    Pixels,
    damaged,
    decoding,
    picture,
    turned,
)
from dsc._files.formats.exif import orientation_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_PALETTE = 3
_TEXT = (b"Raw profile type exif\0", b"Raw profile type APP1\0")  # as ImageMagick writes EXIF


class _Chunk(NamedTuple):
    kind: bytes
    start: int  # of the body
    stop: int


def content(data: bytes, where: str) -> Content:
    """Tell what a PNG holds; its chunks are walked to the end, its pixels not decoded."""
    width, height, depth, colour = _header(data, where)
    walked = list(_chunks(data, where))
    chunks = {chunk.kind: chunk for chunk in walked}
    clear = b"tRNS" in chunks
    channels = _CHANNELS[colour] + (clear and colour not in (4, 6))
    frames = 1
    if b"acTL" in chunks:
        place = chunks[b"acTL"].start
        frames = max(int.from_bytes(data[place : place + 4], "big"), 1)
    orientation = _orientation(data, walked)
    return Content(
        "png",
        "uint16" if depth == 16 else "uint8",
        turned(picture(height, width, channels), orientation),
        lossless=True,
        palette=colour == _PALETTE,
        bits=depth,
        pages=frames,
        orientation=orientation,
        alpha=clear or colour in (4, 6),
    )


def _pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    scale = 1
    if indexes and content.palette:
        data = _as_plain_gray(data, where)
    if indexes and (content.palette or content.bits == 1):
        scale = 255 // ((1 << content.bits) - 1)  # libpng spreads few bits over 0..255
    import imagecodecs

    with decoding(where, "PNG"):
        array: Pixels = imagecodecs.png_decode(data)
    return array // scale if scale != 1 else array


def _header(data: bytes, where: str) -> tuple[int, int, int, int]:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise damaged(where, f"the PNG file ends in its header ({len(data)} bytes)")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    if colour not in _CHANNELS or depth not in (1, 2, 4, 8, 16) or not width or not height:
        raise damaged(where, f"the PNG header says colour type {colour}, {depth} bits, "
                             f"{width}x{height}")  # fmt: skip
    return width, height, depth, colour


def _chunks(data: bytes, where: str) -> Iterator[_Chunk]:
    # libpng reads no further than the last row, so it does not see that a file is cut
    place = len(SIGNATURE)
    while place + 12 <= len(data):
        kind = data[place + 4 : place + 8]
        stop = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if stop + 4 > len(data):
            break
        yield _Chunk(kind, place + 8, stop)
        if kind == b"IEND":
            return
        place = stop + 4
    raise damaged(where, f"the PNG file ends too early ({len(data)} bytes)")


def _orientation(data: bytes, chunks: list[_Chunk]) -> int:
    for kind, start, stop in chunks:
        if kind == b"eXIf":
            return orientation_of(data[start:stop])
        if kind in (b"tEXt", b"zTXt") and data.startswith(_TEXT, start):
            text = data[start + len(_TEXT[0]) : stop]
            return orientation_of(_profile(text, packed=kind == b"zTXt"))
    return 1


def _profile(text: bytes, packed: bool) -> bytes:
    """Return the EXIF block of a text of a name, a length, and hexadecimal digits."""
    try:
        if packed:  # after a byte that names the compression
            text = zlib.decompressobj().decompress(text[1:], 1 << 20)
        return bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except (ValueError, zlib.error):
        return b""


def _as_plain_gray(data: bytes, where: str) -> bytes:
    """Relabel a palette PNG as gray, so that its indexes come out."""
    header = b"IHDR" + data[16:25] + b"\0" + data[26:29]
    parts = [SIGNATURE, struct.pack(">I", 13), header, struct.pack(">I", zlib.crc32(header))]
    parts += [
        data[start - 8 : stop + 4]
        for kind, start, stop in _chunks(data, where)
        if kind not in (b"IHDR", b"PLTE", b"tRNS", b"sBIT", b"bKGD", b"hIST")
    ]
    return b"".join(parts)


FAMILY = Family("PNG", (".png", ".apng"), lambda data: data.startswith(SIGNATURE), content, _pixels)
