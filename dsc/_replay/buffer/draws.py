"""Endless random batches of exemplars, decoded ahead of the loop that trains on them.

Batch k of a seed is the same whenever and wherever it is drawn, so a loop that stopped goes on with
``start=k``. A thread decodes; it has a reader of its own, which goes on with the exemplars that
there were when the draws began, whatever is added meanwhile.
"""

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from dsc.errors import UsageError


class Exemplars(Protocol):
    """A map-style data set that decodes in batches."""

    def __len__(self) -> int: ...

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]: ...


def draws(
    exemplars: Exemplars, batch_size: int, seed: int = 0, start: int = 0, prefetch: int = 2
) -> Iterator[tuple[Any, Any]]:
    """Draw batches with replacement, for ever.

    Parameters
    ----------
    exemplars
        A `ReplayBuffer`, or `ReplayBuffer.dataset` with its transforms.
    batch_size
        Exemplars a batch.
    seed
        Of the draws.
    start
        Number of the first batch.
    prefetch
        Batches that are decoded ahead, at least 1.

    Yields
    ------
    images, labels
        Collated as `torch.utils.data.DataLoader` does: without a transform, uint8
        (B, H, W, 3) and int64 (B,).

    Raises
    ------
    UsageError
        When there is nothing to draw from, or a number is out of range.
    """
    if not len(exemplars):
        raise UsageError("the buffer is empty: add exemplars before you draw from it")
    if batch_size < 1 or prefetch < 1 or start < 0 or seed < 0:
        raise UsageError(
            f"batch_size={batch_size}, prefetch={prefetch}, start={start}, seed={seed}: at least "
            "1, 1, 0 and 0"
        )
    return _draws(_reader_of(exemplars), batch_size, seed, start, prefetch)


def _reader_of(exemplars: Exemplars) -> Exemplars:
    """Return a copy that has opened its file by itself."""
    reader = copy.copy(exemplars)
    reader.__getitems__([0])
    return reader


def _draws(
    reader: Exemplars, batch_size: int, seed: int, start: int, prefetch: int
) -> Iterator[tuple[Any, Any]]:
    from torch.utils.data import default_collate

    def batch(number: int) -> tuple[Any, Any]:
        draw = np.random.default_rng((seed, number))
        found = reader.__getitems__(draw.integers(len(reader), size=batch_size).tolist())
        images, labels = default_collate(found)
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
