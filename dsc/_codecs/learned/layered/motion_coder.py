"""How the motion from one frame to the next is written, little-endian.

``u8 table``, and unless that is `NO_MOTION`, ``u32 length`` and as many bytes of coder words: the
vectors of all blocks, downward components first, row by row. Each is written as its difference from
the block on its left, in the first column from the one above, all under one of the tables of the
codec file, the one that costs least.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.learned.layered.motion import BLOCK, HALF_REACH
from dsc._codecs.learned.layered.spec import UNIT
from dsc._coding.entropy import ESCAPE_BITS, PRECISION, SymbolDecoder, SymbolEncoder, Tables
from dsc.errors import BitstreamError

NO_MOTION = 255
HEAD = struct.Struct("<BI")

Motion = NDArray[np.int32]
"""Vectors (2, h, w) in half pixels, of blocks of 16×16; sides of frames are padded to 32."""


def write_motion(motion: Motion, tables: Tables) -> bytes:
    """Write vectors (2, h, w)."""
    if not motion.any():
        return bytes([NO_MOTION])
    found = _differences(motion)
    table = _cheapest(found, tables)
    coder = SymbolEncoder()
    coder.put(found, np.full(found.shape, table, np.uint8), tables)
    words = coder.finish()
    return HEAD.pack(table, len(words)) + words


def read_motion(data: bytes, size: tuple[int, int], tables: Tables) -> tuple[Motion, int]:
    """Read what `write_motion` wrote for frames of `size` (H, W); also how long it was.

    Raises
    ------
    BitstreamError
        When the bytes are none.
    """
    shape = (2, *(-(-side // UNIT) * (UNIT // BLOCK) for side in size))
    if data[:1] == bytes([NO_MOTION]):
        return np.zeros(shape, np.int32), 1
    if len(data) < HEAD.size:
        raise BitstreamError(f"{len(data)} bytes hold no motion")
    table, length = HEAD.unpack_from(data)
    end = HEAD.size + length
    if table >= len(tables) or end > len(data):
        raise BitstreamError(f"motion under table {table}, in {length} of {len(data)} bytes")
    decoder = SymbolDecoder(data[HEAD.size : end])
    found = decoder.get(np.full(shape, table, np.uint8), tables)
    decoder.check_end()
    motion = _sums(found)
    if np.abs(motion).max() > HALF_REACH:
        raise BitstreamError(f"motion of {int(np.abs(motion).max())} half pixels")
    return motion, end


def _differences(motion: Motion) -> Motion:
    found = np.diff(motion, axis=2, prepend=0)
    found[:, :, 0] = np.diff(motion[:, :, 0], axis=1, prepend=0)
    return found.astype(np.int32)


def _sums(differences: Motion) -> Motion:
    """Undo `_differences`."""
    motion = differences.astype(np.int64)
    motion[:, :, 0] = np.cumsum(motion[:, :, 0], axis=1)
    return np.cumsum(motion, axis=2).clip(-(1 << 20), 1 << 20).astype(np.int32)


def _cheapest(symbols: Motion, tables: Tables) -> int:
    """Return the table under which symbols take the fewest bits."""
    values, counts = np.unique(symbols, return_counts=True)
    costs = []
    for index, low in enumerate(tables.lows.tolist()):
        row = tables.frequencies[tables.offsets[index] : tables.offsets[index + 1]]
        escape = len(row) - 1
        entries = np.where((values >= low) & (values < low + escape), values - low, escape)
        bits = PRECISION - np.log2(row[entries]) + ESCAPE_BITS * (entries == escape)
        costs.append(float((bits * counts).sum()))
    return int(np.argmin(costs))
