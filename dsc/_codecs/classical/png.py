"""PNG: every map, losslessly, in the format that everything reads."""

from collections.abc import Mapping
from typing import ClassVar

from dsc._codecs.base import Array
from dsc._codecs.maps.base import ImageCodec, Method
from dsc._schemas import Effort, Task

# Level 9 is 5 to 19 % smaller than 6 at a twelfth to a third of its speed, level 3 is 20 % larger
# at twice its speed; decoding is alike.
LEVELS: Mapping[Effort, int] = {Effort.FAST: 3, Effort.DEFAULT: 6, Effort.BEST: 9}
END = b"IEND\xae\x42\x60\x82"


class PngCodec(ImageCodec):
    """Lossless whatever the quality."""

    id: ClassVar[str] = "png"
    effort_before: ClassVar[Effort | None] = Effort.BEST
    media_type: ClassVar[str | None] = "image/png"

    def method(self, task: Task, quality: int) -> Method:
        """Return EXACT."""
        return Method.EXACT

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write a PNG file."""
        return png_file(image, LEVELS[self.effort])

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read a PNG file into `out`."""
        import imagecodecs

        if not data.endswith(END):
            raise ValueError("the PNG file does not end with IEND: it was cut")
        read: Array = imagecodecs.png_decode(data, out=out)
        return read


def png_file(image: Array, level: int) -> bytes:
    """Return the PNG file of an image (H, W) or (H, W, C) of 8 or 16 bits; levels are zlib's.

    The room for it is asked for here: imagecodecs 2026.3 leaves too little where a row is a few
    pixels, and then writes a part of the file without a word.
    """
    import imagecodecs

    rows = image.nbytes + len(image)  # each begins with its filter
    room = rows + rows // 4 + rows // 256 + 4096
    data = bytes(imagecodecs.png_encode(image, level=level, out=room))
    if not data.endswith(END):
        raise ValueError(f"imagecodecs wrote {len(data)} bytes of a PNG file and not its end")
    return data
