"""NumPy's ``.npy`` and ``.npz``, of numbers and bool, never of pickled objects.

A picture that is saved as PyTorch has it, (C, H, W) of 1 to 3 channels, is given as (H, W, C).
"""

import io
import math
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np

from dsc._files.formats.content import (
    Content,
    Family,
    Pixels,
    damaged,
    decoding,
    refused,
)

_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_MOST_CHANNELS = 4  # of a picture: a last axis so short holds its channels
_SAVE = "save it again with `numpy.save(FILE, numpy.asarray(values, numpy.float32))`"


def _npy_head(data: bytes, where: str) -> tuple[int, tuple[int, ...], bool, np.dtype[Any]]:
    """Return where the numbers begin, the shape, whether in Fortran order, and the dtype."""
    file = io.BytesIO(data)
    with decoding(where, ".npy"):
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise refused(where, f".npy of version {version[0]}.{version[1]}", _SAVE)
        shape, fortran, dtype = read(file)
    if dtype.names is not None:
        names = ", ".join(dtype.names)
        advice = "save each field to a file of its own: `numpy.save(FILE, array[FIELD])`"
        raise refused(where, f"a structured array with the fields {names}", advice)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise refused(where, f"values of type {dtype}, which are no plain numbers", _SAVE)
    found, wanted = len(data) - file.tell(), math.prod(shape) * dtype.itemsize
    if found < wanted or any(length < 0 for length in shape):
        raise damaged(where, f"shape {shape} of {dtype} needs {wanted} bytes, {found} are there")
    return file.tell(), shape, fortran, dtype


def _npy_content(data: bytes, where: str) -> Content:
    _, shape, _, dtype = _npy_head(data, where)
    if _channels_first(shape):
        shape = (*shape[1:], shape[0])
    bits = 1 if dtype.kind == "b" else 8 * dtype.itemsize
    return Content("npy", dtype.newbyteorder("=").name, shape, lossless=True, bits=bits)


def _npy_pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    start, shape, fortran, dtype = _npy_head(data, where)
    flat = np.frombuffer(data, dtype, math.prod(shape), start)
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return np.moveaxis(array, 0, -1) if _channels_first(shape) else array


def _channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and 1 <= shape[0] <= 3 and min(shape[1:]) > _MOST_CHANNELS


def _member(data: bytes, where: str) -> bytes:
    """Return the one array of an ``.npz``."""
    with decoding(where, ".npz"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        arrays = [name for name in names if name.endswith(".npy")]
        if len(arrays) == 1 == len(names):
            return archive.read(arrays[0])
    if not arrays:
        raise refused(
            where, "a ZIP file without arrays", "give the folder that holds what was packed"
        )
    found = ", ".join(name.removesuffix(".npy") for name in names[:8])
    advice = "save each to a file of its own: `numpy.save(FILE, numpy.load(NPZ)[NAME])`"
    raise refused(where, f"{len(names)} arrays in one .npz ({found})", advice)


def _npz_content(data: bytes, where: str) -> Content:
    return replace(_npy_content(_member(data, where), where), format="npz")


def _npz_pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    return _npy_pixels(_member(data, where), where, content, indexes)


NPY = Family(".npy", (".npy",), lambda data: data.startswith(_NPY), _npy_content, _npy_pixels)
NPZ = Family(
    ".npz",
    (".npz",),
    lambda data: data.startswith((_ZIP, b"PK\x05\x06")),
    _npz_content,
    _npz_pixels,
)
