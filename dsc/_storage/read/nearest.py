"""What stands for a damaged frame of a recording: the closest one of its group that is intact."""

from collections.abc import Mapping, Sequence

from dsc._storage.read.archive import Archive
from dsc._storage.read.lanes import Column, LanePack, own_among
from dsc.errors import CorruptArchiveError


def streams_beside(
    archive: Archive, lane: Sequence[str], streams: Sequence[str]
) -> tuple[str, ...]:
    """List the streams that are no layers and carry what a lane does: residuals."""
    carried = {s.name: set(s.carries) for s in archive.manifest.streams}
    tasks = set().union(*(carried[name] for name in lane))
    return tuple(name for name in streams if name not in lane and carried[name] & tasks)


def stand_in(
    archive: Archive, lane: LanePack, beside: Mapping[str, Column], place: tuple[int, int, int]
) -> dict[str, memoryview | bytes | None]:
    """Return the payloads of the frame that stands for a damaged one; empty without any.

    Parameters
    ----------
    lane
        The lane in the sample's pack, of which all is known.
    beside
        The other streams of its task in that pack.
    place
        Of the damaged one: shard of the archive, pack of the shard, sample of the pack.
    """
    shard, pack, k = place
    names, columns = tuple(beside), tuple(beside.values())

    def is_usable(other: int) -> bool:
        return not isinstance(own_among(names, columns, other), CorruptArchiveError)

    found = lane.nearest(k, is_usable)
    if found is None:
        return {}
    other, stream, payload = found
    first = archive.start(shard) + pack * archive.manifest.pack_size
    payload.away = _frames_between(archive, first + k, first + other)
    given: dict[str, memoryview | bytes | None] = {stream: payload, **dict.fromkeys(names)}
    own = own_among(names, columns, other)
    return given | {own[0]: own[1]} if isinstance(own, tuple) else given


def _frames_between(archive: Archive, index: int, other: int) -> int:
    """Count frames from a sample to another one, by the recording's own numbers."""
    ours, theirs = archive.place(index), archive.place(other)
    if ours is None or theirs is None:
        return other - index
    return theirs.frame - ours.frame
