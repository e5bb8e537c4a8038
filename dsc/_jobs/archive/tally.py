"""Counts what a run has done and tells the caller; what a caller may be told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.decide import OnChoice
from dsc._pipeline.choose.race import TrialProgress
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
        Called on the way there; see `TrialProgress`.
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
            nearly = (f"{task} {why}" for task, why in coding.nearly.items())
            told = report.model_copy(update={"notes": (*nearly, *report.notes)})
            self.on_start(told, coding.tasks, coding.codec_set)


class Tally:
    """The shards and samples that are done.

    Parameters
    ----------
    samples
        How many there are.
    progress
        Called as ``progress(done_samples, total_samples, info)`` when the work begins, and after
        every sample that sizes are chosen by, every batch (on this machine) or shard (on Ray).
        `info` holds ``shards_done``, ``shards_total`` (0 until it is known), ``shards_resumed``,
        ``samples_resumed``, ``samples_failed``, ``payload_bytes`` and ``source_bytes``, of the
        finished shards.
    """

    def __init__(self, samples: int, progress: ShardProgress | None = None) -> None:
        self._total, self._progress = samples, progress
        self.shards = 0
        self.records: dict[int, JobRecord] = {}
        self._early = 0  # encoded before there were shards
        self._known: dict[int, int] = {}  # of them, those that each shard need not make
        self._partly: dict[int, int] = {}
        self._info = {
            "shards_done": 0,
            "shards_total": 0,
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

    def early(self, samples: int) -> None:
        """Count samples that are encoded before there is a plan."""
        self._early += samples
        self._tell()

    def planned(self, shards: int, known: Mapping[int, int]) -> None:
        """Take note of the shards, and of how many samples were encoded of each."""
        self.shards = self._info["shards_total"] = shards
        self._known = dict(known)
        self._early, self._partly = 0, dict(self._known)

    def advance(self, n: int, samples: int) -> None:
        """Count samples of a shard that is still being made."""
        self._partly[n] = self._partly.get(n, 0) + samples
        self._tell()

    def give_up(self, n: int) -> None:
        """Forget the samples of a shard that has to be made again."""
        self._partly[n] = self._known.get(n, 0)

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
        return [n for n in range(self.shards) if n not in self.records]

    def __str__(self) -> str:
        return f"{len(self.records)} of {self.shards} shards are done and kept"

    def _tell(self) -> None:
        if self._progress is not None:
            done = self._samples + sum(self._partly.values()) + self._early
            self._progress(done, self._total, dict(self._info))
