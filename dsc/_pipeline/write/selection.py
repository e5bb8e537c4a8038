"""Sources as an append sees them: some samples of a source, or an archive's samples found in one.

Both are sources themselves, so that planning and encoding work on them as on any other. What was
selected is part of what they say of themselves, and so of the plan.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsc._pipeline.read.dataset import Dataset
from dsc._schemas import Manifest, Origin, SourceReport, Task, TaskKind, required_streams
from dsc._sources.base import (
    Source,
    SourceSample,
    lacks_of,
    origin_of,
    report_of,
)
from dsc._storage.read.archive import Archive
from dsc.errors import SampleError, UsageError

ABSENT = -1


class Selected:
    """Some samples of a source, in the source's order, with those tasks that it has.

    Parameters
    ----------
    indices
        Which samples, int64.
    tasks
        The tasks that are asked for; those that the source lacks are missing in every sample.
    """

    name: ClassVar[str] = "selected"

    def __init__(self, source: Source, indices: NDArray[np.int64], tasks: Sequence[str]) -> None:
        self._source, self._indices = source, indices
        there = {task.name for task in source.tasks}
        self._readable = tuple(name for name in tasks if name in there)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that can be read."""
        return tuple(task for task in self._source.tasks if task.name in self._readable)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._indices)

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        return self._source.key(int(self._indices[index]))

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read a sample; see `Source.read`."""
        names = [name for name in tasks if name in self._readable]
        return self._source.read(int(self._indices[index]), names)

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        """List which of these tasks a sample lacks, as far as the source can tell."""
        names = [name for name in tasks if name in self._readable]
        return lacks_of(self._source, int(self._indices[index]), names)

    def origin(self, index: int) -> Origin | None:
        """Say where a sample came from."""
        return origin_of(self._source, int(self._indices[index]))

    def report(self) -> SourceReport:
        """Say what the source found, decided and left out."""
        return report_of(self._source)

    def describe(self) -> dict[str, Any]:
        """Describe the source, and what of it is selected."""
        digest = hashlib.sha256()
        for index in range(len(self)):
            digest.update(self.key(index).encode() + b"\n")
        selected = {"tasks": list(self._readable), "keys_sha256": digest.hexdigest()}
        return {**self._source.describe(), "selected": selected}


class Matched:
    """The samples of an archive, in its order, read from another source by their keys.

    A sample that the source lacks has no task at all. Maps must be as high and wide as those that
    the archive holds of the sample.

    Parameters
    ----------
    archive
        Gives the samples and their order.
    source
        Gives the arrays.
    indices
        For each sample of the archive its index in the source, or `ABSENT`; int64.
    """

    name: ClassVar[str] = "matched"

    def __init__(self, archive: Archive, source: Source, indices: NDArray[np.int64]) -> None:
        self._archive, self._source, self._indices = archive, source, indices
        self._maps = {task.name for task in source.tasks if task.is_map}
        self._judge = _judge(archive)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the source."""
        return self._source.tasks

    def __len__(self) -> int:
        """Return the number of samples of the archive."""
        return len(self._indices)

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        return self._archive.key(index)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read a sample; see `Source.read`.

        Raises
        ------
        SampleError
            When a map differs in size from what the archive holds.
        """
        found = int(self._indices[index])
        if found == ABSENT:
            return SourceSample(self.key(index), {}, {})
        sample = self._source.read(found, tasks)
        self._check_size(index, sample)
        return sample

    def _check_size(self, index: int, sample: SourceSample) -> None:
        name = next((name for name in sample.arrays if name in self._maps), None)
        if name is None or self._judge is None:
            return
        there = self._judge[index][self._judge.tasks[0].name]
        size = sample.arrays[name].shape[:2]
        if there is not None and there.shape[:2] != size:
            high, wide = there.shape[:2]
            raise SampleError(
                f"sample {sample.key}: task {name} is {size[0]} × {size[1]} pixels, the archive's "
                f"{self._judge.tasks[0].name} {high} × {wide}; tasks of a sample have one size: "
                "resample the source"
            )

    def report(self) -> SourceReport:
        """Say what the source found, decided and left out."""
        return report_of(self._source)

    def describe(self) -> dict[str, Any]:
        """Describe the source, and which of its samples are those of the archive."""
        matched = {"indices_sha256": hashlib.sha256(self._indices.tobytes()).hexdigest()}
        return {**self._source.describe(), "matched": matched}


def select_new(archive: Archive, source: Source) -> NDArray[np.int64]:
    """Find the samples of a source whose keys an archive lacks; their indices in the source.

    Raises
    ------
    UsageError
        When two samples of the source have one key.
    """
    there = set(_keys(archive))
    indices = _by_key(source)
    return np.fromiter((at for key, at in indices.items() if key not in there), np.int64)


def match(archive: Archive, source: Source) -> NDArray[np.int64]:
    """Find the samples of an archive in a source, by key: indices in the source, or `ABSENT`.

    Raises
    ------
    UsageError
        When two samples of the source have one key.
    """
    indices = _by_key(source)
    found = (indices.get(key, ABSENT) for key in _keys(archive))
    return np.fromiter(found, np.int64, count=len(archive))


def _by_key(source: Source) -> dict[str, int]:
    indices: dict[str, int] = {}
    for index in range(len(source)):
        key = source.key(index)
        if indices.setdefault(key, index) != index:
            raise UsageError(
                f"source {source.name}: samples {indices[key]} and {index} both have the key "
                f"{key!r}; samples are told apart by their keys, so rename one"
            )
    return indices


def _keys(archive: Archive) -> Iterator[str]:
    for shard in range(len(archive.shards)):
        yield from archive.keys(shard)


def _judge(archive: Archive) -> Dataset | None:
    """Open the map of an archive that is quickest to decode, to compare sizes with."""
    maps = [task for task in archive.manifest.tasks if task.is_map]
    if not maps:
        return None
    # label maps have few bytes and take the longest
    cheapest = min(maps, key=lambda t: (t.kind is TaskKind.LABEL, _bytes(archive.manifest, t)))
    return Dataset(archive, [cheapest.name], native=True)


def _bytes(manifest: Manifest, task: Task) -> int:
    needed = required_streams(manifest.streams, [task.name])
    return sum(manifest.totals[name].payload_bytes for name in needed)
