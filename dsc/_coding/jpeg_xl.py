"""JPEG XL's own bytes: the codestream without its container, and the size that it declares.

A codestream begins with FF 0A, after which bits are read from the lowest of each byte (ISO/IEC
18181-1, "SizeHeader"). A file may be one, or boxes of which one holds it (ISO/IEC 18181-2).
"""

import struct

BARE = b"\xff\x0a"
_BOX = struct.Struct(">I4s")
_BITS = (9, 13, 18, 30)  # of a side, as two bits say
_RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height


def codestream_of(file: bytes) -> bytes:
    """Return the codestream of a file; the file itself where it is not one box of others."""
    at = 0
    while not file.startswith(BARE) and at + _BOX.size <= len(file):
        length, name = _BOX.unpack_from(file, at)
        end = at + length if length else len(file)
        if name == b"jxlc" and file[at + _BOX.size :].startswith(BARE):
            return file[at + _BOX.size : end]
        if end < at + _BOX.size:
            break
        at = end
    return file


def size_of(codestream: bytes) -> tuple[int, int]:
    """Return the (height, width) that a codestream declares.

    Raises
    ------
    ValueError
        When it is no codestream.
    """
    if not codestream.startswith(BARE) or len(codestream) < 4:
        raise ValueError("these bytes are no JPEG XL codestream")
    bits = int.from_bytes(codestream[2:12], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else take(_BITS[take(2)]) + 1

    height = side()
    ratio = take(3)
    if not ratio:
        return height, side()
    across, down = _RATIOS[ratio - 1]
    return height, height * across // down
