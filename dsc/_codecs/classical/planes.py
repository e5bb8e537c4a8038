"""AV1 pictures without container, decoded by dav1d alone and written where they are wanted.

What libavif does is done here in one pass over the planes, in compiled code: YCbCr to RGB with
libyuv's integers, or a table of what each value becomes. Pictures that are not laid out as ours are
left to libavif; so are all where dav1d or the compiled kernels are not there.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._codecs.base import Array
from dsc._codecs.classical import dav1d
from dsc._codecs.classical.av1_still import IDENTITY_BIT, SequenceHeader, parts, plain_header

UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32}


def in_use() -> bool:
    """Tell whether pictures are decoded here at all."""
    return _kernels.in_use() and dav1d.version() is not None


def read_planes(picture: bytes, out: Array) -> bool:
    """Decode a picture into `out`, and tell whether that could be done here.

    Parameters
    ----------
    picture
        As `dsc._codecs.classical.av1_still.bare` gives it.
    out
        (H, W, 3) uint8; of a gray picture (H, W), the luma, uint8 or uint16. C-contiguous.

    Raises
    ------
    ValueError
        When the bytes do not decode to a picture of this size.
    """
    header = _header(picture, out.shape[:2])
    if header is None or not out.flags.c_contiguous:
        return False
    if (header.bits == 8) is not (out.dtype == np.uint8):
        return False
    if out.ndim == 3 and (header.monochrome or header.bits > 8):
        return False
    with dav1d.decoded(parts(picture)[1], header) as found:
        if found is None:
            return False
        if out.ndim == 3:
            colour = not picture[0] & IDENTITY_BIT
            luma, blue, red = found.planes
            _kernels.compiled.planes_to_rgb(luma, blue, red, *found.strides, colour, out)
        else:
            plane = np.frombuffer(found.planes[0], np.uint8)
            strides = (found.strides[0], out.itemsize)
            out[...] = np.ndarray(out.shape, out.dtype, plane, 0, strides)
    return True


def look_up_plane(
    picture: bytes,
    dtype: np.dtype[Any],
    table: Array,
    mask: NDArray[np.bool_] | None,
    out: Array,
) -> bool:
    """Decode a gray picture into what its values stand for; tell whether that could be done here.

    Parameters
    ----------
    dtype
        Of the picture's values, uint8 or uint16.
    table
        What each value becomes, and at its end what is set where `mask` is.
    mask
        (H, W) bool or None.
    out
        (H, W), of the table's dtype.

    Raises
    ------
    ValueError
        When the bytes do not decode to a picture of this size, or a value is not in the table.
    """
    header = _header(picture, out.shape)
    if header is None or out.itemsize not in UNSIGNED or not out.flags.c_contiguous:
        return False
    if (header.bits == 8) is not (dtype == np.uint8):
        return False
    with dav1d.decoded(parts(picture)[1], header) as found:
        if found is None:
            return False
        look_up_picture(found, table, mask, out)
    return True


def look_up_picture(
    picture: dav1d.Picture, table: Array, mask: NDArray[np.bool_] | None, out: Array
) -> None:
    """Write what the values of a gray picture stand for to `out`; as `look_up_plane`.

    Raises
    ------
    ValueError
        When a value is not in the table.
    """
    size = 1 if picture.bits == 8 else 2
    if _kernels.in_use() and out.itemsize in UNSIGNED and out.flags.c_contiguous:
        bits = UNSIGNED[out.itemsize]
        _kernels.compiled.plane_look_up(
            picture.planes[0], picture.strides[0], size,
            np.ascontiguousarray(table).view(bits), out.itemsize, mask, out.view(bits),
        )  # fmt: skip
        return
    memory = np.frombuffer(picture.planes[0], np.uint8)
    values = np.ndarray(out.shape, f"<u{size}", memory, 0, (picture.strides[0], size))
    if int(values.max()) >= len(table) - 1:
        raise ValueError(f"value {values.max()} of {len(table) - 1}")
    out[...] = table[values]
    if mask is not None:
        out[mask] = table[-1]


def _header(picture: bytes, size: tuple[int, ...]) -> SequenceHeader | None:
    """Return the header of a picture that can be decoded here; its size is as expected."""
    length = picture[0] & ~IDENTITY_BIT if picture else 0
    if not length or not in_use():
        return None
    header = _known(picture[1 : 1 + length])
    if header is not None and (header.height, header.width) != size:
        raise ValueError(
            f"the picture is {header.height}×{header.width}, expected {size[0]}×{size[1]}"
        )
    return header


@lru_cache(maxsize=256)
def _known(sequence: bytes) -> SequenceHeader | None:
    return plain_header(sequence)
