"""Keeps what was used last, up to a limit; safe under threads."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Values by key, the least recently used leaving first.

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
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._cost = 0

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def get(self, key: K) -> V | None:
        """Return a value, now the most recently used; None when it is not there."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: K, value: V, cost: int) -> None:
        """Keep a value; others leave where the limit asks for it."""
        with self._lock:
            _, old = self._values.pop(key, (None, 0))
            self._values[key] = (value, cost)
            self._cost += cost - old
            while self._cost > self._limit and len(self._values) > self._at_least:
                _, (_, left) = self._values.popitem(last=False)
                self._cost -= left
