"""Brings packs to the batches that need them: reads ahead by bytes, keeps what was used last.

Requests are looked at before they are due; what they need is asked for in few merged reads, on
threads, until as many bytes are under way as may be. Packs stay in memory, the least recently used
leaving first. A pack that cannot be read is an error that is kept in its place, so that who wanted
it decides what it means.
"""

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from dsc._storage.cache.lru import LruCache
from dsc._storage.format.pack import Pack
from dsc._storage.read.pack_reader import PackReader, SalvagedPack, salvage
from dsc._stream.source import PackIndex
from dsc.errors import CorruptArchiveError

MAX_AHEAD = 64  # batches looked at before they are due, however little they need
PackKey = tuple[int, int]  # archive of the mixture, number of the pack in its index
ReadPack = Pack | SalvagedPack | CorruptArchiveError
PackOfStreams = Mapping[str, ReadPack]  # one pack by stream


@dataclass(frozen=True)
class Shelf:
    """One archive to supply from: its packs, how they are read, and which streams are wanted."""

    packs: PackIndex
    reader: PackReader
    streams: tuple[str, ...]

    def pack_bytes(self, pack: int) -> int:
        """Return about how many bytes the streams of a pack take."""
        archive, shard = self.reader.archive, int(self.packs.shard[pack])
        record = archive.shards[shard]
        whole = sum(record.streams[name].bytes for name in self.streams)
        return whole // archive.n_packs(shard)


class PackRequest(Protocol):
    """A request that names the packs it needs."""

    @property
    def keys(self) -> Sequence[PackKey]:
        """The packs it needs, each once."""
        ...


R = TypeVar("R", bound=PackRequest)


class Supply:
    """Reads packs ahead of the requests that need them, and keeps those used last.

    Parameters
    ----------
    shelves
        The archives.
    memory_bytes
        How many bytes of packs are kept.
    prefetch_bytes
        How many bytes of packs are read before they are needed; 0 reads when they are needed.
    threads
        Reads at a time; used only when something is read ahead.
    salvages
        Whether the intact payloads of a damaged pack are wanted.
    """

    def __init__(
        self,
        shelves: Sequence[Shelf],
        memory_bytes: int,
        prefetch_bytes: int,
        threads: int,
        salvages: bool = False,
    ) -> None:
        self._shelves, self._salvages = shelves, salvages
        self._prefetch = prefetch_bytes
        self._pool = ThreadPoolExecutor(threads, "dsc-read") if prefetch_bytes else None
        self._kept: LruCache[PackKey, PackOfStreams] = LruCache(memory_bytes)
        self._coming: dict[PackKey, dict[str, tuple[Future[list[ReadPack]], int]]] = {}

    def follow(
        self, requests: Iterator[R]
    ) -> Generator[tuple[R, dict[PackKey, PackOfStreams]], None, None]:
        """Yield each request with the packs that it needs, by key and stream."""
        ahead: deque[tuple[R, int]] = deque()
        ahead_bytes = 0
        try:
            while True:
                if not ahead or 2 * ahead_bytes < self._prefetch:
                    ahead_bytes += self._look_ahead(requests, ahead, ahead_bytes)
                if not ahead:
                    return
                request, cost = ahead.popleft()
                ahead_bytes -= cost
                yield request, {key: self._take(key) for key in request.keys}
        finally:
            self._forget_coming()

    def _look_ahead(
        self, requests: Iterator[R], ahead: deque[tuple[R, int]], ahead_bytes: int
    ) -> int:
        """Queue requests until enough is under way; ask for what they need. Return its bytes."""
        wanted: dict[PackKey, None] = {}
        before = ahead_bytes
        while not ahead or (ahead_bytes < self._prefetch and len(ahead) < MAX_AHEAD):
            request = next(requests, None)
            if request is None:
                break
            new = [
                key
                for key in request.keys
                if key not in self._kept and key not in self._coming and key not in wanted
            ]
            cost = sum(self._shelves[archive].pack_bytes(pack) for archive, pack in new)
            wanted.update(dict.fromkeys(new))
            ahead.append((request, cost))
            ahead_bytes += cost
        self._ask(list(wanted))
        return ahead_bytes - before

    def _ask(self, keys: Sequence[PackKey]) -> None:
        """Read packs, those of one file together: now, or on threads."""
        files: dict[tuple[int, int], list[PackKey]] = {}
        for archive, pack in keys:
            files.setdefault((archive, int(self._shelves[archive].packs.shard[pack])), []).append(
                (archive, pack)
            )
        for (archive, shard), members in files.items():
            shelf = self._shelves[archive]
            numbers = [int(shelf.packs.pack[pack]) for _, pack in members]
            for stream in shelf.streams:
                future = self._submit(shelf.reader, shard, stream, numbers)
                for at, key in enumerate(members):
                    self._coming.setdefault(key, {})[stream] = (future, at)

    def _submit(
        self, reader: PackReader, shard: int, stream: str, packs: list[int]
    ) -> "Future[list[ReadPack]]":
        if self._pool is not None:
            return self._pool.submit(_read, reader, shard, stream, packs, self._salvages)
        future: Future[list[ReadPack]] = Future()
        try:
            future.set_result(_read(reader, shard, stream, packs, self._salvages))
        except BaseException as error:
            future.set_exception(error)
        return future

    def _take(self, key: PackKey) -> PackOfStreams:
        held = self._kept.get(key)
        if held is not None:
            return held
        if key not in self._coming:  # it was dropped since it was asked for
            self._ask([key])
        coming = self._coming.pop(key)
        found = {stream: future.result()[at] for stream, (future, at) in coming.items()}
        self._kept.put(key, found, self._shelves[key[0]].pack_bytes(key[1]))
        return found

    def _forget_coming(self) -> None:
        """Call off what nobody will take; reads that have begun end by themselves."""
        for streams in self._coming.values():
            for future, _ in streams.values():
                future.cancel()
        self._coming.clear()

    def close(self) -> None:
        """End the threads, waiting for reads that have begun (their waits are bounded)."""
        self._forget_coming()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _read(
    reader: PackReader, shard: int, stream: str, packs: Sequence[int], salvages: bool
) -> list[ReadPack]:
    """Read packs of one file; when one is damaged, each by itself, to find which."""
    try:
        return list(reader.read(shard, stream, packs))
    except CorruptArchiveError as error:
        damage = error
    except FileNotFoundError:
        where = reader.archive.root.where(reader.archive.record(shard, stream).path)
        damage = CorruptArchiveError(f"{where}: the archive names this file, but it is not there")
    if len(packs) > 1:
        return [_read(reader, shard, stream, [pack], salvages)[0] for pack in packs]
    if salvages:
        with suppress(CorruptArchiveError, FileNotFoundError):
            return [salvage(reader, shard, stream, packs[0])]
    return [damage]
