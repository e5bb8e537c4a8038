"""Payloads of groups in packs: found in the streams of their lane, and put together with others.

A sample has its payload in one stream of a lane, and needs payloads of other samples in that stream
and those before it; all lie in one pack of each. So a stream that is damaged or not there costs the
samples that need it, and no others.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from dsc._schemas.group import MOST, GroupHeader, Lane, Linked, link
from dsc.errors import CorruptArchiveError

Payload = memoryview | bytes | None
Column = (
    Sequence[Payload | CorruptArchiveError]
    | Mapping[int, Payload | CorruptArchiveError]
    | CorruptArchiveError
)
"""One stream of a pack: by place the payload, None where there is none, or what is wrong with it;
what is wrong with all of it. A mapping has some of the places."""


Own = tuple[str, memoryview | bytes]
"""The stream that has a sample's payload, and it."""


def lanes_among(lanes: Iterable[Lane], streams: Sequence[str]) -> tuple[Lane, ...]:
    """Leave of each lane the streams that are read."""
    found = (tuple(name for name in lane if name in streams) for lane in lanes)
    return tuple(lane for lane in found if lane)


def at(column: Column, k: int) -> Payload | CorruptArchiveError:
    """Return what a column has of a sample; None outside it."""
    if isinstance(column, tuple):  # of a whole pack, as nearly all are
        return column[k] if 0 <= k < len(column) else None
    if isinstance(column, CorruptArchiveError):
        return column
    if isinstance(column, Mapping):
        return column.get(k)
    return column[k] if 0 <= k < len(column) else None


def own_among(
    names: Iterable[str], columns: Sequence[Column], k: int
) -> Own | CorruptArchiveError | None:
    """Find a sample's payload in one of some streams; give what is wrong where none has it.

    None where there is none.
    """
    wrong: CorruptArchiveError | None = None
    for name, column in zip(names, columns, strict=False):
        found = at(column, k)
        if isinstance(found, CorruptArchiveError):
            wrong = wrong or found
        elif found is not None:
            return name, found
    return wrong


def is_damaged(found: tuple[str, Linked] | CorruptArchiveError | None) -> bool:
    """Tell whether what `LanePack.linked` found cannot be decoded."""
    return bool(found[1].lack) if isinstance(found, tuple) else found is not None


class LanePack:
    """The payloads of a lane in one pack.

    Parameters
    ----------
    lane
        Its streams that are read.
    columns
        What each has.
    group
        What tells this lane of this pack from others.
    key
        Gives the key of a sample by its place, for messages.
    """

    def __init__(
        self,
        lane: Lane,
        columns: Sequence[Column],
        group: Hashable,
        key: Callable[[int], str],
    ) -> None:
        self.lane, self.group = lane, group
        self._columns, self._key = columns, key
        # one of each payload, however many samples need it, and the number of its stream
        self._copies: dict[int, tuple[int, bytes]] = {}

    def own(self, k: int, below: int | None = None) -> Own | CorruptArchiveError | None:
        """Find a sample's payload in the first `below` streams; give what is wrong where none is.

        None where there is none.
        """
        return own_among(self.lane[:below], self._columns, k)

    def needs(self, k: int) -> list[tuple[str, int]]:
        """List where what a sample needs may lie: streams, and places in them."""
        found = self.own(k)
        if found is None or isinstance(found, CorruptArchiveError):
            return []
        name, payload = found
        try:
            head = GroupHeader.unpack(payload)
        except ValueError:
            return []
        streams = self.lane[: self._below(name)]
        return [(stream, k - head.at + place) for stream in streams for place in head.needs]

    def linked(self, k: int) -> tuple[str, Linked] | CorruptArchiveError | None:
        """Return the same as `own`, the payload with those that it needs."""
        found = self.own(k)
        if found is None or isinstance(found, CorruptArchiveError):
            return found
        name, payload = found
        below = self._below(name)
        return name, link(payload, k, lambda place: self._other(place, below), self.group)

    def nearest(self, k: int, is_usable: Callable[[int], bool]) -> tuple[int, str, Linked] | None:
        """Find the sample of the same group that stands closest to one and can be decoded.

        Parameters
        ----------
        is_usable
            Tells of a place whether what else it takes is intact.

        Returns
        -------
        tuple
            Its place, the stream of its payload, and that; of two the earlier. None without any.
        """
        found = []
        for other in range(max(k - MOST, 0), k + MOST):
            linked = self.linked(other)
            if not isinstance(linked, tuple) or linked[1].lack or not is_usable(other):
                continue
            first = other - linked[1].at
            if first <= k <= other + linked[1].after:
                found.append((abs(other - k), other, linked))
        if not found:
            return None
        _, other, linked = min(found, key=lambda one: one[:2])
        return other, *linked

    def _below(self, name: str) -> int:
        """Count the streams that what a payload of a stream needs may lie in."""
        return self.lane.index(name) + 1

    def _other(self, k: int, below: int) -> bytes | None:
        """Return a payload that another sample needs.

        Raises
        ------
        CorruptArchiveError
            When it is damaged; the message names its sample.
        """
        if k not in self._copies:
            found = self.own(k, below)
            if isinstance(found, CorruptArchiveError):
                raise CorruptArchiveError(f"it needs sample {self._key(k)}: {found}")
            if found is None:
                return None
            self._copies[k] = self.lane.index(found[0]), bytes(found[1])
        stream, copy = self._copies[k]
        return copy if stream < below else None
