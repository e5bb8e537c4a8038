"""Encodes the samples of a shard, each as well as was asked: targets reached, bounds kept.

Both are measured on what the very codec gives back from the very bytes. The search of a sample goes
by what those before it in the shard have shown: where it ends, and how distortion falls with
quality. For the first one a crop of it shows that. What is coded in groups has one quality a group,
at which the mean over its samples reaches the target.
"""

from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field

from dsc._codecs.base import Array, Sample
from dsc._codecs.residual.bound import worst_error
from dsc._pipeline.choose.codec_set import CodecSet, Component, most_pixels
from dsc._pipeline.choose.crops import crop
from dsc._pipeline.choose.quality_search import (
    QualityCurve,
    QualitySearch,
    SearchResult,
)
from dsc._schemas import Quality, Task
from dsc._schemas.reached import MAX_ERROR, Reached
from dsc.errors import CodecError

LARGE = 4.0  # times the pixels of a crop, from which on a look at a crop pays

_Promise = tuple[str, str, float, int]  # task, metric, value, quality


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
    reached: tuple[_Promise, ...] = ()


@dataclass(frozen=True)
class SearchState:
    """What the samples so far have shown, where the search of the next one begins.

    Attributes
    ----------
    qualities
        By task, the quality of the last sample.
    curves
        By task, how distortion falls with quality.
    """

    qualities: dict[str, int] = field(default_factory=dict)
    curves: dict[str, QualityCurve] = field(default_factory=dict)


class RateControl:
    """Encodes the samples of one shard, each as well as `quality` asks.

    The search of a sample begins where that of the sample before ended, which makes it short. The
    bytes therefore depend on the order of samples within a shard, and on nothing else. Of samples
    that are coded together, each reaches what it reaches; the mean over them is what was asked.

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
        found: SearchState | None = None,
    ) -> None:
        self._codecs, self._quality = codec_set, quality
        self._tasks = {task.name: task for task in tasks}
        self._state = SearchState() if found is None else deepcopy(found)

    @property
    def found(self) -> SearchState:
        """Where the search of the next sample begins."""
        return deepcopy(self._state)

    def encode(self, group: Sequence[Sample]) -> list[Coded]:
        """Encode a group's samples; see `CodecSet.encode_group`.

        Raises
        ------
        CodecError
            When an array does not fit its task, or a target cannot be reached.
        """
        payloads: list[dict[str, bytes]] = [{} for _ in group]
        reached: list[list[_Promise]] = [[] for _ in group]
        for part in self._codecs.components():
            own = [{name: s[name] for name in part.tasks if name in s} for s in group]
            for places in self._together(part, own):
                samples = [own[at] for at in places]
                result = self._find(samples)
                for at, streams in zip(places, result.payloads, strict=True):
                    payloads[at] |= streams
                for at, found in zip(places, self._promises(samples, result), strict=True):
                    reached[at] += found
        self._codecs.encode_dependents(group, payloads, self._quality)
        return [Coded(p, tuple(r)) for p, r in zip(payloads, reached, strict=True)]

    def _together(self, part: Component, group: Sequence[Sample]) -> list[list[int]]:
        """Return the places of samples that are searched together; those without arrays in none."""
        if self._codecs.is_grouped(part.slot):
            return [list(range(len(group)))] if any(group) else []
        return [[at] for at, sample in enumerate(group) if sample]

    def _find(self, samples: Sequence[Sample]) -> SearchResult:
        names = {name for sample in samples for name in sample}
        if any(n in self._quality.targets and n not in self._state.qualities for n in names):
            self._look_ahead(samples)
        result = self._search(samples).run(self._quality.having(self._state.qualities))
        self._note(result)
        return result

    def _look_ahead(self, samples: Sequence[Sample]) -> None:
        """Search on crops of samples, if they are large: encodes take a tenth of the time."""
        if not all(self._tasks[name].is_map for sample in samples for name in sample):
            return
        piece = crop(samples)
        if piece.scale < LARGE:
            return
        search = self._search(piece.samples)
        with suppress(CodecError):  # the whole sample may reach what its crop does not
            self._note(search.run(self._quality.having(self._state.qualities)))

    def _search(self, samples: Sequence[Sample]) -> QualitySearch:
        return QualitySearch(
            self._codecs, self._tasks, self._quality, [samples], self._state.curves
        )

    def _note(self, result: SearchResult) -> None:
        own = {name: result.quality.of(name) for name in result.distortion}
        self._state.qualities.update(own)

    def _promises(self, samples: Sequence[Sample], result: SearchResult) -> list[list[_Promise]]:
        """Return what each sample has reached."""
        found: list[list[_Promise]] = [
            [
                (name, str(self._quality.targets[name].metric), value, result.quality.of(name))
                for name, value in own.items()
            ]
            for own in result.each
        ]
        names = [name for name in self._quality.max_error if any(name in s for s in samples)]
        decoded = self._codecs.decode_group(result.payloads, names, most_pixels(samples))
        for sample, arrays, own in zip(samples, decoded, found, strict=True):
            for name in names:
                if name in sample:
                    value = self._check_bound(name, sample[name], arrays[name])
                    own.append((name, MAX_ERROR, value, result.quality.of(name)))
        return found

    def _check_bound(self, name: str, original: Array, decoded: Array) -> float:
        bound = self._quality.max_error[name]
        value = worst_error(bound, self._tasks[name], original, decoded)
        if value > bound.value * (1 + 1e-9):
            raise CodecError(
                f"task {name}: a pixel is off by {value:.6g}, the bound is {bound}; this is a "
                "fault of the codec, please report it"
            )
        return value

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
