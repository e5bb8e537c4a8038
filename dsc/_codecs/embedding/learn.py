"""Learns what embeddings of a data set have in common: their modes, classes, quantiles, centres.

Modes are found by k-means, then each vector is given the one in which it takes the fewest bits, and
classes are counted again, some times over (Linde, Buzo, Gray 1980, with bits for distances). What
is learnt is taken where it saves more bytes than its file has: that is `EmbeddingCodec.learning`.
"""

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.embedding.prior import CUMULATIVE, FARTHEST, UNIT, WIDEST, Prior
from dsc._codecs.embedding.steps import root_mean_square, scale_number, scale_of

FEWEST = 16  # vectors from which anything is learnt
CENTRED_FROM = 256  # vectors, for which centres of two bytes a component are worth it
OFF_CENTRE = 0.1  # the share of the energy that means have, from which on centres are taken off
RECTIFIED = 0.05  # the share of zeros of vectors, from which on 0 is the centre of all components
FORMS = ((1, 1), (4, 1), (16, 1), (16, 4), (32, 16), (32, 64))  # classes and modes that are tried
EACH = 16  # vectors of a mode at least, on average
MARGIN = 1.25  # times the farthest value seen, to where tables reach
AROUND = 8  # numbers of scales on both sides of those seen that are expected, too
SEEN_SCALE = 16  # times as often are those that were seen
ROUNDS = 6
SHRINKAGE = 12  # vectors of all modes that count beside those of a mode
TYPICAL_STEP = 2.0  # scales
MOST = 4  # symbols that are told apart

Vectors = NDArray[np.float64]
Int = NDArray[np.int64]


def forms_of(vectors: Vectors) -> list[tuple[int, int]]:
    """List how many classes and modes may be learnt of vectors (n, N)."""
    count, components = vectors.shape
    return [(k, m) for k, m in FORMS if k <= components and m * EACH <= max(count, EACH)]


def prior_of(vectors: Vectors, count: int, classes: int, modes: int) -> Prior | None:
    """Return what is learnt of vectors (n, N); None where all of them are their centres.

    Parameters
    ----------
    count
        How many vectors there will be.
    """
    centres, exponent = _centres(vectors) if count >= CENTRED_FROM else (None, 0)
    away = vectors if centres is None else vectors - np.ldexp(centres, exponent)
    away = away[np.any(away != 0, axis=1)]
    if not len(away):
        return None
    numbers = np.array([scale_number(root_mean_square(one)) for one in away])
    scaled = away / np.array([scale_of(number) for number in numbers.tolist()])[:, None]
    scales, lowest = _scales(numbers)
    table, mode = _parted(scaled, classes, modes)
    knots = _knots(scaled, table[mode])
    often = (np.bincount(mode, minlength=modes) + 1).astype(np.uint32) if modes > 1 else None
    known = table.astype(np.uint8) if classes > 1 else None
    return Prior(knots, known, often, centres, exponent, scales, lowest)


def _centres(vectors: Vectors) -> tuple[NDArray[np.int16] | None, int]:
    """Return the means of components where they are much of the whole, and exact zeros are few."""
    means = vectors.mean(0)
    largest = float(np.abs(means).max())
    off = len(vectors) * np.sum(means**2) >= OFF_CENTRE * np.sum(vectors**2)
    if not largest or not off or np.mean(vectors == 0) >= RECTIFIED:
        return None, 0
    exponent = int(np.frexp(largest)[1]) - 15
    return np.rint(np.ldexp(means, -exponent)).clip(-FARTHEST, FARTHEST).astype(np.int16), exponent


def _scales(numbers: Int) -> tuple[NDArray[np.uint32] | None, int]:
    """Return how often each number of a scale is to be expected, and the lowest one."""
    low, high = int(numbers.min()) - AROUND, int(numbers.max()) + AROUND
    if high - low >= WIDEST:
        return None, 0
    seen = np.bincount(numbers - low, minlength=high - low + 1)
    return (SEEN_SCALE * seen + 1).astype(np.uint32), low


def _parted(scaled: Vectors, classes: int, modes: int) -> tuple[Int, Int]:
    """Return the class of each component in each mode, (M, N), and the mode of each vector."""
    sizes = np.abs(scaled)
    mode = _k_means(np.sqrt(sizes), modes) if modes > 1 else np.zeros(len(scaled), np.int64)
    table = _classes(sizes, mode, classes, modes)
    symbols = np.minimum(np.rint(sizes / TYPICAL_STEP), MOST).astype(np.uint8)
    for _ in range(ROUNDS if modes > 1 else 0):
        mode = _cheapest(symbols, table, mode, classes)
        table = _classes(sizes, mode, classes, modes)
    return table, mode


def _k_means(points: Vectors, count: int) -> Int:
    """Return which of `count` means each point (n, N) is nearest to.

    It begins as k-means++ does (Arthur and Vassilvitskii 2007), with the same chances every time.
    """
    rng = np.random.default_rng(0)
    means, left = points[:count].copy(), np.full(len(points), np.inf)
    for number in range(1, count):
        left = np.minimum(left, np.sum((points - means[number - 1]) ** 2, axis=1))
        far = np.searchsorted(np.cumsum(left), rng.random() * left.sum(), "right")
        means[number] = points[min(int(far), len(points) - 1)]
    for _ in range(ROUNDS):
        nearest: Int = (np.sum(means**2, axis=1) - 2 * points @ means.T).argmin(1)
        for number in np.unique(nearest):
            means[number] = points[nearest == number].mean(0)
    return nearest


def _classes(sizes: Vectors, mode: Int, classes: int, modes: int) -> Int:
    """Return the class of each component in each mode, (M, N), by its mean size there."""
    mean = sizes.mean(0)
    each = np.empty((modes, len(mean)))
    for number in range(modes):
        own = sizes[mode == number]
        each[number] = (own.sum(0) + SHRINKAGE * mean) / (len(own) + SHRINKAGE)
    ranks = np.argsort(np.argsort(each, axis=None, kind="stable"), kind="stable")
    return (ranks * classes // each.size).reshape(each.shape)


def _cheapest(symbols: NDArray[np.uint8], table: Int, mode: Int, classes: int) -> Int:
    """Return the mode in which each vector takes the fewest bits."""
    seen = np.full((classes, MOST + 1), 0.5)
    np.add.at(seen, (table[mode], symbols), 1)
    bits = -np.log2(seen / seen.sum(1, keepdims=True))
    often = np.bincount(mode, minlength=len(table)) + 1.0
    cost = np.tile(-np.log2(often / often.sum()), (len(symbols), 1))
    for symbol in range(MOST + 1):
        cost += (symbols == symbol).astype(np.float64) @ bits[table, symbol].T
    cheapest: Int = cost.argmin(1)
    return cheapest


def _knots(scaled: Vectors, classes: Int) -> NDArray[np.int16]:
    """Return the quantiles of each class, the outermost ones farther out than any value."""
    number = classes.ravel()
    order = np.lexsort((scaled.ravel(), number))
    ordered, sizes = scaled.ravel()[order], np.bincount(number, minlength=number.max() + 1)
    ends = np.cumsum(sizes)
    rows = []
    for end, size in zip(ends, sizes, strict=True):
        own = ordered[end - size : end] if size else np.zeros(1)
        row = own[CUMULATIVE * (len(own) - 1) // int(CUMULATIVE[-1])]
        row[0], row[-1] = row[0] * MARGIN, row[-1] * MARGIN
        rows.append(np.rint(row * UNIT).clip(-FARTHEST, FARTHEST))
    return np.array(rows, np.int16)
