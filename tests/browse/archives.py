"""Small archives to browse: many tiny pictures in folders, with what stands beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsc._schemas import Origin, Task, TaskKind
from dsc._sources.base import SourceSample

HOSTILE = "\"'><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
COLOURS = ("red", "green", "blue", "yellow")
RGB = np.array([[200, 40, 40], [40, 160, 60], [50, 80, 210], [220, 190, 40]], np.uint8)
TASKS = (
    Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3),
    Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,)),
    Task(name="colour", kind=TaskKind.CLASS, dtype="int64", channels=0, classes=COLOURS),
    Task(name="caption", kind=TaskKind.TEXT, dtype="uint8"),
    Task(name="meta", kind=TaskKind.JSON, dtype="uint8"),
    Task(name="sound", kind=TaskKind.BYTES, dtype="uint8", media_type="audio/wav"),
    Task(name="page", kind=TaskKind.BYTES, dtype="uint8", media_type="text/html"),
)


@dataclass(frozen=True)
class Squares:
    """`n` squares of 16 pixels, lighter and lighter; each fifth lacks depth; two splits."""

    name: ClassVar[str] = "squares"

    n: int = 40
    only: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(task for task in TASKS if not self.only or task.name in self.only)

    @property
    def splits(self) -> dict[str, int]:
        return {"train": self.n - self.n // 4, "val": self.n // 4}

    def __len__(self) -> int:
        return self.n

    def key(self, index: int) -> str:
        return f"square_{index:05d}"

    def origin(self, index: int) -> Origin:
        return Origin(name=f"scene_{index % 3}/square {index:05d}")

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in tasks if name == "depth" and index % 5 == 2)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        found = {name: value for name, value in values(index).items() if name in tasks}
        return SourceSample(self.key(index), found, dict.fromkeys(found, 10))

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {"n": self.n}}


def values(index: int) -> dict[str, Any]:
    """What a square is made of."""
    image = np.full((16, 24, 3), RGB[index % 4], np.uint8)
    image[4:12, 4 : 5 + index % 16] = 255
    depth = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24) * 10
    return {
        "rgb": image,
        "depth": None if index % 5 == 2 else depth,
        "colour": index % 4,
        "caption": f"{HOSTILE} number {index}" if index == 1 else f"Square {index} — ü\0",
        "meta": {"id": 2**70 + index, "tags": [COLOURS[index % 4], HOSTILE], "none": None},
        "sound": b"RIFF" + bytes(index % 7),
        "page": b"<script>window.hacked = 3</script>",
    }
