"""A codec of groups that is easy to see through: each frame is its difference from one before it.

Frame 0 of a group is a key, the others lie in a tree: a frame is coded as its difference from its
nearest ancestor by bisection. With it the way of groups through writing and reading is tested
without any video codec.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from dsc._codecs.base import Array, Sample, check_array
from dsc._schemas import Quality, Stream, Task
from dsc._schemas.group import GROUPED, GroupHeader, Linked, whole
from dsc.errors import BitstreamError, CodecError

LAYERS = ("t0", "t1", "t2")


def ancestors(at: int, there: Sequence[int]) -> list[int]:
    """Return the frames that a frame is decoded after, by bisection of 16, of those there are."""
    first, low, high, path = min(there), 0, 16, []
    while low != at:
        middle = (low + high) // 2
        if middle in there and middle != at:
            path.append(middle)
        low, high = (low, middle) if at < middle else (middle, high)
        if middle == at:
            break
    return sorted({first, *path} - {at}, key=[first, *path].index) if at != first else []


class TreeCodec:
    """Codes uint8 maps without loss, in groups of at most 16."""

    id: ClassVar[str] = "tree-of-differences"
    group_size = 16
    frames_decoded: ClassVar[int] = 0  # since a test set it to 0

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        if any(not task.is_map or task.dtype != "uint8" for task in tasks):
            raise CodecError("codes uint8 maps only")

    def streams(self) -> tuple[Stream, ...]:
        return tuple(
            Stream(
                name=f"{task.name}.{layer}",
                carries=(task.name,),
                requires=tuple(f"{task.name}.{below}" for below in LAYERS[:number]),
            )
            for task in self.tasks
            for number, layer in enumerate(LAYERS)
        )

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        return [self.encode_group([sample], quality)[0] for sample in samples]

    def encode_group(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        coded: list[dict[str, bytes]] = [{} for _ in samples]
        for task in self.tasks:
            there = [at for at, sample in enumerate(samples) if task.name in sample]
            for order, at in enumerate(sorted(there, key=lambda at: len(ancestors(at, there)))):
                array = check_array(task, samples[at][task.name])
                needs = ancestors(at, there)
                before = samples[needs[-1]][task.name] if needs else np.zeros_like(array)
                if before.shape != array.shape:
                    raise CodecError(f"task {task.name}: a size that differs in a group")
                head = GroupHeader(len(samples), at, order, tuple(sorted(needs)))
                body = struct.pack("<3H", *array.shape[:2], len(needs))
                body += zlib.compress((array - before).tobytes())
                layer = 0 if not needs else 1 if at % 4 == 0 else 2
                coded[at][f"{task.name}.{LAYERS[layer]}"] = head.pack() + body
        return coded

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        out = []
        frames: dict[tuple[str, Any], dict[int, Array]] = {}  # those of a group, each once
        for given in streams:
            found = {}
            for task in self.tasks:
                names = [f"{task.name}.{layer}" for layer in LAYERS]
                own = next((given[name] for name in names if name in given), None)
                if own is not None and task.name in tasks:
                    group = own.group if isinstance(own, Linked) else object()
                    known = frames.setdefault((task.name, group), {})
                    found[task.name] = self._decode(task, own, max_pixels, known)
            out.append(found)
        return out

    def _decode(
        self, task: Task, payload: bytes, max_pixels: int, frames: dict[int, Array]
    ) -> Array:
        for at, data in whole(payload).chain:
            if at in frames:
                continue
            TreeCodec.frames_decoded += 1
            head = GroupHeader.unpack(data)
            try:
                height, width, depth = struct.unpack_from("<3H", data, head.size)
                if height * width > max_pixels or depth != len(head.needs):
                    raise ValueError(f"{height}×{width} after {depth}")
                raw = zlib.decompress(data[head.size + 6 :])
                shape = (height, width) if task.channels == 1 else (height, width, task.channels)
                change = np.frombuffer(raw, np.uint8).reshape(shape)
                path = ancestors(at, [*head.needs, at]) if head.needs else []
                frames[at] = change + frames[path[-1]] if path else change
            except (ValueError, KeyError, zlib.error, struct.error) as error:
                raise BitstreamError(f"stream of {task.name}: {error}") from None
        return frames[at].copy()

    def config(self) -> dict[str, Any]:
        lanes = [[f"{task.name}.{layer}" for layer in LAYERS] for task in self.tasks]
        return {"tasks": [task.model_dump(mode="json") for task in self.tasks], GROUPED: lanes}

    def weights(self) -> None:
        return None

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        return cls(tasks)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        return cls([Task.model_validate(task) for task in config["tasks"]])
