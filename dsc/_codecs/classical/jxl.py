"""JPEG XL: `jxl` codes each kind as it deserves, `jxl-lossless` everything exactly.

`jxl` codes images and normals lossily, depth with a relative error that holds for every pixel
(`dsc._codecs.maps.levels`), labels losslessly. Lossy JPEG XL works in a perceptual colour space
made for photographs: on normals AVIF has half the angle error at equal bytes.
"""

from collections.abc import Mapping
from typing import ClassVar

from dsc._codecs.base import Array
from dsc._codecs.maps.base import ImageCodec, Method
from dsc._schemas import Effort, Task, TaskKind

# Lossless: 15 % smaller than effort 5 on depth at its speed (3 MPix/s; photographs 0.8), 8 % larger
# than effort 9 at five times its speed; 3 takes a tenth of its time and 20 to 75 % more bytes.
# Lossy: libjxl's own default, 3 MPix/s; 4 takes a tenth of its time and 9 % more bytes on
# photographs (two each of Kodak, ImageNet and rendered views), 8 four times for 1 to 5 % fewer, 9
# six times for as many.
LOSSLESS: Mapping[Effort, int] = {Effort.FAST: 3, Effort.DEFAULT: 7, Effort.BEST: 9}
LOSSY: Mapping[Effort, int] = {Effort.FAST: 4, Effort.DEFAULT: 7, Effort.BEST: 8}


class JxlLosslessCodec(ImageCodec):
    """Lossless whatever the quality."""

    id: ClassVar[str] = "jxl-lossless"
    deep_bits: ClassVar[int] = 16

    def method(self, task: Task, quality: int) -> Method:
        """Return EXACT."""
        return Method.EXACT

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write a JPEG XL file."""
        import imagecodecs

        effort = (LOSSLESS if quality is None else LOSSY)[self.effort]
        if quality is None:
            coded = imagecodecs.jpegxl_encode(image, lossless=True, effort=effort, numthreads=1)
        else:
            coded = imagecodecs.jpegxl_encode(
                image, distance=butteraugli_distance(quality), effort=effort, numthreads=1
            )
        return bytes(coded)

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read a JPEG XL file into `out`."""
        import imagecodecs

        read: Array = imagecodecs.jpegxl_decode(data, numthreads=1, out=out)
        return read


class JxlCodec(JxlLosslessCodec):
    """Lossy images and normals, error-bounded depth, lossless labels; at 100, exact images."""

    id: ClassVar[str] = "jxl"

    def method(self, task: Task, quality: int) -> Method:
        """Return the method of the task's kind."""
        if task.kind is TaskKind.DEPTH:
            return Method.LEVELS
        if quality == 100:
            return Method.EXACT
        return Method.LOSSY


def butteraugli_distance(quality: int) -> float:
    """Return libjxl's distance for a quality from 1 to 99, as its own `cjxl -q` does."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality * quality - 23 / 20 * quality + 25.0
