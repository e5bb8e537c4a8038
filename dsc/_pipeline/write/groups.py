"""Which samples are coded together: the groups of a shard, by where its samples stand.

A group begins where a pack does, where the sequence changes, and after as many samples as the
codecs take together. A sample that is of no sequence is a group by itself. So groups follow from
positions alone: whoever makes a shard, in however many parts, makes the same ones. Gaps in the
numbers of frames end no group.
"""

from collections.abc import Sequence

from dsc._pipeline.choose.coding import Coding
from dsc._schemas import SequencePlace
from dsc._sources.base import Source, place_of


def cut_groups(
    places: Sequence[SequencePlace | None], pack_size: int, most: int, start: int = 0
) -> list[range]:
    """Cut a shard's samples into groups.

    Parameters
    ----------
    places
        Of each sample of the shard, in order.
    pack_size
        Samples a pack.
    most
        The most samples of a group.
    start
        Index of the first sample.

    Returns
    -------
    list of range
        Indices, in order; together they are all samples.
    """
    groups: list[range] = []
    first = 0
    for at, place in enumerate(places):
        before = places[at - 1] if at else None
        apart = place is None or before is None or place.sequence != before.sequence
        if at and (apart or at % pack_size == 0 or at - first == most):
            groups.append(range(start + first, start + at))
            first = at
    return [*groups, range(start + first, start + len(places))] if places else []


def groups_of(source: Source, coding: Coding, indices: range, pack_size: int) -> list[range]:
    """Cut the samples of a shard, which stand at these indices of a source, into groups."""
    most = coding.codec_set.group_size
    if most == 1:
        return [range(index, index + 1) for index in indices]
    places = [place_of(source, index) for index in indices]
    return cut_groups(places, pack_size, most, indices.start)
