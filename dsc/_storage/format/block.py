"""A block: payloads of consecutive samples, back to back, with their lengths, to compress together.

`u8 layout`, the lengths, then the payloads. Layouts: SAME, `u32 length` of all; 1, 2 or 4, the
bytes a sample of `length + 1` (0: the sample has no payload), all low bytes first; SEPARATED, `u8
separator`, a byte that no payload has and that follows each. A block is compressed as a whole by
the method that its pack names; `NUMBERS` turns what follows the lengths into columns first, and
with `DICTIONARY` the dictionary's CRC-32 stands before the frame.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._storage.format import numbers
from dsc._storage.format.zstd import QUICK, compress, decompress

SAME, SEPARATED = 0, 5
WIDTHS = (1, 2, 4)
SEPARATORS = (0x0A, 0x00, 0x1E)
LONG = 4096  # bytes a payload on average, above which its length costs nothing to speak of


class Method(IntEnum):
    """How a block is compressed; the numbers stand in packs."""

    STORED = 0
    ZSTD = 1
    DICTIONARY = 2
    NUMBERS = 3
    EACH = 4  # not as a whole: each payload by itself


DICTIONARY = Method.DICTIONARY


@dataclass(frozen=True)
class Joined:
    """Payloads of consecutive samples.

    Attributes
    ----------
    starts, lengths
        Where each lies in `data`, (n,) int64; a length of -1 where a sample has none.
    data
        All of them, in order.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    data: memoryview

    def contiguous(self) -> NDArray[np.uint8]:
        """Return all payloads back to back, uint8."""
        data = np.frombuffer(self.data, np.uint8)
        if int(np.maximum(self.lengths, 0).sum()) == len(data):
            return data
        ends = (self.starts + self.lengths)[self.lengths >= 0]
        return np.delete(data, ends)  # a separator follows each

    def payloads(self, first: int = 0, stop: int | None = None) -> tuple[memoryview | None, ...]:
        """Cut the payloads of the samples [first, stop) out; of a part they are a copy."""
        starts, lengths = self.starts[first:stop], self.lengths[first:stop]
        data, begin = self.data, 0
        if len(starts) < len(self.starts):  # what is kept must not keep the rest
            begin, end = int(starts[0]), int(starts[-1]) + max(int(lengths[-1]), 0)
            data = memoryview(bytes(data[begin:end]))
        return tuple(
            None if length < 0 else data[start - begin : start - begin + length]
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
        )


def encode_block(
    payloads: Sequence[bytes | None], dtype: str | None = None, dictionary: bytes | None = None
) -> tuple[Method, bytes, int]:
    """Compress payloads together by what gives the fewest bytes.

    Parameters
    ----------
    dtype
        Of the numbers that payloads are; None for text and other bytes.
    dictionary
        Bytes that frames may refer to.

    Returns
    -------
    tuple
        The method, the compressed block, and the size of the block before.
    """
    text = _joined(payloads, separated=dtype is None)
    tried = [(Method.STORED, text, len(text)), (Method.ZSTD, compress(text), len(text))]
    if dictionary is not None:
        named = struct.pack("<I", zlib.crc32(dictionary))
        tried.append((Method.DICTIONARY, named + compress(text, dictionary), len(text)))
    table = None if dtype is None else _columns(payloads, np.dtype(dtype).newbyteorder("<"))
    if table is not None:
        tried.append(_numbers(payloads, table))
    return min(tried, key=lambda one: (len(one[1]), one[0]))


def decode_block(
    method: int, data: memoryview, size: int, n: int, dictionary: bytes | None = None
) -> Joined:
    """Return the payloads of a block.

    Parameters
    ----------
    size
        Of the block before it was compressed; at most `MAX_BLOCK`.
    n
        How many samples there are.

    Raises
    ------
    ValueError
        When it is no such block.
    """
    if method == Method.STORED:
        if len(data) != size:
            raise ValueError(f"a block of {len(data)} bytes, {size} are declared")
        block = data
    elif method in (Method.ZSTD, Method.NUMBERS):
        block = memoryview(decompress(data, size))
    else:
        if dictionary is None or data[:4] != struct.pack("<I", zlib.crc32(dictionary)):
            raise ValueError("it was compressed with another dictionary")
        block = memoryview(decompress(data[4:], size, dictionary))
    layout = block[0] if block else 0xFF
    if layout == SEPARATED and method != Method.NUMBERS:
        return _separated(block, n)
    lengths, at = _read_lengths(layout, block, n)
    payloads = block[at:]
    if method == Method.NUMBERS:
        payloads = _read_numbers(payloads, lengths)
    present = np.maximum(lengths, 0)
    ends = np.cumsum(present)
    if int(ends[-1]) != len(payloads):
        raise ValueError(f"payloads of {int(ends[-1])} bytes, found {len(payloads)}")
    return Joined(ends - present, lengths, payloads)


def _joined(payloads: Sequence[bytes | None], separated: bool) -> bytes:
    present = [payload for payload in payloads if payload is not None]
    joined = b"".join(present)
    short = separated and len(present) == len(payloads) and len(joined) < LONG * len(payloads)
    lengths = _lengths(payloads)
    if short and lengths[0] != SAME:
        for separator in SEPARATORS:
            if separator not in joined:
                mark = bytes([separator])
                return bytes([SEPARATED]) + mark + mark.join(present) + mark
    return lengths + joined


def _lengths(payloads: Sequence[bytes | None]) -> bytes:
    lengths = np.array([0 if p is None else len(p) + 1 for p in payloads], np.int64)
    if lengths[0] and (lengths == lengths[0]).all():
        return struct.pack("<BI", SAME, lengths[0] - 1)
    width = next(width for width in WIDTHS if int(lengths.max()) < 1 << 8 * width)
    planes = lengths.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :width]
    return bytes([width]) + planes.T.tobytes()


def _read_lengths(layout: int, block: memoryview, n: int) -> tuple[NDArray[np.int64], int]:
    """Return the lengths, -1 where there is no payload, and where they end."""
    if layout == SAME and len(block) >= 5:
        [length] = struct.unpack_from("<I", block, 1)
        return np.full(n, length, np.int64), 5
    end = 1 + layout * n
    if layout not in WIDTHS or len(block) < end:
        raise ValueError("a block of unknown layout")
    planes = np.zeros((n, 4), np.uint8)
    planes[:, :layout] = np.frombuffer(block[1:end], np.uint8).reshape(layout, n).T
    return planes.view("<u4")[:, 0].astype(np.int64) - 1, end


def _separated(block: memoryview, n: int) -> Joined:
    if len(block) < 2:
        raise ValueError("a block without a separator")
    data = block[2:]
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == block[1])
    if len(ends) != n or int(ends[-1]) != len(data) - 1:
        raise ValueError(f"{len(ends)} separators in a block of {n} payloads")
    starts = np.concatenate([[0], ends[:-1] + 1])
    return Joined(starts, ends - starts, data)


def _columns(payloads: Sequence[bytes | None], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return the numbers of all payloads as a table; of one column where they differ in number."""
    present = [payload for payload in payloads if payload is not None]
    lengths = {len(payload) for payload in present}
    joined = b"".join(present)
    if not joined or any(length % dtype.itemsize for length in lengths):
        return None
    columns = max(lengths) // dtype.itemsize if len(lengths) == 1 else 1
    return np.frombuffer(joined, dtype).reshape(-1, columns)


def _numbers(payloads: Sequence[bytes | None], table: NDArray[Any]) -> tuple[Method, bytes, int]:
    lengths = _lengths(payloads)
    blocks = []
    for transform, data in numbers.candidates(table):
        exponents = transform.exponents
        head = struct.pack("<BBI", transform.word, transform.predictor, len(exponents))
        blocks.append(lengths + head + exponents + data)
    quick = [len(compress(block, level=QUICK)) for block in blocks]
    block = blocks[int(np.argmin(quick))]
    return Method.NUMBERS, compress(block), len(block)


def _read_numbers(data: memoryview, lengths: NDArray[np.int64]) -> memoryview:
    if len(data) < 6:
        raise ValueError("a table of numbers without its header")
    word, predictor, given = struct.unpack_from("<BBI", data)
    present = lengths[lengths >= 0]
    if word not in (1, 2, 4, 8) or len(data) < 6 + given or (present % word).any():
        raise ValueError("a table of numbers of unknown words")
    same = len(present) > 0 and bool((present == present[0]).all())
    columns = int(present[0]) // word if same else 1
    total = int(present.sum()) // word
    rows = total // columns if columns else 0
    if rows * columns != total or (given and given != columns):
        raise ValueError("a table of numbers of another shape than declared")
    transform = numbers.Transform(word, predictor, bytes(data[6 : 6 + given]))
    return memoryview(numbers.restore(transform, data[6 + given :], rows, columns))
