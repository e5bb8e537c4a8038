"""Keeps what was used last, up to a limit; safe under threads."""

import math
import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Values by key, the least recently used leaving first.

    cachetools keeps order and sum; the lock is ours, and so is that the last values stay whatever
    they cost, where cachetools refuses one above its limit.

    Parameters
    ----------
    limit
        What the costs of all values may sum to.
    at_least
        How many of the last values stay whatever they cost.
    """

    def __init__(self, limit: int, at_least: int = 1) -> None:
        self._limit, self._at_least = limit, at_least
        self._lock = threading.Lock()
        self._values: LRUCache[K, tuple[V, int]] = LRUCache(math.inf, lambda kept: kept[1])

    def __contains__(self, key: K) -> bool:
        return key in self._values

    @property
    def cost(self) -> int:
        """What the costs of all values sum to."""
        return int(self._values.currsize)

    def keys(self) -> list[K]:
        """Return the keys of all values."""
        with self._lock:
            return list(self._values)

    def get(self, key: K) -> V | None:
        """Return a value, now the most recently used; None when it is not there."""
        with self._lock:
            found = self._values.get(key)
            return None if found is None else found[0]

    def put(self, key: K, value: V, cost: int) -> None:
        """Keep a value; others leave where the limit asks for it."""
        with self._lock:
            self._values[key] = (value, cost)
            while self._values.currsize > self._limit and len(self._values) > self._at_least:
                self._values.popitem()
