"""Encodes the samples of a shard, each as well as was asked: targets reached, bounds kept.

Both are measured on what the very codec gives back from the very bytes. The search of a sample goes
by what those before it in the shard have shown: where it ends, and how distortion falls with
quality. For the first one a crop of it shows that.
"""

from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field

from dsc._codecs.base import Sample
from dsc._codecs.residual.bound import worst_error
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.crops import crop
from dsc._pipeline.choose.quality_search import QualityCurve, QualitySearch, SearchResult, pixels_of
from dsc._schemas import Quality, Task
from dsc._schemas.reached import MAX_ERROR, Reached
from dsc.errors import CodecError

LARGE = 4.0  # times the pixels of a crop, from which on a look at a crop pays


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
        found: SearchState | None = None,
    ) -> None:
        self._codecs, self._quality = codec_set, quality
        self._tasks = {task.name: task for task in tasks}
        self._state = SearchState() if found is None else deepcopy(found)

    @property
    def found(self) -> SearchState:
        """Where the search of the next sample begins."""
        return deepcopy(self._state)

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
            if any(
                name in self._quality.targets and name not in self._state.qualities for name in own
            ):
                self._look_ahead(own)
            result = self._search(own).run(self._quality.having(self._state.qualities))
            self._note(result)
            payloads |= result.payloads[0]
            for name, value in result.distortion.items():
                metric = str(self._quality.targets[name].metric)
                reached.append((name, metric, value, result.quality.of(name)))
            reached += self._check_bounds(own, result)
        return Coded(payloads, tuple(reached))

    def _look_ahead(self, sample: Sample) -> None:
        """Search on a crop of a sample, if it is large: its encodes take a tenth of the time."""
        piece = crop(sample)
        if piece.scale < LARGE:
            return
        with suppress(CodecError):  # the whole sample may reach what its crop does not
            self._note(self._search(piece.arrays).run(self._quality.having(self._state.qualities)))

    def _search(self, sample: Sample) -> QualitySearch:
        return QualitySearch(self._codecs, self._tasks, self._quality, [sample], self._state.curves)

    def _note(self, result: SearchResult) -> None:
        own = {name: result.quality.of(name) for name in result.distortion}
        self._state.qualities.update(own)

    def _check_bounds(
        self, sample: Sample, result: SearchResult
    ) -> list[tuple[str, str, float, int]]:
        found = []
        names = [name for name in self._quality.max_error if name in sample]
        decoded = self._codecs.decode_alone(result.payloads[0], names, pixels_of(sample))
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
