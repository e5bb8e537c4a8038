"""The index of a replay buffer: one row an exemplar, and what a row costs in the file.

Costs add up: what an exemplar costs depends on nothing but itself, so a policy can compare, sort
and sum them. They are the bytes that the file holds for it: its payload, and 9 bytes or more of
index (see `row_costs`). `dsc._replay.buffer.packing` packs exactly these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

ABSENT = -1
"""Length of a stream that an exemplar lacks, since it lacks the task."""

ABSENT_CODE, LONG_CODE = 0xFFFE, 0xFFFF  # in the file, lengths from 65,534 on stand in a list
WIDE_CODE = 0xFFFF  # in the file, labels outside 0 to 65,534 stand in a list
LABEL_BYTES, SLOT_BYTES, RANDOM_BYTES, LENGTH_BYTES = 2, 1, 4, 2
LONG_BYTES, WIDE_BYTES, KEY_BYTES = 4, 8, 2
MAX_KEY_BYTES = 0xFFFF


@dataclass(frozen=True)
class Rows:
    """Exemplars, without their payloads.

    Attributes
    ----------
    labels
        (N,) int64.
    random
        (N,) uint32, each exemplar's random key; see `random_keys`.
    slots
        (N,) uint8, with what codec and quality it was encoded.
    lengths
        (N, S) int64, bytes of each of its streams; `ABSENT` where it has none.
    addresses
        (N,) int64, where its payload begins: the streams one after another.
    keys
        (N,) object, UTF-8 bytes; all empty in a buffer without keys.
    """

    labels: Ints
    random: NDArray[np.uint32]
    slots: NDArray[np.uint8]
    lengths: Ints
    addresses: Ints
    keys: NDArray[np.object_]

    @classmethod
    def empty(cls) -> Self:
        """Return no rows."""
        return cls(
            np.zeros(0, np.int64),
            np.zeros(0, np.uint32),
            np.zeros(0, np.uint8),
            np.zeros((0, 1), np.int64),
            np.zeros(0, np.int64),
            np.zeros(0, object),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sizes(self) -> Ints:
        """Bytes of each payload, (N,)."""
        sizes: Ints = np.maximum(self.lengths, 0).sum(axis=1)
        return sizes

    def take(self, order: Ints) -> "Rows":
        """Return these rows, in this order."""
        return Rows(
            self.labels[order],
            self.random[order],
            self.slots[order],
            self.lengths[order],
            self.addresses[order],
            self.keys[order],
        )

    def followed_by(self, other: "Rows") -> "Rows":
        """Return these rows and then the others."""
        wide = max(self.lengths.shape[1], other.lengths.shape[1])
        return Rows(
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.random, other.random]),
            np.concatenate([self.slots, other.slots]),
            np.concatenate([_widened(self.lengths, wide), _widened(other.lengths, wide)]),
            np.concatenate([self.addresses, other.addresses]),
            np.concatenate([self.keys, other.keys]),
        )

    def at(self, addresses: Ints) -> "Rows":
        """Return the same rows with their payloads elsewhere."""
        return Rows(self.labels, self.random, self.slots, self.lengths, addresses, self.keys)


def row_costs(rows: Rows, stream_counts: Sequence[int], keyed: bool) -> Ints:
    """Count the bytes that the file holds for each exemplar, its share of checksums left out.

    Parameters
    ----------
    stream_counts
        Streams of an exemplar, by slot.
    keyed
        Whether the buffer keeps keys.
    """
    counts = np.asarray(stream_counts, np.int64)[rows.slots]
    costs = rows.sizes + LABEL_BYTES + SLOT_BYTES + RANDOM_BYTES + LENGTH_BYTES * counts
    costs += LONG_BYTES * (rows.lengths >= ABSENT_CODE).sum(axis=1)
    costs += WIDE_BYTES * ((rows.labels < 0) | (rows.labels >= WIDE_CODE))
    if keyed:
        costs += KEY_BYTES + np.array([len(key) for key in rows.keys], np.int64)
    return costs


def random_keys(seed: int, first: int, count: int) -> NDArray[np.uint32]:
    """Draw the random keys of the samples `first` to `first + count - 1` that a buffer is offered.

    A hash of the seed and the running number: any part of the sequence can be drawn alone, and
    two seeds give sequences that know nothing of each other.
    """
    start = _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64))
    return (
        _mix(start ^ _mix(np.arange(first, first + count, dtype=np.uint64))) >> np.uint64(32)
    ).astype(np.uint32)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash 64-bit integers one to one (splitmix64: Steele, Lea and Flood, OOPSLA 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _widened(lengths: Ints, wide: int) -> Ints:
    missing = wide - lengths.shape[1]
    return np.pad(lengths, ((0, 0), (0, missing)), constant_values=ABSENT) if missing else lengths
