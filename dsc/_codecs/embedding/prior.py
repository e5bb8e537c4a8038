"""What is known of the embeddings of a data set before one is read: a `Prior`.

Components are parted into classes by how large they are on average; of each class the prior has
`KNOTS` quantiles of its values, in scales of the vectors. The chance of a symbol is the mass
between the edges of its bin: quantiles are joined by straight lines, and all of it is integers. So
one file serves every step, and an exact zero that is frequent is a rise of the distribution in one
place, inside the middle bin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.coding.entropy import Tables
from dsc._codecs.embedding.steps import MOST_SCALE, ONE

UNIT = 128  # of a knot, to the scale
FARTHEST = (1 << 15) - 1  # of a knot
LONGEST = 4096  # symbols on one side of a table; what is farther out escapes
TOTAL = 1 << 20  # of a table's frequencies
LEAST = 16  # of one
CLASSES = 64  # at most
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
        (N,) uint8 of each component; None where all are of class 0.
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
    centres: NDArray[np.int16] | None = None
    exponent: int = 0
    scales: NDArray[np.uint32] | None = None
    lowest: int = -MOST_SCALE
    _made: dict[int, Tables] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def unlearnt(cls) -> Self:
        """Return what holds of vectors that nothing is known of."""
        knots = [*(-knot for knot in reversed(_LAPLACE[1:])), *_LAPLACE]
        return cls(np.array([knots], np.int16))

    def centre(self) -> NDArray[np.float64] | float:
        """Return what is taken off each component, (N,)."""
        return 0.0 if self.centres is None else np.ldexp(self.centres, self.exponent)

    def numbers(self, components: int) -> NDArray[np.uint8]:
        """Return the class of each component, (N,)."""
        return np.zeros(components, np.uint8) if self.classes is None else self.classes

    def tables(self, step: int) -> Tables:
        """Return the table of each class for bins of `step` / 4096 scales around whole numbers."""
        if step not in self._made:
            self._made[step] = joined([_table(knots, step) for knots in self.knots])
        return self._made[step]

    @cached_property
    def scale_tables(self) -> Tables | None:
        """Return the table of the numbers of scales; None where nothing is known of them."""
        if self.scales is None:
            return None
        total = int(self.scales.sum())
        mass = np.append(self.scales.astype(np.int64) * TOTAL // total, 0)
        return joined([(_rounded(mass), self.lowest)])

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return what a weights file holds of this, by name."""
        found = {
            "knots": self.knots, "classes": self.classes, "centres": self.centres,
            "scales": self.scales,
        }  # fmt: skip
        return {name: array for name, array in found.items() if array is not None}

    def facts(self) -> dict[str, int]:
        """Return what a weights file says beside."""
        return {"exponent": self.exponent, "lowest": self.lowest}

    @classmethod
    def of(
        cls, tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], components: int
    ) -> Self:
        """Make what a weights file describes, for vectors of so many components.

        Raises
        ------
        ValueError, KeyError, TypeError
            When it does not fit together.
        """
        made = cls(
            tensors["knots"],
            tensors.get("classes"),
            tensors.get("centres"),
            int(facts["exponent"]),
            tensors.get("scales"),
            int(facts["lowest"]),
        )
        made._check(components)
        return made

    def _check(self, components: int) -> None:
        wanted = {
            "knots": (np.int16, (len(self.knots), KNOTS)),
            "classes": (np.uint8, (components,)),
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
        if self.scales is not None and not (0 < len(self.scales) <= WIDEST and self.scales.any()):
            raise ValueError("no scale is ever met")
        if abs(self.exponent) > MOST_SCALE or abs(self.lowest) > MOST_SCALE:
            raise ValueError(f"exponent {self.exponent} or scale {self.lowest} is out of range")


def joined(parts: Sequence[tuple[NDArray[np.uint32], int]]) -> Tables:
    """Put tables together, each frequencies and the lowest symbol."""
    offsets = np.cumsum([0, *(len(frequencies) for frequencies, _ in parts)])
    lows = np.array([low for _, low in parts], np.int32)
    return Tables(np.concatenate([part for part, _ in parts]), offsets.astype(np.int64), lows)


def _table(knots: NDArray[np.int16], step: int) -> tuple[NDArray[np.uint32], int]:
    """Return frequencies of the symbols that quantiles reach, and of an escape; and the lowest."""
    first, last = (int(knot) * (ONE // UNIT) for knot in (knots[0], knots[-1]))
    low, high = max(first // step, -LONGEST), min(-(-last // step), LONGEST)
    below = _distribution(knots, (2 * np.arange(low, high + 2, dtype=np.int64) - 1) * step)
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


def _rounded(mass: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return frequencies that add up to `TOTAL`, each at least `LEAST`."""
    spare = TOTAL - LEAST * len(mass)
    counts = mass * spare // TOTAL + LEAST
    counts[counts.argmax()] += TOTAL - counts.sum()
    return counts.astype(np.uint32)
