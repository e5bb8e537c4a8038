"""Where the samples of an archive stand in recordings, and which sample is a given frame.

What the keys files say of sequences is read once, for all samples, into arrays of numbers: 20 bytes
a sample. A sequence of one split knows nothing of another split's, also where it was cut in two.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dsc._columns.column import Ints
from dsc._schemas import SequencePlace
from dsc._storage.files.root import CONNECTIONS
from dsc._storage.read.archive import Archive

NO_TIME = np.iinfo(np.int64).min
NONE = -1  # no sequence, no frame, no sample


class _Times(NamedTuple):
    """The frames of a sequence whose time is known, by time.

    Attributes
    ----------
    time
        Nanoseconds, rising.
    samples
        Which they are.
    step
        The median of what lies between two of them; 0 of one alone.
    """

    time: Ints
    samples: Ints
    step: int


@dataclass(frozen=True)
class FrameIndex:
    """The sequences of an archive, and the place of each sample in them.

    Attributes
    ----------
    names
        Of the sequences, in the order in which they come; one that two splits share comes twice.
    sequence
        Number of each sample's sequence, int32 (samples,); -1 of those of none.
    frame
        Number of its frame, int64 (samples,).
    time
        Its time in nanoseconds, int64 (samples,); `NO_TIME` where it is not known.
    """

    names: tuple[str, ...]
    sequence: NDArray[np.int32]
    frame: Ints
    time: Ints

    @classmethod
    def read(cls, archive: Archive) -> Self:
        """Read the places of all samples; over a network, shards side by side.

        Raises
        ------
        CorruptArchiveError
            When a keys file is damaged.
        """
        numbers: dict[tuple[str, str], int] = {}
        sequence = np.full(len(archive), NONE, np.int32)
        frame, time = np.full(len(archive), NONE, np.int64), np.full(len(archive), NO_TIME)
        for shard, places in enumerate(_places(archive)):
            split, first = archive.shards[shard].split, archive.start(shard)
            for index, place in enumerate(places, first):
                if place is not None:
                    key = split, place.sequence
                    sequence[index] = numbers.setdefault(key, len(numbers))
                    frame[index] = place.frame
                    time[index] = NO_TIME if place.time_ns is None else place.time_ns
        return cls(tuple(name for _, name in numbers), sequence, frame, time)

    def name(self, index: int) -> str | None:
        """Return the name of a sample's sequence; None where it is of none."""
        number = int(self.sequence[index])
        return None if number == NONE else self.names[number]

    @property
    def has_times(self) -> bool:
        """Whether the time of any frame is known."""
        return bool((self.time != NO_TIME).any())

    @cached_property
    def _order(self) -> Ints:
        """Samples of all sequences, by sequence and frame."""
        found = np.lexsort((self.frame, self.sequence))
        return found[np.count_nonzero(self.sequence == NONE) :]

    @cached_property
    def _starts(self) -> Ints:
        """Where each sequence begins in `_order`, and where the last one ends."""
        return np.searchsorted(self.sequence[self._order], np.arange(len(self.names) + 1))

    @cached_property
    def _frames(self) -> Ints:
        """The numbers of the frames of `_order`."""
        return self.frame[self._order]

    @cached_property
    def _times(self) -> dict[int, _Times]:
        return {}

    def frames(self, number: int) -> tuple[Ints, Ints]:
        """Return the numbers of a sequence's frames, rising, and the samples that they are."""
        span = slice(*self._starts[number : number + 2])
        return self._frames[span], self._order[span]

    def by_frame(self, number: int, wanted: Ints) -> tuple[Ints, Ints]:
        """Find frames of a sequence by their numbers.

        Returns
        -------
        tuple of array
            The sample that each is, -1 where there is none; and the one at the end of the sequence
            beyond which it lies, -1 where it lies beyond none.
        """
        frames, samples = self.frames(number)
        at = np.minimum(np.searchsorted(frames, wanted), len(frames) - 1)
        found = np.where(frames[at] == wanted, samples[at], NONE)
        return found, _beyond(wanted, frames, samples)

    def by_time(self, number: int, wanted: Ints) -> tuple[Ints, Ints]:
        """Find frames of a sequence by time: the nearest, within half the sequence's median step.

        Of two that are equally near it is the earlier one.

        Returns
        -------
        tuple of array
            As of `by_frame`.
        """
        times = self._times.get(number)
        if times is None:
            times = self._times[number] = self._by_time(number)
        if not len(times.time):
            return np.full(len(wanted), NONE), np.full(len(wanted), NONE)
        after = np.minimum(np.searchsorted(times.time, wanted), len(times.time) - 1)
        before = np.maximum(after - 1, 0)
        is_earlier = np.abs(wanted - times.time[before]) <= np.abs(times.time[after] - wanted)
        at = np.where(is_earlier, before, after)
        is_near = 2 * np.abs(times.time[at] - wanted) <= times.step
        found = np.where(is_near, times.samples[at], NONE)
        return found, np.where(is_near, NONE, _beyond(wanted, times.time, times.samples))

    def _by_time(self, number: int) -> _Times:
        _, samples = self.frames(number)
        known = samples[self.time[samples] != NO_TIME]
        known = known[np.argsort(self.time[known], kind="stable")]
        steps = np.sort(np.diff(self.time[known]))
        return _Times(self.time[known], known, int(steps[len(steps) // 2]) if len(steps) else 0)


def _beyond(wanted: Ints, line: Ints, samples: Ints) -> Ints:
    """Return the sample at the end of a line beyond which something lies; -1 where it does not."""
    last = np.where(wanted > line[-1], samples[-1], NONE)
    return np.where(wanted < line[0], samples[0], last)


def _places(archive: Archive) -> Iterator[Sequence[SequencePlace | None]]:
    """Yield the places of the samples of each shard."""
    shards = range(len(archive.shards))
    if archive.root.local is not None:
        yield from map(archive.places, shards)
        return
    archive.root.connect()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        yield from pool.map(archive.places, shards)
