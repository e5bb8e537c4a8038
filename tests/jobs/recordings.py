"""Recordings for job tests: frames that move a little, faulty on request."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from dsc._codecs import registry
from dsc._codecs.base import Sample
from dsc._schemas import Quality, SequencePlace, Task
from dsc._schemas.group import GroupHeader, lanes_of, link_all
from dsc._sources.base import SourceSample
from dsc._storage.read.archive import Archive
from dsc.errors import SampleError
from tests.group_codec import TreeCodec
from tests.jobs.sources import DEPTH, LABEL, RGB
from tests.scaled_group_codec import ScaledCodec

WHERE = {
    TreeCodec.id: "tests.group_codec:TreeCodec",
    ScaledCodec.id: "tests.scaled_group_codec:ScaledCodec",
    "tree-of-rounded": f"{__name__}:Rough",
}
TREE = f"rgb={TreeCodec.id},label={TreeCodec.id},depth=png"
SCALED = f"rgb={ScaledCodec.id},label={ScaledCodec.id},depth=png"


@dataclass(frozen=True)
class Recordings:
    """Sequences of frames of 8 × 12 pixels; every fifth sample has no label.

    Attributes
    ----------
    lengths
        Frames of each sequence; samples of no sequence stand behind them.
    alone
        How many these are.
    log
        File that gets a line ``index`` for every sample read.
    damaged, misshapen, resized
        Indices that cannot be read, whose rgb does not fit its task, that have another size.
    """

    name: ClassVar[str] = "recordings"

    lengths: tuple[int, ...] = (21, 1, 18)
    alone: int = 3
    tasks: tuple[Task, ...] = (RGB, DEPTH, LABEL)
    log: Path | None = None
    damaged: tuple[int, ...] = ()
    misshapen: tuple[int, ...] = ()
    resized: tuple[int, ...] = ()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Let a worker know the codecs, too."""
        for codec_id, where in WHERE.items():
            registry.CODECS.setdefault(codec_id, where)
        self.__dict__.update(state)

    def __len__(self) -> int:
        return sum(self.lengths) + self.alone

    def key(self, index: int) -> str:
        return f"frame_{index:05d}"

    def place(self, index: int) -> SequencePlace | None:
        first = 0
        for number, stop in enumerate(accumulate(self.lengths)):
            if index < stop:
                return SequencePlace(f"seq-{number}", 2 * (index - first), 10**9 + index)
            first = stop
        return None

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(f"{index}\n")
        if index in self.damaged:
            raise SampleError(f"sample {self.key(index)}: /data/{index}.png: truncated PNG")
        arrays = {name: array for name, array in self.arrays(index).items() if name in tasks}
        return SourceSample(self.key(index), arrays, {n: a.nbytes for n, a in arrays.items()})

    def arrays(self, index: int) -> dict[str, Any]:
        height, width = (4, 6) if index in self.resized else (8, 12)
        y, x = np.mgrid[:height, :width]
        rgb = np.stack([x * 9 + index, y * 7 + index // 2, x + y + index], axis=2)
        arrays = {
            "rgb": rgb.astype(np.uint8),
            "depth": (1000 + 10 * x + index).astype(np.uint16),
            "label": ((x + index) // 4).astype(np.uint8),
        }
        if index % 5 == 2:
            del arrays["label"]
        if index in self.misshapen:
            arrays["rgb"] = arrays["rgb"][..., 0]
        return {task.name: arrays[task.name] for task in self.tasks if task.name in arrays}

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "options": {"lengths": list(self.lengths), "alone": self.alone}}


@pytest.fixture
def tree_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the codecs known in this process."""
    for codec_id, where in WHERE.items():
        monkeypatch.setitem(registry.CODECS, codec_id, where)


def decoded(root: Path, task: str) -> list[np.ndarray[Any, Any] | None]:
    """Decode a task that is coded in groups, from what lies in each pack."""
    archive = Archive.open(root)
    lanes = lanes_of(archive.manifest.codecs)
    names = [s.name for s in archive.manifest.streams if task in s.carries]
    codec = TreeCodec([known for known in archive.manifest.tasks if known.name == task])
    found: list[np.ndarray[Any, Any] | None] = []
    for shard, record in enumerate(archive.shards):
        for first in range(0, record.samples, archive.manifest.pack_size):
            stop = min(first + archive.manifest.pack_size, record.samples)
            indices = [archive.start(shard) + at for at in range(first, stop)]
            there = [archive.payloads(index, names) for index in indices]
            own = [{n: bytes(p) for n, p in one.items() if p is not None} for one in there]
            arrays = codec.decode_batch(link_all(own, lanes), [task], 1 << 20)
            found += [one.get(task) for one in arrays]
    return found


def headers(root: Path, task: str) -> list[GroupHeader | None]:
    """Return what each sample of an archive says of its group."""
    archive = Archive.open(root)
    names = [s.name for s in archive.manifest.streams if task in s.carries]
    found = []
    for index in range(len(archive)):
        own = [p for p in archive.payloads(index, names).values() if p is not None]
        found.append(GroupHeader.unpack(own[0]) if own else None)
    return found


class Rough(TreeCodec):
    """The same, with values rounded: the lower the quality the more."""

    id: ClassVar[str] = "tree-of-rounded"

    def encode_group(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode rounded frames; those of odd places are rounded more."""
        rough: list[dict[str, Any]] = [dict(sample) for sample in samples]
        for at, sample in enumerate(rough):
            for name, array in sample.items():
                step = 1 + (100 - quality.of(name)) // (8 if at % 2 else 16)
                sample[name] = (array // step * step).astype(array.dtype)
        return super().encode_group(rough, quality)
