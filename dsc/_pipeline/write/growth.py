"""Which shards a plan writes, and where their samples stand in the source: pure arithmetic.

A dataset that is compressed for the first time is one run of equal shards. An archive that grows
adds a run behind those of its split; a new task follows the runs that stand, one shard of new
streams for each shard that is there. Jobs are numbered from 0 over all runs; within a split, shards
keep the numbers that they have in the archive.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from dsc._schemas import ShardRecord
from dsc._schemas.base import Schema
from dsc._schemas.manifest import SHA256, SPLIT


@dataclass(frozen=True)
class Place:
    """One shard.

    Attributes
    ----------
    n
        Its number within the split.
    first_index
        Index in the split of its first sample.
    indices
        Where its samples stand in the source of the plan.
    """

    split: str
    n: int
    first_index: int
    indices: range


class Run(Schema):
    """Shards of one split that follow each other, all of one size but for the last.

    Attributes
    ----------
    n, first_index
        Number of the first shard, and index of its first sample, within the split.
    samples
        In all shards together.
    """

    split: str = Field(pattern=SPLIT)
    n: int = Field(default=0, ge=0)
    first_index: int = Field(default=0, ge=0)
    samples: int = Field(ge=1)
    shard_size: int = Field(ge=1)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.samples // self.shard_size)

    def place(self, k: int, start: int) -> Place:
        """Return shard `k` of the run, whose samples stand from `start` on in the source."""
        first = k * self.shard_size
        stop = min(first + self.shard_size, self.samples)
        indices = range(start + first, start + stop)
        return Place(self.split, self.n + k, self.first_index + first, indices)


class Adds(StrEnum):
    """What an append adds."""

    SAMPLES = "samples"
    TASKS = "tasks"


class Growth(Schema):
    """What a plan adds to an archive that is there.

    Attributes
    ----------
    base_sha256
        The hash that the archive's manifest states of itself: the archive must be this very one.
    generation
        The generation that the plan makes.
    first_slot
        Slot of the plan's first codec in the archive's list.
    runs
        The shards that are written, or added to.
    """

    adds: Adds
    base_sha256: str = Field(pattern=SHA256)
    generation: int = Field(ge=2)
    first_slot: int = Field(default=0, ge=0)
    runs: tuple[Run, ...] = Field(min_length=1)


def find_place(runs: Iterable[Run], n: int) -> Place:
    """Return the place of job `n`.

    Raises
    ------
    IndexError
        When the runs have no such shard.
    """
    k, start = n, 0
    for run in runs:
        if 0 <= k < run.shards:
            return run.place(k, start)
        k -= run.shards
        start += run.samples
    raise IndexError(f"shard {n}: there are not so many")


def runs_of(shards: Sequence[ShardRecord]) -> tuple[Run, ...]:
    """Put the shards of an archive, in their order, into as few runs as can be."""
    runs: list[Run] = []
    for shard in shards:
        last = runs[-1] if runs else None
        if last is not None and _continues(last, shard):
            runs[-1] = last.model_copy(update={"samples": last.samples + shard.samples})
        else:
            runs.append(
                Run(
                    split=shard.split,
                    n=shard.n,
                    first_index=shard.first_index,
                    samples=shard.samples,
                    shard_size=shard.samples,
                )
            )
    return tuple(runs)


def next_run(shards: Sequence[ShardRecord], split: str, samples: int, shard_size: int) -> Run:
    """Return the run of new samples that follows what a split holds; the split may be new."""
    own = [shard for shard in shards if shard.split == split]
    return Run(
        split=split,
        n=len(own),
        first_index=sum(shard.samples for shard in own),
        samples=samples,
        shard_size=shard_size,
    )


def _continues(run: Run, shard: ShardRecord) -> bool:
    whole = run.samples % run.shard_size == 0
    follows = (shard.split, shard.n) == (run.split, run.n + run.shards)
    return whole and follows and shard.samples <= run.shard_size
