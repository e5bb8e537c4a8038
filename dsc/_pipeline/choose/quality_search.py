"""Searches qualities: the smallest ones at which what is decoded is as good as was asked.

Distortion is measured on what the very codec gives back from the very bytes. A model says where to
measure: decibels rise in proportion to quality, by a slope that is learnt from what was measured
before. What is found was measured to meet its target. It is the smallest quality that does, or
exceeds the target by `SLACK_DB` at most and the model says that one less would miss it, or by
`CLOSE_DB` at most: in place of an encode for each sample that only shows that it is the smallest.

Where tasks share streams, the quality of one may change another: they are searched in the order of
the stream graph, and looked at once more together; one that has got worse is raised until all are
good enough.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dsc._codecs.base import Sample
from dsc._pipeline.choose.codec_set import CodecSet, most_pixels
from dsc._pipeline.choose.distortion import distortion, margin_db, mean_distortion
from dsc._schemas import Quality, Task
from dsc._schemas.target import measured_text
from dsc.errors import CodecError

BEST = 100
SLACK_DB = 0.5  # of PSNR; of an error 6 %, of what MS-SSIM lacks of 1 11 %
CLOSE_DB = 0.1  # a margin that no smaller quality is looked for
AIM_DB = 0.05  # the margin that is aimed at
SLOPE_DB = 0.3  # a quality step, before anything was measured
LEAST_SLOPE_DB, MOST_SLOPE_DB = 0.02, 3.0
LEARNT = 0.5  # the weight of what the last search found
MODELLED = 5  # measured points after which an interval is halved instead
KEPT = 8  # bitstreams of how many qualities are kept during a search

Margin = Callable[[int], float]


@dataclass(frozen=True)
class SearchResult:
    """The end of a search.

    Attributes
    ----------
    payloads
        Bitstreams of each sample.
    distortion
        Mean over the samples, by target task.
    each
        Of each sample by target task, as far as it has it.
    """

    quality: Quality
    payloads: list[dict[str, bytes]]
    distortion: dict[str, float]
    each: list[dict[str, float]]


class QualityCurve:
    """How decibels rise with quality, as learnt from samples: for one codec and task.

    The shape is much the same for all samples, what differs is the height.
    """

    def __init__(self) -> None:
        self._slopes_db = np.full(BEST + 1, SLOPE_DB)  # by which each quality is above the last
        self._seen = np.zeros(BEST + 1, bool)

    def rise_db(self, low: int, high: int) -> float:
        """Return by how much a quality is thought to be above a lower one."""
        return float(self._slopes_db[low + 1 : high + 1].sum())

    def learn(self, known: Mapping[int, float]) -> None:
        """Take in what was measured of a sample: decibels by quality."""
        points = sorted(quality for quality, level in known.items() if math.isfinite(level))
        for low, high in itertools.pairwise(points):
            own = slice(low + 1, high + 1)
            lacking = (known[high] - known[low]) / (high - low) - self._slopes_db[own].mean()
            weight = np.where(self._seen[own], LEARNT, 1.0)
            self._slopes_db[own] += weight * lacking
            self._slopes_db.clip(LEAST_SLOPE_DB, MOST_SLOPE_DB, out=self._slopes_db)
            self._seen[own] = True
            self._slopes_db[~self._seen] = self._slopes_db[self._seen].mean()

    def through(self, known: Mapping[int, float], bad: int, good: int) -> Margin:
        """Return the model of a sample's margin between two qualities that were measured, or one.

        Where neither was, or what differs in one is nothing at all, the model knows nothing: 0.
        """
        ends = [q for q in (bad, good) if q in known and math.isfinite(known[q])]

        def margin_db(quality: int) -> float:
            if not ends:
                return 0.0
            first = ends[0]
            low, high = sorted((first, quality))
            rise = self.rise_db(low, high) * (1 if quality > first else -1)
            if len(ends) > 1:
                rise *= (known[good] - known[bad]) / self.rise_db(bad, good)
            return known[first] + rise

        return margin_db


class QualitySearch:
    """Searches the qualities at which samples reach the targets, in the mean over the samples.

    Parameters
    ----------
    codec_set
        The codecs.
    tasks
        By name.
    quality
        Has the targets.
    groups
        What is coded, see `CodecSet.encode_group`; of one connected part of the stream graph for a
        quick search.
    curves
        What other samples have shown, by task; what these show is added.
    slack_db
        See `smallest_quality`.
    """

    def __init__(
        self,
        codec_set: CodecSet,
        tasks: Mapping[str, Task],
        quality: Quality,
        groups: Sequence[Sequence[Sample]],
        curves: dict[str, QualityCurve] | None = None,
        slack_db: float = SLACK_DB,
    ) -> None:
        self._codecs, self._tasks, self._groups = codec_set, tasks, groups
        self._curves = {} if curves is None else curves
        self._slack_db = slack_db
        there = {name for group in groups for sample in group for name in sample}
        order = [name for name in codec_set.tasks_in_order() if name in there]
        self._targets = {n: quality.targets[n] for n in order if n in quality.targets}
        # a residual reaches any target, whatever is below: what was chosen below is the least
        self._lowest = {n: quality.of(n) if n in quality.max_error else 1 for n in self._targets}
        self._coded: dict[tuple[tuple[str, int], ...], list[dict[str, bytes]]] = {}
        self._measured: dict[tuple[tuple[tuple[str, int], ...], str], list[float | None]] = {}

    def run(self, start: Quality) -> SearchResult:
        """Search from some qualities.

        Raises
        ------
        CodecError
            When the best quality does not reach a target; the message says what it does reach.
        """
        quality = start
        for name in self._targets:
            quality = self._raise_to_target(name, quality, self._lowest[name])
        while missed := [name for name in self._targets if self._margin_db(name, quality) < 0]:
            for name in missed:
                quality = self._raise_to_target(name, quality, quality.of(name) + 1)
        payloads = self._encode(quality)
        found = {name: self._each(name, quality) for name in self._targets}
        each = [
            {name: value for name, values in found.items() if (value := values[at]) is not None}
            for at in range(len(payloads))
        ]
        means = {name: self._distortion(name, quality) for name in self._targets}
        return SearchResult(quality, payloads, means, each)

    def _raise_to_target(self, name: str, quality: Quality, lowest: int) -> Quality:
        curve = self._curves.setdefault(name, QualityCurve())
        known: dict[int, float] = {}

        def margin_of(value: int) -> float:
            known[value] = self._margin_db(name, quality.having({name: value}))
            return known[value]

        found = smallest_quality(margin_of, quality.of(name), lowest, curve, self._slack_db)
        if found is None:
            raise self._out_of_reach(name, quality.having({name: BEST}))
        curve.learn(known)
        return quality.having({name: found})

    def _out_of_reach(self, name: str, quality: Quality) -> CodecError:
        target = self._targets[name]
        codec = self._codecs.codec_name(name)
        value = measured_text(target.metric, self._distortion(name, quality))
        return CodecError(
            f"task {name}: the target is {target}, and {codec} reaches {value} at quality {BEST}, "
            f"its best; lower the target, choose another codec (--codec {name}=jxl, or png for no "
            "loss at all), or ask for a bound with --max-error"
        )

    def _margin_db(self, name: str, quality: Quality) -> float:
        return margin_db(self._targets[name], self._distortion(name, quality))

    def _distortion(self, name: str, quality: Quality) -> float:
        return mean_distortion([one for one in self._each(name, quality) if one is not None])

    def _each(self, name: str, quality: Quality) -> list[float | None]:
        """Return the distortion of each sample; None of those that lack the task."""
        key = (_key(quality), name)
        if key not in self._measured:
            payloads = iter(self._encode(quality))
            self._measured[key] = [
                value
                for group in self._groups
                for value in self._measure(name, group, [next(payloads) for _ in group])
            ]
        return self._measured[key]

    def _measure(
        self, name: str, group: Sequence[Sample], payloads: Sequence[Mapping[str, bytes]]
    ) -> list[float | None]:
        decoded = self._codecs.decode_group(payloads, [name], most_pixels(group))
        task, metric = self._tasks[name], self._targets[name].metric
        return [
            distortion(task, metric, sample[name], arrays[name]) if name in sample else None
            for sample, arrays in zip(group, decoded, strict=True)
        ]

    def _encode(self, quality: Quality) -> list[dict[str, bytes]]:
        key = _key(quality)
        if key not in self._coded:
            while len(self._coded) >= KEPT:
                del self._coded[next(iter(self._coded))]
            self._coded[key] = self._codecs.encode_groups(self._groups, quality)
        return self._coded[key]


def smallest_quality(
    margin_of: Margin,
    start: int,
    lowest: int = 1,
    curve: QualityCurve | None = None,
    slack_db: float = SLACK_DB,
) -> int | None:
    """Find a quality from `lowest` to 100 that is good enough, and hardly more than that.

    Parameters
    ----------
    margin_of
        By how many dB a quality exceeds what is asked; below 0 where it is not good enough. Taken
        to rise with quality.
    start
        The quality that is tried first.
    curve
        How the margin is thought to rise.
    slack_db
        A margin of at most so much will do where one less is thought to miss; with 0 the smallest
        quality is searched.

    Returns
    -------
    int or None
        A quality that was tried and is good enough: the smallest one, or one with a margin of
        `slack_db` at most. None when 100 is not good enough.
    """
    curve = QualityCurve() if curve is None else curve
    known: dict[int, float] = {}
    bad, good = lowest - 1, BEST + 1
    probe = min(max(start, lowest), BEST)
    while good - bad > 1:
        known[probe] = margin_of(probe)
        if known[probe] >= 0:
            good = probe
        else:
            bad = probe
        model = curve.through(known, bad, good)
        if good in known and _is_close(known[good], model(good - 1), slack_db):
            break
        if good - bad > 1:
            probe = _next_probe(known, bad, good, model)
    return good if good <= BEST else None


def _is_close(margin: float, less: float, slack_db: float) -> bool:
    """Tell whether a quality of this margin is taken, where one less is thought to have `less`."""
    return margin <= min(CLOSE_DB, slack_db) or (margin <= slack_db and less < 0)


def _next_probe(known: Mapping[int, float], bad: int, good: int, model: Margin) -> int:
    """Choose where to measure next: the smallest quality that is thought to be good enough."""
    is_sided = bad not in known or good not in known
    if not is_sided and len(known) > MODELLED:
        return (bad + good) // 2
    within = range(bad + 1, good)
    probe = next((quality for quality in within if model(quality) >= AIM_DB), within[-1])
    if not is_sided:
        return probe
    stride = 1 << len(known) - 1  # on one side only: each is at least twice as far as the last
    if good in known:
        return max(min(probe, good - stride), within[0])
    return min(max(probe, bad + stride), within[-1])


def _key(quality: Quality) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(quality.tasks.items()))
