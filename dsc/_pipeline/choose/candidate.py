"""One codec on some tasks, measured for a choice: quality, bytes, distortion, speed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from dsc._codecs.base import Sample
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.codec_spec import classical_codec
from dsc._pipeline.choose.rate_control import (
    BEST,
    EXACT_DB,
    STRIDE,
    QualitySearch,
    RateControl,
    distortion,
    mean_distortion,
)
from dsc._pipeline.metrics import identical
from dsc._schemas import Metric, Quality, Target, Task, TaskKind
from dsc._schemas.choice import Trial
from dsc.errors import CodecError

LOSSY = (TaskKind.IMAGE, TaskKind.DEPTH, TaskKind.NORMAL)
STRIDES = (16, 6, 2)  # of the search of the quality below a residual
ENTRY_BYTES = 8  # of a bitstream in its pack's table
SMALLEST = 1e-12  # stands for no error at all, where a target must be more than nothing


@dataclass(frozen=True)
class Candidate:
    """A codec and the tasks that it is to code together.

    Attributes
    ----------
    word
        Registry id or codec file.
    bounded
        Names of those of its tasks whose error is to be bounded.
    """

    word: str
    tasks: tuple[Task, ...]
    bounded: tuple[str, ...] = ()

    def codecs(self) -> CodecSet | None:
        """Make the codec; None when it cannot do what is wanted."""
        try:
            return CodecSet.assigned(
                {task.name: self.word for task in self.tasks}, self.tasks, self.bounded
            )
        except CodecError:
            return None


@dataclass(frozen=True)
class Probe:
    """What candidates are measured on: samples, and what is asked of each task."""

    tasks: tuple[Task, ...]
    quality: Quality
    samples: list[Sample]
    references: dict[tuple[str, int], float] = field(default_factory=dict)

    @classmethod
    def of(cls, tasks: Sequence[Task], quality: Quality, samples: list[Sample]) -> "Probe":
        """Make the probe of these tasks."""
        return cls(tuple(tasks), quality, samples)

    def part(self, tasks: Sequence[Task], count: int) -> list[Sample]:
        """Return the first samples with these tasks only; those that have none are left out."""
        names = [task.name for task in tasks]
        parts = [{n: s[n] for n in names if n in s} for s in self.samples[:count]]
        return [part for part in parts if part]

    def metrics(self) -> dict[str, str]:
        """Name the metric of each lossy task."""
        return {task.name: str(self.metric(task)) for task in self.tasks if _is_lossy(task)}

    def metric(self, task: Task) -> Metric:
        """Return the metric that a lossy task is compared in: the target's, or its kind's first."""
        target = self.quality.targets.get(task.name)
        return target.metric if target else Metric(task.metrics[0])

    def is_matched(self, task: Task) -> bool:
        """Tell whether a task is compared at the reference's distortion."""
        named = {*self.quality.targets, *self.quality.max_error}
        return _is_lossy(task) and task.name not in named

    def reference(self, count: int) -> dict[str, float]:
        """Return the distortion to match, by task, over the first samples."""
        found = {t.name: self._reference(t, count) for t in self.tasks if self.is_matched(t)}
        return {name: value for name, value in found.items() if isfinite(value)}

    def wanted(self, tasks: Sequence[Task], count: int) -> dict[str, Target]:
        """Return the references as targets for the mean; none where nothing can be measured."""
        found = {}
        for task in tasks:
            if self.is_matched(task) and isfinite(value := self._reference(task, count)):
                found[task.name] = Target(metric=self.metric(task), value=max(value, SMALLEST))
        return found

    def _reference(self, task: Task, count: int) -> float:
        key = (task.name, count)
        if key not in self.references:
            codecs = CodecSet.assigned({task.name: classical_codec(task)}, [task])
            part = self.part([task], count)
            coded = codecs.encode_batch(part, self.quality)
            self.references[key] = _distortion(codecs, task, self.metric(task), part, coded)
        return self.references[key]


def measure_candidate(
    candidate: Candidate, probe: Probe, count: int, start: Mapping[str, int] | None = None
) -> Trial:
    """Find the qualities at which a candidate does what is asked, and what it then costs.

    Parameters
    ----------
    count
        How many samples of the probe to measure on.
    start
        Qualities that fewer samples gave; the search is then short, and that of a codec below a
        bound is left out.

    Raises
    ------
    CodecError
        When the candidate cannot code a sample or do what is asked.
    """
    codecs, part = candidate.codecs(), probe.part(candidate.tasks, count)
    if codecs is None:
        raise CodecError(f"{candidate.word} does not code these tasks")
    quality = probe.quality.having(start or {})
    matters = bool(part) and not _ignores_quality(codecs, part[0], quality)
    if matters:
        quality = _match(candidate, codecs, probe, count, quality, start is None)
    elif part and not _search(candidate, codecs, probe, count, quality).is_done(quality):
        raise CodecError(f"{candidate.word} does not reach what is asked, whatever the quality")
    coded = _encode(candidate, codecs, part, quality)
    timed = _Timed(codecs, part, quality)
    for task in candidate.tasks:
        if not _is_lossy(task):
            _check_identical(codecs, task, part, coded)
    lossy = [task for task in candidate.tasks if _is_lossy(task)]
    free = [task.name for task in lossy if matters and task.name not in quality.targets]
    means = {t.name: _distortion(codecs, t, probe.metric(t), part, coded) for t in lossy}
    size = sum(len(data) + ENTRY_BYTES for payloads in coded for data in payloads.values())
    return Trial(
        tasks=tuple(task.name for task in candidate.tasks),
        codec=candidate.word,
        quality={name: quality.of(name) for name in free},
        distortion={n: v for n, v in means.items() if isfinite(v) and v not in (0.0, EXACT_DB)},
        sample_bytes=size / max(count, 1),
        weights_bytes=sum(len(data) for data in codecs.weight_files()),
        samples=count,
        encode_mpix_s=timed.encode_mpix_s,
        decode_mpix_s=timed.decode_mpix_s,
    )


def _is_lossy(task: Task) -> bool:
    return task.kind in LOSSY and not task.is_exact


def _match(
    candidate: Candidate,
    codecs: CodecSet,
    probe: Probe,
    count: int,
    quality: Quality,
    is_first: bool,
) -> Quality:
    """Search the qualities of all tasks."""
    stride = STRIDE if is_first else 1
    found = _search(candidate, codecs, probe, count, quality).run(quality, stride).quality
    free = [
        name
        for name in candidate.bounded
        if probe.quality.own(name) is None and name not in probe.quality.targets
    ]
    if free and is_first:
        for name in free:
            part = probe.part(candidate.tasks, count)
            found = _cheapest_below(codecs, part, found, name)
        found = _search(candidate, codecs, probe, count, found).run(found, 1).quality
    return found.model_copy(update={"targets": _own(probe.quality.targets, candidate)})


def _search(
    candidate: Candidate,
    codecs: CodecSet,
    probe: Probe,
    count: int,
    quality: Quality,
) -> QualitySearch:
    """Return the search of the qualities that are good enough in the mean."""
    targets = {
        **probe.wanted(candidate.tasks, count),
        **_own(probe.quality.targets, candidate),
    }
    tasks = {task.name: task for task in candidate.tasks}
    part = probe.part(candidate.tasks, count)
    return QualitySearch(codecs, tasks, quality.model_copy(update={"targets": targets}), part)


def _own(targets: Mapping[str, Target], candidate: Candidate) -> dict[str, Target]:
    names = [task.name for task in candidate.tasks]
    return {name: target for name, target in targets.items() if name in names}


def _cheapest_below(
    codecs: CodecSet, part: Sequence[Sample], quality: Quality, name: str
) -> Quality:
    """Find the quality below a residual at which both streams together are the smallest.

    Bytes fall and then rise with quality: too little leaves all to the residual.
    """
    sizes: dict[int, int] = {}

    def size(value: int) -> int:
        if value not in sizes:
            coded = codecs.encode_batch(part, quality.having({name: value}))
            sizes[value] = sum(len(data) for payloads in coded for data in payloads.values())
        return sizes[value]

    best = quality.of(name)
    for stride in STRIDES:
        for direction in (1, -1):
            while size(there := min(max(best + direction * stride, 1), BEST)) < size(best):
                best = there
    return quality.having({name: best})


def _ignores_quality(codecs: CodecSet, sample: Sample, quality: Quality) -> bool:
    """Tell whether a codec gives the same bytes at the worst and the best quality."""
    names = [*sample, *quality.tasks]
    worst, best = (
        codecs.encode_batch([sample], quality.having(dict.fromkeys(names, value)))
        for value in (1, BEST)
    )
    return worst == best


def _encode(
    candidate: Candidate, codecs: CodecSet, part: Sequence[Sample], quality: Quality
) -> list[dict[str, bytes]]:
    """Encode as a shard job would: sample by sample where something is promised of each."""
    if not quality.is_checked:
        return codecs.encode_batch(part, quality)
    own = [task.name for task in candidate.tasks]
    bounds = {name: bound for name, bound in quality.max_error.items() if name in own}
    control = RateControl(codecs, candidate.tasks, quality.model_copy(update={"max_error": bounds}))
    return [control.encode(sample).payloads for sample in part]


class _Timed:
    """Speed of plain encoding and decoding, in million pixels of all tasks a second."""

    def __init__(self, codecs: CodecSet, part: Sequence[Sample], quality: Quality) -> None:
        maps = [array for sample in part for array in sample.values() if array.ndim > 1]
        pixels = sum(array.shape[0] * array.shape[1] for array in maps)
        began_s = time.perf_counter()
        coded = codecs.encode_batch(part, quality)
        middle_s = time.perf_counter()
        for sample, payloads in zip(part, coded, strict=True):
            codecs.decode_alone(payloads, list(sample), pixels or 1)
        end_s = time.perf_counter()
        self.encode_mpix_s = pixels / 1e6 / max(middle_s - began_s, 1e-9) if pixels else None
        self.decode_mpix_s = pixels / 1e6 / max(end_s - middle_s, 1e-9) if pixels else None


def _check_identical(
    codecs: CodecSet, task: Task, part: Sequence[Sample], coded: Sequence[Mapping[str, bytes]]
) -> None:
    for sample, payloads in zip(part, coded, strict=True):
        if task.name in sample:
            original = sample[task.name]
            decoded = codecs.decode_alone(payloads, [task.name], max(original.size, 1))
            if not identical(original, decoded[task.name]):
                raise CodecError(
                    f"task {task.name} is lossless, and {codecs.codec_name(task.name)} changes it"
                )


def _distortion(
    codecs: CodecSet,
    task: Task,
    metric: Metric,
    part: Sequence[Sample],
    coded: Sequence[Mapping[str, bytes]],
) -> float:
    values = []
    for sample, payloads in zip(part, coded, strict=True):
        if task.name in sample:
            original = sample[task.name]
            decoded = codecs.decode_alone(payloads, [task.name], original.size)
            values.append(distortion(task, metric, original, decoded[task.name]))
    return (
        min(mean_distortion(values), EXACT_DB) if metric is Metric.PSNR else mean_distortion(values)
    )
