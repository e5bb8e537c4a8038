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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from dsc._codecs.base import Sample
from dsc._codecs.registry import distinct_codecs
from dsc._pipeline.choose.candidate import Candidate, Probe, measure_candidate
from dsc._pipeline.choose.codec_spec import can_code, classical_codec, is_joint, takes
from dsc._schemas import Quality, Task
from dsc._schemas.choice import Choice, Trial
from dsc._sources.base import Source
from dsc.errors import BitstreamError, CodecError, SampleError, UsageError

DEFAULT_SAMPLES = 32
FIRST = 4
BEATEN = 1.2  # on the first samples, times the bytes of the best way to code the same tasks
PROBED_BYTES = (
    1 << 30
)  # of arrays that are held at once; larger samples are tried in smaller number

Report = Callable[[int, int], None]


def choose_by_trying(
    source: Source,
    tasks: Sequence[Task],
    quality: Quality,
    samples: int = DEFAULT_SAMPLES,
    words: Sequence[str] = (),
    excluded: Sequence[str] = (),
    on_error: str = "fail",
    report: Report | None = None,
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
    candidates = list_candidates(tasks, quality, tried)
    for task in tasks:
        if not any(task in candidate.tasks for candidate in candidates):
            raise UsageError(
                f"--codec auto: no codec takes {task.name} ({task.kind.value}, {task.dtype}); "
                "leave the task out, or convert it to 8 or 16 bits"
            )
    probe = Probe.of(tasks, quality, read_spread(source, tasks, samples, on_error))
    race = _Race(probe, len(source), candidates, report)
    return _choice(probe, samples, race)


def _choice(probe: Probe, samples: int, race: "_Race") -> Choice:
    best = race.run()
    codec_of = {name: trial.codec for trial in best for name in trial.tasks}
    return Choice(
        asked=probe.quality,
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
    tasks: Sequence[Task], quality: Quality, words: Sequence[str] | None = None
) -> list[Candidate]:
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
                    candidate = Candidate(
                        word, group, tuple(t.name for t in group if t.name in bounded)
                    )
                    if candidate.codecs() is not None:
                        found.append(candidate)
    return found


@dataclass(frozen=True)
class _Entry:
    """A candidate that was measured; `cost` is in bytes for the whole dataset."""

    candidate: Candidate
    trial: Trial
    cost: float


class _Race:
    """Measures candidates on a few samples, and those that may win on all."""

    def __init__(
        self,
        probe: Probe,
        dataset: int,
        candidates: Sequence[Candidate],
        report: Report | None,
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

    def _try(self, candidate: Candidate, count: int, start: Mapping[str, int] | None) -> None:
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
