"""JPEG files as they are: their segments, and the pixels that sources read from them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dsc._codecs.base import Array

MAGIC = b"\xff\xd8\xff"
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
SCAN, APP14 = 0xDA, 0xEE
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length


class Segment(NamedTuple):
    """A marker, and where its body lies in the file."""

    marker: int
    start: int  # of the body, after its length
    stop: int


def segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments up to the first scan, which is the last one given.

    Raises
    ------
    ValueError
        When something else stands where a marker must be.
    """
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            raise ValueError(f"no JPEG marker at byte {place}")
        marker = data[place + 1]
        if marker == 0xFF or marker in ALONE:
            place += 1 if marker == 0xFF else 2
            continue
        stop = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        yield Segment(marker, place + 4, stop)
        if marker == SCAN:
            return
        place = stop


def stored_size(data: bytes) -> tuple[int, int]:
    """Return height and width as the file's frame header says.

    Raises
    ------
    ValueError
        When there is none.
    """
    for marker, start, _ in segments(data):
        if marker in FRAMES:
            height, width = (
                int.from_bytes(data[start + at : start + at + 2], "big") for at in (1, 3)
            )
            return height, width
    raise ValueError("a JPEG file without a frame header")


def decode_jpeg(data: bytes) -> Array:
    """Decode a file to (H, W) or (H, W, 3), uint8, or uint16 of 12 bits; not turned.

    Inks become light: red = (255 - C)(255 - K) / 255, and so on. Anything raised is damage.
    """
    import imagecodecs

    array: Array = imagecodecs.jpeg8_decode(data)
    if array.ndim == 2 or array.shape[2] != 4:
        return array
    adobe = any(
        marker == APP14 and data[start : start + 5] == b"Adobe"
        for marker, start, _ in segments(data)
    )
    return inks_to_rgb(array, inverted=adobe)


def inks_to_rgb(inks: Array, inverted: bool) -> Array:
    """Turn CMYK (H, W, 4) uint8 into RGB: red = (255 - C)(255 - K) / 255, and so on.

    `inverted` inks are 255 where there is none, as Adobe writes them into JPEG. A colour profile
    is not looked at.
    """
    light = inks.astype(np.uint16) if inverted else 255 - inks.astype(np.uint16)
    rgb: Array = ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)
    return rgb


def apply_orientation(array: Array, orientation: int) -> Array:
    """Turn a stored picture (H, W, ...) upright by its EXIF orientation, 1 to 8."""
    if orientation >= 5:  # the stored rows are columns of the scene
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
