"""Reads columns: the values of a task over all samples of a shard, its streams and no others.

Every task that is no map is a column, and so are a sample's ``key``, its ``index`` in the
archive, its ``split`` and its name in the ``source``; and of a frame of a recording the name of
its ``sequence``, the number of the ``frame``, and its ``time`` in nanoseconds. Codecs that lay
values out plainly are read all samples at once; what others coded is decoded sample by sample.
Nothing is kept from shard to shard.
"""

import math
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsc._columns.column import (
    Column,
    Ints,
    Mask,
    NumberColumn,
    TableColumn,
    coded,
    unique_blobs,
)
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._schemas import (
    SequencePlace,
    Task,
    TaskKind,
    carrying_streams,
    required_streams,
    resolve_task,
)
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc.errors import BitstreamError, UnknownTaskError, UsageError

OF_RECORDINGS = ("sequence", "frame", "time")
PSEUDO = ("key", "index", "split", "source", *OF_RECORDINGS)


class Payloads(NamedTuple):
    """The bitstreams of one stream over a shard.

    Attributes
    ----------
    data
        Those that are there, back to back, uint8.
    lengths
        Of those that are there.
    there
        Which samples have one, (n,).
    """

    data: NDArray[np.uint8]
    lengths: Ints
    there: Mask


class ArchiveColumns:
    """The columns of an archive.

    Parameters
    ----------
    archive
        The archive.
    reader
        Reads its packs.
    """

    def __init__(self, archive: Archive, reader: PackReader) -> None:
        self.archive, self.reader = archive, reader
        self._tasks = {task.name: task for task in archive.manifest.tasks}
        self._codecs = CodecSet.from_archive(archive)
        self._pseudo = {f"__{name}__": name for name in PSEUDO}
        self._pseudo |= {name: name for name in PSEUDO if name not in self._tasks}

    @property
    def names(self) -> list[str]:
        """The columns, as messages list them."""
        tasks = [task.name for task in self._tasks.values() if not task.is_spatial]
        return tasks + [name for name in self._pseudo if not name.startswith("_")]

    def of(self, shard: int | None) -> "ShardColumns":
        """Return the columns of a shard; with None of no sample at all, to see what they are."""
        return ShardColumns(self, shard)

    def find(self, name: str) -> Task | str:
        """Return the task, or the kind of pseudo-column, that a name means.

        Raises
        ------
        UsageError
            When there is none; the message lists those that there are.
        """
        if name in self._tasks:
            return self._tasks[name]
        if name in self._pseudo:
            return self._pseudo[name]
        try:
            return self._tasks[resolve_task(name, list(self._tasks))]
        except UnknownTaskError:
            near = get_close_matches(name, self.names, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise UsageError(
                f"no column {name!r}{hint}; this archive has {', '.join(self.names)}"
            ) from None

    def read(self, name: str, shard: int | None) -> Column:
        """Read a column of a shard.

        Raises
        ------
        UsageError
            When there is no such column.
        CorruptArchiveError, BitstreamError
            When it is damaged.
        """
        found = self.find(name)
        if isinstance(found, str):
            return self._pseudo_column(found, name, shard)
        return self._task_column(found, shard)

    def samples(self, shard: int | None) -> int:
        """Return how many samples a shard has."""
        return 0 if shard is None else self.archive.shards[shard].samples

    def _pseudo_column(self, kind: str, name: str, shard: int | None) -> Column:
        count = self.samples(shard)
        there = np.ones(count, bool)
        if kind in OF_RECORDINGS:
            return _place_column(kind, name, [] if shard is None else self.archive.places(shard))
        if kind == "index":
            first = 0 if shard is None else self.archive.start(shard)
            return NumberColumn(np.arange(first, first + count), there, name=name)
        if kind == "split":
            table = [""] if shard is None else [self.archive.shards[shard].split]
            return TableColumn(table, np.zeros(count, np.int64), there, "text", name)
        if shard is None:
            return coded([], "text", name)
        if kind == "key":
            return coded(self.archive.keys(shard), "text", name)
        return coded(self.archive.source_names(shard), "text", name)

    def _task_column(self, task: Task, shard: int | None) -> Column:
        if shard is None:
            return _without_samples(task)
        if task.is_spatial:
            there = self._there(task, shard)
            return NumberColumn(np.zeros(len(there), np.int64), there, "map", task.name)
        streams = required_streams(self.archive.manifest.streams, [task.name])
        if task.kind is TaskKind.BYTES and len(streams) == 1:
            return self._sizes(task, shard, streams[0])
        found = None
        if len(streams) == 1:
            codec = self._codecs.records()[self._codecs.slot_of(task.name)].id
            if codec == "plain" and not (task.varies and not task.is_blob):
                found = self._plain(task, shard, streams[0])
            elif codec == "vector" and task.kind is TaskKind.CLASS:
                payloads = self._payloads(shard, streams[0])
                values = _class_values(payloads, np.dtype(task.dtype))
                found = None if values is None else _numbers(task, values, payloads.there)
        return found or self._decoded(task, shard, streams)

    def _sizes(self, task: Task, shard: int, stream: str) -> Column:
        """Return how many bytes files have, from the tables of packs."""
        if not self.reader.has_tables(stream):
            lengths = np.concatenate(
                [part.lengths for part in self.reader.read_joined(shard, stream)]
            )
            return NumberColumn(np.maximum(lengths, 0), lengths >= 0, "bytes", task.name)
        packs = range(self.archive.n_packs(shard))
        tables = self.reader.each(lambda pack: self.reader.table(shard, stream, pack), packs)
        sizes = [t.ends - t.starts if t.sizes is None else t.sizes for t in tables]
        there = ~np.concatenate([table.missing for table in tables])
        return NumberColumn(np.where(there, np.concatenate(sizes), 0), there, "bytes", task.name)

    def _plain(self, task: Task, shard: int, stream: str) -> Column | None:
        """Read what the codec `plain` wrote, all at once; None where a length is odd."""
        payloads = self._payloads(shard, stream)
        if task.is_blob:
            return self._blobs(task, shard, stream, payloads)
        stored = np.dtype(task.dtype).newbyteorder("<")
        shape = task.value_shape
        if (payloads.lengths != stored.itemsize * math.prod(shape)).any():
            return None
        values = payloads.data.view(stored).reshape(-1, *shape).astype(task.dtype)
        return _numbers(task, values, payloads.there)

    def _blobs(self, task: Task, shard: int, stream: str, payloads: Payloads) -> Column:
        table, codes = unique_blobs(payloads.data, payloads.lengths)
        try:
            values = [task.to_physical(np.frombuffer(blob, np.uint8)) for blob in table]
        except ValueError as error:
            path = self.archive.root.where(self.archive.record(shard, stream).path)
            raise BitstreamError(f"{path}: task {task.name} cannot be decoded: {error}") from error
        there = payloads.there
        whole = np.zeros(len(there), np.int64)
        whole[there] = codes
        known = there.copy()  # JSON may say that there is nothing
        known[there] = np.array([value is not None for value in values], bool)[codes]
        return TableColumn(values or [None], whole, known, task.kind.value, task.name)

    def _there(self, task: Task, shard: int) -> Mask:
        """Return which samples have a task; only tables of packs are read, if anything is."""
        count = self.samples(shard)
        streams = self.archive.shards[shard].streams
        found = np.zeros(count, bool)
        for name in carrying_streams(self.archive.manifest.streams, task.name):
            if not streams[name].n_missing:
                return np.ones(count, bool)
            packs = range(self.archive.n_packs(shard))
            lacks = [self.reader.missing(shard, name, pack) for pack in packs]
            found |= ~np.concatenate(lacks)
        return found

    def _payloads(self, shard: int, stream: str) -> Payloads:
        parts = self.reader.read_joined(shard, stream)
        lengths = np.concatenate([part.lengths for part in parts])
        there = lengths >= 0
        data = np.concatenate([part.contiguous() for part in parts])
        return Payloads(data, lengths[there], there)

    def _decoded(self, task: Task, shard: int, streams: Sequence[str]) -> Column:
        """Decode a task of all samples, by its codec."""
        packs = range(self.archive.n_packs(shard))
        columns = {
            name: [p for pack in self.reader.read(shard, name, packs) for p in pack.payloads]
            for name in streams
        }
        given = [
            {name: bytes(data) for name, data in zip(streams, row, strict=True) if data is not None}
            for row in zip(*columns.values(), strict=True)
        ]
        limit = self.archive.manifest.max_pixels
        try:
            arrays = self._codecs.decode_batch(given, [task.name], limit)
        except BitstreamError as error:
            paths = [self.archive.record(shard, name).path for name in streams]
            where = ", ".join(self.archive.root.where(path) for path in paths)
            raise BitstreamError(f"{where}: task {task.name} cannot be decoded: {error}") from error
        return _of_arrays(task, [one.get(task.name) for one in arrays])


class ShardColumns:
    """The columns of one shard, each read when it is first looked up."""

    def __init__(self, columns: ArchiveColumns, shard: int | None) -> None:
        self._columns, self._shard = columns, shard
        self._read: dict[str, Column] = {}

    def __len__(self) -> int:
        return self._columns.samples(self._shard)

    @property
    def names(self) -> list[str]:
        """What columns there are."""
        return self._columns.names

    @property
    def looked_up(self) -> list[Column]:
        """The columns that have been looked up."""
        return list(self._read.values())

    def column(self, name: str) -> Column:
        """Read a column; see `ArchiveColumns.read`."""
        if name not in self._read:
            self._read[name] = self._columns.read(name, self._shard)
        return self._read[name]

    def key(self, k: int) -> str:
        """Return the key of a sample."""
        return "" if self._shard is None else self._columns.archive.keys(self._shard)[k]


def _place_column(kind: str, name: str, places: Sequence[SequencePlace | None]) -> Column:
    """Return what samples' places in recordings say: name, frame or time."""
    there = np.array([place is not None for place in places], bool)
    if kind == "sequence":
        table = list(dict.fromkeys(place.sequence for place in places if place is not None))
        at = {sequence: code for code, sequence in enumerate(table)}
        codes = [0 if place is None else at[place.sequence] for place in places]
        return TableColumn(table or [None], np.array(codes, np.int64), there, "text", name)
    if kind == "frame":
        found = [0 if place is None else place.frame for place in places]
    else:
        there = np.array([bool(place and place.time_ns is not None) for place in places], bool)
        found = [(place.time_ns or 0) if place else 0 for place in places]
    return NumberColumn(np.array(found, np.int64), there, name=name)


def _numbers(task: Task, values: NDArray[Any], there: Mask) -> NumberColumn:
    """Return numbers, those of the samples that have one in `values`."""
    whole = values
    if not there.all():
        whole = np.zeros((len(there), *values.shape[1:]), values.dtype)
        whole[there] = values
    what = task.kind.value if task.kind in (TaskKind.CLASS, TaskKind.TIME) else "number"
    return NumberColumn(whole, there, what, task.name, task.classes)


def _of_arrays(task: Task, arrays: Sequence[NDArray[Any] | None]) -> Column:
    """Return a column of native arrays; None where a sample lacks it."""
    there = np.array([array is not None for array in arrays], bool)
    known = [array for array in arrays if array is not None]
    if task.is_blob:
        values = [None if array is None else task.to_physical(array) for array in arrays]
        return coded(values, task.kind.value, task.name)
    if task.varies:
        return coded(arrays, "array", task.name)
    return _numbers(task, np.stack(known) if known else _no_values(task), there)


def _without_samples(task: Task) -> Column:
    none = np.zeros(0, bool)
    if task.is_spatial or task.kind is TaskKind.BYTES:
        return NumberColumn(np.zeros(0), none, "map" if task.is_spatial else "bytes", task.name)
    if task.varies:
        return coded([], task.kind.value if task.is_blob else "array", task.name)
    return _numbers(task, _no_values(task), none)


def _no_values(task: Task) -> NDArray[Any]:
    return np.zeros((0, *task.value_shape), task.dtype)


def _class_values(payloads: Payloads, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Read the integers that the codec `vector` writes, all at once; None where one is odd.

    A length in one byte, then as many bytes, little-endian two's complement.
    """
    data, lengths = payloads.data, payloads.lengths
    if not len(lengths):
        return np.zeros(0, dtype)
    starts = np.cumsum(lengths) - lengths
    if lengths.min() < 1 or lengths.max() > 9 or (data[starts] != lengths - 1).any():
        return None
    words = np.zeros(len(lengths), np.uint64)
    for byte in range(int(lengths.max()) - 1):
        has = lengths > byte + 1
        words[has] |= data[starts[has] + 1 + byte].astype(np.uint64) << np.uint64(8 * byte)
    is_negative = (lengths > 1) & (data[starts + lengths - 1] > 127)
    bits = np.where(is_negative, 8 * (lengths - 1), 64)
    short = bits < 64
    words[short] |= np.uint64((1 << 64) - 1) << bits[short].astype(np.uint64)
    found, limits = words.view(np.int64), np.iinfo(dtype)
    if found.min() < limits.min or found.max() > limits.max:
        return None
    return found.astype(dtype)
