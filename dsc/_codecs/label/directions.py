"""Few directions in place of many: the normals of a map merged within a tolerance.

Rendered and scanned rooms are made of planes, whose pixels all have one normal. Such a map is a map
of labels, its directions their names, and what is between planes (edges that were averaged, curved
things) may be named after a plane close by.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 4096  # different normals above which a map is not made of planes
NOISE = 0.5  # share of pixels unlike their left neighbour, likewise
TOLERANCES_DEG = (40, 32, 24, 20, 16, 14, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1, 0)
MIDDLE = 127.5

Normals = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]


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
        (H, W) which of them each pixel has.
    invalid
        (H, W) bool: pixels that are left as they are.
    """

    values: Normals
    counts: NDArray[np.int64]
    number: NDArray[np.intp]
    invalid: NDArray[np.bool_]

    @classmethod
    def of(cls, array: Normals, invalid: NDArray[np.bool_]) -> "Directions | None":
        """Find the directions of (H, W, 3); None when there are none, or more than `MOST`."""
        packed = array.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
        valid = packed[~invalid]
        changes = packed[:, 1:] != packed[:, :-1]
        if not valid.size or (changes.size and changes.mean() > NOISE):
            return None
        found, counts = np.unique(valid, return_counts=True)
        if len(found) > MOST:
            return None
        order = np.argsort(-counts, kind="stable")
        place = np.empty(len(found), np.intp)
        place[order] = np.arange(len(found))
        number = place[np.searchsorted(found, packed).clip(0, len(found) - 1)]
        found = found[order]
        values = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8)
        return cls(values, counts[order], number, invalid)

    @cached_property
    def _unit(self) -> Floats:
        return unit_vectors(self.values)

    def merged(self, tolerance_deg: float) -> NDArray[np.intp]:
        """Return the direction (n,) that stands for each one.

        The most frequent within tolerance.
        """
        unit = self._unit
        least = np.cos(np.radians(tolerance_deg))
        own = np.arange(len(unit))
        if tolerance_deg == 0:
            return own
        left = np.ones(len(unit), bool)
        for at in own:
            if left[at]:
                near = left & (unit @ unit[at] >= least)
                own[near] = at
                left[near] = False
        return own

    def errors_deg(self, own: NDArray[np.intp]) -> tuple[float, float]:
        """Return the mean and the root mean square of the angle that merging leaves, in degrees."""
        unit = self._unit
        angle = angles_deg(unit, unit[own])
        share = self.counts / self.counts.sum()
        return float(share @ angle), float(np.sqrt(share @ angle**2))

    def picture(self, own: NDArray[np.intp], array: Normals) -> Normals:
        """Return the map (H, W, 3) of the directions that stand for those of `array`."""
        made = self.values[own][self.number]
        made[self.invalid] = array[self.invalid]
        return made


def unit_vectors(values: Normals) -> Floats:
    """Turn (..., 3) uint8 into unit vectors; the one that is none stays short."""
    vectors = (values.astype(np.float64) - MIDDLE) / MIDDLE
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Floats = vectors / np.maximum(length, 1e-6)
    return unit


def angles_deg(first: Floats, second: Floats) -> Floats:
    """Return the angles between unit vectors (..., 3), in degrees."""
    cosine = np.clip((first * second).sum(axis=-1), -1.0, 1.0)
    angles: Floats = np.degrees(np.arccos(cosine))
    return angles
