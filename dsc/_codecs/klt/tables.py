"""Chances of a rounded coefficient, by its class: how large it usually is beside the step.

A class is a quarter of an octave. Coefficients that are usually smaller than a sixteenth of a step
are zero and not coded; those above sixteen steps have their lower bits coded as they are, and what
is left has the class with so many octaves less.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.klt.steps import OCTAVE
from dsc._coding.entropy import PRECISION, Tables

LOWEST, HIGHEST = -4 * OCTAVE, 4 * OCTAVE  # classes that have a table
CLASSES = HIGHEST - LOWEST + 1
REACH = 8  # standard deviations that a table reaches to
TRUST = 32  # coefficients that what is assumed of a class counts as
OFFSET = 0.42  # of rounding, when coefficients are counted

Counts = NDArray[np.float64]
Frequencies = NDArray[np.uint16]


def reach(number: int) -> int:
    """Return the largest size of a symbol in the table of a class, counted from 0."""
    return math.ceil(REACH * float(2.0 ** ((number + LOWEST) / OCTAVE)))


STARTS = np.cumsum([0, *(reach(number) + 2 for number in range(CLASSES))])
"""Where the entries of each class begin: those of sizes 0, 1, ... and of what is larger."""


def no_counts() -> Counts:
    """Return what is counted before anything was seen: the Laplace distribution's."""
    found = np.empty(STARTS[-1])
    for number in range(CLASSES):
        deviation = 2.0 ** ((number + LOWEST) / OCTAVE) / math.sqrt(2)
        beyond = np.exp(-(np.arange(reach(number) + 2) + 1 - OFFSET) / deviation)
        mass = np.append(1, beyond[:-1]) - beyond
        mass[-1] = beyond[-2]
        found[STARTS[number] : STARTS[number + 1]] = TRUST * mass
    return found


def count(counts: Counts, sizes: NDArray[np.int64], classes: NDArray[np.int64]) -> None:
    """Add coefficients' sizes, whole steps, to what was counted of their classes."""
    for number in np.unique(classes).tolist():
        most = reach(number) + 1
        seen = np.bincount(np.minimum(sizes[classes == number], most), minlength=most + 1)
        counts[STARTS[number] : STARTS[number + 1]] += seen


def frequencies(counts: Counts) -> Frequencies:
    """Round counts to frequencies: of a class they add up to 2^16, those of sizes above 0 twice."""
    found = np.empty(STARTS[-1], np.uint16)
    for number in range(CLASSES):
        part = slice(STARTS[number], STARTS[number + 1])
        mass = counts[part].copy()
        mass[1:-1] /= 2  # each sign has half
        signs = np.full(len(mass), 2)
        signs[[0, -1]] = 1
        spare = (1 << PRECISION) - int(signs.sum())
        own = np.floor(mass / counts[part].sum() * spare).astype(np.int64) + 1
        own[0] += (1 << PRECISION) - int((own * signs).sum())
        found[part] = own
    return found


def check_frequencies(found: Frequencies) -> None:
    """Refuse what `tables_of` cannot make tables of.

    Raises
    ------
    ValueError
        When there are too few, or one is 0.
    """
    if found.shape != (STARTS[-1],) or found.dtype != np.uint16 or not found.all():
        raise ValueError(f"frequencies of {found.dtype} {found.shape} are none of this codec")


def tables_of(found: Frequencies) -> Tables:
    """Return the tables of symbols of both signs."""
    rows, lows = [], []
    for number in range(CLASSES):
        own = found[STARTS[number] : STARTS[number + 1]].astype(np.uint32)
        rows.append(np.concatenate([own[-2:0:-1], own]))
        lows.append(-reach(number))
    offsets = np.cumsum([0, *(len(row) for row in rows)]).astype(np.int64)
    return Tables(np.concatenate(rows), offsets, np.array(lows, np.int32))
