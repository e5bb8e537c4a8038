"""Samples that were decoded with those before them, and are kept until they are asked for.

Frames of a group need each other, so that who reads them in order would decode some again and
again. Decoded together, each is decoded once.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from dsc._pipeline.read.decoding import Decoded

AHEAD_BYTES = 256 << 20


class DecodedAhead:
    """Decoded samples by their index, each given once; shared by threads.

    Parameters
    ----------
    limit_bytes
        The most that they take; those that have waited longest leave first.
    """

    def __init__(self, limit_bytes: int = AHEAD_BYTES) -> None:
        self._limit, self._bytes = limit_bytes, 0
        self._samples: OrderedDict[int, tuple[Decoded, int]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, indices: Sequence[int]) -> list[Decoded | None]:
        """Give samples away; None in the place of those that are not here."""
        if not self._samples:
            return [None] * len(indices)
        with self._lock:
            return [self._pop(index) for index in indices]

    def keep(self, samples: Sequence[Decoded]) -> None:
        """Keep samples, as many as fit."""
        with self._lock:
            for sample in samples:
                self._pop(sample.index)
                size = sum(map(_bytes_of, sample.arrays.values()))
                self._samples[sample.index] = sample, size
                self._bytes += size
            while self._bytes > self._limit:
                self._pop(next(iter(self._samples)))

    def _pop(self, index: int) -> Decoded | None:
        sample, size = self._samples.pop(index, (None, 0))
        self._bytes -= size
        return sample


def _bytes_of(value: Any) -> int:
    """Return about what a value takes: maps and vectors, and texts and the like beside them."""
    return value.nbytes if isinstance(value, np.ndarray) else sys.getsizeof(value)
