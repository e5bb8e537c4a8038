"""Random access to an archive's samples: by index, key, slice or batch, decoded.

Only the streams that the chosen tasks require are read. The last pack of every stream is kept, so
reading in order costs one read a pack. A dataset can be pickled, forked and shared by threads.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self, overload

from dsc.codecs.base import Array
from dsc.errors import BitstreamError, CorruptPackError, UnknownTaskError
from dsc.pipeline.codec_set import CodecSet
from dsc.schemas import Manifest, Task, required_streams, resolve_task, resolve_tasks
from dsc.storage.archive import Archive
from dsc.storage.fs import Root
from dsc.storage.pack import Pack


class Sample(dict[str, Array | None]):
    """The arrays of one sample by task, None where it lacks the task; aliases are understood.

    ``sample["depth"]`` finds ``depth_zbuffer``. A task that was not asked for is a KeyError.
    """

    def __missing__(self, name: str) -> Array | None:
        return self[resolve_task(name, list(self))]


class Place(NamedTuple):
    """Where a sample lies: shard of the archive, pack of the shard, sample of the pack."""

    shard: int
    pack: int
    k: int


class Dataset:
    """The samples of an archive.

    Parameters
    ----------
    archive
        The archive.
    tasks
        Names or aliases of the tasks to read, in order (a list, or text with commas); None for
        all.
    native
        Give the integers of the source's files instead of metres and unit vectors.

    Raises
    ------
    UnknownTaskError
        When the archive lacks a task; the message lists those it has.
    """

    def __init__(
        self, archive: Archive, tasks: Sequence[str] | str | None = None, native: bool = False
    ) -> None:
        found = {task.name: task for task in archive.manifest.tasks}
        try:
            names = resolve_tasks(tasks, list(found))
        except UnknownTaskError as error:
            raise UnknownTaskError(f"{archive.root.url}: {error}") from None
        self.native = native
        self.tasks: tuple[Task, ...] = tuple(found[name] for name in names)
        self.streams = required_streams(archive.manifest.streams, names) if names else ()
        self._archive = archive
        self._begin()

    @classmethod
    def open(
        cls,
        url: str | os.PathLike[str],
        tasks: Sequence[str] | str | None = None,
        native: bool = False,
    ) -> Self:
        """Open an archive by path or URL; see the class.

        Raises
        ------
        ArchiveNotFoundError
            When there is no archive.
        UnsupportedVersionError, CorruptArchiveError
            When its manifest cannot be read.
        """
        return cls(Archive.open(os.fspath(url)), tasks, native)

    def _begin(self) -> None:
        """Start with nothing held: what belongs to a process or thread is not handed on."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._last: dict[str, tuple[int, int, Pack]] = {}
        self._codecs = CodecSet.from_archive(self._archive)

    def __getstate__(self) -> dict[str, Any]:
        dropped = ("_pid", "_lock", "_last", "_codecs")
        return {name: value for name, value in self.__dict__.items() if name not in dropped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _after_fork(self) -> None:
        # a connection, or a lock that another thread held, must not be used in a forked process
        if self._pid != os.getpid():
            old = self._archive
            self._archive = Archive(Root(old.root.url), old.manifest, old.shards)
            self._begin()

    @property
    def manifest(self) -> Manifest:
        """The archive's manifest."""
        return self._archive.manifest

    def __len__(self) -> int:
        """Give the number of samples, over all splits."""
        return len(self._archive)

    def keys(self) -> Iterator[str]:
        """Give the keys of all samples, in order, shard by shard."""
        self._after_fork()
        for shard in range(len(self._archive.shards)):
            yield from self._archive.keys(shard)

    @overload
    def __getitem__(self, item: int | str) -> Sample: ...
    @overload
    def __getitem__(self, item: slice) -> list[Sample]: ...
    def __getitem__(self, item: int | str | slice) -> Sample | list[Sample]:
        """Read one sample by index or key, or several by a slice.

        Raises
        ------
        IndexError, KeyError
            When there is no such sample.
        CorruptArchiveError, BitstreamError
            When it is damaged; the message names file, pack and key.
        """
        if isinstance(item, slice):
            return self.batch(range(*item.indices(len(self))))
        if isinstance(item, str):
            self._after_fork()
            item = self._archive.index_of(item)
        return self.batch([item])[0]

    def __iter__(self) -> Iterator[Sample]:
        """Read all samples in order."""
        for index in range(len(self)):
            yield self[index]

    def batch(self, indices: Sequence[int]) -> list[Sample]:
        """Read and decode several samples together.

        Parameters
        ----------
        indices
            Any indices, in any order; negative ones count from the end.

        Returns
        -------
        list of Sample
            For each index the arrays by task: depth in metres, float32 (H, W), NaN where nothing
            was measured; normals float32 (H, W, 3) of unit length; everything else as in the
            source. With `native`, all as in the source. None where the sample lacks the task.
        """
        self._after_fork()
        places = [self._place(index) for index in indices]
        decoded = self._decode(places, self._payloads(places))
        return [self._finish(arrays) for arrays in decoded]

    def payloads(self, indices: Sequence[int]) -> list[dict[str, memoryview | None]]:
        """Read the bitstreams that the tasks require, undecoded."""
        self._after_fork()
        return self._payloads([self._place(index) for index in indices])

    def _place(self, index: int) -> Place:
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"sample {index} of {count} in {self._archive.root.url}")
        return Place(*self._archive.locate(index % count))

    def _key(self, place: Place) -> str:
        return self._archive.keys(place.shard)[place.pack * self.manifest.pack_size + place.k]

    def _payloads(self, places: Sequence[Place]) -> list[dict[str, memoryview | None]]:
        """Read in the order in which things lie, so that each pack is read once."""
        found: list[dict[str, memoryview | None]] = [{} for _ in places]
        by_pack: dict[tuple[int, int], list[int]] = defaultdict(list)
        for at, place in enumerate(places):
            by_pack[place.shard, place.pack].append(at)
        for (shard, pack), members in sorted(by_pack.items()):
            for stream in self.streams:
                try:
                    payloads = self._pack(shard, stream, pack).payloads
                except CorruptPackError as error:
                    key = self._key(places[members[0]])
                    raise CorruptPackError(f"{error}; it holds sample {key}") from error
                for at in members:
                    found[at][stream] = payloads[places[at].k]
        return found

    def _pack(self, shard: int, stream: str, pack: int) -> Pack:
        with self._lock:
            held = self._last.get(stream)
        if held is not None and held[:2] == (shard, pack):
            return held[2]
        read = self._archive.read_pack(shard, stream, pack)
        with self._lock:
            self._last[stream] = (shard, pack, read)
        return read

    def _decode(
        self, places: Sequence[Place], payloads: Sequence[Mapping[str, memoryview | None]]
    ) -> list[dict[str, Array]]:
        given = [
            {name: bytes(data) for name, data in sample.items() if data is not None}
            for sample in payloads
        ]
        names = [task.name for task in self.tasks]
        max_pixels = self.manifest.max_pixels
        try:
            return self._codecs.decode_batch(given, names, max_pixels)
        except BitstreamError:
            for place, sample in zip(places, given, strict=True):
                self._find_damage(place, sample, names, max_pixels)
            raise

    def _find_damage(
        self, place: Place, sample: Mapping[str, bytes], names: Sequence[str], max_pixels: int
    ) -> None:
        """Decode task by task, to name the file, pack and key that is damaged."""
        for name in names:
            try:
                self._codecs.decode_batch([sample], [name], max_pixels)
            except BitstreamError as error:
                record = self._archive.shards[place.shard].streams
                needed = required_streams(self.manifest.streams, [name])
                paths = ", ".join(self._archive.root.where(record[s].path) for s in needed)
                raise BitstreamError(
                    f"{paths}: pack {place.pack}, sample {self._key(place)}: "
                    f"task {name} cannot be decoded: {error}"
                ) from error

    def _finish(self, arrays: Mapping[str, Array]) -> Sample:
        sample = Sample()
        for task in self.tasks:
            array = arrays.get(task.name)
            if array is not None and not self.native:
                array = task.to_physical(array)
            sample[task.name] = array
        return sample
