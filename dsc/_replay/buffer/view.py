"""A replay buffer at one moment: its index, where its payloads are, and how they are decoded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dsc._codecs.base import Array
from dsc._replay.buffer.meta import BufferMeta
from dsc._replay.buffer.packing import Contents
from dsc._replay.buffer.rows import ABSENT, Ints, Rows, row_costs
from dsc._replay.buffer.slots import Slots
from dsc._replay.buffer.store import block_bytes
from dsc._replay.policies.base import State, state_bytes
from dsc.errors import UsageError

RUN_BYTES = 1 << 20


class ExemplarIndexError(UsageError, IndexError):
    """A number that no exemplar of the buffer has."""


@dataclass(frozen=True)
class View:
    """See the module.

    Attributes
    ----------
    read
        Gives payload bytes by address and size.
    """

    contents: Contents
    read: Callable[[int, int], bytes]
    slots: Slots

    @property
    def meta(self) -> BufferMeta:
        """What the buffer remembers about itself."""
        return self.contents.meta

    @property
    def rows(self) -> Rows:
        """The index."""
        return self.contents.rows

    @property
    def state(self) -> State:
        """The policy's state."""
        return self.contents.state

    def having(
        self,
        meta: BufferMeta | None = None,
        rows: Rows | None = None,
        state: State | None = None,
    ) -> "View":
        """Return the same with some parts replaced."""
        contents = Contents(
            self.meta if meta is None else meta,
            self.rows if rows is None else rows,
            self.state if state is None else state,
        )
        return replace(self, contents=contents)

    def costs(self, rows: Rows | None = None) -> Ints:
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
