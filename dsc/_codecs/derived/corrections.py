"""What a derived map lacks to be the source's own, value by value.

The differences from the map that follows, modulo the values' bits, as unsigned words near zero
(0, -1, 1, -2 ...): where they are not 0, as a mask, and what they are there, in order. Bytes,
little-endian::

    u32  bytes of the mask
    ...  the mask (`dsc._coding.context.mask`); one that is all set is a map of all words
    ...  the words by the codec `exact`: of a whole map as the map is; else of those pixels, as rows
         of up to 65,535 of them, the last one filled with 0
"""

import struct

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._codecs.classical.exact import ExactCodec, unzigzag, word_type, zigzag
from dsc._codecs.maps.base import MAX_SIDE
from dsc._coding.context.mask import decode_mask, encode_mask
from dsc._schemas import Effort, Task, TaskKind

FEW, MANY = 0.02, 0.5  # of pixels that differ: a list alone is tried below, a map alone above
LENGTH = struct.Struct("<I")


def encode_corrections(task: Task, original: Array, derived: Array, effort: Effort) -> bytes:
    """Code the difference of two integer maps of one shape and dtype in the fewest bytes."""
    words = _differences(original, derived)
    differ = _any_channel(words != 0)
    share = float(differ.mean())
    tried = []
    if share <= MANY:
        listed = _rows(words[differ])
        tried.append(_pack(encode_mask(differ, effort), _encode_words(task, listed, effort)))
    if share > FEW:
        whole = encode_mask(np.ones_like(differ), effort)
        tried.append(_pack(whole, _encode_words(task, words, effort)))
    return min(tried, key=len)


def is_sparse(original: Array, derived: Array) -> bool:
    """Tell whether so few pixels differ that nothing else would take fewer bytes."""
    return float(_any_channel(original != derived).mean()) <= FEW


def apply_corrections(task: Task, data: bytes, derived: Array) -> Array:
    """Return the original; a new array.

    Raises
    ------
    ValueError, struct.error, BitstreamError
        When the bytes are no corrections of this map.
    """
    (length,) = LENGTH.unpack_from(data)
    end = LENGTH.size + length
    if end > len(data):
        raise ValueError(f"a mask of {length} bytes is not there")
    height, width = derived.shape[:2]
    differ = decode_mask(data[LENGTH.size : end], height, width)
    words = np.zeros(derived.shape, word_type(derived.dtype))
    if differ.all():
        words[:] = _decode_words(task, data[end:], words)
    else:
        listed = _rows(words[differ])
        found = _decode_words(task, data[end:], listed)
        words[differ] = found.reshape(-1, *words.shape[2:])[: int(differ.sum())]
    corrected = np.ascontiguousarray(derived).view(words.dtype) + unzigzag(words)
    return corrected.view(derived.dtype)


def _any_channel(differ: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (H, W) of (H, W) or (H, W, C)."""
    return differ if differ.ndim == 2 else np.logical_or.reduce(differ, axis=-1)


def _differences(original: Array, derived: Array) -> Array:
    kind = word_type(original.dtype)
    both = (np.ascontiguousarray(array).view(kind) for array in (original, derived))
    first, second = both
    return zigzag(first - second)


def _rows(words: Array) -> Array:
    """Put words (n,) or (n, C) into as few rows as can be, filled up with 0."""
    width = min(len(words), MAX_SIDE)
    height = -(-len(words) // max(width, 1))
    rows = np.zeros((height * width, *words.shape[1:]), words.dtype)
    rows[: len(words)] = words
    return rows.reshape(height, width, *words.shape[1:])


def _pack(mask: bytes, words: bytes) -> bytes:
    return LENGTH.pack(len(mask)) + mask + words


def _coder(task: Task, words: Array, effort: Effort) -> tuple[ExactCodec, Task]:
    as_words = {"name": task.name, "kind": TaskKind.ARRAY, "dtype": words.dtype.name}
    own = Task.model_validate(as_words | {"channels": task.channels})
    return ExactCodec([own]).at_effort(effort), own


def _encode_words(task: Task, words: Array, effort: Effort) -> bytes:
    codec, own = _coder(task, words, effort)
    return codec.encode_task(own, words, 0)


def _decode_words(task: Task, data: bytes, like: Array) -> Array:
    codec, own = _coder(task, like, Effort.DEFAULT)
    words = codec.decode_task(own, data, like.shape[0] * like.shape[1])
    if words.shape != like.shape:
        raise ValueError(f"{words.shape} corrections, {like.shape} are expected")
    return words
