"""How far apart the values are that a component may come back as: the quantiser's step.

A vector's *scale* is the root mean square of its components, rounded to an eighth of an octave. A
step is a share of the scale, 8 · 2^(-level / 8); each vector says its *level*. What a quality says
is how much of a vector may be lost: `lost_at`. All that decoding takes is integers, or products of
two binary64 numbers: the same everywhere.
"""

import math

import numpy as np
from numpy.typing import NDArray

OCTAVE = 8  # levels, and scales, to the next power of two
COARSEST, FINEST = 1, 183  # levels; sixteen lower bits at most
LARGEST_STEP = 3  # the power of two of the step of level 0
TABLED = 55  # the finest level that tables give chances for: what is finer has lower bits
ONE = 4096  # a step of a whole scale
MOST_SCALE = 1100 * OCTAVE  # beyond what a binary64 number can be
COARSE_TO, FINE_FROM = 16, 32  # levels, of steps 2 and 1/2
COARSE = 8
# of a vector's energy about its centre, at the qualities beside it
LOST = ((1, 0.72), (60, 0.19), (100, 0.0004))
ROOTS = (
    1.0, 1.0905077326652577, 1.189207115002721, 1.2968395546510096, 1.4142135623730951,
    1.5422108254079407, 1.681792830507429, 1.8340080864093424,
)  # fmt: skip  # 2^(k/8)


def lost_at(quality: int) -> float:
    """Return the share of a vector's energy that may be lost at a quality, 1 to 100."""
    qualities, shares = zip(*LOST, strict=True)
    return float(np.exp(np.interp(quality, qualities, np.log(shares))))


def step_of(level: int) -> float:
    """Return the step of a level as a share of the scale."""
    return math.ldexp(ROOTS[-level % OCTAVE], LARGEST_STEP - -(-level // OCTAVE))


def coarseness(level: int) -> int:
    """Return how coarse a level is: `COARSE` down to a step of 2 scales, 0 from half a scale on.

    Of a coarse step, values up to 1/2 + `coarseness` / 80 of it are rounded to 0, and others come
    back farther from the centre by `coarseness` / 64 of it: where most values are rounded to 0, a
    wider middle saves more bits than it adds error, and what is left stands for what is lost.
    """
    return min(max((FINE_FROM - level) * COARSE // (FINE_FROM - COARSE_TO), 0), COARSE)


def low_bits(level: int) -> int:
    """Return how many lower bits of a symbol are coded as they are, because a table ends above."""
    return max(0, -(-(level - TABLED) // OCTAVE))


def table_step(level: int) -> int:
    """Return the width of what tables give chances for, in 1/4096 of the scale."""
    return int(math.ldexp(step_of(level) * ONE, low_bits(level)))


def level_within(most: float, scale: int) -> int:
    """Return the coarsest level whose step is at most `most`; `FINEST` where none is."""
    unit, levels = scale_of(scale), range(COARSEST, FINEST + 1)
    return next((level for level in levels if step_of(level) * unit <= most), FINEST)


def root_mean_square(values: NDArray[np.float64]) -> float:
    """Return the root of the mean of squares, which themselves may be beyond binary64."""
    largest = float(np.abs(values).max())
    return largest * float(np.sqrt(np.mean((values / largest) ** 2))) if largest else 0.0


def scale_number(rms: float) -> int:
    """Return the number of the scale nearest to a root mean square; the smallest one for 0."""
    if rms == 0:
        return -MOST_SCALE
    return int(np.clip(round(OCTAVE * math.log2(rms)), -MOST_SCALE, MOST_SCALE))


def scale_of(number: int) -> float:
    """Return the scale of a number, 2^(number / 8); 0 or infinite where binary64 cannot hold it."""
    try:
        return math.ldexp(ROOTS[number % OCTAVE], number // OCTAVE)
    except OverflowError:
        return math.inf
