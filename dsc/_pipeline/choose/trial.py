"""Measures a candidate: at which qualities it does what is asked, and what it then costs.

What is equal is set by a reference for each task: the classical codec of its kind at the asked
quality. A candidate gets the qualities at which its mean distortion is no worse, by measurement. A
task with a target has it in place of the reference, and is searched sample by sample, as it will be
coded. A task with a bound is equal by the bound; the quality below is the one that makes both
streams together the smallest. A lossless task is compared as it is, and a codec that changes it is
out.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import exp, isfinite

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array, Sample
from dsc._codecs.registry import LOSSLESS
from dsc._pipeline.choose.below import cheapest_below
from dsc._pipeline.choose.candidates import CodecCandidate, is_lossy
from dsc._pipeline.choose.codec_set import CodecSet, pixels_of
from dsc._pipeline.choose.codec_spec import classical_codec, codec_id_of
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.crops import Piece
from dsc._pipeline.choose.distortion import EXACT_DB, distortion, margin_db, mean_distortion
from dsc._pipeline.choose.probe import Probe
from dsc._pipeline.choose.quality_search import SLACK_DB, QualityCurve, QualitySearch
from dsc._pipeline.choose.remembered import Memory
from dsc._pipeline.metrics import identical
from dsc._schemas import Metric, Quality, Target, Task
from dsc._schemas.choice import Trial
from dsc.errors import CodecError

Groups = Sequence[Sequence[Sample]]
Payloads = Mapping[str, bytes]

ENTRY_BYTES = 8  # of a bitstream in its pack's table
SMALLEST = 1e-12  # stands for no error at all, where a target must be more than nothing
RATE_PER_DB = 0.13  # what a dB more costs, as a share of the bytes
MOST_MARGIN_DB = 1.0  # that bytes are corrected by


@dataclass(frozen=True)
class Entry:
    """A candidate that was measured on some pieces.

    Attributes
    ----------
    trial
        What was measured.
    piece_bytes
        Of each piece a sample, as whole ones have them; 0 where a piece has none of the tasks.
    equal
        By what bytes are multiplied to compare them at equal distortion: a search by whole
        qualities ends a little above what it has to reach.
    is_rough
        Whether smaller qualities might do as well.
    """

    candidate: CodecCandidate
    trial: Trial
    piece_bytes: NDArray[np.float64]
    equal: float = 1.0
    is_rough: bool = False


class References:
    """The distortions that candidates have to reach: what the usual codecs give."""

    def __init__(self, probe: Probe, memory: Memory) -> None:
        self._probe, self._memory = probe, memory
        self._known: dict[tuple[str, tuple[int, ...]], float] = {}

    def of(self, task: Task, pieces: Sequence[Piece]) -> Target | None:
        """Return a task's reference as a target for the mean; None where nothing is measured."""
        key = (task.name, tuple(id(piece) for piece in pieces))
        if key not in self._known:
            usual = CodecCandidate(classical_codec(task), (task,))
            part = [own for piece in pieces if any(own := piece.of([task.name]))]
            codecs = usual.codecs(self._memory)
            coded = codecs.encode_groups(part, self._probe.quality)
            self._known[key] = measure(codecs, task, self._probe.metric(task), part, coded)
        value = self._known[key]
        if not isfinite(value):
            return None
        return Target(metric=self._probe.metric(task), value=max(value, SMALLEST))


class Tried:
    """A candidate that is tried: it keeps its qualities, and what its searches have learnt.

    Raises
    ------
    CodecError
        When it cannot do what is wanted.
    """

    def __init__(
        self, candidate: CodecCandidate, probe: Probe, references: References, memory: Memory
    ) -> None:
        self.candidate = candidate
        self._probe, self._references, self._memory = probe, references, memory
        self._codecs = candidate.codecs(memory)
        self._quality = probe.quality
        self._curves: dict[str, QualityCurve] = {}
        self._has_below = False
        self._decoded_pixels, self._decode_s = 0, 0.0
        self.weights_bytes = sum(len(data) for data in self._codecs.weight_files())

    def measure(self, pieces: Sequence[Piece], is_crop: bool, exactly: bool = False) -> Entry:
        """Find the qualities for these pieces, and measure.

        Parameters
        ----------
        is_crop
            Whether the pieces are parts of samples.
        exactly
            Whether the qualities must be the smallest that match the reference.

        Raises
        ------
        CodecError, BitstreamError
            When the candidate cannot code a sample or do what is asked.
        OutOfTimeError
            When the time is over.
        """
        names = self.candidate.names
        groups = [piece.of(names) for piece in pieces]
        there = [any(group) for group in groups]
        part = [group for group in groups if any(group)]
        wanted = self._wanted(pieces)
        is_searched = bool(part) and not self._is_fixed(wanted)
        if is_searched:
            self._search(part, wanted, exactly)
        coded = self._encode(part)
        means = self._decoded(part, coded)
        by_piece = np.zeros(len(pieces))
        by_piece[there] = [
            np.mean([sum(len(data) + ENTRY_BYTES for data in one.values()) for one in own])
            for own in _parted(coded, part)
        ]
        if self.candidate.tasks[0].is_map:
            by_piece *= [piece.scale for piece in pieces]
        samples = sum(len(piece.samples) for piece in pieces)
        trial = self._trial(means, float(by_piece.mean()), samples, is_crop)
        is_rough = is_searched and bool(wanted) and not exactly
        return Entry(self.candidate, trial, by_piece, _correction(wanted, means), is_rough)

    def _wanted(self, pieces: Sequence[Piece]) -> dict[str, Target]:
        """Return what the means have to reach, by matched task."""
        found = {}
        for task in self.candidate.tasks:
            if self._probe.is_matched(task):
                target = self._references.of(task, pieces)
                if target is not None:
                    found[task.name] = target
        return found

    def _is_fixed(self, wanted: Mapping[str, Target]) -> bool:
        """Tell whether there is no quality to search: it is the reference, or has none."""
        if codec_id_of(self.candidate.word) in LOSSLESS:
            return True
        return self.candidate.is_usual and bool(wanted)

    def _search(self, part: Groups, wanted: Mapping[str, Target], exactly: bool) -> None:
        tasks = {task.name: task for task in self.candidate.tasks}
        if wanted:
            asked = self._quality.model_copy(update={"targets": dict(wanted)})
            slack_db = 0.0 if exactly else SLACK_DB
            search = QualitySearch(self._codecs, tasks, asked, part, self._curves, slack_db)
            self._take(search.run(asked).quality)
        own = [name for name in self.candidate.bounded if self._is_free_below(name)]
        if own and not self._has_below:
            for name in own:
                self._take(cheapest_below(self._codecs, part, self._quality, tasks[name]))
            self._has_below = True

    def _take(self, quality: Quality) -> None:
        self._quality = self._quality.having(quality.tasks)

    def _is_free_below(self, name: str) -> bool:
        """Tell whether nobody has said what quality a bounded task has below its residual."""
        return self._probe.quality.own(name) is None and name not in self._probe.quality.targets

    def _encode(self, part: Groups) -> list[dict[str, bytes]]:
        """Encode as a shard job would: group by group where something is promised of each."""
        own = self.candidate.names
        promised = {
            "targets": {n: t for n, t in self._quality.targets.items() if n in own},
            "max_error": {n: b for n, b in self._quality.max_error.items() if n in own},
        }
        quality = self._quality.model_copy(update=promised)
        coding = Coding(self.candidate.tasks, self._codecs, quality)
        return [coded.payloads for coded in coding.encoder().encode(part)]

    def _decoded(self, part: Groups, coded: Sequence[Mapping[str, bytes]]) -> dict[str, float]:
        """Decode every task: the mean distortion of each lossy one, and the time of all.

        Raises
        ------
        CodecError
            When a task that is lossless comes back changed.
        """
        began_s, found = time.perf_counter(), {}
        for task in self.candidate.tasks:
            if is_lossy(task):
                metric = self._probe.metric(task)
                found[task.name] = measure(self._codecs, task, metric, part, coded)
            else:
                self._check_identical(task, part, coded)
        self._decode_s += time.perf_counter() - began_s
        self._decoded_pixels += sum(pixels_of(one) for group in part for one in group if one)
        return found

    def _check_identical(
        self, task: Task, part: Groups, coded: Sequence[Mapping[str, bytes]]
    ) -> None:
        for original, decoded in _pairs(self._codecs, task, part, coded):
            if not identical(original, decoded):
                name = self._codecs.codec_name(task.name)
                raise CodecError(f"task {task.name} is lossless, and {name} changes it")

    def _trial(
        self, means: Mapping[str, float], sample_bytes: float, samples: int, is_crop: bool
    ) -> Trial:
        free = [
            name
            for name in means
            if name not in self._quality.targets
            and codec_id_of(self.candidate.word) not in LOSSLESS
        ]
        return Trial(
            tasks=self.candidate.names,
            codec=self.candidate.word,
            quality={name: self._quality.of(name) for name in free},
            distortion={n: v for n, v in means.items() if isfinite(v) and v not in (0.0, EXACT_DB)},
            sample_bytes=sample_bytes,
            weights_bytes=self.weights_bytes,
            samples=samples,
            is_crop=is_crop,
            encode_mpix_s=self._memory.speed_mpix_s(self.candidate.word, self.candidate.names),
            decode_mpix_s=self._decoded_pixels / 1e6 / self._decode_s if self._decode_s else None,
        )


def measure(
    codecs: CodecSet,
    task: Task,
    metric: Metric,
    part: Groups,
    coded: Sequence[Mapping[str, bytes]],
) -> float:
    """Return the mean distortion of a task over the samples of groups."""
    pairs = _pairs(codecs, task, part, coded)
    mean = mean_distortion([distortion(task, metric, *pair) for pair in pairs])
    return min(mean, EXACT_DB) if metric is Metric.PSNR else mean


def _pairs(
    codecs: CodecSet, task: Task, part: Groups, coded: Sequence[Mapping[str, bytes]]
) -> Iterator[tuple[Array, Array]]:
    """Yield what samples have of a task, and what is decoded of it."""
    for group, payloads in zip(part, _parted(coded, part), strict=True):
        own = {at: sample[task.name] for at, sample in enumerate(group) if task.name in sample}
        most = max((array.size for array in own.values()), default=1)
        decoded = codecs.decode_group(payloads, [task.name], max(most, 1)) if own else []
        for at, original in own.items():
            yield original, decoded[at][task.name]


def _parted(values: Sequence[Payloads], groups: Groups) -> Iterator[list[Payloads]]:
    """Part what was coded of all samples among their groups."""
    rest = iter(values)
    for group in groups:
        yield list(islice(rest, len(group)))


def _correction(wanted: Mapping[str, Target], means: Mapping[str, float]) -> float:
    """Return what bytes are to be multiplied by for the distortion that was wanted."""
    margins = [margin_db(target, means[name]) for name, target in wanted.items() if name in means]
    known = [min(margin, MOST_MARGIN_DB) for margin in margins if isfinite(margin)]
    return exp(-RATE_PER_DB * sum(known) / len(known)) if known else 1.0
