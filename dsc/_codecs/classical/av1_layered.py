"""Images and depth coarse first: a picture of a quarter of the side, then the whole one, as AV1.

Each task has two streams. ``TASK.0`` decodes by itself to a map of ⌈H/4⌉×⌈W/4⌉
(`dsc._codecs.maps.coarse`): of depth in the same counts, holes where nothing was measured. With
``TASK.1`` comes the map that the codec `av1` gives at the same quality. Little-endian::

    TASK.0   u8   tag           of the coarse picture, as in `dsc._codecs.maps.base`
             u16  height, width of the whole map
             ...  the coarse picture, as `av1` writes it
    TASK.1   u8   tag           of the whole picture
             ...  the whole picture

The two are coded independently. At equal PSNR, beside one picture of `av1`, a residual to the
coarse picture (enlarged by the filter of least squares) takes more bytes than the whole picture
does, unless the coarse one has an eighth of all bytes or more; then both ways take 1.1 to 1.15. A
spatial layer of AV1, predicted from the coarse picture by scaled references, takes 1.15 with a
coarse picture of a tenth: AV1's inter frames code what they do not predict in 1 to 5 % more than
key frames do, and four times enlarged the coarse picture predicts little.
"""

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Self

from dsc._codecs.base import Array, Decoder, Sample
from dsc._codecs.canvas import Place
from dsc._codecs.classical.av1 import Av1Codec, av1_level
from dsc._codecs.maps.base import HEADER
from dsc._codecs.maps.coarse import coarse_map, coarse_size
from dsc._schemas import Effort, Quality, Stream, Task, TaskKind
from dsc._schemas.levels import PREFIXES
from dsc.errors import LIST_DAMAGE, BitstreamError

# How much lower coarse pictures are on libavif's scale of 100 levels: so that they take 3 to 7 % of
# the bytes of photographs and of NYUv2 at quality 60.
COARSER: Mapping[TaskKind, int] = {TaskKind.IMAGE: 22, TaskKind.DEPTH: 36}


class Av1LayeredCodec:
    """Quality is that of `av1` for the whole picture; see `coarse_quality` for the coarse one.

    Parameters
    ----------
    tasks
        The tasks it codes.

    Raises
    ------
    CodecError
        When it cannot code one of them; the message says what can.
    """

    id: ClassVar[str] = "av1-layered"
    decodes_alone: ClassVar[bool] = True

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._pictures = _Pictures(tasks)
        self.tasks = self._pictures.tasks
        self._coarse: frozenset[str] = frozenset()  # tasks that are decoded without ``TASK.1``

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks."""
        return cls(tasks)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes; there are no weights.

        Raises
        ------
        CodecError
            When it is no configuration of this codec.
        """
        return cls(_Pictures.tasks_of(config)).at_effort(_Pictures.effort_of(config))

    def at_effort(self, effort: Effort) -> Self:
        """Return this codec at an effort."""
        other = copy(self)
        other._pictures = self._pictures.at_effort(effort)
        return other

    def from_streams(self, names: Collection[str]) -> Decoder:
        """Return what decodes the coarse maps of tasks of which only that stream is named."""
        other = copy(self)
        other._coarse = frozenset(
            task.name for task in self.tasks if _whole(task.name) not in names
        )
        return other

    def config(self) -> dict[str, Any]:
        """Return the tasks, the effort where it is not the default, and that there are levels."""
        return {**self._pictures.config(), PREFIXES: True}

    def weights(self) -> bytes | None:
        """Return None: nothing is trained."""
        return None

    def streams(self) -> tuple[Stream, ...]:
        """Return two streams a task; the second requires the first."""
        return tuple(
            stream
            for name in (task.name for task in self.tasks)
            for stream in (
                Stream(name=_coarse(name), carries=(name,)),
                Stream(name=_whole(name), carries=(name,), requires=(_coarse(name),)),
            )
        )

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples one by one.

        Raises
        ------
        CodecError
            When an array does not fit its task.
        """
        whole = self._pictures.encode_batch(samples, quality)
        lower = {task.name: coarse_quality(task.kind, quality.of(task.name)) for task in self.tasks}
        maps = [
            {
                task.name: coarse_map(task, sample[task.name])
                for task in self.tasks
                if task.name in one
            }
            for sample, one in zip(samples, whole, strict=True)
        ]
        coarse = self._pictures.encode_batch(maps, Quality(tasks=lower))
        return [
            {
                stream: data
                for name in fine
                for stream, data in _split(name, rough[name], fine[name]).items()
            }
            for rough, fine in zip(coarse, whole, strict=True)
        ]

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks` of samples one by one.

        Raises
        ------
        UnknownTaskError
            When the codec does not code one of the tasks.
        BitstreamError
            When a bitstream is damaged, or one that is required is not there.
        """
        self._pictures.decode_batch([], tasks, max_pixels)  # knows the tasks
        return [
            {
                name: self.decode_sample(name, given, max_pixels, Place())
                for name in tasks
                if self.has(name, given)
            }
            for given in streams
        ]

    def has(self, name: str, streams: Mapping[str, bytes]) -> bool:
        """Tell whether a sample has a task."""
        return any(streams.get(stream) is not None for stream in (_coarse(name), _whole(name)))

    def decode_sample(
        self, name: str, streams: Mapping[str, bytes], max_pixels: int, place: Place
    ) -> Array:
        """Decode one task of one sample to where it is wanted, from any thread.

        Raises
        ------
        BitstreamError
            When a bitstream is damaged, or not there.
        """
        wanted = [_coarse(name)] if name in self._coarse else [_coarse(name), _whole(name)]
        for stream in wanted:
            if not streams.get(stream):
                raise BitstreamError(f"stream {stream} is required and not here; {LIST_DAMAGE}")
        first = bytes(streams[wanted[0]])
        if len(first) < HEADER.size:
            raise BitstreamError(f"stream {wanted[0]}: {len(first)} bytes are cut; {LIST_DAMAGE}")
        tag, height, width = HEADER.unpack_from(first)
        if not 0 < height * width <= max_pixels:
            raise BitstreamError(
                f"stream {wanted[0]}: {height}×{width} pixels, at most {max_pixels} are expected "
                f"here; {LIST_DAMAGE}"
            )
        if name in self._coarse:
            data = HEADER.pack(tag, *coarse_size(height, width)) + first[HEADER.size :]
        else:
            second = bytes(streams[wanted[1]])
            data = HEADER.pack(second[0], height, width) + second[1:]
        return self._pictures.decode_to(name, data, max_pixels, place)


class _Pictures(Av1Codec):
    """`av1`, of images and depth, under the name of the codec that it serves."""

    id: ClassVar[str] = Av1LayeredCodec.id
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT

    def refusal(self, task: Task) -> str | None:
        """Say why a task has no coarse map, and what codes it; None when it has one."""
        if task.is_map and task.kind not in COARSER:
            return f"codes images and depth, not {task.kind.value} tasks; use av1 or exact"
        return super().refusal(task)


def coarse_quality(kind: TaskKind, quality: int) -> int:
    """Return the quality of coarse pictures of a kind, 1 to 100, for that of the whole ones."""
    level = max(1, av1_level(quality) - COARSER[kind])
    found: float = 100 * (level / 100) ** (2 / 3)
    return max(1, round(found))


def _coarse(task: str) -> str:
    return f"{task}.0"


def _whole(task: str) -> str:
    return f"{task}.1"


def _split(task: str, rough: bytes, fine: bytes) -> dict[str, bytes]:
    """Put the size of the whole picture into the head of the coarse one, which is read first."""
    tag, (whole_tag, height, width) = rough[0], HEADER.unpack_from(fine)
    return {
        _coarse(task): HEADER.pack(tag, height, width) + rough[HEADER.size :],
        _whole(task): bytes([whole_tag]) + fine[HEADER.size :],
    }
