"""libavif as imagecodecs brings it, called by name: imagecodecs passes none of libaom's options on.

imagecodecs links libavif as a shared library on Linux and macOS. Its functions are found through
that module, whatever the library's file is called, and what is read and written of its structures
is what every libavif 1.x has at the same place. Where there is no such library, or it does not
write what imagecodecs writes for the same picture, `is_there` says so and nothing here is used.

Source: ``avif/avif.h`` of libavif 1.0 to 1.4; the options are those of libaom's ``aomenc``.
"""

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_size_t,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import lru_cache
from typing import Any

import numpy as np

from dsc._codecs.base import Array

CODEC_AOM, YUV444, YUV400, FULL_RANGE, NO_ERROR = 1, 1, 4, 1, 0
IDENTITY, BT601 = 0, 6  # matrix coefficients, ITU-T H.273; one plane cannot be an identity
VERSION = "1."
STEPS = 63  # libaom's quantisers, 0 to 63
Options = Mapping[str, str]


class _Image(Structure):
    """The beginning of ``avifImage``."""

    _fields_ = (
        *((name, c_uint32) for name in ("width", "height", "depth")),
        *((name, c_int) for name in ("yuv_format", "yuv_range", "chroma_position")),
        ("planes", c_void_p * 3),
        ("row_bytes", c_uint32 * 3),
        ("owns_planes", c_int),
        *(("alpha", c_void_p), ("alpha_row_bytes", c_uint32)),
        *(("owns_alpha", c_int), ("alpha_premultiplied", c_int)),
        *(("icc", c_void_p), ("icc_bytes", c_size_t)),
        *((name, c_uint16) for name in ("primaries", "transfer", "matrix")),
    )


class _Encoder(Structure):
    """The beginning of ``avifEncoder``."""

    _fields_ = (
        *((name, c_int) for name in ("codec", "max_threads", "speed", "keyframe_interval")),
        *(("timescale", c_uint64), ("repetitions", c_int), ("extra_layers", c_uint32)),
        ("quality", c_int),
    )


class _Data(Structure):
    """``avifRWData``."""

    _fields_ = (("data", c_void_p), ("size", c_size_t))


@lru_cache(maxsize=1)
def is_there() -> bool:
    """Tell whether libavif can be called, and writes what imagecodecs writes."""
    try:
        library = _library()
        if not library.avifVersion().decode().startswith(VERSION):
            return False
        planes = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
        parts = [planes[..., channel] for channel in (1, 2, 0)]
        return encode(parts, 8, 60, 6, {"tune": "ssim"}) == _by_imagecodecs(planes)
    except (AttributeError, OSError, ImportError, ValueError):
        return False


def encode(planes: Sequence[Array], bits: int, level: int, speed: int, options: Options) -> bytes:
    """Write a picture of one plane, or of three of one size, as an AVIF file.

    Parameters
    ----------
    planes
        Y, or Y, U and V, each (H, W), uint8, or uint16 of more than 8 bits.
    bits
        8, 10 or 12.
    level
        libavif's quality, 1 to 99.
    speed
        libaom's, 0 to 9.
    options
        libaom's, by name.

    Raises
    ------
    ValueError
        When libavif does not write it; the message says why.
    """
    library = _library()
    rows = [np.ascontiguousarray(plane) for plane in planes]
    height, width = rows[0].shape
    encoder = library.avifEncoderCreate()
    image = library.avifImageCreate(width, height, bits, YUV400 if len(rows) == 1 else YUV444)
    data = _Data()
    try:
        if not encoder or not image:
            raise MemoryError("libavif has no memory for a picture")
        encoder[0].codec, encoder[0].max_threads, encoder[0].speed = CODEC_AOM, 1, speed
        image[0].yuv_range = FULL_RANGE
        image[0].matrix = IDENTITY if len(rows) > 1 else BT601
        for number, row in enumerate(rows):
            image[0].planes[number], image[0].row_bytes[number] = row.ctypes.data, row.strides[0]
        quantiser = ((100 - level) * STEPS + 50) // 100  # as libavif maps its quality
        told = {"end-usage": "q", "cq-level": str(quantiser), **options}
        for name, value in told.items():
            library.avifEncoderSetCodecSpecificOption(encoder, name.encode(), value.encode())
        found = library.avifEncoderWrite(encoder, image, byref(data))
        if found != NO_ERROR:
            raise ValueError(f"libavif: {library.avifResultToString(found).decode()}")
        return ctypes.string_at(data.data, data.size)
    finally:
        library.avifRWDataFree(byref(data))
        if image:
            library.avifImageDestroy(image)
        if encoder:
            library.avifEncoderDestroy(encoder)


@lru_cache(maxsize=1)
def _library() -> Any:
    """Return libavif's functions, found through the module that is linked to it."""
    from imagecodecs import _avif

    library = ctypes.CDLL(_avif.__file__)
    image, encoder, data = POINTER(_Image), POINTER(_Encoder), POINTER(_Data)
    signatures: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "avifVersion": (c_char_p, ()),
        "avifResultToString": (c_char_p, (c_int,)),
        "avifImageCreate": (image, (c_uint32, c_uint32, c_uint32, c_int)),
        "avifImageDestroy": (None, (image,)),
        "avifEncoderCreate": (encoder, ()),
        "avifEncoderDestroy": (None, (encoder,)),
        "avifEncoderSetCodecSpecificOption": (c_int, (encoder, c_char_p, c_char_p)),
        "avifEncoderWrite": (c_int, (encoder, image, data)),
        "avifRWDataFree": (None, (data,)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _by_imagecodecs(planes: Array) -> bytes:
    import imagecodecs

    identity = imagecodecs.AVIF.MATRIX_COEFFICIENTS.IDENTITY
    return bytes(
        imagecodecs.avif_encode(
            planes, level=60, speed=6, numthreads=1, pixelformat="444", matrix=identity
        )
    )
