"""Middlebury ``.flo`` (optical flow) and Sintel ``.dpt`` (depth), which share one signature."""

import numpy as np

from dsc._files.formats.content import Content, Family, Pixels, damaged

_SIGNATURE = b"PIEH"  # 202021.25 as float32, little-endian


def _content(data: bytes, where: str) -> Content:
    width, height = (int.from_bytes(data[i : i + 4], "little") for i in (4, 8))
    numbers, rest = divmod(len(data) - 12, 4)
    if not width or not height or rest or numbers not in (width * height, 2 * width * height):
        raise damaged(
            where, f"the header says {width}x{height} (width x height), {len(data)} bytes are there"
        )
    if numbers == width * height:
        return Content("dpt", "float32", (height, width), lossless=True, bits=32)
    return Content("flo", "float32", (height, width, 2), lossless=True, bits=32)


def _pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    return np.frombuffer(data, "<f4", offset=12).reshape(content.shape)


FAMILY = Family(
    "FLO", (".flo", ".dpt"), lambda data: data.startswith(_SIGNATURE), _content, _pixels
)
