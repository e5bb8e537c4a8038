"""Keys of samples: read from a shard's file, and found again among millions.

The index holds 64-bit hashes, not keys: 12 bytes a sample. Hashes may collide, so what it finds are
candidates, and the caller compares the real keys. The hash has a random factor, so that no archive
can be made in which all keys collide.
"""

import json
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dsc.errors import CorruptArchiveError, UnsafeArchiveError

if TYPE_CHECKING:  # listing an archive needs no NumPy, and goes without the time to load it
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

MAX_KEY = 80
KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")
PLAIN = re.compile(rb'(?:\{"key":"[A-Za-z0-9_-]{1,80}"\}\n)*+')
RICH = re.compile(
    rb'(?:\{"key":"[A-Za-z0-9_-]{1,80}"(?:,"(?:seq|source|files|patterns|order|own_order)":[^\n]+)?\}\n)*+'
)
FIRST = re.compile(rb'^\{"key":"([A-Za-z0-9_-]{1,80})"', re.MULTILINE)


def parse_keys(data: bytes, where: str) -> tuple[str, ...]:
    """Read a keys file.

    Raises
    ------
    CorruptArchiveError
        When a line is not an object with a key.
    UnsafeArchiveError
        When a key is not one: an export makes file names of them.
    """
    if data and PLAIN.fullmatch(data):  # as dsc writes it: ten times faster
        return tuple(data.decode("ascii")[8:-3].split('"}\n{"key":"'))
    if data and RICH.fullmatch(data):
        return tuple(key.decode("ascii") for key in FIRST.findall(data))
    try:
        found = tuple(json.loads(line)["key"] for line in data.splitlines())
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorruptArchiveError(f"{where}: a line is not {{'key': ...}}") from None
    for key in found:
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise UnsafeArchiveError(
                f"{where}: {str(key)[:100]!r} is no sample key (A-Z a-z 0-9 _ - only)"
            )
    return found


def hash_keys(keys: Sequence[str], factor: int) -> "Hashes":
    """Return a 64-bit hash of each key, (n,).

    Parameters
    ----------
    factor
        An odd number below 2^64.
    """
    import numpy as np

    words = np.array(keys, f"S{MAX_KEY}").view("<u8").reshape(len(keys), MAX_KEY // 8)
    hashes = np.zeros(len(keys), np.uint64)
    for word in words.T:
        hashes ^= word
        hashes *= np.uint64(factor)
        hashes ^= hashes >> np.uint64(32)
    return hashes


class KeyIndex:
    """Finds the places of a key in a sequence of keys.

    Parameters
    ----------
    parts
        Hashes of the keys, by `hash_keys` with one factor, in pieces that follow each other.
    factor
        See `hash_keys`.
    """

    def __init__(self, parts: "Iterable[Hashes]", factor: int) -> None:
        import numpy as np

        hashes = np.concatenate([np.zeros(0, np.uint64), *parts])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._factor = hashes[order], factor
        self._order = order.astype(np.uint32 if len(order) < 1 << 32 else np.int64)

    def candidates(self, key: str) -> list[int]:
        """Return the places whose key has this key's hash, in order."""
        import numpy as np

        (wanted,) = hash_keys([key], self._factor)
        first = np.searchsorted(self._hashes, wanted, "left")
        last = np.searchsorted(self._hashes, wanted, "right")
        return [int(place) for place in self._order[first:last]]


def new_factor() -> int:
    """Return a factor for `hash_keys`, another one each time."""
    return secrets.randbits(64) | 1
