"""WebP: lossy 4:2:0 images, normals and depth; lossless labels.

WebP has 8-bit colour only. A gray map is coded as three equal channels; a lossless 16-bit map as
its high byte in red and its low byte in green. Lossy WebP keeps 220 of 256 levels (its luma is
limited range), which bounds its depth from below.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.maps.base import ImageCodec, Method
from dsc._schemas import Effort, Task, TaskKind

# Method 6 is 5 % smaller than 4 on photographs, at 5 to 9 MPix/s; on lossless label maps it is 3 %
# smaller but falls from 12 to 0.4 MPix/s. Lossy, 2 takes a fifth of 6's time and 9 to 14 % more
# bytes.
LOSSY_METHODS: Mapping[Effort, int] = {Effort.FAST: 2, Effort.DEFAULT: 6, Effort.BEST: 6}
LOSSLESS_METHODS: Mapping[Effort, int] = {Effort.FAST: 2, Effort.DEFAULT: 4, Effort.BEST: 6}
LOSSLESS_LEVEL = 75


class WebpCodec(ImageCodec):
    """Quality is WebP's own; label maps are lossless."""

    id: ClassVar[str] = "webp"
    media_type: ClassVar[str | None] = "image/webp"

    def refusal(self, task: Task) -> str | None:
        """Refuse 16 bits where they do not fit."""
        if task.is_map and task.dtype == "uint16":
            if task.is_exact and task.channels == 3:
                return "has 8 bits a sample, the colour code 16; use jxl or png"
            if not task.is_exact and task.kind in (TaskKind.IMAGE, TaskKind.NORMAL):
                return "has 8 bits a sample, the task 16; use jxl, avif or png"
        return super().refusal(task)

    def method(self, task: Task, quality: int) -> Method:
        """Return LOSSY; exact tasks never ask."""
        return Method.LOSSY

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write a WebP file."""
        import imagecodecs

        colour = _to_colour(image)
        if quality is None:
            coded = imagecodecs.webp_encode(
                colour,
                level=LOSSLESS_LEVEL,
                lossless=True,
                method=LOSSLESS_METHODS[self.effort],
                numthreads=1,
            )
        else:
            coded = imagecodecs.webp_encode(
                colour,
                level=quality,
                lossless=False,
                method=LOSSY_METHODS[self.effort],
                numthreads=1,
            )
        return bytes(coded)

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read a WebP file."""
        import imagecodecs

        colour = np.empty((*out.shape[:2], 3), np.uint8)
        imagecodecs.webp_decode(data, hasalpha=False, out=colour)
        if out.ndim == 3:
            return colour
        if out.dtype == np.uint16:
            return colour[..., 0].astype(np.uint16) << 8 | colour[..., 1]
        return np.ascontiguousarray(colour[..., 1])


def _to_colour(image: Array) -> Array:
    """Turn (H, W) into (H, W, 3) uint8; see the module."""
    if image.ndim == 3:
        return image
    if image.dtype == np.uint16:
        low = (image & 0xFF).astype(np.uint8)
        return np.stack([(image >> 8).astype(np.uint8), low, np.zeros_like(low)], axis=2)
    return np.repeat(image[..., None], 3, axis=2)
