"""Which frames of a group are predicted from which, and in what order they are coded.

With ``tree`` the first frame is a key frame, the one in the middle of 16 is predicted from it, and
each half is cut in two again. A frame is predicted from its ancestors alone, among which are the
nearest frames before and after it that are coded earlier; so each takes at most five to decode.

With ``balanced`` every fourth frame is predicted from the fourth before it, and those between by
cutting in two. What is near predicts better: this takes 2 % fewer bytes, and at most six frames to
decode one.

Frames between two others are coded as soon as those are. A decoded frame is kept in a slot as long
as something is predicted from it, as AV1 has it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from dsc._codecs.sequence.libaom import SLOTS, References
from dsc._schemas import Access

MOST = 16  # frames of a group
LAYERS = 3  # the first frame; every fourth; the others
FOURTH = 4
MOST_SOURCES = 4  # of a frame; more take time and no bytes off

Node = tuple[int, int, tuple[int, ...]]
"""Place of a frame, its level, and the places that it lies between."""


@dataclass(frozen=True)
class Step:
    """A frame, as it is coded.

    Attributes
    ----------
    place
        Among the frames of the group.
    level
        Its depth in the tree, 0 of the first frame.
    sources
        Places that it is predicted from, the most important first.
    needs
        Places that are decoded before it: those, what they need, and so on.
    references
        The same sources, as the encoder is told of them.
    """

    place: int
    level: int
    sources: tuple[int, ...]
    needs: frozenset[int]
    references: References


def layer_of(place: int) -> int:
    """Return 0 for the first frame, 1 for every fourth, 2 for others."""
    return 0 if place == 0 else 1 if place % FOURTH == 0 else 2


@cache
def structure(count: int, access: Access = Access.TREE) -> tuple[Step, ...]:
    """Return the frames of a group in the order in which they are coded.

    Parameters
    ----------
    count
        Frames of the group, 1 to `MOST`.
    """
    lattice = _tree(count) if access is Access.TREE else _chain(count)
    sources: dict[int, tuple[int, ...]] = {}
    needs: dict[int, frozenset[int]] = {}
    levels: dict[int, int] = {}
    for place, level, between in lattice:
        levels[place] = level
        needs[place] = frozenset(between).union(*(needs[one] for one in between))
        nearest = sorted(needs[place], key=lambda one: (abs(one - place), one))
        sources[place] = tuple(nearest[:MOST_SOURCES])
    kept = _slots(sources)
    return tuple(
        Step(place, levels[place], sources[place], needs[place], references)
        for place, references in zip(sources, kept, strict=True)
    )


def _tree(count: int) -> Iterator[Node]:
    """Yield each frame after those that it lies between."""
    yield 0, 0, ()
    power = 1
    while power < count:
        power *= 2
    yield from _between(0, power, 1, count)


def _chain(count: int) -> Iterator[Node]:
    """Yield each frame after those that it lies between; every fourth has one before it alone."""
    yield 0, 0, ()
    for low in range(0, count, FOURTH):
        if low + FOURTH < count:
            yield low + FOURTH, 1, (low,)
        yield from _between(low, low + FOURTH, 2, count)


def _between(low: int, high: int, level: int, count: int) -> Iterator[Node]:
    middle = (low + high) // 2
    if middle == low:
        return
    if middle < count:
        yield middle, level, (low, high) if high < count else (low,)
    yield from _between(low, middle, level + 1, count)
    yield from _between(middle, high, level + 1, count)


def _slots(sources: Mapping[int, tuple[int, ...]]) -> Iterator[References]:
    """Give each frame that others are predicted from a slot that none of them needs any more."""
    last_use = {one: step for step, place in enumerate(sources) for one in sources[place]}
    slot_of: dict[int, int] = {}
    for step, place in enumerate(sources):
        told = tuple(slot_of[source] for source in sources[place])
        slot_of = {kept: slot for kept, slot in slot_of.items() if last_use[kept] > step}
        refreshed = None
        if place in last_use:
            refreshed = next(slot for slot in range(SLOTS) if slot not in slot_of.values())
            slot_of[place] = refreshed
        yield References(told, refreshed)
