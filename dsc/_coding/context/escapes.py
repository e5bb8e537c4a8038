"""Labels that no candidate near a pixel has: labels met elsewhere, and labels met first.

Labels are numbered in the order in which they are first met, so a new one needs no name here: the
palette, coded last, gives all names. Symbols: 0, a label that was not met before; 1 to m, one of
the m labels that were new in this phase, the latest first; from m + 1, a label met before this
phase, by how often it occurs in the grid, the pixel's candidates left out.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._coding.context.lattice import LEVELS, Ids
from dsc.errors import BitstreamError

MAX_LABELS = 0xFFFE  # ids are 16 bits, and one of them stands for "no label"
BUCKETS = 32
LEVEL_CLASSES = 3
TABLES = BUCKETS * LEVEL_CLASSES
Int = NDArray[np.int32]


def table_index(level: int, n_known: int) -> int:
    """Return the table for a level of the lattice and a number of labels met before the phase."""
    coarse = min(LEVEL_CLASSES - 1, level // 2 if level < LEVELS - 2 else LEVEL_CLASSES - 1)
    return coarse * BUCKETS + min(n_known, BUCKETS) - 1


class Ranking:
    """The labels known before a phase, by how often they occur in the grid.

    Parameters
    ----------
    inner
        The grid's labels.
    n_known
        How many labels were met before.
    candidates
        (3, n) those of the pixels to code; they are none of these.
    """

    def __init__(self, inner: Ids, n_known: int, candidates: Ids) -> None:
        counts = np.bincount(inner.ravel(), minlength=n_known)
        self._order = np.argsort(-counts, kind="stable")
        self._rank = np.empty(n_known + 1, np.int64)
        self._rank[self._order] = np.arange(n_known)
        self._rank[n_known] = n_known + 3  # of a candidate that is not there: beyond all
        numbers = np.minimum(candidates, n_known)
        self._passed = np.sort(self._rank[numbers], axis=0)
        self._n_known = n_known

    def symbols(self, numbers: NDArray[Any]) -> Int:
        """Return the symbols of (n,) labels.

        Those from `n_known` on are new, in order of meeting.
        """
        labels = numbers.astype(np.int64)
        fresh = labels >= self._n_known
        first = np.zeros(len(labels), bool)
        first[np.unique(labels, return_index=True)[1]] = True
        first &= fresh
        met = np.cumsum(first) - first
        rank = self._rank[np.minimum(labels, self._n_known)]
        old = 1 + met + rank - (self._passed < rank).sum(axis=0)
        again = met - (labels - self._n_known)
        return np.where(first, 0, np.where(fresh, again, old)).astype(np.int32)

    def labels(self, symbols: Int) -> NDArray[np.int64]:
        """Return the labels of (n,) symbols.

        Raises
        ------
        BitstreamError
            When a symbol names no label.
        """
        first = symbols == 0
        met = np.cumsum(first) - first
        rank = symbols.astype(np.int64) - met - 1
        old = rank >= 0
        for passed in self._passed:  # in ascending order
            rank += old & (rank >= passed)
        if (symbols < 0).any() or (rank[old] >= self._n_known).any():
            raise BitstreamError("an escape names no label; the bitstream is damaged")
        again = self._n_known + met - symbols
        return np.where(
            first, self._n_known + met, np.where(old, self._order[np.where(old, rank, 0)], again)
        )
