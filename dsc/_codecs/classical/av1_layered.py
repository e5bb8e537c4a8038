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
coarse picture (enlarged by the filter of least squares) takes more bytes in all, in every row of
``python -m benchmarks.layers``. A spatial layer of AV1, predicted from the coarse picture by scaled
references, took more as well on the one picture that was tried.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Self

from dsc._codecs.base import Array, Sample
from dsc._codecs.canvas import Place
from dsc._codecs.classical.av1 import Av1Codec, av1_level
from dsc._codecs.maps.base import HEADER
from dsc._codecs.maps.coarse import coarse_map, coarse_size
from dsc._codecs.maps.layered import LayeredCodec, coarse_stream, whole_stream
from dsc._schemas import Effort, Quality, Task, TaskKind

# How much lower coarse pictures are on libavif's scale of 100 levels: so that they take 3 to 7 % of
# the bytes of photographs and of NYUv2 at quality 60.
COARSER: Mapping[TaskKind, int] = {TaskKind.IMAGE: 22, TaskKind.DEPTH: 36}


class Av1LayeredCodec(LayeredCodec):
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

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks)
        self._pictures = _Pictures(tasks)

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

    def own_config(self) -> dict[str, Any]:
        """Return the tasks, and the effort where it is not the default."""
        return self._pictures.config()

    def weights(self) -> bytes | None:
        """Return None: nothing is trained."""
        return None

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

    def decode_levels(
        self, task: Task, head: tuple[int, int, int], bodies: Sequence[bytes], place: Place
    ) -> Array:
        """Decode a map from one stream or two."""
        tag, height, width = head
        if len(bodies) == 1:
            height, width = coarse_size(height, width)
            data = HEADER.pack(tag, height, width) + bodies[0]
        else:
            data = HEADER.pack(bodies[1][0], height, width) + bodies[1][1:]
        return self._pictures.decode_task_to(task, data, height * width, place)


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


def _split(task: str, rough: bytes, fine: bytes) -> dict[str, bytes]:
    """Put the size of the whole picture into the head of the coarse one, which is read first."""
    tag, (whole_tag, height, width) = rough[0], HEADER.unpack_from(fine)
    return {
        coarse_stream(task): HEADER.pack(tag, height, width) + rough[HEADER.size :],
        whole_stream(task): bytes([whole_tag]) + fine[HEADER.size :],
    }
