"""Learns what embeddings of a data set have in common: their classes, quantiles, centres, scales.

A prior is taken where it saves more bytes than its file has, of all the vectors that there will be:
it is learnt from every other vector that is at hand, and tried on those between.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.embedding.prior import CUMULATIVE, FARTHEST, UNIT, WIDEST, Prior
from dsc._codecs.embedding.steps import root_mean_square, scale_number, scale_of

FEWEST = 16  # vectors from which anything is learnt
CENTRED_FROM = 256  # vectors, for which centres of two bytes a component are worth it
OFF_CENTRE = 0.1  # the share of the energy that means have, from which on centres are taken off
RECTIFIED = 0.05  # the share of zeros of vectors, from which on 0 is the centre of all components
CLASS_COUNTS = (1, 4, 16, 64)
MARGIN = 1.25  # times the farthest value seen, to where tables reach
AROUND = 8  # numbers of scales on both sides of those seen that are expected, too
SEEN_SCALE = 16  # times as often are those that were seen

Vectors = NDArray[np.float64]


def priors_of(vectors: Vectors, count: int) -> Iterator[Prior]:
    """Yield what may be learnt of vectors (n, N), more and more of it.

    Parameters
    ----------
    count
        How many vectors there will be.
    """
    centres, exponent = _centres(vectors) if count >= CENTRED_FROM else (None, 0)
    away = vectors if centres is None else vectors - np.ldexp(centres, exponent)
    away = away[np.any(away != 0, axis=1)]
    if not len(away):
        return
    numbers = np.array([scale_number(root_mean_square(one)) for one in away])
    scaled = away / np.array([scale_of(number) for number in numbers.tolist()])[:, None]
    scales, lowest = _scales(numbers)
    order = np.argsort(np.abs(scaled).mean(0), kind="stable")
    for parts in CLASS_COUNTS:
        if parts > vectors.shape[1]:
            return
        classes = np.empty(vectors.shape[1], np.uint8)
        classes[order] = np.arange(len(order)) * parts // len(order)
        knots = [_quantiles(scaled[:, classes == number]) for number in range(parts)]
        yield Prior(
            np.array(knots, np.int16), classes if parts > 1 else None, centres, exponent,
            scales, lowest,
        )  # fmt: skip


def _centres(vectors: Vectors) -> tuple[NDArray[np.int16] | None, int]:
    """Return the means of components where they are much of the whole, and exact zeros are few."""
    means = vectors.mean(0)
    largest = float(np.abs(means).max())
    off = len(vectors) * np.sum(means**2) >= OFF_CENTRE * np.sum(vectors**2)
    if not largest or not off or np.mean(vectors == 0) >= RECTIFIED:
        return None, 0
    exponent = int(np.frexp(largest)[1]) - 15
    return np.rint(np.ldexp(means, -exponent)).clip(-FARTHEST, FARTHEST).astype(np.int16), exponent


def _scales(numbers: NDArray[np.int64]) -> tuple[NDArray[np.uint32] | None, int]:
    """Return how often each number of a scale is to be expected, and the lowest one."""
    low, high = int(numbers.min()) - AROUND, int(numbers.max()) + AROUND
    if high - low >= WIDEST:
        return None, 0
    seen = np.bincount(numbers - low, minlength=high - low + 1)
    return (SEEN_SCALE * seen + 1).astype(np.uint32), low


def _quantiles(values: Vectors) -> NDArray[np.int64]:
    """Return the quantiles of a class, the outermost ones farther out than any value."""
    ordered = np.sort(values, axis=None)
    places = CUMULATIVE * (len(ordered) - 1) // int(CUMULATIVE[-1])
    found = ordered[places]
    found[0], found[-1] = found[0] * MARGIN, found[-1] * MARGIN
    return np.rint(found * UNIT).clip(-FARTHEST, FARTHEST).astype(np.int64)
