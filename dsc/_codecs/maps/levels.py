"""Depth as levels: a relative error that holds for every valid pixel, without exception.

The native counts are cut into intervals, each with one representative. From the smallest count not
yet covered, v, the representative is the largest r with r - v ≤ ε v, and the interval goes on to
the largest w with w - r ≤ ε w; no other cut has fewer intervals. Counts smaller than 1/ε stay as
they are. Everything is integer arithmetic, ε being a whole number of 1/100,000, so that every
machine cuts alike. Invalid pixels are level 0, which costs no more than a mask beside the image
(0 to 2 % of the bytes either way on Kinect and rendered depth). The header is ``u16 ε``.
"""

import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.maps.look_up import look_up
from dsc._schemas import Task

UNIT = 100_000  # ε is stored in this fraction
WORST, BEST = 0.05, 0.0002
HEADER = struct.Struct("<H")
# Fewer levels than this share of the counts in use are smaller than the counts themselves; above
# it, on depth that the sensor has already quantised, the levels were larger by up to 2 %.
WORTHWHILE_SHARE = 0.9


def relative_error(quality: int) -> float:
    """Return the largest relative error of a depth at a quality: 5 % at 1, 0.02 % at 100.

    The steps between are equal in logarithm: 1.6 % at 20, 0.53 % at 40, 0.18 % at 60, 0.06 % at 80.
    """
    exact: float = WORST * (BEST / WORST) ** ((quality - 1) / 99)
    return round(exact * UNIT) / UNIT


@dataclass(frozen=True)
class Levels:
    """The levels of one task at one relative error.

    Attributes
    ----------
    task
        A depth task, uint8 or uint16.
    error
        Largest relative error, in 1/100,000.
    """

    task: Task
    error: int

    @classmethod
    def at_quality(cls, task: Task, quality: int) -> Self:
        """Return the levels for a quality from 1 to 100."""
        return cls(task, round(relative_error(quality) * UNIT))

    def pack(self) -> bytes:
        """Return the header."""
        return HEADER.pack(self.error)

    @classmethod
    def unpack(cls, task: Task, data: bytes) -> tuple[Self, int]:
        """Read the header; give the levels and where the image starts."""
        (error,) = HEADER.unpack_from(data)
        if not 0 < error < UNIT:
            raise ValueError(f"relative error of {error}/{UNIT}")
        return cls(task, error), HEADER.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the level image: uint8 where all levels fit."""
        return np.dtype(np.uint8 if len(self._counts) <= 256 else np.uint16)

    @cached_property
    def _counts(self) -> NDArray[np.uint16]:
        return _cut(self.error, self.task.dtype, self.task.invalid)[0]

    @cached_property
    def _level_of(self) -> NDArray[np.uint16]:
        return _cut(self.error, self.task.dtype, self.task.invalid)[1]

    def worthwhile(self, array: NDArray[Any]) -> bool:
        """Tell whether the levels in use are clearly fewer than the counts in use."""
        used = np.flatnonzero(np.bincount(array.ravel(), minlength=len(self._level_of)))
        return len(np.unique(self._level_of[used])) <= WORTHWHILE_SHARE * len(used)

    def encode(self, array: NDArray[Any]) -> NDArray[Any]:
        """Turn native counts (H, W) into levels (H, W) of `dtype`, 0 where invalid."""
        return look_up(array, self._level_of.astype(self.dtype))

    def decode(self, levels: NDArray[Any]) -> NDArray[Any]:
        """Turn levels back into native counts; every invalid pixel is the first invalid value."""
        lowest = 0 if self.task.invalid else 1
        if levels.min() < lowest or levels.max() >= len(self._counts):
            raise ValueError(f"a level is outside {lowest} to {len(self._counts) - 1}")
        return look_up(levels, self._counts.astype(self.task.dtype))


@lru_cache(maxsize=64)
def _cut(
    error: int, dtype: str, invalid: tuple[int, ...]
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Cut the counts of a dtype into intervals.

    Returns
    -------
    counts
        The native count of each level; of level 0, the first invalid value.
    level_of
        The level of each native count.
    """
    top = int(np.iinfo(dtype).max)
    counts, starts = [invalid[0] if invalid else 0], []
    v = 0
    while v <= top:
        if v not in invalid:
            r = min(v + v * error // UNIT, top)
            while r in invalid:
                r -= 1  # ends at v at the latest
            counts.append(r)
            starts.append(v)
            v = r * UNIT // (UNIT - error)
        v += 1
    level_of = np.searchsorted(starts, np.arange(top + 1), side="right")
    level_of[[value for value in invalid if value <= top]] = 0
    return np.array(counts, np.uint16), level_of.astype(np.uint16)
