"""The bitstream of a residual: what a decoded map lacks to be within a bound at every pixel.

Little-endian::

    u8    bits: 1 the bound is relative, 2 a margin of one count, 4 a mask, 8 exceptions,
          16 residuals
    u32   the bound, in millionths (relative) or counts
    ...   u32 bytes and the mask of invalid pixels             where the codec below changed it
    ...   u32 bytes and the mask of exceptions, u32 bytes and their counts, brotli
    ...   residuals (`dsc._codecs.residual.coder`)

Where the decoded map is within the bound already, that is five bytes. Every pixel is checked when
it is encoded, by decoding what was written.

A codec that computes pixels in floating point may decode to other integers on another machine. For
these there is a margin: the steps are shorter by one count, each pixel is checked with its decoded
count one lower and one higher too, and one that no step keeps within the bound is an exception,
stored as it is. The bound then holds on any machine that decodes to within one count of the one
that encoded. Learned depth is computed in float32 and does: with and without oneDNN, 7 in a million
pixels of a Kinect frame differ, by one count. A GPU that multiplies in TF32 may not.
"""

import struct
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._codecs.residual.bound import UNIT, Steps
from dsc._codecs.residual.coder import decode_planes, encode_planes
from dsc._coding.context.mask import decode_mask, encode_mask
from dsc._schemas import Task
from dsc.errors import CodecError

HEADER, LENGTH = struct.Struct("<BI"), struct.Struct("<I")
RELATIVE, MARGIN, MASK, EXCEPTIONS, RESIDUALS = 1, 2, 4, 8, 16
Bool = NDArray[np.bool_]


def encode_residual(task: Task, steps: Steps, original: Array, decoded: Array) -> bytes:
    """Encode what `decoded` lacks to be within the bound of `original` at every valid pixel.

    Raises
    ------
    CodecError
        When what was written does not decode to within the bound, which only a fault of the
        program can bring about.
    """
    flags = RELATIVE * steps.relative | MARGIN * bool(steps.margin)
    mask, body = task.invalid_mask(original), b""
    if not np.array_equal(mask, task.invalid_mask(decoded)):
        flags, body = flags | MASK, _sized(encode_mask(mask))
    residual = np.where(_spread(mask, original), 0, steps.quantise(original, decoded))
    exceptions = ~_is_safe(task, steps, original, decoded, residual) & ~mask
    if exceptions.any():
        import imagecodecs

        flags |= EXCEPTIONS
        raw = original[exceptions].astype(np.dtype(task.dtype).newbyteorder("<")).tobytes()
        body += _sized(encode_mask(exceptions)) + _sized(
            bytes(imagecodecs.brotli_encode(raw, level=9))
        )
        residual[exceptions] = 0
    if residual.any():
        planes = residual[None] if residual.ndim == 2 else residual.transpose(2, 0, 1)
        flags, body = flags | RESIDUALS, body + encode_planes(planes, ~mask)
    data = HEADER.pack(flags, steps.size) + body
    found = decode_residual(task, data, decoded)
    if not (steps.holds(original, found) | _spread(mask, original)).all():
        raise CodecError(f"task {task.name}: a pixel is beyond the bound; please report this")
    return data


def decode_residual(task: Task, data: bytes, decoded: Array) -> Array:
    """Return the map within the bound, from a residual and the map of the codec below.

    Anything raised is damage.
    """
    flags, size = HEADER.unpack_from(data)
    if flags >= 2 * RESIDUALS or (flags & RELATIVE and size >= UNIT):
        raise ValueError(f"unknown bits {flags:#04x} or bound {size}")
    body, shape = data[HEADER.size :], decoded.shape[:2]
    mask = task.invalid_mask(decoded)
    if flags & MASK:
        part, body = _take(body)
        mask = decode_mask(part, *shape)
        if mask.any() and not task.invalid:
            raise ValueError("a mask, but the task has no invalid value")
    exceptions, counts = np.zeros(shape, bool), np.empty(0, task.dtype)
    if flags & EXCEPTIONS:
        part, body = _take(body)
        exceptions = decode_mask(part, *shape)
        part, body = _take(body)
        counts = _read_counts(task, part, int(exceptions.sum()))
    found = decoded.copy()
    if flags & RESIDUALS:
        planes = decode_planes(body, task.channels, ~mask)
        steps = steps_of(task, bool(flags & RELATIVE), size, 1 if flags & MARGIN else 0)
        found = steps.apply(decoded, planes[0] if decoded.ndim == 2 else planes.transpose(1, 2, 0))
    elif body:
        raise ValueError("bytes follow where there is no residual")
    if exceptions.any():
        found[exceptions] = counts.reshape(found[exceptions].shape)
    if flags & MASK and mask.any():
        found[mask] = task.invalid[0]
    return np.ascontiguousarray(found)


def _is_safe(task: Task, steps: Steps, original: Array, decoded: Array, residual: Any) -> Bool:
    """Tell of each pixel (H, W) whether it ends within the bound, whatever the margin allows."""
    safe = np.ones(original.shape[:2], bool)
    for shift in range(-steps.margin, steps.margin + 1):
        moved = np.clip(decoded.astype(np.int32) + shift, 0, steps.top) if shift else decoded
        found = steps.apply(moved.astype(task.dtype, copy=False), residual)
        within = steps.holds(original, found)
        safe &= within.all(axis=2) if within.ndim == 3 else within
        safe &= ~task.invalid_mask(found)
    return safe


@lru_cache(maxsize=16)  # their tables take milliseconds to make
def _steps(dtype: str, invalid: tuple[int, ...], relative: bool, size: int, margin: int) -> Steps:
    return Steps(dtype, invalid, relative, size, margin)


def steps_of(task: Task, relative: bool, size: int, margin: int) -> Steps:
    """Return the steps of a bound, made once."""
    return _steps(task.dtype, task.invalid if task.channels == 1 else (), relative, size, margin)


def _spread(mask: Bool, like: Array) -> Bool:
    """Return a mask (H, W) the shape of a map, which may have channels."""
    return np.broadcast_to(mask[..., None] if like.ndim == 3 else mask, like.shape)


def _read_counts(task: Task, data: bytes, pixels: int) -> Array:
    import imagecodecs

    stored = np.dtype(task.dtype).newbyteorder("<")
    n_bytes = pixels * max(task.channels, 1) * stored.itemsize
    # One byte of room more than is due: more is then seen, and a bomb cannot inflate.
    raw = bytes(imagecodecs.brotli_decode(data, out=n_bytes + 1))
    if len(raw) != n_bytes:
        raise ValueError(f"{len(raw)} bytes of exceptions, expected {n_bytes}")
    return np.frombuffer(raw, stored).astype(task.dtype)


def _sized(part: bytes) -> bytes:
    return LENGTH.pack(len(part)) + part


def _take(body: bytes) -> tuple[bytes, bytes]:
    """Split off a part that its length precedes."""
    (length,) = LENGTH.unpack_from(body)
    end = LENGTH.size + length
    if length > len(body) - LENGTH.size:
        raise ValueError(f"a part of {length} bytes is not there")
    return body[LENGTH.size : end], body[end:]
