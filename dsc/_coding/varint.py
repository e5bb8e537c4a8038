"""Whole numbers in as few bytes as they need: seven bits a byte, the lowest first.

The top bit of a byte says that more follow.
"""


def pack_varint(value: int) -> bytes:
    """Write a number from 0 up."""
    packed = bytearray()
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def unpack_varint(data: bytes, start: int = 0, most: int = 5) -> tuple[int, int]:
    """Return the number that starts at `start`, and where it ends.

    Raises
    ------
    ValueError
        When it does not end after `most` bytes.
    """
    value = 0
    for at, byte in enumerate(data[start : start + most]):
        value |= (byte & 0x7F) << (7 * at)
        if byte < 0x80:
            return value, start + at + 1
    raise ValueError("a number that does not end")
