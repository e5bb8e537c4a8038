"""How tasks are coded, as one value: by which codecs, at which quality, and why.

It is made once: by `dsc._pipeline.choose.decide` for new tasks, by `Coding.of_archive` for samples
that join others. The plan, the shard jobs, the probe of sizes and the trials of codecs take it as
it is; nobody after that asks again what an option meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from dsc._codecs.base import Sample
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.rate_control import Coded, RateControl
from dsc._schemas import Quality, Task
from dsc._schemas.choice import Choice
from dsc._schemas.reached import Reached
from dsc._sources.base import SourceSample
from dsc._storage.read.archive import Archive


@dataclass(frozen=True)
class Coding:
    """How tasks are coded.

    Attributes
    ----------
    tasks
        In the order of the archive.
    codec_set
        Says which codec codes which of them.
    quality
        Of each task its quality, 1 to 100, its target and its bound.
    choice
        The measurements that the codecs were chosen by, where that was left to dsc.
    """

    tasks: tuple[Task, ...]
    codec_set: CodecSet
    quality: Quality
    choice: Choice | None = None

    @classmethod
    def of_archive(cls, archive: Archive) -> Self:
        """Return how an archive's samples are coded."""
        manifest = archive.manifest
        return cls(manifest.tasks, CodecSet.from_archive(archive), manifest.quality)

    def named(self) -> Self:
        """Return the same with a quality by each task's name, for where another default holds."""
        own = {task.name: self.quality.of(task.name) for task in self.tasks}
        return replace(self, quality=self.quality.having(own))

    def encoder(self) -> "Encoder":
        """Return what encodes the samples of one shard, in their order."""
        return Encoder(self)


class Encoder:
    """Encodes samples as a coding says; each shard has its own, as searches go on from the last.

    Attributes
    ----------
    is_searching
        Whether something is promised of each sample, so that its quality is searched. The bytes of
        a sample then depend on those before it, and samples are best given one by one.
    """

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self.is_searching = coding.quality.is_checked
        self._control = RateControl(coding.codec_set, coding.tasks, coding.quality)

    def encode(self, samples: Sequence[Sample]) -> list[Coded]:
        """Encode samples, each as well as was asked.

        Raises
        ------
        CodecError
            When an array does not fit its task, or a target cannot be reached.
        """
        if self.is_searching:
            return [self._control.encode(sample) for sample in samples]
        coded = self._coding.codec_set.encode_batch(samples, self._coding.quality)
        return [Coded(payloads) for payloads in coded]

    def promised(self) -> list[Reached]:
        """Return what was promised of each task, with nothing measured yet."""
        return self._control.blank()


class EncodedSamples:
    """Samples that were read and encoded to choose sizes, for the shard jobs of the same process.

    Of a small dataset these four are a good part of the work: 14 % of 24 rendered views. A search
    goes on from sample to sample, so what an encoder that searches gives is not kept.

    Parameters
    ----------
    limit_bytes
        How large the arrays may be that are kept, all together.
    """

    def __init__(self, limit_bytes: int = 64 << 20) -> None:
        self._left = limit_bytes
        self._kept: dict[int, tuple[SourceSample, Coded]] = {}

    def keep(self, index: int, sample: SourceSample, coded: Coded) -> None:
        """Keep a sample of the source, if there is room."""
        size = sum(array.nbytes for array in sample.arrays.values())
        if size <= self._left:
            self._left -= size
            self._kept[index] = sample, coded

    def get(self, index: int) -> tuple[SourceSample, Coded] | None:
        """Return a sample and its bitstreams, if they were kept."""
        return self._kept.get(index)
