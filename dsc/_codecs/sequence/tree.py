"""Which frames of a group are predicted from which, and in what order they are coded.

The frames of a group stand in a binary tree: the first is a key frame, the one in the middle is
predicted from it, and each half is cut in two again. With ``tree`` a frame is predicted from its
ancestors alone, among which are the nearest frames before and after it that are coded earlier; so
of 16 frames each takes at most five to decode. With ``balanced`` it may be predicted from others
that are coded before it as well, as far as none takes more than eight.

Frames are coded from the root down, the left half of a tree before the right one. A decoded frame
is kept in a slot as long as something is predicted from it, as AV1 has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from dsc._codecs.sequence.libaom import SLOTS, References

MOST = 16  # frames of a group
LAYERS = 3  # the first frame; every fourth; the others
FOURTH = 4
MOST_TO_DECODE = 8


class Access(StrEnum):
    """How many frames one frame takes."""

    TREE = "tree"
    BALANCED = "balanced"


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
    order = list(_order(count))
    level = dict(order)
    sources: dict[int, tuple[int, ...]] = {}
    needs: dict[int, frozenset[int]] = {}
    for place, _ in order:
        sources[place] = _sources(place, count, list(sources), needs, access)
        needs[place] = frozenset(sources[place]).union(*(needs[one] for one in sources[place]))
    kept = _slots([place for place, _ in order], sources)
    return tuple(
        Step(place, level[place], sources[place], needs[place], references)
        for (place, _), references in zip(order, kept, strict=True)
    )


def _order(count: int) -> Iterator[tuple[int, int]]:
    """Yield place and level of each frame."""
    yield 0, 0
    yield from _half(0, _power(count), 1, count)


def _half(low: int, high: int, level: int, count: int) -> Iterator[tuple[int, int]]:
    middle = (low + high) // 2
    if middle == low:
        return
    if middle < count:
        yield middle, level
    yield from _half(low, middle, level + 1, count)
    yield from _half(middle, high, level + 1, count)


def _power(count: int) -> int:
    power = 1
    while power < count:
        power *= 2
    return power


def _ancestors(place: int, count: int) -> list[int]:
    """Return the frames on the way from the root to a frame."""
    found, low, high = [0], 0, _power(count)
    while found[-1] != place:
        middle = (low + high) // 2
        if middle < count:
            found.append(middle)
        low, high = (low, middle) if place < middle else (middle, high)
    return found[:-1]


def _sources(
    place: int,
    count: int,
    before: list[int],
    needs: dict[int, frozenset[int]],
    access: Access,
) -> tuple[int, ...]:
    """Choose what a frame is predicted from, the nearest first."""
    if place == 0:
        return ()
    chosen = _ancestors(place, count)

    def distance(other: int) -> tuple[int, int]:
        return abs(other - place), other

    return tuple(sorted(chosen, key=distance))


def _slots(order: list[int], sources: dict[int, tuple[int, ...]]) -> Iterator[References]:
    """Give each frame that others are predicted from a slot that none of them needs any more."""
    last_use = {source: step for step, place in enumerate(order) for source in sources[place]}
    slot_of: dict[int, int] = {}
    for step, place in enumerate(order):
        told = tuple(slot_of[source] for source in sources[place])
        slot_of = {kept: slot for kept, slot in slot_of.items() if last_use[kept] > step}
        refreshed = None
        if place in last_use:
            refreshed = next(slot for slot in range(SLOTS) if slot not in slot_of.values())
            slot_of[place] = refreshed
        yield References(told, refreshed)
