"""Archives that grow, for tests: what is compressed first, and what is added."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsc._jobs.archive.append import AppendReport, append
from dsc._jobs.archive.compress import compress
from dsc._schemas import Task
from tests.jobs.sources import PixelSource

CODECS = {"rgb": "png", "depth": "png", "label": "jxl"}  # a slot each, in both orders of making
SIZES: dict[str, Any] = {"shard_size": 4, "pack": 2}


@dataclass(frozen=True)
class FewTasks(PixelSource):
    """A `PixelSource` that has only some of its tasks."""

    only: tuple[str, ...] = ("rgb",)

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(task for task in super().tasks if task.name in self.only)


@dataclass(frozen=True)
class Later(PixelSource):
    """A `PixelSource` without its first samples."""

    first: int = 0

    def __len__(self) -> int:
        return self.n - self.first

    def key(self, index: int) -> str:
        return super().key(index + self.first)

    def read(self, index: int, tasks: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        sample = super().read(index, tasks)
        arrays = {
            n: a for n, a in PixelSource.arrays(self, index + self.first).items() if n in tasks
        }
        return type(sample)(self.key(index), arrays, {n: a.nbytes for n, a in arrays.items()})


def begin(out: Path | str, n: int = 10, tasks: str = "rgb,depth", **more: Any) -> None:
    """Compress the first `n` samples: two full shards and a partial one, unless told."""
    chosen = ",".join(f"{name}={CODECS[name]}" for name in tasks.split(","))
    compress(PixelSource(n=n), out, tasks=tasks, **({"codec": chosen} | SIZES | more))


def add_samples(out: Path | str, n: int = 23, **more: Any) -> AppendReport:
    """Return the archive the dataset as it has grown to `n` samples."""
    return append(out, more.pop("source", PixelSource(n=n)), **more)


def add_label(out: Path | str, n: int = 8, **more: Any) -> AppendReport:
    """Return the archive the labels of `n` samples."""
    source = more.pop("source", PixelSource(n=n))
    return append(out, source, **({"tasks": "label", "codec": "jxl"} | more))
