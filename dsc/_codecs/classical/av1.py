"""AV1 still pictures without container, at libaom's speed 4: AVIF for datasets of small pictures.

The picture is what AVIF at speed 4 stores; the 275 bytes of boxes around it are not kept
(`dsc._codecs.classical.av1_still`). Beside `avif`, which writes whole files at speed 6, a
photograph takes about a tenth less and a depth map of 256×256 pixels a third to a half less, at a
fifth of the encoding speed.
"""

from collections.abc import Mapping
from typing import ClassVar

from dsc._codecs.base import Array
from dsc._codecs.classical.avif import AvifCodec
from dsc._codecs.classical.ycbcr import LOSSLESS
from dsc._schemas import Effort, Task


class Av1Codec(AvifCodec):
    """Quality is bent so that 60 is about what it is for the learned codecs; see `av1_level`."""

    id: ClassVar[str] = "av1"
    effort_before: ClassVar[Effort | None] = Effort.BEST
    speeds: ClassVar[Mapping[Effort, int]] = {Effort.FAST: 6, Effort.DEFAULT: 4, Effort.BEST: 4}

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write a picture without container."""
        return self.write_picture(image, task, av1_level(quality or LOSSLESS))

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read what `write_image` gave."""
        return self.read_picture(data, out)


class FastAv1Codec(Av1Codec):
    """The same at libaom's speed 6: encodes about five times as fast.

    It takes 9 % more bytes on photographs, about 20 % more on rendered views and depth.
    """

    id: ClassVar[str] = "av1-fast"
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT
    speeds: ClassVar[Mapping[Effort, int]] = {Effort.FAST: 8, Effort.DEFAULT: 6, Effort.BEST: 4}


class PsnrAv1Codec(Av1Codec):
    """What `av1` is too since it no longer leaves libaom's tuning to libavif; archives name it."""

    id: ClassVar[str] = "av1-psnr"


def av1_level(quality: int) -> int:
    """Return libavif's quality for ours, 1 to 100: 60 is 46, about 37 dB or AbsRel 0.4 %."""
    level: float = 100 * (quality / 100) ** 1.5
    return max(1, round(level))
