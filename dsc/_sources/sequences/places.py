"""The place of each sample in a recording, worked out from names, and what is amiss with it.

Frames of a recording follow one another in rising order of their numbers, where its first sample
was; recordings, and samples of none, keep the source's order otherwise.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from dsc._files.passed_over import printable
from dsc._schemas import SequencePlace
from dsc._sources.base import RecordedSource, Source, name_of, place_of, splits_of
from dsc._sources.sequences.rules import SequenceRule
from dsc.errors import UsageError

NONE = -1  # the recording of a sample that is of none, and the number of a frame that has none yet
NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class Places:
    """Where samples stand in recordings.

    Attributes
    ----------
    names
        Of the recordings, in the order of their first samples.
    order
        (N,) int64: the samples in the order that they are to have.
    sequence, frame, time
        (N,) int64 each, in that order: number of the recording or `NONE`, number of the frame,
        nanoseconds or `NO_TIME`.
    """

    names: tuple[str, ...]
    order: NDArray[np.int64]
    sequence: NDArray[np.int64]
    frame: NDArray[np.int64]
    time: NDArray[np.int64]

    def place(self, index: int) -> SequencePlace | None:
        """Return the place of a sample by its index in the new order."""
        at = int(self.sequence[index])
        if at == NONE:
            return None
        time = int(self.time[index])
        return SequencePlace(
            self.names[at], int(self.frame[index]), None if time == NO_TIME else time
        )

    def taken(self, rows: NDArray[np.int64]) -> "Places":
        """Return the places of these samples, in this order."""
        return Places(
            self.names, self.order[rows], self.sequence[rows], self.frame[rows], self.time[rows]
        )


def find_places(
    source: Source,
    rule: SequenceRule,
    times: RecordedSource | None = None,
    called: Callable[[Source, int], str] = name_of,
) -> Places:
    """Work out the place of every sample.

    Parameters
    ----------
    times
        The source, where it is to be asked for times that names do not say.
    called
        What gives the text that the rule is for: a sample's name, or its key.

    Raises
    ------
    UsageError
        When a number or time cannot be kept, two frames of a recording have one number, or a
        recording lies in two of the source's splits.
    """
    found = _read_names(source, rule, called)
    if np.any((found.sequence != NONE) & (found.frame == NONE)):
        found = _numbered_by_time(found)
    start = np.where(found.sequence == NONE, found.order, _firsts(found)[found.sequence])
    found = found.taken(np.lexsort((found.frame, start)))
    _check_numbers(source, found, rule)
    _check_splits(source, found)
    if times is not None and not np.any(found.time != NO_TIME):
        _look_up_times(times, found)
    return found


def check_told(source: Source, sizes: Mapping[str, int]) -> None:
    """Hold a source that tells places itself to what it promises of them.

    Parameters
    ----------
    sizes
        Samples by split, in order; empty where there are no splits.

    Raises
    ------
    UsageError
        When the frames of a recording do not follow one another with rising numbers, or lie in two
        splits.
    """
    begins = {0, *accumulate(sizes.values())}
    seen = set[str]()
    last: SequencePlace | None = None
    for index in range(len(source)):
        place = place_of(source, index)
        if place is not None and last is not None and place.sequence == last.sequence:
            if place.frame <= last.frame:
                raise _broken(source, index, place, f"after frame {last.frame}")
            if index in begins:
                raise _broken(source, index, place, "in another split than the frame before")
        elif place is not None:
            if place.sequence in seen:
                raise _broken(source, index, place, "apart from the frames before it")
            seen.add(place.sequence)
        last = place


def _broken(source: Source, index: int, place: SequencePlace, why: str) -> UsageError:
    return UsageError(
        f"source {source.name}: recording {place.sequence}: {source.key(index)} is frame "
        f"{place.frame}, {why}; frames of a recording follow one another in one split, with rising "
        "numbers: mend the data or the source, or say --sequence-by RULE (none codes frames alone)"
    )


def _read_names(source: Source, rule: SequenceRule, called: Callable[[Source, int], str]) -> Places:
    count = len(source)
    numbers: dict[str, int] = {}
    sequence, frame = np.full(count, NONE, np.int64), np.full(count, NONE, np.int64)
    time = np.full(count, NO_TIME, np.int64)
    for index in range(count):
        name = called(source, index)
        try:
            said = rule.read(name)
        except ValueError as error:
            raise UsageError(
                f"sample {printable(name)}: {error}; by --sequence-by {rule.text}"
            ) from None
        if said is None:
            continue
        sequence[index] = numbers.setdefault(printable(said.sequence), len(numbers))
        frame[index] = NONE if said.frame is None else said.frame
        time[index] = NO_TIME if said.time_ns is None else said.time_ns
    return Places(tuple(numbers), np.arange(count), sequence, frame, time)


def _firsts(found: Places) -> NDArray[np.int64]:
    """Return where the first sample of each recording stands; one entry, where there is none."""
    numbers, firsts = np.unique(found.sequence, return_index=True)
    return firsts[numbers != NONE] if found.names else np.zeros(1, np.int64)


def _numbered_by_time(found: Places) -> Places:
    """Give frames numbers in the order of their times, from 0 on; equal times get equal ones."""
    order = np.lexsort((found.time, found.sequence))
    sequence, time = found.sequence[order], found.time[order]
    begins = np.r_[True, sequence[1:] != sequence[:-1]]
    ranks = np.cumsum(begins | np.r_[True, time[1:] != time[:-1]])
    frame = np.empty_like(found.frame)
    frame[order] = ranks - np.maximum.accumulate(np.where(begins, ranks, 0))
    frame[found.sequence == NONE] = NONE
    return Places(found.names, found.order, found.sequence, frame, found.time)


def _look_up_times(source: RecordedSource, found: Places) -> None:
    """Take the times of frames, in order by now, from files beside them, where there are such."""
    sizes = np.bincount(found.sequence[found.sequence != NONE], minlength=len(found.names))
    for first, size in zip(_firsts(found).tolist(), sizes.tolist(), strict=False):
        times = source.frame_times(int(found.order[first])) or {}
        for index in range(first, first + size) if times else ():
            found.time[index] = times.get(int(found.frame[index]), NO_TIME)


def _check_numbers(source: Source, found: Places, rule: SequenceRule) -> None:
    """Refuse two frames of one number: which comes first is not for us to say."""
    same = (found.sequence[1:] == found.sequence[:-1]) & (found.sequence[1:] != NONE)
    twins = np.flatnonzero(same & (found.frame[1:] == found.frame[:-1]))
    for at in twins[:1].tolist():
        names = [printable(name_of(source, int(index))) for index in found.order[at : at + 2]]
        raise UsageError(
            f"recording {found.names[found.sequence[at]]}: {names[0]} and {names[1]} are both its "
            f"frame {found.frame[at]}, by --sequence-by {rule.text}. Leave one out with --ignore, "
            "say what tells their recordings apart with --sequence-by, or code frames alone with "
            "--sequence-by none"
        )


def _check_splits(source: Source, found: Places) -> None:
    """Refuse recordings that lie in two of the splits which the source has."""
    sizes = splits_of(source)
    ends = np.array(list(accumulate(sizes.values())), np.int64)
    split = np.searchsorted(ends, found.order, side="right")
    for number, pair in list(cut_sequences(found.sequence, split).items())[:1]:
        said = [
            f"{printable(name_of(source, int(found.order[at])))} in "
            f"{list(sizes)[int(split[at])] or 'none'}"
            for at in pair
        ]
        raise UsageError(
            f"recording {found.names[number]} lies in two splits: {said[0]}, {said[1]}; say with "
            "--sequence-by what tells their recordings apart"
        )


def cut_sequences(
    sequence: NDArray[np.int64], split: NDArray[np.int64]
) -> dict[int, tuple[int, int]]:
    """Find recordings that lie in several splits; of each, a sample of one and of another.

    Parameters
    ----------
    sequence, split
        (N,) int64: the number of the recording, or `NONE`, and of the split of each sample; samples
        whose split is negative count in none.
    """
    counted = np.flatnonzero((sequence != NONE) & (split >= 0))
    order = counted[np.argsort(sequence[counted], kind="stable")]
    numbers, begins = np.unique(sequence[order], return_index=True)
    if not len(order):
        return {}
    own = split[order]
    differ = np.minimum.reduceat(own, begins) != np.maximum.reduceat(own, begins)
    cut: dict[int, tuple[int, int]] = {}
    for at in np.flatnonzero(differ).tolist():
        first = int(begins[at])
        other = first + int(np.argmax(own[first:] != own[first]))
        cut[int(numbers[at])] = int(order[first]), int(order[other])
    return cut


def notes_on(source: Source, found: Places) -> Iterator[str]:
    """Yield what people should know of the recordings: how many, gaps, time that runs backward."""
    there = found.sequence != NONE
    frames = int(there.sum())
    yield f"recordings: {len(found.names):,} with {frames:,} frames"
    if frames < len(found.order):
        one = name_of(source, int(found.order[np.flatnonzero(~there)[0]]))
        lost = len(found.order) - frames
        yield f"of no recording: {lost:,} sample{'s' * (lost > 1)}, such as {printable(one)}"
    follows = (found.sequence[1:] == found.sequence[:-1]) & there[1:]
    yield from _gaps(found, follows)
    timed = follows & (found.time[1:] != NO_TIME) & (found.time[:-1] != NO_TIME)
    back = np.flatnonzero(timed & (found.time[1:] <= found.time[:-1]))
    if len(back):
        at = int(back[0]) + 1
        yield (
            f"time does not rise {_times(len(back))}: in {found.names[found.sequence[at]]}, "
            f"{printable(name_of(source, int(found.order[at])))} has {found.time[at]} ns after "
            f"{found.time[at - 1]} ns; frames keep the order of their numbers"
        )


def _gaps(found: Places, follows: NDArray[np.bool_]) -> Iterator[str]:
    """Say where numbers leave gaps, beyond the usual step of a recording."""
    at = np.flatnonzero(follows)
    steps, own = np.diff(found.frame)[at], found.sequence[at]
    strides = np.full(len(found.names), np.iinfo(np.int64).max)
    np.minimum.at(strides, own, steps)
    usual = np.unique(strides[own])
    if np.any(usual > 1):
        yield f"frames are numbered in steps of {', '.join(map(str, usual[:8].tolist()))}"
    wide = at[steps > strides[own]]
    if len(wide):
        first = int(wide[0])
        yield (
            f"frames' numbers leave gaps {_times(len(wide))}: {found.names[found.sequence[first]]} "
            f"has {found.frame[first + 1]} after {found.frame[first]}"
        )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
