"""Few directions in place of many: the normals of a map merged within a tolerance.

Rendered and scanned rooms are made of planes, whose pixels all have one normal. Such a map is a map
of labels, its directions their names, and what is between planes (edges that were averaged, curved
things) may be named after a plane close by.

The loops are in `dsc/_kernels/directions.c`; those below are their twins. Angles are integers, in
2^-26 rad, so that sums of them depend on no order.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels

MOST = 4096  # different normals above which a map is not made of planes
NOISE = 0.5  # share of pixels unlike their left neighbour, likewise
TOLERANCES_DEG = (40, 32, 24, 20, 16, 14, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1, 0)
ANGLE_BITS = 26
_SQUARE_SHIFT = 20  # squares of angles are summed in 2^-32 rad²
# formula 4.4.46 of Abramowitz and Stegun, Handbook of Mathematical Functions (1964)
_ARCCOS = (
    1.5707963050, -0.2145988016, 0.0889789874, -0.0501743046,
    0.0308918810, -0.0170881256, 0.0066700901, -0.0012624911,
)  # fmt: skip

Normals = NDArray[np.uint8]
Numbers = NDArray[np.uint16]
Angles = NDArray[np.uint32]


@dataclass(frozen=True)
class Errors:
    """What is lost in a map: sums over its valid pixels.

    Attributes
    ----------
    sum
        Of the angles, in 2^-26 rad.
    square
        Of their squares, in 2^-32 rad².
    """

    sum: int
    square: int

    @classmethod
    def of(cls, angles: Angles, counts: NDArray[Any] | None = None) -> "Errors":
        """Sum angles (n,), each as often as `counts` says, or once."""
        squares = (angles.astype(np.uint64) ** 2 >> np.uint64(_SQUARE_SHIFT)).astype(np.int64)
        if counts is None:
            return cls(int(angles.sum(dtype=np.int64)), int(squares.sum()))
        return cls(int(counts @ angles.astype(np.int64)), int(counts @ squares))

    def is_within(self, most: "Errors") -> bool:
        """Tell whether neither sum is larger."""
        return self.sum <= most.sum and self.square <= most.square


@dataclass(frozen=True)
class Directions:
    """The different normals of a map.

    Attributes
    ----------
    values
        (n, 3) uint8, the most frequent first.
    counts
        (n,) their pixels.
    number
        (H, W) uint16: which of them each pixel has; 0 where there is none.
    invalid
        (H, W) bool: pixels that are left as they are.
    """

    values: Normals
    counts: NDArray[np.int64]
    number: Numbers
    invalid: NDArray[np.bool_]

    @classmethod
    def of(cls, array: Normals, invalid: NDArray[np.bool_]) -> "Directions | None":
        """Find the directions of (H, W, 3); None when there are none, or more than `MOST`.

        There are none, either, where most pixels are unlike their left neighbour.
        """
        number_of = _number_compiled if _kernels.in_use() else _number
        found = number_of(array, invalid)
        if found is None:
            return None
        number, packed, counts = found
        changes = number[:, 1:] != number[:, :-1]
        if not len(packed) or (changes.size and changes.mean() > NOISE):
            return None
        order = np.lexsort((packed, -counts))
        place = np.empty(len(packed), np.uint16)
        place[order] = np.arange(len(packed))
        packed, number = packed[order], place[number]
        number[invalid] = 0
        values = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)
        return cls(values.astype(np.uint8), counts[order], number, invalid)

    def merged(self, tolerance_deg: float) -> NDArray[np.intp]:
        """Return the direction (n,) that stands for each one.

        The most frequent within tolerance.
        """
        own = self.merged_within(tolerance_deg, Errors(2**63 - 1, 2**63 - 1))
        if own is None:
            raise ValueError(f"{tolerance_deg} degrees: errors that no integer holds")
        return own.astype(np.intp)

    def merged_within(self, tolerance_deg: float, most: Errors) -> Numbers | None:
        """Return the same (n,), or None where merging leaves larger errors than `most`."""
        own = np.arange(len(self.values), dtype=np.uint16)
        if tolerance_deg == 0:
            return own
        least = math.cos(math.radians(tolerance_deg)) ** 2
        merge = _kernels.compiled.directions_merge if _kernels.in_use() else _merge
        within = merge(self.values, self.counts, least, most.sum, most.square, own)
        return own if within else None

    def errors(self, own: NDArray[Any]) -> Errors:
        """Return what merging leaves."""
        return Errors.of(angles_between(self.values, self.values[own]), self.counts)

    def errors_deg(self, own: NDArray[Any]) -> tuple[float, float]:
        """Return the mean and the root mean square of the angle that merging leaves, in degrees."""
        errors, n = self.errors(own), int(self.counts.sum())
        root = math.sqrt(errors.square / n / 2.0**32)
        return math.degrees(errors.sum / n / 2.0**ANGLE_BITS), math.degrees(root)

    def errors_of(self, array: Normals, decoded: Normals) -> Errors:
        """Return what is lost where `array` (H, W, 3), which this is of, became `decoded`."""
        angles = angles_between(array.reshape(-1, 3), decoded.reshape(-1, 3))
        angles[self.invalid.ravel()] = 0
        return Errors.of(angles)

    def named(self, own: NDArray[Any], array: Normals) -> tuple[Numbers, Normals]:
        """Return the same as numbers (H, W) of normals (n, 3), all different.

        What is invalid in `array` has normals of its own.
        """
        number = own.astype(np.uint16, copy=False)[self.number]
        if not self.invalid.any():
            return number, self.values
        holes, which = np.unique(array[self.invalid], axis=0, return_inverse=True)
        number[self.invalid] = (len(self.values) + which.ravel()).astype(np.uint16)
        return number, np.concatenate([self.values, holes])

    def picture(self, own: NDArray[Any], array: Normals) -> Normals:
        """Return the map (H, W, 3) of the directions that stand for those of `array`."""
        made: Normals = self.values[own][self.number]
        made[self.invalid] = array[self.invalid]
        return made


def angles_between(first: Normals, second: Normals) -> Angles:
    """Return the angles (n,) between normals (n, 3), in 2^-26 rad."""
    if _kernels.in_use():
        angles = np.empty(len(first), np.uint32)
        _kernels.compiled.directions_angles(
            np.ascontiguousarray(first), np.ascontiguousarray(second), angles
        )
        return angles
    one, other = _components(first), _components(second)
    return _angles(np.asarray((one * other).sum(axis=1)), _squares(one) * _squares(other))


def _number_compiled(
    array: Normals, invalid: NDArray[np.bool_]
) -> tuple[Numbers, NDArray[np.int64], NDArray[np.int64]] | None:
    number = np.empty(invalid.shape, np.uint16)
    packed, counts = np.empty(MOST, np.uint32), np.empty(MOST, np.int64)
    found = _kernels.compiled.directions_number(
        np.ascontiguousarray(array), np.ascontiguousarray(invalid), number, packed, counts
    )
    return None if found < 0 else (number, packed[:found].astype(np.int64), counts[:found])


def _number(
    array: Normals, invalid: NDArray[np.bool_]
) -> tuple[Numbers, NDArray[np.int64], NDArray[np.int64]] | None:
    """Return the number (H, W) of each pixel, the packed normals (n,) and their pixels (n,)."""
    packed = array.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    found, first, counts = np.unique(packed[~invalid], return_index=True, return_counts=True)
    if len(found) > MOST:
        return None
    order = np.argsort(first)  # as they come
    place = np.empty(len(found), np.uint16)
    place[order] = np.arange(len(found))
    number = np.zeros(invalid.shape, np.uint16)
    number[~invalid] = place[np.searchsorted(found, packed[~invalid])]
    return number, found[order], counts[order]


def _merge(
    values: Normals,
    counts: NDArray[np.int64],
    least: float,
    most_sum: int,
    most_square: int,
    own: Numbers,
) -> bool:
    components = _components(values)
    squares = _squares(components)
    left = np.ones(len(values), bool)
    for at in range(len(values)):
        if left[at]:
            dot = components @ components[at]
            both = (squares * squares[at]).astype(np.float64)
            near = left & (dot > 0) & (dot.astype(np.float64) ** 2 >= least * both)
            near[at] = True
            own[near] = at
            left[near] = False
    errors = Errors.of(angles_between(values, values[own]), counts)
    return errors.is_within(Errors(most_sum, most_square))


def _components(values: Normals) -> NDArray[np.int64]:
    """Return odd integers: a channel c of a direction is (2 c - 255) / 255, which is never 0."""
    return 2 * values.astype(np.int64) - 255


def _squares(components: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray((components**2).sum(axis=1))


def _angles(dot: NDArray[np.int64], squares: NDArray[np.int64]) -> Angles:
    """Return the angles whose cosines are dot / sqrt(squares), within 2e-8 rad."""
    cosine = dot.astype(np.float64) / np.sqrt(squares.astype(np.float64))
    x = np.abs(cosine)
    total = np.full(len(x), _ARCCOS[-1])
    for factor in _ARCCOS[-2::-1]:
        total = total * x + factor
    angle = np.sqrt(1.0 - x) * total
    angle = np.where(cosine < 0, math.pi - angle, angle)
    return np.asarray(np.floor(angle * 2.0**ANGLE_BITS + 0.5).astype(np.uint32))
