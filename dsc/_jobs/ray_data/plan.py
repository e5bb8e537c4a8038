"""An archive as a `ray.data` dataset: `read_archive`, and the plan of what is read.

A read task is a run of whole packs, so no pack is read twice. Columns, rows, files and sizes come
from the archive's records, so `count()` reads nothing and `schema()` a pack.
`dsc._jobs.ray_data.datasource` does the reading, in Ray's workers.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self, get_args

import numpy as np

from dsc._pipeline.stream.source import StreamSource
from dsc._schemas import Task, TaskKind, required_streams
from dsc.errors import UsageError

Decode = Literal["pixels", "bytes"]
KEY, INDEX = "__key__", "__index__"


def read_archive(
    url: str | os.PathLike[str],
    tasks: Sequence[str] | str | None = None,
    *,
    split: str | None = None,
    native: bool = False,
    decode: Decode = "pixels",
    parallelism: int = -1,
) -> Any:
    """Read an archive with `ray.data`.

    Parameters
    ----------
    url
        Path or URL of an archive; every machine of the cluster must see it.
    tasks
        Names or aliases, as a sequence or with commas; None for all. Only the streams that they
        require are read, and after `select_columns` only those of what was selected.
    split
        Which split; None when there is only one.
    native
        Give the integers of the source's files instead of metres and unit vectors.
    decode
        ``pixels``: arrays by task; ``bytes``: the bitstreams, by stream.
    parallelism
        Read tasks, at most one a pack; -1 leaves their number to Ray.

    Returns
    -------
    ray.data.Dataset
        One row a sample: ``__key__``; ``__index__``, its index in the archive; then, under the
        tasks' own names, what ``dsc.open(url, tasks)[index]`` gives. Arrays (H, W), (H, W, 3) or
        (N,) are tensor columns, in NumPy batches one array, or an array of arrays where sizes
        differ; classes are integers. What a sample lacks is None: tasks that some sample of the
        archive lacks are columns of Python objects, classes and bitstreams are Arrow columns with
        nulls (of which Ray makes NaN in NumPy batches of classes).

    Raises
    ------
    UsageError
        When ray.data is not installed, or an argument cannot be honoured.
    ArchiveNotFoundError, CorruptArchiveError, UnsupportedVersionError, UnknownTaskError
        When the archive cannot be opened or lacks a task.

    Notes
    -----
    Running the dataset raises CorruptArchiveError or BitstreamError where a sample is damaged;
    they name file and key. With ``DataContext.max_errored_blocks`` Ray goes on without what the
    damaged read task had not yet given; a parallelism of at least the number of packs makes that
    one pack.
    """
    if decode not in get_args(Decode):
        raise UsageError(f"decode={decode!r}: one of {', '.join(get_args(Decode))}")
    if decode == "bytes" and native:
        raise UsageError("native=True goes with decode='pixels', not 'bytes'")
    if parallelism != -1 and parallelism < 1:
        raise UsageError(f"parallelism={parallelism}: at least 1, or -1 to leave it to Ray")
    try:
        import ray.data

        from dsc._jobs.ray_data.datasource import ArchiveDatasource
    except ImportError as error:
        raise UsageError(f"reading with ray.data: {error}; pip install 'dsc[ray-data]'") from None
    plan = ReadPlan.of(StreamSource.open(os.fspath(url), tasks, split), native, decode)
    blocks = None if parallelism == -1 else parallelism
    return ray.data.read_datasource(ArchiveDatasource(plan), override_num_blocks=blocks)


@dataclass(frozen=True)
class ReadPlan:
    """What is read, and how it is cut into read tasks.

    Attributes
    ----------
    source
        The archive, and the tasks and streams of it that are read.
    native, decode
        See `read_archive`.
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

    def runs(self, parallelism: int) -> list[range]:
        """Cut the split into at most `parallelism` runs of packs, as even as can be.

        Returns
        -------
        list of range
            Numbers of packs in ``source.table``; together all of them, each once.
        """
        packs = len(self.source.table.shard)
        count = min(max(parallelism, 1), packs)
        edges = [packs * n // max(count, 1) for n in range(count + 1)]
        return [range(edges[n], edges[n + 1]) for n in range(count)]

    def rows(self, run: range) -> int:
        """Count the samples of a run."""
        return int(self.source.table.counts[run.start : run.stop].sum())

    def files(self, run: range) -> list[str]:
        """Name the tars that a run reads from."""
        archive = self.source.archive
        shards = dict.fromkeys(self.source.table.shard[run.start : run.stop].tolist())
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
        shards = (record for record in source.archive.shards if record.split == source.split)
        return sum(shard.streams[name].payload_bytes for shard in shards for name in source.streams)

    def _array_bytes(self, task: Task) -> int:
        physical = not self.native and task.kind in (TaskKind.DEPTH, TaskKind.NORMAL)
        value = 4 if physical else np.dtype(task.dtype).itemsize
        pixels = self.source.archive.manifest.max_pixels if task.is_map else 1
        return pixels * max(task.channels, 1) * value
