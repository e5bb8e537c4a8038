"""Pictures as three plain planes for AV1, so that libavif has nothing of its own to choose.

Given YCbCr or gray, libavif picks libaom's tuning and maps quality to a quantiser by rules that
change with its version: ``ssim`` up to 1.3; ``iq``, with another scale, from 1.4. Given planes that
are declared to be no YCbCr (identity matrix) every version asks for ``ssim`` on the linear scale.
So colours are turned into YCbCr here and gray maps get two neutral planes, which costs a gray map
of 640×480 pixels some 20 to 50 bytes; what the planes are is known on reading.
"""

import numpy as np

from dsc._codecs.base import Array

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
    scaled: Array = image.astype(np.int32) @ RGB_TO_YCBCR.T + (1 << 15)
    planes = (scaled >> 16) + np.array([0, 1, 1], np.int32) * neutral(bits)
    clipped = planes.clip(0, (1 << bits) - 1).astype(image.dtype)
    return np.ascontiguousarray(clipped[..., [2, 0, 1]])


def gray_planes(image: Array, bits: int = 8) -> Array:
    """Turn gray (H, W) into planes (H, W, 3) whose green is the picture; the others are neutral."""
    empty = np.full_like(image, neutral(bits))
    return np.stack([empty, image, empty], axis=2)


def neutral(bits: int) -> int:
    """Return what a chroma plane has everywhere in a picture without colour."""
    return 1 << (bits - 1)


def encode_planes(planes: Array, level: int, speed: int, bits: int = 8) -> bytes:
    """Write planes (H, W, 3) as an AVIF file that declares them to be no YCbCr.

    Parameters
    ----------
    planes
        uint8, or uint16 of `bits` bits.
    level
        libavif's quality, 1 to 100; 100 is lossless.
    speed
        libaom's, 0 to 10.
    """
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
