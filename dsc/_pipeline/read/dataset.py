"""Random access to an archive's samples: by index, key, slice or batch, decoded.

Only the streams that the chosen tasks require are read, side by side over a network. The packs that
were used last are kept, so reading in order costs one read a pack; one sample of a remote archive
takes at most two requests a stream once the index of its shard is known. A dataset can be pickled,
forked and shared by threads.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Self, overload

from dsc._pipeline.read.decoded_cache import DecodedCache
from dsc._pipeline.read.decoding import SampleDecoder
from dsc._schemas import (
    Manifest,
    Origin,
    Task,
    required_streams,
    resolve_tasks,
)
from dsc._schemas.sample import Sample
from dsc._schemas.size import parse_bytes
from dsc._storage.cache.pack_cache import PackCache
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc._storage.read.samples import SamplePlace, SampleReader
from dsc.errors import BitstreamError, UnknownTaskError


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
        Return the integers of the source's files instead of metres and unit vectors.
    cache
        Where packs of a remote archive are kept, if anywhere.
    decoded_bytes
        The most that decoded arrays may take that are kept in this process.

    Raises
    ------
    UnknownTaskError
        When the archive lacks a task; the message lists those it has.
    """

    def __init__(
        self,
        archive: Archive,
        tasks: Sequence[str] | str | None = None,
        native: bool = False,
        cache: PackCache | None = None,
        decoded_bytes: int = 0,
    ) -> None:
        found = {task.name: task for task in archive.manifest.tasks}
        try:
            names = resolve_tasks(tasks, list(found))
        except UnknownTaskError as error:
            raise UnknownTaskError(f"{archive.root.url}: {error}") from None
        self.native = native
        self.tasks: tuple[Task, ...] = tuple(found[name] for name in names)
        self._by_name = {task.name: task for task in self.tasks}
        self.streams = required_streams(archive.manifest.streams, names) if names else ()
        self._archive, self._cache = archive, cache
        self._decoded_bytes = decoded_bytes
        self._begin()

    @classmethod
    def open(
        cls,
        url: str | os.PathLike[str],
        tasks: Sequence[str] | str | None = None,
        native: bool = False,
        cache: str | os.PathLike[str] | None = None,
        cache_limit: int | str = "10GB",
        cache_decoded: int | str = 0,
    ) -> Self:
        """Open an archive by path or URL.

        Parameters
        ----------
        url
            A path, ``http(s)://`` or any other fsspec URL.
        tasks
            Names or aliases of the tasks to read, in order (a list, or text with commas); None for
            all.
        native
            Return the integers of the source's files instead of metres and unit vectors.
        cache
            Directory in which packs of a remote archive are kept; None keeps none.
        cache_limit
            The most that the directory may hold: bytes, or text such as ``"10GB"``.
        cache_decoded
            Bytes of memory, or text such as ``"20GB"``, in which decoded arrays are kept, in the
            source's integers: as many samples as fit, none of which leaves again. Threads share it;
            each process that the dataset is handed to has one of its own.

        Raises
        ------
        UsageError
            When the directory cannot be a cache: it is none, or lies in an archive.
        ArchiveNotFoundError
            When there is no archive.
        UnsupportedVersionError, CorruptArchiveError
            When its manifest cannot be read.
        """
        kept = cache and PackCache(cache, parse_bytes(cache_limit, "cache_limit"))
        decoded = parse_bytes(cache_decoded, "cache_decoded")
        return cls(Archive.open(os.fspath(url)), tasks, native, kept or None, decoded)

    def _begin(self) -> None:
        """Start with nothing held: what belongs to a process or thread is not handed on."""
        self._pid = os.getpid()
        self._samples = SampleReader(PackReader(self._archive, self._cache), self.streams)
        decoded = DecodedCache(self._decoded_bytes) if self._decoded_bytes else None
        self._decoder = SampleDecoder(self._archive, self.tasks, native=self.native, cache=decoded)

    def __getstate__(self) -> dict[str, Any]:
        dropped = ("_pid", "_samples", "_decoder")
        return {name: value for name, value in self.__dict__.items() if name not in dropped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _after_fork(self) -> None:
        # a connection, or a lock that another thread held, must not be used in a forked process
        if self._pid != os.getpid():
            self._archive = self._archive.fresh()
            self._begin()

    @property
    def manifest(self) -> Manifest:
        """The archive's manifest."""
        return self._archive.manifest

    def __len__(self) -> int:
        """Return the number of samples, over all splits."""
        return len(self._archive)

    def __repr__(self) -> str:
        names = ", ".join(task.name for task in self.tasks)
        return f"<dsc.Dataset {self._archive.root.url}: {len(self):,} samples of {names}>"

    def keys(self) -> Iterator[str]:
        """Yield the keys of all samples, in order, shard by shard."""
        self._after_fork()
        for shard in range(len(self._archive.shards)):
            yield from self._archive.keys(shard)

    def origin(self, index: int) -> Origin:
        """Say what a sample was called in the source, and its files there; see `Origin`."""
        self._after_fork()
        return self._archive.origin(self._index(index))

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
            yield self._read([index], in_order=True)[0]

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
            was measured; normals float32 (H, W, 3) of unit length; disparity with invalid values
            float32 (H, W) counts, NaN where invalid; everything else in dtype and shape of the
            source. With `native`, all as in the source. None where the sample lacks the task, or
            could not be coded when the archive was made.
        """
        return self._read([self._index(index) for index in indices])

    def payloads(self, indices: Sequence[int]) -> list[dict[str, memoryview | None]]:
        """Read the bitstreams that the tasks require, undecoded."""
        self._after_fork()
        places = [SamplePlace(*self._archive.locate(self._index(index))) for index in indices]
        return self._samples.read(places)

    def _index(self, index: int) -> int:
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"sample {index} of {count} in {self._archive.root.url}")
        return index % count

    def _read(self, indices: Sequence[int], in_order: bool = False) -> list[Sample]:
        self._after_fork()
        wanted = [index for index in indices if not self._decoder.holds(index)]
        places = [SamplePlace(*self._archive.locate(index)) for index in wanted]
        payloads = dict(zip(wanted, self._samples.read(places, in_order), strict=True))
        found = self._decoder.decode(indices, [payloads.get(index) for index in indices])
        for one in found:
            if isinstance(one, BitstreamError):
                raise one
        tasks = self._by_name
        return [
            Sample.of(one.arrays, tasks) for one in found if not isinstance(one, BitstreamError)
        ]
