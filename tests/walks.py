"""A source of recordings, in memory, whose values say which frame they are of."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dsc._schemas import SequencePlace, Task
from dsc._sources.base import SourceSample

TASKS = (
    Task(name="rgb", kind="image", dtype="uint8", channels=3, valid_range=(0, 255)),
    Task(name="depth", kind="depth", dtype="uint16", unit_m=0.001, invalid=(0,)),
    Task(name="intrinsics", kind="matrix", dtype="float64", shape=(3, 3)),
    Task(name="action", kind="vector", dtype="float32", channels=2),
    Task(name="note", kind="text", dtype="uint8"),
)
STEP = 33_333_333  # nanoseconds
FRAMES = {
    "walk": (0, 1, 2, 3, 5, 6, 7, 8, 9, 10),  # frame 4 was lost
    "one": (7,),
    "hall": tuple(range(100, 123)),
}
"""Numbers of the frames by recording; sample 34 and later ones are of no recording."""
PLACES = [SequencePlace(name, n, n * STEP) for name, frames in FRAMES.items() for n in frames]
LACKS = ("hall", 105)  # this frame has no depth and no note


class WalksSource:
    """`n` samples: those of the recordings, then some of none."""

    name: ClassVar[str] = "walks"

    def __init__(self, n: int, times: bool = True) -> None:
        self._n, self._times = n, times

    @property
    def tasks(self) -> tuple[Task, ...]:
        return TASKS

    def __len__(self) -> int:
        return self._n

    def key(self, index: int) -> str:
        return f"sample_{index:03d}"

    def place(self, index: int) -> SequencePlace | None:
        place = PLACES[index] if index < len(PLACES) else None
        return place if place is None or self._times else place._replace(time_ns=None)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        found = {name: one for name, one in values(index).items() if name in tasks}
        return SourceSample(self.key(index), found, dict.fromkeys(found, 10))

    def describe(self) -> dict[str, Any]:
        options = {"n": self._n, "times": self._times}
        return {"name": self.name, "root": None, "options": options, "fingerprint": str(options)}


def values(index: int, height: int = 16, width: int = 24) -> dict[str, Any]:
    """Return what a sample is made of; each value of a map tells sample and pixel apart."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([np.full((height, width), index), y, x], axis=-1).astype(np.uint8)
    lacks = index < len(PLACES) and PLACES[index][:2] == LACKS
    return {
        "rgb": rgb,
        "depth": None if lacks else (1000 + index + 100 * y + x).astype(np.uint16),
        "intrinsics": np.array([[30.0, 0, 12], [0, 30, 8], [0, 0, 1]]),
        "action": np.array([index, -index], np.float32),
        "note": None if lacks else f"frame of sample {index}",
    }
