"""A stream: an archive's tasks as batches for a training loop, exactly once an epoch.

The order of an epoch is fixed by the data, the seed and the epoch (`order`). Ranks take turns
through it batch by batch, workers take turns through their rank's batches. So the position that
all ranks together have reached is the whole state: it can be loaded on another number of ranks or
workers, or with another batch size, and the stream goes on with exactly the samples not yet seen.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dsc.errors import IncompleteError, StateMismatchError, UsageError
from dsc.pipeline.streaming.collate import Batch
from dsc.pipeline.streaming.feed import Feed
from dsc.pipeline.streaming.options import StreamOptions
from dsc.pipeline.streaming.order import (
    ArchiveLanes,
    EpochOrder,
    Lanes,
    MixedLanes,
    OrderSpec,
    lane_sizes,
)
from dsc.pipeline.streaming.partition import Partition
from dsc.pipeline.streaming.report import StreamReport
from dsc.pipeline.streaming.source import StreamSource
from dsc.pipeline.streaming.state import StreamState, fingerprint
from dsc.pipeline.streaming.topology import Topology

SMALL_BYTES = 32 << 10  # a pipe takes less faster than shared memory does


class Stream(IterableDataset[Batch]):
    """Batches of an archive's samples; made by `dsc.stream`, which documents the options.

    Iterating gives the batches of this rank in one epoch and then moves on to the next epoch.
    A loop that was left early begins the same epoch again, unless its state was loaded.

    Attributes
    ----------
    epoch
        The epoch that the next iteration gives, or the present one gives.
    report
        What was read, given and left out so far. In workers of a data loader of one's own, each
        worker counts for itself.
    """

    def __init__(
        self,
        sources: Sequence[StreamSource],
        weights: Sequence[float],
        options: StreamOptions,
        spec: OrderSpec,
        topology: Topology,
    ) -> None:
        self._sources, self._weights = tuple(sources), tuple(weights)
        self.options, self.topology = options, topology
        self.samples = sum(source.samples for source in sources)
        self.report = StreamReport()
        self.epoch = 0
        self._spec = spec
        self._start = self._position = 0  # of the epoch: where this iteration began, where it is
        self._done = self._given = 0  # batches of this worker: when it began, now
        self._local: tuple[int, Feed] | None = None
        self._loader: tuple[tuple[int, int], DataLoader[Any]] | None = None
        if self._partition(0).steps == 0:
            raise UsageError(
                f"{self.url}: {self.samples} samples give no batch of {options.batch_size} on "
                f"{topology.world} ranks with drop_last; make batch_size smaller"
            )

    @property
    def url(self) -> str:
        """The archive, or the archives with commas."""
        return ", ".join(source.archive.root.url for source in self._sources)

    def __len__(self) -> int:
        """Give the number of batches of this rank in a whole epoch."""
        return self._partition(0).batches(self.topology.rank)

    def __iter__(self) -> Iterator[Batch]:
        """Give the batches of an epoch, or what is left of it after `load_state_dict`."""
        info = get_worker_info()
        if info is None and self.options.workers:
            yield from self._from_workers()
            return
        if info is not None and self.options.device not in (None, "cpu"):
            raise UsageError(
                f"device={self.options.device!r} in a worker of a data loader: synthesis runs in "
                "the training process; iterate over dsc.stream(..., workers=N) itself"
            )
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        for _, batch in self._from_feed(worker, workers):
            self.report.add(self._feed.take_report())
            if batch is not None:
                yield self._feed.finish(batch)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; nothing happens when the stream is in that epoch already."""
        if epoch != self.epoch:
            self._go_to(epoch, 0)

    def state_dict(self, batches: int | None = None) -> dict[str, int]:
        """Give the state: plain integers; in lockstep, the same on all ranks.

        Parameters
        ----------
        batches
            How many batches of this rank the training loop has had since the iteration began. Only
            needed when a plain DataLoader of one's own iterates: its workers are ahead of the loop,
            and this object does not see what they do.
        """
        position, given = self._position, 0
        info = get_worker_info()
        if batches is not None:
            position = self._partition(self._start).position(batches)
        elif info is not None:
            position, given = self._start, self._given
        return StreamState(
            **self._spec.model_dump(),
            epoch=self.epoch,
            position=position,
            samples=self.samples,
            fingerprint=self._fingerprint,
            worker=info.id if info is not None and batches is None else 0,
            workers=info.num_workers if info is not None and batches is None else 0,
            batches=given,
        ).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state: with exactly the samples that had not been seen.

        The order (seed, lanes, window) is the state's from here on; ranks, workers and batch size
        are this stream's own.

        Raises
        ------
        StateMismatchError
            When the state is of other data or of another version, or one worker's of a data loader
            with another number of workers; the message says which.
        """
        found = StreamState.read(state)
        self._check_worker(found)
        if found.fingerprint != self._fingerprint and found.position < found.samples:
            grown = f"it had {found.samples} samples, this stream has {self.samples}"
            raise StateMismatchError(
                f"{self.url}: the state is of other data, or of other samples of it ({grown}): "
                "stream what it was taken from (archive, split, weights, missing), or start at an "
                f"epoch with set_epoch({found.epoch + 1})"
            )
        self._spec = found.spec
        if found.fingerprint != self._fingerprint:  # a whole epoch of the archive before it grew
            self._go_to(found.epoch + 1, 0)
            return
        self._go_to(found.epoch, found.position)
        self._done = self._given = found.batches

    def close(self) -> None:
        """End workers and threads; a closed stream can be iterated again."""
        self._loader = None
        if self._local is not None and self._local[0] == os.getpid():
            self._local[1].close()
        self._local = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_local": None, "_loader": None, "report": StreamReport()}

    # ---- where the stream stands

    def _go_to(self, epoch: int, position: int) -> None:
        self.epoch = epoch
        self._start = self._position = position
        self._done = self._given = 0

    def _check_worker(self, state: StreamState) -> None:
        info = get_worker_info()
        here = (0, 0) if info is None else (info.id, info.num_workers)
        if state.workers and here != (state.worker, state.workers):
            raise StateMismatchError(
                f"this is the state of worker {state.worker} of {state.workers} of a data loader: "
                "load it through that loader, with as many workers; to change their number, keep "
                "the state of dsc.stream(..., workers=N), or state_dict(batches)"
            )

    @cached_property
    def _fingerprint(self) -> int:
        parts = [source.fingerprint() for source in self._sources]
        return fingerprint(parts, self._weights if len(parts) > 1 else ())

    # ---- reading

    def _partition(self, start: int) -> Partition:
        options = self.options
        return Partition(
            self.samples, start, options.batch_size, self.topology.world, options.drop_last,
            options.pad,
        )  # fmt: skip

    def _order(self) -> EpochOrder:
        counts = [source.table.counts for source in self._sources]
        sizes = lane_sizes(self.samples, self._spec.lanes, self._spec.chunk)
        lanes: Lanes = (
            ArchiveLanes(counts[0], sizes, self._spec, self.epoch)
            if len(counts) == 1
            else MixedLanes(counts, self._weights, sizes, self._spec, self.epoch)
        )
        return EpochOrder(lanes, self._spec)

    @property
    def _feed(self) -> Feed:
        """The feed of this process; made anew after a fork."""
        if self._local is None or self._local[0] != os.getpid():
            lists = frozenset(
                task.name
                for source in self._sources
                for task in source.tasks
                if self.options.mixed_sizes == "list" and task.is_map
            )
            if self.options.missing == "none":
                lists |= frozenset().union(*(s.lacking_tasks() for s in self._sources))
            sources = [source.in_this_process() for source in self._sources]
            feed = Feed(sources, self.options, lists, self.topology.world > 1)
            self._local = (os.getpid(), feed)
        return self._local[1]

    def _from_feed(self, worker: int, workers: int) -> Iterator[tuple[int, Batch | None]]:
        """Give every step of a worker, and move on to the next epoch."""
        epoch, partition = self.epoch, self._partition(self._start)
        steps = range(worker + self._done * workers, partition.steps, workers)
        found = self._feed.run(self._order(), partition, self.topology.rank, steps)
        for step, batch in found:
            self._position = partition.position(step + 1)
            self._given = (step - worker) // workers + 1
            yield step, batch
        self._go_to(epoch + 1, 0)

    def _from_workers(self) -> Iterator[Batch]:
        """Give every step of this rank, made by worker processes."""
        epoch, start = self.epoch, self._start
        partition = self._partition(start)
        loader = self._workers((epoch, start))
        self._loader = None  # a loop that is left early leaves workers in mid-epoch
        for step, (batch, report) in enumerate(_watched(loader, self.url)):
            self._position = partition.position(step + 1)
            self.report.add(report)
            if batch is not None:
                yield self._feed.finish(_arrived(batch))
        self._go_to(epoch + 1, 0)
        self._loader = ((self.epoch, 0), loader)

    def _workers(self, place: tuple[int, int]) -> "DataLoader[Any]":
        if self._loader is not None and self._loader[0] == place:
            return self._loader[1]
        on_gpu = str(self.options.device or "").startswith("cuda")
        return DataLoader(
            _InWorkers(self),
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self.options.workers,
            pin_memory=on_gpu,
            persistent_workers=True,
        )


class _InWorkers(IterableDataset[tuple[Batch | None, StreamReport]]):
    """A stream as its own workers see it: every step in turn, with what was counted."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[tuple[Batch | None, StreamReport]]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        for _, batch in self._stream._from_feed(worker, workers):
            yield None if batch is None else _to_send(batch), self._stream._feed.take_report()


def _as_it_is(item: Any) -> Any:
    return item


def _to_send(batch: Batch) -> Batch:
    """Give a batch with small tensors as arrays: each tensor costs a file of shared memory."""
    return Batch((name, _small_as_array(value)) for name, value in batch.items())


def _small_as_array(value: Any) -> Any:
    small = isinstance(value, Tensor) and value.nbytes < SMALL_BYTES
    return value.numpy() if small else value


def _arrived(batch: Batch) -> Batch:
    """Undo `_to_send`."""
    return Batch(
        (name, torch.from_numpy(value) if isinstance(value, np.ndarray) else value)
        for name, value in batch.items()
    )


def _watched(loader: "DataLoader[Any]", url: str) -> Iterator[Any]:
    """Iterate over a loader; say what to do when a worker was killed."""
    try:
        yield from loader
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error)[:40]:
            raise
        raise IncompleteError(
            f"{url}: a worker process died ({type(error).__name__}: {error}); often memory was "
            "short: use fewer workers, smaller batches or less prefetch. state_dict() holds what "
            "was delivered: a new stream goes on from it"
        ) from error
