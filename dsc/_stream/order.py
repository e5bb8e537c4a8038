"""The canonical order of an epoch: which sample stands at which position. Pure arithmetic.

The order depends on the archive, the seed and the epoch, never on who reads it: ranks and workers
only choose which positions they take. So what has been seen is a prefix of the order, the state of
a stream is one position, and any number of readers can go on from it.

A shuffled epoch permutes the packs and lays their samples end to end. That line is cut into
*lanes*; within a lane, samples are permuted inside windows of a few packs. Positions take turns
through the lanes, `chunk` at a time: chunk c comes from lane ``c % lanes``. Readers that step
through the chunks with a stride that divides the lanes have lanes, and so packs, of their own.

Shuffled by groups, what is permuted in a window are the groups of a recording, whose samples are
decoded together; each sample then moves back by a hash, over at most `OrderSpec.groups` groups. So
no more groups than that are begun at any position, and each comes as a whole within as many.

Permutations come from sorting hashes of integers, so that they are the same in every version of
every library: a state stays good.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dsc._hashing import splitmix64
from dsc._schemas.base import Schema

Ints = NDArray[np.int64]
GroupOf = Callable[[Ints, Ints], Ints]
"""Gives a number of the group of samples, by the numbers of their packs and their ordinals."""

GROUPED = 2  # `OrderSpec.shuffle`
PERIOD = 1024  # draws after which a mixture's schedule repeats


class OrderSpec(Schema):
    """What determines the order of every epoch, beside the data.

    Attributes
    ----------
    seed
        Any integer.
    shuffle
        0: the archive's own order; 1: shuffled; 2: shuffled by groups.
    lanes
        Parts of the epoch that are read side by side.
    window
        Samples that are mixed with each other at a time, in each lane.
    chunk
        Consecutive positions that come from one lane; the batch size of the stream that began.
    groups
        Shuffled by groups: how many are mixed with each other at a time, in each lane; else 0.
    """

    seed: int
    shuffle: int = Field(ge=0, le=GROUPED)
    lanes: int = Field(ge=1)
    window: int = Field(ge=1)
    chunk: int = Field(ge=1)
    groups: int = Field(default=0, ge=0, le=1 << 16)


class SamplePlaces(NamedTuple):
    """Where samples lie: archive of the mixture, pack of that archive, ordinal in the pack.

    The ordinal counts the pack's samples that take part, see `PackIndex`. All int64, equal length.

    Attributes
    ----------
    turn
        Which pass over its archive a sample is part of: the epoch, but in a mixture, whose archives
        begin anew when they are used up. No sample comes twice in one turn.
    """

    archive: Ints
    pack: Ints
    ordinal: Ints
    turn: Ints


class Lanes(Protocol):
    """The lanes of an epoch."""

    sizes: Ints

    def take(self, lane: int, start: int, stop: int) -> SamplePlaces:
        """Return the samples [start, stop) of a lane."""
        ...

    def mates(self, lane: int, start: int, stop: int) -> SamplePlaces:
        """Return the samples of their groups that come later in the lane."""
        ...


class EpochOrder:
    """Positions 0 to N - 1 of an epoch, mapped to samples.

    Parameters
    ----------
    lanes
        Their sizes must be `lane_sizes(N, spec.lanes, spec.chunk)`.
    """

    def __init__(self, lanes: Lanes, spec: OrderSpec) -> None:
        self._lanes, self._spec = lanes, spec
        self.seed = spec.seed
        self.samples = int(lanes.sizes.sum())
        self.is_grouped = spec.shuffle == GROUPED

    def locate(self, start: int, stop: int) -> SamplePlaces:
        """Return the samples at positions [start, stop)."""
        return join([self._lanes.take(*span) for span in self._spans(start, stop)])

    def mates(self, start: int, stop: int) -> SamplePlaces:
        """Return the samples that are of the same groups and come later, each in its lane.

        Some may be among those at the positions, or come twice. None where the order is not one of
        groups.
        """
        spans = self._spans(start, stop) if self.is_grouped else ()
        return join([self._lanes.mates(*span) for span in spans])

    def _spans(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Cut positions into lanes, and what of each."""
        if not 0 <= start <= stop <= self.samples:
            raise IndexError(f"positions {start} to {stop} of {self.samples}")
        chunk, lanes = self._spec.chunk, self._spec.lanes
        while start < stop:
            number, offset = divmod(start, chunk)
            count = min(chunk - offset, stop - start)
            first = number // lanes * chunk + offset
            yield number % lanes, first, first + count
            start += count


class ArchiveLanes:
    """The lanes of one archive in one epoch.

    Parameters
    ----------
    counts
        Samples of each pack that take part, in the archive's order.
    sizes
        Samples of each lane; they add up to all samples.
    archive
        Number to put into `SamplePlaces.archive`.
    group_of
        Says which samples are of one group; needed where the order is one of groups.
    """

    def __init__(
        self,
        counts: Ints,
        sizes: Ints,
        spec: OrderSpec,
        epoch: int,
        archive: int = 0,
        group_of: GroupOf | None = None,
    ) -> None:
        self.sizes, self._group_of = sizes, group_of
        self._spec, self._epoch, self._archive = spec, epoch, archive
        self._counts = counts
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._window = lru_cache(maxsize=2 * len(sizes))(self._make_window)

    @cached_property
    def _packs(self) -> Ints:
        """The packs in this epoch's order."""
        if not self._spec.shuffle:
            return np.arange(len(self._counts), dtype=np.int64)
        return permutation(len(self._counts), self._spec.seed, self._epoch, self._archive)

    @cached_property
    def _ends(self) -> Ints:
        """Where each of those packs ends on the line."""
        return np.cumsum(self._counts[self._packs])

    def take(self, lane: int, start: int, stop: int) -> SamplePlaces:
        """Return the samples [start, stop) of a lane."""
        parts = []
        for number, first, last in self._windows(start, stop):
            whole = self._window(lane, number).places
            parts.append(SamplePlaces(*(part[first:last] for part in whole)))
        return join(parts)

    def mates(self, lane: int, start: int, stop: int) -> SamplePlaces:
        """Return the samples of their groups that come later in their windows."""
        parts = []
        for number, first, last in self._windows(start, stop):
            window = self._window(lane, number)
            own = np.isin(window.group[last:], window.group[first:last])
            parts.append(SamplePlaces(*(part[last:][own] for part in window.places)))
        return join(parts)

    def _windows(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Cut a part of a lane into windows, and what of each."""
        size = self._spec.window
        while start < stop:
            number, offset = divmod(start, size)
            count = min(size - offset, stop - start)
            yield number, offset, offset + count
            start += count

    def _make_window(self, lane: int, number: int) -> "_OrderedWindow":
        size, spec = self._spec.window, self._spec
        first = int(self._starts[lane]) + number * size
        last = min(first + size, int(self._starts[lane + 1]))
        line = np.arange(first, last, dtype=np.int64)
        key = spec.seed, self._epoch, self._archive, lane, number
        if spec.shuffle == 1:
            line = line[permutation(last - first, *key)]
        found = self._placed(line)
        if spec.shuffle != GROUPED:
            return found
        order = mixed_groups(found.group, spec.groups, *key)
        places = SamplePlaces(*(part[order] for part in found.places))
        return _OrderedWindow(places, found.group[order])

    def _placed(self, line: Ints) -> "_OrderedWindow":
        """Return the samples at some places of the line."""
        at = np.searchsorted(self._ends, line, side="right")
        pack = self._packs[at]
        ordinal = line - (self._ends[at] - self._counts[pack])
        archive, turn = (np.full(len(line), n, np.int64) for n in (self._archive, self._epoch))
        group = line if self._group_of is None else self._group_of(pack, ordinal)
        return _OrderedWindow(SamplePlaces(archive, pack, ordinal, turn), group)


class _OrderedWindow(NamedTuple):
    """The samples of a window, in order, and the number of each one's group."""

    places: SamplePlaces
    group: Ints


class MixedLanes:
    """The lanes of several archives drawn by weight.

    Each lane draws from its own part of every archive, by a fixed schedule in which any stretch
    holds each archive in its proportion. An archive whose part is used up begins anew in another
    order; one pass is over before the next begins, and passes go on across epochs.

    Parameters
    ----------
    counts
        For each archive, samples of each pack.
    weights
        For each archive its share; positive.
    sizes
        Draws of each lane in one epoch.
    groups_of
        For each archive as of `ArchiveLanes`; empty where the order is not one of groups.
    """

    def __init__(
        self,
        counts: Sequence[Ints],
        weights: Sequence[float],
        sizes: Ints,
        spec: OrderSpec,
        epoch: int,
        groups_of: Sequence[GroupOf] = (),
    ) -> None:
        self.sizes, self._groups_of = sizes, groups_of
        self._counts, self._spec, self._epoch = counts, spec, epoch
        self._schedule = schedule(weights)
        self._before = np.stack(
            [np.cumsum(self._schedule == a) - (self._schedule == a) for a in range(len(counts))]
        )
        self._in_period = np.bincount(self._schedule, minlength=len(counts))
        self._parts = [even_sizes(int(c.sum()), spec.lanes) for c in counts]
        self._pass = lru_cache(maxsize=4 * len(counts))(self._make_pass)

    def take(self, lane: int, start: int, stop: int) -> SamplePlaces:
        """Return the draws [start, stop) of a lane."""
        drawn = self._drawn(lane, start, stop)
        out = SamplePlaces(drawn.archive, *(np.zeros_like(drawn.archive) for _ in range(3)))
        for number, at, first, last in drawn.runs():
            found = self._from(number, lane, first, last)
            out.pack[at], out.ordinal[at], out.turn[at] = found.pack, found.ordinal, found.turn
        return out

    def mates(self, lane: int, start: int, stop: int) -> SamplePlaces:
        """Return the samples of their groups that come later, each in its own archive's lane."""
        runs = self._drawn(lane, start, stop).runs()
        return join(
            [self._from(number, lane, first, last, True) for number, _, first, last in runs]
        )

    def _drawn(self, lane: int, start: int, stop: int) -> "_Drawn":
        offset = lane * PERIOD // self._spec.lanes  # lanes are out of step, so that batches differ
        draws = np.arange(start, stop, dtype=np.int64) + self._epoch * int(self.sizes[lane])
        period, slot = np.divmod(draws + offset, PERIOD)
        archive = self._schedule[slot]
        drawn = period * self._in_period[archive] + self._before[archive, slot]
        return _Drawn(archive, drawn - self._before[archive, offset])

    def _from(
        self, archive: int, lane: int, start: int, stop: int, mates: bool = False
    ) -> SamplePlaces:
        size, parts = int(self._parts[archive][lane]), []
        while start < stop:
            number, at = divmod(start, size)
            count = min(size - at, stop - start)
            lanes = self._pass(archive, number)
            found = (lanes.mates if mates else lanes.take)(lane, at, at + count)
            parts.append(found)
            start += count
        return join(parts)

    def _make_pass(self, archive: int, number: int) -> ArchiveLanes:
        group_of = self._groups_of[archive] if self._groups_of else None
        return ArchiveLanes(
            self._counts[archive], self._parts[archive], self._spec, number, archive, group_of
        )


class _Drawn(NamedTuple):
    """Draws of a lane: from which archive, and which of that archive's draws it is."""

    archive: Ints
    draw: Ints

    def runs(self) -> Iterator[tuple[int, Ints, int, int]]:
        """Yield each archive, its draws among these, and which of its own they are, in a row."""
        for number in np.unique(self.archive):
            at = np.flatnonzero(self.archive == number)
            yield int(number), at, int(self.draw[at[0]]), int(self.draw[at[-1]]) + 1


def lane_sizes(samples: int, lanes: int, chunk: int) -> Ints:
    """Return the samples of each lane when chunks go round the lanes."""
    rounds, rest = divmod(samples, lanes * chunk)
    extra = np.clip(rest - chunk * np.arange(lanes, dtype=np.int64), 0, chunk)
    return rounds * chunk + extra


def even_sizes(samples: int, lanes: int) -> Ints:
    """Cut samples into lanes that differ by one at most."""
    return samples // lanes + (np.arange(lanes, dtype=np.int64) < samples % lanes)


def schedule(weights: Sequence[float]) -> Ints:
    """Lay out which archive each of `PERIOD` draws comes from, as evenly as can be.

    Every archive gets at least one draw, and shares are whole numbers of 1 / `PERIOD`.
    """
    share = np.asarray(weights, np.float64) / float(np.sum(weights)) * PERIOD
    counts = np.maximum(np.floor(share).astype(np.int64), 1)
    while counts.sum() != PERIOD:  # largest remainder first
        step = 1 if counts.sum() < PERIOD else -1
        gap = np.where((step > 0) | (counts > 1), step * (share - counts), -np.inf)
        counts[int(np.argmax(gap))] += step
    owner = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    due = np.concatenate([(np.arange(n) + 0.5) / n for n in counts])
    return owner[np.argsort(due, kind="stable")]


def join(parts: Sequence[SamplePlaces]) -> SamplePlaces:
    """Lay places end to end."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        empty = np.zeros(0, np.int64)
        return SamplePlaces(empty, empty, empty, empty)
    return SamplePlaces(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def mixed_groups(group: Ints, spread: int, *key: int) -> Ints:
    """Return the order of samples whose groups are permuted, and then mixed with their neighbours.

    Group r of the permuted ones has its samples at random in [r, r + spread), of which they are
    sorted: so at most about `spread` groups are begun and not ended at any place.

    Parameters
    ----------
    group
        Number of each sample's group; the samples of one follow one another.
    spread
        At least 1, which lays groups end to end, each mixed by itself.
    """
    run = np.cumsum(np.concatenate([[0], group[1:] != group[:-1]])) if len(group) else group
    rank = np.argsort(permutation(int(run[-1]) + 1 if len(run) else 0, *key, 1), kind="stable")
    within = hashes(len(group), *key, 2) >> np.uint64(32)
    place = (rank[run].astype(np.uint64) << np.uint64(32)) + within * np.uint64(max(spread, 1))
    return np.argsort(place, kind="stable")


def permutation(size: int, *key: int) -> Ints:
    """Permute 0 to size - 1, as decided by the integers of `key`."""
    return np.argsort(hashes(size, *key), kind="stable")


def hashes(size: int, *key: int) -> NDArray[np.uint64]:
    """Return hashes of 0 to size - 1, as decided by the integers of `key`."""
    start = np.uint64(0)
    with np.errstate(over="ignore"):
        for part in key:
            start = splitmix64(np.asarray([start ^ np.uint64(part & (1 << 64) - 1)]))[0]
        return splitmix64(start + np.arange(size, dtype=np.uint64))
