"""The codec ``flate``: maps of integers, bit for bit, deflated row by row.

One stream a task. Its bytes, little-endian: ``u16 height | u16 width``, then a zlib stream of the
differences between each pixel and the one to its left.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from dsc.codecs import Array, Sample, check_array
from dsc.errors import BitstreamError, CodecError, UnknownTaskError
from dsc.schemas import Quality, Stream, Task

SIZE = struct.Struct("<HH")


class FlateCodec:
    """Lossless whatever the quality; see `dsc.codecs.Codec` for what each member must do."""

    id: ClassVar[str] = "flate"

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        for task in self.tasks:
            if not task.is_map or np.dtype(task.dtype).kind not in "iu":
                raise CodecError(f"task {task.name}: {self.id} codes maps of integers; use exact")

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks; it has no weights to load."""
        return cls(tasks)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes: what `config` gave comes back here."""
        return cls([Task.model_validate(task) for task in config["tasks"]])

    def config(self) -> dict[str, Any]:
        """Return what `from_config` needs, as JSON; the archive keeps it."""
        return {"tasks": [task.model_dump(mode="json") for task in self.tasks]}

    def weights(self) -> None:
        """Return None: nothing is trained."""

    def streams(self) -> tuple[Stream, ...]:
        """Return one stream a task, named after it, which requires no other."""
        return tuple(Stream(name=task.name, carries=(task.name,)) for task in self.tasks)

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples one by one: the bytes of a sample must not depend on its batch."""
        return [
            {
                task.name: _encode(task, check_array(task, sample[task.name]))
                for task in self.tasks
                if task.name in sample
            }
            for sample in samples
        ]

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks`; one whose stream a sample lacks is left out."""
        known = {task.name: task for task in self.tasks}
        if unknown := [name for name in tasks if name not in known]:
            raise UnknownTaskError(f"{self.id} does not code {unknown[0]!r} here")
        return [
            {
                name: _decode(known[name], given[name], max_pixels)
                for name in tasks
                if given.get(name) is not None
            }
            for given in streams
        ]


def _encode(task: Task, array: Array) -> bytes:
    height, width = array.shape[:2]
    if max(height, width) > 0xFFFF:
        raise CodecError(f"task {task.name}: {height}×{width} pixels; a side is at most 65535")
    rows = array.astype(np.dtype(task.dtype).newbyteorder("<"))
    differences = np.diff(rows, axis=1, prepend=rows[:, :1] * 0)
    return SIZE.pack(height, width) + zlib.compress(differences.tobytes(), level=6)


def _decode(task: Task, data: bytes, max_pixels: int) -> Array:
    """Decode what `_encode` gave; nothing of a size that was not asked for is ever allocated."""
    if len(data) < SIZE.size:
        raise BitstreamError(f"stream {task.name}: {len(data)} bytes are no header")
    height, width = SIZE.unpack_from(data)
    if not 0 < height * width <= max_pixels:
        raise BitstreamError(f"stream {task.name}: {height}×{width} pixels, expected {max_pixels}")
    dtype = np.dtype(task.dtype)
    shape = (height, width) if task.channels == 1 else (height, width, task.channels)
    size = int(np.prod(shape)) * dtype.itemsize
    inflater = zlib.decompressobj()
    try:
        pixels = inflater.decompress(data[SIZE.size :], size + 1)
    except zlib.error as error:
        raise BitstreamError(f"stream {task.name}: {error}") from None
    if len(pixels) != size or not inflater.eof or inflater.unused_data:
        raise BitstreamError(f"stream {task.name}: it does not hold {height}×{width} pixels")
    differences = np.frombuffer(pixels, dtype.newbyteorder("<")).reshape(shape)
    return np.cumsum(differences, axis=1, dtype=dtype)
