"""A recording in memory that is coded as recordings are in earnest: rgb, depth, a pose a frame."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dsc._jobs.archive.compress import compress
from dsc._schemas import SequencePlace, Task, TaskKind
from dsc._sources.base import SourceSample
from tests.codecs.frames import DEPTH, RGB, depth_recording, recording

POSE = Task(name="pose", kind=TaskKind.VECTOR, dtype="float32", channels=3)
FRAMES = 36
STEP_NS = 33_333_333


class ClipSource:
    """Frames (48, 64) of two recordings, the second of 4 frames.

    Parameters
    ----------
    n
        Frames in all.
    log
        File that gets a line ``index`` for every sample read.
    """

    name: ClassVar[str] = "clip"
    tasks: tuple[Task, ...] = (RGB, DEPTH, POSE)

    def __init__(self, n: int = FRAMES, log: Path | None = None) -> None:
        self._n, self.log = n, log

    @cached_property
    def _frames(self) -> list[dict[str, Any]]:
        both = zip(recording(self._n), depth_recording(self._n), strict=True)
        return [
            {"rgb": rgb, "depth": depth, "pose": np.array([at, -at, 0.5], np.float32)}
            for at, (rgb, depth) in enumerate(both)
        ]

    def __len__(self) -> int:
        return self._n

    def key(self, index: int) -> str:
        place = self.place(index)
        return f"{place.sequence}_{place.frame:06d}"

    def place(self, index: int) -> SequencePlace:
        first = max(self._n - 4, 0)
        name, frame = ("hall", index - first) if index >= first else ("walk", index)
        return SequencePlace(name, frame, STEP_NS * frame)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(f"{index}\n")
        found = {name: one for name, one in self._frames[index].items() if name in tasks}
        return SourceSample(self.key(index), found, {n: a.nbytes for n, a in found.items()})

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {"n": self._n}}


def write_clip(out: Path, source: ClipSource | None = None, **options: Any) -> Path:
    """Write a clip: 16 samples a pack, 32 a shard, depth within 2 %."""
    given: dict[str, Any] = {
        "codec": "rgb=av1-seq,depth=av1-seq", "max_error": "depth=2%", "pack": 16,
        "shard_size": 32, "effort": "fast",
    }  # fmt: skip
    compress(source or ClipSource(), out, **(given | options))
    return out
