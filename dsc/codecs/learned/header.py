"""The header of a task's stream in `shared-latent`: quality, median depth, invalid mask.

``u8 quality`` (top bit: a mask follows), for depth ``f16`` median log depth, for a mask
``u32 length`` and the mask.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from dsc.codecs.mask import decode_mask, encode_mask
from dsc.errors import BitstreamError
from dsc.schemas import Task, TaskKind

MASK_FLAG = 128


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
        Masks already coded for this sample, by their bits; the new one is added.
    """
    header = struct.pack("<B", quality | (MASK_FLAG if invalid is not None else 0))
    if task.kind is TaskKind.DEPTH:
        header += struct.pack("<e", offset)
    if invalid is not None:
        bits = np.packbits(invalid).tobytes()
        if bits not in masks:
            masks[bits] = encode_mask(invalid)
        mask = masks[bits]
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
