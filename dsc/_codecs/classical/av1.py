"""AV1 still pictures without container: AVIF for datasets of small pictures.

The picture is what an AVIF file stores; the 275 bytes of boxes around it are not kept
(`dsc._codecs.classical.av1_still`). How long libaom looks is measured at equal distortion by
``python -m benchmarks.effort``; bytes and time here are beside its speed 4 without options:

- Speed 5 takes 1 to 4 % more bytes in 0.8 of the time, speed 6 takes 5 to 17 % more in a sixth.
  Normals of planes take 12 and 18 % more, so they have speed 4.
- Depth looks like a drawn screen to libaom, which then searches for copies of blocks (``intrabc``):
  depth takes fewer bytes in half of the time without. The palettes of drawn screens stay: without
  them, normals of planes take 2.4 times the bytes and Kinect depth 1.3 times.
- CDEF, a filter in decoding that libaom leaves out of still pictures, takes off 4 to 6 % of depth.
  It takes off 1 to 2 % of photographs, and costs 15 % of their time of decoding, so they have none.
- Blocks of 4 pixels, and of more than 16, take half of the time of a large picture and 1 to 2 % of
  its bytes. Small pictures have all of them, and their depth speed 5.
"""

from collections.abc import Mapping
from typing import ClassVar

from dsc._codecs.base import Array
from dsc._codecs.classical.avif import AvifCodec
from dsc._codecs.classical.ycbcr import LOSSLESS, Settings
from dsc._schemas import Effort, Task, TaskKind

LARGE = 1 << 17  # pixels; 384×384 is large, 256×256 and 320×240 are small
TUNING = {"tune": "ssim"}  # as ever; a gray map with any option is a picture of one plane
FILTER = {"enable-cdef": "1"}
NO_COPIES = {"enable-intrabc": "0"}
FEWER_SHAPES = {"enable-1to4-partitions": "0"}
SMALLER_BLOCKS = {"max-partition-size": "16"}

PICTURES: Mapping[Effort, Settings] = {
    Effort.FAST: Settings(6, TUNING),
    Effort.DEFAULT: Settings(5, FEWER_SHAPES),
    Effort.BEST: Settings(4, TUNING),
}
LARGE_PICTURES: Mapping[Effort, Settings] = {
    Effort.FAST: Settings(6, SMALLER_BLOCKS),
    Effort.DEFAULT: Settings(5, {**FEWER_SHAPES, **SMALLER_BLOCKS, "min-partition-size": "8"}),
    Effort.BEST: Settings(4, TUNING),
}
DEPTH: Mapping[Effort, Settings] = {
    Effort.FAST: Settings(6, {**FILTER, **NO_COPIES}),
    Effort.DEFAULT: Settings(5, {**FILTER, **NO_COPIES}),
    Effort.BEST: Settings(4, {**FILTER, **NO_COPIES}),
}
LARGE_DEPTH: Mapping[Effort, Settings] = {**DEPTH, Effort.DEFAULT: DEPTH[Effort.FAST]}
NORMALS: Mapping[Effort, Settings] = {
    Effort.FAST: Settings(6, NO_COPIES),
    Effort.DEFAULT: Settings(4, NO_COPIES),
    Effort.BEST: Settings(4, NO_COPIES),
}


def settings_at(effort: Effort, task: Task, image: Array) -> Settings:
    """Choose how libaom looks, by effort, kind and size."""
    is_large = image.shape[0] * image.shape[1] > LARGE
    if task.kind is TaskKind.DEPTH:
        return (LARGE_DEPTH if is_large else DEPTH)[effort]
    if task.kind is TaskKind.NORMAL:
        return NORMALS[effort]
    return (LARGE_PICTURES if is_large else PICTURES)[effort]


class Av1Codec(AvifCodec):
    """Quality is bent so that 60 is about what it is for the learned codecs; see `av1_level`."""

    id: ClassVar[str] = "av1"
    effort_before: ClassVar[Effort | None] = Effort.BEST

    def settings(self, task: Task, image: Array) -> Settings:
        """Choose by effort, kind and size."""
        return settings_at(self.effort, task, image)

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write a picture without container."""
        return self.write_picture(image, task, av1_level(quality or LOSSLESS))

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read what `write_image` gave."""
        return self.read_picture(data, out)

    def picture(self, data: bytes, size: tuple[int, ...]) -> bytes:
        """Return what `write_image` gave: there is no container."""
        return data


class FastAv1Codec(Av1Codec):
    """What `av1` is at `Effort.FAST`, whatever is asked for; archives name it."""

    id: ClassVar[str] = "av1-fast"
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT

    def settings(self, task: Task, image: Array) -> Settings:
        """Choose as at `Effort.FAST`."""
        return settings_at(Effort.FAST, task, image)


class PsnrAv1Codec(Av1Codec):
    """What `av1` is too since it no longer leaves libaom's tuning to libavif; archives name it."""

    id: ClassVar[str] = "av1-psnr"


def av1_level(quality: int) -> int:
    """Return libavif's quality for ours, 1 to 100: 60 is 46, about 37 dB or AbsRel 0.4 %."""
    level: float = 100 * (quality / 100) ** 1.5
    return max(1, round(level))
