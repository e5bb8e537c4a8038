"""The reading side of a replay buffer: a map-style data set of what is in its file.

A reader goes on with the file it opened, whatever is written meanwhile. It pickles as a path and
opens the file when it is first used; after a fork it may be used as it is.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._replay.buffer.cache import DecodedCache
from dsc._replay.buffer.dataset import ExemplarDataset
from dsc._replay.buffer.file import BufferFile
from dsc._replay.buffer.meta import BufferMeta
from dsc._replay.buffer.offered import Images, check_offered
from dsc._replay.buffer.report import Report, report_of
from dsc._replay.buffer.slots import Slots
from dsc._replay.buffer.view import View
from dsc._replay.buffer.view_slots import through_codec
from dsc._schemas import Task
from dsc._schemas.size import parse_bytes
from dsc.errors import StateMismatchError, UsageError


class BufferReader:
    """What `ReplayBuffer` offers to those who read; see there.

    Parameters
    ----------
    path
        The file; it is opened when it is first needed.
    cache
        Bytes of decoded exemplars to keep in memory.
    """

    def __init__(self, path: str | os.PathLike[str], cache: int | str = 0) -> None:
        self.path = Path(path).absolute()
        self._cache = DecodedCache(parse_bytes(cache, "cache"))
        self._file: BufferFile | None = None
        self._now: View | None = None
        self._expected: int | None = None
        self._closed = False
        self._new_weights: dict[str, bytes] = {}

    @property
    def _view(self) -> View:
        if self._now is None:
            self.reload()
        view = self._now
        if view is None:
            raise UsageError(f"{self.path}: this buffer is closed")
        return view

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
        before, self._file = self._now, file
        self._now = View(file.contents, file.read, slots)
        if before is None or before.meta.generation != meta.generation:
            self._cache.moved({})

    def _slots_for(self, meta: BufferMeta) -> Slots:
        if self._now is None:
            return Slots(self.path, self._weights, meta.encoders)
        return self._now.slots

    def _weights(self, sha256: str) -> bytes | None:
        if sha256 in self._new_weights:
            return self._new_weights[sha256]
        return None if self._file is None else self._file.weights(sha256)

    def __len__(self) -> int:
        return len(self._view.rows)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Decode one exemplar: ((H, W, 3) uint8, label), or (task -> native array, label)."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, int]]:
        """Decode several exemplars together; `torch.utils.data.DataLoader` calls this."""
        view = self._view
        rows = [view.checked_index(index) for index in indices]
        addresses = view.rows.addresses[rows].tolist()
        found = [self._cache.get(address) for address in addresses]
        wanted = [at for at, kept in enumerate(found) if kept is None]
        if wanted:
            for at, decoded in zip(wanted, view.decode([rows[at] for at in wanted]), strict=True):
                found[at] = decoded
                self._cache.put(addresses[at], decoded)
        labels = view.rows.labels[rows].tolist()
        plain = view.meta.tasks[0].name if view.meta.plain else None
        return [
            (sample if plain is None or sample is None else sample[plain], label)
            for sample, label in zip(found, labels, strict=True)
        ]

    def dataset(
        self,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        indices: Sequence[int] | None = None,
    ) -> ExemplarDataset:
        """Return the exemplars that are there now, or some of them, with transforms."""
        return ExemplarDataset(self, indices, transform, target_transform)

    @property
    def targets(self) -> NDArray[np.int64]:
        """Labels, (N,) int64."""
        return self._view.rows.labels.copy()

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys given with the images, N; empty texts where none were given."""
        return tuple(key.decode() for key in self._view.rows.keys)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What an exemplar holds."""
        return self._view.meta.tasks

    @property
    def budget(self) -> int:
        """The budget in bytes."""
        return self._view.meta.budget

    @property
    def seen(self) -> int:
        """Samples that were ever offered, those of merged buffers included."""
        return self._view.meta.offered

    @property
    def generation(self) -> int:
        """Number of the last update."""
        return self._view.meta.generation

    @property
    def nbytes(self) -> int:
        """Bytes of payloads, labels, index and all else in the file that grows with exemplars."""
        return self._view.nbytes

    @property
    def nbytes_with_decoder(self) -> int:
        """The same and the weights of the codecs: of their decoders, where these are apart."""
        return self.nbytes + self._decoder_bytes(self._view.meta)

    def report(self) -> Report:
        """Count the bytes by part, and the exemplars by class and codec."""
        view, file = self._view, self._file
        decoder_bytes = self._decoder_bytes(view.meta)
        return report_of(view, decoder_bytes, 0 if file is None else file.file_bytes)

    def through_codec(self, images: Images) -> tuple[list[Array], NDArray[np.int64]]:
        """Encode and decode images as the buffer would, without keeping them.

        Returns
        -------
        The decoded images, and the bytes of each payload, (N,) int64.
        """
        meta = self._view.meta
        offered = check_offered(meta.tasks, True, images, np.zeros(len(images), int), None, None)
        return through_codec(self._view, offered)

    def _decoder_bytes(self, meta: BufferMeta) -> int:
        file, new = self._file, self._new_weights
        sizes = [
            len(new[sha]) if sha in new else (file.weights_bytes(sha) if file else 0)
            for sha in meta.weight_hashes
        ]
        return sum(sizes)

    def __getstate__(self) -> dict[str, Any]:
        committed = None if self._file is None else self._file.contents.meta.generation
        return {
            "path": self.path,
            "cache": self._cache.limit,
            "expected": self._expected if committed is None else committed,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        BufferReader.__init__(self, state["path"], state["cache"])
        self._expected = state["expected"]
