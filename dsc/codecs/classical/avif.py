"""AVIF (AV1 by libaom, speed 6): images 4:4:4, normals as plain RGB planes, depth in 12 bits.

RGB is 4:4:4 in YCbCr, half a decibel better than 4:2:0 at equal bytes. Normals are coded without a
colour transform (identity matrix, 4:4:4), which has 10 to 30 % less angle error at equal bytes than
YCbCr. Gray maps are 4:0:0. Depth and 16-bit intensities have 12 bits. Speed 6 is 3 MPix/s; speed 4
gains 0.4 dB and takes six times as long, speed 8 takes a third and loses 0.9 dB.
"""

from typing import Any, ClassVar

import numpy as np

from dsc.codecs.base import Array
from dsc.codecs.classical.base import ImageCodec, Method
from dsc.schemas import Task, TaskKind


class AvifCodec(ImageCodec):
    """Quality is libavif's own."""

    id: ClassVar[str] = "avif"
    deep_bits: ClassVar[int] = 12
    holds_exactly: ClassVar[bool] = False
    speed: ClassVar[int] = 6

    def method(self, task: Task, quality: int) -> Method:
        """Give LOSSY."""
        return Method.LOSSY

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write an AVIF file."""
        import imagecodecs

        options: dict[str, Any] = {"pixelformat": "444"}
        if image.ndim == 2:
            # imagecodecs codes a (H, W) array losslessly whatever the level; 4:0:0 of RGB it does.
            image, options = np.repeat(image[..., None], 3, axis=2), {"pixelformat": "400"}
            quality = min(quality or 0, 99)  # 100 is lossless, which is written as RGB all the same
        if task.kind is TaskKind.NORMAL:
            options["matrix"] = imagecodecs.AVIF.MATRIX_COEFFICIENTS.IDENTITY
        if image.dtype == np.uint16:
            options["bitspersample"] = self.deep_bits
        coded = imagecodecs.avif_encode(
            image, level=quality, speed=self.speed, numthreads=1, **options
        )
        return bytes(coded)

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read an AVIF file into `out`."""
        import imagecodecs

        read: Array = imagecodecs.avif_decode(data, numthreads=1, out=out)
        return read


class SlowAvifCodec(AvifCodec):
    """AVIF at speed 4, the usual anchor of comparisons; `avif` reads what it writes.

    It is not in the registry: archives gain little from encoding six times as long.
    """

    id: ClassVar[str] = "avif-s4"
    speed: ClassVar[int] = 4
