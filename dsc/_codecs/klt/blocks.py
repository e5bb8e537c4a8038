"""The cosine transform of blocks of at most 8 × 8 positions: forwards in floats, back in integers.

A side is parted into as few blocks as can be, whose lengths differ by 1 at most, so maps of any
size are whole blocks. Going back, the cosines are integers of ten bits and all sums are below 2^53,
so binary64 arithmetic is exact, and the same in any order.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LONGEST = 8  # positions of a block's side, and bands of frequencies
COSINE_BITS = 10
EXACT = 1 << 53  # what binary64 counts to

Floats = NDArray[np.float64]


def lengths(size: int) -> list[int]:
    """Return the lengths of the blocks of a side."""
    count = -(-size // LONGEST)
    return [size * (at + 1) // count - size * at // count for at in range(count)]


@lru_cache(maxsize=64)
def forward_matrix(size: int) -> Floats:
    """Return the transform of a side (size, size): orthonormal, block by block."""
    found = np.zeros((size, size))
    start = 0
    for length in lengths(size):
        found[start : start + length, start : start + length] = _cosines(length)
        start += length
    return found


@lru_cache(maxsize=64)
def inverse_matrix(size: int) -> Floats:
    """Return the way back (size, size), whole numbers: 2^10 times the transform's transpose."""
    return np.ascontiguousarray(np.rint(forward_matrix(size).T * (1 << COSINE_BITS)))


@lru_cache(maxsize=64)
def bands(size: int) -> NDArray[np.intp]:
    """Return of each coefficient of a side its band of frequencies, 0 to 7."""
    return np.concatenate([LONGEST * np.arange(length) // length for length in lengths(size)])


def to_coefficients(planes: Floats) -> Floats:
    """Transform planes (C, h, w); coefficients stand where their blocks do."""
    down, along = (forward_matrix(size) for size in planes.shape[1:])
    found: Floats = down @ planes @ along.T
    return found


def from_coefficients(coefficients: Floats) -> Floats:
    """Turn whole numbers (C, h, w) back into whole planes, rounded after the transform.

    Raises
    ------
    ValueError
        When they are larger than sums are exact for.
    """
    down, along = (inverse_matrix(size) for size in coefficients.shape[1:])
    most = float(np.abs(coefficients).max(initial=0.0))
    gain = LONGEST << 2 * COSINE_BITS
    if most * gain >= EXACT:
        raise ValueError(f"a coefficient of {most:g} is out of range")
    sums = down @ coefficients @ along.T
    found: Floats = np.rint(sums * 2.0 ** (-2 * COSINE_BITS))
    return found


def _cosines(length: int) -> Floats:
    """Return the orthonormal cosine transform of type II, a row a frequency."""
    frequency, place = np.arange(length)[:, None], np.arange(length)
    found: Floats = np.cos(math.pi * frequency * (2 * place + 1) / (2 * length))
    found *= math.sqrt(2 / length)
    found[0] = math.sqrt(1 / length)
    return found
