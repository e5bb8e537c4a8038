"""Reads packs by few requests: neighbours together, streams side by side, again what came damaged.

What is given back has been checked. Over a network, packs go through a cache where there is one,
and a pack whose checksum is wrong is fetched again before it is called damaged; a file of another
size than recorded is an error at once. A reader can be pickled, forked and shared by threads; its
counts belong to one process.

The table of a pack says by itself which samples it holds and where they lie. All that stands before
the payloads is known beforehand but for the table, so one comparison checks header and table. Of a
damaged pack it tells the intact payloads from the others, so that one that is damaged costs one
sample.
"""

import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dsc._storage.cache.pack_cache import PackCache, pack_name
from dsc._storage.files.counts import ReadCounts
from dsc._storage.files.http import check_size
from dsc._storage.files.ranges import MergedRange, merge_ranges
from dsc._storage.files.retry import call_again
from dsc._storage.files.root import CONNECTIONS
from dsc._storage.format.pack import HEADER, MAGIC, MISSING, VERSION, Pack
from dsc._storage.format.tar import BLOCK, check_head
from dsc._storage.read.archive import Archive
from dsc.errors import LIST_DAMAGE, CorruptPackError, TaskMismatchError

MAX_GAP = 64 << 10  # bytes that cost about as much as one more request
MAX_REQUEST = 4 << 20
REFETCHES = 2

A = TypeVar("A")
B = TypeVar("B")


class PackId(NamedTuple):
    """One pack: shard of the archive, stream, number in the shard."""

    shard: int
    stream: str
    pack: int


@dataclass(frozen=True)
class PackTable:
    """Where the bitstreams of a pack lie.

    Attributes
    ----------
    starts, ends
        In bytes of the tar, (n,) int64.
    crcs
        CRC-32 of each, (n,) uint32.
    missing
        Which samples do not have this stream, (n,) bool.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    crcs: NDArray[np.uint32]
    missing: NDArray[np.bool_]


@dataclass(frozen=True)
class SalvagedPack:
    """A pack of which not all payloads are intact.

    Attributes
    ----------
    payloads
        One a sample: its bitstream, None where it does not have this stream, or what is wrong.
    """

    payloads: tuple[memoryview | CorruptPackError | None, ...]


class PackReader:
    """Reads the packs of one archive.

    Parameters
    ----------
    archive
        The archive.
    cache
        Where packs of a remote archive are kept; a local archive needs none and uses none.
    max_gap
        Bytes that may be read for nothing to save a request. 0 for who reads everything in the
        end, and would read them twice.
    """

    def __init__(
        self, archive: Archive, cache: PackCache | None = None, max_gap: int = MAX_GAP
    ) -> None:
        self._archive, self._max_gap = archive, max_gap
        self.cache = cache if archive.root.local is None else None
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._indexing: dict[tuple[int, str], threading.Lock] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_archive": self._archive, "cache": self.cache, "_max_gap": self._max_gap}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    @property
    def archive(self) -> Archive:
        """The archive; in a forked process with connections of its own."""
        if self._pid != os.getpid():
            self._archive = self._archive.fresh()
            self._begin()
        return self._archive

    @property
    def counts(self) -> ReadCounts:
        """What reading this archive took, in this process."""
        return self.archive.root.counts

    def take_counts(self) -> dict[str, int]:
        """Return what was counted since this was last asked."""
        return self.counts.take()

    def read(self, shard: int, stream: str, packs: Sequence[int]) -> list[Pack]:
        """Read packs of one stream of a shard, in any order.

        Raises
        ------
        CorruptPackError, TaskMismatchError
            When one is damaged, or not what must stand there.
        CorruptArchiveError
            When the file is not the one that the archive's records describe.
        OSError
            When the network fails again and again.
        """
        found = self.read_many([PackId(shard, stream, pack) for pack in packs])
        return [found[shard, stream, pack] for pack in packs]

    def read_many(self, wanted: Iterable[PackId]) -> dict[tuple[int, str, int], Pack]:
        """Read packs of any shards and streams; raises like `read`."""
        ids = list(dict.fromkeys(PackId(*one) for one in wanted))
        if self.cache is None:
            return {one: pack for one, (_, pack) in self._fetch(ids).items()}
        archive, found = self.archive, {}
        names = {self._name(one): one for one in ids}

        def check(name: str, member: bytes) -> None:
            found[names[name]] = archive.unwrap(memoryview(member), *names[name])

        def fetch(missing: Sequence[str]) -> Mapping[str, bytes]:
            fetched = self._fetch([names[name] for name in missing])
            found.update({one: pack for one, (_, pack) in fetched.items()})
            return {self._name(one): member for one, (member, _) in fetched.items()}

        self.read_indexes(ids)
        self.cache.get_many(list(names), fetch, check, self.counts)
        return {one: found[one] for one in ids}

    def read_range(self, shard: int, stream: str, start: int, end: int) -> bytes:
        """Read bytes of one tar, unchecked but for the size of the file."""
        record = self.archive.record(shard, stream)
        return self.archive.root.read(record.path, start, end, record.bytes)

    def table(self, shard: int, stream: str, pack: int) -> PackTable:
        """Read the table of a pack by itself; raises like `read`."""
        self._offsets((shard, stream))
        limits = table_range(self.archive, shard, stream, pack)

        def read_table() -> PackTable:
            data = self.read_range(shard, stream, *limits)
            return decode_table(data, self.archive, shard, stream, pack)

        try:
            return self._until_intact(read_table)
        except CorruptPackError:
            self.read(shard, stream, [pack])  # it says what is wrong
            return read_table()

    def missing(self, shard: int, stream: str, pack: int) -> NDArray[np.bool_]:
        """Tell which samples of a pack lack its stream, (n,); only the table is read."""
        return self.table(shard, stream, pack).missing

    def each(self, call: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """Call a function that reads, for all items: side by side where that saves waiting."""
        if self.archive.root.local is not None or len(items) < 2:
            return [call(item) for item in items]
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(CONNECTIONS, "dsc-packs")
            pool = self._pool
        self.archive.root.connect()  # once, not once a thread
        return list(pool.map(call, items))

    def _name(self, one: PackId) -> str:
        return pack_name(self.archive.record(one.shard, one.stream).sha256, one.pack)

    def read_indexes(self, ids: Sequence[PackId]) -> dict[tuple[int, str], list[int]]:
        """Group packs by file, (shard, stream); the index of each file is read, if it was not."""
        files: dict[tuple[int, str], list[int]] = {}
        for one in ids:
            files.setdefault((one.shard, one.stream), []).append(one.pack)
        self.each(self._offsets, list(files))
        return files

    def _offsets(self, file: tuple[int, str]) -> None:
        """Read the index of a file, once, whatever the number of threads that want it."""
        archive = self.archive
        with self._lock:
            reading = self._indexing.setdefault(file, threading.Lock())
        with reading:
            archive.offsets(*file)

    def _fetch(self, ids: Sequence[PackId]) -> dict[PackId, tuple[bytes, Pack]]:
        """Read tar members and what is in them."""
        if self.archive.root.local is not None:
            return self._fetch_local(ids)
        jobs = []
        for (shard, stream), packs in self.read_indexes(ids).items():
            spans = [self.archive.extent(shard, stream, pack) for pack in packs]
            for merged in merge_ranges(spans, self._max_gap, MAX_REQUEST):
                members = [(packs[at], *spans[at]) for at in merged.members]
                jobs.append((shard, stream, merged, members))
        found: dict[PackId, tuple[bytes, Pack]] = {}
        for part in self.each(lambda job: self._fetch_merged(*job), jobs):
            found.update(part)
        return found

    def _fetch_local(self, ids: Sequence[PackId]) -> dict[PackId, tuple[bytes, Pack]]:
        """Read members one by one: a merged read would save no waiting and cost a copy."""
        found = {}
        for (shard, stream), packs in self.read_indexes(ids).items():
            record = self.archive.record(shard, stream)
            spans = [self.archive.extent(shard, stream, pack) for pack in packs]
            members = self.archive.root.read_many(record.path, spans, record.bytes)
            for pack, member in zip(packs, members, strict=True):
                one = PackId(shard, stream, pack)
                found[one] = self._unwrap(one, member)
        return found

    def _fetch_merged(
        self, shard: int, stream: str, merged: MergedRange, members: Sequence[tuple[int, int, int]]
    ) -> dict[PackId, tuple[bytes, Pack]]:
        block = self.read_range(shard, stream, merged.start, merged.end)
        found = {}
        for pack, start, end in members:
            # a copy where there are several: a pack that is kept must not keep its neighbours
            member = block[start - merged.start : end - merged.start]
            one = PackId(shard, stream, pack)
            found[one] = self._unwrap(one, member)
        return found

    def _unwrap(self, one: PackId, member: bytes) -> tuple[bytes, Pack]:
        """Check a member; over a network, fetch a damaged one again."""
        members = chain([member], self._read_again(one))

        def check_next() -> tuple[bytes, Pack]:
            found = next(members)
            return found, self.archive.unwrap(memoryview(found), *one)

        try:
            return self._until_intact(check_next)
        except (CorruptPackError, TaskMismatchError):
            if self.archive.root.local is None:
                self._check_file(one)
            raise

    def _read_again(self, one: PackId) -> Iterator[bytes]:
        while True:
            self.archive.forget_offsets(one.shard, one.stream)
            yield self.read_range(one.shard, one.stream, *self.archive.extent(*one))

    def _until_intact(self, read: Callable[[], B]) -> B:
        """Read what has a checksum; over a network, again where it came damaged."""
        if self.archive.root.local is not None:
            return read()
        return call_again(
            read,
            lambda error: isinstance(error, CorruptPackError | TaskMismatchError),
            REFETCHES + 1,
            lambda: self.counts.add("refetched_damaged"),
        )

    def _check_file(self, one: PackId) -> None:
        """Say so when it is another file, where reading a range of it did not tell."""
        root, record = self.archive.root, self.archive.record(one.shard, one.stream)
        with suppress(OSError):
            check_size(root.where(record.path), root.size(record.path), record.bytes)


def salvage(reader: PackReader, shard: int, stream: str, pack: int) -> SalvagedPack:
    """Read the payloads of a pack one by one.

    Raises
    ------
    CorruptPackError
        When its header or table is damaged, so that nothing can be told apart.
    """
    table = reader.table(shard, stream, pack)
    record = reader.archive.record(shard, stream)
    where = f"{reader.archive.root.where(record.path)}: pack {pack}"
    first = int(table.starts[0])
    block = memoryview(reader.read_range(shard, stream, first, int(table.ends[-1])))
    found: list[memoryview | CorruptPackError | None] = []
    for k in range(len(table.crcs)):
        payload = block[int(table.starts[k]) - first : int(table.ends[k]) - first]
        got, expected = zlib.crc32(payload), int(table.crcs[k])
        if table.missing[k]:
            found.append(None)
        elif got == expected:
            found.append(payload)
        else:
            found.append(
                CorruptPackError(
                    f"{where}, place {k}: crc {got:08x}, expected {expected:08x}; {LIST_DAMAGE}"
                )
            )
    return SalvagedPack(tuple(found))


def table_range(archive: Archive, shard: int, stream: str, pack: int) -> tuple[int, int]:
    """Return which bytes of the tar hold the headers and the table of a pack."""
    start, end = archive.extent(shard, stream, pack)
    _, count = archive.span(shard, pack)
    return start, min(end, start + BLOCK + HEADER.size + 8 * count)


def decode_table(data: bytes, archive: Archive, shard: int, stream: str, pack: int) -> PackTable:
    """Read and check the bytes that `table_range` names.

    Raises
    ------
    CorruptPackError
        When they are not what must stand there; the whole pack says more.
    """
    where = f"{archive.root.where(archive.record(shard, stream).path)}: pack {pack}"
    start, end = archive.extent(shard, stream, pack)
    first, count = archive.span(shard, pack)
    name, length = check_head(data[:BLOCK], end - start, where)
    header, table = data[BLOCK : BLOCK + HEADER.size], data[BLOCK + HEADER.size :]
    crc = zlib.crc32(table, zlib.crc32(header[:24]))
    expected = HEADER.pack(MAGIC, VERSION, 0, count, archive.slot(stream), first, crc, 0)
    if header != expected or len(table) != 8 * count or not name.endswith(f".{stream}.pack"):
        raise CorruptPackError(f"{where}: damaged header or table; {LIST_DAMAGE}")
    lengths, crcs = np.frombuffer(table, "<u4").reshape(count, 2).T
    missing = lengths == MISSING
    payloads = start + BLOCK + HEADER.size + 8 * count
    ends = payloads + np.cumsum(np.where(missing, 0, lengths), dtype=np.int64)
    if ends[-1] != start + BLOCK + length:
        raise CorruptPackError(f"{where}: the table does not fit the pack; {LIST_DAMAGE}")
    return PackTable(np.concatenate([[payloads], ends[:-1]]), ends, crcs.copy(), missing)
