"""Reads the bitstreams of single samples: whole packs, or over a network only what is wanted.

Of a pack of a remote archive, one sample takes two requests a stream: its table, then the payload;
one where the pack is small or its table is known. Where much of a pack is wanted, or reading goes
on where it stopped, whole packs are read. What was used last is kept, so that reading in order
costs one read a pack. All that is given back has been checked.

Payloads of groups take a second round: what a sample needs besides stands in its own payload. Of a
pack that is damaged, the samples are given whose payloads are intact.
"""

import zlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from dsc._storage.cache.lru import LruCache
from dsc._storage.files.ranges import merge_ranges
from dsc._storage.read.lanes import Column, LanePack, at, is_damaged, lanes_among, own_among
from dsc._storage.read.nearest import stand_in, streams_beside
from dsc._storage.read.pack_reader import (
    MAX_GAP,
    MAX_REQUEST,
    PackId,
    PackReader,
    PackTable,
    salvage,
)
from dsc.errors import CorruptArchiveError, CorruptPackError

SMALL_PACK = MAX_GAP  # bytes that cost no more than the request that reading only a part adds
DENSE = 4  # read all of a pack of which one sample in so many is wanted
KEPT_PACK_BYTES = 32 << 20
KEPT_TABLE_SAMPLES = 1 << 20

Payloads = dict[str, memoryview | bytes | None]
Wanted = Mapping[PackId, Sequence[int]]  # places in each pack, rising
Found = dict[PackId, Column]


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
    nearest
        Whether, where a frame of a group is damaged or needs one that is, the closest intact one
        stands for it.
    finer
        Streams of which a payload that is damaged is as one that is not there.
    """

    def __init__(
        self,
        reader: PackReader,
        streams: Sequence[str],
        nearest: bool = False,
        finer: Collection[str] = (),
    ) -> None:
        self._reader, self._streams = reader, tuple(streams)
        self._nearest, self._finer = nearest, frozenset(finer)
        self._lanes = lanes_among(reader.archive.lanes, self._streams)
        self._beside = lanes_among(reader.archive.beside, self._streams)
        layered = {name for lane in (*self._lanes, *self._beside) for name in lane}
        self._alone = tuple(name for name in self._streams if name not in layered)
        self._packs: LruCache[PackId, Column] = LruCache(KEPT_PACK_BYTES, len(self._streams))
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
            For each place, by stream: None where the sample does not have it. Those of groups are
            `Linked`; where what they need is damaged, that says so.

        Raises
        ------
        CorruptPackError, CorruptArchiveError, OSError
            As `PackReader.read`; the message names a sample, too.
        """
        found = []
        for one in self.read_each(places, in_order):
            if isinstance(one, CorruptArchiveError):
                raise one
            found.append(one)
        return found

    def read_each(
        self, places: Sequence[SamplePlace], in_order: bool = False
    ) -> list[Payloads | CorruptArchiveError]:
        """Read like `read`; what is wrong with a damaged sample stands in its place."""
        wanted: dict[PackId, list[int]] = defaultdict(list)
        for shard, pack, k in sorted(set(places)):
            for stream in self._streams:
                wanted[PackId(shard, stream, pack)].append(k)
        in_order = in_order or self.follows(places)
        if places:
            self._follows = self._sample(places[-1], 1)
        found = self._read(wanted, in_order)
        lanes = self._with_needed(found, places, in_order) if self._lanes else {}
        return [self._given(place, found, lanes.get(place[:2], ())) for place in places]

    @property
    def has_groups(self) -> bool:
        """Whether some of the streams have payloads of groups."""
        return bool(self._lanes)

    def follows(self, places: Sequence[SamplePlace]) -> bool:
        """Tell whether the first of some samples comes after the last that was read."""
        return bool(places) and self._follows == self._sample(places[0])

    def _read(self, wanted: Wanted, in_order: bool) -> Found:
        found, parts = self._whole(wanted, in_order)
        if parts:
            found |= self._read_parts({one: wanted[one] for one in parts})
        return found

    def _given(
        self, place: SamplePlace, found: Found, lanes: Sequence[LanePack]
    ) -> Payloads | CorruptArchiveError:
        """Return a sample's payloads, or what is wrong with the first that is damaged."""
        given: Payloads = dict.fromkeys(self._streams)
        alone = {
            name: at(found[PackId(place.shard, name, place.pack)], place.k) for name in self._alone
        }
        for name, payload in alone.items():
            if not isinstance(payload, CorruptArchiveError):
                given[name] = payload
            elif name not in self._finer:
                return self._named(payload, place)
        return self._with_layers(given, place, found, lanes)

    def _with_layers(
        self, given: Payloads, place: SamplePlace, found: Found, lanes: Sequence[LanePack]
    ) -> Payloads | CorruptArchiveError:
        """Add the payloads of groups, and those that go with them, or say what is wrong."""
        wrong: dict[str, CorruptArchiveError] = {}
        for names in self._beside:
            columns = [found[PackId(place.shard, name, place.pack)] for name in names]
            own = own_among(names, columns, place.k)
            if isinstance(own, CorruptArchiveError):
                wrong |= dict.fromkeys(set(names) - self._finer, own)
            elif own is not None:
                given[own[0]] = own[1]
        for lane in lanes:
            linked = lane.linked(place.k)
            if self._nearest and (is_damaged(linked) or wrong):
                beside = streams_beside(self._reader.archive, lane.lane, self._streams)
                if is_damaged(linked) or wrong.keys() & set(beside):
                    other = self._stand_in(place, lane, beside)
                    given |= other
                    if other:
                        wrong = {name: error for name, error in wrong.items() if name not in beside}
                        continue
            if isinstance(linked, CorruptArchiveError) and not self._finer.issuperset(lane.lane):
                return self._named(linked, place)
            if isinstance(linked, tuple):
                given[linked[0]] = linked[1]
        for error in wrong.values():
            return self._named(error, place)
        return given

    def _stand_in(self, place: SamplePlace, lane: LanePack, beside: Sequence[str]) -> Payloads:
        """Return what stands for a damaged frame, of all streams of its task; empty without any."""
        archive = self._reader.archive
        ids = [PackId(place.shard, name, place.pack) for name in (*lane.lane, *beside)]
        columns = {one.stream: column for one, column in self._read_whole(ids).items()}
        own, key = [columns[name] for name in lane.lane], partial(self._key_at, place)
        packs = LanePack(lane.lane, own, lane.group, key)
        return stand_in(archive, packs, {name: columns[name] for name in beside}, place)

    def _key_at(self, place: SamplePlace, k: int) -> str:
        return self._key(place._replace(k=k))

    def _named(self, error: CorruptArchiveError, place: SamplePlace) -> CorruptArchiveError:
        if not isinstance(error, CorruptPackError):
            return error
        return CorruptPackError(f"{error}; it holds sample {self._key(place)}")

    def _key(self, place: SamplePlace) -> str:
        number = place.pack * self._reader.archive.manifest.pack_size + place.k
        return self._reader.archive.keys(place.shard)[number]

    def _with_needed(
        self, found: Found, places: Sequence[SamplePlace], in_order: bool
    ) -> dict[tuple[int, int], list[LanePack]]:
        """Read what samples of groups need besides; return the lanes of their packs."""
        packs = sorted({(shard, pack) for shard, pack, _ in places})
        lanes = {one: self._lanes_of(*one, found) for one in packs}
        more: dict[PackId, set[int]] = defaultdict(set)
        for shard, pack, k in places:
            _, count = self._reader.archive.span(shard, pack)
            for lane in lanes[shard, pack]:
                for name, other in lane.needs(k):
                    held = found[PackId(shard, name, pack)]
                    if isinstance(held, Mapping) and other not in held and 0 <= other < count:
                        more[PackId(shard, name, pack)].add(other)
        if not more:
            return lanes
        for one, column in self._read({k: sorted(v) for k, v in more.items()}, in_order).items():
            held = found[one]
            if isinstance(held, Mapping) and isinstance(column, Mapping):
                found[one] = {**held, **column}
            else:
                found[one] = column
        return {one: self._lanes_of(*one, found) for one in packs}

    def _lanes_of(self, shard: int, pack: int, found: Found) -> list[LanePack]:
        def key(k: int) -> str:
            return self._key(SamplePlace(shard, pack, k))

        return [
            LanePack(
                lane, [found[PackId(shard, name, pack)] for name in lane], (shard, pack, n), key
            )
            for n, lane in enumerate(self._lanes)
        ]

    def _sample(self, place: SamplePlace, later: int = 0) -> tuple[int, int]:
        """Return shard and number in the shard of a sample, or of one that follows."""
        number = place.pack * self._reader.archive.manifest.pack_size + place.k + later
        if number == self._reader.archive.shards[place.shard].samples:
            return place.shard + 1, 0
        return place.shard, number

    def _whole(self, wanted: Wanted, in_order: bool) -> tuple[Found, list[PackId]]:
        """Read the packs of which it is best to have all; give the others' names as well."""
        packs: Found = {one: pack for one in wanted if (pack := self._packs.get(one)) is not None}
        whole = [one for one in wanted if one not in packs]
        parts: list[PackId] = []
        archive = self._reader.archive
        if not in_order and archive.root.local is None and self._reader.cache is None:
            self._reader.read_indexes(whole)
            parts = [one for one in whole if self._is_part(one, len(wanted[one]))]
            whole = [one for one in whole if one not in set(parts)]
        return packs | self._read_whole(whole), parts

    def _is_part(self, one: PackId, members: int) -> bool:
        archive = self._reader.archive
        if not self._reader.has_tables(one.stream):
            return False
        start, end = archive.extent(*one)
        _, count = archive.span(one.shard, one.pack)
        small = end - start <= SMALL_PACK and one not in self._tables
        return not small and DENSE * members < count

    def _read_whole(self, ids: Sequence[PackId]) -> Found:
        """Read packs; of those that are damaged what is intact, and what is wrong."""
        try:
            read = self._reader.read_many(ids)
        except (CorruptArchiveError, FileNotFoundError):
            return {one: self._salvaged(one) for one in ids}
        for one in ids:
            self._packs.put(one, read[one].payloads, self._cost(one))
        return {one: read[one].payloads for one in ids}

    def _salvaged(self, one: PackId) -> Column:
        try:
            return self._reader.read(one.shard, one.stream, [one.pack])[0].payloads
        except (CorruptArchiveError, FileNotFoundError) as error:
            damage = self._damage(one, error)
        try:
            found = salvage(self._reader, *one).payloads
        except (CorruptArchiveError, FileNotFoundError):
            return damage
        self._packs.put(one, found, self._cost(one))
        return found

    def _damage(self, one: PackId, error: Exception) -> CorruptArchiveError:
        if isinstance(error, CorruptArchiveError):
            return error
        path = self._reader.archive.record(one.shard, one.stream).path
        where = self._reader.archive.root.where(path)
        return CorruptArchiveError(f"{where}: the archive names this file, but it is not there")

    def _cost(self, one: PackId) -> int:
        """Return what a pack takes in memory, about; one that shares a member, its share."""
        archive = self._reader.archive
        start, end = archive.extent(*one)
        return (end - start) * archive.manifest.pack_size // archive.pack_size(one.stream) + 1

    def _read_parts(self, wanted: Wanted) -> Found:
        """Read tables where they are not known, then the wanted payloads, merged."""
        ids = list(wanted)
        read = dict(zip(ids, self._reader.each(self._table, ids), strict=True))
        tables = {one: table for one, table in read.items() if table is not None}
        found: dict[PackId, dict[int, memoryview | None]] = {
            one: dict.fromkeys(wanted[one]) for one in tables
        }
        damaged = set(ids) - set(tables)
        for got in self._reader.each(self._read_part, _plan_parts(tables, wanted)):
            for one, k, payload in got:
                if zlib.crc32(payload) == int(tables[one].crcs[k]):
                    found[one][k] = tables[one].given(k, payload, f"{one}, place {k}")
                else:
                    damaged.add(one)
        # the whole pack is fetched as often as it takes, and says what is wrong with it
        return {**found, **self._read_whole(sorted(damaged))}

    def _table(self, one: PackId) -> PackTable | None:
        """Return the table of a pack; None where it is damaged."""
        table = self._tables.get(one)
        if table is None:
            try:
                table = self._reader.table(*one)
            except (CorruptArchiveError, FileNotFoundError):
                return None
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
    for one, table in tables.items():
        files[one.shard, one.stream] += [
            (one, k, int(table.starts[k]), int(table.ends[k]))
            for k in wanted[one]
            if not table.missing[k]
        ]
    return [
        _Part(shard, stream, merged.start, merged.end, [payloads[at] for at in merged.members])
        for (shard, stream), payloads in files.items()
        for merged in merge_ranges([p[2:] for p in payloads], MAX_GAP, MAX_REQUEST)
    ]
