"""The open file of a replay buffer, and what is read from it.

A reader goes on with the file it opened, whatever is written meanwhile. It pickles as a path and
opens the file when it is first used; after a fork it may be used as it is. A `BufferWriter` shows
it what it is about to write.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsc._replay.buffer.cache import DecodedCache
from dsc._replay.buffer.file import BufferFile
from dsc._replay.buffer.format import BufferMeta, Ints
from dsc._replay.buffer.slots import SlotCodecs
from dsc._replay.buffer.snapshot import BufferReport, BufferSnapshot
from dsc._schemas.size import parse_bytes
from dsc.errors import StateMismatchError, UsageError


class BufferReader:
    """Reads a buffer's file, opened when it is first needed.

    Parameters
    ----------
    path
        The file.
    cache
        Bytes of decoded exemplars to keep in memory.

    Attributes
    ----------
    file
        What is open; None before the first use.
    new_weights
        Codecs' weights by hash that the next file will have and this one need not have.
    """

    def __init__(self, path: str | os.PathLike[str], cache: int | str = 0) -> None:
        self.path = Path(path).absolute()
        self.file: BufferFile | None = None
        self.new_weights: dict[str, bytes] = {}
        self._cache = DecodedCache(parse_bytes(cache, "cache"))
        self._shown: BufferSnapshot | None = None
        self._expected: int | None = None
        self._closed = False

    @property
    def snapshot(self) -> BufferSnapshot:
        """What is read: the file as it was opened, or what is about to be written."""
        if self._shown is None:
            self.reload()
        shown = self._shown
        if shown is None:
            raise UsageError(f"{self.path}: this buffer is closed")
        return shown

    def reload(self) -> None:
        """Go on with the newest state of the file.

        Raises
        ------
        StateMismatchError
            When this object was sent here by another process and the buffer has changed since.
        """
        if self._closed:
            raise UsageError(f"{self.path}: this buffer is closed")
        file = BufferFile(self.path)
        meta, expected, self._expected = file.contents.meta, self._expected, None
        if expected is not None and meta.generation != expected:
            raise StateMismatchError(
                f"{self.path}: update {meta.generation}, but it was {expected} when this reader "
                "was made; make the DataLoader again after an update"
            )
        slots = self._slots_for(meta)
        slots.check(meta.slots, file.has_weights)
        before, self.file = self._shown, file
        self._shown = BufferSnapshot(file.contents, file.read, slots)
        if before is None or before.meta.generation != meta.generation:
            self._cache.moved({})

    def show(self, snapshot: BufferSnapshot) -> None:
        """Read what is about to be written."""
        self._shown = snapshot

    def show_again(self, snapshot: BufferSnapshot) -> None:
        """Read what was there before an update that came to nothing."""
        self._shown = snapshot
        self._cache.moved({address: address for address in snapshot.rows.addresses.tolist()})

    def go_on_with(self, file: BufferFile, addresses: Ints) -> None:
        """Read the file that has been written; its payloads were at `addresses` before."""
        contents = file.contents
        moved = zip(addresses.tolist(), contents.rows.addresses.tolist(), strict=True)
        self._cache.moved(dict(moved))
        slots = self._slots_for(contents.meta)
        self.file, self._shown = file, BufferSnapshot(contents, file.read, slots)
        self.new_weights = {}

    def close(self) -> None:
        """Let the file go; this object cannot be used any more."""
        self._closed, self._shown, self.file = True, None, None

    def items(self, indices: Sequence[int]) -> list[tuple[Any, int]]:
        """Decode several exemplars together; those in the cache are copied from there."""
        now = self.snapshot
        rows = [now.checked_index(index) for index in indices]
        addresses = now.rows.addresses[rows].tolist()
        found = [self._cache.get(address) for address in addresses]
        wanted = [at for at, kept in enumerate(found) if kept is None]
        if wanted:
            for at, decoded in zip(wanted, now.decode([rows[at] for at in wanted]), strict=True):
                found[at] = decoded
                self._cache.put(addresses[at], decoded)
        labels = now.rows.labels[rows].tolist()
        plain = now.meta.tasks[0].name if now.meta.plain else None
        return [
            (sample if plain is None or sample is None else sample[plain], label)
            for sample, label in zip(found, labels, strict=True)
        ]

    def report(self) -> BufferReport:
        """Count the bytes by part, and the exemplars by class and codec."""
        now = self.snapshot
        file_bytes = 0 if self.file is None else self.file.file_bytes
        return now.report(self.decoder_bytes(now.meta), file_bytes)

    def weights(self, sha256: str) -> bytes | None:
        """Read a codec's weights file; None where it is not there."""
        if sha256 in self.new_weights:
            return self.new_weights[sha256]
        return None if self.file is None else self.file.weights(sha256)

    def decoder_bytes(self, meta: BufferMeta) -> int:
        """Count the bytes of all weights that a buffer names."""
        file, new = self.file, self.new_weights
        sizes = [
            len(new[sha]) if sha in new else (file.weights_bytes(sha) if file else 0)
            for sha in meta.weight_hashes
        ]
        return sum(sizes)

    def _slots_for(self, meta: BufferMeta) -> SlotCodecs:
        """Return the codecs made so far; a buffer that is new here has made none."""
        if self._shown is None:
            return SlotCodecs(self.path, self.weights, meta.encoders)
        return self._shown.slots

    def __getstate__(self) -> dict[str, Any]:
        committed = None if self.file is None else self.file.contents.meta.generation
        return {
            "path": self.path,
            "cache": self._cache.limit,
            "expected": self._expected if committed is None else committed,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        BufferReader.__init__(self, state["path"], state["cache"])
        self._expected = state["expected"]
