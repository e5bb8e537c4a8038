"""Decoded exemplars in memory, up to a number of bytes.

What is read first stays; when the cache is full, nothing more goes in. For uniform draws
that hits as often as keeping what was used last, and for walks over everything it hits more often.
"""

from collections.abc import Mapping

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
        self.limit, self.nbytes = limit, 0
        self._kept: dict[int, Decoded] = {}

    def get(self, address: int) -> Decoded | None:
        """Return a copy of what is kept, so that a caller may change it in place."""
        found = self._kept.get(address)
        return None if found is None else {name: array.copy() for name, array in found.items()}

    def put(self, address: int, decoded: Decoded) -> None:
        """Keep a copy, where there is room."""
        size = sum(array.nbytes for array in decoded.values())
        if address not in self._kept and self.nbytes + size <= self.limit:
            self._kept[address] = {name: array.copy() for name, array in decoded.items()}
            self.nbytes += size

    def moved(self, new: Mapping[int, int]) -> None:
        """Follow payloads to new addresses; forget those that are gone."""
        self._kept = {new[old]: kept for old, kept in self._kept.items() if old in new}
        self.nbytes = sum(a.nbytes for kept in self._kept.values() for a in kept.values())
