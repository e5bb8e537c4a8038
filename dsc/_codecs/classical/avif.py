"""AVIF (AV1 by libaom): images 4:4:4, normals as plain RGB planes, depth in 12 bits.

RGB is 4:4:4 in YCbCr, half a decibel better than 4:2:0 at equal bytes. Normals are coded without a
colour transform (identity matrix, 4:4:4), which has 10 to 30 % less angle error at equal bytes than
YCbCr. Gray maps are the Y of a picture without colour. Depth and 16-bit intensities have 12 bits.
By default libaom has speed 6, 3 MPix/s; speed 4 gains 0.4 dB and takes six times as long, speed 8
takes a third and loses 0.9 dB. libaom's tuning is ``ssim``, whatever libavif's own default is
(`dsc._codecs.classical.ycbcr`).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._codecs.classical.av1_still import (
    IDENTITY_BIT,
    bare,
    contain,
    is_monochrome,
    picture_size,
)
from dsc._codecs.classical.planes import look_up_plane, read_planes
from dsc._codecs.classical.ycbcr import (
    LOSSLESS,
    MOST_LOSSY,
    Settings,
    encode_planes,
    ycbcr_planes,
)
from dsc._codecs.maps.base import ImageCodec, Method
from dsc._schemas import Effort, Task, TaskKind


class AvifCodec(ImageCodec):
    """Quality is libavif's own, as it was up to version 1.3."""

    id: ClassVar[str] = "avif"
    deep_bits: ClassVar[int] = 12
    holds_exactly: ClassVar[bool] = False
    most_side: ClassVar[int] = 32768  # libavif writes longer ones, and does not read them
    media_type: ClassVar[str | None] = "image/avif"
    speeds: ClassVar[Mapping[Effort, int]] = {Effort.FAST: 8, Effort.DEFAULT: 6, Effort.BEST: 4}
    """libaom's speed at each effort."""

    def settings(self, task: Task, image: Array) -> Settings:
        """Choose how libaom is to look for fewer bytes of a picture."""
        return Settings(self.speeds[self.effort])

    def method(self, task: Task, quality: int) -> Method:
        """Return LOSSY."""
        return Method.LOSSY

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write an AVIF file."""
        return contain(self.write_picture(image, task, quality or LOSSLESS))

    def write_picture(self, image: Array, task: Task, level: int) -> bytes:
        """Write a picture without container, at a quality of libavif's."""
        bits = self.deep_bits if image.dtype == np.uint16 else 8
        settings = self.settings(task, image)
        if image.ndim == 2:
            planes, level = image, min(level, MOST_LOSSY)
        elif task.kind is TaskKind.NORMAL or level == LOSSLESS:
            return bare(encode_planes(image, level, settings, bits))
        else:
            planes = ycbcr_planes(image, bits)
        picture = bare(encode_planes(planes, level, settings, bits))
        # what is in the bitstream is overruled by the container, which goes by this bit
        return bytes([picture[0] & ~IDENTITY_BIT]) + picture[1:]

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read an AVIF file into `out`, if it is in colours."""
        return _decode(data, out) if out.ndim == 3 else self.read_picture(bare(data), out)

    def look_up_image(
        self,
        data: bytes,
        dtype: np.dtype[Any],
        table: Array,
        mask: NDArray[np.bool_] | None,
        out: Array,
    ) -> None:
        """Read an AVIF file of a gray picture and write what its values stand for to `out`."""
        if not look_up_plane(self.picture(data, out.shape), dtype, table, mask, out):
            super().look_up_image(data, dtype, table, mask, out)

    def whole_file(self, data: bytes, shape: tuple[int, ...]) -> bytes:
        """Return an AVIF file; its size is as the bitstream says."""
        picture = self.picture(data, shape[:2])
        if picture_size(picture) != shape[:2]:
            raise ValueError(f"a picture of {picture_size(picture)}, expected {shape[:2]}")
        return contain(picture)

    def picture(self, data: bytes, size: tuple[int, ...]) -> bytes:
        """Return the picture without container of what `write_image` gave."""
        return bare(data)

    def read_picture(self, picture: bytes, out: Array) -> Array:
        """Read a picture without container into `out`, or else into an array like it."""
        if read_planes(picture, out):
            return out
        if out.ndim == 3 or is_monochrome(picture):
            return _decode(contain(picture), out)
        planes = np.empty((*out.shape, 3), out.dtype)
        as_they_are = bytes([picture[0] | IDENTITY_BIT]) + picture[1:]
        return np.ascontiguousarray(_decode(contain(as_they_are), planes)[..., 1])


def _decode(avif: bytes, out: Array) -> Array:
    import imagecodecs

    read: Array = imagecodecs.avif_decode(avif, numthreads=1, out=out)
    return read


class SlowAvifCodec(AvifCodec):
    """AVIF at speed 4, the usual anchor of comparisons; `avif` reads what it writes.

    It is not in the registry: archives gain little from encoding six times as long.
    """

    id: ClassVar[str] = "avif-s4"
    speeds: ClassVar[Mapping[Effort, int]] = dict.fromkeys(Effort, 4)
