"""The streams of a layered codec, little-endian.

- ``TASK.0``: ``u16 height | u16 width``, then what every learned stream of a task begins with
  (`dsc._codecs.learned.bitstream.task_header`), then the coder words of the coarsest scale.
- ``TASK.1`` to ``TASK.3``: the coder words of that scale.

In a frame after another one, which is of its size, the motion stands before the words of the
coarsest scale (`dsc._codecs.learned.layered.motion_coder`).

Words that are none are one zero byte, which no word is: a payload of no bytes is damage.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.learned.bitstream import read_task_header
from dsc._codecs.learned.layered.motion_coder import Motion, read_motion
from dsc._codecs.learned.layered.spec import scale_stream
from dsc._coding.entropy import Tables
from dsc._schemas import Task
from dsc.errors import LIST_DAMAGE, BitstreamError

SIZE = struct.Struct("<HH")
NO_WORDS = b"\0"


@dataclass(frozen=True)
class CodedTask:
    """What the streams of a task hold.

    Attributes
    ----------
    size
        (H, W) in pixels.
    quality
        1 to 100.
    offset
        Median log depth in ln(metres); 0 for other kinds.
    mask
        Invalid pixels (H, W), or None when every pixel is valid.
    words
        Coder words of the first scales.
    motion
        Since the frame before; None where there is none.
    """

    size: tuple[int, int]
    quality: int
    offset: float
    mask: NDArray[np.bool_] | None
    words: tuple[bytes, ...]
    motion: Motion | None = None


def write_streams(task: str, head: bytes, words: Sequence[bytes]) -> dict[str, bytes]:
    """Return the payloads of a task by stream.

    Parameters
    ----------
    head
        Size, task header and motion.
    words
        Coder words by scale.
    """
    payloads = [own or NO_WORDS for own in words]
    payloads[0] = head + payloads[0]
    return {scale_stream(task, scale): data for scale, data in enumerate(payloads)}


def read_streams(
    task: Task,
    streams: Mapping[str, bytes],
    scales: int,
    max_pixels: int,
    motion_tables: Tables | None = None,
) -> CodedTask:
    """Read the first scales of what `write_streams` wrote.

    Parameters
    ----------
    motion_tables
        What motion is coded under; None where there is none.

    Raises
    ------
    BitstreamError
        When a payload is not there, or is none, or declares more than `max_pixels`.
    """
    names = [scale_stream(task.name, scale) for scale in range(scales)]
    payloads = [bytes(streams.get(name) or b"") for name in names]
    for name, data in zip(names, payloads, strict=True):
        if not data:
            raise BitstreamError(f"stream {name} is required and not here; {LIST_DAMAGE}")
    first = payloads[0]
    if len(first) < SIZE.size:
        raise BitstreamError(f"stream {names[0]}: {len(first)} bytes are no header; {LIST_DAMAGE}")
    height, width = SIZE.unpack_from(first)
    if not 0 < height * width <= max_pixels:
        raise BitstreamError(
            f"stream {names[0]}: {height}×{width} pixels; at most {max_pixels} pixels are expected "
            "here"
        )
    rest = first[SIZE.size :]
    quality, offset, mask, length = read_task_header(task, rest, (height, width))
    motion = None
    if motion_tables is not None:
        motion, taken = read_motion(rest[length:], (height, width), motion_tables)
        length += taken
    payloads[0] = rest[length:]
    if not payloads[0]:
        raise BitstreamError(f"stream {names[0]}: it ends after its header; {LIST_DAMAGE}")
    words = tuple(b"" if own == NO_WORDS else own for own in payloads)
    return CodedTask((height, width), quality, offset, mask, words, motion)
