"""What codecs are tried on: samples spread over a source, crops of them, and what is asked of each.

Samples are read when they are first wanted, so a choice that few samples decide reads few.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dsc._codecs.base import Sample
from dsc._pipeline.choose.candidates import is_lossy
from dsc._pipeline.choose.crops import CROP_PIXELS, Piece, crop, map_pixels
from dsc._schemas import Metric, Quality, Task
from dsc._sources.base import Source, read_sample
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
    """

    def __init__(self, source: Source, tasks: Sequence[Task], count: int, on_error: str) -> None:
        if not len(source):
            raise UsageError(f"source {source.name} holds no sample; point --root at the data")
        self.most = min(count, len(source))
        self._found: list[Sample] = []
        self._rest = _read(source, [task.name for task in tasks], self.most, on_error)

    def first(self, count: int) -> list[Sample]:
        """Return the first samples; fewer where there are no more.

        Raises
        ------
        SampleError
            When one cannot be read.
        UsageError
            When none can be read at all.
        """
        while len(self._found) < count:
            sample = next(self._rest, None)
            if sample is None:
                break
            self._found.append(sample)
        if not self._found:
            raise UsageError("--codec auto: none of the samples tried can be read")
        return self._found[:count]


def _read(source: Source, names: list[str], count: int, on_error: str) -> Iterator[Sample]:
    total, held = len(source), 0
    for part in _spreading(count):
        index = (2 * part + 1) * total // (2 * count)
        try:
            arrays = read_sample(source, index, names).arrays
        except SampleError as error:
            if on_error == "skip":
                continue
            raise SampleError(
                f"sample {source.key(index)} ({index}): {error}; repair it, or leave out what "
                "cannot be read with --on-error skip"
            ) from error
        held += sum(array.nbytes for array in arrays.values())
        if held > PROBED_BYTES and held > sum(array.nbytes for array in arrays.values()):
            return
        yield arrays


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
        """On how many samples candidates are tried, stage by stage; 0 is a crop of the first few.

        Small samples begin with as many as have the pixels of a crop.
        """
        most = self.spread.most
        pixels = max(map_pixels(self.spread.first(1)[0]), 1)
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
        samples = self.spread.first(stage)
        self._whole.extend(map(Piece, samples[len(self._whole) :]))
        return self._whole[:stage]

    @cached_property
    def _whole(self) -> list[Piece]:
        return []

    @cached_property
    def _crops(self) -> list[Piece]:
        return [crop(sample) for sample in self.spread.first(CROPS)]

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
