"""How tasks are coded, as one value: by which codecs, at which quality, and why.

It is made once: by `dsc._pipeline.choose.decide` for new tasks, by `Coding.of_archive` for samples
that join others. The plan, the shard jobs, the probe of sizes and the trials of codecs take it as
it is; nobody after that asks again what an option meant.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from dsc._codecs.base import Sample
from dsc._codecs.encoder import SEARCH, encoder_of
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.rate_control import Coded, RateControl, SearchState
from dsc._schemas import CodecRecord, Quality, Task
from dsc._schemas.choice import Choice
from dsc._schemas.reached import Reached
from dsc._storage.read.archive import Archive

SEARCH_VERSION = "2"  # 1, which plans do not name, was by bisection


def encoder_versions(codecs: Iterable[CodecRecord], quality: Quality) -> dict[str, str]:
    """Name what decides the bytes, and its version: encoders, and how qualities are searched.

    Another search ends at other qualities, so a job that was begun by one is not finished by
    another without a word.
    """
    search = {SEARCH: SEARCH_VERSION} if quality.targets else {}
    return encoder_of(codecs) | search


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
    nearly
        Why tasks are stored that a rule gives from others, by task; for people, and kept nowhere.
    """

    tasks: tuple[Task, ...]
    codec_set: CodecSet
    quality: Quality
    choice: Choice | None = None
    nearly: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_archive(cls, archive: Archive) -> Self:
        """Return how an archive's samples are coded."""
        manifest = archive.manifest
        return cls(manifest.tasks, CodecSet.from_archive(archive), manifest.quality)

    @property
    def is_ordered(self) -> bool:
        """Whether the bytes of a sample depend on those before it in its shard: a search does."""
        return bool(self.quality.targets)

    def named(self) -> Self:
        """Return the same with a quality by each task's name, for where another default holds."""
        own = {task.name: self.quality.of(task.name) for task in self.tasks}
        return replace(self, quality=self.quality.having(own))

    def encoder(self, found: SearchState | None = None) -> "Encoder":
        """Return what encodes the samples of one shard, in their order.

        Parameters
        ----------
        found
            Where the first search begins (`Encoder.found`); None at the start of a shard.
        """
        return Encoder(self, found)


class Encoder:
    """Encodes samples as a coding says; each shard has its own, as searches go on from the last.

    Attributes
    ----------
    is_searching
        Whether something is promised of each sample, so that its quality is searched or what it
        decodes to is measured. Groups are best given one by one then.
    """

    def __init__(self, coding: Coding, found: SearchState | None = None) -> None:
        self._coding = coding
        self.is_searching = coding.quality.is_checked
        self._control = RateControl(coding.codec_set, coding.tasks, coding.quality, found)

    def encode(self, groups: Sequence[Sequence[Sample]]) -> list[Coded]:
        """Encode groups, each as well as was asked; return all their samples, in order.

        Parameters
        ----------
        groups
            See `CodecSet.encode_group`.

        Raises
        ------
        CodecError
            When an array does not fit its task, or a target cannot be reached.
        """
        if self.is_searching:
            return [coded for group in groups for coded in self._control.encode(group)]
        coded = self._coding.codec_set.encode_groups(groups, self._coding.quality)
        return [Coded(payloads) for payloads in coded]

    def trial(self) -> "Encoder":
        """Return one that begins where this one is, and leaves it there."""
        return Encoder(self._coding, self._control.found)

    @property
    def found(self) -> SearchState | None:
        """Where the search of the next sample begins; None where the order does not matter."""
        return self._control.found if self._coding.is_ordered else None

    def promised(self) -> list[Reached]:
        """Return what was promised of each task, with nothing measured yet."""
        return self._control.blank()
