"""Counts what reading costs and what went wrong on the way.

A `ReadCounts` belongs to one process: it is shared by threads, and a pickled or forked reader
begins a new one, so that the counts of several processes can be added without counting twice.
"""

import threading

FIELDS = (
    "requests",  # reads asked of the archive's filesystem, repeated ones included
    "bytes_read",  # bytes that those brought
    "retries",  # requests repeated after a network or server error
    "refetched_damaged",  # packs fetched again because a checksum was wrong
    "cache_hits",  # packs taken from the cache
    "cache_misses",  # packs that were not in it
    "cache_damaged",  # cache entries dropped because a checksum was wrong
    "cache_evicted",  # cache entries removed to stay below the limit
    "cache_errors",  # times that the cache could not be read or written
    "cache_timeouts",  # times that another process held a lock for too long
)


class ReadCounts:
    """Sums by name, see `FIELDS`; safe under threads; a pickled one arrives empty."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums = dict.fromkeys(FIELDS, 0)

    def __reduce__(self) -> tuple[type["ReadCounts"], tuple[()]]:
        return type(self), ()

    def add(self, name: str, amount: int = 1) -> None:
        """Add to one of `FIELDS`; KeyError for any other name."""
        with self._lock:
            self._sums[name] += amount

    def as_dict(self) -> dict[str, int]:
        """Return all sums, in the order of `FIELDS`."""
        with self._lock:
            return dict(self._sums)

    def take(self) -> dict[str, int]:
        """Return all sums and begin at zero again."""
        with self._lock:
            taken, self._sums = self._sums, dict.fromkeys(FIELDS, 0)
            return taken
