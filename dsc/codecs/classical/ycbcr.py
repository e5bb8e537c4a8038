"""Images as three plain planes for AV1, so that libavif serves PSNR and not the eye.

Given YCbCr, libavif asks libaom for its tuning ``iq``: quantisation matrices and coarser chroma. A
picture whose planes are declared to be no YCbCr (identity matrix) is coded by squared error alone.
So colours are turned into YCbCr here, and the container that is put around them for reading
declares it.
"""

import numpy as np

from dsc.codecs.base import Array

MOST_LOSSY = 99  # libavif's 100 is lossless, of planes that rounding to YCbCr has already changed

# Y, Cb, Cr of BT.601 in full range, in 1/2^16.
RGB_TO_YCBCR = np.array(
    [[19595, 38470, 7471], [-11058, -21710, 32768], [32768, -27439, -5329]], np.int32
)
NEUTRAL = 128


def ycbcr_planes(image: Array) -> Array:
    """Turn RGB (H, W, 3) uint8 into planes whose green, blue and red are AV1's Y, U and V."""
    scaled: Array = image.astype(np.int32) @ RGB_TO_YCBCR.T + (1 << 15)
    planes = (scaled >> 16) + np.array([0, NEUTRAL, NEUTRAL], np.int32)
    return np.ascontiguousarray(planes.clip(0, 255).astype(np.uint8)[..., [2, 0, 1]])


def encode_planes(planes: Array, level: int, speed: int) -> bytes:
    """Write planes (H, W, 3) uint8 as an AVIF file that declares them to be no YCbCr."""
    import imagecodecs

    coded = imagecodecs.avif_encode(
        planes,
        level=min(level, MOST_LOSSY),
        speed=speed,
        numthreads=1,
        pixelformat="444",
        matrix=imagecodecs.AVIF.MATRIX_COEFFICIENTS.IDENTITY,
    )
    return bytes(coded)
