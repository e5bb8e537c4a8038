"""Exemplars for a training loop: a map-style data set with transforms, and endless random batches.

Batch k of a seed is the same whenever and wherever it is drawn, so a loop that stopped goes on with
``start=k``. A thread decodes; it has a reader of its own, which goes on with the exemplars that
there were when the draws began, whatever is added meanwhile.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsc._extras import needing
from dsc.errors import UsageError


class DecodedItems(Protocol):
    """A map-style data set that decodes in batches."""

    def __len__(self) -> int: ...

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]: ...


class LabelledItems(DecodedItems, Protocol):
    """The same, whose labels are known without decoding: `ReplayBuffer`."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """Labels, (N,) int64."""
        ...


class ExemplarDataset:
    """Exemplars of a buffer, or some of them, with transforms; picklable, decodes in batches.

    Parameters
    ----------
    buffer
        Where they are.
    indices
        Which of them; None for all that are there now.
    transform
        Called with each image, uint8 (H, W, 3), or with a mapping of tasks to arrays.
    target_transform
        Called with each label.
    """

    def __init__(
        self,
        buffer: LabelledItems,
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
        self,
        batch_size: int,
        *,
        seed: int = 0,
        start: int = 0,
        prefetch: int = 2,
        output: str = "torch",
    ) -> Iterator[tuple[Any, Any]]:
        """Draw batches with replacement, for ever, decoded ahead.

        Parameters
        ----------
        batch_size
            Exemplars a batch, at least 1.
        seed
            Of the draws, at least 0.
        start
            Number of the first batch, from 0.
        prefetch
            Batches that are decoded ahead, at least 1.
        output
            ``torch``: tensors; or ``numpy``: arrays, for which torch need not be installed.

        Yields
        ------
        images, labels
            Collated as `torch.utils.data.DataLoader` does: without a transform, uint8
            (B, H, W, 3) and int64 (B,). As arrays: stacked likewise; what is neither an array nor
            a number as a list.

        Raises
        ------
        MissingPackageError
            When tensors are asked for, and torch is not installed.
        UsageError
            When there is nothing to draw from, or a number is out of range.
        """
        return draws(self, batch_size, seed, start, prefetch, output)

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


def draws(
    items: DecodedItems,
    batch_size: int,
    seed: int = 0,
    start: int = 0,
    prefetch: int = 2,
    output: str = "torch",
) -> Iterator[tuple[Any, Any]]:
    """Draw batches of a `ReplayBuffer` or an `ExemplarDataset`; see `ExemplarDataset.draws`."""
    if not len(items):
        raise UsageError("the buffer is empty: add exemplars before you draw from it")
    if batch_size < 1 or prefetch < 1 or start < 0 or seed < 0:
        raise UsageError(
            f"batch_size={batch_size}, prefetch={prefetch}, start={start}, seed={seed}: at least "
            "1, 1, 0 and 0"
        )
    return _draws(_reader_of(items), batch_size, seed, start, prefetch, _collating(output))


def _reader_of(items: DecodedItems) -> DecodedItems:
    """Return a copy that has opened its file by itself."""
    reader = copy.copy(items)
    reader.__getitems__([0])
    return reader


def _collating(output: str) -> Callable[[list[tuple[Any, Any]]], Any]:
    """Return what makes a batch of exemplars."""
    if output not in ("torch", "numpy"):
        raise UsageError(f"output={output!r}: one of torch, numpy")
    if output == "numpy":
        return _stacked
    with needing("torch", "drawing tensors", "draw with output='numpy'"):
        from torch.utils.data import default_collate
    collate: Callable[[list[tuple[Any, Any]]], Any] = default_collate
    return collate


def _stacked(values: Sequence[Any]) -> Any:
    """Stack arrays and numbers, also those in mappings and tuples; anything else stays a list."""
    first = values[0]
    if isinstance(first, Mapping):
        return {name: _stacked([value[name] for value in values]) for name in first}
    if isinstance(first, tuple):
        return tuple(_stacked(column) for column in zip(*values, strict=True))
    if isinstance(first, np.ndarray | np.generic | bool | int | float):
        return np.stack([np.asarray(value) for value in values])
    return list(values)


def _draws(
    reader: DecodedItems,
    batch_size: int,
    seed: int,
    start: int,
    prefetch: int,
    collated: Callable[[list[tuple[Any, Any]]], Any],
) -> Iterator[tuple[Any, Any]]:
    def batch(number: int) -> tuple[Any, Any]:
        draw = np.random.default_rng((seed, number))
        found = reader.__getitems__(draw.integers(len(reader), size=batch_size).tolist())
        images, labels = collated(found)
        return images, labels

    waiting: deque[Future[tuple[Any, Any]]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="exemplars")
    try:
        for number in range(start, start + prefetch):
            waiting.append(pool.submit(batch, number))
        while True:
            found = waiting.popleft().result()
            number += 1
            waiting.append(pool.submit(batch, number))
            yield found
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
