"""How far apart the values are that a component may come back as: the quantiser's step.

A vector's *scale* is the root mean square of its components, rounded to an eighth of an octave.
A step is a share of the scale, so that a quality means the same angle for long and short vectors.
What is said of a vector is its *level*: a quality, 1 to 100, or above that a finer step for a bound
on the error. All here is integers, or products of two binary64 numbers: the same everywhere.
"""

import math

import numpy as np
from numpy.typing import NDArray

BEST = 100
FINEST = 255  # the finest level
OCTAVE = 8  # levels above `BEST`, and scales, to the next power of two
ONE = 4096  # a step of a whole scale
COARSE_TO, FINE_FROM = 60, 80  # levels
COARSE = 8
MOST_SCALE = 1100 * OCTAVE  # beyond what a binary64 number can be
# of each quality, in 1/4096 of the scale: 6 at 1, 2.4 at 60, 0.1 at 100, geometric between
STEPS = (
    24576, 24197, 23824, 23457, 23096, 22740, 22389, 22044, 21705, 21370, 21041, 20717, 20397,
    20083, 19774, 19469, 19169, 18873, 18583, 18296, 18014, 17737, 17463, 17194, 16929, 16668,
    16411, 16159, 15910, 15664, 15423, 15185, 14951, 14721, 14494, 14271, 14051, 13834, 13621,
    13411, 13204, 13001, 12801, 12603, 12409, 12218, 12030, 11844, 11662, 11482, 11305, 11131,
    10959, 10790, 10624, 10460, 10299, 10141, 9984, 9830, 9080, 8386, 7746, 7154, 6608, 6103,
    5637, 5206, 4809, 4441, 4102, 3789, 3499, 3232, 2985, 2757, 2547, 2352, 2173, 2007, 1853,
    1712, 1581, 1460, 1349, 1246, 1151, 1063, 982, 907, 837, 773, 714, 660, 609, 563, 520, 480,
    443, 410,
)  # fmt: skip
ROOTS = (
    1.0, 1.0905077326652577, 1.189207115002721, 1.2968395546510096, 1.4142135623730951,
    1.5422108254079407, 1.681792830507429, 1.8340080864093424,
)  # fmt: skip  # 2^(k/8)


def step_of(level: int) -> float:
    """Return the step of a level as a share of the scale."""
    if level <= BEST:
        return STEPS[level - 1] / ONE
    return math.ldexp(STEPS[-1] * ROOTS[(BEST - level) % OCTAVE] / ONE, -low_bits(level))


def coarseness(level: int) -> int:
    """Return how coarse a level is: `COARSE` up to quality 60, 0 from quality 80 on.

    Of a coarse step, values up to 1/2 + `coarseness` / 80 of it are rounded to 0, and others come
    back farther from the centre by `coarseness` / 64 of it: where most values are rounded to 0, a
    wider middle saves more bits than it adds error, and what is left stands for what is lost.
    """
    return min(max((FINE_FROM - level) * COARSE // (FINE_FROM - COARSE_TO), 0), COARSE)


def low_bits(level: int) -> int:
    """Return how many lower bits of a symbol are coded as they are, because a table ends above."""
    return max(0, -(-(level - BEST) // OCTAVE))


def table_step(level: int) -> int:
    """Return the width of what tables give chances for, in 1/4096 of the scale."""
    if level <= BEST:
        return STEPS[level - 1]
    return int(STEPS[-1] * ROOTS[(BEST - level) % OCTAVE])


def level_within(most: float, scale: int) -> int:
    """Return the coarsest level whose step is at most `most`; `FINEST` where none is."""
    unit, levels = scale_of(scale), range(1, FINEST + 1)
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
