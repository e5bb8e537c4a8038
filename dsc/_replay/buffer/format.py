"""What a replay buffer's file says of its exemplars, and the arrays that say it; no I/O.

`BufferMeta` is JSON that does not grow with exemplars. `ExemplarRows` is the index, one row an
exemplar. `packed` and `unpacked` go between both and the arrays in the file::

    meta         uint8    JSON, `BufferMeta`
    labels       uint16   (N,); 65535 stands for the next of `wide_labels`, int64
    slots        uint8    (N,)
    random       uint32   (N,)
    lengths      uint16   of the streams of all exemplars; 65534: the stream is absent; 65535 stands
                          for the next of `long_lengths`, uint32
    keys, key_lengths     UTF-8, uint16; where the buffer has keys
    state/*               the policy's

Costs add up: what an exemplar costs depends on nothing but itself, so a policy can compare, sort
and sum them. They are the bytes that the file holds for it: its payload, and 9 bytes or more of
index (see `row_costs`).
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dsc._hashing import splitmix64
from dsc._schemas import CodecRecord, Quality, Stream, Task
from dsc._schemas.base import Schema
from dsc.errors import UnsupportedVersionError, UsageError

VERSION = 1
MAX_SLOTS = 256

Ints = NDArray[np.int64]

ABSENT = -1
"""Length of a stream that an exemplar lacks, since it lacks the task."""

ABSENT_CODE, LONG_CODE = 0xFFFE, 0xFFFF  # in the file, lengths from 65,534 on stand in a list
WIDE_CODE = 0xFFFF  # in the file, labels outside 0 to 65,534 stand in a list
LABEL_BYTES, SLOT_BYTES, RANDOM_BYTES, LENGTH_BYTES = 2, 1, 4, 2
LONG_BYTES, WIDE_BYTES, KEY_BYTES = 4, 8, 2
MAX_KEY_BYTES = 0xFFFF
LATER = ("pictures", "wish", "learns")  # fields of a buffer's record that came later


class SlotRecord(Schema):
    """With what some exemplars were encoded: codecs, their stream graph, and a quality.

    Attributes
    ----------
    codecs
        In the order of a `dsc._pipeline.choose.codec_set.CodecSet`; named by their decoders where
        these can be told apart (`dsc._codecs.split`).
    streams
        The stream graph; an exemplar's payload holds its streams in this order.
    quality
        What the encoder was asked for.
    """

    codecs: tuple[CodecRecord, ...]
    streams: tuple[Stream, ...]
    quality: Quality

    @property
    def label(self) -> str:
        """Codecs and quality, for people: ``webp q50``, ``av1-small q20 + embedding q40``."""
        each = [(record.label, self._quality_of(record)) for record in self.codecs]
        if len({quality for _, quality in each}) == 1:
            return f"{'+'.join(name for name, _ in each)} q{each[0][1]}"
        return " + ".join(f"{name} q{quality}" for name, quality in each)

    def _quality_of(self, record: CodecRecord) -> int:
        """Return the quality of the first task that a codec carries."""
        carried = [s.carries[0] for s in self.streams if s.name in record.streams and s.carries]
        return self.quality.of(carried[0]) if carried else self.quality.default

    def at_quality(self, quality: int) -> "SlotRecord":
        """Return the same codecs at another quality; those of single tasks change in proportion."""
        old = self.quality
        if quality == old.default:
            return self
        scale = quality / old.default
        tasks = {name: max(1, min(100, round(value * scale))) for name, value in old.tasks.items()}
        return self.model_copy(update={"quality": Quality(default=quality, tasks=tasks)})


class CodecWish(Schema):
    """What a buffer was opened with, as long as its codecs wait for the first images.

    Attributes
    ----------
    codec
        As for ``--codec``; None where nothing was asked for.
    quality
        What their encoders will be asked for.
    """

    codec: str | None = None
    quality: Quality


class BufferMeta(Schema):
    """What a buffer remembers about itself.

    Attributes
    ----------
    budget
        Bytes.
    count_decoder
        Whether the codecs' weights count against the budget.
    seed
        Where the random keys of the next samples come from.
    seeds
        All seeds that keys in this buffer came from, those of merged buffers too.
    seen
        Samples offered to this buffer under `seed`.
    offered
        Samples offered in all, to merged buffers too.
    generation
        Counts the updates.
    policy
        What makes the policy again.
    tasks
        What an exemplar holds.
    plain
        Whether an exemplar is one image, given and read without a task's name.
    keyed
        Whether exemplars have keys; None as long as there was none.
    max_pixels
        Pixels of the largest map offered.
    current
        With what new exemplars are encoded.
    slots
        With what those there were encoded.
    encoders
        Hash of the whole weights file that encoded last, by that of its decoder's part, which is
        what slots name. For people; nothing depends on it.
    pictures
        Which share of the samples is kept as pictures, the others as embeddings; None where an
        exemplar has whatever was given of it.
    wish
        What to choose codecs by when the first images come; None where `current` says them.
    learns
        Whether codecs of `current` are still to learn from the first samples.
    """

    version: int = VERSION
    budget: int
    count_decoder: bool = False
    seed: int
    seeds: tuple[int, ...] = ()
    seen: int = 0
    offered: int = 0
    generation: int = 0
    policy: dict[str, Any]
    tasks: tuple[Task, ...]
    plain: bool
    keyed: bool | None = None
    max_pixels: int = 1
    current: SlotRecord | None = None
    slots: tuple[SlotRecord, ...] = Field(default=(), max_length=MAX_SLOTS)
    encoders: dict[str, str] = Field(default_factory=dict)
    pictures: float | None = Field(default=None, gt=0, lt=1)
    wish: CodecWish | None = None
    learns: bool = False

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not so: buffers without it keep their bytes."""
        whole: dict[str, Any] = handler(self)
        absent = (None, False)
        return {k: v for k, v in whole.items() if k not in LATER or v not in absent}

    @property
    def weight_hashes(self) -> tuple[str, ...]:
        """Hashes of the weights of all slots and of the current one, each once."""
        slots = self.slots if self.current is None else (*self.slots, self.current)
        found = [r.weights_sha256 for slot in slots for r in slot.codecs]
        return tuple(dict.fromkeys(sha for sha in found if sha is not None))

    @property
    def slot_to_fill(self) -> SlotRecord:
        """With what new exemplars are encoded.

        Raises
        ------
        UsageError
            When the buffer has no codec yet.
        """
        if self.current is None:
            raise UsageError(
                "this buffer has no codec yet; open it with ReplayBuffer(path, codec=...)"
            )
        return self.current


@dataclass(frozen=True)
class ExemplarRows:
    """Exemplars, without their payloads.

    Attributes
    ----------
    labels
        (N,) int64.
    random
        (N,) uint32, each exemplar's random key; see `random_keys`.
    slots
        (N,) uint8, with what codec and quality it was encoded.
    lengths
        (N, S) int64, bytes of each of its streams; `ABSENT` where it has none.
    addresses
        (N,) int64, where its payload begins: the streams one after another.
    keys
        (N,) object, UTF-8 bytes; all empty in a buffer without keys.
    """

    labels: Ints
    random: NDArray[np.uint32]
    slots: NDArray[np.uint8]
    lengths: Ints
    addresses: Ints
    keys: NDArray[np.object_]

    @classmethod
    def empty(cls) -> Self:
        """Return no rows."""
        return cls(
            np.zeros(0, np.int64),
            np.zeros(0, np.uint32),
            np.zeros(0, np.uint8),
            np.zeros((0, 1), np.int64),
            np.zeros(0, np.int64),
            np.zeros(0, object),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sizes(self) -> Ints:
        """Bytes of each payload, (N,)."""
        sizes: Ints = np.maximum(self.lengths, 0).sum(axis=1)
        return sizes

    def take(self, order: Ints) -> "ExemplarRows":
        """Return these rows, in this order."""
        return ExemplarRows(
            self.labels[order],
            self.random[order],
            self.slots[order],
            self.lengths[order],
            self.addresses[order],
            self.keys[order],
        )

    def followed_by(self, other: "ExemplarRows") -> "ExemplarRows":
        """Return these rows and then the others."""
        wide = max(self.lengths.shape[1], other.lengths.shape[1])
        return ExemplarRows(
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.random, other.random]),
            np.concatenate([self.slots, other.slots]),
            np.concatenate([_widened(self.lengths, wide), _widened(other.lengths, wide)]),
            np.concatenate([self.addresses, other.addresses]),
            np.concatenate([self.keys, other.keys]),
        )


def row_costs(rows: ExemplarRows, stream_counts: Sequence[int], keyed: bool) -> Ints:
    """Count the bytes that the file holds for each exemplar, its share of checksums left out.

    Parameters
    ----------
    stream_counts
        Streams of an exemplar, by slot.
    keyed
        Whether the buffer keeps keys.
    """
    counts = np.asarray(stream_counts, np.int64)[rows.slots]
    costs = rows.sizes + LABEL_BYTES + SLOT_BYTES + RANDOM_BYTES + LENGTH_BYTES * counts
    costs += LONG_BYTES * (rows.lengths >= ABSENT_CODE).sum(axis=1)
    costs += WIDE_BYTES * ((rows.labels < 0) | (rows.labels >= WIDE_CODE))
    if keyed:
        costs += KEY_BYTES + np.array([len(key) for key in rows.keys], np.int64)
    return costs


def random_keys(seed: int, first: int, count: int) -> NDArray[np.uint32]:
    """Draw the random keys of the samples `first` to `first + count - 1` that a buffer is offered.

    A hash of the seed and the running number: any part of the sequence can be drawn alone, and
    two seeds give sequences that know nothing of each other.
    """
    start = splitmix64(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64))
    return (
        splitmix64(start ^ splitmix64(np.arange(first, first + count, dtype=np.uint64)))
        >> np.uint64(32)
    ).astype(np.uint32)


def _widened(lengths: Ints, wide: int) -> Ints:
    missing = wide - lengths.shape[1]
    return np.pad(lengths, ((0, 0), (0, missing)), constant_values=ABSENT) if missing else lengths


Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class BufferContents:
    """A buffer without payloads and weights."""

    meta: BufferMeta
    rows: ExemplarRows
    state: Mapping[str, NDArray[Any]]


def packed(contents: BufferContents) -> Arrays:
    """Return the arrays of an index."""
    rows, counts = contents.rows, [len(slot.streams) for slot in contents.meta.slots]
    lengths = rows.lengths[_own_streams(rows.slots, counts, rows.lengths.shape[1])]
    long = lengths >= ABSENT_CODE
    codes = np.where(long, LONG_CODE, np.where(lengths == ABSENT, ABSENT_CODE, lengths))
    wide = (rows.labels < 0) | (rows.labels >= WIDE_CODE)
    arrays: Arrays = {
        "meta": np.frombuffer(contents.meta.to_json().encode(), np.uint8),
        "labels": np.where(wide, WIDE_CODE, rows.labels).astype("<u2"),
        "slots": rows.slots,
        "random": rows.random.astype("<u4"),
        "lengths": codes.astype("<u2"),
    }
    if wide.any():
        arrays["wide_labels"] = rows.labels[wide].astype("<i8")
    if long.any():
        arrays["long_lengths"] = lengths[long].astype("<u4")
    if contents.meta.keyed:
        arrays["keys"] = np.frombuffer(b"".join(rows.keys), np.uint8)
        arrays["key_lengths"] = np.array([len(key) for key in rows.keys], "<u2")
    return arrays | {f"state/{name}": array for name, array in contents.state.items()}


def _own_streams(slots: NDArray[np.uint8], counts: list[int], wide: int) -> NDArray[np.bool_]:
    """Mark the columns of `ExemplarRows.lengths` that each row's slot has."""
    own = np.asarray(counts, np.int64)[slots] if len(slots) else np.zeros(0, np.int64)
    return np.arange(wide)[None, :] < own[:, None]


def unpacked(arrays: Arrays, where: str) -> BufferContents:
    """Return the index of arrays; its rows lie one after another from address 0.

    Raises
    ------
    KeyError, ValueError, IndexError
        When an array is missing or does not fit.
    UnsupportedVersionError
        When a later dsc wrote them.
    """
    text = arrays["meta"].tobytes()
    found = json.loads(text).get("version")
    if found != VERSION:
        raise UnsupportedVersionError(
            f"{where}: a replay buffer of version {found}; this dsc reads version {VERSION}"
        )
    meta = BufferMeta.from_json(text, where)
    slots, labels = arrays["slots"], arrays["labels"].astype(np.int64)
    if "wide_labels" in arrays:
        labels[labels == WIDE_CODE] = arrays["wide_labels"]
    flat = arrays["lengths"].astype(np.int64)
    long, absent = flat == LONG_CODE, flat == ABSENT_CODE
    flat[long] = arrays.get("long_lengths", np.zeros(0, np.int64))
    flat[absent] = ABSENT
    counts = [len(slot.streams) for slot in meta.slots]
    wide = max(counts, default=1)
    lengths = np.full((len(labels), wide), ABSENT, np.int64)
    lengths[_own_streams(slots, counts, wide)] = flat
    sizes = np.maximum(lengths, 0).sum(axis=1)
    addresses = np.cumsum(sizes) - sizes
    rows = ExemplarRows(
        labels, arrays["random"], slots, lengths, addresses, _keys(arrays, len(labels))
    )
    state = {n.removeprefix("state/"): a for n, a in arrays.items() if n.startswith("state/")}
    return BufferContents(meta, rows, state)


def checksum(arrays: Mapping[str, NDArray[Any]]) -> int:
    """Return the CRC-32 of names and values."""
    crc = 0
    for name in sorted(arrays):
        crc = zlib.crc32(
            np.ascontiguousarray(arrays[name]).tobytes(), zlib.crc32(name.encode(), crc)
        )
    return crc


def _keys(arrays: Arrays, count: int) -> NDArray[np.object_]:
    keys = np.full(count, b"", object)
    if "keys" in arrays:
        data, ends = arrays["keys"].tobytes(), np.cumsum(arrays["key_lengths"].astype(np.int64))
        starts = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
        for at, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            keys[at] = data[start:end]
    return keys
