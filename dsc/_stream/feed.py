"""One reader of a stream, in one process: from steps of an epoch to batches.

A feed holds what belongs to a process (connections, threads, packs in memory, codecs) and nothing
of where the stream stands.
"""

import copy
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dsc._pipeline.read.decoded_cache import DecodedCache
from dsc._pipeline.read.decoding import Decoded, SampleDecoder, SamplePayloads
from dsc._pipeline.read.on_damage import COARSER, COARSER_KEY, NEAREST, NEAREST_KEY
from dsc._pipeline.read.windowed import WindowedSamples
from dsc._schemas import LOSSY_NUMBERS, Task, TaskKind, resolve_task
from dsc._schemas.group import Lane
from dsc._schemas.levels import finer_levels
from dsc._schemas.sample import NO_WINDOWS, Sample
from dsc._schemas.task import ALIASES
from dsc._storage.cache.pack_cache import PackCache
from dsc._storage.format.pack import Pack
from dsc._storage.read.lanes import Column, LanePack, is_damaged, lanes_among, own_among
from dsc._storage.read.nearest import stand_in, streams_beside
from dsc._storage.read.pack_reader import PackReader
from dsc._stream.collate import INDEX, KEY, StreamBatch, collate
from dsc._stream.decode_pool import DecodePool
from dsc._stream.frame_buffer import Finish, FrameBuffer, FrameKey, Together
from dsc._stream.options import CollateFn, StreamOptions
from dsc._stream.order import EpochOrder, Ints, SamplePlaces, join
from dsc._stream.padding import padded
from dsc._stream.partition import Partition
from dsc._stream.report import SkippedSample, StreamReport
from dsc._stream.sample_keys import SampleKeys
from dsc._stream.source import StreamSource
from dsc._stream.supply import PackKey, PackOfStreams, ReadPack, Shelf, Supply
from dsc._transforms.randomness import drawing, generator
from dsc.errors import (
    BitstreamError,
    CorruptArchiveError,
    UnknownTaskError,
    UsageError,
)

if TYPE_CHECKING:  # it imports torch
    from dsc._stream.synthesis import Synthesis

ARCHIVE = "__archive__"
REMOTE_READS = 8
AHEAD = 2  # batches that are decoded while the training loop has one


@dataclass(frozen=True)
class BatchRequest:
    """The samples of one batch, and what is read for them.

    Attributes
    ----------
    keys
        The packs it needs, each once: archive of the mixture, number of the pack in its index.
    archive, key, place, index
        For each sample that may be read: its archive of the mixture, which of the keys (None where
        no bitstream is needed), its place in the pack, its index in the archive.
    rows
        The samples of the batch. Without windows they are the first of those that are read, and
        the others are of their groups.
    seed
        Of the order.
    windowed
        With windows, for each archive of the mixture: its samples of the batch, and their frames.
    is_ahead
        Whether groups are decoded as a whole, ahead of those of their samples that come later.
    """

    step: int
    keys: list[PackKey]
    archive: list[int]
    key: list[int | None]
    place: list[int]
    index: list[int]
    rows: list["Row"]
    seed: int
    windowed: Sequence[WindowedSamples] = ()
    is_ahead: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A sample of a batch.

    Attributes
    ----------
    archive, index
        Its archive of the mixture, its index there.
    turn
        Its pass over that archive.
    at
        Which it is of those that are read; with windows, of its archive's in the batch.
    """

    archive: int
    index: int
    turn: int
    at: int


@dataclass(frozen=True, slots=True)
class FoundSample:
    """A sample of a batch: its archive of the mixture, and its place there.

    Attributes
    ----------
    payloads
        Its bitstreams; None where none are needed, or it is damaged.
    damage
        What is wrong with it.
    """

    archive: int
    index: int
    payloads: SamplePayloads | None = None
    damage: CorruptArchiveError | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A batch whose samples are being decoded.

    Attributes
    ----------
    found
        What was read.
    parts
        Which of these are decoded together, and what waits for them.
    """

    request: BatchRequest
    packs: Mapping[PackKey, PackOfStreams]
    found: Sequence[FoundSample] = ()
    parts: Sequence[tuple[list[int], Finish]] = ()


class Feed:
    """Makes the batches of one process: reads their packs, decodes, transforms, collates.

    Parameters
    ----------
    sources
        The archives, opened in this process.
    lists
        Names whose values stay a list in a batch.
    keeps_step
        Whether a batch of which nothing is left is replaced by the one before, because other ranks
        wait for it.
    threads
        That decode; 0 decodes in the thread that asks for batches, when it asks.
    processes
        How many feeds share the bytes of decoded arrays.
    """

    def __init__(
        self,
        sources: Sequence[StreamSource],
        options: StreamOptions,
        lists: frozenset[str],
        keeps_step: bool,
        threads: int = 0,
        processes: int = 1,
    ) -> None:
        self._sources, self._options = sources, options
        self._lists = lists | {NEAREST_KEY, COARSER_KEY}
        self._keeps_step, self._stands_in = keeps_step, options.on_damage == NEAREST
        limit = options.cache_decoded_bytes // max(processes, 1)
        self._cache = DecodedCache(limit) if limit and options.decode != "bytes" else None
        self.report = StreamReport()
        remote = any(source.archive.root.local is None for source in sources)
        cache = PackCache(options.cache, options.cache_bytes) if options.cache and remote else None
        self._readers = [PackReader(source.archive, cache, max_gap=0) for source in sources]
        self._packs = [source.all_packs if source.windows else source.packs for source in sources]
        shelves = [
            Shelf(packs, reader, source.streams)
            for source, packs, reader in zip(sources, self._packs, self._readers, strict=True)
        ]
        prefetch = options.prefetch_bytes if remote else 0
        self._supply = Supply(
            shelves,
            options.memory_bytes,
            prefetch,
            REMOTE_READS,
            options.on_error == "skip" or options.on_damage != "fail",
        )
        self._decoders = [
            self._decoder(number, source.tasks, is_whole=not options.is_grouped)
            for number, source in enumerate(sources)
        ]
        self._parts = [
            [self._decoder(number, part) for part in source.windows.parts] if source.windows else []
            for number, source in enumerate(sources)
        ]
        most = options.buffer_bytes // max(1, *(source.frame_bytes for source in sources))
        self._buffer = FrameBuffer(most)
        self._lanes = [lanes_among(source.archive.lanes, source.streams) for source in sources]
        self._beside = [lanes_among(source.archive.beside, source.streams) for source in sources]
        self._finer = [self._may_lose(source) for source in sources]
        self._own_tasks = [{task.name: task for task in source.tasks} for source in sources]
        windows = [source.windows for source in sources if source.windows is not None]
        self._lengths = windows[0].lengths if windows else NO_WINDOWS
        transform = options.transform
        self._transform = None if transform is None else drawing(transform)
        archives = [source.archive for source in sources]
        self._keys = SampleKeys(archives) if options.with_keys else None
        self._pool = DecodePool(threads) if threads and options.decode != "bytes" else None
        self._tasks = {task.name: task for source in sources for task in source.tasks}
        self._meant = _with_aliases(self._tasks)
        self._counts = frozenset(
            name for name, task in self._tasks.items()
            if options.native and task.kind is TaskKind.DEPTH
        )  # fmt: skip
        self._features = frozenset(
            name for name, task in self._tasks.items()
            if options.decode == "features" and task.kind in LOSSY_NUMBERS
        )  # fmt: skip
        self._last: StreamBatch | None = None
        self._synthesis: Synthesis | None = None
        if options.device is not None or options.decode == "latents":
            self._synthesis = self._open_synthesis()

    def _decoder(self, number: int, tasks: Sequence[Task], is_whole: bool = True) -> SampleDecoder:
        """Return what decodes tasks; `is_whole`: all that it decodes at once is a batch."""
        options, source = self._options, self._sources[number]
        return SampleDecoder(
            source.archive,
            tasks,
            as_latents=options.decode == "latents" or options.device is not None,
            native=options.native,
            missing_is_error=options.missing == "error" and source.lacks_some,
            # a function of the user's may keep what it was given
            together=(
                is_whole
                and source.windows is None
                and options.transform is None
                and options.collate_fn is None
            ),
            cache=self._cache,
            number=number,
            coarser=options.on_damage == COARSER,
        )

    def _may_lose(self, source: StreamSource) -> frozenset[str]:
        """Return the streams whose damage leaves a coarser task."""
        if self._options.on_damage != COARSER:
            return frozenset()
        return finer_levels(source.archive.manifest, [task.name for task in source.tasks])

    def run(
        self, order: EpochOrder, partition: Partition, rank: int, steps: Iterable[int]
    ) -> Iterator[tuple[int, StreamBatch | None]]:
        """Yield the batches of a rank at some steps; None where it has no sample there.

        Raises
        ------
        CorruptArchiveError
            When nothing is left of any batch, and other ranks wait for some.
        """
        requests = (self._request(order, partition, rank, step) for step in steps)
        empty: list[int] = []  # steps of which nothing is left, until there is a batch for them
        for begun in self._ahead(requests):
            request = begun.request
            batch = self._batch(begun)
            is_lost = batch is None and self._keeps_step and bool(request.rows)
            if is_lost:
                empty.append(request.step)
            given = self._last if batch is None else batch
            if given is not None:
                yield from ((step, self._again(given)) for step in empty)
                empty = []
            if not is_lost:
                yield request.step, batch
        if empty:
            raise CorruptArchiveError(
                f"{self._where(0)}: every sample of every batch of rank {rank} is damaged, and the "
                "other ranks wait for some; run `dsc verify`"
            )

    def _ahead(self, requests: Iterator[BatchRequest]) -> Iterator[Begun]:
        """Yield batches in order, those after them being decoded on threads meanwhile."""
        waiting: deque[Begun] = deque()
        failure: Exception | None = None
        follow = self._supply.follow(requests)
        try:
            while failure is None:
                try:
                    waiting.append(self._begin(*next(follow)))
                except StopIteration:
                    break
                except Exception as error:  # what was begun before is given first
                    failure = error
                if len(waiting) > (AHEAD if self._pool else 0):
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            follow.close()
            self._buffer.clear()
            if self._pool is not None:
                self._pool.forget()
        if failure is not None:
            raise failure

    def _again(self, batch: StreamBatch) -> StreamBatch:
        self.report.repeated += 1
        return copy.deepcopy(batch)

    def close(self) -> None:
        """Let go of threads, packs and decoded arrays."""
        self._supply.close()
        if self._pool is not None:
            self._pool.close()

    def take_report(self) -> StreamReport:
        """Return what was counted since this was last asked."""
        found, self.report = self.report, StreamReport()
        for reader in self._readers:
            found.reads.update(reader.take_counts())
        if self._cache is not None:
            found.decoded.update(self._cache.take_counts())
        return found

    def _request(
        self, order: EpochOrder, partition: Partition, rank: int, step: int
    ) -> BatchRequest:
        options, spans = self._options, partition.spans(step, rank)
        places = join([order.locate(*span) for span in spans])
        archive, index = places.archive.tolist(), self._indices(places).tolist()
        turn = places.turn.tolist()
        rows = [Row(*one, at) for at, one in enumerate(zip(archive, index, turn, strict=True))]
        if any(source.windows for source in self._sources):
            return self._with_windows(step, rows, order.seed)
        is_ahead = order.is_grouped and options.gives_arrays and options.device is None
        if is_ahead:
            mates = join([order.mates(*span) for span in spans])
            keys = zip(mates.archive.tolist(), self._indices(mates).tolist(), strict=True)
            own = set(zip(archive, index, strict=True))
            for number, one in dict.fromkeys(key for key in keys if key not in own):
                archive.append(number)
                index.append(one)
        held = [self._decoders[n].holds(at) for n, at in zip(archive, index, strict=True)]
        read = self._read_of(archive, index, held)
        return BatchRequest(step, *read, rows, order.seed, is_ahead=is_ahead)

    def _indices(self, places: SamplePlaces) -> Ints:
        """Return the indices of samples in their archives."""
        index = np.empty_like(places.ordinal)
        for number, source in enumerate(self._sources):
            at = np.flatnonzero(places.archive == number)
            pack = places.pack[at]
            index[at] = source.packs.first[pack] + source.packs.places(pack, places.ordinal[at])
        return index

    def _read_of(
        self, archive: list[int], index: list[int], held: Sequence[bool]
    ) -> tuple[list[PackKey], list[int], list[int | None], list[int], list[int]]:
        """Return where samples lie: packs, and archive, key, place and index of each."""
        numbers: dict[PackKey, int] = {}
        archives, indices = np.array(archive, np.int64), np.array(index, np.int64)
        pack, place = np.empty_like(indices), np.empty_like(indices)
        for number, packs in enumerate(self._packs):
            at = np.flatnonzero(archives == number)
            pack[at] = np.searchsorted(packs.first, indices[at], side="right") - 1
            place[at] = indices[at] - packs.first[pack[at]]
        key = [
            None if is_held else numbers.setdefault(one, len(numbers))
            for one, is_held in zip(zip(archive, pack.tolist(), strict=True), held, strict=True)
        ]
        return list(numbers), archive, key, place.tolist(), index

    def _with_windows(self, step: int, rows: Sequence[Row], seed: int) -> BatchRequest:
        """Return a request for the frames of samples' windows, each once."""
        windowed: list[WindowedSamples] = []
        archive: list[int] = []
        index: list[int] = []
        held: list[bool] = []
        for number, source in enumerate(self._sources):
            if source.windows is None:
                raise ValueError("all archives of a mixture have windows, or none has")
            mine = [row.index for row in rows if row.archive == number]
            windowed.append(WindowedSamples.of(source.windows, mine))
            wanted = windowed[-1].needed()
            frames = sorted(set().union(*wanted))
            parts = list(zip(self._parts[number], map(set, wanted), strict=True))
            archive += [number] * len(frames)
            index += frames
            held += [all(d.holds(at) for d, part in parts if at in part) for at in frames]
        counts = Counter[int]()
        own = []
        for row in rows:
            own.append(replace(row, at=counts[row.archive]))
            counts[row.archive] += 1
        return BatchRequest(step, *self._read_of(archive, index, held), own, seed, windowed)

    def _begin(self, request: BatchRequest, packs: Mapping[PackKey, PackOfStreams]) -> Begun:
        """Begin to decode a batch; nothing of it is raised or counted yet."""
        if self._options.decode == "bytes":
            return Begun(request, packs)
        found = self._find(request, packs)
        if request.windowed:
            return Begun(request, packs, found, self._begin_windows(request, found))
        parts: list[tuple[list[int], Finish]] = []
        for number, decoder in enumerate(self._decoders):
            at = [k for k, one in enumerate(found) if one.archive == number and not one.damage]
            if at and request.is_ahead:
                parts += self._begin_groups(request, found, at)
            elif at:
                parts.append((at, self._begun(decoder, found, at)))
        return Begun(request, packs, found, parts)

    def _begun(self, decoder: SampleDecoder, found: Sequence[FoundSample], at: list[int]) -> Finish:
        indices, payloads = [found[k].index for k in at], [found[k].payloads for k in at]
        return decoder.begin(indices, payloads, None if self._pool is None else self._pool.submit)

    def _begin_windows(
        self, request: BatchRequest, found: Sequence[FoundSample]
    ) -> list[tuple[list[int], Finish]]:
        """Begin to decode the frames of windows, of each the tasks that are wanted of it."""
        parts = []
        for number, samples in enumerate(request.windowed):
            for decoder, frames in zip(self._parts[number], samples.needed(), strict=True):
                wanted = set(frames)
                at = [
                    k
                    for k, one in enumerate(found)
                    if one.archive == number and one.index in wanted and not one.damage
                ]
                if at:
                    parts.append((at, self._begun(decoder, found, at)))
        return parts

    def _begin_groups(
        self, request: BatchRequest, found: Sequence[FoundSample], intact: list[int]
    ) -> list[tuple[list[int], Finish]]:
        """Begin to decode what no earlier batch did, and the rest of its groups."""
        number, rows = found[intact[0]].archive, len(request.rows)
        new: list[int] = []
        later: list[int] = []
        parts: list[tuple[list[int], Finish]] = []
        for k in intact:
            key = number, found[k].index
            if key not in self._buffer:
                (new if k < rows else later).append(k)
            elif k < rows:
                parts.append(([k], self._buffer.take(key)))
        if new:
            later = [k for k in later if request.key[k] is not None][: self._buffer.room]
            at = new + later
            together = Together(
                [found[k].index for k in at], self._begun(self._decoders[number], found, at)
            )
            for k in later:
                self._buffer.put((number, found[k].index), together)
            own = [found[k].index for k in new]
            parts.append((new, lambda: together.take(own)))
        return parts

    def _batch(self, begun: Begun) -> StreamBatch | None:
        if not begun.request.rows:
            return None
        if self._options.decode == "bytes":
            batch = self._bytes(begun.request, begun.packs)
        else:
            batch = self._decoded(begun)
        return self._counted(batch)

    def _find(
        self, request: BatchRequest, packs: Mapping[PackKey, PackOfStreams]
    ) -> list[FoundSample]:
        """Return the samples of a batch with their bitstreams, or what is wrong with these."""
        found = []
        lanes: list[Sequence[LanePack]] = [
            self._lane_packs(key, packs[key]) if self._lanes[key[0]] else () for key in request.keys
        ]
        columns = request.archive, request.key, request.place, request.index
        for archive, at, place, index in zip(*columns, strict=True):
            if at is None:
                found.append(FoundSample(archive, index))
                continue
            key = request.keys[at]
            instead = partial(self._stand_in, key, packs[key], place) if self._stands_in else None
            beside, finer = self._beside[archive], self._finer[archive]
            payloads = _payloads(packs[key], place, lanes[at], beside, instead, finer)
            if isinstance(payloads, CorruptArchiveError):
                found.append(FoundSample(archive, index, damage=payloads))
            else:
                found.append(FoundSample(archive, index, payloads))
        return found

    def _lane_packs(self, key: PackKey, streams: PackOfStreams) -> list[LanePack]:
        """Return what puts the payloads of groups together, in one pack."""
        archive, pack = key
        source = self._sources[archive]
        first = int(self._packs[archive].first[pack])
        return [
            LanePack(
                lane,
                [_column_of(streams[name]) for name in lane],
                (key, number),
                lambda k: source.archive.key(first + k),
            )
            for number, lane in enumerate(self._lanes[archive])
        ]

    def _stand_in(
        self, key: PackKey, streams: PackOfStreams, k: int, lane: LanePack
    ) -> dict[str, memoryview | bytes | None]:
        """Return what stands for a damaged frame; empty without any."""
        archive, pack = key
        source = self._sources[archive]
        place = int(source.packs.shard[pack]), int(source.packs.pack[pack]), k
        names = streams_beside(source.archive, lane.lane, source.streams)
        beside = {name: _column_of(streams[name]) for name in names}
        return stand_in(source.archive, lane, beside, place)

    def _intact(self, found: Sequence[FoundSample]) -> list[FoundSample]:
        """Return the samples whose bitstreams are intact; raise or count the others."""
        for one in found:
            if one.damage is not None:
                self._damaged(one.archive, one.index, one.damage)
        return [one for one in found if one.damage is None]

    def _counted(self, batch: StreamBatch | None) -> StreamBatch | None:
        if batch is not None:
            self.report.batches += 1
            # a copy, for who has a batch may change it in place
            self._last = copy.deepcopy(batch) if self._keeps_step else None
        return batch

    def _damaged(self, archive: int, index: int, error: Exception) -> None:
        """Raise, or count, with the sample's key."""
        source = self._sources[archive].archive
        key = source.key(index)
        if self._options.on_error == "fail":
            text = str(error)
            told = text if key in text else f"{text}; wanted for sample {key} ({index})"
            raise type(error)(f"{told}; stream with on_error='skip' to go on without it")
        self.report.skip(SkippedSample(source.root.url, key, index, str(error)))

    def _bytes(
        self, request: BatchRequest, packs: Mapping[PackKey, PackOfStreams]
    ) -> StreamBatch | None:
        """Return bitstreams as they are: column by column where nothing is damaged or missing."""
        archives, indices = request.archive, request.index
        names = dict.fromkeys(name for source in self._sources for name in source.streams)
        intact = all(type(pack) is Pack for found in packs.values() for pack in found.values())
        if intact and not any(decoder.missing_is_error for decoder in self._decoders):
            batch = StreamBatch((name, _column(name, request, packs)) for name in names)
        else:
            whole = self._intact(self._find(request, packs))
            for one in whole:
                self._decoders[one.archive].check_complete(one.index, one.payloads)
            if not whole:
                return None
            batch = StreamBatch(
                (name, [_copy((one.payloads or {}).get(name)) for one in whole]) for name in names
            )
            archives, indices = [one.archive for one in whole], [one.index for one in whole]
        self.report.samples += len(indices)
        if self._keys is not None:
            batch[KEY] = [self._keys.key(*one) for one in zip(archives, indices, strict=True)]
        batch[INDEX] = np.array(indices, np.int64)
        if len(self._sources) > 1:
            batch[ARCHIVE] = np.array(archives, np.int64)
        return self._given(batch)

    def _decoded(self, begun: Begun) -> StreamBatch | None:
        """Wait for the samples of a batch, and collate them."""
        request = begun.request
        made = self._windowed(begun) if request.windowed else self._samples(begun)
        samples = [one for _, one in made]
        self.report.n_nearest += sum(len(one.nearest) for one in samples)
        self.report.n_coarser += sum(len(one.coarser) for one in samples)
        rows = [self._row(one, row, request.seed) for row, one in made]
        return self._collate(samples, rows) if samples else None

    def _samples(self, begun: Begun) -> list[tuple[Row, Decoded]]:
        """Wait for samples, and return those that are intact."""
        rows = begun.request.rows
        self._intact(begun.found[: len(rows)])
        decoded: dict[int, Decoded | BitstreamError] = {}
        for at, finish in begun.parts:
            decoded |= zip(at, finish(), strict=True)
        made: list[tuple[Row, Decoded]] = []
        for row in rows:
            one = decoded.get(row.at)
            if isinstance(one, BitstreamError):
                self._damaged(row.archive, row.index, one)
            elif one is not None:
                made.append((row, one))
        return made

    def _windowed(self, begun: Begun) -> list[tuple[Row, Decoded]]:
        """Wait for frames, and return the samples all of whose frames are intact."""
        wrong: dict[FrameKey, Exception] = {
            (one.archive, one.index): one.damage for one in begun.found if one.damage is not None
        }
        values: dict[tuple[int, int, str], Any] = {}
        for at, finish in begun.parts:
            for k, one in zip(at, finish(), strict=True):
                number, index = begun.found[k].archive, begun.found[k].index
                if isinstance(one, BitstreamError):
                    wrong[number, index] = one
                else:
                    values |= {(number, index, name): own for name, own in one.arrays.items()}
        made: list[tuple[Row, Decoded]] = []
        for row in begun.request.rows:
            samples = begun.request.windowed[row.archive]
            damage = [wrong.get((row.archive, frame)) for frame in samples.frames(row.at)]
            error = next((one for one in damage if one is not None), None)
            if error is not None:
                self._damaged(row.archive, row.index, error)
                continue
            arrays = samples.made(row.at, partial(_value, values, row.archive))
            made.append((row, Decoded(row.index, arrays)))
        return made

    def _collate(self, samples: Sequence[Decoded], rows: Sequence[Any]) -> StreamBatch:
        self.report.samples += len(rows)
        if self._options.collate_fn is not None:
            made: StreamBatch = self._collated(self._options.collate_fn, rows)
            return made
        for_torch = self._options.output == "torch"
        if self._options.mixed_sizes == "pad":
            rows = padded(rows, self._meant, self._lists)
        batch = self._given(
            collate(rows, self._meant, self._lists, self._counts, for_torch, self._lengths)
        )
        if self._synthesis is not None:
            self._synthesis.add_latents(batch, samples)
        return batch

    def _collated(self, collate_fn: CollateFn, rows: Sequence[Any]) -> Any:
        batch = collate_fn(list(rows))
        if batch is None:
            raise UsageError("collate_fn gave None: it must return a batch of the samples it gets")
        return batch

    def _given(self, batch: StreamBatch) -> StreamBatch:
        """Return a batch as it was asked for: of tensors, or of arrays."""
        if self._options.output != "torch":
            return batch
        from dsc._stream.tensors import to_tensors

        return to_tensors(batch, self._lists)

    def _row(self, sample: Decoded, row: Row, seed: int) -> Any:
        """Return a sample's arrays and its place, transformed; the place stays whatever is done."""
        archive = row.archive
        place: dict[str, Any] = {INDEX: sample.index}
        if len(self._sources) > 1:
            place[ARCHIVE] = archive
        place |= sample.told(self._options.on_damage)
        if self._keys is not None:
            place[KEY] = self._keys.key(archive, sample.index)
        arrays = {name: self._for_heads(name, one) for name, one in sample.arrays.items()}
        if self._transform is None and self._options.collate_fn is None:
            return {**arrays, **place}
        whole = Sample.of({**arrays, **place}, self._own_tasks[archive], self._lengths)
        given: object = whole
        if self._transform is not None:
            rng = generator(seed, row.turn, sample.index, archive)
            given = self._transform(whole, rng)
        if self._options.collate_fn is not None and not isinstance(given, Mapping):
            return given
        if not isinstance(given, Mapping):
            key = self._sources[archive].archive.key(sample.index)
            raise UsageError(
                f"the transform gave {type(given).__name__} for sample {key} ({sample.index}): it "
                "must return a dict of arrays by name, such as sample | {'rgb': cropped}"
            )
        lost = {name: at for name, at in place.items() if name not in given}
        return given | lost if isinstance(given, Sample) else {**given, **lost}

    def _for_heads(self, name: str, value: Any) -> Any:
        """Return what a task is decoded to; features in float32 where heads take them."""
        if name not in self._features or value is None:
            return value
        if isinstance(value, list):  # of a window whose frames differ in size
            return [self._for_heads(name, one) for one in value]
        return value.astype(np.float32, copy=False)

    def finish(self, batch: StreamBatch) -> StreamBatch:
        """Do what is done in the training process: name the latents, or synthesise them."""
        return batch if self._synthesis is None else self._synthesis.finish(batch)

    def _open_synthesis(self) -> "Synthesis":
        from dsc._stream.synthesis import Synthesis

        return Synthesis(self._decoders[0], self._options, self._lists, self._counts, self._tasks)

    def _where(self, archive: int) -> str:
        return self._sources[archive].archive.root.url


def _column(
    name: str, request: BatchRequest, packs: Mapping[PackKey, PackOfStreams]
) -> list[bytes | None]:
    """Copy the bitstreams of one stream; None where a sample or archive does not have it."""
    columns = [getattr(packs[key].get(name), "payloads", None) for key in request.keys]
    return [
        None
        if at is None or (column := columns[at]) is None or (payload := column[place]) is None
        else bytes(payload)
        for at, place in zip(request.key, request.place, strict=True)
    ]


def _column_of(pack: ReadPack) -> Column:
    return pack if isinstance(pack, CorruptArchiveError) else pack.payloads


def _payloads(
    streams: PackOfStreams,
    place: int,
    lanes: Sequence[LanePack],
    beside: Sequence[Lane],
    instead: Callable[[LanePack], dict[str, memoryview | bytes | None]] | None,
    finer: frozenset[str],
) -> SamplePayloads | CorruptArchiveError:
    """Return a sample's bitstreams, or what is wrong with the first that is damaged.

    `instead` gives what stands for a damaged frame of a lane; of the streams in `finer` a damaged
    payload is as one that is not there.
    """
    out: dict[str, memoryview | bytes | None] = {}
    wrong: dict[str, CorruptArchiveError] = {}
    for names in beside:
        out |= dict.fromkeys(names)
        own = own_among(names, [_column_of(streams[name]) for name in names], place)
        if isinstance(own, CorruptArchiveError):
            wrong |= dict.fromkeys(set(names) - finer, own)
        elif own is not None:
            out[own[0]] = own[1]
    for lane in lanes:
        out |= dict.fromkeys(lane.lane)
        linked = lane.linked(place)
        stands = instead(lane) if instead is not None and (wrong or is_damaged(linked)) else {}
        if stands:
            out |= stands
            wrong = {name: error for name, error in wrong.items() if name not in stands}
            continue
        if isinstance(linked, CorruptArchiveError) and not finer.issuperset(lane.lane):
            return linked
        if isinstance(linked, tuple):
            out[linked[0]] = linked[1]
    for error in wrong.values():
        return error
    for name, pack in streams.items():
        if name in out:
            continue
        payload = pack if isinstance(pack, CorruptArchiveError) else pack.payloads[place]
        if not isinstance(payload, CorruptArchiveError):
            out[name] = payload
        elif name not in finer:
            return payload
    return out


def _value(values: Mapping[tuple[int, int, str], Any], archive: int, index: int, task: str) -> Any:
    return values[archive, index, task]


def _copy(payload: memoryview | bytes | None) -> bytes | None:
    return None if payload is None else bytes(payload)


def _with_aliases(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Return tasks by every name that finds them."""
    found = dict(tasks)
    for alias in ALIASES.keys() - tasks.keys():
        with suppress(UnknownTaskError):
            found[alias] = tasks[resolve_task(alias, list(tasks))]
    return found
