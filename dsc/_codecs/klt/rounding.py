"""Which whole number of steps a coefficient becomes: that of the least error and bits together.

Symbols are independent of each other under their tables, so the choice for each is the best of all
(Sullivan and Wiegand, "Rate-distortion optimization for video compression", 1998).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.klt.model import Model
from dsc._codecs.klt.tables import CLASSES, LOWEST, STARTS, Frequencies, reach
from dsc._coding.entropy import ESCAPE_BITS, PRECISION

BIT = 0.115  # squared steps that a bit is worth: 2 ln 2 / 12, where steps are fine
LOUDER = 8  # quarters of octaves that are tried on both sides

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_REACHES = np.array([reach(number) for number in range(CLASSES)], np.int64)


def rounded(model: Model, scaled: Floats, tables: Ints, low_bits: Ints) -> Ints:
    """Round coefficients (C, h, w), given in steps; where there is no table, to 0.

    Parameters
    ----------
    tables, low_bits
        Of each coefficient, as `dsc._codecs.klt.model.parted` has them.
    """
    found = np.zeros(scaled.shape, np.int64)
    plain = low_bits > 0
    found[plain] = np.rint(scaled[plain]).astype(np.int64)
    tried = (tables >= 0) & ~plain & (np.abs(scaled) > 0.5)
    sizes, own = np.abs(scaled[tried]), tables[tried]
    below = np.floor(sizes).astype(np.int64)
    choices = np.stack([np.zeros_like(below), below, below + 1])
    spent = bits_of(model, choices, own)
    best = ((sizes - choices) ** 2 + BIT * spent).argmin(axis=0)
    found[tried] = np.sign(scaled[tried]).astype(np.int64) * np.choose(best, choices)
    return found


def bits_of(model: Model, sizes: Ints, tables: Ints) -> Floats:
    """Return the bits of symbols of these sizes under their tables."""
    at = np.minimum(sizes, _REACHES[tables] + 1)
    found: Floats = _bits(model.sizes.tobytes())[STARTS[tables] + at]
    return found


def loudness_of(model: Model, scaled: Floats, quality: int) -> int:
    """Return by how many quarters of octaves to expect more than usual, for the fewest bits.

    Parameters
    ----------
    scaled
        Coefficients (C, h, w), in steps.
    """
    classes = model.classes((scaled.shape[1], scaled.shape[2]), quality, 0) - LOWEST
    sizes = np.floor(np.abs(scaled) + 0.4).astype(np.int64)  # about what they are rounded to

    def spent(loudness: int) -> float:
        moved = classes + loudness
        own = np.clip(moved, 0, CLASSES - 1)
        return float(bits_of(model, sizes, own)[moved >= 0].sum() + lost(moved))

    def lost(moved: Ints) -> float:
        return float((np.abs(scaled[moved < 0]) > 1).sum()) / BIT

    return min(range(-LOUDER, LOUDER + 1), key=lambda loudness: (spent(loudness), abs(loudness)))


@lru_cache(maxsize=16)
def _bits(sizes: bytes) -> Floats:
    """Return the bits of every entry of a model's frequencies."""
    frequencies: Frequencies = np.frombuffer(sizes, np.uint16)
    found: Floats = PRECISION - np.log2(frequencies.astype(np.float64))
    found[STARTS[1:] - 1] += ESCAPE_BITS
    return found
