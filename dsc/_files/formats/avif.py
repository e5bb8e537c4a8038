"""AVIF stills through libavif: 8 to 12 bits, gray and colour, with or without alpha.

The head of an AVIF is scattered over nested boxes, so the picture is decoded to tell what it is.
Its rotation and mirroring, which libavif leaves to the caller, are part of the picture and always
applied.
"""

from dsc._codecs.classical.jpeg_file import apply_orientation
from dsc._files.formats.content import (
    Content,
    Family,
    Pixels,
    decoding,
)

_BRANDS = (b"avif", b"avis")


def _matches(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return brands[:4] in _BRANDS or any(brand in brands[8:] for brand in _BRANDS)


def _content(data: bytes, where: str) -> Content:
    frames = _frames(data, where)
    array = _upright(frames[0], data)
    return Content(
        "avif",
        array.dtype.name,
        array.shape,
        lossless=False,  # it may be, but no flag of the file says so
        bits=_bits(data),
        pages=len(frames),
        alpha=array.ndim == 3 and array.shape[2] in (2, 4),
    )


def _pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    return _upright(_frames(data, where)[0], data)


def _frames(data: bytes, where: str) -> Pixels:
    """Decode to (N, H, W) or (N, H, W, C)."""
    import imagecodecs

    with decoding(where, "AVIF"):
        # all of them: asked for one frame of several, imagecodecs 2026.3 writes past its array
        array: Pixels = imagecodecs.avif_decode(data)
    place = data.find(b"ispe") + 8
    width, height = (int.from_bytes(data[place + i : place + i + 4], "big") for i in (0, 4))
    several = array.ndim == 4 or array.shape[1:] == (height, width)
    return array if several and array.shape[:2] != (height, width) else array[None]


def _upright(array: Pixels, data: bytes) -> Pixels:
    meta = data[: data.find(b"mdat") % (len(data) + 1)]
    turn, mirror = (_property(meta, name) for name in (b"irot", b"imir"))
    if turn:
        array = apply_orientation(array, (1, 8, 3, 6)[turn & 3])  # quarters, anticlockwise
    if mirror is not None:
        array = array[:, ::-1] if mirror & 1 else array[::-1]
    return array


def _bits(data: bytes) -> int:
    place = data.find(b"av1C") + 6  # of the flags: 0x40 more than 8 bits, 0x20 twelve
    return (8, 8, 10, 12)[data[place] >> 5 & 3] if 6 <= place < len(data) else 8


def _property(meta: bytes, name: bytes) -> int | None:
    place = meta.find(b"\0\0\0\x09" + name)
    return meta[place + 8] if 0 <= place < len(meta) - 8 else None


FAMILY = Family("AVIF", (".avif",), _matches, _content, _pixels)
