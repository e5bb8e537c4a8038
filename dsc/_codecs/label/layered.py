"""The codec `label-layered`: label maps, bit for bit, a quarter of the side first.

Every fourth pixel of every fourth row is a level of the lattice that `label-context` codes from
coarse to fine (`dsc._coding.context.lattice`), so its levels, cut in two, are the streams: nothing
is coded twice. Little-endian::

    TASK.0   u8   tag           LEVEL or WHOLE
             u16  height, width of the whole map
             ...  LEVEL: words of the entropy coder, which hold the levels down to that of step 4
                  and the palette of the labels in it.
                  WHOLE: the coarse map as `label-context` writes it
    TASK.1   u8   tag           as in ``TASK.0``
             ...  LEVEL: words that hold the finer levels, the palette of the labels that are new in
                  them, and `END`.
                  WHOLE: the map as `label-context` writes it

LEVEL is taken unless WHOLE, in which `label-context` may choose another method, is shorter in all.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from enum import IntEnum
from typing import Any, ClassVar, Self

import numpy as np

from dsc._codecs.base import Array, Sample, check_array
from dsc._codecs.canvas import Place
from dsc._codecs.label.codec import LabelContextCodec
from dsc._codecs.label.likely import share_unlike
from dsc._codecs.label.palette import Packed, get_palette, index_labels, name_labels, put_palette
from dsc._codecs.label.scan import END, END_SIZE, NOISE, channels_of
from dsc._codecs.maps.base import HEADER, MAX_SIDE
from dsc._codecs.maps.coarse import FACTOR, coarse_size
from dsc._codecs.maps.layered import LayeredCodec, coarse_stream, whole_stream
from dsc._coding.context.coder import decode_finer, decode_level, encode_levels
from dsc._coding.context.lattice import Ids
from dsc._coding.context.weights import cached_model
from dsc._coding.entropy import SymbolDecoder
from dsc._schemas import Effort, Quality, Task
from dsc.errors import CodecError


class Tag(IntEnum):
    """How a map is coded; the numbers stand in bitstreams."""

    LEVEL = 0
    WHOLE = 1


class LabelLayeredCodec(LayeredCodec):
    """Lossless whatever the quality; the coarse map is every fourth pixel of every fourth row.

    Parameters
    ----------
    tasks
        Label maps of any integers.
    weights
        A model file (`dsc._coding.context.weights`).

    Raises
    ------
    CodecError
        When it cannot code a task; the message says what can.
    """

    id: ClassVar[str] = "label-layered"

    def __init__(self, tasks: Sequence[Task], weights: bytes) -> None:
        super().__init__(tasks)
        self._maps, self._model = _Maps(tasks, weights), cached_model(weights)

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks with the model that comes with dsc."""
        return cls(tasks, _Maps.shipped())

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes.

        Raises
        ------
        CodecError
            When there is no model file, or the configuration is not one of this codec.
        """
        if weights is None:
            raise CodecError(f"{cls.id} needs its weights file, the archive names none")
        return cls(_Maps.tasks_of(config), weights).at_effort(_Maps.effort_of(config))

    def at_effort(self, effort: Effort) -> Self:
        """Return this codec at an effort, which is that of `label-context`."""
        other = copy(self)
        other._maps = self._maps.at_effort(effort)
        return other

    def own_config(self) -> dict[str, Any]:
        """Return the tasks, and the effort where it is not the default."""
        return self._maps.config()

    def weights(self) -> bytes:
        """Return the model file; all of it is the decoder's."""
        return self._maps.weights()

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples one by one.

        Raises
        ------
        CodecError
            When an array does not fit its task.
        """
        return [
            {
                stream: data
                for task in self.tasks
                if task.name in sample
                for stream, data in self._encode(task, check_array(task, sample[task.name])).items()
            }
            for sample in samples
        ]

    def _encode(self, task: Task, array: Array) -> dict[str, bytes]:
        """Encode a map in each way that may be shorter; return its two streams."""
        if max(array.shape[:2]) > MAX_SIDE:
            raise CodecError(f"task {task.name}: a side of {array.shape} is longer than {MAX_SIDE}")
        maps = np.ascontiguousarray(array[::FACTOR, ::FACTOR]), array
        best = Tag.WHOLE, [self._maps.encode_task(task, one, 100) for one in maps]
        if share_unlike(array) <= NOISE:
            levels = self._encode_levels(array)
            if levels is not None and sum(map(len, levels)) <= sum(map(len, best[1])):
                best = Tag.LEVEL, levels
        tag, (coarse, fine) = best
        head = HEADER.pack(tag, *array.shape[:2])
        return {
            coarse_stream(task.name): head + coarse,
            whole_stream(task.name): bytes([tag]) + fine,
        }

    def _encode_levels(self, array: Array) -> list[bytes] | None:
        """Return the words of both streams; None where there are too many labels."""
        try:
            ids, palette = index_labels(array)
        except ValueError:
            return None
        known = int(ids[::FACTOR, ::FACTOR].max()) + 1
        coarse, fine = encode_levels(self._model, ids, FACTOR)
        channels = channels_of(array.shape)
        put_palette(coarse, palette[:, :known], array.dtype, channels)
        if known < palette.shape[1]:
            put_palette(fine, palette[:, known:], array.dtype, channels)
        fine.put_uniform(np.array([END], np.int32), END_SIZE)
        return [coarse.finish(), fine.finish()]

    def decode_levels(
        self, task: Task, head: tuple[int, int, int], bodies: Sequence[bytes], place: Place
    ) -> Array:
        """Decode a map from one stream or two."""
        tag, size = Tag(head[0]), head[1:]
        fine = bodies[1] if len(bodies) > 1 else None
        if fine is not None and Tag(fine[0]) is not tag:
            raise ValueError("the streams are not of one map")
        if tag is Tag.LEVEL:
            return place.put(task, self._decode_levels(task, size, bodies[0], fine))
        wanted = coarse_size(*size) if fine is None else size
        data = bodies[0] if fine is None else fine[1:]
        found = self._maps.decode_task(task, data, wanted[0] * wanted[1])
        if found.shape[:2] != wanted:
            raise ValueError(f"a map of {found.shape[:2]}, expected {wanted}")
        return place.put(task, found)

    def _decode_levels(
        self, task: Task, size: tuple[int, int], coarse: bytes, fine: bytes | None
    ) -> Array:
        dtype, channels = np.dtype(task.dtype), task.channels
        decoder = SymbolDecoder(coarse)
        ids = decode_level(decoder, self._model, *size, FACTOR)
        palette = get_palette(decoder, int(ids.max()) + 1, dtype, channels)
        decoder.check_end()
        if fine is not None:
            ids, palette = self._refined(task, size, ids, palette, fine[1:])
        return name_labels(ids, palette, dtype, channels)

    def _refined(
        self, task: Task, size: tuple[int, int], level: Ids, palette: Packed, words: bytes
    ) -> tuple[Ids, Packed]:
        """Read the finer levels, and the labels that are new in them."""
        decoder = SymbolDecoder(words)
        ids = decode_finer(decoder, self._model, *size, (level, FACTOR))
        new = int(ids.max()) + 1 - palette.shape[1]
        if new > 0:
            more = get_palette(decoder, new, np.dtype(task.dtype), task.channels)
            palette = np.concatenate([palette, more], axis=1)
        if decoder.get_uniform(1, END_SIZE)[0] != END:
            raise ValueError("after the palette comes no mark of the end")
        decoder.check_end()
        return ids, palette


class _Maps(LabelContextCodec):
    """`label-context` under the name of the codec that it serves."""

    id: ClassVar[str] = LabelLayeredCodec.id
