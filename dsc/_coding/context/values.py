"""Maps of numbers row by row: depth and its like, bit for bit.

A value is its distance from what the pixels on the left, above and between predict (the median edge
detector of LOCO-I; Weinberger, Seroussi, Sapiro 2000). The distance is a row of decisions: is it
none, is it negative, is it longer than 1, 2 ... `MOST_LONGER`; what is beyond is a number of bits
and then bits. Each is coded under seven patterns of what is around, mixed by weights that learn
(`dsc._coding.mixing`): neighbours' distances from the prediction, near and far, the errors
of their own predictions, what straight lines would go on to, and alone how large errors are.
Nothing is trained, and all of it is integers.

Pixels that are holes have no value; what is predicted stands in their place. Beside the map are the
values at a row's ends, above it nothing is known.

These are the twins of ``dsc/_kernels/values.c``.
"""

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._coding.entropy import AnsReader, SymbolDecoder, SymbolEncoder
from dsc._coding.mixing import (
    ONE,
    TRUSTS,
    Counts,
    Port,
    Writing,
    code_mixed,
    hash_key,
    reading,
)
from dsc.errors import BitstreamError

SIDE = 4  # rows above the map and columns beside it that are read
MIXED = 7
HASH_BITS = 16
DECISIONS, LEVELS = 24, 8
FIRST_WEIGHT = 15_000
QUARTERS = (0, 2, 3, 4, 5, 6)  # of it, by what a pattern has seen
RATE_FIRST, RATE_LAST, RATE_PIXELS = 80, 10, 32_768  # of weights: falls from 90 towards the last
MOST_ALIKE = 100  # decisions of a pattern after which it no longer learns more slowly
IS_ZERO, IS_NEGATIVE, LONGER = 0, 1, 2
MOST_LONGER = 10
BITS = LONGER + MOST_LONGER
LAST_BITS = 6
HIGH = BITS + LAST_BITS + 1
MOST_BITS = 16
TOP = 0xFFFF
_AMOUNTS = (2, 4, 8, 16, 40, 120)

Values = NDArray[np.uint16]
Holes = NDArray[np.bool_] | None


def encode_values(encoder: SymbolEncoder, values: Values, holes: Holes) -> None:
    """Append a map (H, W) of at least one pixel, but of its holes."""
    if _kernels.in_use():
        coded = _kernels.compiled.values_encode(values, holes)
        encoder.put_intervals(np.frombuffer(coded, np.uint32).reshape(-1, 2))
        return
    port = Writing()
    _Walk(port, values.shape, holes).code(values)
    if port.intervals:
        encoder.put_intervals(np.array(port.intervals, np.uint32))


def decode_values(decoder: SymbolDecoder, height: int, width: int, holes: Holes) -> Values:
    """Read a map (height, width); holes have any values.

    Raises
    ------
    BitstreamError
        When what is read is no map.
    """
    if not _kernels.in_use():
        reader = AnsReader(decoder)
        walk = _Walk(reading(reader), (height, width), holes)
        walk.code(None)
        reader.keep()
        return walk.map
    values = np.empty((height, width), np.uint16)
    try:
        _kernels.compiled.values_decode(decoder.words, decoder.state, values, holes)
    except ValueError as error:
        raise BitstreamError(str(error)) from None
    return values


# ---- the twin of the compiled kernel


class _Walk:
    """A map that is written to a port, or read from one.

    Parameters
    ----------
    size
        (H, W)
    """

    def __init__(self, port: Port, size: tuple[int, ...], holes: Holes) -> None:
        self._port, self._size, self._holes = port, size, holes
        self._grid = np.zeros((size[0] + SIDE, size[1] + 2 * SIDE), np.int64)
        self._errors = np.zeros_like(self._grid)
        self._counts = Counts.start(MIXED << HASH_BITS)
        first = np.array(QUARTERS, np.int32) * FIRST_WEIGHT // 4
        self._weights = np.broadcast_to(first, (LEVELS, DECISIONS, MIXED, TRUSTS)).copy()
        self._keys: tuple[int, ...] = ()
        self._level = self._rate = 0

    @property
    def map(self) -> Values:
        """The values (H, W) that were coded."""
        return self._grid[SIDE:, SIDE:-SIDE].astype(np.uint16)

    def code(self, truth: Values | None) -> None:
        """Code all pixels; (H, W) `truth` is given when writing."""
        for y in range(self._size[0]):
            done = y * self._size[1]
            self._rate = RATE_LAST + RATE_FIRST * RATE_PIXELS // (RATE_PIXELS + done)
            row, errors = self._grid[y + SIDE], self._errors[y + SIDE]
            row[:SIDE] = self._grid[y + SIDE - 1, SIDE]
            errors[:SIDE] = self._errors[y + SIDE - 1, SIDE]
            for x in range(self._size[1]):
                predicted, distance = self._look_around(y + SIDE, x + SIDE), 0
                if self._holes is None or not self._holes[y, x]:
                    distance = self._code_distance(
                        0 if truth is None else int(truth[y, x]) - predicted
                    )
                if not 0 <= predicted + distance <= TOP:
                    raise BitstreamError("a value is out of range")
                row[x + SIDE], errors[x + SIDE] = predicted + distance, distance
            row[-SIDE:] = row[-SIDE - 1]

    def _look_around(self, y: int, x: int) -> int:
        """Find what is around a pixel; return what it predicts."""
        v, e = self._grid, self._errors
        west, west2 = int(v[y, x - 1]), int(v[y, x - 2])
        above = ((-1, 0), (-2, 0), (-1, 1), (-1, 2), (-1, -1), (-2, 1))
        if y == SIDE:
            north = north2 = east = east2 = corner = far = west
        else:
            north, north2, east, east2, corner, far = (
                int(v[y + down, x + right]) for down, right in above
            )
        p = _median(west, north, corner)
        left, up = int(e[y, x - 1]), int(e[y - 1, x])
        right = int(e[y - 1, x + 1])
        others = abs(int(e[y - 1, x - 1])) + abs(int(e[y, x - 2]))
        self._level = _amount((abs(left) + abs(up) + abs(right) + others) // 2)
        a, b, c, d, f, g = (n - p for n in (west, north, east, corner, west2, north2))
        signs = (a < 0) | (b < 0) << 1 | (c < 0) << 2 | (d < 0) << 3
        lines = (2 * west - west2 - p, 2 * north - north2 - p, north + east - far - p)
        self._keys = (
            _packed((c, b, a), 30, 6),
            _packed((a, b, c, d, f, g, far - p, east2 - p), 3, 3),
            self._level << 9 | _amount(left) << 6 | _amount(up) << 3 | _amount(right),
            _packed((g, b, up, left, f, a), 7, 4),
            sum(_amount(n) << 3 * k for k, n in enumerate((g, f, d, c, b, a))) | signs << 18,
            _packed(lines[::-1], 15, 5),
            self._level,
        )
        return p

    def _decide(self, decision: int, bit: int) -> int:
        patterns = [
            k << HASH_BITS | _hashed(key + decision * 2_654_435_769)
            for k, key in enumerate(self._keys)
        ]
        weights = self._weights[self._level, decision]
        learn = (MOST_ALIKE, self._rate)
        return code_mixed(self._port, self._counts, patterns, weights, int(bit), *learn)

    def _code_distance(self, distance: int) -> int:
        if self._decide(IS_ZERO, distance == 0):
            return 0
        negative = self._decide(IS_NEGATIVE, distance < 0)
        size, found = abs(distance) - 1, 0
        while found < MOST_LONGER and self._decide(LONGER + found, size > found):
            found += 1
        if found == MOST_LONGER:
            found += self._code_size(max(size - MOST_LONGER, 0))
        return -found - 1 if negative else found + 1

    def _code_size(self, size: int) -> int:
        """Code a number from 0 on: its bits with 1 added, then those below its highest."""
        wanted, bits = (size + 1).bit_length() - 1, 0
        while self._decide(BITS + min(bits, LAST_BITS), bits < wanted):
            bits += 1
            if bits > MOST_BITS:
                raise BitstreamError("a distance is too long")
        found = 1
        for k in reversed(range(bits)):
            bit, place = (size + 1) >> k & 1, bits - 1 - k
            bit = self._decide(HIGH + place, bit) if place < 2 else self._port(ONE // 2, bit)
            found = found << 1 | bit
        return found - 1


def _median(a: int, b: int, corner: int) -> int:
    low, high = min(a, b), max(a, b)
    return low if corner >= high else high if corner <= low else a + b - corner


def _amount(value: int) -> int:
    value = abs(value)
    return value if value < 2 else 1 + sum(value >= bound for bound in _AMOUNTS)


def _packed(values: tuple[int, ...], most: int, bits: int) -> int:
    """Pack numbers that are cut at ±`most`, the first in the lowest bits."""
    return sum((max(-most, min(most, one)) + most) << bits * k for k, one in enumerate(values))


def _hashed(key: int) -> int:
    return hash_key(key, HASH_BITS)
