"""GIF: one picture with its palette; an animation is refused by its frame count."""

from dsc._files.formats.content import (
    Content,
    Family,
    Pixels,
    damaged,
    decoding,
    picture,
)


def _content(data: bytes, where: str) -> Content:
    width, height = (int.from_bytes(data[i : i + 2], "little") for i in (6, 8))
    with decoding(where, "GIF"):
        frames, clear = _blocks(data)
    if not frames or not width or not height:
        raise damaged(where, f"the GIF file has {frames} pictures of {width}x{height}")
    return Content(
        "gif",
        "uint8",
        picture(height, width, 4 if clear else 3),
        lossless=True,
        palette=True,
        pages=frames,
        alpha=clear,
    )


def _pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    import imagecodecs

    with decoding(where, "GIF"):
        array: Pixels = imagecodecs.gif_decode(data, index=0, asrgb=not indexes)
    return array


def _blocks(data: bytes) -> tuple[int, bool]:
    """Count the pictures, and tell whether a colour is transparent; the file must be whole."""
    frames, clear = 0, False
    place = 13 + _table_bytes(data[10])
    while data[place] != 0x3B:  # the end
        if data[place] == 0x21:  # an extension
            clear |= data[place + 1] == 0xF9 and bool(data[place + 3] & 1)
            place = _after_blocks(data, place + 2)
        elif data[place] == 0x2C:  # a picture
            frames += 1
            place = _after_blocks(data, place + 11 + _table_bytes(data[place + 9]))
        else:
            raise ValueError(f"no block begins at byte {place}")
    return frames, clear


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, place: int) -> int:
    while data[place]:
        place += data[place] + 1
    return place + 1


FAMILY = Family(
    "GIF", (".gif",), lambda data: data.startswith((b"GIF87a", b"GIF89a")), _content, _pixels
)
