"""The codec `surfaces`: depth and normals as planes and curves, within labels and their edges.

Rooms are made of planes, whose edges depth, normals and labels share. Label maps are coded by
`label-context`, each by itself. Within them, the stream ``geometry`` has a partition into surfaces
of depth; the depth's own stream has a plane for each, and the normals' stream a finer partition
with a direction, or a curve, for each class. So labels cost what they cost alone, depth requires
what parts it, and normals all of it. Quality is that of `av1`: surfaces are taken where their
errors, mean and root mean square, are no larger than those of its picture.

Each sample falls back task by task: to `av1` for depth, and to `normal-palette` for normals, in a
stream that is then read without the others. The bytes, little-endian::

    TASK of labels: what `label-context` writes
    geometry: nothing, where no task needs it; else
        u8   bit i: the i-th label map takes part; bit 7: children row by row; bit 6, where there
             are six label maps at most: within, row by row
        u16  height, width
        ...  words of the entropy coder: children within labels (`dsc._codecs.surfaces.partition`);
             none where there is one class within each
    TASK of depth or normals:
        u8   form: 0, own codec; 1, surfaces of the partition of ``geometry``; of normals also, of
             a finer one, 2, 3 where its children come row by row, and 4 where it comes within
        ...  the own codec's stream, or words (`dsc._codecs.surfaces.depth`, `.normals`)

The three ways are those of `dsc._codecs.surfaces.children`; the last two are followed by a byte
`END` in ``geometry``. What comes within has levels: the partition of labels and, where ``geometry``
has words, its own. The first map of each kind takes part, and up to seven label maps.
"""

import struct
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np

from dsc._codecs.base import Array, Sample, check_array
from dsc._codecs.classical.av1 import Av1Codec
from dsc._codecs.label.codec import LabelContextCodec
from dsc._codecs.label.normals import NormalPaletteCodec
from dsc._codecs.label.scan import LabelScanCodec
from dsc._codecs.maps.base import MAX_SIDE, NOT_DAMAGE, TaskCodec
from dsc._codecs.maps.lossy import LossyHeader, from_image
from dsc._codecs.surfaces.children import Way, read_finer, ways_with
from dsc._codecs.surfaces.depth import Planes
from dsc._codecs.surfaces.encoding import (
    END,
    END_SIZE,
    FLAGS,
    FORMS,
    OWN,
    WHOLE,
    Map,
    SurfaceEncoder,
    SurfaceStreams,
)
from dsc._codecs.surfaces.normals import Directions
from dsc._codecs.surfaces.partition import Partition
from dsc._coding.context.weights import cached_model, shipped_file
from dsc._coding.entropy import SymbolDecoder
from dsc._schemas import Effort, Quality, Stream, Task, TaskKind
from dsc.errors import LIST_DAMAGE, BitstreamError, CodecError, UnknownTaskError

GEOMETRY = "geometry"
MOST_LABELS = 7
HEADER = struct.Struct("<BHH")
WAYS = {form: way for way, form in FORMS.items() if way is not None}


class SurfacesCodec:
    """Quality is that of `av1`; labels are lossless.

    Parameters
    ----------
    tasks
        A depth task, a task of normals and label maps: at least two of these.
    weights
        A model file of `label-context`.
    """

    id: ClassVar[str] = "surfaces"
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT

    def __init__(
        self, tasks: Sequence[Task], weights: bytes | None, effort: Effort = Effort.DEFAULT
    ) -> None:
        self.tasks, self._weights, self.effort = tuple(tasks), weights, effort
        if self.supported(self.tasks) != self.tasks:
            listed = ", ".join(f"{task.name} ({task.kind.value})" for task in self.tasks)
            raise CodecError(
                f"{self.id} codes two or more maps together: one of depth, one of 8-bit normals, "
                f"up to {MOST_LABELS} of labels, and not these alone; not {listed}. Code others "
                "apart, e.g. --codec surfaces,TASK=av1"
            )
        self._own: dict[str, TaskCodec] = {
            task.name: _own_codec(task, weights).at_effort(effort) for task in self.tasks
        }
        self._model = None if weights is None else cached_model(weights)
        self._labels = [task for task in self.tasks if task.kind is TaskKind.LABEL]
        self._depth = next((t for t in self.tasks if t.kind is TaskKind.DEPTH), None)
        self._normal = next((t for t in self.tasks if t.kind is TaskKind.NORMAL), None)

    @staticmethod
    def supported(tasks: Sequence[Task]) -> tuple[Task, ...]:
        """Choose the first depth, the first normals and the first label maps; none alone."""
        room = {TaskKind.DEPTH: 1, TaskKind.NORMAL: 1, TaskKind.LABEL: MOST_LABELS}
        chosen = []
        for task in tasks:
            if room.get(task.kind, 0) and task.name != GEOMETRY and _takes(task):
                room[task.kind] -= 1
                chosen.append(task)
        geometric = any(task.kind is not TaskKind.LABEL for task in chosen)
        return tuple(chosen) if geometric and len(chosen) > 1 else ()

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks with the model that comes with dsc."""
        return cls(tasks, shipped_file())

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes."""
        if weights is None:
            raise CodecError("surfaces needs its weights file, the archive names none")
        return cls._of(config, weights)

    @classmethod
    def _of(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        said = config.get("effort", Effort.DEFAULT)
        if said not in tuple(Effort):
            raise CodecError(f"{cls.id}: effort {said!r} is none of {', '.join(Effort)}")
        return cls(LabelContextCodec.tasks_of(config), weights, Effort(said))

    def at_effort(self, effort: Effort) -> Self:
        """Return this codec at an effort."""
        return self if effort is self.effort else type(self)(self.tasks, self._weights, effort)

    def config(self) -> dict[str, Any]:
        """Return the tasks, and the effort where it is not the usual one."""
        known: dict[str, Any] = {"tasks": [task.model_dump(mode="json") for task in self.tasks]}
        return known if self.effort is Effort.DEFAULT else {**known, "effort": str(self.effort)}

    def weights(self) -> bytes | None:
        """Return the model file of labels, where there is one."""
        return self._weights

    def streams(self) -> tuple[Stream, ...]:
        """Return labels, ``geometry``, and what requires all of them."""
        labels = tuple(task.name for task in self._labels)
        surfaces = [task.name for task in self.tasks if task.kind is not TaskKind.LABEL]
        return (
            *(Stream(name=name, carries=(name,)) for name in labels),
            Stream(name=GEOMETRY, requires=labels),
            *(
                Stream(name=name, carries=(name,), requires=(*labels, GEOMETRY))
                for name in surfaces
            ),
        )

    # ---- encoding

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples one by one."""
        return [self._encode(sample, quality) for sample in samples]

    def _encode(self, sample: Sample, quality: Quality) -> dict[str, bytes]:
        arrays = {
            task.name: check_array(task, sample[task.name])
            for task in self.tasks
            if task.name in sample
        }
        coded = {
            task.name: self._own[task.name].encode_batch([arrays], quality)[0][task.name]
            for task in self._labels
            if task.name in arrays
        }
        depth, normal = (self._map(task, arrays, quality) for task in (self._depth, self._normal))
        found = self._surfaces(arrays, depth, normal)
        for task, given, surfaces in (
            (self._depth, depth, found.depth), (self._normal, normal, found.normal),
        ):  # fmt: skip
            if task is not None and given is not None:
                coded[task.name] = bytes([OWN]) + given.own if surfaces is None else surfaces
        return {**coded, GEOMETRY: found.geometry} if coded else {}

    def _map(self, task: Task | None, arrays: Sample, quality: Quality) -> Map | None:
        """Encode a task by its own codec."""
        if task is None or task.name not in arrays:
            return None
        array, codec = arrays[task.name], self._own[task.name]
        own, picture = _encode_own(codec, task, array, quality)
        reader = codec.pictures if isinstance(codec, NormalPaletteCodec) else codec
        decoded = reader.decode_batch([{task.name: picture}], [task.name], array.size)[0]
        return Map(array, _invalid(task, array), own, decoded[task.name], partial(_native, task))

    def _surfaces(self, arrays: Sample, depth: Map | None, normal: Map | None) -> SurfaceStreams:
        sizes = {one.invalid.shape for one in (depth, normal) if one is not None}
        if len(sizes) != 1:
            return SurfaceStreams()
        (size,) = sizes
        used, maps = 0, []
        for number, task in enumerate(self._labels):
            if task.name in arrays and arrays[task.name].shape[:2] == size:
                used |= 1 << number
                maps.append(arrays[task.name])
        try:
            labels = Partition.of(maps, size)
        except ValueError:
            return SurfaceStreams()
        header, ways = HEADER.pack(used, *size), self._ways()
        encoder = SurfaceEncoder(self._model, self.effort, labels, depth, normal, header, ways)
        return encoder.encode()

    def _ways(self) -> tuple[Way, ...]:
        """Return how the partition of ``geometry`` may come: one flag is that of the last label."""
        count = len(self._labels)
        return tuple(way for way in ways_with(self._model) if not FLAGS[way] or FLAGS[way] >> count)

    # ---- decoding

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks` of samples one by one."""
        for name in tasks:
            if name not in self._own:
                known = ", ".join(self._own)
                raise UnknownTaskError(f"{self.id} does not code {name!r} here, only {known}")
        return [self._decode(given, tasks, max_pixels) for given in streams]

    def _decode(
        self, streams: Mapping[str, bytes], tasks: Sequence[str], max_pixels: int
    ) -> dict[str, Array]:
        reader = _Reader(self, streams, max_pixels)
        return {name: reader.read(name) for name in tasks if streams.get(name) is not None}


class SurfacesScanCodec(SurfacesCodec):
    """`surfaces` without a file of weights: for sets that are too small to pay for it.

    Labels are those of `label-scan`, normals that are no planes those of `av1`, and no partition
    comes by the network.
    """

    id: ClassVar[str] = "surfaces-scan"

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks."""
        return cls(tasks, None)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes; there are no weights."""
        return cls._of(config, None)


class _Reader:
    """Decodes tasks of one sample; what several of them need, once."""

    def __init__(self, codec: SurfacesCodec, streams: Mapping[str, bytes], max_pixels: int) -> None:
        self._codec, self._streams, self._max_pixels = codec, streams, max_pixels
        self._found: dict[str, Array] = {}
        self._geometry: Partition | None = None
        self._levels: list[Partition] = []

    def read(self, name: str) -> Array:
        """Decode a task.

        Raises
        ------
        BitstreamError
            When a stream is damaged.
        """
        codec, data = self._codec, bytes(self._streams[name])
        task = next(task for task in codec.tasks if task.name == name)
        if task.kind is TaskKind.LABEL:
            if name not in self._found:
                self._found[name] = self._read_own(name, data)
            return self._found[name]
        if data[:1] == bytes([OWN]):
            return self._read_own(name, data[1:])
        partition = self._partition()
        try:
            return self._read_surfaces(task, data, partition)
        except NOT_DAMAGE:
            raise
        except Exception as error:
            raise self._damaged(name, data, error) from error

    def _read_own(self, name: str, data: bytes) -> Array:
        own = self._codec._own[name]
        return own.decode_batch([{name: data}], [name], self._max_pixels)[0][name]

    def _read_surfaces(self, task: Task, data: bytes, partition: Partition) -> Array:
        form, words = data[0], data[1:]
        if form != WHOLE and (task.kind is TaskKind.DEPTH or form not in WAYS):
            raise ValueError(f"unknown form {form}")
        if not words:  # the coder would give zeros for ever
            raise ValueError("there are no words")
        decoder = SymbolDecoder(words)
        if form != WHOLE:
            partition = read_finer(decoder, self._codec._model, self._levels, WAYS[form])
        kind = Planes if task.kind is TaskKind.DEPTH else Directions
        found = kind.get(decoder, partition.count)
        decoder.check_end()
        if isinstance(found, Planes):
            return _native(
                task,
                found.depth(partition, int(np.iinfo(task.dtype).max)),
                found.nothing(partition),
            )
        return _native(task, found.picture(partition), found.nothing(partition))

    def _partition(self) -> Partition:
        if self._geometry is None:
            data = self._streams.get(GEOMETRY)
            if data is None:
                raise BitstreamError(
                    f"stream {GEOMETRY} is missing, which surfaces are read by; {LIST_DAMAGE}"
                )
            try:
                self._geometry = self._read_geometry(bytes(data))
            except (*NOT_DAMAGE, BitstreamError):
                raise
            except Exception as error:
                raise self._damaged(GEOMETRY, data, error) from error
        return self._geometry

    def _read_geometry(self, data: bytes) -> Partition:
        first, height, width = HEADER.unpack_from(data)
        way = next(
            (one for one in reversed(self._codec._ways()) if first & FLAGS[one]), Way.NETWORK
        )
        used = first & ~FLAGS[way]
        if not 0 < height * width <= self._max_pixels:
            raise ValueError(
                f"{height}×{width} pixels, at most {self._max_pixels} are expected here"
            )
        codec, maps = self._codec, []
        if used >> len(codec._labels):
            raise ValueError(f"label maps {used:#04x} of {len(codec._labels)}")
        for number, task in enumerate(codec._labels):
            if used >> number & 1:
                if self._streams.get(task.name) is None:
                    raise ValueError(f"stream {task.name} is missing")
                maps.append(self.read(task.name))
        if any(one.shape[:2] != (height, width) for one in maps):
            raise ValueError(f"labels are not of {height}×{width} pixels")
        labels, words = Partition.of(maps, (height, width)), data[HEADER.size :]
        self._levels = [labels]
        if not words:
            return labels
        decoder = SymbolDecoder(words)
        finer = read_finer(decoder, codec._model, [labels], way)
        self._levels.append(finer)
        if way is not Way.NETWORK and decoder.get_uniform(1, END_SIZE)[0] != END:
            raise ValueError("after the children comes no mark of the end")
        decoder.check_end()
        return finer

    @staticmethod
    def _damaged(name: str, data: bytes, error: Exception) -> BitstreamError:
        return BitstreamError(
            f"stream {name}: {len(data)} bytes are no surfaces bitstream of this task: {error}; "
            f"{LIST_DAMAGE}"
        )


def _own_codec(task: Task, weights: bytes | None) -> TaskCodec:
    if weights is None:
        return (LabelScanCodec if task.kind is TaskKind.LABEL else Av1Codec)([task])
    if task.kind is TaskKind.LABEL:
        return LabelContextCodec([task], weights)
    if task.kind is TaskKind.NORMAL:
        return NormalPaletteCodec([task], weights)
    return Av1Codec([task])


def _takes(task: Task) -> bool:
    if task.kind is TaskKind.LABEL:
        return LabelContextCodec.refusal_of(task) is None
    try:
        kind = NormalPaletteCodec if task.kind is TaskKind.NORMAL else Av1Codec
        kind.for_tasks([task])
    except CodecError:
        return False
    return True


def _encode_own(
    codec: TaskCodec, task: Task, array: Array, quality: Quality
) -> tuple[bytes, bytes]:
    """Return a task's stream by its own codec, and that of its picture."""
    if isinstance(codec, NormalPaletteCodec):
        if max(array.shape[:2]) > MAX_SIDE:
            raise CodecError(f"task {task.name}: a side is longer than {MAX_SIDE}")
        return codec.encode_beside(task, array, quality.of(task.name))
    own = codec.encode_batch([{task.name: array}], quality)[0][task.name]
    return own, own


def _invalid(task: Task, array: Array) -> Any:
    return task.invalid_mask(array) if task.invalid else np.zeros(array.shape[:2], bool)


def _native(task: Task, made: Array, nothing: Any) -> Array:
    """Return the native array of a map's values, and where it has none."""
    if nothing is not None and not task.invalid:
        raise ValueError("nothing is somewhere, but the task has no invalid value")
    return from_image(task, LossyHeader(nothing, None), made.astype(task.dtype, copy=False), 8)
