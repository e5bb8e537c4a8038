"""The one place where the bytes of a stranger's file become an array, and facts about it.

A file is told by its content, never by its name. `read_content` says what it holds from its head;
`read_pixels` returns the numbers as stored: native byte order, C order, nothing scaled, no channel
and no page left out. What a task makes of them (units, channels, ids) is decided elsewhere. A file
that is cut, broken or of a kind that is not read is a `SampleError` that names it, says what was
found and what to do.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.classical.jpeg_file import apply_orientation
from dsc._files.formats import (
    arrays,
    avif,
    bmp,
    exr,
    flow,
    gif,
    jpeg,
    jxl,
    netpbm,
    png,
    tiff,
    webp,
)
from dsc._files.formats.content import (
    Content,
    Family,
    damaged,
    refused,
)
from dsc.errors import SampleError

__all__ = ["SUFFIXES", "Content", "can_read", "read_content", "read_pixels"]

_FAMILIES: tuple[Family, ...] = (
    png.FAMILY,
    jpeg.FAMILY,
    arrays.NPY,
    webp.FAMILY,
    jxl.FAMILY,
    tiff.FAMILY,
    exr.FAMILY,
    netpbm.FAMILY,
    flow.FAMILY,
    arrays.NPZ,
    bmp.FAMILY,
    gif.FAMILY,
    avif.FAMILY,
)
SUFFIXES: frozenset[str] = frozenset(end for family in _FAMILIES for end in family.suffixes)
"""Endings of files that can be read, in lower case, with the dot."""

_REFUSED: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89HDF", "an HDF5 file", "give it as a dataset of its own, not as one file of a folder"),
    (b"MATLAB 7.3", "a MATLAB 7.3 file, which is HDF5", "give it as a dataset of its own"),
    (b"MATLAB 5.0", "a MATLAB 5 file", "save it with `save -v7.3`, or its arrays as .npy"),
    (b"#?R", "a Radiance HDR file", "convert it to OpenEXR or .npy"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file", "convert it to PNG, or to TIFF of 16 bits"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 codestream", "convert it to PNG, or to TIFF of 16 bits"),
    (b"8BPS", "a Photoshop file", "export it as PNG"),
    (b"DDS ", "a DDS texture", "convert it to PNG"),
    (b"qoif", "a QOI file", "convert it to PNG"),
    (b"%PDF", "a PDF file", "export its pictures as PNG"),
    (b"\x1f\x8b", "a gzip file", "unpack it first with `gunzip FILE`"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it first with `unzstd FILE`"),
    (b"\x80\x02", "a Python pickle, which could run any code", "save its arrays as .npy"),
    (b"\x80\x03", "a Python pickle, which could run any code", "save its arrays as .npy"),
    (b"\x80\x04", "a Python pickle, which could run any code", "save its arrays as .npy"),
    (b"\x80\x05", "a Python pickle, which could run any code", "save its arrays as .npy"),
    (b"ply", "a PLY mesh or point cloud", "leave it out, or save its arrays as .npy"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file", "fetch it: `git lfs pull`"),
)
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
LEAVE_OUT = "leave its task out with --tasks"
_LIST = (
    "PNG, JPEG, WebP, JPEG XL, AVIF, TIFF, BMP, GIF, OpenEXR, PFM, PBM, PGM, PPM, PAM, .flo, .npy "
    "and .npz are read"
)


def can_read(name: str) -> bool:
    """Tell from its ending whether a file is of a kind that is read."""
    return name.lower().endswith(tuple(SUFFIXES))


def read_content(data: bytes, where: str) -> Content:
    """Tell what a file holds.

    Parameters
    ----------
    data
        The whole file.
    where
        Sample and file, for messages.

    Raises
    ------
    SampleError
        When the file is cut, damaged, or of a kind that is not read.
    """
    return _family(data, where).content(data, where)


def read_pixels(
    data: bytes,
    where: str,
    *,
    indexes: bool = False,
    upright: bool = True,
    otherwise: str = LEAVE_OUT,
) -> NDArray[Any]:
    """Decode one file to the array that `read_content` announces.

    Parameters
    ----------
    data
        The whole file.
    where
        Sample and file, for messages.
    indexes
        Whether numbers are meant rather than colours: a palette then gives its indexes (H, W)
        instead of RGB, and a sample of 1 bit 0 and 1 instead of 0 and 255.
    upright
        Whether the EXIF orientation is applied.
    otherwise
        What else the reader of a message can do about a file of another kind.

    Returns
    -------
    array
        C-contiguous, in the machine's byte order: (H, W), (H, W, C) with alpha last, or of
        ``.npy`` whatever it is. CMYK becomes RGB by red = (255 - C)(255 - K) / 255, and so on.

    Raises
    ------
    SampleError
        When the file is cut, damaged, of a kind that is not read, or holds more than one page.
    """
    family = _family(data, where, otherwise)
    content = family.content(data, where)
    if content.pages > 1:
        raise refused(
            where,
            f"{content.pages} pages or frames in one {family.name} file",
            f"write each to a file of its own, or {otherwise}",
        )
    array = family.pixels(data, where, content, indexes)
    wanted = content.as_stored()
    wanted = wanted.as_indexes() if indexes else wanted
    if array.shape != wanted.shape or array.dtype.name != wanted.dtype:
        raise damaged(
            where,
            f"the {family.name} header says {wanted.shape} of {wanted.dtype}, its pixels are "
            f"{array.shape} of {array.dtype.name}",
        )
    if upright and content.orientation != 1:
        array = apply_orientation(array, content.orientation)
    return _native(array)


def _family(data: bytes, where: str, otherwise: str = LEAVE_OUT) -> Family:
    for family in _FAMILIES:
        if family.matches(data):
            return family
    raise _unknown(data, where, otherwise)


def _unknown(data: bytes, where: str, otherwise: str) -> SampleError:
    for magic, what, advice in _REFUSED:
        if data.startswith(magic):
            return refused(where, what, f"{advice}, or {otherwise}")
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        advice = "convert it, for example with `heif-convert FILE FILE.png`"
        return refused(where, "an HEIC file, which is not read", f"{advice}, or {otherwise}")
    what = f"begins with {data[:8]!r}" if data else "is empty"
    return refused(where, what, f"{_LIST}: the file is damaged, or {otherwise}")


def _native(array: NDArray[Any]) -> NDArray[Any]:
    # 0-d arrays stay so, and nobody is handed a view of the file's bytes
    dtype = array.dtype.newbyteorder("=")
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.writeable:
        return array
    return np.array(array, dtype, order="C")
