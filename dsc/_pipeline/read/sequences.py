"""The recordings of an archive, one by one: which samples they are, and how long they last."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dsc._columns.column import Ints
from dsc._pipeline.read.frame_index import NO_TIME, NONE, FrameIndex
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
    index = FrameIndex.read(archive)
    places = np.arange(len(archive))
    if chosen is not None:
        places = np.full(len(archive), NONE)
        places[chosen] = np.arange(len(chosen))
    found: dict[str, list[Ints]] = {}
    for number, name in enumerate(index.names):
        _, samples = index.frames(number)
        found.setdefault(name, []).append(samples[places[samples] != NONE])
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    return {
        name: _recording(name, archive, index, samples, places[samples])
        for name, samples in whole.items()
        if len(samples)
    }


def _recording(
    name: str, archive: Archive, index: FrameIndex, samples: Ints, places: Ints
) -> Recording:
    order = np.argsort(index.frame[samples], kind="stable")
    samples, places = samples[order], places[order]
    shard, _, _ = archive.locate(int(samples[0]))
    times = index.time[samples]
    known = None if (times == NO_TIME).any() else times
    return Recording(name, archive.shards[shard].split, places, index.frame[samples], known)
