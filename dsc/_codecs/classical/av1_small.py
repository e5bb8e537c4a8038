"""AV1 for small pictures: no header that is known beforehand, and an encoder that serves PSNR.

libavif is given three plain planes (`dsc._codecs.classical.ycbcr`): what its newer versions do to
YCbCr for the eye costs 10 % at equal PSNR. libaom at speed 6 writes a sequence header that follows
from the size, and a frame header that follows from the quantiser and one bit. `shorten` keeps those
two; `restore` writes 15 bytes in their place. The bytes::

    u8   bits 0-5: quantiser, 1 to 62; bit 6: the bit ``tx_mode_select``; bit 7: planes are not
         YCbCr. 0: the headers are others, and all of a picture of `av1_still` follows
    ...  the frame's tile

Source: AV1 Bitstream & Decoding Process Specification, 5.5 (sequence header), 5.9 (frame header).
"""

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.classical.av1 import FastAv1Codec
from dsc._codecs.classical.av1_still import (
    IDENTITY_BIT,
    MATRIX_BT601,
    MATRIX_IDENTITY,
    bare,
    plain_sequence,
)
from dsc._codecs.classical.ycbcr import (
    MOST_LOSSY,
    Settings,
    encode_planes,
    gray_planes,
    ycbcr_planes,
)
from dsc._codecs.maps.small import SmallImageCodec
from dsc._schemas import Task, TaskKind

TX_SELECT_BIT, QUANTISER_BITS = 0x40, 0x3F
LAST_QUANTISER, LAST_INDEX = 62, 249  # libaom's steps are 4 of 255 but for the last ones
SUPERBLOCK = 64
SETTINGS = Settings(speed=6)  # whose headers are known, at any effort
# libaom's loop filter level by quantiser, where it is chosen without a search.
FILTER_LEVELS = (
    *(0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 6, 6, 7, 8, 8, 9),
    *(9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 22, 24, 26, 28, 30, 33, 35, 38, 41, 45, 48, 52),
    *(56, 61, 63, 63, 63, 63, 63, 63, 63),
)


class Av1SmallCodec(SmallImageCodec, FastAv1Codec):
    """Quality is bent so that 60 of a 32-px photograph is what it is in `webp`: 30 dB."""

    id: ClassVar[str] = "av1-small"

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write a picture, its headers left out where they are as expected."""
        if image.dtype == np.uint16 or quality is None:
            return b"\0" + super().write_image(image, task, quality)
        colour = image.ndim == 3 and task.kind is not TaskKind.NORMAL
        coded = encode_planes(_planes(image, colour), small_level(quality), SETTINGS)
        return shorten(bare(coded), image.shape[0], image.shape[1], colour)

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read what `write_image` gave."""
        return self.read_picture(self.picture(data, out.shape), out)

    def picture(self, data: bytes, size: tuple[int, ...]) -> bytes:
        """Return the picture with its headers."""
        return restore(data, size[0], size[1])


def small_level(quality: int) -> int:
    """Return libavif's quality for ours, 1 to 100: 60 is 41."""
    level: float = 100 * (quality / 100) ** 1.75
    return min(max(1, round(level)), MOST_LOSSY)


def _planes(image: Array, colour: bool) -> Array:
    """Return (H, W, 3) uint8 whose green, blue and red are what AV1 calls Y, U and V."""
    if image.ndim == 2:
        return gray_planes(image)
    return ycbcr_planes(image) if colour else image


def shorten(picture: bytes, height: int, width: int, colour: bool) -> bytes:
    """Leave out of a picture without container what `restore` writes.

    Parameters
    ----------
    picture
        What `av1_still.bare` gave of planes (identity matrix).
    colour
        Whether they are YCbCr.
    """
    length = picture[0] & ~IDENTITY_BIT
    sequence, frame = picture[1 : 1 + length], picture[1 + length :]
    if sequence == plain_sequence(_sequence_header(height, width, MATRIX_IDENTITY)):
        for quantiser in range(1, LAST_QUANTISER + 1):
            for select in (0, TX_SELECT_BIT):
                header = _frame_header(height, width, quantiser, bool(select))
                if frame.startswith(header):
                    planes = 0 if colour else IDENTITY_BIT
                    return bytes([quantiser | select | planes]) + frame[len(header) :]
    # what is in the bitstream is overruled by the container, which goes by this bit
    return bytes([0, length if colour else picture[0]]) + picture[1:]


def restore(data: bytes, height: int, width: int) -> bytes:
    """Return the picture without container of what `shorten` gave; `av1_still.contain` goes on.

    Raises
    ------
    ValueError
        When the first byte names no quantiser.
    """
    if data[0] == 0:
        return data[1:]
    quantiser = data[0] & QUANTISER_BITS
    if not 1 <= quantiser <= LAST_QUANTISER:
        raise ValueError(f"quantiser {quantiser}")
    identity = data[0] & IDENTITY_BIT
    sequence = _sequence_header(height, width, MATRIX_IDENTITY if identity else MATRIX_BT601)
    frame = _frame_header(height, width, quantiser, bool(data[0] & TX_SELECT_BIT))
    return bytes([identity | len(sequence)]) + sequence + frame + data[1:]


@lru_cache(maxsize=64)
def _sequence_header(height: int, width: int, matrix: int) -> bytes:
    """Return the payload of a reduced still picture header of three full 8-bit planes."""
    sides = [max(side - 1, 1).bit_length() for side in (width, height)]
    return _pack_bits(
        *((1, 3), (0b11, 2), (0, 5)),  # profile, still and reduced, level
        *((sides[0] - 1, 4), (sides[1] - 1, 4), (width - 1, sides[0]), (height - 1, sides[1])),
        (0b011000, 6),  # superblocks of 64, both intra tools; no upscaling, CDEF, restoration
        *((0b01, 2), (2, 8), (2, 8), (matrix, 8)),  # 8 bits; primaries, transfer, matrix
        (0b1001, 4),  # full range, chroma as luma, no film grain; the end of the payload
    )


@lru_cache(maxsize=1024)
def _frame_header(height: int, width: int, quantiser: int, select: bool) -> bytes:
    """Return the frame's header, with the zeros up to where its tile starts."""
    index = LAST_INDEX if quantiser == LAST_QUANTISER else 4 * quantiser
    level = FILTER_LEVELS[quantiser]
    return _pack_bits(
        (0b0001, 4),  # tables adapt, no screen content tools, one size, uniform tiles
        *[(0, 1)] * ((width > SUPERBLOCK) + (height > SUPERBLOCK)),  # of which there is one
        *((index, 8), (0, 6)),  # no other quantisers, matrices, segments
        *[(level, 6)] * (4 if level else 2),
        *((0b00010, 5), (select, 1), (0, 1)),  # sharpness, deltas as they are; transform sizes
    )


def _pack_bits(*fields: tuple[Any, int]) -> bytes:
    """Return (value, bits) one after another, and zeros to the end of the last byte."""
    value = length = 0
    for field, bits in fields:
        value, length = value << bits | int(field), length + bits
    spare = -length % 8
    return (value << spare).to_bytes((length + spare) // 8, "big")
