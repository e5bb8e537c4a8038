"""What codecs are tried on: samples spread over a source, crops of them, and what is asked of each.

Where codecs of recordings take part, all are tried on some frames that follow one another.

Samples are read when they are first wanted, so a choice that few samples decide reads few.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dsc._codecs.base import Sample
from dsc._pipeline.choose.candidates import is_lossy
from dsc._pipeline.choose.crops import CROP_PIXELS, Piece, crop, map_pixels
from dsc._schemas import Metric, Quality, Task
from dsc._sources.base import Source, place_of, read_sample
from dsc.errors import SampleError, UsageError

CROPS = 4  # that codecs are tried on first; of small samples as many as have their pixels
PROBED_BYTES = 1 << 30  # of arrays that are held at once; of larger samples fewer are tried


class Spread:
    """Samples from the middles of equal parts of a source; the first few are spread over it, too.

    Parameters
    ----------
    count
        How many samples at most.
    on_error
        Whether a sample that cannot be read is an error (``fail``) or passed over.
    together
        How many of a recording are taken in a row.

    Attributes
    ----------
    most
        How many groups there are: of one sample each, or of some in a row.
    """

    def __init__(
        self,
        source: Source,
        tasks: Sequence[Task],
        count: int,
        on_error: str,
        together: int = 1,
    ) -> None:
        if not len(source):
            raise UsageError(f"source {source.name} holds no sample; point --root at the data")
        self.most, self.together = max(min(count, len(source)) // together, 1), together
        self._found: list[tuple[Sample, ...]] = []
        self._rest = self._read(source, [task.name for task in tasks], on_error)

    def first(self, count: int) -> list[tuple[Sample, ...]]:
        """Return the first groups of samples; fewer where there are no more.

        Raises
        ------
        SampleError
            When one cannot be read.
        UsageError
            When none can be read at all.
        """
        while len(self._found) < count:
            group = next(self._rest, None)
            if group is None:
                break
            self._found.append(group)
        if not self._found:
            raise UsageError("--codec auto: none of the samples tried can be read")
        return self._found[:count]

    def _read(
        self, source: Source, names: list[str], on_error: str
    ) -> Iterator[tuple[Sample, ...]]:
        total, held = len(source), 0
        for part in _spreading(self.most):
            middle = (2 * part + 1) * total // (2 * self.most)
            group = []
            for index in _in_a_row(source, middle, self.together):
                try:
                    group.append(read_sample(source, index, names).arrays)
                except SampleError as error:
                    if on_error != "skip":
                        raise SampleError(
                            f"sample {source.key(index)} ({index}): {error}; repair it, or leave "
                            "out what cannot be read with --on-error skip"
                        ) from error
            size = sum(array.nbytes for sample in group for array in sample.values())
            held += size
            if held > PROBED_BYTES and held > size:
                return
            if group:
                yield tuple(group)


def _in_a_row(source: Source, middle: int, count: int) -> list[int]:
    """Return the indices around one that are of its sequence, so many at most."""
    own = place_of(source, middle) if count > 1 else None
    if own is None:
        return [middle]
    first = max(min(middle - count // 2, len(source) - count), 0)
    near = {n: place_of(source, n) for n in range(first, min(first + count, len(source)))}
    return [n for n, place in near.items() if place and place.sequence == own.sequence]


def _spreading(count: int) -> list[int]:
    """Order 0 to `count` - 1 so that those before any of them are spread: halves, quarters ..."""
    bits = max(count - 1, 1).bit_length()
    turned = sorted(range(1 << bits), key=lambda at: int(f"{at:0{bits}b}"[::-1], 2))
    middle = count // 2
    return [(at + middle) % count for at in turned if at < count]


@dataclass(frozen=True)
class Probe:
    """What candidates are measured on, and what is asked of each task."""

    tasks: tuple[Task, ...]
    quality: Quality
    spread: Spread

    @cached_property
    def stages(self) -> tuple[int, ...]:
        """On how many groups candidates are tried, stage by stage; 0 is a crop of the first few.

        Small samples begin with as many as have the pixels of a crop.
        """
        most = self.spread.most
        pixels = max(sum(map(map_pixels, self.spread.first(1)[0])), 1)
        first = CROPS * CROP_PIXELS // pixels
        counts = [0] if first == 0 else []
        count = min(max(first, 1), most)
        while count < most:
            counts.append(count)
            count *= 2
        return (*counts, most)

    def pieces(self, stage: int) -> list[Piece]:
        """Return what a stage tries candidates on; the same values each time."""
        if not stage:
            return self._crops
        groups = self.spread.first(stage)
        self._whole.extend(map(Piece, groups[len(self._whole) :]))
        return self._whole[:stage]

    @cached_property
    def _whole(self) -> list[Piece]:
        return []

    @cached_property
    def _crops(self) -> list[Piece]:
        return [crop(group) for group in self.spread.first(max(CROPS // self.spread.together, 1))]

    def metrics(self) -> dict[str, str]:
        """Name the metric of each lossy task."""
        return {task.name: str(self.metric(task)) for task in self.tasks if is_lossy(task)}

    def metric(self, task: Task) -> Metric:
        """Return the metric that a lossy task is compared in: the target's, or its kind's first."""
        target = self.quality.targets.get(task.name)
        return target.metric if target else Metric(task.metrics[0])

    def is_matched(self, task: Task) -> bool:
        """Tell whether a task is compared at the reference's distortion."""
        named: Mapping[str, object] = {**self.quality.targets, **self.quality.max_error}
        return is_lossy(task) and task.name not in named
