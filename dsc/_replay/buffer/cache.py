"""Decoded exemplars in memory, up to a number of bytes.

What is read first stays; when the cache is full, nothing more goes in. For uniform draws
that hits as often as keeping what was used last, and for walks over everything it hits more often:
so cachetools counts the bytes here, and none of its rules throws anything out.
"""

from collections.abc import Mapping

from cachetools import Cache

from dsc._codecs.base import Array

Decoded = dict[str, Array]


class DecodedCache:
    """Decoded exemplars by the address of their payload.

    Parameters
    ----------
    limit
        Bytes of pixels; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self._kept: Cache[int, Decoded] = Cache(limit, _nbytes)

    @property
    def limit(self) -> int:
        """The most that it holds, in bytes of pixels."""
        return int(self._kept.maxsize)

    @property
    def nbytes(self) -> int:
        """What it holds, in bytes of pixels."""
        return int(self._kept.currsize)

    def get(self, address: int) -> Decoded | None:
        """Return a copy of what is kept, so that a caller may change it in place."""
        found = self._kept.get(address)
        return None if found is None else {name: array.copy() for name, array in found.items()}

    def put(self, address: int, decoded: Decoded) -> None:
        """Keep a copy, where there is room."""
        if address not in self._kept and self.nbytes + _nbytes(decoded) <= self.limit:
            self._kept[address] = {name: array.copy() for name, array in decoded.items()}

    def moved(self, new: Mapping[int, int]) -> None:
        """Follow payloads to new addresses; forget those that are gone."""
        before, self._kept = self._kept, Cache(self.limit, _nbytes)
        for old, decoded in before.items():
            if old in new:
                self._kept[new[old]] = decoded


def _nbytes(decoded: Decoded) -> int:
    return sum(array.nbytes for array in decoded.values())
