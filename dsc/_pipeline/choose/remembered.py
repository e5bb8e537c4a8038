"""Codecs that do not encode the same sample twice at one quality, and stop when time is up.

Candidates have much in common: the reference is a candidate, a codec below a residual is one, and
`normal-palette` begins with a picture of `av1`. What one of them has encoded, the others are given.
"""

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from dsc._codecs.base import (
    Array,
    Codec,
    GroupCodec,
    Sample,
    at_access,
    at_effort,
    group_size_of,
)
from dsc._codecs.registry import LOSSLESS
from dsc._pipeline.choose.codec_spec import make
from dsc._schemas import Access, Effort, Quality, Stream, Task
from dsc.errors import CodecError


class OutOfTimeError(Exception):
    """The time for trying codecs is over."""


class Budget:
    """A time by the clock.

    Parameters
    ----------
    seconds
        How long from now; infinite for ever.
    """

    def __init__(self, seconds: float) -> None:
        self._end_s = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left; 0 when it is over."""
        return max(self._end_s - time.monotonic(), 0.0)


@dataclass
class Memory:
    """What was encoded.

    Attributes
    ----------
    budget
        When it is over, nothing more is encoded; None while everything is.
    effort, access
        At which all is encoded.
    encodes
        How many samples were encoded, by codec.
    """

    budget: Budget | None = None
    effort: Effort = Effort.DEFAULT
    access: Access = Access.BALANCED
    encodes: dict[str, int] = field(default_factory=dict)
    _kept: dict[Hashable, tuple[Sequence[Sample], list[dict[str, bytes]], float]] = field(
        default_factory=dict
    )
    _work: dict[tuple[str, tuple[str, ...]], tuple[int, float]] = field(default_factory=dict)
    _given_s: float = 0.0  # what was not encoded again would have taken

    def make(self, word: str, tasks: Sequence[Task]) -> Codec:
        """Make the codec that a word names, so that it remembers."""
        codec = at_access(at_effort(make(word, tasks), self.effort), self.access)
        if codec.id == "normal-palette":
            from dsc._codecs.label.normals import PICTURES, NormalPaletteCodec

            if isinstance(codec, NormalPaletteCodec):
                codec = codec.over(Remembered(codec.pictures, PICTURES, self))
        return Remembered(codec, word, self)

    def encode(
        self, codec: Codec, word: str, group: Sequence[Sample], quality: Quality
    ) -> list[dict[str, bytes]]:
        """Return the bitstreams of samples that are coded together.

        Raises
        ------
        OutOfTimeError
            When they are not known, and the time is over.
        """
        key = self._key(codec, word, group, quality)
        if key in self._kept:
            _, coded, taken_s = self._kept[key]
            self._given_s += taken_s
            return [dict(one) for one in coded]
        if self.budget is not None and not self.budget.left_s:
            raise OutOfTimeError
        given_s, began_s = self._given_s, time.perf_counter()
        if isinstance(codec, GroupCodec):
            coded = codec.encode_group(group, quality)
        else:
            coded = codec.encode_batch(group, quality)
        taken_s = time.perf_counter() - began_s + self._given_s - given_s
        self._note(word, codec, group, taken_s)
        if codec.id not in LOSSLESS:  # those are large, and no other codec begins with them
            self._kept[key] = group, coded, taken_s  # an array that is kept keeps its identity
        return [dict(one) for one in coded]

    def speed_mpix_s(self, word: str, names: tuple[str, ...]) -> float | None:
        """Return how many million pixels of its tasks a codec has encoded a second."""
        pixels, taken_s = self._work.get((word, names), (0, 0.0))
        return pixels / 1e6 / taken_s if pixels and taken_s else None

    def _note(self, word: str, codec: Codec, group: Sequence[Sample], taken_s: float) -> None:
        self.encodes[word] = self.encodes.get(word, 0) + len(group)
        key = word, tuple(task.name for task in codec.tasks)
        pixels, before_s = self._work.get(key, (0, 0.0))
        maps = [array for sample in group for array in sample.values() if array.ndim > 1]
        pixels += sum(array.shape[0] * array.shape[1] for array in maps)
        self._work[key] = pixels, before_s + taken_s

    def _key(self, codec: Codec, word: str, group: Sequence[Sample], quality: Quality) -> Hashable:
        arrays = tuple(
            tuple((name, id(array), quality.of(name)) for name, array in sample.items())
            for sample in group
        )
        shared = tuple(
            (stream.name, quality.own(stream.name), quality.default)
            for stream in codec.streams()
            if not stream.carries
        )
        return word, tuple(task.name for task in codec.tasks), arrays, shared


class Remembered:
    """A codec whose bitstreams are remembered; else it does what the codec does."""

    id: ClassVar[str] = "remembered"

    def __init__(self, codec: Codec, word: str, memory: Memory) -> None:
        self._codec, self._word, self._memory = codec, word, memory
        self.id = codec.id  # type: ignore[misc]
        self.tasks = codec.tasks
        self.group_size = group_size_of(codec)

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Refuse: it is made around another codec.

        Raises
        ------
        CodecError
            Always.
        """
        raise CodecError("a codec that remembers is made around another one, not for tasks")

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Refuse: no archive names it.

        Raises
        ------
        CodecError
            Always.
        """
        raise CodecError("no archive names a codec that remembers; it is there while one is chosen")

    def streams(self) -> tuple[Stream, ...]:
        """Return the codec's streams."""
        return self._codec.streams()

    def config(self) -> dict[str, Any]:
        """Return the codec's configuration."""
        return self._codec.config()

    def weights(self) -> bytes | None:
        """Return the codec's weights."""
        return self._codec.weights()

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode what was not encoded before."""
        return [self.encode_group([one], quality)[0] for one in samples]

    def encode_group(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples of a recording, if it was not done before."""
        return self._memory.encode(self._codec, self._word, samples, quality)

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode."""
        return self._codec.decode_batch(streams, tasks, max_pixels)
