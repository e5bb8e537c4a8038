"""Values of any dtype as unsigned integers, and whole planes of them as few bytes.

`to_words` gives the bits of integers and floats in the order of their values: -0.0 comes just below
0.0, infinities and NaNs lie at the ends, each bit pattern is one word. `pack_planes` predicts each
plane from its neighbours, puts the first bytes of all words before all second bytes and so on, and
compresses. The bytes of a plane, before that::

    u8   predictor      NOTHING, LEFT, ABOVE or PLANE (left + above - the one between)
    ...  differences modulo 2^bits, zigzag: 0, -1, 1, -2 ...; byte 0 of all words, then byte 1 ...
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ZSTD_LEVEL = 9


class Predictor(IntEnum):
    """What a word is expected to be; the numbers stand in bitstreams."""

    NOTHING = 0
    LEFT = 1
    ABOVE = 2
    PLANE = 3


def word_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the unsigned integer that is as wide as a dtype."""
    return np.dtype(f"u{dtype.itemsize}")


def to_words(array: Array) -> Array:
    """Return the bits of an array of integers or floats, in the order of the values."""
    words: Array = np.ascontiguousarray(array).view(word_type(array.dtype))
    if array.dtype.kind == "u":
        return words
    top = _top(words.dtype)
    if array.dtype.kind == "i":
        return np.asarray(words ^ top)
    return np.where(words & top, ~words, words | top)


def from_words(words: Array, dtype: np.dtype[Any]) -> Array:
    """Return what `to_words` was given; a copy."""
    if dtype.kind == "u":
        return words.astype(dtype)
    top = _top(words.dtype)
    bits = words ^ top if dtype.kind == "i" else np.where(words & top, words ^ top, ~words)
    return np.ascontiguousarray(bits).view(dtype)


def pack_planes(planes: Array) -> bytes:
    """Compress planes (n, H, W) of unsigned integers.

    Each plane has the predictor whose bytes have the least entropy; zstd sees all planes at once.
    """
    import imagecodecs

    packed = b"".join(min((_coded(plane, p) for p in Predictor), key=_bits) for plane in planes)
    return bytes(imagecodecs.zstd_encode(packed, level=ZSTD_LEVEL))


def unpack_planes(data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Array:
    """Return the planes (n, H, W) that `pack_planes` compressed.

    Raises
    ------
    ValueError
        When the bytes are other planes than these.
    """
    import imagecodecs

    count, height, width = shape
    size = 1 + height * width * dtype.itemsize
    # one byte of room more than is due: more is then seen, and a bomb cannot inflate
    packed = bytes(imagecodecs.zstd_decode(data, out=count * size + 1))
    if len(packed) != count * size:
        raise ValueError(f"{len(packed)} bytes of planes, expected {count * size}")
    planes = np.empty(shape, dtype)
    for number in range(count):
        part = packed[number * size : (number + 1) * size]
        planes[number] = _decoded(part, (height, width), dtype)
    return planes


def _coded(plane: Array, predictor: Predictor) -> bytes:
    """Return one plane's bytes before compression."""
    difference = plane.copy()
    if predictor in (Predictor.LEFT, Predictor.PLANE):
        difference[:, 1:] -= plane[:, :-1]
    if predictor is Predictor.ABOVE:
        difference[1:] -= plane[:-1]
    if predictor is Predictor.PLANE:
        difference[1:] -= difference[:-1].copy()
    if predictor is not Predictor.NOTHING:
        difference = _zigzag(difference)
    little = difference.astype(difference.dtype.newbyteorder("<"), copy=False)
    shuffled = little.reshape(-1, 1).view(np.uint8).T
    return bytes([predictor]) + shuffled.tobytes()


def _decoded(data: bytes, size: tuple[int, int], dtype: np.dtype[Any]) -> Array:
    """Return the plane of `_coded`'s bytes."""
    predictor = Predictor(data[0])
    shuffled = np.frombuffer(data, np.uint8, offset=1).reshape(dtype.itemsize, -1)
    little = np.ascontiguousarray(shuffled.T).view(dtype.newbyteorder("<"))
    words: Array = little.reshape(size).astype(dtype)
    if predictor is not Predictor.NOTHING:
        words = _unzigzag(words)
    if predictor in (Predictor.ABOVE, Predictor.PLANE):
        words = np.cumsum(words, axis=0, dtype=dtype)
    if predictor in (Predictor.LEFT, Predictor.PLANE):
        words = np.cumsum(words, axis=1, dtype=dtype)
    return words


def _zigzag(words: Array) -> Array:
    """Name differences near zero by small numbers, modulo the words' width."""
    one = words.dtype.type(1)
    return np.asarray(np.where(words & _top(words.dtype), ~(words << one), words << one))


def _unzigzag(words: Array) -> Array:
    one = words.dtype.type(1)
    return np.asarray(np.where(words & one, ~(words >> one), words >> one))


def _top(dtype: np.dtype[Any]) -> Any:
    """Return the word whose highest bit alone is set."""
    return dtype.type(1 << (8 * dtype.itemsize - 1))


def _bits(data: bytes) -> float:
    """Estimate the bits of a plane: the entropy of its bytes, place by place in the word."""
    # bytes of one place stand together, so pieces of the whole tell them apart well enough
    pieces = np.array_split(np.frombuffer(data, np.uint8), 8)
    return sum(_entropy(np.bincount(piece, minlength=256)) for piece in pieces)


def _entropy(counts: NDArray[np.int64]) -> float:
    found = counts[counts > 0].astype(np.float64)
    return float((found * np.log2(found.sum() / found)).sum())
