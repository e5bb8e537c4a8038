"""Class labels and short vectors, exactly: one tag byte and as few bytes as they need.

Class: ``u8 length``, then the integer, little-endian two's complement in `length` bytes (none for
0). Vector: ``u8 method``, then RAW, the little-endian array; BROTLI, that compressed; or SHUFFLED,
the same with the first bytes of all values first, then all second bytes and so on, compressed. The
smallest is kept.
"""

from typing import Any, ClassVar

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.maps.base import TaskCodec
from dsc._schemas import Task, TaskKind

RAW, BROTLI, SHUFFLED = range(3)


class VectorCodec(TaskCodec):
    """Lossless whatever the quality."""

    id: ClassVar[str] = "vector"

    def refusal(self, task: Task) -> str | None:
        """Refuse maps and classes that are not integers."""
        if task.is_map:
            return f"codes classes and vectors, not {task.kind.value} maps; use exact, jxl or png"
        if task.kind not in (TaskKind.CLASS, TaskKind.VECTOR):
            return f"codes classes and vectors, not {task.kind.value}; use plain"
        if task.kind is TaskKind.CLASS and (task.channels or np.dtype(task.dtype).kind not in "ui"):
            return "codes a class as one integer; make this task a vector"
        if task.channels == 0 and task.kind is TaskKind.VECTOR:
            return "cannot code a vector of no values; leave this task out"
        return None

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode an integer or a vector."""
        if task.kind is TaskKind.CLASS:
            value = int(array)
            length = (value.bit_length() + 8) // 8 if value else 0
            return bytes([length]) + value.to_bytes(length, "little", signed=True)
        import imagecodecs

        raw = array.astype(_stored(task)).tobytes()
        shuffled = np.frombuffer(raw, np.uint8).reshape(task.channels, -1).T.tobytes()
        bodies = {
            RAW: raw,
            BROTLI: imagecodecs.brotli_encode(raw, level=11),
            SHUFFLED: imagecodecs.brotli_encode(shuffled, level=11),
        }
        method = min(bodies, key=lambda tag: (len(bodies[tag]), tag))
        return bytes([method]) + bodies[method]

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode an integer or a vector."""
        tag, body = data[0], data[1:]
        if task.kind is TaskKind.CLASS:
            value = int.from_bytes(body, "little", signed=True)
            limits = np.iinfo(task.dtype)
            if len(body) != tag or not limits.min <= value <= limits.max:
                raise ValueError(f"{len(body)} bytes of a class of {tag} bytes, value {value}")
            return np.array(value, task.dtype)
        stored = _stored(task)
        raw = body if tag == RAW else _decompress(tag, body, task.channels * stored.itemsize)
        if tag == SHUFFLED:
            raw = np.frombuffer(raw, np.uint8).reshape(stored.itemsize, -1).T.tobytes()
        if len(raw) != task.channels * stored.itemsize:
            raise ValueError(f"{len(raw)} bytes of {task.channels} values {task.dtype}")
        return np.frombuffer(raw, stored).astype(task.dtype)


def _stored(task: Task) -> np.dtype[Any]:
    return np.dtype(task.dtype).newbyteorder("<")


def _decompress(method: int, body: bytes, n_bytes: int) -> bytes:
    import imagecodecs

    if method not in (BROTLI, SHUFFLED):
        raise ValueError(f"unknown method {method}")
    # One byte of room more than is due: more is then seen, and a bomb cannot inflate.
    return bytes(imagecodecs.brotli_decode(body, out=n_bytes + 1))
