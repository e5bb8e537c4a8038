"""A stream's own workers: processes of a data loader of torch, which live from loop to loop."""

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from dsc._stream.board import LoopStart
from dsc._stream.collate import StreamBatch, is_numeric
from dsc._stream.options import StreamOptions
from dsc._stream.report import StreamReport
from dsc.errors import IncompleteError

SMALL_BYTES = 32 << 10  # a pipe takes less faster than shared memory does

Step = tuple[StreamBatch | None, StreamReport]
"""A batch, None where the rank has no sample in the step, and what was counted."""


class WorkersStream(Protocol):
    """What workers need of a stream."""

    @property
    def url(self) -> str:
        """The archives, for messages."""
        ...

    def worker_steps(self, worker: int, workers: int) -> Iterator[Step]:
        """Yield the steps of one of several workers."""
        ...


class OwnWorkers(NamedTuple):
    """Workers of a stream that wait for its next loop.

    Attributes
    ----------
    place
        Where they would begin.
    loader
        Their data loader.
    url
        The archives, for messages.
    as_arrays
        Whether a batch holds arrays, not tensors.
    """

    place: LoopStart
    loader: "_OwnLoader"
    url: str
    as_arrays: bool

    @classmethod
    def start(cls, stream: WorkersStream, place: LoopStart, options: StreamOptions) -> Self:
        """Start workers of a stream that is at a place."""
        loader = _OwnLoader(
            _InWorkers(stream),
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=options.workers,
            pin_memory=(options.device or "").startswith("cuda"),
            persistent_workers=True,
        )
        return cls(place, loader, stream.url, options.output == "numpy")

    def at(self, place: LoopStart) -> Self:
        """Return these workers, waiting at another place."""
        return self._replace(place=place)

    def steps(self) -> Iterator[Step]:
        """Yield the steps of a loop, in order.

        Raises
        ------
        IncompleteError
            When a worker was killed; it says what to do.
        """
        for batch, report in _watched(self.loader, self.url):
            yield None if batch is None else _arrived(batch, self.as_arrays), report


class _OwnLoader(DataLoader[Any]):
    """The data loader of a stream's own workers."""

    def _get_iterator(self) -> Any:
        return _OwnIterator(self)


class _OwnIterator(_MultiProcessingDataLoaderIter):
    """Ends its workers when it goes, but never from another process that was forked meanwhile."""

    def __init__(self, loader: "DataLoader[Any]") -> None:
        self._pid = os.getpid()
        super().__init__(loader)

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        if self._pid == getpid():  # its own name: modules are gone when the interpreter ends
            super().__del__()


class _InWorkers(IterableDataset[Step]):
    """A stream as its own workers see it: every step in turn, with what was counted."""

    def __init__(self, stream: WorkersStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Step]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        for batch, report in self._stream.worker_steps(worker, workers):
            yield None if batch is None else _to_send(batch), report


def _as_it_is(item: Any) -> Any:
    return item


def _to_send(batch: Any) -> Any:
    """Return a batch with small values as arrays: each tensor costs a file of shared memory."""
    if not isinstance(batch, StreamBatch):  # what a collate_fn made
        return batch
    return StreamBatch((name, _by_size(value)) for name, value in batch.items())


class _ChannelsLast(NamedTuple):
    """A tensor in channels_last memory, as the array that its memory is: pickle would turn it."""

    array: NDArray[Any]


def _by_size(value: Any) -> Any:
    if isinstance(value, Tensor) and value.nbytes < SMALL_BYTES:
        if value.ndim == 4 and not value.is_contiguous():
            return _ChannelsLast(value.permute(0, 2, 3, 1).numpy())
        return value.numpy()
    if is_numeric(value) and value.nbytes >= SMALL_BYTES:
        return torch.from_numpy(value)
    return value


def _arrived(batch: Any, as_arrays: bool) -> Any:
    """Undo `_to_send`."""
    if not isinstance(batch, StreamBatch):
        return batch
    turned = _array if as_arrays else _tensor
    return StreamBatch((name, turned(value)) for name, value in batch.items())


def _array(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else value


def _tensor(value: Any) -> Any:
    if isinstance(value, _ChannelsLast):
        return torch.from_numpy(value.array).permute(0, 3, 1, 2)
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _watched(loader: "DataLoader[Any]", url: str) -> Iterator[Any]:
    """Iterate over a loader; say what to do when a worker was killed."""
    try:
        yield from loader
    except (RuntimeError, ConnectionError, EOFError) as error:
        if str(error).startswith("Caught "):  # what was raised in a worker that lives
            raise
        if isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error)[:40]:
            raise
        raise IncompleteError(
            f"{url}: a worker process died ({type(error).__name__}: {error}); often memory was "
            "short: use fewer workers, smaller batches or less prefetch. state_dict() holds what "
            "was delivered: a new stream goes on from it"
        ) from error
