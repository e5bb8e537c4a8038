"""A part of a replay buffer as a map-style data set, with transforms."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dsc._replay.buffer.reader import BufferReader


class ExemplarDataset:
    """Exemplars with their transforms; picklable, decodes in batches.

    Parameters
    ----------
    buffer
        Where they are.
    indices
        Which of them; None for all that are there now.
    transform, target_transform
        Called with each image (or mapping of tasks) and each label.
    """

    def __init__(
        self,
        buffer: "BufferReader",
        indices: Sequence[int] | None = None,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
    ) -> None:
        self._buffer = buffer
        self._indices = list(range(len(buffer))) if indices is None else [int(i) for i in indices]
        self._transform, self._target_transform = transform, target_transform

    def __len__(self) -> int:
        return len(self._indices)

    def __copy__(self) -> "ExemplarDataset":
        return ExemplarDataset(
            copy.copy(self._buffer), self._indices, self._transform, self._target_transform
        )

    def draws(
        self, batch_size: int, *, seed: int = 0, start: int = 0, prefetch: int = 2
    ) -> Iterator[tuple[Any, Any]]:
        """Draw batches with replacement, for ever, decoded ahead; see `buffer.draws.draws`."""
        from dsc._replay.buffer.draws import draws

        return draws(self, batch_size, seed, start, prefetch)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """Decode several exemplars together and transform each."""
        found = self._buffer.__getitems__([self._indices[index] for index in indices])
        return [self._transformed(image, label) for image, label in found]

    def _transformed(self, image: Any, label: int) -> tuple[Any, Any]:
        return (
            image if self._transform is None else self._transform(image),
            label if self._target_transform is None else self._target_transform(label),
        )

    @property
    def targets(self) -> NDArray[np.int64]:
        """Labels, (N,) int64, before any transform."""
        return self._buffer.targets[np.array(self._indices, np.int64)]
