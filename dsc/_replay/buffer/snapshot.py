"""A replay buffer at one moment: its index, where its payloads are, and how they are decoded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dsc._codecs.base import Array
from dsc._replay.buffer.file import block_bytes
from dsc._replay.buffer.format import (
    ABSENT,
    MAX_SLOTS,
    BufferContents,
    BufferMeta,
    ExemplarRows,
    Ints,
    SlotRecord,
    row_costs,
)
from dsc._replay.buffer.offered import OfferedSamples
from dsc._replay.buffer.slots import SlotCodecs
from dsc._replay.policies.base import State, state_bytes
from dsc.errors import ExemplarIndexError, UsageError

RUN_BYTES = 1 << 20
BATCH = 128
"""Images encoded and decoded together by `BufferSnapshot.through_codec`."""


@dataclass(frozen=True)
class BufferSnapshot:
    """What a buffer holds at one moment; a change gives another one.

    Attributes
    ----------
    contents
        The index.
    read
        Called with (address, size), returns payload bytes.
    slots
        The codecs.
    """

    contents: BufferContents
    read: Callable[[int, int], bytes]
    slots: SlotCodecs

    @property
    def meta(self) -> BufferMeta:
        """What the buffer remembers about itself."""
        return self.contents.meta

    @property
    def rows(self) -> ExemplarRows:
        """The index."""
        return self.contents.rows

    @property
    def state(self) -> State:
        """The policy's state."""
        return self.contents.state

    def having(
        self,
        meta: BufferMeta | None = None,
        rows: ExemplarRows | None = None,
        state: State | None = None,
    ) -> "BufferSnapshot":
        """Return the same with some parts replaced."""
        contents = BufferContents(
            self.meta if meta is None else meta,
            self.rows if rows is None else rows,
            self.state if state is None else state,
        )
        return replace(self, contents=contents)

    def costs(self, rows: ExemplarRows | None = None) -> Ints:
        """Count the bytes of each row; see `row_costs`."""
        counts = [len(slot.streams) for slot in self.meta.slots]
        return row_costs(self.rows if rows is None else rows, counts, bool(self.meta.keyed))

    @property
    def nbytes(self) -> int:
        """Everything in the file that grows with exemplars."""
        payloads = int(self.rows.sizes.sum())
        return int(self.costs().sum()) + block_bytes(payloads) + state_bytes(self.state)

    def checked_index(self, index: int) -> int:
        """Return an index from 0, a negative one counted from the end.

        Raises
        ------
        ExemplarIndexError
            When there is no such exemplar.
        """
        count = len(self.rows)
        if not -count <= index < count:
            raise ExemplarIndexError(f"exemplar {index} of a buffer that holds {count}")
        return int(index) % count

    def weight_files(self) -> dict[str, bytes]:
        """Read the codecs' weights files, by hash."""
        found = {sha: self.slots.weights(sha) for sha in self.meta.weight_hashes}
        return {sha: data for sha, data in found.items() if data is not None}

    def payload(self, index: int) -> bytes:
        """Read the payload of one exemplar."""
        size = int(np.maximum(self.rows.lengths[index], 0).sum())
        return self.read(int(self.rows.addresses[index]), size)

    def streams(self, index: int) -> dict[str, bytes]:
        """Read the streams of one exemplar, by name."""
        lengths, at, found = self.rows.lengths[index].tolist(), 0, {}
        total = sum(size for size in lengths if size != ABSENT)
        payload = self.read(int(self.rows.addresses[index]), total)
        record = self.meta.slots[self.rows.slots[index]]
        for stream, size in zip(record.streams, lengths, strict=False):
            if size != ABSENT:
                found[stream.name] = payload[at : at + size]
                at += size
        return found

    def decode(self, indices: Sequence[int]) -> list[dict[str, Array]]:
        """Decode exemplars, those of one slot together."""
        decoded: list[dict[str, Array]] = [{} for _ in indices]
        slots = self.rows.slots[np.asarray(indices, np.int64)]
        for slot in np.unique(slots).tolist():
            own = np.flatnonzero(slots == slot).tolist()
            given = [self.streams(indices[at]) for at in own]
            found = self.slots.decode(self.meta.slots[slot], given, self.meta.max_pixels)
            for at, arrays in zip(own, found, strict=True):
                decoded[at] = arrays
        return decoded

    def payloads(self) -> Iterator[bytes]:
        """Read all payloads in order, neighbours together."""
        rows = self.rows
        if not len(rows):
            return
        ends = rows.addresses + rows.sizes
        breaks = np.flatnonzero(rows.addresses[1:] != ends[:-1]) + 1
        firsts = np.concatenate([np.zeros(1, np.int64), breaks])
        lasts = np.concatenate([breaks, np.array([len(rows)])]) - 1
        for start, end in zip(rows.addresses[firsts].tolist(), ends[lasts].tolist(), strict=True):
            for at in range(start, end, RUN_BYTES):
                yield self.read(at, min(RUN_BYTES, end - at))

    def with_slot(self, record: SlotRecord) -> tuple["BufferSnapshot", int]:
        """Return the number of a slot, added where it is not there.

        Raises
        ------
        UsageError
            When there would be more than 256.
        """
        slots = self.meta.slots
        if record in slots:
            return self, slots.index(record)
        if len(slots) == MAX_SLOTS:
            raise UsageError(f"a buffer holds at most {MAX_SLOTS} pairs of codec and quality")
        return self.having(self.meta.model_copy(update={"slots": (*slots, record)})), len(slots)

    def without_unused_slots(self) -> "BufferSnapshot":
        """Forget the slots that no exemplar uses; a codec goes with its last exemplar."""
        used = np.unique(self.rows.slots)
        if len(used) == len(self.meta.slots):
            return self
        numbers = np.zeros(MAX_SLOTS, np.uint8)
        numbers[used] = np.arange(len(used))
        slots = tuple(self.meta.slots[slot] for slot in used.tolist())
        wide = max((len(slot.streams) for slot in slots), default=1)
        rows = replace(
            self.rows, slots=numbers[self.rows.slots], lengths=self.rows.lengths[:, :wide]
        )
        return self.having(self.meta.model_copy(update={"slots": slots}), rows)

    def through_codec(self, offered: OfferedSamples) -> tuple[list[Array], Ints]:
        """Encode and decode plain images without keeping them; return them and each one's bytes."""
        record, images = self.meta.slot_to_fill, []
        sizes = np.zeros(len(offered), np.int64)
        for start in range(0, len(offered), BATCH):
            several = range(start, min(start + BATCH, len(offered)))
            coded = self.slots.encode(record, [offered.sample(at) for at in several])
            sizes[start : start + BATCH] = [sum(map(len, streams.values())) for streams in coded]
            decoded = self.slots.decode(record, coded, offered.max_pixels)
            images += [arrays[offered.tasks[0].name] for arrays in decoded]
        return images, sizes

    def report(self, decoder_bytes: int, file_bytes: int) -> "BufferReport":
        """Count the bytes by part, and the exemplars by class and codec."""
        rows, payloads = self.rows, int(self.rows.sizes.sum())
        labels, counts = np.unique(rows.labels, return_counts=True)
        slots: dict[str, int] = {}
        for number, slot in enumerate(self.meta.slots):
            slots[slot.label] = slots.get(slot.label, 0) + int((rows.slots == number).sum())
        return BufferReport(
            exemplars=len(rows),
            offered=self.meta.offered,
            budget_bytes=self.meta.budget,
            payload_bytes=payloads,
            index_bytes=int(self.costs().sum()) - payloads + block_bytes(payloads),
            state_bytes=state_bytes(self.state),
            decoder_bytes=decoder_bytes,
            file_bytes=file_bytes,
            codec="undecided" if self.meta.current is None else self.meta.current.label,
            classes=dict(zip(labels.tolist(), counts.tolist(), strict=True)),
            slots=slots,
        )


@dataclass(frozen=True)
class BufferReport:
    """Where the bytes of a replay buffer go.

    Payloads, index and state add up to `ReplayBuffer.nbytes`.

    Attributes
    ----------
    exemplars
        How many there are.
    offered
        How many samples were ever offered.
    budget_bytes, payload_bytes
        The budget; bitstreams of all exemplars.
    index_bytes
        Labels, lengths, slots, random keys, keys and checksums.
    state_bytes
        What the policy remembers.
    decoder_bytes
        Weights of the codecs in use; only what decoding takes, where that can be told apart.
    file_bytes
        The file on disk: all of these and what HDF5 needs, which does not grow with exemplars.
    codec
        What new exemplars are encoded with; ``undecided`` until the first images are offered to a
        buffer that was opened without a word for them.
    classes
        Exemplars of each class.
    slots
        Exemplars by codec and quality.
    """

    exemplars: int
    offered: int
    budget_bytes: int
    payload_bytes: int
    index_bytes: int
    state_bytes: int
    decoder_bytes: int
    file_bytes: int
    codec: str = "undecided"
    classes: dict[int, int] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
