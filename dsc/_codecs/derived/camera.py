"""Rays of a pinhole camera in integers: where a pixel looks to, given the field of view.

Pixels are square and their centres lie at ½: pixel (i, j) of a picture (H, W) looks along
(x, y, 1) = ((2 j + 1 - W) t / W, (2 i + 1 - H) t / W, 1), x to the right, y down, where t is the
tangent of half the horizontal field of view. A field of view is an integer, in 2^-30 rad. No
function of a mathematical library is asked, so that every machine finds the same integers.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from dsc.errors import BitstreamError

Int64 = NDArray[np.int64]

RADIAN = 1 << 30
"""Field of view of one radian."""
MOST_VIEW = 3 * RADIAN
PART_BITS = 16  # of a field of view: what is left is in 1/16384 rad, and has 16 bits
SLOPE_BITS = 20  # of x and y
TANGENT_BITS = 64
MANTISSA = 53  # bits of an integer that a double holds
_MORE_BITS = 8  # of the square of the step from a pixel to its neighbour


@lru_cache(maxsize=4096)
def tangent_squared(view: int) -> int:
    """Return tan² of half a field of view (0 to `MOST_VIEW`), in 2^-64, rounded down."""
    bits = 128
    angle = (view << bits) // (2 * RADIAN)
    sine, cosine, term, number = 0, 0, 1 << bits, 0
    while term:
        sign = -1 if number & 2 else 1
        if number & 1:
            sine += sign * term
        else:
            cosine += sign * term
        number += 1
        term = term * angle // (number << bits)
    return (sine * sine << TANGENT_BITS) // (cosine * cosine)


def view_of(square: int) -> int:
    """Return the first field of view whose tan² of half, in 2^-64, is not below `square`."""
    low, high = 0, MOST_VIEW
    while low < high:
        middle = (low + high) // 2
        if tangent_squared(middle) < square:
            low = middle + 1
        else:
            high = middle
    return low


def check_view(view: int) -> None:
    """Refuse a field of view that no camera has.

    Raises
    ------
    BitstreamError
        When it is not from 0 to `MOST_VIEW`.
    """
    if not 0 <= view <= MOST_VIEW:
        raise BitstreamError(f"a field of view of {view / RADIAN:.4g} rad; 0 to 3 make sense")


def offsets(count: int) -> Int64:
    """Return how far pixels lie from the middle of a row (count,), in halves of a pixel."""
    return 2 * np.arange(count, dtype=np.int64) + 1 - count


def longest(view: int, shape: Sequence[int], scale: Fraction = Fraction(1)) -> Fraction:
    """Return what the squared lengths of a map's (H, W) rays, times `scale`², are less than.

    Raises
    ------
    BitstreamError
        When the field of view is none.
    """
    check_view(view)
    height, width = shape
    tangent = Fraction(tangent_squared(view), 1 << TANGENT_BITS)
    return scale**2 * (1 + tangent * (1 + Fraction(height, width) ** 2))


def widest(shape: Sequence[int], bits: int, scale: Fraction = Fraction(1)) -> int:
    """Return the widest field of view that `squares` takes for a map (H, W); 0 for none."""
    height, width = shape
    most = Fraction(1 << (MANTISSA - bits)) / scale**2 - 1
    limit = int(most / (1 + Fraction(height, width) ** 2) * (1 << TANGENT_BITS))
    view = view_of(limit)
    return view if tangent_squared(view) < limit else max(view - 1, 0)


def squares(
    view: int, shape: Sequence[int], bits: int, scale: Fraction = Fraction(1)
) -> tuple[Int64, Int64]:
    """Return y² + 1 of rows (H,) and x² of columns (W,), times `scale`², in 2^-`bits`.

    The sum of a row's and a column's is the square of the length of the pixel's ray, which a double
    holds.

    Raises
    ------
    BitstreamError
        When the field of view is none, or so wide for this map that a ray is too long.
    """
    height, width = shape
    if longest(view, shape, scale) >= 1 << (MANTISSA - bits):
        raise BitstreamError(
            f"a field of view of {view / RADIAN:.4g} rad is too wide for {height} × {width} pixels"
        )
    tangent = scale**2 * tangent_squared(view) / (width * width)
    step = int(tangent * (1 << (bits + _MORE_BITS)) / (1 << TANGENT_BITS))
    one = int(scale**2 * (1 << bits))
    half = 1 << (_MORE_BITS - 1)
    rows, columns = ((offsets(count) ** 2 * step + half) >> _MORE_BITS for count in shape)
    return rows + one, columns


def slopes(view: int, shape: Sequence[int]) -> tuple[Int64, Int64]:
    """Return y of rows (H,) and x of columns (W,), in 2^-20.

    Raises
    ------
    BitstreamError
        When the field of view is none.
    """
    check_view(view)
    bits = 36
    step = isqrt(tangent_squared(view) << (2 * bits - TANGENT_BITS)) // shape[1]
    half = 1 << (bits - SLOPE_BITS - 1)
    down, right = ((offsets(count) * step + half) >> (bits - SLOPE_BITS) for count in shape)
    return down, right
