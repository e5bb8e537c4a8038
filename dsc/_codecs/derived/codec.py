"""The codec `derived`: a task that follows from others by a rule, for few bytes or none.

Edges and key points are functions of an image, Euclidean depth is one of depth along the axis.
Computed from what the archive decodes of those, they are often nearer to the source than pictures
of their own. The stream carries the task and requires what decoding the rule's inputs takes.
Per sample the encoder keeps what takes the fewest bytes and is no farther from the source than the
picture that the task would have had. A payload is empty where the rule gives the map and a sample
has no parameters of its own, and else::

    u8   form       see `DerivedForm`
    ...             DERIVED: u16, little-endian, a parameter of the sample; as many as the rule has
                    STORED: the stream of the codec below

Rules are functions of integers: the map is the same on every machine.
"""

import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import ValidationError

from dsc._codecs.base import INPUTS, Array, Codec, Sample, at_effort, check_array
from dsc._codecs.derived.rule import Own, Rule
from dsc._codecs.derived.rules import rule_class
from dsc._codecs.registry import codec_from_config
from dsc._schemas import Effort, Quality, Stream, Task, TaskKind
from dsc.errors import LIST_DAMAGE, BitstreamError, CodecError

Inputs = Mapping[str, tuple[str, ...]]
"""By name of a task that a rule takes, the streams that decoding it takes."""


class DerivedForm(IntEnum):
    """How a map is kept; the numbers stand in bitstreams."""

    DERIVED = 0
    STORED = 2


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

    Raises
    ------
    CodecError
        When the rule takes other tasks, or the codec below others than one.
    """

    id: ClassVar[str] = "derived"

    def __init__(self, rule: Rule, inputs: Inputs, tasks: Sequence[Task], base: Codec) -> None:
        if len(base.tasks) != 1 or tuple(inputs) != rule.inputs:
            raise CodecError(f"derived: {rule.id} takes {', '.join(rule.inputs)}, one task follows")
        self.rule, self.base, self.tasks = rule, base, tuple(base.tasks)
        self.inputs = tuple(inputs)
        self._streams, self._input_tasks = dict(inputs), tuple(tasks)

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
        rule = rule_class(rule_id).from_params(base.tasks[0], tasks, params)
        return cls(rule, {name: inputs.get(name, ()) for name in rule.inputs}, tasks, base)

    def config(self) -> dict[str, Any]:
        """Return the rule, its parameters and inputs, and the codec below."""
        return {
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
        return type(self)(self.rule, self._streams, self._input_tasks, base)

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
        stored = self._store(array, quality)
        own, derived = self._derive(array, sample, inputs)
        if derived is not None and self._is_no_farther(array, derived, stored):
            return bytes([DerivedForm.DERIVED]) + struct.pack(f"<{len(own)}H", *own) if own else b""
        return bytes([DerivedForm.STORED]) + stored

    def _store(self, array: Array, quality: Quality) -> bytes:
        coded = self.base.encode_batch([{self.task.name: array}], quality)
        return coded[0][self.task.name]

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

    def _is_no_farther(self, array: Array, derived: Array, stored: bytes) -> bool:
        """Tell whether a map is as near to the source as what the codec below makes of it."""
        if self.task.is_exact:
            return np.array_equal(array, derived)
        decoded = self._decode_stored(stored, array.shape[0] * array.shape[1])
        ours, theirs = (errors_of(self.task, array, found) for found in (derived, decoded))
        return all(own <= other for own, other in zip(ours, theirs, strict=True))

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
        if form != DerivedForm.DERIVED or len(data) != 2 * self.rule.own_count:
            raise BitstreamError(
                f"task {self.task.name}: {len(payload)} bytes of form {int(form)} are none of "
                f"{self.rule.id}; {LIST_DAMAGE}"
            )
        lacking = [name for name in self.inputs if name not in inputs]
        if lacking:
            raise BitstreamError(
                f"task {self.task.name} follows from {', '.join(self.inputs)} by {self.rule.id}, "
                f"and {', '.join(lacking)} is not here; {LIST_DAMAGE}"
            )
        return self.rule.derive(inputs, struct.unpack(f"<{self.rule.own_count}H", data))

    def _decode_stored(self, data: bytes, max_pixels: int) -> Array:
        name = self.task.name
        return self.base.decode_batch([{name: data}], [name], max_pixels)[0][name]


def errors_of(task: Task, original: Array, decoded: Array) -> tuple[float, ...]:
    """Return by how much a map is off: root mean square of counts, of depth also mean relative.

    Infinite where other pixels hold nothing than in the original.
    """
    invalid = task.invalid_mask(original)
    if not np.array_equal(invalid, task.invalid_mask(decoded)):
        return (np.inf,) * (1 + (task.kind is TaskKind.DEPTH))
    truth = original[~invalid].astype(np.float64)
    error = np.abs(truth - decoded[~invalid].astype(np.float64))
    rmse = float(np.sqrt(np.mean(error**2))) if error.size else 0.0
    if task.kind is not TaskKind.DEPTH:
        return (rmse,)
    return rmse, float(np.mean(error / np.maximum(truth, 1))) if error.size else 0.0
