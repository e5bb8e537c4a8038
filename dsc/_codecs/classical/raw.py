"""Maps as they are: no compression. What every other codec is compared with.

A picture is its values, little-endian, under the one-byte header of small images: 32×32 RGB pixels
take 3,073 bytes.
"""

from typing import ClassVar

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.maps.base import Method
from dsc._codecs.maps.small import SmallImageCodec
from dsc._schemas import Task


class RawCodec(SmallImageCodec):
    """Lossless whatever the quality."""

    id: ClassVar[str] = "raw"
    effort_before: ClassVar[None] = None

    def method(self, task: Task, quality: int) -> Method:
        """Return EXACT."""
        return Method.EXACT

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Return the values, little-endian."""
        return image.astype(image.dtype.newbyteorder("<")).tobytes()

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read the values into `out`."""
        if len(data) != out.nbytes:
            raise ValueError(f"{len(data)} bytes of values, {out.nbytes} are expected")
        out[...] = np.frombuffer(data, out.dtype.newbyteorder("<")).reshape(out.shape)
        return out
