"""Reads the bitstreams of single samples: whole packs, or over a network only what is wanted.

Of a pack of a remote archive, one sample takes two requests a stream: its table, then the payload;
one where the pack is small or its table is known. Where much of a pack is wanted, or reading goes
on where it stopped, whole packs are read. What was used last is kept, so that reading in order
costs one read a pack. All that is given back has been checked.
"""

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dsc._storage.cache.lru import LruCache
from dsc._storage.files.ranges import merge_ranges
from dsc._storage.format.pack import Pack
from dsc._storage.read.pack_reader import MAX_GAP, MAX_REQUEST, PackId, PackReader, PackTable
from dsc.errors import CorruptPackError

SMALL_PACK = MAX_GAP  # bytes that cost no more than the request that reading only a part adds
DENSE = 4  # read all of a pack of which one sample in so many is wanted
KEPT_PACK_BYTES = 32 << 20
KEPT_TABLE_SAMPLES = 1 << 20

Payloads = dict[str, memoryview | None]
Wanted = Mapping[PackId, Sequence[int]]  # places in each pack, rising
Found = dict[PackId, Sequence[memoryview | None] | Mapping[int, memoryview | None]]


class SamplePlace(NamedTuple):
    """Where a sample lies: shard of the archive, pack of the shard, sample of the pack."""

    shard: int
    pack: int
    k: int


class _Part(NamedTuple):
    """Some payloads of one file that are read at once: (pack, place in it, start, end) each."""

    shard: int
    stream: str
    start: int
    end: int
    payloads: list[tuple[PackId, int, int, int]]


class SampleReader:
    """Reads samples of an archive; shared by threads.

    Parameters
    ----------
    reader
        Reads its packs.
    streams
        Names of the streams to read.
    """

    def __init__(self, reader: PackReader, streams: Sequence[str]) -> None:
        self._reader, self._streams = reader, tuple(streams)
        self._packs: LruCache[PackId, Pack] = LruCache(KEPT_PACK_BYTES, len(self._streams))
        self._tables: LruCache[PackId, PackTable] = LruCache(KEPT_TABLE_SAMPLES, len(self._streams))
        self._follows: tuple[int, int] | None = None  # shard and sample in it

    def read(self, places: Sequence[SamplePlace], in_order: bool = False) -> list[Payloads]:
        """Read the bitstreams of some samples, each pack at most once.

        Parameters
        ----------
        in_order
            Whether the samples that follow will be read, too.

        Returns
        -------
        list of dict
            For each place, by stream: None where the sample does not have it.

        Raises
        ------
        CorruptPackError, CorruptArchiveError, OSError
            As `PackReader.read`; the message names a sample, too.
        """
        wanted: dict[PackId, list[int]] = defaultdict(list)
        for shard, pack, k in sorted(set(places)):
            for stream in self._streams:
                wanted[PackId(shard, stream, pack)].append(k)
        in_order = in_order or (bool(places) and self._follows == self._sample(places[0]))
        if places:
            self._follows = self._sample(places[-1], 1)
        found, parts = self._whole(wanted, in_order)
        if parts:
            found |= self._read_parts({one: wanted[one] for one in parts})
        return [
            {name: found[PackId(shard, name, pack)][k] for name in self._streams}
            for shard, pack, k in places
        ]

    def _sample(self, place: SamplePlace, later: int = 0) -> tuple[int, int]:
        """Return shard and number in the shard of a sample, or of one that follows."""
        number = place.pack * self._reader.archive.manifest.pack_size + place.k + later
        if number == self._reader.archive.shards[place.shard].samples:
            return place.shard + 1, 0
        return place.shard, number

    def _whole(self, wanted: Wanted, in_order: bool) -> tuple[Found, list[PackId]]:
        """Read the packs of which it is best to have all; give the others' names as well."""
        packs = {one: pack for one in wanted if (pack := self._packs.get(one)) is not None}
        whole = [one for one in wanted if one not in packs]
        parts: list[PackId] = []
        archive = self._reader.archive
        if not in_order and archive.root.local is None and self._reader.cache is None:
            self._reader.read_indexes(whole)
            parts = [one for one in whole if self._is_part(one, len(wanted[one]))]
            whole = [one for one in whole if one not in set(parts)]
        packs |= self._read_whole(whole, wanted)
        return {one: pack.payloads for one, pack in packs.items()}, parts

    def _is_part(self, one: PackId, members: int) -> bool:
        archive = self._reader.archive
        if not self._reader.has_tables(one.stream):
            return False
        start, end = archive.extent(*one)
        _, count = archive.span(one.shard, one.pack)
        small = end - start <= SMALL_PACK and one not in self._tables
        return not small and DENSE * members < count

    def _read_whole(self, ids: Sequence[PackId], wanted: Wanted) -> dict[PackId, Pack]:
        try:
            found = self._reader.read_many(ids)
        except CorruptPackError:
            for one in ids:  # find which it is, to name a sample
                try:
                    self._reader.read(one.shard, one.stream, [one.pack])
                except CorruptPackError as error:
                    number = one.pack * self._reader.archive.manifest.pack_size + wanted[one][0]
                    key = self._reader.archive.keys(one.shard)[number]
                    raise CorruptPackError(f"{error}; it holds sample {key}") from error
            raise
        for one in ids:
            self._packs.put(one, found[one], self._cost(one))
        return {one: found[one] for one in ids}

    def _cost(self, one: PackId) -> int:
        """Return what a pack takes in memory, about; one that shares a member, its share."""
        archive = self._reader.archive
        start, end = archive.extent(*one)
        return (end - start) * archive.manifest.pack_size // archive.pack_size(one.stream) + 1

    def _read_parts(self, wanted: Wanted) -> dict[PackId, dict[int, memoryview | None]]:
        """Read tables where they are not known, then the wanted payloads, merged."""
        ids = list(wanted)
        tables = dict(zip(ids, self._reader.each(self._table, ids), strict=True))
        found: dict[PackId, dict[int, memoryview | None]] = {
            one: dict.fromkeys(wanted[one]) for one in ids
        }
        damaged = set()
        for got in self._reader.each(self._read_part, _plan_parts(tables, wanted)):
            for one, k, payload in got:
                if zlib.crc32(payload) == int(tables[one].crcs[k]):
                    found[one][k] = tables[one].given(k, payload, f"{one}, place {k}")
                else:
                    damaged.add(one)
        # the whole pack is fetched as often as it takes, and says what is wrong with it
        for one, pack in self._read_whole(sorted(damaged), wanted).items():
            found[one] = dict(enumerate(pack.payloads))
        return found

    def _table(self, one: PackId) -> PackTable:
        table = self._tables.get(one)
        if table is None:
            table = self._reader.table(*one)
            self._tables.put(one, table, len(table.crcs))
        return table

    def _read_part(self, part: _Part) -> list[tuple[PackId, int, memoryview]]:
        block = self._reader.read_range(part.shard, part.stream, part.start, part.end)
        return [
            (one, k, memoryview(block[start - part.start : end - part.start]))
            for one, k, start, end in part.payloads
        ]


def _plan_parts(tables: Mapping[PackId, PackTable], wanted: Wanted) -> list[_Part]:
    files: dict[tuple[int, str], list[tuple[PackId, int, int, int]]] = defaultdict(list)
    for one, members in wanted.items():
        table = tables[one]
        files[one.shard, one.stream] += [
            (one, k, int(table.starts[k]), int(table.ends[k]))
            for k in members
            if not table.missing[k]
        ]
    return [
        _Part(shard, stream, merged.start, merged.end, [payloads[at] for at in merged.members])
        for (shard, stream), payloads in files.items()
        for merged in merge_ranges([p[2:] for p in payloads], MAX_GAP, MAX_REQUEST)
    ]
