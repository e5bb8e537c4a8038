"""What learners replay: the exemplars of a memory, decoded once where they are few."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dsc._replay.learners.batches import Pictures
from dsc._replay.learners.views.base import Rows, View
from dsc._replay.scenario.images import Labels

DECODED_LIMIT = 1 << 30
"""Exemplars that take no more bytes than this when decoded are decoded once an increment."""


class ExemplarMemory(Protocol):
    """What a learner needs of a replay buffer."""

    @property
    def targets(self) -> Labels:
        """Labels of the exemplars, (N,) int64."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """Names of the exemplars, each once."""
        ...

    def __len__(self) -> int: ...

    def __getitems__(self, indices: Sequence[int]) -> Sequence[tuple[Rows, int]]: ...


class NoExemplars:
    """The buffer of a learner that has seen nothing yet, or keeps nothing."""

    targets: Labels = np.zeros(0, np.int64)
    keys: tuple[str, ...] = ()
    nbytes = nbytes_with_decoder = 0

    def __len__(self) -> int:
        return 0

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Rows, int]]:
        return []


class ViewedExemplars:
    """A memory as a view shows it: its pictures go through the view, its features are ready.

    An exemplar may be a mapping with one of both.
    """

    def __init__(self, memory: ExemplarMemory, view: View) -> None:
        self._memory, self._view = memory, view

    @property
    def targets(self) -> Labels:
        """Labels of the exemplars, (N,) int64."""
        return self._memory.targets

    @property
    def keys(self) -> Sequence[str]:
        """Names of the exemplars, each once."""
        return self._memory.keys

    def __len__(self) -> int:
        return len(self._memory)

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Rows, int]]:
        if not len(indices):
            return []
        exemplars, labels = zip(*self._memory.__getitems__(indices), strict=True)
        rows = [_only(exemplar) for exemplar in exemplars]
        pictures = [at for at, row in enumerate(rows) if row.dtype == np.uint8]
        if pictures:
            shown = self._view.of(np.stack([rows[at] for at in pictures]))
            for at, row in zip(pictures, shown, strict=True):
                rows[at] = row
        return list(zip(rows, labels, strict=True))


def _only(exemplar: Rows | Mapping[str, Rows]) -> Rows:
    """Return an exemplar's one array."""
    if isinstance(exemplar, Mapping):
        (exemplar,) = exemplar.values()
    return exemplar


class ReplayedExemplars:
    """The exemplars of a buffer: decoded once where they are few, else when they are drawn."""

    def __init__(self, memory: ExemplarMemory, device: torch.device) -> None:
        self._memory, self._device = memory, device
        self.labels: Labels = np.array(memory.targets, np.int64)
        self._decoded: Pictures | None = None
        if len(self.labels):
            (first,) = decode(memory, [0])
            if first.nbytes * len(self.labels) <= DECODED_LIMIT:
                images = decode(memory, range(len(self.labels)))
                self._decoded = Pictures(images, self.labels, device)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return exemplars (B, ...) and labels (B,)."""
        if self._decoded is not None:
            return self._decoded.take(rows)
        if not len(rows):
            empty = torch.empty((0, 1, 1, 3), dtype=torch.uint8, device=self._device)
            return empty, torch.empty(0, dtype=torch.int64, device=self._device)
        images = torch.from_numpy(decode(self._memory, rows.tolist()))
        return images.to(self._device), torch.from_numpy(self.labels[rows.numpy()]).to(self._device)


def decode(memory: ExemplarMemory, rows: Sequence[int]) -> Rows:
    """Decode exemplars: (B, H, W, 3) uint8, or their features."""
    found: Rows = np.stack([image for image, _ in memory.__getitems__(list(rows))])
    return found
