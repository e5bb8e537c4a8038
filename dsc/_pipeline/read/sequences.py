"""The recordings of an archive, one by one: which samples they are, and how long they last."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsc._columns.column import Ints
from dsc._schemas import SequencePlace
from dsc._storage.read.archive import Archive


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording, or what a selection of samples has of it.

    Attributes
    ----------
    name
        Of the recording.
    split
        That it is in.
    indices
        Of its samples, in the order of their frames, int64 (n,).
    frames
        The numbers of the frames, rising, int64 (n,).
    times
        Their times in nanoseconds, int64 (n,); None where not every frame has one.
    """

    name: str
    split: str
    indices: Ints
    frames: Ints
    times: Ints | None

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.indices)

    def __repr__(self) -> str:
        return (
            f"<recording {self.name}: {len(self):,} frames, {self.frames[0]} to {self.frames[-1]}>"
        )

    @property
    def duration_ns(self) -> int | None:
        """From the first frame to the last one, in nanoseconds; None where times are not known."""
        return None if self.times is None else int(self.times[-1] - self.times[0])

    def to_json(self) -> dict[str, Any]:
        """Return what there is to say of it, without each frame."""
        return {
            "sequence": self.name,
            "split": self.split,
            "frames": len(self),
            "first": int(self.frames[0]),
            "last": int(self.frames[-1]),
            "index": int(self.indices[0]),
            "duration_ns": self.duration_ns,
        }


def recordings(archive: Archive, chosen: Ints | None = None) -> dict[str, Recording]:
    """Return the recordings of an archive by name, in its order.

    Parameters
    ----------
    chosen
        Indices in the archive of the samples that are meant; those of a recording are then places
        among these. None for all.
    """
    wanted = None if chosen is None else {int(at): n for n, at in enumerate(chosen)}
    found: dict[str, list[tuple[int, SequencePlace]]] = {}
    splits: dict[str, str] = {}
    for index, split, place in _places(archive):
        at = index if wanted is None else wanted.get(index)
        if at is not None and place is not None:
            found.setdefault(place.sequence, []).append((at, place))
            splits[place.sequence] = split
    return {name: _recording(name, splits[name], frames) for name, frames in found.items()}


def _places(archive: Archive) -> Iterator[tuple[int, str, SequencePlace | None]]:
    for shard, record in enumerate(archive.shards):
        for index, place in enumerate(archive.places(shard), archive.start(shard)):
            yield index, record.split, place


def _recording(name: str, split: str, frames: Sequence[tuple[int, SequencePlace]]) -> Recording:
    ordered = sorted(frames, key=lambda frame: frame[1].frame)
    times = [place.time_ns for _, place in ordered if place.time_ns is not None]
    return Recording(
        name,
        split,
        np.array([at for at, _ in ordered], np.int64),
        np.array([place.frame for _, place in ordered], np.int64),
        np.array(times, np.int64) if len(times) == len(ordered) else None,
    )
