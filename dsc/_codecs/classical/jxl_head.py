"""The head of a JPEG XL file: its codestream, and how bits are read there (ISO/IEC 18181-1).

Enough to know the size of a picture before anything is decoded.
"""

from collections.abc import Iterator

BARE = b"\xff\x0a"
BOXED = b"\0\0\0\x0cJXL \r\n\x87\n"
HEAD_BYTES = 4096
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))

# how the format writes small integers: two bits choose among (bits to read, offset)
Choices = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]
_SIZE: Choices = ((9, 1), (13, 1), (18, 1), (30, 1))


class Bits:
    """Reads a codestream's bits, the least significant of a byte first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Read an unsigned integer; `EOFError` where there are not as many bits."""
        if count > self._left:
            raise EOFError("its head is cut")
        self._left -= count
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value

    def flag(self) -> bool:
        """Read one bit."""
        return bool(self.take(1))

    def u32(self, choices: Choices) -> int:
        """Read a small integer that is written in one of four ways."""
        bits, offset = choices[self.take(2)]
        return self.take(bits) + offset

    def u64(self) -> int:
        """Read an integer of up to 64 bits."""
        kind = self.take(2)
        if kind < 3:
            return (0, self.take(4 * (kind == 1)) + 1, self.take(8 * (kind == 2)) + 17)[kind]
        value, shift = self.take(12), 12
        while self.flag():
            width = 4 if shift == 60 else 8
            value |= self.take(width) << shift
            if width == 4:
                break
            shift += 8
        return value

    def align(self) -> None:
        """Go on at the next byte."""
        self.take(self._left % 8)


def codestream(data: bytes) -> tuple[bytes, bool]:
    """Return the start of the codestream, and whether the file is a recompressed JPEG.

    Raises
    ------
    EOFError, ValueError
        When there is none.
    """
    if data.startswith(BARE):
        return data[2:HEAD_BYTES], False
    stream, recompressed = b"", False
    for kind, start, stop in boxes(data):
        recompressed |= kind == b"jbrd"
        if kind in (b"jxlc", b"jxlp") and len(stream) < HEAD_BYTES:
            stream += data[start + 4 * (kind == b"jxlp") : min(stop, start + HEAD_BYTES)]
    if not stream.startswith(BARE):
        raise EOFError("it has no codestream")
    return stream[2:], recompressed


def read_size(bits: Bits) -> tuple[int, int]:
    """Read height and width, as stored."""
    small = bits.flag()
    height = 8 * (bits.take(5) + 1) if small else bits.u32(_SIZE)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        return height, height * across // down
    return height, 8 * (bits.take(5) + 1) if small else bits.u32(_SIZE)


def boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of a file: the kind, and where the content begins and stops.

    Raises
    ------
    ValueError
        When one ends before it begins.
    """
    place = 0
    while place + 8 <= len(data):
        size, start = int.from_bytes(data[place : place + 4], "big"), place + 8
        if size == 1:
            size, start = int.from_bytes(data[place + 8 : place + 16], "big"), place + 16
        stop = place + size if size else len(data)
        if stop < start:
            raise ValueError(f"a box at byte {place} has no size")
        yield data[place + 4 : place + 8], start, stop
        place = stop
