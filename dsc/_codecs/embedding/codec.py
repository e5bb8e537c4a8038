"""The codec `embedding`: vectors of floats, each component off by at most a step.

A vector has one step for all components: the coarsest one at which it loses no more of its energy
about its centre than the quality says, so that a quality means the same angle for sparse and dense
vectors, or the coarsest one that keeps a bound.

A payload, little-endian::

    u8   level     of the step (`steps`), or 0
    ...            level 0: the vector as it is, or nothing where all of it is 0. Else words of the
                   entropy coder, without the zero bytes at their end: the number of the scale,
                   under the prior's table or, where it has none, uniform from -8800 to 8800; the
                   mode, where there are several; the symbols of all components, each under the
                   table of its class; of levels above 55 their lower bits, uniform

A symbol k is what a component has off its centre, in steps, to the nearest whole number, but that
the middle of coarse steps is wider (`steps.coarseness`, c). Of levels above 55 it is written as
the nearest multiple of 2^b, under the tables, and b lower bits, the higher half of them below it.
It comes back as centre + (k ± c / 64) · step. These are binary64 operations, each rounded once, and
the same everywhere.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array, Sample
from dsc._codecs.embedding.learn import FEWEST, forms_of, prior_of
from dsc._codecs.embedding.prior import MIDDLE_PARTS, Prior
from dsc._codecs.embedding.steps import (
    COARSE,
    COARSEST,
    FINEST,
    MOST_SCALE,
    coarseness,
    level_within,
    lost_at,
    low_bits,
    root_mean_square,
    scale_number,
    scale_of,
    step_of,
)
from dsc._codecs.maps.learnt import LearntTaskCodec
from dsc._coding.entropy import ESCAPE_OFFSET, SymbolDecoder, SymbolEncoder
from dsc._schemas import Bound, Quality, Task, TaskKind
from dsc._schemas.quality import DEFAULT_QUALITY

KIND = "dsc embedding 1"
AS_IT_IS = 0  # the level of a vector that no step holds, or that has no direction
PARTS = 64  # of a step, of which `steps.coarseness` is some
ROOM = 0.5 + COARSE / PARTS  # steps by which a component may be off
HUGE = 1e100  # of a component, from which on its vector is not learnt from
TRIED = 64  # vectors that what was learnt is tried on


@dataclass(frozen=True)
class Symbols:
    """A vector as it is coded: level of the step, number of the scale, and (N,) symbols."""

    level: int
    scale: int
    values: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.float64], level: int, scale: int) -> Self | None:
        """Round what components have off their centres; None where that is no symbols' range."""
        step = step_of(level) * scale_of(scale)
        if step == 0 or not math.isfinite(step):
            return None if values.any() else cls(level, scale, np.zeros(len(values), np.int64))
        rounded = _rounded(values / step, level)
        if np.abs(rounded).max() >= ESCAPE_OFFSET - 1 << low_bits(level):
            return None
        return cls(level, scale, rounded.astype(np.int64))

    def restored(self, prior: Prior, dtype: str) -> Array:
        """Return the vector that these symbols stand for."""
        step = step_of(self.level) * scale_of(self.scale)
        parts = _parts(self.values, self.level)
        with np.errstate(all="ignore"):  # what overflows is no vector that was coded
            vector: Array = prior.centre() + parts * (step / PARTS)
            return vector.astype(dtype)


class EmbeddingCodec(LearntTaskCodec[Prior]):
    """Vectors with loss, at any quality; a bound on the error of a component is kept."""

    id: ClassVar[str] = "embedding"
    file_kind: ClassVar[str] = KIND
    learns_from: ClassVar[int] = 2048
    _bound: float | None = None

    def __init__(self, tasks: Sequence[Task], learnt: Mapping[str, Prior] | None = None) -> None:
        super().__init__(tasks, learnt)
        self._unlearnt = Prior.unlearnt()

    @staticmethod
    def learnt_of(tensors: Mapping[str, Array], facts: Mapping[str, Any], task: Task) -> Prior:
        """Make what a weights file describes of a task."""
        return Prior.of(tensors, facts, task.channels)

    def learn_task(self, task: Task, samples: Sequence[Sample], count: int) -> Prior | None:
        """Return the prior that takes the fewest bytes, its own among them; None for none."""
        vectors = [one[task.name] for one in samples if task.name in one]
        known = np.array([v for v in vectors if float(np.abs(v).max()) < HUGE], np.float64)
        if len(known) < FEWEST:
            return None
        between = known[1::2]
        tried = between[np.linspace(0, len(between) - 1, min(TRIED, len(between))).astype(int)]

        def bytes_of(prior: Prior | None) -> float:
            codec = type(self)([task], {task.name: prior} if prior else None)
            arrays = tried.astype(task.dtype)
            coded = [len(codec.encode_task(task, one, DEFAULT_QUALITY)) for one in arrays]
            return count * sum(coded) / len(coded) + len(codec.weights() or b"")

        half = {form: prior_of(known[::2], count, *form) for form in forms_of(known[::2])}
        best = min(half, key=lambda form: bytes_of(half[form]))
        saves = bytes_of(half[best]) < bytes_of(None)
        return prior_of(known, count, *best) if saves else None

    def packed_dtype(self, stream: str) -> str | None:
        """Return None: payloads are no numbers; packs put many of them together."""
        return None

    def of_tasks(self, tasks: Sequence[str], dictionary: bytes | None) -> Self:
        """Return this codec for some of its tasks; a dictionary saves nothing here."""
        chosen = [task for task in self.tasks if task.name in tasks]
        return type(self)(chosen, {n: one for n, one in self.learnt.items() if n in tasks})

    def refusal(self, task: Task) -> str | None:
        """Refuse what is no embedding."""
        if task.kind is TaskKind.VECTOR and task.dtype.startswith("float"):
            return f"changes values a little; say --kinds {task.name}=embedding if it may"
        if task.kind is not TaskKind.EMBEDDING:
            return f"codes embeddings, not {task.kind.value} tasks"
        return "changes values, and this task is exact; use plain" if task.is_exact else None

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples; of a task with a bound, at the coarsest step that keeps it."""
        coders = {task: self._within(quality.max_error.get(task.name)) for task in self.tasks}
        return [
            {
                task.name: coder._encode(task, sample[task.name], quality.of(task.name))
                for task, coder in coders.items()
                if task.name in sample
            }
            for sample in samples
        ]

    def _within(self, bound: Bound | None) -> Self:
        """Return this codec with a bound on the error, which says the level in place of quality."""
        other = copy(self)
        other._bound = None if bound is None else bound.value
        return other

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode a vector; as it is where no step keeps what is promised."""
        if not array.any():
            return bytes([AS_IT_IS])
        prior = self._prior(task)
        values = _finite(task, array) - prior.centre()
        scale = scale_number(root_mean_square(values))
        if self._bound is None:
            level = _level_losing(values / (scale_of(scale) or 1.0), lost_at(quality))
            most = step_of(level) * scale_of(scale)
        else:
            level, most = level_within(self._bound / ROOM, scale), self._bound
        symbols = Symbols.of(values, level, scale)
        if symbols is not None:
            error = np.abs(symbols.restored(prior, task.dtype).astype(np.float64) - array)
            if (error <= most).all():
                return bytes([level]) + _write(symbols, prior)
        return bytes([AS_IT_IS]) + array.astype(_stored(task)).tobytes()

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode a vector."""
        level, body = data[0], data[1:]
        if level == AS_IT_IS:
            stored = _stored(task)
            if not body:
                return np.zeros(task.channels, task.dtype)
            if len(body) != task.channels * stored.itemsize:
                raise ValueError(f"{len(body)} bytes of {task.channels} values {task.dtype}")
            return np.frombuffer(body, stored).astype(task.dtype)
        if level > FINEST:
            raise ValueError(f"level {level}, at most {FINEST} is known")
        prior = self._prior(task)
        found = _read(level, body, prior, task.channels).restored(prior, task.dtype)
        if not np.isfinite(found).all():
            raise ValueError("a component is not finite")
        return found

    def _prior(self, task: Task) -> Prior:
        return self.learnt.get(task.name, self._unlearnt)


def _rounded(steps: NDArray[np.float64], level: int) -> NDArray[np.float64]:
    """Return the symbols of values that are given in steps."""
    sizes = np.abs(steps)
    middle = 0.5 + coarseness(level) / MIDDLE_PARTS
    return np.where(sizes <= middle, 0.0, np.copysign(np.maximum(np.rint(sizes), 1.0), steps))


def _parts(symbols: NDArray[Any], level: int) -> NDArray[Any]:
    """Return what symbols stand for, in parts of the step."""
    found: NDArray[Any] = PARTS * symbols + coarseness(level) * np.sign(symbols)
    return found


def _level_losing(values: NDArray[np.float64], share: float) -> int:
    """Return the coarsest level at which values, in scales, lose at most a share of their energy.

    What is lost falls with the step, but for hundredths where a value just leaves the middle.
    """
    allowed = share * float(np.sum(values**2))

    def loses_less(level: int) -> bool:
        step = step_of(level)
        found = _parts(_rounded(values / step, level), level) * (step / PARTS)
        return float(np.sum((found - values) ** 2)) <= allowed

    return COARSEST + bisect_left(range(COARSEST, FINEST), True, key=loses_less)


def _finite(task: Task, array: Array) -> NDArray[np.float64]:
    """Return a vector in binary64; refuse one that is not finite."""
    odd = np.flatnonzero(~np.isfinite(array))
    if len(odd):
        raise ValueError(
            f"component {odd[0]} is {array[odd[0]]}, and nothing is near that; --kinds "
            f"{task.name}=vector keeps such vectors exactly, --on-error skip leaves them out"
        )
    return array.astype(np.float64)


def _write(symbols: Symbols, prior: Prior) -> bytes:
    encoder, count = SymbolEncoder(), low_bits(symbols.level)
    tables = prior.scale_tables
    if tables is None:
        encoder.put_uniform(np.array([symbols.scale + MOST_SCALE]), 2 * MOST_SCALE + 1)
    else:
        encoder.put(np.array([symbols.scale], np.int32), np.zeros(1, np.uint8), tables)
    raised = symbols.values + (1 << count >> 1)
    high = raised >> count
    tables = prior.tables(symbols.level)
    numbers = prior.numbers(len(high))
    if prior.mode_tables is not None:
        mode = prior.mode_of(high, symbols.level)
        encoder.put(np.array([mode], np.int32), np.zeros(1, np.uint8), prior.mode_tables)
        numbers = numbers[mode : mode + 1]
    encoder.put(high.astype(np.int32), numbers, tables)
    if count:
        encoder.put_uniform((raised - (high << count)).astype(np.int32), 1 << count)
    return encoder.finish().rstrip(b"\0")


def _read(level: int, body: bytes, prior: Prior, components: int) -> Symbols:
    if body.endswith(b"\0"):
        raise ValueError("zero bytes follow the last word")
    decoder, count = SymbolDecoder(body + bytes(-len(body) % 4)), low_bits(level)
    tables = prior.scale_tables
    if tables is None:
        scale = int(decoder.get_uniform(1, 2 * MOST_SCALE + 1)[0]) - MOST_SCALE
    else:
        scale = int(decoder.get(np.zeros(1, np.uint8), tables)[0])
    numbers, mode = prior.numbers(components), 0
    if prior.mode_tables is not None:
        mode = int(decoder.get(np.zeros(1, np.uint8), prior.mode_tables)[0])
        if not 0 <= mode < len(numbers):
            raise ValueError(f"mode {mode} of {len(numbers)}")
    high = decoder.get(numbers[mode], prior.tables(level))
    values = high.astype(np.int64) << count
    if count:
        values += decoder.get_uniform(components, 1 << count)
    decoder.check_end()
    return Symbols(level, scale, values - (1 << count >> 1))


def _stored(task: Task) -> np.dtype[Any]:
    return np.dtype(task.dtype).newbyteorder("<")
