"""Keys of samples for batches, in any order, from few bytes a key."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dsc._storage.cache.lru import LruCache
from dsc._storage.read.archive import Archive
from dsc._stream.order import Ints

KEPT_BYTES = 64 << 20


class _Keys(NamedTuple):
    """The keys of a shard, back to back, and where each ends."""

    letters: bytes
    ends: Ints


class SampleKeys:
    """The keys of the samples of some archives; shards that were used last stay in memory."""

    def __init__(self, archives: Sequence[Archive]) -> None:
        self._archives = archives
        self._kept: LruCache[tuple[int, int], _Keys] = LruCache(KEPT_BYTES)

    def key(self, archive: int, index: int) -> str:
        """Return the key of a sample of an archive."""
        shard, _, _ = self._archives[archive].locate(index)
        keys = self._kept.get((archive, shard))
        if keys is None:
            keys = self._read(archive, shard)
        k = index - self._archives[archive].start(shard)
        start = int(keys.ends[k - 1]) if k else 0
        return keys.letters[start : int(keys.ends[k])].decode("ascii")

    def _read(self, archive: int, shard: int) -> _Keys:
        found = self._archives[archive].keys(shard)
        keys = _Keys("".join(found).encode("ascii"), np.cumsum([len(key) for key in found]))
        self._kept.put((archive, shard), keys, len(keys.letters) + keys.ends.nbytes)
        return keys
