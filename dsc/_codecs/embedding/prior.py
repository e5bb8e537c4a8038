"""What is known of the embeddings of a data set before one is read: a `Prior`.

Components are parted into classes by how large they are on average; of each class the prior has
`KNOTS` quantiles of its values, in scales of the vectors. Where there are several *modes*, kinds of
vectors, each has a class for every component, and a vector says its mode first. The chance of a
symbol is the mass between the edges of its bin: quantiles are joined by straight lines, and all of
it is integers. So one file serves every step, and an exact zero that is frequent is a rise of the
distribution in one place, inside the middle bin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.embedding.steps import COARSE, MOST_SCALE, ONE, coarseness, table_step
from dsc._coding.entropy import Tables

UNIT = 128  # of a knot, to the scale
FARTHEST = (1 << 15) - 1  # of a knot
LONGEST = 4096  # symbols on one side of a table; what is farther out escapes
TOTAL = 1 << 20  # of a table's frequencies
LEAST = 16  # of one
CLASSES = 64  # at most
MIDDLE_PARTS = 10 * COARSE  # by which `coarseness` is a share of the step
TENSORS = ("knots", "classes", "modes", "centres", "scales")
WIDEST = 1 << 12  # numbers of scales that a table of them spans at most

_TAIL = (0, 2, 8, 32, 128, 256, 512, 1024, 1536, 2048, 3072, 4096, 6144)
CUMULATIVE = np.array(
    (*_TAIL, *range(8192, 57345, 2048), *(65536 - part for part in reversed(_TAIL))), np.int64
)
"""(P,) how much of 2^16 lies below each quantile."""
KNOTS = len(CUMULATIVE)

# quantiles of the Laplace distribution, of a vector that nothing is known of: the upper half
_LAPLACE = (
    0, 6, 12, 19, 26, 34, 43, 52, 63, 75, 89, 105, 125, 152, 188, 214, 251, 277, 314, 376, 439, 502,
    627, 753, 878, 1173,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Prior:
    """See the module.

    Attributes
    ----------
    classes
        (M, N) uint8 of each component in each mode; None where all are of class 0.
    modes
        (M,) uint32 how often each mode is met; None where there is one.
    knots
        (K, `KNOTS`) int16 quantiles of each class, ascending, in 1/`UNIT` of a vector's scale.
    centres
        (N,) int16, what is taken off each component, times 2^`exponent`; None where nothing is.
    exponent
        See `centres`.
    scales
        (S,) uint32 how often each number of a scale is met, from `lowest` on; None where nothing is
        known of scales.
    lowest
        See `scales`.
    """

    knots: NDArray[np.int16]
    classes: NDArray[np.uint8] | None = None
    modes: NDArray[np.uint32] | None = None
    centres: NDArray[np.int16] | None = None
    exponent: int = 0
    scales: NDArray[np.uint32] | None = None
    lowest: int = -MOST_SCALE
    _made: "dict[int, _Level]" = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def unlearnt(cls) -> Self:
        """Return what holds of vectors that nothing is known of."""
        knots = [*(-knot for knot in reversed(_LAPLACE[1:])), *_LAPLACE]
        return cls(np.array([knots], np.int16))

    def centre(self) -> NDArray[np.float64] | float:
        """Return what is taken off each component, (N,)."""
        return 0.0 if self.centres is None else np.ldexp(self.centres, self.exponent)

    def numbers(self, components: int) -> NDArray[np.uint8]:
        """Return the class of each component in each mode, (M, N)."""
        return np.zeros((1, components), np.uint8) if self.classes is None else self.classes

    def tables(self, level: int) -> Tables:
        """Return the table of each class for the symbols of a level, but for its lower bits."""
        return self._at(level).tables

    def _at(self, level: int) -> "_Level":
        if level not in self._made:
            middle = ONE // 2 + ONE * coarseness(level) // MIDDLE_PARTS
            step = table_step(level)
            tables = joined([_table(knots, step, middle) for knots in self.knots])
            self._made[level] = _Level(tables, self.numbers(1))
        return self._made[level]

    @cached_property
    def mode_tables(self) -> Tables | None:
        """Return the table of the modes; None where there is one."""
        return None if self.modes is None else _counted(self.modes, 0)

    @cached_property
    def scale_tables(self) -> Tables | None:
        """Return the table of the numbers of scales; None where nothing is known of them."""
        return None if self.scales is None else _counted(self.scales, self.lowest)

    def mode_of(self, symbols: NDArray[np.int64], level: int) -> int:
        """Return the mode in which the symbols of a vector, (N,), take the fewest bits."""
        if self.classes is None or self.mode_tables is None:
            return 0
        there, at = np.flatnonzero(symbols), self._at(level)
        own = self.classes[:, there]
        zeros = at.bits_of_zeros - at.bits_of_zero[own].sum(1)
        modes = -np.log2(self.mode_tables.frequencies[:-1])
        return int(np.argmin(modes + zeros + at.bits_of(own, symbols[there]).sum(1)))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return what a weights file holds of this, by name."""
        return {name: part for name in TENSORS if (part := getattr(self, name)) is not None}

    def facts(self) -> dict[str, int]:
        """Return what a weights file says beside."""
        return {"exponent": self.exponent, "lowest": self.lowest}

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], length: int) -> Self:
        """Make what a weights file describes, for vectors of a length.

        Raises
        ------
        ValueError, KeyError, TypeError
            When it does not fit together.
        """
        parts: dict[str, Any] = {name: tensors[name] for name in TENSORS if name in tensors}
        made = cls(**parts, exponent=int(facts["exponent"]), lowest=int(facts["lowest"]))
        made._check(length)
        return made

    def _check(self, components: int) -> None:
        wanted = {
            "knots": (np.int16, (len(self.knots), KNOTS)),
            "classes": (np.uint8, (1 if self.modes is None else len(self.modes), components)),
            "modes": (np.uint32, (len(self.numbers(components)),)),
            "centres": (np.int16, (components,)),
            "scales": (np.uint32, (0 if self.scales is None else len(self.scales),)),
        }
        for name, array in self.tensors().items():
            dtype, shape = wanted[name]
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"{name}: {array.dtype} {array.shape}, expected {dtype} {shape}")
        if not 1 <= len(self.knots) <= CLASSES or (np.diff(self.knots.astype(int)) < 0).any():
            raise ValueError(f"knots of {len(self.knots)} classes that do not ascend")
        if int(self.numbers(components).max()) >= len(self.knots):
            raise ValueError("a component of a class without knots")
        for counts in (self.scales, self.modes):
            if counts is not None and not (0 < len(counts) <= WIDEST and counts.any()):
                raise ValueError("no scale or mode is ever met")
        if abs(self.exponent) > MOST_SCALE or abs(self.lowest) > MOST_SCALE:
            raise ValueError(f"exponent {self.exponent} or scale {self.lowest} is out of range")


@dataclass(frozen=True)
class _Level:
    """Tables of classes, the classes (M, N) of components, and the bits that entries take."""

    tables: Tables
    classes: NDArray[np.uint8]

    @cached_property
    def bits(self) -> NDArray[np.float64]:
        """Bits of each entry of all tables."""
        found: NDArray[np.float64] = np.log2(TOTAL) - np.log2(self.tables.frequencies)
        return found

    @cached_property
    def bits_of_zero(self) -> NDArray[np.float64]:
        """Bits of the symbol 0 under each table, (K,)."""
        return self.bits_of(np.arange(len(self.tables)), np.zeros(1, np.int64))

    @cached_property
    def bits_of_zeros(self) -> NDArray[np.float64]:
        """Bits of a vector of zeros in each mode, (M,)."""
        found: NDArray[np.float64] = self.bits_of_zero[self.classes].sum(1)
        return found

    def bits_of(
        self, classes: NDArray[np.integer[Any]], symbols: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the bits of symbols, each under the table of a class; of escapes without more."""
        first, escape = self.tables.offsets[classes], self.tables.offsets[classes + 1] - 1
        at = first + symbols - self.tables.lows[classes]
        found: NDArray[np.float64] = self.bits[np.where((at < first) | (at > escape), escape, at)]
        return found


def joined(parts: Sequence[tuple[NDArray[np.uint32], int]]) -> Tables:
    """Put tables together, each frequencies and the lowest symbol."""
    offsets = np.cumsum([0, *(len(frequencies) for frequencies, _ in parts)])
    lows = np.array([low for _, low in parts], np.int32)
    return Tables(np.concatenate([part for part, _ in parts]), offsets.astype(np.int64), lows)


def _table(knots: NDArray[np.int16], step: int, middle: int) -> tuple[NDArray[np.uint32], int]:
    """Return frequencies of the symbols that quantiles reach, and of an escape; and the lowest.

    Parameters
    ----------
    middle
        How far from 0 values have the symbol 0, in 1/4096 of the step; others are rounded.
    """
    first, last = (int(knot) * (ONE // UNIT) for knot in (knots[0], knots[-1]))
    low, high = max(first // step, -LONGEST), min(-(-last // step), LONGEST)
    symbols, reach = np.arange(low, high + 2, dtype=np.int64), 2 * middle * step // ONE
    edges = (2 * symbols - 1) * step
    edges[symbols == 0], edges[symbols == 1] = -reach, reach
    below = _distribution(knots, edges)
    outside = TOTAL - below[-1] + below[0]
    return _rounded(np.append(np.diff(below), outside)), low


def _distribution(knots: NDArray[np.int16], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how much of `TOTAL` lies at or below places, in 1/8192 of the scale."""
    at = knots.astype(np.int64) * (2 * ONE // UNIT)
    share = CUMULATIVE * (TOTAL // int(CUMULATIVE[-1]))
    after = np.searchsorted(at, places, "right").clip(1, KNOTS - 1)
    start, stop = at[after - 1], at[after]
    within = (places - start).clip(0, stop - start)
    rise = (share[after] - share[after - 1]) * within // np.maximum(stop - start, 1)
    return np.where(places >= at[-1], TOTAL, np.where(places < at[0], 0, share[after - 1] + rise))


def _counted(counts: NDArray[np.uint32], lowest: int) -> Tables:
    """Return the table of numbers, from the lowest on, that were met so often."""
    mass = np.append(counts.astype(np.int64) * TOTAL // int(counts.sum()), 0)
    return joined([(_rounded(mass), lowest)])


def _rounded(mass: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return frequencies that add up to `TOTAL`, each at least `LEAST`."""
    spare = TOTAL - LEAST * len(mass)
    counts = mass * spare // TOTAL + LEAST
    counts[counts.argmax()] += TOTAL - counts.sum()
    return counts.astype(np.uint32)
