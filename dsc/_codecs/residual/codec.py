"""The codec `residual`: another codec's map, and a second stream that keeps every pixel in a bound.

For each bounded task there is a stream ``<task>.residual`` (`dsc._codecs.residual.map`), which
carries the task and requires the streams of the codec below that carry it: a reader of the task
takes both. Over a codec of groups it is of one sample as ever: it corrects the decoded frame; but
there is one for each layer, ``<task>.residual.t0`` and so on, which requires that layer and those
before, and has the residuals of the samples that lie in it; over one that writes scales of every
frame there is one, as ever. A task that requires the bounded one,
in a chain, sees it as the codec below decodes it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Self

from dsc._codecs.base import (
    Array,
    Codec,
    Decoder,
    GroupCodec,
    Sample,
    at_effort,
    decoder_from,
    group_size_of,
)
from dsc._codecs.registry import codec_from_config
from dsc._codecs.residual.bound import Steps, size_of
from dsc._codecs.residual.map import decode_residual, encode_residual, steps_of
from dsc._schemas import Bound, BoundKind, Effort, Quality, Stream, Task, TaskKind
from dsc._schemas.group import BESIDE, GROUPED, Lane, link_all
from dsc._schemas.levels import PREFIXES
from dsc.errors import LIST_DAMAGE, BitstreamError, CodecError

BOUNDABLE = (TaskKind.IMAGE, TaskKind.DEPTH, TaskKind.NORMAL)
OF_INTEGERS = ("normal-palette",)  # codecs whose weights are of a network of integers


class ResidualCodec:
    """Another codec, and a second stream that keeps every valid pixel within a bound.

    Parameters
    ----------
    base
        The codec below.
    bounded
        Names of its tasks that are bounded; `Quality.max_error` says by how much.

    Raises
    ------
    CodecError
        When a task cannot be bounded.
    """

    id: ClassVar[str] = "residual"

    def __init__(self, base: Codec, bounded: Sequence[str]) -> None:
        self.base, self.bounded, self.tasks = base, tuple(bounded), base.tasks
        self._task = {task.name: task for task in base.tasks}
        if not self.bounded:
            raise CodecError("residual: no task is bounded")
        for name in self.bounded:
            if name not in self._task:
                raise CodecError(f"task {name}: {base.id} does not code it here")
            _check_boundable(self._task[name], base)
        self._lanes = {name: self._lane(name) for name in self.bounded}

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Refuse: which codec is below, and what is bounded, a list of tasks does not say."""
        raise CodecError(
            "residual is added to another codec by --max-error, for example "
            "--max-error depth=1%; name that other codec instead"
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes."""
        try:
            base, bounded = config["base"], config["bounded"]
            made = codec_from_config(base["id"], base["config"], weights)
        except (KeyError, TypeError) as error:
            raise CodecError(f"residual: not a configuration of this codec: {error}") from None
        return cls(made, bounded)

    def config(self) -> dict[str, Any]:
        """Return the codec below and the bounded tasks; the bounds stand in the bitstreams."""
        below = self.base.config()
        base = {"id": self.base.id, "config": below}
        found = {"base": base, "bounded": list(self.bounded)}
        if GROUPED not in below:
            return found
        if below.get(PREFIXES):
            return {**found, GROUPED: below[GROUPED], PREFIXES: True}
        layers = [[stream.name for stream in self._own_streams(name)] for name in self.bounded]
        return {**found, GROUPED: below[GROUPED], BESIDE: layers}

    @property
    def group_size(self) -> int:
        """How many samples the codec below takes together."""
        return group_size_of(self.base)

    def at_effort(self, effort: Effort) -> Self:
        """Return the same over the codec below at an effort."""
        return type(self)(at_effort(self.base, effort), self.bounded)

    def weights(self) -> bytes | None:
        """Return the weights of the codec below."""
        return self.base.weights()

    def streams(self) -> tuple[Stream, ...]:
        """Return the streams of the codec below, then one for each bounded task, or its layers."""
        own = (stream for name in self.bounded for stream in self._own_streams(name))
        return (*self.base.streams(), *own)

    def _own_streams(self, task: str) -> list[Stream]:
        below = tuple(stream.name for stream in self.base.streams() if task in stream.carries)
        lane = self._lanes[task]
        if not lane:
            return [Stream(name=residual_stream(task), carries=(task,), requires=below)]
        return [
            Stream(
                name=f"{residual_stream(task)}.t{layer}",
                carries=(task,),
                requires=tuple(one for one in below if one not in lane[layer + 1 :]),
            )
            for layer in range(len(lane))
        ]

    def _lane(self, task: str) -> Lane:
        """Return the layers of the codec below that have a task's frames, if it has some."""
        below = self.base.config()
        lanes = () if below.get(PREFIXES) else below.get(GROUPED, ())
        carrying = {stream.name for stream in self.base.streams() if task in stream.carries}
        return next((tuple(lane) for lane in lanes if carrying.issuperset(lane)), ())

    def _stream_of(self, task: str, streams: Mapping[str, bytes]) -> str:
        """Name the stream that has the residual of a sample whose payloads these are."""
        lane = self._lanes[task]
        layer = next((at for at, name in enumerate(lane) if streams.get(name) is not None), None)
        return residual_stream(task) if layer is None else f"{residual_stream(task)}.t{layer}"

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode by the codec below, decode that, and add what it lacks.

        Raises
        ------
        CodecError
            When an array does not fit its task, or `quality` has no bound for one.
        """
        self._check_bounds(quality)
        coded = self.base.encode_batch(samples, quality)
        for sample, streams in zip(samples, coded, strict=True):
            self._add_residuals([sample], [streams], [streams], quality)
        return coded

    def encode_group(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples of a recording, together where the codec below does so.

        Raises
        ------
        CodecError
            When an array does not fit its task, or `quality` has no bound for one.
        """
        if not isinstance(self.base, GroupCodec):
            return self.encode_batch(samples, quality)
        self._check_bounds(quality)
        coded = self.base.encode_group(samples, quality)
        linked = link_all(coded, self.base.config().get(GROUPED, ()))
        self._add_residuals(samples, coded, linked, quality)
        return coded

    def _check_bounds(self, quality: Quality) -> None:
        for name in self.bounded:
            if name not in quality.max_error:
                raise CodecError(f"task {name}: no bound is given; use --max-error {name}=...")

    def _add_residuals(
        self,
        samples: Sequence[Sample],
        coded: Sequence[dict[str, bytes]],
        linked: Sequence[dict[str, bytes]],
        quality: Quality,
    ) -> None:
        """Decode what the codec below wrote of samples that it took together, and add the rest."""
        present = [name for name in self.bounded if any(name in sample for sample in samples)]
        if not present:
            return
        own = [sample[name] for sample in samples for name in present if name in sample]
        limit = max(array.shape[0] * array.shape[1] for array in own)
        decoded = self.base.decode_batch(linked, present, limit)
        for sample, streams, arrays in zip(samples, coded, decoded, strict=True):
            for name in (name for name in present if name in sample):
                steps = self._steps(self._task[name], quality.max_error[name])
                streams[self._stream_of(name, streams)] = encode_residual(
                    self._task[name], steps, sample[name], arrays[name]
                )

    def _steps(self, task: Task, bound: Bound) -> Steps:
        relative = bound.kind is BoundKind.RELATIVE
        margin = 0 if decodes_exactly(self.base, task) else 1
        return steps_of(task, relative, size_of(task, bound), margin)

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks` by the codec below, and bring the bounded ones within their bounds."""
        return self._corrected(self.base, None, streams, tasks, max_pixels)

    def from_streams(self, names: Collection[str]) -> Decoder:
        """Return what decodes without some streams: a task without its residual has no bound."""
        return _Prefix(self, decoder_from(self.base, names), names)

    def _corrected(
        self,
        base: Decoder,
        there: Collection[str] | None,
        streams: Sequence[Mapping[str, bytes]],
        tasks: Sequence[str],
        max_pixels: int,
    ) -> list[dict[str, Array]]:
        """Decode by `base`, then correct by the streams that are `there`; None for all."""
        decoded = base.decode_batch(streams, tasks, max_pixels)
        for given, arrays in zip(streams, decoded, strict=True):
            for name in arrays.keys() & set(self.bounded):
                stream = self._stream_of(name, given)
                if there is None or stream in there:
                    arrays[name] = self._within(name, stream, given.get(stream), arrays[name])
        return decoded

    def _within(self, task: str, stream: str, data: bytes | None, decoded: Array) -> Array:
        """Bring a decoded map within its bound."""
        if data is None:
            raise BitstreamError(f"stream {stream} is required and not here")
        try:
            return decode_residual(self._task[task], bytes(data), decoded)
        except Exception as error:  # imagecodecs has an exception class for each format
            raise BitstreamError(
                f"stream {stream}: {len(data)} bytes are no residual of this task: {error}; "
                f"{LIST_DAMAGE}"
            ) from error


class _Prefix:
    """Decodes what a `ResidualCodec` wrote, without some of its streams."""

    def __init__(self, codec: ResidualCodec, base: Decoder, there: Collection[str]) -> None:
        self._codec, self._base, self._there = codec, base, frozenset(there)

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode as `Codec.decode_batch` does."""
        codec = self._codec
        return codec._corrected(self._base, self._there, streams, tasks, max_pixels)


def residual_stream(task: str) -> str:
    """Name the residual stream of a task."""
    return f"{task}.residual"


def decodes_exactly(codec: Codec, task: Task) -> bool:
    """Tell whether a codec decodes a task to the same integers on every machine.

    Networks of pixels compute in floating point, and so does JPEG XL where it is lossy: images and
    normals. AVIF, WebP and JPEG decode as their standards say, depth in JPEG XL is lossless levels.
    """
    lossy_jxl = codec.id == "jxl" and task.kind is not TaskKind.DEPTH
    return not (_has_floating_weights(codec) or lossy_jxl)


def _has_floating_weights(codec: Codec) -> bool:
    return codec.weights() is not None and codec.id not in OF_INTEGERS


def _check_boundable(task: Task, base: Codec) -> None:
    if task.is_exact:
        raise CodecError(
            f"task {task.name}: its values come back exactly, so there is no error to bound; "
            "leave it out of --max-error"
        )
    if task.kind not in BOUNDABLE or task.dtype not in ("uint8", "uint16"):
        raise CodecError(
            f"task {task.name}: a bound is for images, depth and normals of 8 or 16 bits, not for "
            f"{task.kind.value} tasks of {task.dtype}"
        )
    if task.kind is not TaskKind.DEPTH and _has_floating_weights(base):
        raise CodecError(
            f"task {task.name}: {base.id} computes pixels in floating point, which differ by "
            "more than a count from machine to machine, so that no bound on them can be kept; "
            f"choose a classical codec for it, for example --codec {task.name}=avif"
        )
