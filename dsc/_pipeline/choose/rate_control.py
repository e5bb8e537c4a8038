"""Searches qualities: the smallest ones at which what is decoded is as good as was asked.

Distortion is measured on what the very codec gives back from the very bytes. It is taken to fall
with quality, which bisection needs; the result is measured all the same. Where tasks share streams,
the quality of one may change another: they are searched in the order of the stream graph, and
looked at once more together; one that has got worse is raised until all are good enough.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dsc._codecs.base import Array, Sample
from dsc._codecs.residual.bound import worst_error
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.metrics import absrel, mean_angle_deg, ms_ssim, peak_of, psnr_db, rmse_m
from dsc._schemas import Metric, Quality, Task
from dsc._schemas.reached import MAX_ERROR, Reached
from dsc._schemas.target import measured_text
from dsc.errors import CodecError

BEST = 100
STRIDE = 4  # first step of a search from where the last sample was
KEPT = 8  # bitstreams of how many qualities are kept during a search
EXACT_DB = 100.0  # what identical images count as in a mean of PSNRs


@dataclass(frozen=True)
class Coded:
    """One sample, as it is stored.

    Attributes
    ----------
    payloads
        Bitstream by stream.
    reached
        What was asked and what was reached, by task: (task, metric, value, quality).
    """

    payloads: dict[str, bytes] = field(default_factory=dict)
    reached: tuple[tuple[str, str, float, int], ...] = ()


class RateControl:
    """Encodes the samples of one shard, each as well as `quality` asks.

    The search of a sample begins where that of the sample before ended, which makes it short. The
    bytes therefore depend on the order of samples within a shard, and on nothing else.

    Parameters
    ----------
    codec_set
        The codecs.
    tasks
        The tasks that they code.
    quality
        Targets and bounds by task, and the quality where the search begins.
    found
        What `RateControl.found` was after the samples before, where some were encoded elsewhere.
    """

    def __init__(
        self,
        codec_set: CodecSet,
        tasks: Sequence[Task],
        quality: Quality,
        found: Mapping[str, int] | None = None,
    ) -> None:
        self._codecs, self._quality = codec_set, quality
        self._tasks = {task.name: task for task in tasks}
        self._found: dict[str, int] = dict(found or {})

    @property
    def found(self) -> dict[str, int]:
        """Where the search of the next sample begins: by task, the quality of the last one."""
        return dict(self._found)

    def encode(self, sample: Sample) -> Coded:
        """Encode one sample.

        Raises
        ------
        CodecError
            When an array does not fit its task, or a target cannot be reached.
        """
        payloads: dict[str, bytes] = {}
        reached: list[tuple[str, str, float, int]] = []
        for part in self._codecs.components():
            own = {name: sample[name] for name in part.tasks if name in sample}
            if not own:
                continue
            search = QualitySearch(self._codecs, self._tasks, self._quality, [own])
            result = search.run(self._quality.having(self._found))
            self._found |= {name: result.quality.of(name) for name in result.distortion}
            payloads |= result.payloads[0]
            for name, value in result.distortion.items():
                metric = str(self._quality.targets[name].metric)
                reached.append((name, metric, value, result.quality.of(name)))
            reached += self._check_bounds(own, result)
        return Coded(payloads, tuple(reached))

    def _check_bounds(
        self, sample: Sample, result: "SearchResult"
    ) -> list[tuple[str, str, float, int]]:
        found = []
        names = [name for name in self._quality.max_error if name in sample]
        decoded = self._codecs.decode_alone(result.payloads[0], names, _pixels(sample))
        for name in names:
            bound = self._quality.max_error[name]
            value = worst_error(bound, self._tasks[name], sample[name], decoded[name])
            if value > bound.value * (1 + 1e-9):
                raise CodecError(
                    f"task {name}: a pixel is off by {value:.6g}, the bound is {bound}; this is a "
                    "fault of the codec, please report it"
                )
            found.append((name, MAX_ERROR, value, result.quality.of(name)))
        return found

    def blank(self) -> list[Reached]:
        """Return what is asked, with nothing measured yet."""
        targets = [
            Reached(task=name, asked=str(target), metric=str(target.metric))
            for name, target in self._quality.targets.items()
        ]
        bounds = [
            Reached(task=name, asked=f"at most {bound}", metric=MAX_ERROR, unit=bound.kind.value)
            for name, bound in self._quality.max_error.items()
        ]
        return [*targets, *bounds]


@dataclass(frozen=True)
class SearchResult:
    """The end of a search: qualities, bitstreams of each sample, mean distortion by target task."""

    quality: Quality
    payloads: list[dict[str, bytes]]
    distortion: dict[str, float]


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
    samples
        What is coded; of one connected part of the stream graph for a quick search.
    """

    def __init__(
        self,
        codec_set: CodecSet,
        tasks: Mapping[str, Task],
        quality: Quality,
        samples: Sequence[Sample],
    ) -> None:
        self._codecs, self._tasks, self._samples = codec_set, tasks, samples
        there = {name for sample in samples for name in sample}
        order = [name for name in codec_set.tasks_in_order() if name in there]
        self._targets = {n: quality.targets[n] for n in order if n in quality.targets}
        self._coded: dict[tuple[tuple[str, int], ...], list[dict[str, bytes]]] = {}
        self._measured: dict[tuple[tuple[tuple[str, int], ...], str], float] = {}

    def run(self, start: Quality, stride: int = STRIDE) -> SearchResult:
        """Search from some qualities.

        Parameters
        ----------
        stride
            The first step; small where `start` is all but right.

        Raises
        ------
        CodecError
            When the best quality does not reach a target; the message says what it does reach.
        """
        quality = start
        for name in self._targets:
            quality = self._raise_to_target(name, quality, 1, stride)
        while missed := [name for name in self._targets if not self._meets(name, quality)]:
            for name in missed:
                quality = self._raise_to_target(name, quality, quality.of(name) + 1, 1)
        return SearchResult(
            quality, self._encode(quality), {n: self._distortion(n, quality) for n in self._targets}
        )

    def is_done(self, quality: Quality) -> bool:
        """Tell whether these qualities reach every target."""
        return all(self._meets(name, quality) for name in self._targets)

    def _raise_to_target(self, name: str, quality: Quality, lowest: int, stride: int) -> Quality:
        begin = min(max(quality.of(name), lowest), BEST)
        found = smallest_quality(
            lambda q: self._meets(name, quality.having({name: q})), begin, lowest, stride
        )
        if found is None:
            raise self._out_of_reach(name, quality.having({name: BEST}))
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

    def _meets(self, name: str, quality: Quality) -> bool:
        return self._targets[name].is_met(self._distortion(name, quality))

    def _distortion(self, name: str, quality: Quality) -> float:
        key = (_key(quality), name)
        if key not in self._measured:
            values = []
            for sample, payloads in zip(self._samples, self._encode(quality), strict=True):
                if name in sample:
                    decoded = self._codecs.decode_alone(payloads, [name], _pixels(sample))
                    metric = self._targets[name].metric
                    values.append(
                        distortion(self._tasks[name], metric, sample[name], decoded[name])
                    )
            self._measured[key] = mean_distortion(values)
        return self._measured[key]

    def _encode(self, quality: Quality) -> list[dict[str, bytes]]:
        key = _key(quality)
        if key not in self._coded:
            while len(self._coded) >= KEPT:
                del self._coded[next(iter(self._coded))]
            self._coded[key] = self._codecs.encode_batch(self._samples, quality)
        return self._coded[key]


def smallest_quality(
    meets: Callable[[int], bool], start: int, lowest: int = 1, stride: int = STRIDE
) -> int | None:
    """Find the smallest quality from `lowest` to 100 that is good enough, trying `start` first.

    Strides double away from `start` until they straddle the answer, which is then bisected. The
    quality given was tried. None when 100 is not good enough.
    """
    bad, good = lowest - 1, BEST + 1
    probe = start
    while good - bad > 1:
        if meets(probe):
            good = probe
        else:
            bad = probe
        if bad < lowest:
            probe, stride = max(good - stride, lowest), 2 * stride
        elif good > BEST:
            probe, stride = min(bad + stride, BEST), 2 * stride
        else:
            probe = (bad + good) // 2
    return good if good <= BEST else None


def distortion(task: Task, metric: Metric, original: Array, decoded: Array) -> float:
    """Measure one sample over the valid pixels of the original; NaN where there is none."""
    mask = task.invalid_mask(original) if task.invalid else None
    if metric in (Metric.PSNR, Metric.MS_SSIM):
        if mask is not None and mask.any():
            if mask.all():
                return math.nan
            decoded = np.where(mask if original.ndim == 2 else mask[..., None], original, decoded)
            if metric is Metric.PSNR:
                original, decoded = original[~mask], decoded[~mask]
        measure = psnr_db if metric is Metric.PSNR else ms_ssim
        return measure(original, decoded, peak_of(task))
    truth, found = task.to_physical(original), task.to_physical(decoded)
    by_metric = {Metric.ABSREL: absrel, Metric.RMSE: rmse_m, Metric.ANGLE: mean_angle_deg}
    return by_metric[metric](truth, found)


def mean_distortion(values: Sequence[float]) -> float:
    """Return the mean over samples; NaN does not count, identical images count as 100 dB."""
    known = [EXACT_DB if math.isinf(value) else value for value in values if not math.isnan(value)]
    if len(known) == 1:
        return next(value for value in values if not math.isnan(value))
    return sum(known) / len(known) if known else math.nan


def _key(quality: Quality) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(quality.tasks.items()))


def _pixels(sample: Sample) -> int:
    return max(a.shape[0] * a.shape[1] if a.ndim > 1 else 1 for a in sample.values())
