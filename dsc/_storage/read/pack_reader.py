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
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dsc._schemas.stream import Compressed
from dsc._storage.cache.lru import LruCache
from dsc._storage.cache.pack_cache import PackCache, pack_name
from dsc._storage.files.counts import ReadCounts
from dsc._storage.files.http import check_size
from dsc._storage.files.ranges import MergedRange, merge_ranges
from dsc._storage.files.retry import call_again
from dsc._storage.files.root import CONNECTIONS
from dsc._storage.format.pack import (
    COMPRESSED,
    EACH,
    HEADER,
    MAGIC,
    MISSING,
    TABLE_ROW,
    VERSION,
    Pack,
    check_growth,
    inflate,
)
from dsc._storage.format.tar import BLOCK, check_head
from dsc._storage.read.archive import Archive
from dsc.errors import LIST_DAMAGE, CorruptPackError, TaskMismatchError

if TYPE_CHECKING:
    from dsc._storage.format.block import Joined

MAX_GAP = 64 << 10  # bytes that cost about as much as one more request
MAX_REQUEST = 4 << 20
REFETCHES = 2
KEPT_MEMBERS = 128 << 20  # decompressed, of members that hold several packs; a shuffle is in many

A = TypeVar("A")
B = TypeVar("B")
Unwrap = Callable[[memoryview, int, str, int], B]  # checks a member: its shard, stream, number


class PackId(NamedTuple):
    """One pack: shard of the archive, stream, number in the shard."""

    shard: int
    stream: str
    pack: int


class MemberId(NamedTuple):
    """One member of a tar: a pack, or of a stream of larger packs several."""

    shard: int
    stream: str
    member: int


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
    sizes
        Bytes of each before it was compressed by itself, (n,) int64; None where none was.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    crcs: NDArray[np.uint32]
    missing: NDArray[np.bool_]
    sizes: NDArray[np.int64] | None = None

    def given(self, k: int, payload: memoryview, where: str) -> memoryview:
        """Return sample `k`'s payload, which is intact, decompressed."""
        return payload if self.sizes is None else inflate(payload, int(self.sizes[k]), where)


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
        self._members: LruCache[MemberId, Joined] = LruCache(KEPT_MEMBERS)
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
        own = {MemberId(*one): one for one in ids if not self._is_shared(one.stream)}
        found: dict[tuple[int, str, int], Pack] = {
            own[member]: pack for member, pack in self._read_as(self.archive.unwrap, [*own]).items()
        }
        shared = {one: self._member_of(one) for one in ids if self._is_shared(one.stream)}
        if shared:
            members = self._read_members(shared.values())
            found |= {one: self._cut(members[member], one) for one, member in shared.items()}
        return found

    def _member_of(self, one: PackId) -> MemberId:
        return MemberId(one.shard, one.stream, self._archive.member_of(one.stream, one.pack))

    def _read_members(self, wanted: Iterable[MemberId]) -> "dict[MemberId, Joined]":
        """Read members that hold several packs; those that were used last stay at hand."""
        found: dict[MemberId, Joined] = {}
        ids = []
        for one in dict.fromkeys(wanted):
            kept = self._members.get(one)
            if kept is None:
                ids.append(one)
            else:
                found[one] = kept
        for one, joined in self._read_as(self.archive.unwrap_joined, ids).items():
            found[one] = joined
            size = joined.data.nbytes + joined.starts.nbytes + joined.lengths.nbytes
            self._members.put(one, joined, size)
        return found

    def _cut(self, member: "Joined", one: PackId) -> Pack:
        """Cut a pack out of the member that holds it, and nothing else out of that."""
        archive = self._archive
        first, count = archive.span(one.shard, one.pack)
        number = archive.member_of(one.stream, one.pack)
        start = first - archive.member_span(one.shard, one.stream, number)[0]
        payloads = member.payloads(start, start + count)
        return Pack(first, archive.slot(one.stream) or 0, payloads)

    def read_joined(self, shard: int, stream: str) -> "list[Joined]":
        """Read all payloads of a stream of a shard, by member, not cut out. Raises like `read`."""
        members = range(self.archive.n_members(shard, stream))
        ids = [MemberId(shard, stream, member) for member in members]
        found = self._read_as(self.archive.unwrap_joined, ids)
        return [found[one] for one in ids]

    def _is_shared(self, stream: str) -> bool:
        """Tell whether a member of a stream's tars holds several packs."""
        return self._archive.pack_size(stream) != self._archive.manifest.pack_size

    def _read_as(self, unwrap: "Unwrap[B]", ids: Sequence[MemberId]) -> dict[MemberId, B]:
        if self.cache is None:
            return {one: pack for one, (_, pack) in self._fetch(unwrap, ids).items()}
        found = dict[MemberId, B]()
        names = {self._name(one): one for one in ids}

        def check(name: str, member: bytes) -> None:
            found[names[name]] = unwrap(memoryview(member), *names[name])

        def fetch(missing: Sequence[str]) -> Mapping[str, bytes]:
            fetched = self._fetch(unwrap, [names[name] for name in missing])
            found.update({one: pack for one, (_, pack) in fetched.items()})
            return {self._name(one): member for one, (member, _) in fetched.items()}

        self._read_offsets(ids)
        self.cache.get_many(list(names), fetch, check, self.counts)
        return {one: found[one] for one in ids}

    def read_range(self, shard: int, stream: str, start: int, end: int) -> bytes:
        """Read bytes of one tar, unchecked but for the size of the file."""
        record = self.archive.record(shard, stream)
        return self.archive.root.read(record.path, start, end, record.bytes)

    def table(self, shard: int, stream: str, pack: int) -> PackTable:
        """Read the table of a pack by itself; raises like `read`.

        A stream whose packs are compressed as a whole has none, see `has_tables`.
        """
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

    def has_tables(self, stream: str) -> bool:
        """Tell whether the packs of a stream have a table, so that parts of them can be read."""
        return self.archive.compressed(stream) is not Compressed.TOGETHER

    def missing(self, shard: int, stream: str, pack: int) -> NDArray[np.bool_]:
        """Tell which samples of a pack lack its stream, (n,); only a table is read, if it can."""
        if self.has_tables(stream):
            return self.table(shard, stream, pack).missing
        [found] = self.read(shard, stream, [pack])
        return np.array([payload is None for payload in found.payloads])

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

    def _name(self, one: MemberId) -> str:
        return pack_name(self.archive.record(one.shard, one.stream).sha256, one.member)

    def read_indexes(self, ids: Sequence[PackId]) -> None:
        """Read the index of each file that packs are of, if it was not."""
        self._read_offsets([MemberId(*one) for one in ids])

    def _read_offsets(self, ids: Sequence[MemberId]) -> dict[tuple[int, str], list[int]]:
        """Group members by file, (shard, stream); the index of each is read, if it was not."""
        files: dict[tuple[int, str], list[int]] = {}
        for one in ids:
            files.setdefault((one.shard, one.stream), []).append(one.member)
        self.each(self._offsets, list(files))
        return files

    def _offsets(self, file: tuple[int, str]) -> None:
        """Read the index of a file, once, whatever the number of threads that want it."""
        archive = self.archive
        if archive.n_members(*file) == 1:  # its place is known
            return
        with self._lock:
            reading = self._indexing.setdefault(file, threading.Lock())
        with reading:
            archive.offsets(*file)

    def _fetch(
        self, unwrap: "Unwrap[B]", ids: Sequence[MemberId]
    ) -> dict[MemberId, tuple[bytes, B]]:
        """Read tar members and what is in them."""
        if self.archive.root.local is not None:
            return self._fetch_local(unwrap, ids)
        jobs = []
        for (shard, stream), numbers in self._read_offsets(ids).items():
            spans = [self.archive.member_extent(shard, stream, number) for number in numbers]
            for merged in merge_ranges(spans, self._max_gap, MAX_REQUEST):
                members = [(numbers[at], *spans[at]) for at in merged.members]
                jobs.append((shard, stream, merged, members))
        found: dict[MemberId, tuple[bytes, B]] = {}
        for part in self.each(lambda job: self._fetch_merged(unwrap, *job), jobs):
            found.update(part)
        return found

    def _fetch_local(
        self, unwrap: "Unwrap[B]", ids: Sequence[MemberId]
    ) -> dict[MemberId, tuple[bytes, B]]:
        """Read members one by one: a merged read would save no waiting and cost a copy."""
        found = {}
        for (shard, stream), numbers in self._read_offsets(ids).items():
            record = self.archive.record(shard, stream)
            spans = [self.archive.member_extent(shard, stream, number) for number in numbers]
            members = self.archive.root.read_many(record.path, spans, record.bytes)
            for number, member in zip(numbers, members, strict=True):
                one = MemberId(shard, stream, number)
                found[one] = self._unwrap(unwrap, one, member)
        return found

    def _fetch_merged(
        self,
        unwrap: "Unwrap[B]",
        shard: int,
        stream: str,
        merged: MergedRange,
        members: Sequence[tuple[int, int, int]],
    ) -> dict[MemberId, tuple[bytes, B]]:
        block = self.read_range(shard, stream, merged.start, merged.end)
        found = {}
        for number, start, end in members:
            # a copy where there are several: a pack that is kept must not keep its neighbours
            member = block[start - merged.start : end - merged.start]
            one = MemberId(shard, stream, number)
            found[one] = self._unwrap(unwrap, one, member)
        return found

    def _unwrap(self, unwrap: "Unwrap[B]", one: MemberId, member: bytes) -> tuple[bytes, B]:
        """Check a member; over a network, fetch a damaged one again."""
        members = chain([member], self._read_again(one))

        def check_next() -> tuple[bytes, B]:
            found = next(members)
            return found, unwrap(memoryview(found), *one)

        try:
            return self._until_intact(check_next)
        except (CorruptPackError, TaskMismatchError):
            if self.archive.root.local is None:
                self._check_file(one)
            raise

    def _read_again(self, one: MemberId) -> Iterator[bytes]:
        while True:
            self.archive.forget_offsets(one.shard, one.stream)
            yield self.read_range(one.shard, one.stream, *self.archive.member_extent(*one))

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

    def _check_file(self, one: MemberId) -> None:
        """Say so when it is another file, where reading a range of it did not tell."""
        root, record = self.archive.root, self.archive.record(one.shard, one.stream)
        with suppress(OSError):
            check_size(root.where(record.path), root.size(record.path), record.bytes)


def salvage(reader: PackReader, shard: int, stream: str, pack: int) -> SalvagedPack:
    """Read the payloads of a pack one by one.

    Raises
    ------
    CorruptPackError
        When its header or table is damaged, so that nothing can be told apart; or all of it was
        compressed together.
    """
    if not reader.has_tables(stream):
        [pack_] = reader.read(shard, stream, [pack])
        return SalvagedPack(pack_.payloads)
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
            try:
                found.append(table.given(k, payload, f"{where}, place {k}"))
            except CorruptPackError as error:
                found.append(error)
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
    width = 8 if archive.compressed(stream) is None else TABLE_ROW.size
    return start, min(end, start + BLOCK + HEADER.size + width * count)


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
    version, flags, width = VERSION, 0, 8
    covered = header[:24]
    if archive.compressed(stream) is not None:
        version, flags, width = COMPRESSED, EACH, TABLE_ROW.size
        covered += bytes(4)
    crc = zlib.crc32(table, zlib.crc32(covered))
    expected = HEADER.pack(MAGIC, version, flags, count, archive.slot(stream), first, crc, 0)
    if header != expected or len(table) != width * count or not name.endswith(f".{stream}.pack"):
        raise CorruptPackError(f"{where}: damaged header or table; {LIST_DAMAGE}")
    lengths, crcs, *sizes = np.frombuffer(table, "<u4").reshape(count, width // 4).T
    if sizes:
        check_growth(lengths.tolist(), sizes[0].tolist(), where)
    missing = lengths == MISSING
    payloads = start + BLOCK + HEADER.size + width * count
    ends = payloads + np.cumsum(np.where(missing, 0, lengths), dtype=np.int64)
    if ends[-1] != start + BLOCK + length:
        raise CorruptPackError(f"{where}: the table does not fit the pack; {LIST_DAMAGE}")
    starts = np.concatenate([[payloads], ends[:-1]])
    full = sizes[0].astype(np.int64) if sizes else None
    return PackTable(starts, ends, crcs.copy(), missing, full)
