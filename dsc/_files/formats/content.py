"""What every family of file formats shares: the facts about a file, its errors, its orientation."""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from dsc.errors import SampleError

Pixels = NDArray[Any]
_BAD_BYTES = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Content:
    """What a file holds, told from its head without decoding pixels where the format allows it.

    Attributes
    ----------
    format
        ``png jpeg webp jxl avif tiff bmp gif exr pfm pbm pgm ppm pam flo dpt npy npz``.
    dtype
        Name of the dtype that `read_pixels` returns (without `indexes`): ``uint8``, ``float16`` ...
    shape
        (H, W), (H, W, C), or of ``.npy`` whatever it is; as shown upright where an orientation is
        given.
    lossless
        Whether the file can be an exact record: False for JPEG, lossy WebP, JPEG XL and AVIF, and
        for lossy compression inside TIFF and OpenEXR.
    palette
        The file stores indexes into a palette, which may be ids; see `as_indexes`.
    bits
        Bits a sample as stored: 1, 2, 4, 8, 10, 12, 16, 32, 64.
    pages
        Pages of a TIFF without thumbnails and masks, frames of an animation, pictures of a PNM.
    orientation
        1 to 8 as in EXIF. JPEG XL and AVIF rotate as part of decoding, so that theirs is 1.
    alpha
        The last channel is opacity, or a mask.
    cmyk
        The file stores inks; `read_pixels` returns red = (255 - C)(255 - K) / 255, and so on.
    channels
        Names of the channels of an OpenEXR in the order of the last axis.
    """

    format: str
    dtype: str
    shape: tuple[int, ...]
    lossless: bool
    palette: bool = False
    bits: int = 8
    pages: int = 1
    orientation: int = 1
    alpha: bool = False
    cmyk: bool = False
    channels: tuple[str, ...] = ()

    def as_indexes(self) -> "Content":
        """Return what `read_pixels` returns with ``indexes=True``.

        (H, W) where there is a palette.
        """
        if not self.palette:
            return self
        return replace(self, shape=self.shape[:2], alpha=False)

    def as_stored(self) -> "Content":
        """Return the shape without the orientation.

        That is what `read_pixels` returns with `upright` false.
        """
        return replace(self, shape=turned(self.shape, self.orientation))


class Family(NamedTuple):
    """One format: how it is told, and its two readers."""

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]
    content: Callable[[bytes, str], Content]
    pixels: "ReadPixels"


class ReadPixels(Protocol):
    """Decodes a file whose content is known, as stored, without applying its orientation."""

    def __call__(self, data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
        """Return the array; its shape is that of `content`, turned back."""


def damaged(where: str, what: str, advice: str = "copy it again") -> SampleError:
    """Return the error for a file that is cut or broken."""
    return SampleError(f"{where}: {what}; the file is damaged or incomplete: {advice}")


def refused(where: str, what: str, advice: str) -> SampleError:
    """Return the error for a file that is whole but holds what is not read."""
    return SampleError(f"{where}: {what}; {advice}")


@contextmanager
def decoding(where: str, name: str, advice: str = "copy it again") -> Iterator[None]:
    """Turn what decoders raise on bad bytes into a `SampleError` that names the file."""
    try:
        yield
    except SampleError:
        raise
    except MemoryError:
        raise damaged(where, f"the {name} file claims a size that does not fit memory") from None
    except _BAD_BYTES as error:
        raise damaged(where, f"the {name} file cannot be decoded ({error})", advice) from None


def turned(shape: tuple[int, ...], orientation: int) -> tuple[int, ...]:
    """Return the shape after an orientation is applied: 5 to 8 exchange height and width."""
    return (shape[1], shape[0], *shape[2:]) if orientation >= 5 else shape


def picture(height: int, width: int, channels: int) -> tuple[int, ...]:
    """Return (H, W) for one channel, (H, W, C) for more."""
    return (height, width) if channels == 1 else (height, width, channels)
