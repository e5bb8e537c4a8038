"""AV1 still pictures without container, at libaom's speed 4: AVIF for datasets of small pictures.

The picture is what AVIF at speed 4 stores; the 275 bytes of boxes around it are not kept
(`dsc.codecs.classical.av1_still`). Beside `avif`, which writes whole files at speed 6, a photograph
takes about a tenth less and a depth map of 256×256 pixels a third to a half less, at a fifth of the
encoding speed.
"""

from typing import ClassVar

import numpy as np

from dsc.codecs.base import Array
from dsc.codecs.classical.av1_still import IDENTITY_BIT, bare, contain
from dsc.codecs.classical.avif import AvifCodec
from dsc.codecs.classical.ycbcr import encode_planes, ycbcr_planes
from dsc.schemas import Task, TaskKind


class Av1Codec(AvifCodec):
    """Quality is bent so that 60 is about what it is for the learned codecs; see `av1_level`."""

    id: ClassVar[str] = "av1"
    speed: ClassVar[int] = 4

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write a picture without container."""
        level = None if quality is None else av1_level(quality)
        return bare(super().write_image(image, task, level))

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read what `write_image` gave into `out`."""
        return super().read_image(contain(data), out)


class FastAv1Codec(Av1Codec):
    """The same at libaom's speed 6: encodes about five times as fast.

    It takes 9 % more bytes on photographs, about 20 % more on rendered views and depth.
    """

    id: ClassVar[str] = "av1-fast"
    speed: ClassVar[int] = 6


class PsnrAv1Codec(Av1Codec):
    """`av1` that spends its bits by squared error and not by what the eye sees; images in colour.

    At equal PSNR it takes 5 % (Kodak) to 13 % fewer bytes; at equal MS-SSIM, 2 % (NYUv2) to 12 %
    (Kodak) more. Other maps, and how it is read, are `av1`'s.
    """

    id: ClassVar[str] = "av1-psnr"

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write a picture without container, whose bitstream says planes and the tag YCbCr."""
        in_colour = image.ndim == 3 and image.dtype == np.uint8 and task.kind is TaskKind.IMAGE
        if quality is None or not in_colour:
            return super().write_image(image, task, quality)
        picture = bare(encode_planes(ycbcr_planes(image), av1_level(quality), self.speed))
        # what is in the bitstream is overruled by the container, which goes by this bit
        return bytes([picture[0] & ~IDENTITY_BIT]) + picture[1:]


def av1_level(quality: int) -> int:
    """Give libavif's quality for ours, 1 to 100: 60 is 46, about 37 dB or AbsRel 0.4 %."""
    level: float = 100 * (quality / 100) ** 1.5
    return max(1, round(level))
