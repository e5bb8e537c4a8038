"""Pictures as three plain planes for AV1, so that libavif has nothing of its own to choose.

Given YCbCr or gray, libavif picks libaom's tuning and maps quality to a quantiser by rules that
change with its version: ``ssim`` up to 1.3; ``iq``, with another scale, from 1.4. Given planes that
are declared to be no YCbCr (identity matrix) every version asks for ``ssim`` on the linear scale.
So colours are turned into YCbCr here; what the planes are is known on reading. A gray map is one
plane where libavif can be called with options (`dsc._codecs.classical.libavif`), the tuning among
them; elsewhere it gets two neutral planes, which cost 4 % of a depth map and half of its decoding.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.classical import libavif

LOSSLESS, MOST_LOSSY = 100, 99  # libavif's 100 is lossless

# Y, Cb, Cr of BT.601 in full range, in 1/2^16.
RGB_TO_YCBCR = np.array(
    [[19595, 38470, 7471], [-11058, -21710, 32768], [32768, -27439, -5329]], np.int32
)


def ycbcr_planes(image: Array, bits: int = 8) -> Array:
    """Turn RGB (H, W, 3) into planes whose green, blue and red are AV1's Y, U and V.

    Parameters
    ----------
    image
        Values of `bits` bits, at most 12, uint8 or uint16.
    """
    red, green, blue = (image[..., channel].astype(np.int32) for channel in range(3))
    planes = np.empty_like(image)
    middles = (0, neutral(bits), neutral(bits))
    for place, row, middle in zip((1, 2, 0), RGB_TO_YCBCR.tolist(), middles, strict=True):
        plane = row[0] * red + row[1] * green + row[2] * blue
        plane += 1 << 15
        plane >>= 16
        plane += middle
        planes[..., place] = plane.clip(0, (1 << bits) - 1)
    return planes


def gray_planes(image: Array, bits: int = 8) -> Array:
    """Turn gray (H, W) into planes (H, W, 3) whose green is the picture; the others are neutral."""
    empty = np.full_like(image, neutral(bits))
    return np.stack([empty, image, empty], axis=2)


def neutral(bits: int) -> int:
    """Return what a chroma plane has everywhere in a picture without colour."""
    return 1 << (bits - 1)


@dataclass(frozen=True)
class Settings:
    """How libaom is asked to look for fewer bytes.

    Attributes
    ----------
    speed
        libaom's, 0 to 9.
    options
        Its options, by name; none of them is asked for where libavif cannot be called with any.
    """

    speed: int
    options: Mapping[str, str] = field(default_factory=dict)


def encode_planes(planes: Array, level: int, settings: Settings, bits: int = 8) -> bytes:
    """Write planes as an AVIF file that declares them to be no YCbCr, or to be gray.

    Parameters
    ----------
    planes
        (H, W, 3), or (H, W) of a gray map; uint8, or uint16 of `bits` bits.
    level
        libavif's quality, 1 to 100; 100 is lossless.
    """
    if settings.options and level != LOSSLESS and libavif.is_there():
        parts = [planes] if planes.ndim == 2 else [planes[..., at] for at in (1, 2, 0)]
        options = {"tune": "ssim", **settings.options}
        return libavif.encode(parts, bits, level, settings.speed, options)
    if planes.ndim == 2:
        planes = gray_planes(planes, bits)
    return _by_imagecodecs(planes, level, settings.speed, bits)


def _by_imagecodecs(planes: Array, level: int, speed: int, bits: int) -> bytes:
    import imagecodecs

    coded = imagecodecs.avif_encode(
        planes,
        level=level,
        speed=speed,
        numthreads=1,
        pixelformat="444",
        matrix=imagecodecs.AVIF.MATRIX_COEFFICIENTS.IDENTITY,
        bitspersample=bits if planes.dtype == np.uint16 else None,
    )
    return bytes(coded)
