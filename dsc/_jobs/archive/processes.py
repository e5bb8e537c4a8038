"""Encodes samples in worker processes of this machine; this process writes their shards.

Workers get a few samples at a time, whole groups, not a shard: all are busy until the end, however
few shards there are, and one that is killed costs what it was at. Where the bytes of a sample
depend on those before it, a worker gets the whole shard and answers group by group, and where it
dies another goes on after the last one that arrived. What workers do, and in which order, changes
no byte.
"""

import itertools
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from time import sleep

from dsc._jobs.archive.local import Job
from dsc._jobs.archive.tally import Tally
from dsc._jobs.workers.pool import Answer, Pool, WorkerDiedError
from dsc._jobs.workers.verdict import RETRIES, Verdict, judge
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.rate_control import SearchState
from dsc._pipeline.options import WorkOptions
from dsc._pipeline.write.samples import BATCH_SAMPLES, CodedSample, Probed, code_samples
from dsc._pipeline.write.shard_job import ShardBuilder
from dsc._pipeline.write.sizes import Advance, Coder
from dsc._sources.base import Source, SourceSample
from dsc._storage.files.retry import wait_s
from dsc.errors import DscError, SampleError

SHARES = 4  # of what is left, a worker gets no more than this part of its share at once
Part = tuple[list[CodedSample], SearchState | None]


@dataclass(eq=False)
class Piece:
    """Samples that one worker reads and encodes; what has arrived of them is taken off.

    Attributes
    ----------
    groups
        Their indices, see `dsc._pipeline.write.groups`.
    shard, attempt
        The shard that they go into, and how often that was begun before; None for the probe.
    found
        Where the search of the first one begins.
    read
        Those that were read already.
    failures
        How often it was tried in vain since something of it arrived.
    """

    groups: tuple[range, ...]
    shard: int | None = None
    attempt: int = 0
    found: SearchState | None = None
    read: Mapping[int, SourceSample] = field(default_factory=dict)
    failures: int = 0

    def take(self, part: Part) -> list[CodedSample]:
        """Take off what has arrived, and return it."""
        samples, self.found = part
        there = {one.group for one in samples}
        self.groups = tuple(group for group in self.groups if group not in there)
        self.failures = 0
        return samples

    def again(self, apart: bool) -> list["Piece"]:
        """Return what is to be tried again, each group by itself if they can be parted."""
        self.failures += 1
        if not apart:
            return [self]
        return [
            Piece((group,), self.shard, self.attempt, None, self.read, self.failures)
            for group in self.groups
        ]


@dataclass(frozen=True)
class SampleTask:
    """What a worker does: it reads and encodes the samples of a piece."""

    source: Source
    coding: Coding
    on_error: str

    def __call__(self, piece: Piece) -> Iterator[Part]:
        """Yield the samples in their order, and where the search of the next one begins."""
        if piece.failures:
            sleep(wait_s(piece.failures - 1))
        coding, encoder = self.coding, self.coding.encoder(piece.found)
        most = 1 if coding.is_ordered else BATCH_SAMPLES
        args = (self.source, coding, encoder, self.on_error, piece.groups, piece.read, most)
        for batch in code_samples(*args):
            yield batch, encoder.found


@contextmanager
def hired(work: WorkOptions, samples: int) -> Iterator[Pool | None]:
    """Yield the worker processes that are wanted on this machine; None where none are.

    Where this process has a connection to Ray, that has the workers.
    """
    if not work.workers or is_in_ray():
        yield None
        return
    with Pool(min(work.workers, samples), preload=[__name__]) as pool:
        yield pool


def is_in_ray() -> bool:
    """Tell whether this process has a connection to Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def coder_of(pool: Pool) -> Coder:
    """Return what encodes samples for the plan, as `dsc._pipeline.write.sizes.code_here` does."""

    def code(
        source: Source,
        coding: Coding,
        on_error: str,
        groups: Sequence[range],
        probed: Probed,
        advance: Advance,
    ) -> None:
        pieces = Pieces(pool, SampleTask(source, coding, on_error))
        for own in [tuple(groups)] if coding.is_ordered else [(group,) for group in groups]:
            pieces.add(Piece(own, read=_of_groups(own, probed.read)))
        while pieces.submit():
            for piece, answer in pieces.answers():
                if answer.error is not None:
                    raise answer.error
                for one in piece.take(answer.part):
                    probed.keep(one)
                    advance(1)
                probed.found = piece.found

    return code


def run_in_processes(pool: Pool, job: Job, shards: Iterable[int], tally: Tally) -> dict[int, str]:
    """Make shards, their samples encoded by worker processes.

    Returns
    -------
    dict of int to str
        For each shard that could not be made, why.
    """
    return _Run(pool, job, tally).run(deque(shards))


class Pieces:
    """Pieces that are waiting or under way, tried again where a worker dies or a network fails.

    They are tried again when nothing else is left to do: what was the matter may be over by then.
    """

    def __init__(self, pool: Pool, task: SampleTask) -> None:
        self._pool, self._task = pool, task
        self._is_ordered = task.coding.is_ordered
        self._waiting: deque[Piece] = deque()
        self._again: deque[Piece] = deque()
        pool.load(task, ahead=1 if self._is_ordered else 2)

    @property
    def is_wanted(self) -> bool:
        """Whether a worker has room for more than is waiting."""
        return len(self._waiting) < self._pool.room

    def add(self, piece: Piece) -> None:
        """Let a piece wait for a worker."""
        self._waiting.append(piece)

    def submit(self) -> bool:
        """Give workers what they have room for; tell whether any is under way."""
        while (self._waiting or self._again) and self._pool.room:
            self._pool.submit((self._waiting or self._again).popleft())
        return self._pool.is_busy

    def answers(self) -> Iterator[tuple[Piece, Answer]]:
        """Wait for workers; yield parts of what they were given, and errors that are final."""
        for answer in self._pool.answers():
            piece: Piece = answer.piece
            if answer.error is None:
                if not answer.is_end:
                    yield piece, answer
            elif not piece.groups:  # a worker died when it had given all of it
                continue
            elif self._may_pass(answer.error) and piece.failures < RETRIES:
                self._again.extend(piece.again(apart=not self._is_ordered))
            else:
                yield piece, Answer(piece, error=self._final(piece, answer.error))

    def drop(self, shard: int) -> None:
        """Forget what is waiting of a shard."""
        for pieces in (self._waiting, self._again):
            left = [piece for piece in pieces if piece.shard != shard]
            pieces.clear()
            pieces.extend(left)

    def _may_pass(self, error: BaseException) -> bool:
        return isinstance(error, WorkerDiedError) or judge(error) is Verdict.RETRY

    def _final(self, piece: Piece, error: BaseException) -> BaseException:
        if not isinstance(error, WorkerDiedError):
            return error
        first = piece.groups[0]
        key = self._task.source.key(first.start)
        beside = f" and the {len(first) - 1} samples coded with it" if len(first) > 1 else ""
        return SampleError(
            f"sample {key} ({first.start}){beside}: {error} while it worked on it, "
            f"{piece.failures + 1} times; memory that runs out does that, or a file that a "
            "library cannot bear"
        )


class _Run:
    """The shards that are being written, and what became of the others."""

    def __init__(self, pool: Pool, job: Job, tally: Tally) -> None:
        self._job, self._tally, self._workers = job, tally, pool.workers
        self._pieces = Pieces(pool, SampleTask(job.source, job.coding, job.on_error))
        self._building: dict[int, ShardBuilder] = {}
        self._uncut: list[Piece] = []  # of the shard that was begun last, what is in no piece yet
        self._left = 0  # samples that are in no piece yet
        self._attempts: Counter[int] = Counter()
        self._failures: dict[int, str] = {}

    def run(self, shards: deque[int]) -> dict[int, str]:
        self._left = sum(len(self._job.plan.range(n)) for n in shards)
        try:
            while self._fill(shards):
                for piece, answer in self._pieces.answers():
                    if piece.shard in self._building and self._is_current(piece):
                        self._receive(piece, answer, shards)
        finally:
            for shard in self._building.values():
                shard.abort()
        return self._failures

    def _is_current(self, piece: Piece) -> bool:
        """Tell whether the shard of a piece has not been begun anew since."""
        return piece.shard is not None and piece.attempt == self._attempts[piece.shard]

    def _fill(self, shards: deque[int]) -> bool:
        """Give workers what they have room for; tell whether anything is under way."""
        while self._pieces.is_wanted and (self._uncut or shards):
            if self._uncut:
                self._pieces.add(self._cut())
            else:
                n = shards.popleft()
                self._guarded(n, shards, partial(self._begin, n))
        return self._pieces.submit()

    def _begin(self, n: int) -> None:
        job = self._job
        groups = job.groups(n)
        known = job.probed.within(groups)
        standing = job.standing[n] if job.standing else None
        shard = ShardBuilder(job.plan, job.root, n, job.coding, groups, standing, known)
        self._building[n] = shard
        self._left -= len(known.coded)
        if shard.wanted:
            wanted = tuple(shard.wanted)
            read = _of_groups(wanted, known.read)
            self._uncut = [Piece(wanted, n, self._attempts[n], known.found, read)]
        else:
            self._finish(n)

    def _cut(self) -> Piece:
        """Take from the shard that was begun last as much as one worker gets at once."""
        whole = self._uncut.pop()
        fair = max(1, min(BATCH_SAMPLES, self._left // (SHARES * self._workers)))
        count = len(whole.groups) if self._job.coding.is_ordered else _fill_up(whole.groups, fair)
        first, rest = whole.groups[:count], whole.groups[count:]
        self._left -= sum(map(len, first))
        if rest:
            self._uncut = [replace(whole, groups=rest)]
        return replace(whole, groups=first, read=_of_groups(first, whole.read))

    def _receive(self, piece: Piece, answer: Answer, shards: deque[int]) -> None:
        n = int(piece.shard or 0)
        if answer.error is not None:
            self._give_up(n, answer.error, shards)
            return
        samples = piece.take(answer.part)
        self._guarded(n, shards, partial(self._write, n, samples))

    def _write(self, n: int, samples: Sequence[CodedSample]) -> None:
        shard = self._building[n]
        shard.add(samples)
        self._tally.advance(n, len(samples))
        if shard.is_full:
            self._finish(n)

    def _finish(self, n: int) -> None:
        record = self._building[n].finish()
        del self._building[n]
        self._tally.done(record)

    def _guarded(self, n: int, shards: deque[int], step: Callable[[], None]) -> None:
        try:
            step()
        except (DscError, OSError) as error:
            self._give_up(n, error, shards)

    def _give_up(self, n: int, error: BaseException, shards: deque[int]) -> None:
        """Begin a shard anew where that may help; else leave it, and go on with the others."""
        verdict = judge(error)
        if verdict is Verdict.FATAL:
            raise error
        shard = self._building.pop(n, None)
        if shard is not None:
            shard.abort()
        self._tally.give_up(n)
        self._pieces.drop(n)
        self._uncut = [piece for piece in self._uncut if piece.shard != n]
        self._attempts[n] += 1
        if verdict is Verdict.RETRY and self._attempts[n] <= RETRIES:
            self._left += len(self._job.plan.range(n))
            shards.append(n)
        else:
            self._failures[n] = str(error)


def _of_groups(
    groups: Sequence[range], read: Mapping[int, SourceSample]
) -> dict[int, SourceSample]:
    """Return those of the samples that are in these groups."""
    return {index: read[index] for group in groups for index in group if index in read}


def _fill_up(groups: Sequence[range], samples: int) -> int:
    """Return how many groups hold so many samples and no more; one at least."""
    held = list(itertools.accumulate(map(len, groups)))
    return max(1, sum(count <= samples for count in held))
