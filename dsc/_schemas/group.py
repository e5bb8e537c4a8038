"""Groups: samples of a recording that are coded together, each with a payload of its own.

A group is a few samples that follow one another in a pack. The payload of each begins with a header
that says which others of the group must be decoded before it, and in which order::

    u8  n      samples of the group, 1 to 64
    u8  at     which of them this is, from 0
    u8  order  when it is decoded, among those of the group
    ...        ceil(n / 8) bytes: bit k (of byte k // 8) is set where the payload of sample k must
               be decoded before. It names all of them, not only those that it refers to itself
    ...        what is the codec's

So a reader knows by arithmetic on places what one sample takes, without knowing the codec. The
streams that have such payloads stand in the codec's configuration as ``grouped``: lists of streams,
of each of which a sample has a payload in one at most, wherever the others have theirs. ``beside``
are lists of streams that go with these layer by layer, without such a header: residuals.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from dsc._schemas.stream import CodecRecord
from dsc.errors import BitstreamError, CorruptArchiveError, without_advice

MOST = 64  # samples of a group
HEAD = 3
GROUPED = "grouped"  # the entry of a codec's configuration
BESIDE = "beside"

Lane = tuple[str, ...]
"""Streams of one task that share its groups: the sample's payload is in one of them."""


@dataclass(frozen=True)
class GroupHeader:
    """What a payload says of its group; see the module.

    Attributes
    ----------
    n
        Samples of the group.
    at
        Place of this one among them.
    order
        When it is decoded.
    needs
        Places that are decoded before, all of them, rising.
    """

    n: int
    at: int
    order: int
    needs: tuple[int, ...] = ()

    def pack(self) -> bytes:
        """Return the header's bytes."""
        bits = sum(1 << place for place in self.needs)
        return bytes([self.n, self.at, self.order]) + bits.to_bytes(-(-self.n // 8), "little")

    @property
    def size(self) -> int:
        """Bytes of the header."""
        return HEAD + -(-self.n // 8)

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Self:
        """Read a header, of which nothing is believed that cannot be.

        Raises
        ------
        ValueError
            When it is cut short, or names a place that the group does not have.
        """
        if len(data) < HEAD:
            raise ValueError(f"{len(data)} bytes hold no group header")
        n, at, order = data[:HEAD]
        end = HEAD + -(-n // 8)
        if not 1 <= n <= MOST or at >= n or order >= n or len(data) < end:
            raise ValueError(f"sample {at} of a group of {n}, decoded as number {order}")
        bits = int.from_bytes(data[HEAD:end], "little")
        if bits >> n or bits >> at & 1:
            raise ValueError(f"sample {at} of a group of {n} needs what cannot be")
        needs = tuple(place for place in range(n) if bits >> place & 1)
        return cls(n, at, order, needs)


class Linked(bytes):
    """A payload of a group, with those that are decoded before it.

    As bytes it is the sample's own payload.

    Attributes
    ----------
    group
        What tells its group from all others that are decoded with it.
    at
        Its place in the group.
    before
        Place and payload of all that are decoded before it, in order.
    lack
        Why the chain is not whole; empty when it is.
    away
        Where it stands for another sample's that is damaged: how many frames it is from that.
    """

    group: Hashable
    at: int
    before: tuple[tuple[int, bytes], ...]
    lack: str
    away: int = 0

    @classmethod
    def of(
        cls,
        own: bytes | memoryview,
        group: Hashable,
        at: int,
        before: Iterable[tuple[int, bytes]],
        lack: str = "",
    ) -> Self:
        """Make a payload that knows what it needs."""
        made = cls(own)
        made.group, made.at, made.lack = group, at, lack
        made.before = tuple(before)
        return made

    @property
    def after(self) -> int:
        """How many samples of the group come after it."""
        return max(self[0] - self.at - 1, 0) if self else 0

    @property
    def chain(self) -> tuple[tuple[int, bytes], ...]:
        """Place and payload of all that are decoded for it, in order; its own is the last."""
        return (*self.before, (self.at, self))

    def __reduce__(self) -> tuple[Any, ...]:
        return _linked, (bytes(self), self.group, self.at, self.before, self.lack)


def _linked(own: bytes, group: Hashable, at: int, before: Any, lack: str) -> Linked:
    return Linked.of(own, group, at, before, lack)


def link(
    own: bytes | memoryview,
    place: int,
    other: Callable[[int], bytes | memoryview | None],
    group: Hashable = None,
) -> Linked:
    """Put a payload together with those that it needs.

    Parameters
    ----------
    place
        Of the sample in its pack, or in any list of samples that holds the whole group.
    other
        Gives the payload of another place there; None where there is none. It raises
        `CorruptArchiveError` where that is damaged.
    group
        What tells that pack or list from others.

    Returns
    -------
    Linked
        Where something is not there, or is not what the headers say, `Linked.lack` says so.
    """
    try:
        head = GroupHeader.unpack(own)
    except ValueError as error:
        return Linked.of(own, (group, place), 0, (), str(error))
    before, lack = _before(head, lambda at: other(place - head.at + at))
    return Linked.of(own, (group, place - head.at), head.at, before, lack)


def _before(
    head: GroupHeader, payload_at: Callable[[int], bytes | memoryview | None]
) -> tuple[list[tuple[int, bytes]], str]:
    """Return what a payload needs in the order of decoding, and what is wrong with it."""
    found: list[tuple[int, int, bytes]] = []
    lack = ""
    for at in head.needs:
        try:
            data = payload_at(at)
        except CorruptArchiveError as error:
            lack = lack or without_advice(error)
            continue
        if data is None:
            lack = lack or f"sample {at} of its group, which it needs, has no payload here"
            continue
        try:
            theirs = GroupHeader.unpack(data)
        except ValueError as error:
            lack = lack or f"sample {at} of its group, which it needs: {error}"
            continue
        if (theirs.n, theirs.at) != (head.n, at) or not set(theirs.needs) < set(head.needs):
            lack = lack or f"sample {at} of its group says another group than sample {head.at}"
        found.append((theirs.order, at, bytes(data)))
    orders = [order for order, _, _ in found] + [head.order]
    if len(set(orders)) < len(orders) or max(orders) > head.order:
        lack = lack or "what it needs is not decoded before it"
    return [(at, data) for _, at, data in sorted(found)], lack


def link_all(
    payloads: Sequence[Mapping[str, bytes]], lanes: Iterable[Lane]
) -> list[dict[str, bytes]]:
    """Link the payloads of a group's samples, which are all there, in order.

    Returns
    -------
    list of dict
        The same payloads by stream; those of the lanes are `Linked`.
    """
    linked = [dict(one) for one in payloads]
    here = object()  # another group's payloads may be decoded with these
    for lane in lanes:
        column = {
            place: next((one[name] for name in lane if name in one), None)
            for place, one in enumerate(payloads)
        }
        for place, one in enumerate(linked):
            for name in lane:
                if name in one:
                    one[name] = link(one[name], place, column.get, here)
    return linked


def whole(payload: bytes) -> Linked:
    """Return a payload of a group that can be decoded.

    Raises
    ------
    BitstreamError
        When what it needs is not there; the message says what.
    """
    if not isinstance(payload, Linked):
        payload = link(payload, 0, lambda place: None)
    if payload.lack:
        raise BitstreamError(f"{len(payload)} bytes cannot be decoded: {payload.lack}")
    return payload


def lanes_of(
    records: Sequence[CodecRecord], where: str = "", entry: str = GROUPED
) -> tuple[Lane, ...]:
    """List the streams whose payloads lie in groups, by what the codecs' configurations say.

    Of a copy that has not all of an archive, those that it has. With the entry `BESIDE`, those that
    go with them.

    Raises
    ------
    CorruptArchiveError
        When a codec names what are no streams, or another's.
    """
    found: list[Lane] = []
    for record in records:
        if entry not in record.config:
            continue
        said = record.config[entry]
        others = {name for other in records if other is not record for name in other.streams}
        try:
            lanes = [tuple(str(name) for name in lane) for lane in said]
        except TypeError:
            raise CorruptArchiveError(f"{where}: codec {record.id} groups {said!r}") from None
        if {name for lane in lanes for name in lane} & others:
            raise CorruptArchiveError(
                f"{where}: codec {record.id} groups {said!r}, its streams are {record.streams}"
            )
        found += [tuple(name for name in lane if name in record.streams) for lane in lanes]
    return tuple(lane for lane in found if lane)
