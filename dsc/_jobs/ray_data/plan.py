"""What is read of an archive by `ray.data`, and how it is cut into read tasks.

A read task is a run of whole packs, so no pack is read twice. Columns, rows, files and sizes come
from the archive's records, so `count()` reads nothing and `schema()` a pack.
`dsc._jobs.ray_data.datasource` does the reading, in Ray's workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np

from dsc._schemas import LOSSY_NUMBERS, Task, TaskKind, required_streams
from dsc._stream.source import StreamSource

Decode = Literal["pixels", "features", "bytes"]
KEY, INDEX = "__key__", "__index__"


@dataclass(frozen=True)
class ReadPlan:
    """What is read, and how it is cut into read tasks.

    Attributes
    ----------
    source
        The archive, and the tasks and streams of it that are read.
    native, decode
        See `dsc.ray_data.read_archive`.
    columns
        Names of the columns, in order.
    """

    source: StreamSource
    native: bool
    decode: Decode
    columns: tuple[str, ...]

    @classmethod
    def of(cls, source: StreamSource, native: bool, decode: Decode) -> Self:
        """Plan to read all columns of a source."""
        tasks = [task.name for task in source.tasks]
        names = source.streams if decode == "bytes" else tasks
        return cls(source, native, decode, (KEY, INDEX, *names))

    def only(self, columns: Sequence[str]) -> Self:
        """Plan to read these columns, and nothing that only the others need."""
        source = self.source
        if self.decode == "bytes":
            source = replace(source, streams=tuple(s for s in source.streams if s in columns))
        else:
            tasks = tuple(task for task in source.tasks if task.name in columns)
            graph = source.archive.manifest.streams
            streams = required_streams(graph, [task.name for task in tasks])
            source = replace(source, tasks=tasks, streams=streams)
        return replace(self, source=source, columns=tuple(columns))

    def is_feature(self, task: Task) -> bool:
        """Tell whether a task's values are made float32, as heads take them."""
        return self.decode == "features" and task.kind in LOSSY_NUMBERS

    def runs(self, parallelism: int) -> list[range]:
        """Cut the split into at most `parallelism` runs of packs, as even as can be.

        Returns
        -------
        list of range
            Numbers of packs in ``source.packs``; together all of them, each once.
        """
        packs = len(self.source.packs.shard)
        count = min(max(parallelism, 1), packs)
        edges = [packs * n // max(count, 1) for n in range(count + 1)]
        return [range(edges[n], edges[n + 1]) for n in range(count)]

    def rows(self, run: range) -> int:
        """Count the samples of a run."""
        return int(self.source.packs.counts[run.start : run.stop].sum())

    def files(self, run: range) -> list[str]:
        """Name the tars that a run reads from."""
        archive = self.source.archive
        shards = dict.fromkeys(self.source.packs.shard[run.start : run.stop].tolist())
        return [
            archive.root.where(archive.shards[shard].streams[name].path)
            for shard in shards
            for name in self.source.streams
        ]

    @cached_property
    def row_bytes(self) -> int:
        """Size of a row in memory: the mean for bitstreams, the largest for arrays."""
        overhead = 64  # key and index
        if self.decode == "bytes":
            return overhead + self._payload_bytes() // max(self.source.samples, 1)
        return overhead + sum(self._array_bytes(task) for task in self.source.tasks)

    def _payload_bytes(self) -> int:
        source = self.source
        shards = (record for record in source.archive.shards if record.split in source.splits)
        return sum(shard.streams[name].payload_bytes for shard in shards for name in source.streams)

    def _array_bytes(self, task: Task) -> int:
        physical = not self.native and task.kind in (TaskKind.DEPTH, TaskKind.NORMAL)
        is_float32 = physical or self.is_feature(task)
        value = 4 if is_float32 else np.dtype(task.dtype).itemsize
        return task.most_values(self.source.archive.manifest.max_pixels) * value
