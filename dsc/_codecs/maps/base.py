"""What the classical image codecs share: one stream a task, one small header, one dispatch.

A stream is named after its task and requires nothing. Its bytes, little-endian::

    u8   tag            bits 0-1: method; bit 2: a mask follows; the other bits are 0
    u16  height, width
    ...                 the method's own header
    ...                 an image file of the format (JPEG, AVIF ...)

Methods: EXACT, the native array losslessly; LOSSY, see `dsc._codecs.maps.lossy`; LEVELS, depth
with a bounded relative error, see `dsc._codecs.maps.levels`. The size stands in our own header,
so that it is checked against `max_pixels` first; the image file's size is then compared with it
before a pixel is decoded.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from dsc._codecs.base import Array, Sample, check_array
from dsc._codecs.canvas import Place, PlacedCodec
from dsc._codecs.maps.levels import Levels
from dsc._codecs.maps.lossy import (
    LossyHeader,
    from_image,
    image_dtype,
    native_table,
    to_image,
)
from dsc._schemas import Effort, Quality, Stream, Task, TaskKind
from dsc.errors import LIST_DAMAGE, BitstreamError, CodecError, UnknownTaskError

HEADER = struct.Struct("<BHH")
METHOD_BITS, MASK_BIT = 0b011, 0b100
MAX_SIDE = 0xFFFF
LOSSY_ADVICE = "is lossy, and values of this task must come back; use exact or jxl-lossless"


class Method(IntEnum):
    """How a map is coded; the numbers stand in bitstreams."""

    EXACT = 0
    LOSSY = 1
    LEVELS = 2


@dataclass(frozen=True)
class PictureFile:
    """An image file as any browser shows it, taken out of a bitstream that nobody decoded.

    Attributes
    ----------
    media_type
        For example ``image/avif``.
    data
        The whole file.
    height, width
        Pixels, as the bitstream says.
    """

    media_type: str
    data: bytes
    height: int
    width: int


NOT_DAMAGE = (ImportError, KeyError, NameError, MemoryError)  # faults of ours, or of this machine


class TaskCodec(ABC):
    """A codec that codes each task alone, in one stream named after it.

    Parameters
    ----------
    tasks
        The tasks it codes.

    Raises
    ------
    CodecError
        When it cannot code one of them; the message says what can.
    """

    id: ClassVar[str]
    effort_before: ClassVar[Effort | None] = None
    """What archives were written at that name no effort; None where a codec knows of none."""

    effort: Effort = Effort.DEFAULT

    decodes_alone: ClassVar[bool] = True
    """Whether `decode_to` gives each task of a sample what `decode_batch` gives all of them."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        self._task = {task.name: task for task in self.tasks}
        for task in self.tasks:
            reason = self.refusal(task)
            if reason:
                raise CodecError(f"task {task.name}: {self.id} {reason}")

    @abstractmethod
    def refusal(self, task: Task) -> str | None:
        """Say why this codec cannot code a task, and what can; None when it can."""

    @abstractmethod
    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode one array that was checked against its task; anything raised is a refusal."""

    @abstractmethod
    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode what `encode_task` gave; anything raised is damage."""

    def decode_task_to(self, task: Task, data: bytes, max_pixels: int, place: Place) -> Array:
        """Decode the same to where it is wanted."""
        return place.put(task, self.decode_task(task, data, max_pixels))

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks."""
        return cls(tasks)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes; there are no weights."""
        return cls(cls.tasks_of(config)).at_effort(cls.effort_of(config))

    @classmethod
    def tasks_of(cls, config: Mapping[str, Any]) -> list[Task]:
        """Read what `config` gave.

        Raises
        ------
        CodecError
            When it is no configuration of this codec.
        """
        try:
            return [Task.model_validate(task) for task in config["tasks"]]
        except (KeyError, TypeError, ValidationError) as error:
            raise CodecError(f"{cls.id}: not a configuration of this codec: {error}") from None

    @classmethod
    def effort_of(cls, config: Mapping[str, Any]) -> Effort:
        """Read the effort from what `config` gave.

        Raises
        ------
        CodecError
            When there is no such effort.
        """
        said = config.get("effort", cls.effort_before or Effort.DEFAULT)
        try:
            return Effort(said)
        except ValueError:
            raise CodecError(f"{cls.id}: effort {said!r} is none of {', '.join(Effort)}") from None

    def at_effort(self, effort: Effort) -> Self:
        """Return this codec at an effort."""
        if self.effort_before is None or effort is self.effort:
            return self
        other = copy(self)
        other._take_effort(effort)
        return other

    def _take_effort(self, effort: Effort) -> None:
        self.effort = effort

    def config(self) -> dict[str, Any]:
        """Return the tasks, and the effort where it is not what goes without saying."""
        known: dict[str, Any] = {"tasks": [task.model_dump(mode="json") for task in self.tasks]}
        if self.effort_before in (None, self.effort):
            return known
        return {**known, "effort": str(self.effort)}

    def weights(self) -> bytes | None:
        """Return None: nothing is trained."""
        return None

    def streams(self) -> tuple[Stream, ...]:
        """Return one stream a task; none requires another."""
        return tuple(Stream(name=task.name, carries=(task.name,)) for task in self.tasks)

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples one by one."""
        return [
            {
                task.name: self._encode(task, sample[task.name], quality.of(task.name))
                for task in self.tasks
                if task.name in sample
            }
            for sample in samples
        ]

    def _encode(self, task: Task, array: Array, quality: int) -> bytes:
        array = check_array(task, array)
        try:
            return self.encode_task(task, array, quality)
        except Exception as error:  # imagecodecs has an exception class of its own for each format
            raise CodecError(
                f"task {task.name}: {self.id} cannot code shape {array.shape}: {error}"
            ) from error

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks` of samples one by one.

        Raises
        ------
        UnknownTaskError
            When the codec does not code one of the tasks.
        BitstreamError
            When a bitstream is damaged.
        """
        check_known(self.id, self._task, tasks)
        return decode_each(self, streams, tasks, max_pixels)

    def has(self, name: str, streams: Mapping[str, bytes]) -> bool:
        """Tell whether a sample has a task."""
        return streams.get(name) is not None

    def decode_sample(
        self, name: str, streams: Mapping[str, bytes], max_pixels: int, place: Place
    ) -> Array:
        """Decode one task of one sample; see `decode_to`."""
        return self.decode_to(name, bytes(streams[name]), max_pixels, place)

    def decode_to(self, name: str, data: bytes, max_pixels: int, place: Place) -> Array:
        """Decode one task of one sample to where it is wanted, from any thread.

        Raises
        ------
        BitstreamError
            When the bitstream is damaged.
        """
        task = self._task[name]
        try:
            return self.decode_task_to(task, data, max_pixels, place)
        except NOT_DAMAGE:
            raise
        except Exception as error:
            raise self._damaged(task, data, error) from error

    def _damaged(self, task: Task, data: bytes, error: Exception) -> BitstreamError:
        return BitstreamError(
            f"stream {task.name}: {len(data)} bytes are no {self.id} bitstream of this task: "
            f"{error}; {LIST_DAMAGE}"
        )


def check_known(codec_id: str, known: Iterable[str], tasks: Iterable[str]) -> None:
    """Raise `UnknownTaskError` where a codec does not code a task."""
    for task in tasks:
        if task not in known:
            names = ", ".join(known)
            raise UnknownTaskError(f"{codec_id} does not code {task!r} here, only {names}")


def decode_each(
    codec: PlacedCodec,
    streams: Sequence[Mapping[str, bytes]],
    tasks: Sequence[str],
    max_pixels: int,
) -> list[dict[str, Array]]:
    """Decode tasks of samples one by one, those that each has."""
    return [
        {
            task: codec.decode_sample(task, given, max_pixels, Place())
            for task in tasks
            if codec.has(task, given)
        }
        for given in streams
    ]


class ImageCodec(TaskCodec):
    """A codec of maps over one image format; a subclass gives the format."""

    effort_before: ClassVar[Effort | None] = Effort.DEFAULT

    deep_bits: ClassVar[int] = 8
    """Bits a sample of the lossy images that hold depth or 16-bit intensities."""

    holds_exactly: ClassVar[bool] = True
    """Whether `write_image` without a quality loses nothing, so that exact tasks can be coded."""

    most_side: ClassVar[int] = MAX_SIDE
    """The longest side of an image that every decoder of the format reads."""

    media_type: ClassVar[str | None] = None
    """Of the file that `whole_file` gives; None where browsers do not show what is decoded."""

    @abstractmethod
    def method(self, task: Task, quality: int) -> Method:
        """Choose how a task is coded at this quality."""

    @abstractmethod
    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write an image file.

        Parameters
        ----------
        image
            (H, W) or (H, W, 3), uint8 or uint16 (of which `deep_bits` are used when it is lossy).
        quality
            1 to 100; None is lossless.
        """

    @abstractmethod
    def read_image(self, data: bytes, out: Array) -> Array:
        """Read an image file of the shape and dtype of `out`, into it or into an array like it.

        A file of another size must raise before it is decoded, so that no more is allocated than
        was asked for.
        """

    def whole_file(self, data: bytes, shape: tuple[int, ...]) -> bytes:
        """Return the file of `media_type` of what `write_image` gave for an image of a shape."""
        return data

    def picture_file(self, name: str, data: bytes, max_pixels: int) -> PictureFile | None:
        """Take the image file out of a bitstream, where a browser then shows the task's own values.

        Only 8-bit intensities and normals are shown as they stand; where pixels are invalid, what
        is in the file there means nothing.

        Returns
        -------
        PictureFile or None
            None where the task has to be decoded to be shown.

        Raises
        ------
        BitstreamError
            When the bitstream's head is damaged.
        """
        task = self._task[name]
        as_it_is = task.kind in (TaskKind.IMAGE, TaskKind.NORMAL) and task.dtype == "uint8"
        if self.media_type is None or not as_it_is:
            return None
        try:
            tag, height, width, body = self.read_header(data)
            if not 0 < height * width <= max_pixels:
                raise ValueError(f"{height}×{width} pixels, at most {max_pixels} are expected here")
            if tag not in (Method.EXACT, Method.LOSSY):
                return None
            shape = (height, width) if task.channels == 1 else (height, width, task.channels)
            return PictureFile(self.media_type, self.whole_file(body, shape), height, width)
        except (ValueError, IndexError, struct.error) as error:
            raise self._damaged(task, data, error) from error

    def refusal(self, task: Task) -> str | None:
        """Say why an image cannot hold a task."""
        if not task.is_map:
            return f"codes maps, not {task.kind.value} tasks; use vector"
        if task.is_exact and not self.holds_exactly:
            if task.kind is TaskKind.LABEL:
                return "is lossy and labels are lossless, always; use jxl, webp or png"
            return LOSSY_ADVICE
        if task.dtype not in ("uint8", "uint16"):
            return f"codes uint8 and uint16, not {task.dtype}; use exact, or convert the source"
        if task.channels not in (1, 3) or (task.kind is TaskKind.DEPTH and task.channels != 1):
            return f"cannot code a {task.kind.value} task of {task.channels} channels; use exact"
        return None

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode a map: header, the method's own header, image file."""
        if max(array.shape[:2]) > self.most_side:
            raise ValueError(f"a side is longer than {self.most_side}")
        method, tag, body = self.method(task, quality), 0, b""
        if task.is_exact:
            method = Method.EXACT
        if method is Method.LEVELS:
            levels = Levels.at_quality(task, quality)
            if levels.worthwhile(array):
                body = levels.pack() + self.write_image(levels.encode(array), task, None)
            else:
                method = Method.EXACT
        elif method is Method.LOSSY:
            header, image = to_image(task, array, self.deep_bits)
            tag = 0 if header.mask is None else MASK_BIT
            coded = b"" if image is None else self.write_image(image, task, quality)
            body = header.pack(self.effort) + coded
        if method is Method.EXACT:
            body = self.write_image(array, task, None)
        return HEADER.pack(tag | method, *array.shape[:2]) + body

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode a map, the declared size checked first."""
        return self.decode_task_to(task, data, max_pixels, Place())

    def decode_task_to(self, task: Task, data: bytes, max_pixels: int, place: Place) -> Array:
        """Decode a map to where it is wanted, the declared size checked first."""
        tag, height, width, body = self.read_header(data)
        if not 0 < height * width <= max_pixels:
            raise ValueError(f"{height}×{width} pixels, at most {max_pixels} are expected here")
        shape = (height, width) if task.channels == 1 else (height, width, task.channels)
        method = Method(tag & METHOD_BITS)
        if tag & ~(METHOD_BITS | (MASK_BIT if method is Method.LOSSY else 0)):
            raise ValueError(f"unknown tag {tag:#04x}")
        if method is Method.EXACT:
            return self._read_to(body, task, shape, np.dtype(task.dtype), place)
        if method is Method.LEVELS:
            levels, start = Levels.unpack(task, body)
            return place.put(task, levels.decode(self._read(body[start:], shape, levels.dtype)))
        header, start = LossyHeader.unpack(task, body, (height, width), bool(tag & MASK_BIT))
        if header.has_image:
            return self._read_lossy(task, header, body[start:], shape, place)
        if len(body) > start:
            raise ValueError("bytes follow where nothing is valid")
        return place.put(task, np.full(shape, task.invalid[0], task.dtype))

    def read_header(self, data: bytes) -> tuple[int, int, int, bytes]:
        """Return tag, height and width, and the bytes that follow them."""
        return *HEADER.unpack_from(data), data[HEADER.size :]

    def _read_lossy(
        self, task: Task, header: LossyHeader, data: bytes, shape: tuple[int, ...], place: Place
    ) -> Array:
        dtype = image_dtype(task, self.deep_bits)
        if len(shape) == 2:
            table = native_table(task, header, self.deep_bits)
            table = table if place.native else task.to_physical(table)
            out = place.empty(shape, table.dtype)
            self.look_up_image(data, dtype, table, header.mask, out)
            return out
        if header.span is None and not task.invalid:
            return self._read_to(data, task, shape, dtype, place)
        return place.put(
            task, from_image(task, header, self._read(data, shape, dtype), self.deep_bits)
        )

    def look_up_image(
        self,
        data: bytes,
        dtype: np.dtype[Any],
        table: Array,
        mask: NDArray[np.bool_] | None,
        out: Array,
    ) -> None:
        """Read a gray image file of a dtype, and write what its values stand for to `out`.

        Parameters
        ----------
        table
            What each value becomes, and at its end what is written where `mask` is set.
        """
        image = self._read(data, out.shape, dtype)
        if int(image.max()) >= len(table) - 1:
            raise ValueError(f"value {image.max()} of {len(table) - 1}")
        np.take(table, image, out=out, mode="clip")  # other modes copy `out`
        if mask is not None:
            out[mask] = table[-1]

    def _read(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        return self._checked(self.read_image(data, np.empty(shape, dtype)), shape, dtype)

    def _read_to(
        self,
        data: bytes,
        task: Task,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        place: Place,
    ) -> Array:
        if not place.takes(task):
            return place.put(task, self._read(data, shape, dtype))
        out = place.empty(shape, dtype)
        image = self._checked(self.read_image(data, out), shape, dtype)
        if image is out or place.room is None:
            return image
        out[...] = image
        return out

    def _checked(self, image: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        if image.shape != shape or image.dtype != dtype:
            raise ValueError(
                f"the image is {image.dtype} {image.shape}, the header says {dtype} {shape}"
            )
        return image


class ModelTaskCodec(TaskCodec):
    """A `TaskCodec` that needs a model file, to encode and to decode.

    Parameters
    ----------
    tasks
        The tasks it codes.
    weights
        The model file.
    """

    def __init__(self, tasks: Sequence[Task], weights: bytes) -> None:
        super().__init__(tasks)
        self._weights = weights

    @staticmethod
    @abstractmethod
    def shipped() -> bytes:
        """Return the model file that comes with dsc."""

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks with the model that comes with dsc."""
        return cls(tasks, cls.shipped())

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
        return cls(cls.tasks_of(config), weights).at_effort(cls.effort_of(config))

    def weights(self) -> bytes:
        """Return the model file; all of it is the decoder's."""
        return self._weights
