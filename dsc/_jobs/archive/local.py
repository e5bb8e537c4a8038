"""Runs shard jobs in this process, one after the other.

A shard that fails does not stop the others: what can be finished is finished, and the reasons are
collected.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from dsc._jobs.archive.tally import Tally
from dsc._jobs.workers.verdict import RETRIES, Verdict, judge, may_pass
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.write.groups import groups_of
from dsc._pipeline.write.plan import Plan
from dsc._pipeline.write.samples import Probed
from dsc._pipeline.write.shard_job import JobRecord, encode_shard
from dsc._schemas import ShardRecord
from dsc._sources.base import Source
from dsc._storage.files.retry import call_again
from dsc._storage.files.root import Root
from dsc.errors import DscError


@dataclass(frozen=True)
class Job:
    """All that a worker needs to make any shard; it travels by pickle.

    Attributes
    ----------
    standing
        The shards that are there and get more streams, by number of the job; empty when all
        shards are new.
    probed
        Samples that were read, or encoded, before there was a plan.
    """

    plan: Plan
    root: Root
    source: Source
    coding: Coding
    on_error: str
    standing: tuple[ShardRecord, ...] = ()
    probed: Probed = field(default_factory=Probed)

    def groups(self, n: int) -> list[range]:
        """Return the groups of a shard's samples."""
        return groups_of(self.source, self.coding, self.plan.range(n), self.plan.pack_size)

    def known(self) -> dict[int, int]:
        """Count the samples that need not be made again, by shard."""
        shards = {self.plan.shard_of(index) for index in self.probed.coded}
        return {n: len(self.probed.within(self.groups(n)).coded) for n in shards}

    def encode(self, n: int, advance: Callable[[int], None] | None = None) -> JobRecord:
        """Make one shard; see `encode_shard`."""
        return encode_shard(
            self.plan,
            self.root,
            n,
            self.source,
            self.coding,
            self.on_error,
            self.standing[n] if self.standing else None,
            advance,
            self.probed,
        )


def run_here(job: Job, shards: Iterable[int], tally: Tally) -> dict[int, str]:
    """Make shards one after the other.

    Returns
    -------
    dict of int to str
        For each shard that could not be made, why.
    """
    failures: dict[int, str] = {}

    def make(n: int) -> None:
        try:
            tally.done(job.encode(n, partial(tally.advance, n)))
        except (DscError, OSError):
            tally.give_up(n)
            raise

    for n in shards:
        try:
            call_again(partial(make, n), may_pass, RETRIES + 1)
        except (DscError, OSError) as error:
            if judge(error) is Verdict.FATAL:
                raise
            failures[n] = str(error)
    return failures
