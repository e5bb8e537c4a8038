"""The codec `derived`: a task that follows from others by a rule, for few bytes or none.

Edges and key points are functions of an image, Euclidean depth is one of depth along the axis.
Computed from what the archive decodes of those, they are often nearer to the source than pictures
of their own. The stream carries the task and requires what decoding the rule's inputs takes.
Per sample the encoder keeps what takes the fewest bytes and is no farther from the source than the
picture that the task would have had. A payload is empty where the rule gives the map and a sample
has no parameters of its own, and else::

    u8   form       see `DerivedForm`
    ...             STORED: the stream of the codec below
                    others: u16, little-endian, a parameter of the sample; as many as the rule has
    u32             EXACT and CORRECTED: CRC-32 of the map's values, little-endian, in C order
    ...             DIFFERENCE: see `dsc._codecs.derived.difference`
                    CORRECTED: see `dsc._codecs.derived.corrections`

Where values must come back, what the rule does not give is corrected or stored, and the codec below
is lossless. Rules are functions of integers: the map is the same on every machine.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import ValidationError

from dsc._codecs.base import INPUTS, Array, Codec, EffortCodec, Sample, at_effort, check_array
from dsc._codecs.derived.corrections import apply_corrections, encode_corrections, is_sparse
from dsc._codecs.derived.difference import (
    apply_difference,
    can_have_difference,
    encode_difference,
)
from dsc._codecs.derived.rule import Own
from dsc._codecs.derived.rules import rule_of
from dsc._codecs.derived.ways import FoundRule
from dsc._codecs.maps.base import NOT_DAMAGE
from dsc._codecs.registry import codec_from_config
from dsc._schemas import Effort, Quality, Stream, Task, TaskKind
from dsc.errors import LIST_DAMAGE, BitstreamError, CodecError

Inputs = Mapping[str, tuple[str, ...]]
"""By name of a task that a rule takes, the streams that decoding it takes."""
EXACTLY = "exact"  # the entry of a configuration that says that all values come back
SLACK = 1.05  # times the error of a picture of its own: 0.4 dB, 6 % of a picture's bytes
FAR = 2.5  # times the error asked for: beyond, a difference takes more bytes than a picture
CRC = struct.Struct("<I")


class DerivedForm(IntEnum):
    """How a map is kept; the numbers stand in bitstreams."""

    DERIVED = 0
    DIFFERENCE = 1
    STORED = 2
    EXACT = 3
    CORRECTED = 4


class DerivedCodec:
    """A task that follows from others.

    Parameters
    ----------
    rule
        How it follows.
    inputs
        See `Inputs`; in the order of the rule.
    tasks
        The rule's inputs.
    base
        The codec of maps that the rule does not give; its one task is the task.
    exact
        Whether every value comes back, which takes a lossless codec below.

    Raises
    ------
    CodecError
        When the rule takes other tasks, or the codec below others than one.
    """

    id: ClassVar[str] = "derived"

    def __init__(
        self,
        rule: FoundRule,
        inputs: Inputs,
        tasks: Sequence[Task],
        base: Codec,
        exact: bool = False,
    ) -> None:
        if len(base.tasks) != 1 or tuple(inputs) != rule.inputs:
            raise CodecError(f"derived: {rule.id} takes {', '.join(rule.inputs)}, one task follows")
        self.rule, self.base, self.tasks = rule, base, tuple(base.tasks)
        self.inputs = tuple(inputs)
        self._streams, self._input_tasks, self._exact = dict(inputs), tuple(tasks), exact

    @property
    def task(self) -> Task:
        """The task."""
        return self.tasks[0]

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Refuse: what follows from what is found on samples."""
        raise CodecError(
            "derived is not named: what follows from other tasks is found by itself, see --derive; "
            "name the codec of maps that do not"
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes."""
        try:
            base = codec_from_config(config["base"]["id"], config["base"]["config"], weights)
            tasks = [Task.model_validate(task) for task in config["input_tasks"]]
            inputs = {str(name): tuple(map(str, own)) for name, own in config[INPUTS].items()}
            rule_id, params = str(config["rule"]), config["params"]
        except (KeyError, TypeError, AttributeError, IndexError, ValidationError) as error:
            raise CodecError(f"derived: not a configuration of this codec: {error}") from None
        rule = rule_of(rule_id, base.tasks[0], tasks, params)
        streams = {name: inputs.get(name, ()) for name in rule.inputs}
        return cls(rule, streams, tasks, base, bool(config.get(EXACTLY)))

    def config(self) -> dict[str, Any]:
        """Return the rule, its parameters and inputs, and the codec below."""
        exact = {EXACTLY: True} if self._exact else {}
        return exact | {
            "rule": self.rule.id,
            "params": self.rule.params(),
            INPUTS: {name: list(streams) for name, streams in self._streams.items()},
            "input_tasks": [task.model_dump(mode="json") for task in self._input_tasks],
            "base": {"id": self.base.id, "config": self.base.config()},
        }

    def weights(self) -> bytes | None:
        """Return the weights of the codec below."""
        return self.base.weights()

    def at_effort(self, effort: Effort) -> Self:
        """Return the same over the codec below at an effort."""
        base = at_effort(self.base, effort)
        return type(self)(self.rule, self._streams, self._input_tasks, base, self._exact)

    @property
    def _effort(self) -> Effort:
        own = self.base.config().get("effort") if isinstance(self.base, EffortCodec) else None
        return Effort.DEFAULT if own is None else Effort.parse(own)

    def streams(self) -> tuple[Stream, ...]:
        """Return the task's stream, which requires what the inputs take."""
        required = dict.fromkeys(name for own in self._streams.values() for name in own)
        return (Stream(name=self.task.name, carries=(self.task.name,), requires=tuple(required)),)

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode by the codec below: without inputs nothing follows."""
        return self.encode_given(samples, [{} for _ in samples], quality)

    def encode_given(
        self, samples: Sequence[Sample], given: Sequence[Sample], quality: Quality
    ) -> list[dict[str, bytes]]:
        """Encode samples; see `dsc._codecs.base.DependentCodec`.

        Raises
        ------
        CodecError
            When an array does not fit its task.
        """
        name = self.task.name
        return [
            {name: self._encode(sample, inputs, quality)} if name in sample else {}
            for sample, inputs in zip(samples, given, strict=True)
        ]

    def _encode(self, sample: Sample, inputs: Sample, quality: Quality) -> bytes:
        array = check_array(self.task, sample[self.task.name])
        own, derived = self._derive(array, sample, inputs)
        if derived is None:
            return self._stored(array, quality)
        if array.tobytes() == derived.tobytes():  # NaN is itself, and 0 is not -0
            return self._derived(own, array)
        if self._exact or self.task.is_exact:
            return self._corrected(array, own, derived, quality)
        return self._nearest(array, own, derived, quality)

    def _stored(self, array: Array, quality: Quality) -> bytes:
        coded = self.base.encode_batch([{self.task.name: array}], quality)
        return bytes([DerivedForm.STORED]) + coded[0][self.task.name]

    def _derived(self, own: Own, array: Array) -> bytes:
        """Return the payload of a map that follows as it is."""
        if self._exact:
            return _head(DerivedForm.EXACT, own) + CRC.pack(_crc(array))
        return _head(DerivedForm.DERIVED, own) if own else b""

    def _corrected(self, array: Array, own: Own, derived: Array, quality: Quality) -> bytes:
        """Return the payload of a map whose values come back: corrected, or stored if smaller."""
        if array.dtype.kind not in "iu":
            return self._stored(array, quality)
        listed = encode_corrections(self.task, array, derived, self._effort)
        ours = _head(DerivedForm.CORRECTED, own) + CRC.pack(_crc(array)) + listed
        if is_sparse(array, derived):
            return ours
        return min(ours, self._stored(array, quality), key=len)

    def _nearest(self, array: Array, own: Own, derived: Array, quality: Quality) -> bytes:
        """Return the smallest payload that is no farther from the source than a picture is."""
        stored = self._stored(array, quality)
        decoded = self._decode_stored(stored[1:], array.shape[0] * array.shape[1])
        aim, ours = (error_of(self.task, array, found) for found in (decoded, derived))
        if ours <= SLACK * aim:
            return self._derived(own, array)
        if ours > FAR * aim or not can_have_difference(self.task):
            return stored

        def accepts(corrected: Array) -> bool:
            return error_of(self.task, array, corrected) <= aim

        counts = root_mean_square(self.task, array, decoded)
        found = encode_difference(self.task, array, derived, counts, accepts, self._effort)
        if found is None:
            return stored
        return min(stored, _head(DerivedForm.DIFFERENCE, own) + found, key=len)

    def _derive(self, array: Array, sample: Sample, inputs: Sample) -> tuple[Own, Array | None]:
        """Return what a sample's parameters are, and what follows with them; None where nothing."""
        if any(name not in inputs for name in self.inputs):
            return (), None
        known = {name: sample.get(name, inputs[name]) for name in self.inputs}
        try:
            own = self.rule.fit(array, known)
            derived = self.rule.derive(inputs, own)
        except BitstreamError:  # these inputs are none
            return (), None
        fits = (derived.shape, derived.dtype) == (array.shape, array.dtype)
        return (own, derived) if fits else ((), None)

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode maps that the codec below stored; others need their inputs."""
        return self.decode_given(streams, [{} for _ in streams], tasks, max_pixels)

    def decode_given(
        self,
        streams: Sequence[Mapping[str, bytes]],
        given: Sequence[Sample],
        tasks: Sequence[str],
        max_pixels: int,
    ) -> list[dict[str, Array]]:
        """Decode samples; see `dsc._codecs.base.DependentCodec`.

        Raises
        ------
        BitstreamError
            When a bitstream is damaged, or an input that it needs is not given.
        """
        name = self.task.name
        if name not in tasks:
            return [{} for _ in streams]
        return [
            {name: self._decode(own[name], inputs, max_pixels)} if name in own else {}
            for own, inputs in zip(streams, given, strict=True)
        ]

    def _decode(self, payload: bytes, inputs: Sample, max_pixels: int) -> Array:
        form, data = (DerivedForm.DERIVED, b"") if not payload else (payload[0], payload[1:])
        if form == DerivedForm.STORED:
            return self._decode_stored(data, max_pixels)
        end = 2 * self.rule.own_count
        if form not in set(DerivedForm) or end > len(data):
            raise self._damaged(f"{len(payload)} bytes of form {int(form)} are none of it")
        lacking = [name for name in self.inputs if name not in inputs]
        if lacking:
            raise self._damaged(f"{', '.join(lacking)} is not here")
        own = struct.unpack(f"<{self.rule.own_count}H", data[:end])
        derived = self._computed(inputs, own)
        try:
            return self._finished(DerivedForm(form), derived, data[end:], max_pixels)
        except NOT_DAMAGE:
            raise
        except Exception as error:
            raise self._damaged(str(error)) from error

    def _computed(self, inputs: Sample, own: Own) -> Array:
        try:
            return self.rule.derive(inputs, own)
        except BitstreamError as error:
            raise self._damaged(str(error)) from error

    def _finished(self, form: DerivedForm, derived: Array, data: bytes, max_pixels: int) -> Array:
        """Add what a payload has beside the map that follows; anything raised is damage."""
        if form is DerivedForm.DIFFERENCE:
            return apply_difference(self.task, data, derived, max_pixels)
        if form is DerivedForm.DERIVED:
            if data:
                raise ValueError(f"{len(data)} bytes follow where none are due")
            return derived
        (crc,), rest = CRC.unpack_from(data), data[CRC.size :]
        if form is DerivedForm.CORRECTED:
            derived = apply_corrections(self.task, rest, derived)
        elif rest:
            raise ValueError(f"{len(rest)} bytes follow where none are due")
        found = _crc(derived)
        if found != crc:
            raise ValueError(f"values have crc {found:08x}, expected {crc:08x}")
        return derived

    def _damaged(self, what: str) -> BitstreamError:
        return BitstreamError(
            f"task {self.task.name}, which follows from {', '.join(self.inputs)} by "
            f"{self.rule.id}: {what}; {LIST_DAMAGE}"
        )

    def _decode_stored(self, data: bytes, max_pixels: int) -> Array:
        name = self.task.name
        return self.base.decode_batch([{name: data}], [name], max_pixels)[0][name]


def _head(form: DerivedForm, own: Own) -> bytes:
    return bytes([form]) + struct.pack(f"<{len(own)}H", *own)


def _crc(array: Array) -> int:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return zlib.crc32(little.tobytes())


def error_of(task: Task, original: Array, decoded: Array) -> float:
    """Return by how much a map is off: root mean square of counts, of depth mean relative error.

    Infinite where other pixels hold nothing than in the original.
    """
    if task.kind is not TaskKind.DEPTH:
        return root_mean_square(task, original, decoded)
    truth, error = _errors(task, original, decoded)
    return float(np.mean(error / np.maximum(truth, 1))) if error.size else 0.0


def root_mean_square(task: Task, original: Array, decoded: Array) -> float:
    """Return the root mean square error of counts; see `error_of`."""
    _, error = _errors(task, original, decoded)
    return float(np.sqrt(np.mean(error**2))) if error.size else 0.0


def _errors(task: Task, original: Array, decoded: Array) -> tuple[Array, Array]:
    """Return the valid counts, and by how much those decoded are off."""
    invalid = task.invalid_mask(original)
    if not np.array_equal(invalid, task.invalid_mask(decoded)):
        return np.ones(1), np.full(1, np.inf)
    truth = original[~invalid].astype(np.float64)
    return truth, np.abs(truth - decoded[~invalid].astype(np.float64))
