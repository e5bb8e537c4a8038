"""Rays of a pinhole camera in integers: where a pixel looks to, given the field of view.

Pixels are square and their centres lie at ½: pixel (i, j) of a picture (H, W) looks along
(x, y, 1) = ((2 j + 1 - W) t / W, (2 i + 1 - H) t / W, 1), x to the right, y down, where t is the
tangent of half the horizontal field of view. A field of view is an integer in 1/16384 rad. No
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

RADIAN = 16384
"""Field of view of one radian."""
MOST_VIEW = 3 * RADIAN
SQUARE_BITS = 40  # of the squares of rays' lengths
SLOPE_BITS = 16  # of x and y
TANGENT_BITS = 64
LONGEST = 1 << (53 - SQUARE_BITS)  # their squares, so that a double holds them
_STEP_BITS = 48  # of the square of the step from a pixel to its neighbour


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
        raise BitstreamError(f"a field of view of {view}/{RADIAN} rad; 0 to 3 rad make sense")


def offsets(count: int) -> Int64:
    """Return how far pixels lie from the middle of a row (count,), in halves of a pixel."""
    return 2 * np.arange(count, dtype=np.int64) + 1 - count


def widest(shape: Sequence[int], scale: Fraction = Fraction(1), longest: int = LONGEST) -> int:
    """Return the widest field of view that `squares` takes for a map (H, W); 0 for none."""
    height, width = shape
    tangent = (longest / scale**2 - 1) / (1 + Fraction(height, width) ** 2)
    most = int(tangent * (1 << TANGENT_BITS))
    view = view_of(most)
    return view if tangent_squared(view) < most else max(view - 1, 0)


def squares(
    view: int, shape: Sequence[int], scale: Fraction = Fraction(1), longest: int = LONGEST
) -> tuple[Int64, Int64]:
    """Return y² + 1 of rows (H,) and x² of columns (W,), times `scale`², in 2^-40.

    The sum of a row's and a column's is the square of the length of the pixel's ray, and below
    `longest`.

    Raises
    ------
    BitstreamError
        When the field of view is none, or so wide for this map that a ray is too long.
    """
    check_view(view)
    height, width = shape
    squared = scale**2
    tangent = Fraction(tangent_squared(view), 1 << TANGENT_BITS)
    if squared * (1 + tangent * (1 + Fraction(height, width) ** 2)) >= longest:
        raise BitstreamError(
            f"a field of view of {view}/{RADIAN} rad is too wide for a map of {height} × {width}"
        )
    step = int(squared * tangent * (1 << _STEP_BITS) / (width * width))
    one = int(squared * (1 << SQUARE_BITS))
    rows, columns = (
        offsets(count) ** 2 * step >> (_STEP_BITS - SQUARE_BITS) for count in (height, width)
    )
    return rows + one, columns


def slopes(view: int, shape: Sequence[int]) -> tuple[Int64, Int64]:
    """Return y of rows (H,) and x of columns (W,), in 2^-16.

    Raises
    ------
    BitstreamError
        When the field of view is none.
    """
    check_view(view)
    height, width = shape
    bits = 32
    step = isqrt(tangent_squared(view) << (2 * bits - TANGENT_BITS)) // width
    half = 1 << (bits - SLOPE_BITS - 1)
    down, right = (
        (offsets(count) * step + half) >> (bits - SLOPE_BITS) for count in (height, width)
    )
    return down, right
