"""The codec `normal-palette`: normals as `av1` has them, or as a label map of few directions.

A map whose normals come from planes takes a tenth to two fifths fewer bytes as labels. The
directions are merged as far as neither the mean nor the root mean square of the angle error exceeds
what `av1` leaves at the same quality, and the smaller of the two is kept. Maps that are not made of
planes are AV1 pictures, at the cost of one byte.

Bytes: ``u8 form``, PICTURE or LABELS; then the stream of `av1`, or that of `label-context` of three
8-bit channels.
"""

from collections.abc import Sequence
from copy import copy
from enum import IntEnum
from typing import ClassVar, Self

import numpy as np

from dsc._codecs.base import Array, Codec, at_effort
from dsc._codecs.canvas import Place
from dsc._codecs.classical.av1 import Av1Codec
from dsc._codecs.label.codec import LabelContextCodec
from dsc._codecs.label.directions import TOLERANCES_DEG, Directions
from dsc._codecs.maps.base import LOSSY_ADVICE, ModelTaskCodec, TaskCodec
from dsc._coding.context.weights import shipped_file
from dsc._schemas import Effort, Quality, Task, TaskKind

PICTURES = Av1Codec.id  # what a map is coded as where it is not made of planes


class NormalForm(IntEnum):
    """What a stream holds; the numbers stand in bitstreams."""

    PICTURE = 0
    LABELS = 1


class NormalPaletteCodec(ModelTaskCodec):
    """Quality is that of `av1`.

    Parameters
    ----------
    tasks
        Normals of three 8-bit channels.
    weights
        A model file of `label-context`.
    """

    id: ClassVar[str] = "normal-palette"
    effort_before: ClassVar[Effort | None] = Effort.BEST  # that of `av1`

    def __init__(self, tasks: Sequence[Task], weights: bytes) -> None:
        super().__init__(tasks, weights)
        self._pictures: Codec = Av1Codec(self.tasks)
        self._labels = LabelContextCodec([_as_labels(task) for task in self.tasks], weights)

    def _take_effort(self, effort: Effort) -> None:
        super()._take_effort(effort)
        self._pictures = at_effort(self._pictures, effort)
        self._labels = self._labels.at_effort(effort)

    @property
    def pictures(self) -> Codec:
        """What codes a map as a picture."""
        return self._pictures

    def over(self, pictures: Codec) -> Self:
        """Return this codec with pictures by another codec, whose streams `av1` reads."""
        made = copy(self)
        made._pictures = pictures
        return made

    @staticmethod
    def shipped() -> bytes:
        """Return the model file that comes with dsc."""
        return shipped_file()

    def refusal(self, task: Task) -> str | None:
        """Refuse what is no map of normals."""
        if task.is_exact:
            return LOSSY_ADVICE
        if task.kind is TaskKind.NORMAL and task.dtype == "uint8" and task.channels == 3:
            return None
        return "codes normals of three 8-bit channels; use av1"

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode a map in the form that takes fewer bytes at no larger error."""
        return self.encode_beside(task, array, quality)[0]

    def encode_beside(self, task: Task, array: Array, quality: int) -> tuple[bytes, bytes]:
        """Return the same, and the picture's stream that it was compared with."""
        asked = Quality(default=quality)
        picture = self._pictures.encode_batch([{task.name: array}], asked)[0][task.name]
        labels = self._encode_labels(task, array, picture)
        if labels is not None:
            return bytes([NormalForm.LABELS]) + labels, picture
        return bytes([NormalForm.PICTURE]) + picture, picture

    def _encode_labels(self, task: Task, array: Array, picture: bytes) -> bytes | None:
        """Encode a map as labels; None where that is no shorter, or has larger errors."""
        invalid = task.invalid_mask(array) if task.invalid else np.zeros(array.shape[:2], bool)
        directions = Directions.of(array, invalid)
        if directions is None:
            return None
        decoded = self._decode_picture(task, picture, invalid.size)
        allowed = directions.errors_of(array, decoded)
        for tolerance in TOLERANCES_DEG:
            own = directions.merged_within(tolerance, allowed)
            if own is not None:
                return self._labels.encode_named(*directions.named(own, array), len(picture))
        return None

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode a map."""
        return self.decode_task_to(task, data, max_pixels, Place())

    def decode_task_to(self, task: Task, data: bytes, max_pixels: int, place: Place) -> Array:
        """Decode a map to where it is wanted; of labels, what their normals are there."""
        if NormalForm(data[0]) is NormalForm.LABELS:
            return self._labels.decode_task_to(task, data[1:], max_pixels, place)
        if isinstance(self._pictures, TaskCodec):
            return self._pictures.decode_task_to(task, data[1:], max_pixels, place)
        return place.put(task, self._decode_picture(task, data[1:], max_pixels))

    def _decode_picture(self, task: Task, data: bytes, max_pixels: int) -> Array:
        decoded = self._pictures.decode_batch([{task.name: data}], [task.name], max_pixels)
        return decoded[0][task.name]


def _as_labels(task: Task) -> Task:
    return Task(name=task.name, kind=TaskKind.LABEL, dtype="uint8", channels=3)
