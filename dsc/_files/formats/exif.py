"""Finds the orientation in an EXIF block, and in nothing else of it.

The block is a small TIFF of either byte order. It comes from strangers, so every offset is checked,
and what cannot be read is orientation 1: an EXIF block that is broken does not spoil a picture.
"""

from typing import Literal

_ORIENTATION = 274
_PREFIX = b"Exif\0\0"


def orientation_of(block: bytes) -> int:
    """Return the orientation, 1 to 8, of an EXIF block with or without its ``Exif`` prefix."""
    block = block.removeprefix(_PREFIX)
    order: Literal["little", "big"] | None = None
    if block[:4] == b"II*\0":
        order = "little"
    elif block[:4] == b"MM\0*":
        order = "big"
    if order is None or len(block) < 14:
        return 1
    start = int.from_bytes(block[4:8], order)
    count = int.from_bytes(block[start : start + 2], order)
    for place in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind = (int.from_bytes(block[place + i : place + i + 2], order) for i in (0, 2))
        if tag == _ORIENTATION:
            size = {1: 1, 3: 2, 4: 4}.get(kind, 0)  # BYTE, SHORT, LONG
            value = int.from_bytes(block[place + 8 : place + 8 + size], order)
            return value if 1 <= value <= 8 else 1
    return 1
