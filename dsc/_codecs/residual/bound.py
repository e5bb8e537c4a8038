"""Quantises what a decoded map lacks, so that no valid pixel is further off than a bound allows.

A pixel whose decoded count d covers the original (the original is within the bound of d) has
residual 0 and stays. Else it moves in steps: up from d, the next count is the largest one that is
within the bound of the smallest original that d does not cover; down likewise. The residual is how
many steps it takes until the original is covered. For a bound in counts, steps are all alike; for a
relative one they grow with the count, which is a uniform quantiser of the logarithm. Everything is
a table of integers, the same on every machine. The loops are in `dsc/_kernels/bound.c`; those here
are their twins.

A `margin` of counts makes the steps that much shorter: the bound then holds as well when the
decoded map is off by so much on another machine.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._schemas import Bound, BoundKind, Task

Array = NDArray[Any]
Int = NDArray[np.int32]
UNIT = 1_000_000  # a relative bound is a whole number of millionths


@dataclass(frozen=True)
class Steps:
    """The steps of one bound.

    Attributes
    ----------
    dtype
        Of the map, uint8 or uint16.
    invalid
        Counts that no valid pixel may come out as.
    relative
        Whether `size` is in millionths of the pixel's own count, or in counts.
    margin
        See the module, in counts.
    """

    dtype: str
    invalid: tuple[int, ...]
    relative: bool
    size: int
    margin: int = 0

    @property
    def top(self) -> int:
        """The largest count."""
        return int(np.iinfo(self.dtype).max)

    @cached_property
    def allowed(self) -> Int:
        """The largest error, in counts, of each original count."""
        counts = np.arange(self.top + 1, dtype=np.int64)
        found = counts * self.size // UNIT if self.relative else np.full_like(counts, self.size)
        return np.minimum(found, self.top).astype(np.int32)

    @cached_property
    def _tables(self) -> tuple[Int, Int, tuple[Int, ...], tuple[Int, ...]]:
        """Return the least and largest original that a count covers, and 2^k steps up and down."""
        counts = np.arange(self.top + 1, dtype=np.int32)
        reach = np.maximum(self.allowed - self.margin, 0)
        low = np.searchsorted(counts + reach, counts, side="left").astype(np.int32)
        high = (np.searchsorted(counts - reach, counts, side="right") - 1).astype(np.int32)
        above, below = np.minimum(high + 1, self.top), np.maximum(low - 1, 0)
        up = np.minimum(above + reach[above], self.top)
        down = np.maximum(below - reach[below], 0)
        for _ in self.invalid:  # as often as invalid counts may lie side by side
            for value in self.invalid:
                up[up == value] = max(value - 1, 0)
                down[down == value] = min(value + 1, self.top)
        return low, high, _powers(up, self.top), _powers(down, self.top)

    @cached_property
    def _compiled(self) -> tuple[Int, Int, Array, Array]:
        """Return `_tables` as the kernels take them, the steps in the map's dtype."""
        low, high, ups, downs = self._tables
        return low, high, np.stack(ups).astype(self.dtype), np.stack(downs).astype(self.dtype)

    def quantise(self, original: Array, decoded: Array) -> Int:
        """Return the residual of each pixel, int32; both maps are of the dtype."""
        if not _kernels.in_use():
            return self._quantise(original, decoded)
        residual = np.empty(original.shape, np.int32)
        maps = (_flat(original), _flat(decoded), residual.reshape(-1))
        _kernels.compiled.bound_quantise(*self._compiled, *maps)
        return residual

    def _quantise(self, original: Array, decoded: Array) -> Int:
        low, high, ups, downs = self._tables
        start, wanted = decoded.ravel().astype(np.int32), original.ravel().astype(np.int32)
        residual = np.zeros(wanted.shape, np.int32)
        for sign, beyond, powers in (
            (1, wanted > high[start], ups),
            (-1, wanted < low[start], downs),
        ):
            at = np.flatnonzero(beyond)
            here, goal, steps = start[at], wanted[at], np.ones(at.shape, np.int32)
            for k in range(len(powers) - 1, -1, -1):
                there = powers[k][here]
                short = goal > high[there] if sign > 0 else goal < low[there]
                here = np.where(short, there, here)
                steps += short.astype(np.int32) << k
            residual[at] = sign * steps
        return residual.reshape(original.shape)

    def apply(self, decoded: Array, residual: Int) -> Array:
        """Return the map that is within the bound; damaged residuals give some map as well."""
        if not _kernels.in_use():
            return self._apply(decoded, residual)
        found = np.empty(decoded.shape, self.dtype)
        maps = (_flat(decoded), _flat(residual), found.reshape(-1))
        _kernels.compiled.bound_apply(*self._compiled, *maps)
        return found

    def _apply(self, decoded: Array, residual: Int) -> Array:
        _, _, ups, downs = self._tables
        counts = decoded.ravel().astype(np.int32)
        flat = residual.ravel()
        for powers, at in ((ups, np.flatnonzero(flat > 0)), (downs, np.flatnonzero(flat < 0))):
            here, steps = counts[at], np.abs(flat[at])
            for k, power in enumerate(powers):
                here = np.where((steps >> k) & 1, power[here], here)
            counts[at] = here
        return counts.reshape(decoded.shape).astype(self.dtype)

    def holds(self, original: Array, decoded: Array) -> NDArray[np.bool_]:
        """Tell of each pixel whether it is within the bound; shape of `original`."""
        if _kernels.in_use():
            found = np.empty(original.shape, bool)
            maps = (_flat(original), _flat(decoded), found.reshape(-1))
            _kernels.compiled.bound_holds(self.allowed, *maps)
            return found
        error = np.abs(original.astype(np.int32) - decoded.astype(np.int32))
        within: NDArray[np.bool_] = error <= self.allowed[original]
        return within


def size_of(task: Task, bound: Bound) -> int:
    """Return a bound in millionths (relative) or counts, rounded down to a whole number."""
    unit = {BoundKind.METRES: task.unit_m or 1.0, BoundKind.RELATIVE: 1 / UNIT}
    return int(bound.value / unit.get(bound.kind, 1.0) + 1e-6)


def worst_error(bound: Bound, task: Task, original: Array, decoded: Array) -> float:
    """Return the largest error of a valid pixel in the bound's own unit; 0 where none is valid.

    A valid pixel that was decoded as invalid counts as infinitely wrong, as does the opposite.
    """
    if bound.kind is BoundKind.UNITS:
        return _worst_number(original.astype(np.float64), decoded.astype(np.float64))
    invalid = task.invalid_mask(original)
    if not np.array_equal(invalid, task.invalid_mask(decoded)):
        return float("inf")
    truth = original[~invalid].astype(np.float64)
    error = np.abs(truth - decoded[~invalid].astype(np.float64))
    if not error.size:
        return 0.0
    if bound.kind is BoundKind.RELATIVE:
        error = np.divide(error, truth, out=np.where(error > 0, np.inf, 0.0), where=truth > 0)
    return float(error.max()) * ((task.unit_m or 1.0) if bound.kind is BoundKind.METRES else 1.0)


def _worst_number(truth: Array, decoded: Array) -> float:
    with np.errstate(invalid="ignore"):
        error = np.abs(truth - decoded)
    same = (truth == decoded) | (np.isnan(truth) & np.isnan(decoded))
    return float(np.where(same, 0.0, error).max(initial=0.0))


def _flat(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1)


def _powers(once: Int, top: int) -> tuple[Int, ...]:
    """Return the tables of 1, 2, 4, ... steps, enough to reach any count from any other."""
    found = [once]
    while 1 << len(found) <= top:
        found.append(found[-1][found[-1]])
    return tuple(found)
