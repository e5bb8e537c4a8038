"""What stands in learned streams before the coder's words, and how streams are called.

- ``shared``: ``u8 quality | u16 height | u16 width``.
- a task where nothing is shared starts with ``u8 used | u16 height | u16 width``; bit i says that
  the i-th stream that the network requires was used.
- every task: ``u8 quality`` (top bit: a mask follows), for depth ``f16`` median log depth, for a
  mask ``u32 length`` and the mask.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._coding.context.mask import decode_mask, encode_mask
from dsc._schemas import Task, TaskKind
from dsc.errors import BitstreamError

MASK_FLAG = 128
SHARED_HEADER_BYTES = SIZE_HEADER_BYTES = 5


def task_header(
    task: Task,
    quality: int,
    invalid: NDArray[np.bool_] | None,
    offset: float,
    masks: dict[bytes, bytes],
) -> bytes:
    """Write the header of a task's stream.

    Parameters
    ----------
    quality
        1 to 100.
    invalid
        (H, W) mask, or None when every pixel is valid.
    offset
        Median log depth in ln(metres), as float16 holds it; only depth stores it.
    masks
        Masks already coded for this sample, by their size and bits; the new one is added.
    """
    header = struct.pack("<B", quality | (MASK_FLAG if invalid is not None else 0))
    if task.kind is TaskKind.DEPTH:
        header += struct.pack("<e", offset)
    if invalid is not None:
        key = struct.pack("<II", *invalid.shape) + np.packbits(invalid).tobytes()
        if key not in masks:
            masks[key] = encode_mask(invalid)
        mask = masks[key]
        header += struct.pack("<I", len(mask)) + mask
    return header


def read_task_header(
    task: Task, data: bytes, size: tuple[int, int]
) -> tuple[int, float, NDArray[np.bool_] | None, int]:
    """Read what `task_header` wrote: quality, offset, mask, and where the coder's words start.

    Raises
    ------
    BitstreamError
        When the bytes are no such header.
    """
    try:
        (first,) = struct.unpack_from("<B", data)
        at, offset, mask = 1, 0.0, None
        if task.kind is TaskKind.DEPTH:
            (offset,) = struct.unpack_from("<e", data, at)
            at += 2
        if first & MASK_FLAG:
            (length,) = struct.unpack_from("<I", data, at)
            at += 4
            if length > len(data) - at:
                raise BitstreamError(f"stream {task.name}: a mask of {length} bytes is not there")
            mask = decode_mask(bytes(data[at : at + length]), *size)
            at += length
    except struct.error:
        raise BitstreamError(f"stream {task.name}: {len(data)} bytes are no header") from None
    quality = first & ~MASK_FLAG
    if not 1 <= quality <= 100 or not np.isfinite(offset):
        raise BitstreamError(f"stream {task.name}: quality {quality}, offset {offset}")
    return quality, offset, mask, at


def shared_header(quality: int, size: tuple[int, int]) -> bytes:
    """Write the header of the stream ``shared``."""
    return struct.pack("<BHH", quality, *size)


def read_shared_header(data: bytes, max_pixels: int) -> tuple[int, tuple[int, int]]:
    """Read what `shared_header` wrote.

    Raises
    ------
    BitstreamError
        When it is none, or declares more than `max_pixels`.
    """
    quality, size = _read_size("shared", data, max_pixels)
    if not 1 <= quality <= 100:
        raise BitstreamError(f"stream shared: quality {quality}")
    return quality, size


def size_header(used: Sequence[bool], size: tuple[int, int]) -> bytes:
    """Write which of the required streams were used, and (H, W)."""
    return struct.pack("<BHH", sum(1 << i for i, there in enumerate(used) if there), *size)


def read_size_header(
    name: str, data: bytes, required: int, max_pixels: int
) -> tuple[list[bool], tuple[int, int]]:
    """Read what `size_header` wrote, for a stream that the network lets require `required` others.

    Raises
    ------
    BitstreamError
        When it is none, or declares more than `max_pixels`.
    """
    used, size = _read_size(name, data, max_pixels)
    if used >> required:
        raise BitstreamError(f"stream {name}: it names required streams that there are not")
    return [bool(used >> i & 1) for i in range(required)], size


def _read_size(name: str, data: bytes, max_pixels: int) -> tuple[int, tuple[int, int]]:
    if len(data) < SIZE_HEADER_BYTES:
        raise BitstreamError(f"stream {name}: {len(data)} bytes are no header")
    first, height, width = struct.unpack_from("<BHH", data)
    if not 0 < height * width <= max_pixels:
        raise BitstreamError(
            f"stream {name}: {height}×{width} pixels; at most {max_pixels} pixels are expected here"
        )
    return first, (height, width)


@dataclass(frozen=True)
class Naming:
    """The names of a network's streams in an archive, and the tasks that they carry.

    Attributes
    ----------
    names
        Name in the archive by stream of the network, for those that it has.
    tasks
        Task by name in the archive.
    """

    names: Mapping[str, str]
    tasks: Mapping[str, Task]

    def stream_of(self, task: str) -> str:
        """Return the network's stream that carries a task of the archive."""
        return next(stream for stream, name in self.names.items() if name == task)

    def name_of(self, stream: str) -> str:
        """Return an archive's name of one of the network's streams."""
        if stream not in self.names:
            raise BitstreamError(f"a stream requires {stream}, which no task here is")
        return self.names[stream]
