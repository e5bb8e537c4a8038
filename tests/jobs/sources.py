"""A tiny source for job tests: quick, deterministic, and faulty on request."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dsc._schemas import Task, TaskKind
from dsc._sources.base import SourceSample
from dsc.errors import SampleError

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3, valid_range=(0, 255))
DEPTH = Task(
    name="depth",
    kind=TaskKind.DEPTH,
    dtype="uint16",
    unit_m=0.001,
    valid_range=(1, 60000),
    invalid=(0,),
)
LABEL = Task(name="label", kind=TaskKind.LABEL, dtype="uint8", valid_range=(0, 255))


@dataclass(frozen=True)
class PixelSource:
    """Noise of 8 × 12 pixels, the same for the same index; every fifth sample has no label.

    Attributes
    ----------
    n
        Samples.
    seed
        Another seed is another dataset.
    log
        File that gets a line ``pid index`` for every sample read.
    slow_s
        Seconds that reading a sample takes.
    damaged
        Indices that cannot be read.
    misshapen
        Indices whose rgb does not fit its task, so that it cannot be encoded.
    flaky
        Directory; the first read of each index fails with an OSError, and leaves a mark there.
    """

    name: ClassVar[str] = "pixels"

    n: int = 23
    seed: int = 0
    log: Path | None = None
    slow_s: float = 0.0
    damaged: tuple[int, ...] = ()
    misshapen: tuple[int, ...] = ()
    flaky: Path | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (RGB, DEPTH, LABEL)

    def __len__(self) -> int:
        return self.n

    def key(self, index: int) -> str:
        if not 0 <= index < self.n:
            raise IndexError(index)
        return f"view_{index:05d}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        key = self.key(index)
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(f"{os.getpid()} {index}\n")
        if self.slow_s:
            time.sleep(self.slow_s)
        if self.flaky is not None and not (self.flaky / key).exists():
            (self.flaky / key).touch()
            raise ConnectionResetError(f"{key}: the network went away")
        if index in self.damaged:
            raise SampleError(f"sample {key}: /data/{key}.png: truncated PNG")
        arrays = {name: array for name, array in self.arrays(index).items() if name in tasks}
        return SourceSample(key, arrays, {name: array.nbytes for name, array in arrays.items()})

    def arrays(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, index])
        arrays = {
            "rgb": rng.integers(0, 256, (8, 12, 3), np.uint8),
            "depth": rng.integers(0, 4000, (8, 12), np.uint16),
            "label": rng.integers(0, 9, (8, 12), np.uint8),
        }
        if index % 5 == 2:
            del arrays["label"]
        if index in self.misshapen:
            arrays["rgb"] = arrays["rgb"][..., 0]
        return arrays

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "options": {"n": self.n, "seed": self.seed}}


def reads(log: Path) -> list[int]:
    """Return the indices read, in order, of a source with that log."""
    return [int(line.split()[1]) for line in log.read_text().splitlines()] if log.exists() else []
