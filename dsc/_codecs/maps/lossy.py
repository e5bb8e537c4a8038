"""Between native maps and the images that a lossy format can code.

8-bit intensities and normals go as they are. Depth goes as its logarithm, and 16-bit intensities
linearly, both from the sample's own smallest to largest valid count onto all of the format's 8, 12
or 16 bits. Invalid pixels are filled smoothly, since an edge around a hole costs bits, and come
back from a lossless mask; no valid pixel ever comes back as an invalid value. The header::

    varint  bytes of the mask, then the mask      where the tag says that there is one
    u16     smallest, largest valid count         depth and 16-bit maps with a valid pixel

There is no image where nothing is valid.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.maps.look_up import look_up
from dsc._coding.context.mask import decode_mask, encode_mask
from dsc._coding.fill import fill_invalid
from dsc._coding.varint import pack_varint, unpack_varint
from dsc._schemas import Effort, Task, TaskKind

Array = NDArray[Any]
SPAN = struct.Struct("<HH")


@dataclass(frozen=True)
class LossyHeader:
    """What a lossy stream says beside its image.

    Attributes
    ----------
    mask
        (H, W) bool, True where invalid; None when every pixel is valid.
    span
        Smallest and largest valid count, for maps that are scaled.
    """

    mask: NDArray[np.bool_] | None
    span: tuple[int, int] | None

    @property
    def has_image(self) -> bool:
        """Whether an image follows: some pixel is valid."""
        return self.mask is None or not self.mask.all()

    def pack(self, effort: Effort = Effort.DEFAULT) -> bytes:
        """Return the header's bytes; the effort is `encode_mask`'s."""
        packed = b""
        if self.mask is not None:
            mask = encode_mask(self.mask, effort)
            packed = pack_varint(len(mask)) + mask
        return packed if self.span is None else packed + SPAN.pack(*self.span)

    @classmethod
    def unpack(
        cls, task: Task, data: bytes, size: tuple[int, int], masked: bool
    ) -> tuple[Self, int]:
        """Read the header; give it and where the image starts."""
        start, mask = 0, None
        if masked:
            if not task.invalid:
                raise ValueError("a mask, but the task has no invalid value")
            length, start = unpack_varint(data)
            if length > len(data) - start:
                raise ValueError(f"a mask of {length} bytes is not there")
            mask = decode_mask(data[start : start + length], *size)
            start += length
        header = cls(mask, None)
        if _is_scaled(task) and header.has_image:
            low, high = SPAN.unpack_from(data, start)
            if not low <= high <= np.iinfo(task.dtype).max:
                raise ValueError(f"counts from {low} to {high}")
            header, start = cls(mask, (low, high)), start + SPAN.size
        return header, start


def image_dtype(task: Task, deep_bits: int) -> np.dtype[Any]:
    """Return the type of the image that a task is coded as."""
    return np.dtype(np.uint16 if _is_scaled(task) and deep_bits > 8 else np.uint8)


def to_image(task: Task, array: Array, deep_bits: int) -> tuple[LossyHeader, Array | None]:
    """Turn a native map into header and image; the image is None when no pixel is valid.

    Parameters
    ----------
    array
        (H, W) or (H, W, 3) of the task's dtype.
    deep_bits
        Bits of the image where the map is scaled.
    """
    mask = task.invalid_mask(array) if task.invalid else None
    if mask is not None and not mask.any():
        mask = None
    if mask is not None and mask.all():
        return LossyHeader(mask, None), None
    image, span = array, None
    if _is_scaled(task):
        valid = array if mask is None else array[~mask]
        span = int(valid.min()), int(valid.max())
        image = look_up(array, steps_of_counts(task, span, deep_bits))
    if mask is not None:
        image = fill_image(image, mask)
    return LossyHeader(mask, span), image


def from_image(task: Task, header: LossyHeader, image: Array, deep_bits: int) -> Array:
    """Turn header and image, which may be written to, back into the native map."""
    mask, first_invalid = header.mask, task.invalid[0] if task.invalid else 0
    if header.span is not None:
        table = _counts(task, header.span, deep_bits)
        if image.ndim == 2:
            return look_up(image, avoid_invalid(task, table), mask, first_invalid)
        image = look_up(image, table)
    native = np.require(avoid_invalid(task, image), requirements=("C", "W"))
    if mask is not None:
        native[mask] = first_invalid
    return native


def native_table(task: Task, header: LossyHeader, deep_bits: int) -> Array:
    """Return what `from_image` makes of each value of a gray image, and then of invalid pixels.

    Returns
    -------
    array (2^bits + 1,)
        Of the task's dtype.
    """
    if header.span is None:
        counts = np.arange(np.iinfo(image_dtype(task, deep_bits)).max + 1).astype(task.dtype)
    else:
        counts = _counts(task, header.span, deep_bits)
    invalid = task.invalid[0] if task.invalid else 0
    return np.append(avoid_invalid(task, counts), np.array(invalid, task.dtype))


def _counts(task: Task, span: tuple[int, int], deep_bits: int) -> Array:
    """Return the native count of each step of a scaled image."""
    steps = 2**deep_bits - 1
    low, high = span
    first, last = _positions(task, np.array(span))
    position = first + np.arange(steps + 1) * ((last - first) / steps)
    counts = np.exp(position) if task.kind is TaskKind.DEPTH else position
    native: Array = np.rint(counts).clip(low, high).astype(task.dtype)
    return native


def _is_scaled(task: Task) -> bool:
    return task.kind is TaskKind.DEPTH or task.dtype == "uint16"


def _positions(task: Task, counts: NDArray[Any]) -> NDArray[np.float64]:
    """Place counts on the scale that is cut into equal steps."""
    exact = counts.astype(np.float64)
    # A valid count of 0 has no logarithm.
    return np.log(np.maximum(exact, 0.5)) if task.kind is TaskKind.DEPTH else exact


def steps_of_counts(task: Task, span: tuple[int, int], deep_bits: int) -> Array:
    """Return the step of a scaled image for every native count, beyond the span that of its end."""
    low, high = span
    position = _positions(task, np.arange(low, high + 1))
    length = max(position[-1] - position[0], 1e-9)  # one count only: all are step 0
    step = np.rint((position - position[0]) * ((2**deep_bits - 1) / length))
    step = step.astype(image_dtype(task, deep_bits))
    outside = (low, int(np.iinfo(task.dtype).max) - high)  # invalid counts may lie there
    return np.pad(step, outside, mode="edge")


def fill_image(image: Array, mask: NDArray[np.bool_]) -> Array:
    """Return an image whose pixels are filled smoothly where `mask` is set."""
    planes = image.reshape(*mask.shape, -1).transpose(2, 0, 1).astype(np.float32)
    filled = np.rint(fill_invalid(planes, mask, 0.0)).transpose(1, 2, 0)
    return np.ascontiguousarray(filled.reshape(image.shape).astype(image.dtype))


def avoid_invalid(task: Task, image: Array) -> Array:
    """Return an image, or a table of counts, whose invalid values became the nearest valid ones."""
    hit = task.invalid_mask(image) if task.invalid else None
    if hit is None or not hit.any():
        return image
    native = np.array(image, order="C")
    if native.ndim == 3:  # one channel moved by one is enough: an invalid pixel is gray
        native[hit, 0] = np.where(native[hit, 0] > 0, native[hit, 0] - 1, 1)
        return native
    for value, nearest in _nearest_valid(task.dtype, task.invalid):
        native[hit & (image == value)] = nearest
    return native


@lru_cache(maxsize=64)
def _nearest_valid(dtype: str, invalid: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return each invalid value with the valid one nearest to it, if there is one."""
    valid = np.setdiff1d(np.arange(int(np.iinfo(dtype).max) + 1), invalid)
    return [(value, int(valid[np.abs(valid - value).argmin()])) for value in invalid if valid.size]
