"""Counts what a run has done and tells the caller; what a caller may be told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from dsc._pipeline.choose.auto import TrialProgress
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.decide import OnChoice
from dsc._pipeline.write.plan import Plan
from dsc._pipeline.write.shard_job import JobRecord
from dsc._schemas import SourceReport, Task

ShardProgress = Callable[[int, int, dict[str, Any]], None]
OnStart = Callable[[SourceReport, Sequence[Task], CodecSet], None]


@dataclass(frozen=True)
class Watch:
    """What a caller of `dsc.compress` or `dsc.append` wants to be told; None for nothing.

    Attributes
    ----------
    progress
        See `Tally`.
    on_choice
        Called with the `Choice` of codecs, where that was left to dsc.
    on_trial
        Called with (candidates tried, candidates in all) on the way there.
    on_start
        Called before the first sample is coded, with what the source found, tasks and codecs.
    """

    progress: ShardProgress | None = None
    on_choice: OnChoice | None = None
    on_trial: TrialProgress | None = None
    on_start: OnStart | None = None

    @classmethod
    def taken_from(cls, keywords: dict[str, Any]) -> Self:
        """Take the callbacks out of the keywords of a call; what is left is asked for."""
        return cls(**{one.name: keywords.pop(one.name) for one in fields(cls)})

    def starts(self, report: SourceReport, coding: Coding) -> None:
        """Say that the work begins."""
        if self.on_start is not None:
            self.on_start(report, coding.tasks, coding.codec_set)


class Tally:
    """The shards and samples that are done.

    Parameters
    ----------
    plan
        What is to be done.
    progress
        Called as ``progress(done_samples, total_samples, info)`` when the work begins, and after
        every batch (in-process) or shard (on Ray). `info` holds ``shards_done``,
        ``shards_total``, ``shards_resumed``, ``samples_resumed``, ``samples_failed``,
        ``payload_bytes`` and ``source_bytes``, of the finished shards.
    """

    def __init__(self, plan: Plan, progress: ShardProgress | None = None) -> None:
        self.plan, self._progress = plan, progress
        self.records: dict[int, JobRecord] = {}
        self._partly: dict[int, int] = {}
        self._info = {
            "shards_done": 0,
            "shards_total": plan.shards,
            "shards_resumed": 0,
            "samples_resumed": 0,
            "samples_failed": 0,
            "payload_bytes": 0,
            "source_bytes": 0,
        }
        self._samples = 0

    def begin(self) -> None:
        """Say that work begins now, for who measures how fast it goes."""
        self._tell()

    def advance(self, n: int, samples: int) -> None:
        """Count samples of a shard that is still being made."""
        self._partly[n] = self._partly.get(n, 0) + samples
        self._tell()

    def give_up(self, n: int) -> None:
        """Forget the samples of a shard that has to be made again."""
        self._partly.pop(n, None)

    def done(self, record: JobRecord, resumed: bool = False) -> None:
        """Count a finished shard."""
        shard, info = record.shard, self._info
        self._partly.pop(record.n, None)
        self.records[record.n] = record
        self._samples += shard.samples
        info["shards_done"] += 1
        info["shards_resumed"] += resumed
        info["samples_resumed"] += resumed * shard.samples
        info["samples_failed"] += len(shard.failed)
        info["payload_bytes"] += sum(stream.payload_bytes for stream in shard.streams.values())
        info["source_bytes"] += sum(shard.source_bytes.values())
        self._tell()

    @property
    def missing(self) -> list[int]:
        """The shards that are not done."""
        return [n for n in range(self.plan.shards) if n not in self.records]

    def __str__(self) -> str:
        return f"{len(self.records)} of {self.plan.shards} shards are done and kept"

    def _tell(self) -> None:
        if self._progress is not None:
            partly = sum(self._partly.values())
            self._progress(self._samples + partly, self.plan.samples, dict(self._info))
