"""JPEG: gray, colour and CMYK of 8 bits, 12 bits, and lossless JPEG, with EXIF orientation."""

from collections.abc import Iterator
from dataclasses import replace

from dsc._codecs.classical.jpeg_file import (
    FRAMES,
    MAGIC,
    SCAN,
    Segment,
    decode_jpeg,
    segments,
)
from dsc._files.formats.content import (
    Content,
    Family,
    Pixels,
    damaged,
    decoding,
    picture,
    refused,
    turned,
)
from dsc._files.formats.exif import orientation_of

_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_END = b"\xff\xd9"
_JPEG_LS, _APP1, _APP2 = 0xF7, 0xE1, 0xE2


def _content(data: bytes, where: str) -> Content:
    orientation, pages, frame, scan = 1, 1, None, len(data)
    for marker, start, stop in _segments(data, where):
        if marker == _APP1 and orientation == 1 and data[start : start + 6] == b"Exif\0\0":
            orientation = orientation_of(data[start:stop])
        elif marker == _APP2 and data[start : start + 4] == b"MPF\0":
            pages = _views(data[start + 4 : stop])
        elif marker == _JPEG_LS:
            raise refused(where, "a JPEG-LS file, which is not read", "convert it to PNG")
        elif marker in FRAMES:
            frame = _frame(data[start:stop], marker, where)
        elif marker == SCAN:
            scan = start
    # libjpeg fills what is missing with gray, so that only the markers tell that a file is cut;
    # the first end after the first scan counts, because phones append films to their pictures
    ended = data.endswith(_END, scan) or data.find(_END, scan) >= 0
    if not ended or frame is None:
        raise damaged(where, f"the JPEG file ends too early ({len(data)} bytes)")
    shape = turned(frame.shape, orientation)
    return replace(frame, shape=shape, orientation=orientation, pages=pages)


def _frame(body: bytes, marker: int, where: str) -> Content:
    if len(body) < 6:
        raise damaged(where, "the JPEG file's frame header is too short")
    bits, channels = body[0], body[5]
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if not height or not width:
        raise damaged(where, f"the JPEG header says {width}x{height}")
    inks = channels == 4
    return Content(
        "jpeg",
        "uint8" if bits <= 8 else "uint16",
        picture(height, width, 3 if inks else channels),
        lossless=marker in _LOSSLESS,
        bits=bits,
        cmyk=inks,
    )


def _pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    if content.cmyk and content.dtype != "uint8":
        raise refused(where, f"CMYK of {content.bits} bits", "convert it to RGB of 8 bits")
    with decoding(where, "JPEG"):
        return decode_jpeg(data)


def _segments(data: bytes, where: str) -> Iterator[Segment]:
    try:
        yield from segments(data)
    except ValueError as error:
        raise damaged(where, str(error)) from None


def _views(block: bytes) -> int:
    """Count the full pictures of a multi-picture file (stereo, panorama), without previews."""

    def number(start: int, size: int) -> int:
        piece = block[start : start + size]
        return int.from_bytes(piece, "little" if block[:2] == b"II" else "big")

    place = number(4, 4) + 2
    for entry in range(place, min(place + 12 * number(place - 2, 2), len(block) - 11), 12):
        if number(entry, 2) == 0xB002:  # the list of pictures, 16 bytes each
            start, size = number(entry + 8, 4), number(entry + 4, 4)
            kinds = [number(at, 4) & 0xFFFFFF for at in range(start, start + size, 16)]
            return max(sum(kind in (0x020001, 0x020002, 0x020003) for kind in kinds), 1)
    return 1


FAMILY = Family(
    "JPEG",
    (".jpg", ".jpeg", ".jpe", ".jfif"),
    lambda data: data.startswith(MAGIC),
    _content,
    _pixels,
)
