"""WebP: lossy and lossless, with alpha and EXIF orientation."""

from collections.abc import Iterator

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

_ALPHA, _ANIMATED = 0x10, 0x02


def _content(data: bytes, where: str) -> Content:
    size = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < max(size, 30):
        raise damaged(where, f"the WebP file ends too early ({len(data)} of {size} bytes)")
    with decoding(where, "WebP"):
        width, height, alpha = _canvas(data)
    lossy, frames, orientation = False, 0, 1
    for kind, start, stop in _chunks(data[:size], 12):
        frames += kind == b"ANMF"
        inner = data[start + 16 : start + 20] if kind == b"ANMF" else kind
        lossy |= inner in (b"VP8 ", b"ALPH")
        if kind == b"EXIF":
            orientation = orientation_of(data[start:stop])
    shape = picture(height, width, 4 if alpha else 3)
    return Content(
        "webp",
        "uint8",
        turned(shape, orientation),
        lossless=not lossy,
        pages=max(frames, 1),
        orientation=orientation,
        alpha=alpha,
    )


def _pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    import imagecodecs

    with decoding(where, "WebP"):
        array: Pixels = imagecodecs.webp_decode(data, hasalpha=content.alpha)
    return array


def _canvas(data: bytes) -> tuple[int, int, bool]:
    """Return width, height and whether there is alpha, from the first chunk."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
        return width, height, bool(data[20] & _ALPHA)
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(data[i : i + 2], "little") & 0x3FFF for i in (26, 28))
        return width, height, False
    raise ValueError(f"its first chunk is {kind!r}")


def _chunks(data: bytes, place: int) -> Iterator[tuple[bytes, int, int]]:
    while place + 8 <= len(data):
        stop = place + 8 + int.from_bytes(data[place + 4 : place + 8], "little")
        yield data[place : place + 4], place + 8, stop
        place = stop + (stop & 1)


FAMILY = Family(
    "WebP",
    (".webp",),
    lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP",
    _content,
    _pixels,
)
