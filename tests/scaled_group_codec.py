"""A codec of groups that writes scales and is easy to see through: a pyramid of differences.

Scale k of a frame has every (8 / 2^k)th pixel of every such row. It is coded as its difference from
the scale below, each pixel of which stands for four, and that again as its difference from the same
of the frame before in the group. So the payload of frame t and scale k takes the scales below of
the same frame, and scale k of the frames before.
"""

import struct
import zlib
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Self

import numpy as np

from dsc._codecs.base import Array, Sample, check_array
from dsc._schemas import Quality, Stream, Task
from dsc._schemas.group import GROUPED, GroupHeader, Linked, whole
from dsc._schemas.levels import PREFIXES
from dsc.errors import BitstreamError, CodecError

SCALES = 4
Changes = dict[int, Array]
"""By place in the group, what a scale has beyond the scale below."""


def at_scale(array: Array, levels: int) -> Array:
    """Return what the first levels of a frame decode to."""
    step = 2 ** (SCALES - levels)
    return array[::step, ::step]


def enlarged(array: Array, shape: tuple[int, ...]) -> Array:
    """Return four pixels for each, cut to a shape."""
    return array.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]


class ScaledCodec:
    """Codes uint8 maps without loss, in groups of at most 16, each frame in four scales."""

    id: ClassVar[str] = "scaled-differences"
    group_size = 16
    payloads_decoded: ClassVar[int] = 0  # since a test set it to 0

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        self._count = dict.fromkeys((task.name for task in tasks), SCALES)
        if any(not task.is_map or task.dtype != "uint8" for task in tasks):
            raise CodecError("codes uint8 maps only")

    @staticmethod
    def names(task: str) -> list[str]:
        return [f"{task}.{scale}" for scale in range(SCALES)]

    def streams(self) -> tuple[Stream, ...]:
        return tuple(
            Stream(name=name, carries=(task.name,), requires=tuple(self.names(task.name)[:scale]))
            for task in self.tasks
            for scale, name in enumerate(self.names(task.name))
        )

    def from_streams(self, names: Collection[str]) -> Self:
        other = copy(self)
        other._count = {
            task.name: next((k for k, n in enumerate(self.names(task.name)) if n not in names), 4)
            for task in self.tasks
        }
        return other

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        return [self.encode_group([sample], quality)[0] for sample in samples]

    def encode_group(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        coded: list[dict[str, bytes]] = [{} for _ in samples]
        for task in self.tasks:
            there = [at for at, sample in enumerate(samples) if task.name in sample]
            before: list[Array] = []
            for order, at in enumerate(there):
                array = check_array(task, samples[at][task.name])
                scales = [at_scale(array, level) for level in range(1, SCALES + 1)]
                below = [np.zeros_like(scales[0]), *scales[:-1]]
                changes = [s - enlarged(b, s.shape) for s, b in zip(scales, below, strict=True)]
                if before and before[-1].shape != array.shape:
                    raise CodecError(f"task {task.name}: a size that differs in a group")
                head = GroupHeader(len(samples), at, order, tuple(there[:order])).pack()
                for scale, name in enumerate(self.names(task.name)):
                    change = changes[scale] - before[scale] if before else changes[scale]
                    size = struct.pack("<2H", *change.shape[:2])
                    coded[at][name] = head + size + zlib.compress(change.tobytes())
                before = changes
        return coded

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        out = []
        known: dict[Any, Changes] = {}  # those of a group, each once
        for given in streams:
            found = {}
            for task in self.tasks:
                if task.name in tasks and any(name in given for name in self.names(task.name)):
                    found[task.name] = self._decode(task, given, max_pixels, known)
            out.append(found)
        return out

    def _decode(
        self, task: Task, given: Mapping[str, bytes], limit: int, known: dict[Any, Changes]
    ) -> Array:
        array: Array | None = None
        for name in self.names(task.name)[: self._count[task.name]]:
            if name not in given:
                raise BitstreamError(f"stream {name} is required and not here")
            payload = whole(given[name])
            changes = known.setdefault((name, payload.group), {})
            change = self._change(task, name, payload, limit, changes)
            array = change if array is None else change + enlarged(array, change.shape)
        assert array is not None
        return array.copy()

    def _change(
        self, task: Task, name: str, payload: Linked, limit: int, changes: Changes
    ) -> Array:
        last: Array | None = None
        for at, data in payload.chain:
            if at not in changes:
                ScaledCodec.payloads_decoded += 1
                head = GroupHeader.unpack(data)
                try:
                    height, width = struct.unpack_from("<2H", data, head.size)
                    if height * width > limit:
                        raise ValueError(f"{height}×{width}")
                    raw = zlib.decompress(data[head.size + 4 :])
                    one = np.frombuffer(raw, np.uint8).reshape(
                        (height, width) if task.channels == 1 else (height, width, task.channels)
                    )
                    changes[at] = one if last is None else one + last
                except (ValueError, zlib.error, struct.error) as error:
                    raise BitstreamError(f"stream {name}: {error}") from None
            last = changes[at]
        assert last is not None
        return last

    def config(self) -> dict[str, Any]:
        lanes = [[name] for task in self.tasks for name in self.names(task.name)]
        tasks = [task.model_dump(mode="json") for task in self.tasks]
        return {"tasks": tasks, GROUPED: lanes, PREFIXES: True}

    def weights(self) -> None:
        return None

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        return cls(tasks)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        return cls([Task.model_validate(task) for task in config["tasks"]])
