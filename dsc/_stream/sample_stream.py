"""A stream: an archive's tasks as batches for a training loop, exactly once an epoch.

The order of an epoch is fixed by the data, the seed and the epoch (`order`). Ranks take turns
through it batch by batch, workers take turns through their rank's batches. So the position that
all ranks together have reached is the whole state: it can be loaded on another number of ranks or
workers, or with another batch size, and the stream goes on with exactly the samples not yet seen.

The training process says where the next loop begins. Its own workers are told when they start;
those of a data loader of the user's own read it from a board (`board`).
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from dsc._extras import needing
from dsc._stream.board import Board, LoopStart, LoopWorker, spawning
from dsc._stream.collate import StreamBatch
from dsc._stream.decode_pool import default_threads
from dsc._stream.feed import Feed
from dsc._stream.options import StreamOptions
from dsc._stream.order import (
    GROUPED,
    ArchiveLanes,
    EpochOrder,
    Lanes,
    MixedLanes,
    OrderSpec,
    lane_sizes,
)
from dsc._stream.partition import Partition
from dsc._stream.report import StreamReport
from dsc._stream.source import StreamSource
from dsc._stream.state import StreamState, fingerprint
from dsc._stream.topology import Topology
from dsc.errors import StateMismatchError, UsageError

if TYPE_CHECKING:  # it imports torch
    from dsc._stream.own_workers import OwnWorkers


class SampleStream(Iterable[StreamBatch]):
    """Batches of an archive's samples; made by `dsc.stream`, which documents the options.

    One that gives tensors is an `IterableDataset` of torch as well.

    Iterating gives the batches of this rank in one epoch and then moves on to the next epoch.
    A loop that was left before its last batch begins the same epoch again, unless its state was
    loaded. Under a data loader of one's own with workers, every loop that is begun is an epoch,
    also one that is left early; the workers of a loop agree on it, whether they are forked, spawned
    or persistent.

    Attributes
    ----------
    samples, left_out
        How many samples take part in an epoch, and how many of those asked for do not, because they
        lack a task (``missing="skip"``) or could not be coded when the archive was made.
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
        self.left_out = sum(source.left_out for source in sources)
        self.report = StreamReport()
        self._spec = spec
        self._epoch = 0  # this, `_start` and `_position`: of the loop of this process
        self._start = self._position = 0  # of the epoch: where the loop began, where it is
        self._done = self._given = 0  # batches of this worker: when it began, now
        self._board: Board | None = None
        self._course = 0  # of the board, when this process was forked
        self._whole: int | None = None  # the course in which the loop had its last batch
        self._loops = (os.getpid(), 0)  # begun by this process as a worker of a data loader
        self._sent: LoopStart | None = None  # told to this worker, whatever the board says
        self._local: tuple[int, Feed] | None = None
        self._loader: OwnWorkers | None = None
        self._own_board()
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
        """Return the number of batches of this rank in a whole epoch."""
        return self._partition(0).batches(self.topology.rank)

    def __repr__(self) -> str:
        rank, world = self.topology.rank, self.topology.world
        where = f", rank {rank} of {world}" if world > 1 else ""
        return f"<dsc.SampleStream {self.url}: batches of {self.options.batch_size}{where}>"

    @property
    def epoch(self) -> int:
        """The epoch that the present loop gives, or else the next one.

        Under a data loader of one's own with workers: the one that the next loop gives, from the
        first batch of the present one on.
        """
        return self._epoch if self._is_worker() else self._own_board().next().epoch

    def __iter__(self) -> Iterator[StreamBatch]:
        """Return the batches of an epoch, or what is left of it after `load_state_dict`.

        Raises
        ------
        UsageError
            In a worker of a data loader that cannot know its epoch, or when synthesis on a device
            was asked for there; the message says which line works.
        """
        info = loader_worker()
        if info is not None:
            self._begin_in_worker(info.id, info.num_workers, info.seed)
            return self._given_batches(info.id, info.num_workers)
        if self.options.workers:
            return self._from_workers()
        return self._in_this_process()

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; nothing happens when the next loop is in it already.

        Called before a loop it holds for workers of data loaders, too, those that live on included.
        """
        if epoch < 0:
            raise UsageError(f"set_epoch({epoch}): epochs count from 0")
        if epoch != self.epoch or (not self._is_worker() and self._own_board().begun()):
            self._go_to(epoch, 0)

    def state_dict(self, batches: int | None = None) -> dict[str, int]:
        """Return the state: plain integers; in lockstep, the same on all ranks.

        Parameters
        ----------
        batches
            How many batches of this rank the training loop has had since the loop began. Needed
            when a plain DataLoader of one's own iterates: its workers are ahead of the loop,
            and this object does not see what they do.

        Raises
        ------
        UsageError
            When `batches` is needed and not given.
        """
        info = loader_worker()
        start = self._now(batches)
        if batches is not None and batches < 0:
            raise UsageError(f"state_dict(batches={batches}): at least 0")
        if batches is not None:
            position = self._partition(start.position).position(batches)
        else:
            position = start.position if info is not None else self._position
        within = info if batches is None else None
        return StreamState(
            **start.spec.model_dump(),
            epoch=start.epoch,
            position=position,
            samples=self.samples,
            fingerprint=self._fingerprint,
            worker=0 if within is None else within.id,
            workers=0 if within is None else within.num_workers,
            batches=0 if within is None else self._given,
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
                "stream what it was taken from (archive, split, where and other selections, "
                "weights, missing), or start at an "
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
        state = self.__dict__ | {"_local": None, "_loader": None, "report": StreamReport()}
        place = self._place() if self._is_worker() else self._own_board().next()
        if place != self._place():  # workers of a data loader have begun epochs since
            spec, epoch, position = place
            state |= {"_spec": spec, "_epoch": epoch, "_start": position, "_position": position}
        return state if spawning() else state | {"_board": None}  # a copy counts by itself

    # ---- where the stream stands

    def _is_worker(self) -> bool:
        """Whether this process is a worker of a loader in another process, which owns the board."""
        return loader_worker() is not None and not (self._board is None or self._board.is_here)

    def _own_board(self) -> Board:
        """Return the board of this process.

        A process that was forked for other ends gets its own.
        """
        if self._board is None or not self._board.is_here:
            self._board, self._course = Board(self._place()), 0
        return self._board

    def _place(self) -> LoopStart:
        return LoopStart(self._spec, self._epoch, self._start)

    def _now(self, batches: int | None) -> LoopStart:
        """Return where the loop began that the training process is in."""
        if self._is_worker():
            return self._place()
        begun = self._own_board().begun()
        if begun is not None and not batches:
            raise UsageError(
                "workers of a data loader iterate over this stream, ahead of the loop: say how "
                "many batches the loop has had, state_dict(batches=step + 1), at the end of an "
                f"epoch state_dict(batches={len(self)}); or keep the state of a "
                "StatefulDataLoader, or iterate over dsc.stream(..., workers=N) itself"
            )
        return self._place() if begun is None else begun

    def _go_to(self, epoch: int, position: int) -> None:
        self._epoch = epoch
        self._start = self._position = position
        self._done = self._given = 0
        if self._is_worker():
            self._sent = self._place()
        else:
            self._course = self._own_board().go_to(self._place())

    def _take_place(self) -> None:
        """Go, in the training process, to where the next loop begins."""
        self._spec, epoch, position = self._own_board().next()
        self._go_to(epoch, position)

    def _begin_loop(self) -> None:
        """Go to where the next loop begins: also after one that took every batch, but no end."""
        if self._whole is not None and self._whole == self._course:
            self._go_to(self._epoch + 1, 0)
        self._take_place()

    def _end_loop(self, course: int) -> None:
        """Move on to the next epoch, unless somebody said in mid-loop where the next one begins."""
        if self._course == course:
            self._go_to(self._epoch + 1, 0)
        self._position = self._start

    def _begin_in_worker(self, worker: int, workers: int, seed: int) -> None:
        """Go to where the loop begins, in a worker of a data loader of the user's own."""
        if self.options.device not in (None, "cpu"):
            raise UsageError(
                f"device={self.options.device!r} in a worker of a data loader: synthesis runs in "
                "the training process; iterate over dsc.stream(..., workers=N) itself"
            )
        if not self._is_worker():  # the stream was made in this worker, which counts by itself
            self._take_place()
            self._own_board().go_to(self._place().next())
            return
        board = self._board
        if board is None or not board.is_parents:
            raise UsageError(
                "this stream was made in another process than the one that made the data loader, "
                "so its workers cannot know the epoch: call dsc.stream(...) in the process that "
                "iterates over DataLoader(stream, batch_size=None, num_workers=N)"
            )
        pid, loops = self._loops
        loops = loops + 1 if pid == os.getpid() else 0
        self._loops = (os.getpid(), loops)
        here = LoopWorker.here(worker, workers, seed, loops)
        found = board.begin(here, self._course if loops == 0 else None, self._sent)
        done = self._done if self._sent is not None else 0
        self._spec, self._epoch, self._start = found
        self._position, self._sent = self._start, None
        self._done = self._given = done

    def _check_worker(self, state: StreamState) -> None:
        info = loader_worker()
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
        options, world = self.options, self.topology.world
        pad = world > 1 if options.pad is None else options.pad
        return Partition(self.samples, start, options.batch_size, world, options.drop_last, pad)

    def _order(self) -> EpochOrder:
        counts = [source.packs.counts for source in self._sources]
        sizes = lane_sizes(self.samples, self._spec.lanes, self._spec.chunk)
        is_grouped = self._spec.shuffle == GROUPED
        groups_of = [source.group_of for source in self._sources] if is_grouped else []
        lanes: Lanes = (
            ArchiveLanes(counts[0], sizes, self._spec, self._epoch, 0, *groups_of)
            if len(counts) == 1
            else MixedLanes(counts, self._weights, sizes, self._spec, self._epoch, groups_of)
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
                if task.varies or (self.options.mixed_sizes == "list" and task.is_map)
            )
            if self.options.missing == "none":
                lists |= frozenset().union(*(s.lacking_tasks() for s in self._sources))
            sources = [source.in_this_process() for source in self._sources]
            keeps_step = self.topology.world > 1 and self.options.on_error == "skip"
            info, asked = loader_worker(), self.options.threads
            own = default_threads() if info is None else 0  # workers share the processors
            feed = Feed(
                sources, self.options, lists, keeps_step,
                threads=own if asked is None else asked,
                processes=1 if info is None else info.num_workers,
            )  # fmt: skip
            self._local = (os.getpid(), feed)
        return self._local[1]

    def steps_of(
        self, worker: int = 0, workers: int = 1
    ) -> Iterator[tuple[int, StreamBatch | None]]:
        """Yield what is left of the epoch for one of several workers of this rank.

        Returns
        -------
        iterator of tuple
            Number of the step, and its batch as a worker sends it: not yet on a device, latents not
            yet synthesised; None where this rank has no sample in the step.
        """
        partition = self._partition(self._start)
        steps = range(worker + self._done * workers, partition.steps, workers)
        found = self._feed.run(self._order(), partition, self.topology.rank, steps)
        for step, batch in found:
            self._position = partition.position(step + 1)
            self._given = (step - worker) // workers + 1
            yield step, batch

    def _given_batches(self, worker: int, workers: int) -> Iterator[StreamBatch]:
        course = self._course
        last = self._partition(self._start).batches(self.topology.rank) - 1
        for step, batch in self.steps_of(worker, workers):
            self._whole = course if step >= last else None
            self.report.add(self._feed.take_report())
            if batch is not None:
                yield self._feed.finish(batch)

    def _in_this_process(self) -> Iterator[StreamBatch]:
        self._begin_loop()
        course = self._course
        yield from self._given_batches(0, 1)
        self._end_loop(course)

    def _from_workers(self) -> Iterator[StreamBatch]:
        """Yield every step of this rank, made by worker processes."""
        self._begin_loop()
        course, partition = self._course, self._partition(self._start)
        last = partition.batches(self.topology.rank) - 1
        workers = self._workers()
        self._loader = None  # a loop that is left early leaves workers in mid-epoch
        for step, (batch, report) in enumerate(workers.steps()):
            self._position = partition.position(step + 1)
            self.report.add(report)
            self._whole = course if step >= last else None
            if batch is not None:
                yield self._feed.finish(batch)
        self._end_loop(course)
        self._loader = workers.at(workers.place.next())

    def _workers(self) -> "OwnWorkers":
        if self._loader is not None and self._loader.place == self._place():
            return self._loader
        with needing("torch", f"workers={self.options.workers}", "stream with workers=0"):
            from dsc._stream.own_workers import OwnWorkers
        return OwnWorkers.start(self._without_workers(), self._place(), self.options)

    def _without_workers(self) -> Self:
        """Return what workers need of this: a reference to it would keep them alive without use."""
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__ | {"_loader": None, "_local": None}
        return other

    def worker_steps(
        self, worker: int, workers: int
    ) -> Iterator[tuple[StreamBatch | None, StreamReport]]:
        """Yield the steps of one of this stream's own workers, with what was counted."""
        epoch = self._epoch
        for _, batch in self.steps_of(worker, workers):
            yield batch, self._feed.take_report()
        self._go_to(epoch + 1, 0)  # these workers live on from epoch to epoch


def loader_worker() -> Any:
    """Return what torch knows of the data loader's worker that this process is; None if of none."""
    data = sys.modules.get("torch.utils.data")
    return None if data is None else data.get_worker_info()
