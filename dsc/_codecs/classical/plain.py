"""Text, JSON, files and numbers that are no maps, as they are; packs compress them together.

A payload is the bytes of the native array, little-endian. Where the lengths of a matrix's axes
differ from sample to sample, they come first, each u32, those that are the same left out.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Self

import numpy as np

from dsc._codecs.base import Array, Sample
from dsc._codecs.maps.base import TaskCodec
from dsc._schemas import Quality, Task, TaskKind


class PlainCodec(TaskCodec):
    """Lossless whatever the quality, but for floats that are given a bound."""

    id: ClassVar[str] = "plain"
    _dictionary: bytes | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes; the weights are for its packs."""
        made = super().from_config(config, None)
        made._dictionary = weights
        return made

    def weights(self) -> bytes | None:
        """Return the file of the dictionary that packs refer to, if they do."""
        return self._dictionary

    def of_tasks(self, tasks: Sequence[str], dictionary: bytes | None) -> Self:
        """Return this codec for some of its tasks, with this dictionary."""
        other = copy(self)
        other.tasks = tuple(task for task in self.tasks if task.name in tasks)
        other._task = {task.name: task for task in other.tasks}
        other._dictionary = dictionary
        return other

    def packed_dtype(self, stream: str) -> str | None:
        """Return the dtype of a task's numbers; of words, where lengths stand before them."""
        task = self._task[stream]
        if task.is_blob:
            return None
        return "uint32" if task.varies else task.dtype

    def refusal(self, task: Task) -> str | None:
        """Refuse maps."""
        if task.is_map:
            return f"codes what is no map, not {task.kind.value} maps; use exact, jxl or png"
        if task.kind is TaskKind.VECTOR and task.channels == 0:
            return "cannot code a vector of no values; leave this task out"
        return None

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples; floats with a bound are rounded to decimals within it first."""
        bounds = {
            name: bound.value for name, bound in quality.max_error.items() if name in self._task
        }
        rounded = [
            {name: _rounded(array, bounds.get(name, 0.0)) for name, array in sample.items()}
            for sample in samples
        ]
        return super().encode_batch(rounded if bounds else samples, quality)

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Return the lengths that vary, and the values."""
        lengths = [] if task.is_blob else _varying(task, array.shape)
        values = array.astype(array.dtype.newbyteorder("<")).tobytes()
        return struct.pack(f"<{len(lengths)}I", *lengths) + values

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Return the array that the values are."""
        if task.is_blob:
            return np.frombuffer(data, np.uint8)
        count = sum(length < 0 for length in task.value_shape)
        given = iter(struct.unpack_from(f"<{count}I", data))
        shape = [next(given) if length < 0 else length for length in task.value_shape]
        stored = np.dtype(task.dtype).newbyteorder("<")
        return np.frombuffer(data, stored, offset=4 * count).reshape(shape).astype(task.dtype)


def _rounded(array: Array, bound: float) -> Array:
    """Round to multiples of 1, 2 or 5 · 10^e, at most twice the bound: integers, to a pack.

    What a float of this type cannot hold within the bound, and what is not finite, stays.
    """
    if not bound or array.dtype.kind != "f":
        return array
    exponent = math.floor(math.log10(2 * bound))
    digit = max(d for d in (1, 2, 5) if d * 10.0**exponent <= 2 * bound or d == 1)
    scale = 10.0 ** abs(exponent)
    values = array.astype(np.float64)
    with np.errstate(all="ignore"):
        steps = np.rint((values * scale if exponent < 0 else values / scale) / digit) * digit
        found = (steps / scale if exponent < 0 else steps * scale).astype(array.dtype)
        is_near = np.abs(found.astype(np.float64) - values) <= bound
    return np.where(is_near, found, array)


def _varying(task: Task, shape: tuple[int, ...]) -> list[int]:
    return [n for n, wanted in zip(shape, task.value_shape, strict=True) if wanted < 0]
