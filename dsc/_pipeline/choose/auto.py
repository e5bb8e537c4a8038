"""Chooses codecs by trying: ``--codec auto``.

Every registered codec that can take a task is tried on samples spread over the dataset, at *equal
distortion*. What is equal is set by a reference for each task: the classical codec that is best for
its kind (`classical_codec`: AV1 for 8-bit images, normals and depth, JPEG XL for 16-bit images)
at the asked quality. Every candidate gets the smallest quality at which its mean distortion over
the samples is no worse, and then bytes are compared. A task with a target has it in place of the
reference, and is searched sample by sample, as it will be coded. A task with a bound is equal by
the bound; the quality of the codec below is the one that makes both streams together the smallest.
Lossless tasks are compared as they are, and a codec that changes one is out.

A candidate is a codec with the tasks that it codes together: one task, or for joint codecs every
subset of those that it supports. Its cost is all of its streams for these tasks, prerequisites
included, their entries in the packs, and its codec file, which the archive holds once: for a small
dataset a file of megabytes does not pay. The choice is the cheapest set of candidates that covers
every task once. As the reference is a candidate, nobody stores more than with the best classical
codecs, as far as the tried samples tell.

Candidates are first tried on `FIRST` samples, and on all of them only if they were not clearly
beaten there.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import isfinite

from dsc._codecs.base import Sample
from dsc._codecs.registry import distinct_codecs
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.codec_spec import can_code, classical_codec, is_joint, takes
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.rate_control import (
    BEST,
    EXACT_DB,
    STRIDE,
    QualitySearch,
    distortion,
    mean_distortion,
)
from dsc._pipeline.metrics import identical
from dsc._pipeline.options import DEFAULT_SAMPLES
from dsc._schemas import Effort, Metric, Quality, Target, Task, TaskKind
from dsc._schemas.choice import Choice, Trial
from dsc._sources.base import Source
from dsc.errors import BitstreamError, CodecError, SampleError, UsageError

FIRST = 4
BEATEN = 1.2  # on the first samples, times the bytes of the best way to code the same tasks
PROBED_BYTES = (
    1 << 30
)  # of arrays that are held at once; larger samples are tried in smaller number
LOSSY = (TaskKind.IMAGE, TaskKind.DEPTH, TaskKind.NORMAL)
STRIDES = (16, 6, 2)  # of the search of the quality below a residual
ENTRY_BYTES = 8  # of a bitstream in its pack's table
SMALLEST = 1e-12  # stands for no error at all, where a target must be more than nothing

TrialProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class CodecCandidate:
    """A codec and the tasks that it is to code together.

    Attributes
    ----------
    word
        Registry id or codec file.
    bounded
        Names of those of its tasks whose error is to be bounded.
    effort
        How long it may look for fewer bytes.
    """

    word: str
    tasks: tuple[Task, ...]
    bounded: tuple[str, ...] = ()
    effort: Effort = Effort.DEFAULT

    def codecs(self) -> CodecSet | None:
        """Make the codec; None when it cannot do what is wanted."""
        try:
            return CodecSet.assigned(
                {task.name: self.word for task in self.tasks},
                self.tasks,
                self.bounded,
                self.effort,
            )
        except CodecError:
            return None


@dataclass(frozen=True)
class Probe:
    """What candidates are measured on: samples, and what is asked of each task."""

    tasks: tuple[Task, ...]
    quality: Quality
    samples: list[Sample]
    effort: Effort = Effort.DEFAULT
    references: dict[tuple[str, int], float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        tasks: Sequence[Task],
        quality: Quality,
        samples: list[Sample],
        effort: Effort = Effort.DEFAULT,
    ) -> "Probe":
        """Make the probe of these tasks."""
        return cls(tuple(tasks), quality, samples, effort)

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
            word = {task.name: classical_codec(task)}
            codecs = CodecSet.assigned(word, [task], effort=self.effort)
            part = self.part([task], count)
            coded = codecs.encode_batch(part, self.quality)
            self.references[key] = _distortion(codecs, task, self.metric(task), part, coded)
        return self.references[key]


def choose_by_trying(
    source: Source,
    tasks: Sequence[Task],
    quality: Quality,
    samples: int = DEFAULT_SAMPLES,
    words: Sequence[str] = (),
    excluded: Sequence[str] = (),
    effort: Effort = Effort.DEFAULT,
    on_error: str = "fail",
    report: TrialProgress | None = None,
) -> Choice:
    """Choose a codec for each task.

    Parameters
    ----------
    tasks
        The tasks to choose for.
    quality
        As it was asked: a quality, targets, bounds.
    samples
        How many samples to try on, spread evenly over the source.
    words
        Codec files to try beside the registered codecs.
    excluded
        Codecs that are not tried: joint ones that code other tasks already.
    effort
        At which all candidates are tried.
    on_error
        Whether a sample that cannot be read is an error (``fail``) or passed over.
    report
        Called with (candidates tried, candidates in all).

    Raises
    ------
    UsageError
        When the source is empty, or no codec can do what is asked for a task.
    SampleError
        When a sample cannot be read.
    """
    if samples < 1:
        raise UsageError(f"--auto-samples {samples}: at least 1")
    # a codec of another package is chosen by name only: whoever reads the archive will need it
    tried = [word for word in (*words, *distinct_codecs()) if word not in excluded]
    candidates = list_candidates(tasks, quality, tried, effort)
    for task in tasks:
        if not any(task in candidate.tasks for candidate in candidates):
            raise UsageError(
                f"--codec auto: no codec takes {task.name} ({task.kind.value}, {task.dtype}); "
                "leave the task out, or convert it to 8 or 16 bits"
            )
    probe = Probe.of(tasks, quality, read_spread(source, tasks, samples, on_error), effort)
    race = _Race(probe, len(source), candidates, report)
    return _choice(probe, samples, race)


def _choice(probe: Probe, samples: int, race: "_Race") -> Choice:
    best = race.run()
    codec_of = {name: trial.codec for trial in best for name in trial.tasks}
    return Choice(
        asked=probe.quality,
        effort=probe.effort,
        samples=samples,
        metric=probe.metrics(),
        reference=probe.reference(len(probe.samples)),
        codecs={task.name: codec_of[task.name] for task in probe.tasks},
        quality={n: q for trial in best for n, q in trial.quality.items()},
        trials=tuple(
            trial.model_copy(update={"is_chosen": any(trial is one for one in best)})
            for trial in race.trials()
        ),
        refused=race.refused,
    )


def read_spread(source: Source, tasks: Sequence[Task], count: int, on_error: str) -> list[Sample]:
    """Read samples from the middles of equal parts of the source, in an order that spreads.

    The first few of the result are spread over the source as well.
    """
    total = len(source)
    if not total:
        raise UsageError(f"source {source.name} holds no sample; point --root at the data")
    count = min(count, total)
    indices = [(2 * part + 1) * total // (2 * count) for part in range(count)]
    stride = max(1, count // FIRST)
    order = [at for start in range(stride) for at in range(start, count, stride)]
    found: list[Sample] = []
    held = 0
    for at in order:
        try:
            arrays = source.read(indices[at], [task.name for task in tasks]).arrays
        except SampleError as error:
            if on_error == "skip":
                continue
            raise SampleError(
                f"sample {source.key(indices[at])} ({indices[at]}): {error}; repair it, or leave "
                "out what cannot be read with --on-error skip"
            ) from error
        held += sum(array.nbytes for array in arrays.values())
        if found and held > PROBED_BYTES:
            break
        found.append(arrays)
    if not found:
        raise UsageError("--codec auto: none of the samples tried can be read")
    return found


def list_candidates(
    tasks: Sequence[Task],
    quality: Quality,
    words: Sequence[str] | None = None,
    effort: Effort = Effort.DEFAULT,
) -> list[CodecCandidate]:
    """List every codec with every set of tasks that it can code together.

    Parameters
    ----------
    words
        The codecs; None for all that are registered.
    """
    found = []
    bounded = tuple(quality.max_error)
    for word in dict.fromkeys(distinct_codecs() if words is None else words):
        taken = takes(word, tasks)
        most = len(taken) if is_joint(word) else 1
        for size in range(1, most + 1):
            for group in combinations(taken, size):
                if size == 1 or can_code(word, group):
                    candidate = CodecCandidate(
                        word, group, tuple(t.name for t in group if t.name in bounded), effort
                    )
                    if candidate.codecs() is not None:
                        found.append(candidate)
    return found


@dataclass(frozen=True)
class _Entry:
    """A candidate that was measured; `cost` is in bytes for the whole dataset."""

    candidate: CodecCandidate
    trial: Trial
    cost: float


class _Race:
    """Measures candidates on a few samples, and those that may win on all."""

    def __init__(
        self,
        probe: Probe,
        dataset: int,
        candidates: Sequence[CodecCandidate],
        report: TrialProgress | None,
    ) -> None:
        self._probe, self._dataset, self._report = probe, dataset, report
        self._candidates = candidates
        self._entries: list[_Entry] = []
        self.refused: dict[str, str] = {}

    def run(self) -> list[Trial]:
        """Return the trials that together cover all tasks in the fewest bytes."""
        first = min(FIRST, len(self._probe.samples))
        self._tell(0)
        for at, candidate in enumerate(self._candidates):
            self._try(candidate, first, None)
            self._tell(at + 1)
        if first < len(self._probe.samples):
            self._finish()
        best = self._cover(self._finalists(), tuple(t.name for t in self._probe.tasks))
        if best is None:
            raise self._nobody()
        return [entry.trial for entry in best]

    def trials(self) -> list[Trial]:
        """Return all measurements, those of the same tasks together, the cheapest first."""
        order = sorted(self._entries, key=lambda e: (len(e.trial.tasks), e.trial.tasks, e.cost))
        return [entry.trial for entry in order]

    def _finish(self) -> None:
        """Measure on all samples what was not clearly beaten on the first ones."""
        entries = list(self._entries)
        keep = [entry for entry in entries if self._is_open(entry, entries)]
        for at, entry in enumerate(keep):
            self._entries.remove(entry)
            self._try(entry.candidate, len(self._probe.samples), entry.trial.quality)
            self._tell(len(self._candidates) + at + 1, len(keep))

    def _is_open(self, entry: _Entry, entries: Sequence[_Entry]) -> bool:
        usual = [classical_codec(task) for task in entry.candidate.tasks]
        if entry.candidate.word in usual:
            return True  # the table shows the reference whatever it costs
        best = self._cover(entries, entry.trial.tasks)
        return best is None or entry.cost <= BEATEN * sum(one.cost for one in best)

    def _finalists(self) -> list[_Entry]:
        most = max((entry.trial.samples for entry in self._entries), default=0)
        return [entry for entry in self._entries if entry.trial.samples == most]

    def _try(self, candidate: CodecCandidate, count: int, start: Mapping[str, int] | None) -> None:
        try:
            trial = measure_candidate(candidate, self._probe, count, start)
        except (CodecError, BitstreamError) as error:
            names = " + ".join(task.name for task in candidate.tasks)
            self.refused[f"{names} by {candidate.word}"] = str(error).partition(";")[0]
            return
        cost = trial.sample_bytes * self._dataset + trial.weights_bytes
        self._entries.append(_Entry(candidate, trial, cost))

    def _cover(self, entries: Sequence[_Entry], tasks: Sequence[str]) -> list[_Entry] | None:
        """Return the cheapest entries that cover each task once; a joint codec is used once."""
        return _cheapest_cover(sorted(entries, key=lambda e: e.cost), frozenset(tasks))

    def _tell(self, done: int, more: int = 0) -> None:
        if self._report is not None:
            self._report(done, max(len(self._candidates) + more, done))

    def _nobody(self) -> UsageError:
        why = "\n".join(f"  {name}: {text}" for name, text in self.refused.items())
        return UsageError(f"--codec auto: no codec does what is asked for every task:\n{why}")


def _cheapest_cover(
    entries: Sequence[_Entry], tasks: frozenset[str], used: frozenset[str] = frozenset()
) -> list[_Entry] | None:
    if not tasks:
        return []
    first = min(tasks)
    best: list[_Entry] | None = None
    for entry in entries:
        own = frozenset(entry.trial.tasks)
        joint = is_joint(entry.candidate.word)
        if first not in own or not own <= tasks or (joint and entry.candidate.word in used):
            continue
        rest = _cheapest_cover(
            entries, tasks - own, used | {entry.candidate.word} if joint else used
        )
        if rest is not None:
            found = [entry, *rest]
            if best is None or sum(e.cost for e in found) < sum(e.cost for e in best):
                best = found
    return best


def measure_candidate(
    candidate: CodecCandidate, probe: Probe, count: int, start: Mapping[str, int] | None = None
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
    candidate: CodecCandidate,
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
    candidate: CodecCandidate,
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


def _own(targets: Mapping[str, Target], candidate: CodecCandidate) -> dict[str, Target]:
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
    candidate: CodecCandidate, codecs: CodecSet, part: Sequence[Sample], quality: Quality
) -> list[dict[str, bytes]]:
    """Encode as a shard job would: sample by sample where something is promised of each."""
    own = [task.name for task in candidate.tasks]
    bounds = {name: bound for name, bound in quality.max_error.items() if name in own}
    coding = Coding(candidate.tasks, codecs, quality.model_copy(update={"max_error": bounds}))
    return [coded.payloads for coded in coding.encoder().encode(part)]


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
