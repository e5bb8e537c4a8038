"""JPEG, 8 bits, optimised Huffman tables: the baseline that everybody knows.

RGB is 4:2:0, which beats 4:4:4 by 0.1 to 0.4 dB of RGB PSNR at equal bytes from 0.4 to 3 bits a
pixel (six Kodak photographs). Normals are 4:4:4: half the angle error of 4:2:0 at equal quality.
"""

from typing import ClassVar

from dsc._codecs.base import Array
from dsc._codecs.maps.base import ImageCodec, Method
from dsc._schemas import Task, TaskKind

END = b"\xff\xd9"
DEEP = (TaskKind.IMAGE, TaskKind.NORMAL)  # whose 16 bits an image of 8 cannot hold


class JpegCodec(ImageCodec):
    """Lossy images, normals, and depth as an 8-bit logarithm; quality is JPEG's own."""

    id: ClassVar[str] = "jpeg"
    holds_exactly: ClassVar[bool] = False
    media_type: ClassVar[str | None] = "image/jpeg"

    def refusal(self, task: Task) -> str | None:
        """Refuse 16-bit intensities beside what is exact."""
        if not task.is_exact and task.dtype == "uint16" and task.kind in DEEP:
            return "has 8 bits a sample, the task 16; use jxl, avif or png"
        return super().refusal(task)

    def method(self, task: Task, quality: int) -> Method:
        """Return LOSSY."""
        return Method.LOSSY

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write a JPEG file."""
        import imagecodecs

        subsampling = "444" if task.kind is TaskKind.NORMAL else "420"
        coded = imagecodecs.jpeg8_encode(
            image,
            level=quality,
            subsampling=subsampling if image.ndim == 3 else None,
            optimize=True,
        )
        return bytes(coded)

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read a JPEG file into `out`."""
        import imagecodecs

        # libjpeg paints gray what is cut off, and only warns.
        if not data.endswith(END):
            raise ValueError("the JPEG file does not end with EOI: it was cut")
        read: Array = imagecodecs.jpeg8_decode(data, out=out)
        return read
