"""The codec `feature-klt`: feature maps (C, h, w) of a backbone, with loss, at any quality.

A payload, little-endian::

    u8      quality    1 to 100; 0: the values follow the sizes as they are
    varint  h, w
    varint  loudness   by how many quarters of octaves coefficients are larger than usual, n ≥ 0 as
                       2n, else -2n - 1; of a model that knows nothing, the unit: 2^(n / 4)
    ...                words of the entropy coder, without the zero bytes at their end: the symbols
                       of all coefficients that are coded, each under the table of its class, and
                       then the lower bits of large ones, those with the fewest bits first

A symbol k is a coefficient in steps; it comes back as k ± 1/16, away from 0. In sixteenths of steps
all of what follows, the cosine transform and that of channels, is whole numbers below 2^53 in
binary64, so what is decoded is the same to the last bit on every machine.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array, Sample
from dsc._codecs.klt.blocks import from_coefficients
from dsc._codecs.klt.learn import can_learn, coefficients_of, learn, weights_at
from dsc._codecs.klt.model import PARTS, Model, parted
from dsc._codecs.klt.rounding import loudness_of, rounded
from dsc._codecs.klt.steps import OCTAVE, ONE
from dsc._codecs.maps.learnt import LearntTaskCodec
from dsc._coding.entropy import ESCAPE_OFFSET, SymbolDecoder, SymbolEncoder
from dsc._coding.varint import pack_varint, unpack_varint
from dsc._coding.weights_file import facts_of, shipped_file
from dsc._schemas import Task, TaskKind
from dsc._schemas.quality import DEFAULT_QUALITY

KIND = "dsc feature-klt 1"
AS_IT_IS = 0
MOST_SIDE = 1 << 16
MOST_LOUDNESS = 4 * OCTAVE
MOST_UNIT = 160 * OCTAVE  # octaves of a float32
MOST_LOW_BITS = 16
OUTWARDS = 1  # sixteenths of a step that a symbol comes back farther out
ROOTS = (1.0, 1.189207115002721, 1.4142135623730951, 1.681792830507429)  # 2^(k/4)
SHIPPED = {
    (
        "efficientnet-lite0",
        "block10",
    ): "feature-klt-efficientnet-lite0-block10.safetensors",
}
SHIPPED_TASK = "feature"  # what it is called in such a file
TRIED = 32  # feature maps that what was learnt is tried on


class FeatureKltCodec(LearntTaskCodec[Model]):
    """See the module."""

    id: ClassVar[str] = "feature-klt"
    file_kind: ClassVar[str] = KIND
    learns_from: ClassVar[int] = 256

    def __init__(self, tasks: Sequence[Task], learnt: Mapping[str, Model] | None = None) -> None:
        super().__init__(tasks, learnt)
        unknown = [task for task in self.tasks if task.name not in self.learnt]
        self._unlearnt = {task.name: Model.unlearnt(task.channels) for task in unknown}

    @staticmethod
    def learnt_of(tensors: Mapping[str, Array], facts: Mapping[str, Any], task: Task) -> Model:
        """Make what a weights file describes of a task."""
        return Model.of(tensors, facts, task.channels)

    def learn_task(self, task: Task, samples: Sequence[Sample], count: int) -> Model | None:
        """Return what dsc knows of a layer, or learn it; None where neither saves bytes."""
        features = [one[task.name] for one in samples if task.name in one]
        known = [one for one in features if one.size and np.isfinite(one).all()]
        model = shipped_model(task)
        if model is None and can_learn(known):
            model = learn(known)
        if model is None or not known:
            return None

        def bytes_of(found: Model | None) -> float:
            codec = type(self)([task], {task.name: found} if found else None)
            coded = [codec.encode_task(task, one, DEFAULT_QUALITY) for one in known[:TRIED]]
            return count * sum(map(len, coded)) / len(coded) + len(codec.weights() or b"")

        return model if bytes_of(model) < bytes_of(None) else None

    def refusal(self, task: Task) -> str | None:
        """Refuse what is no feature map."""
        if task.kind is not TaskKind.FEATURE:
            return f"codes feature maps, not {task.kind.value} tasks"
        return "changes values, and this task is exact; use plain" if task.is_exact else None

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode feature maps; as they are where no step holds them."""
        _check_finite(array)
        height, width = array.shape[1:]
        if not 0 < height <= MOST_SIDE or not 0 < width <= MOST_SIDE:
            raise ValueError(f"{height}×{width} positions; a side has 1 to {MOST_SIDE}")
        sizes = pack_varint(height) + pack_varint(width)
        try:
            coded = self._coded(task, array, quality)
        except OverflowError:
            stored = array.astype(array.dtype.newbyteorder("<"))
            return bytes([AS_IT_IS]) + sizes + stored.tobytes()
        return bytes([quality]) + sizes + coded

    def _coded(self, task: Task, array: Array, quality: int) -> bytes:
        """Return what follows the sizes.

        Raises
        ------
        OverflowError
            When values are too far apart for whole steps.
        """
        model, size = self._model(task), (array.shape[1], array.shape[2])
        coefficients, head = coefficients_of(model, array), 0
        if not model.is_learnt:
            head = _unit_number(coefficients)
            coefficients /= _unit(head)
        steps = model.steps(size, quality)
        scaled = coefficients * weights_at(model, size) / (steps / ONE)
        if np.abs(scaled).max() >= ESCAPE_OFFSET - 1:
            raise OverflowError
        if model.is_learnt:
            head = loudness_of(model, scaled, quality)
        tables, low_bits = parted(model.classes(size, quality, head if model.is_learnt else 0))
        if low_bits.max() > MOST_LOW_BITS:
            raise OverflowError
        symbols = rounded(model, scaled, tables, low_bits)
        try:
            _components(symbols, steps, model)
        except ValueError:
            raise OverflowError from None
        words = _written(symbols, tables, low_bits, model)
        return pack_varint(2 * head if head >= 0 else -2 * head - 1) + words.rstrip(b"\0")

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode feature maps, the declared size checked first."""
        quality, size, at = read_sizes(data, max_pixels)
        dtype = np.dtype(task.dtype)
        if quality == AS_IT_IS:
            stored = np.frombuffer(data, dtype.newbyteorder("<"), offset=at)
            return stored.reshape(task.channels, *size).astype(dtype)
        model = self._model(task)
        folded, at = unpack_varint(data, at)
        head = folded >> 1 if folded % 2 == 0 else -(folded >> 1) - 1
        if abs(head) > (MOST_LOUDNESS if model.is_learnt else MOST_UNIT):
            raise ValueError(f"a loudness of {head} is out of range")
        classes = model.classes(size, quality, head if model.is_learnt else 0)
        symbols = _read(data[at:], classes, model)
        planes = _components(symbols, model.steps(size, quality), model)
        if not model.is_learnt:
            planes = planes * _unit(head)
        limit = float(np.finfo(dtype).max)
        return planes.clip(-limit, limit).astype(dtype)

    def _model(self, task: Task) -> Model:
        return self.learnt.get(task.name) or self._unlearnt[task.name]


def shipped_model(task: Task) -> Model | None:
    """Return what dsc knows of the layer that computed a task; None where it knows nothing."""
    made = task.extractor
    name = SHIPPED.get((made.backbone, made.layer)) if made is not None else None
    if name is None or made is None:
        return None
    data = shipped_file(name)
    if facts_of(data, KIND)["weights_sha256"] != made.weights_sha256:
        return None
    return FeatureKltCodec.read_learnt([task.model_copy(update={"name": SHIPPED_TASK})], data)[
        SHIPPED_TASK
    ]


def read_sizes(data: bytes, max_pixels: int) -> tuple[int, tuple[int, int], int]:
    """Return quality, (h, w) and where they end.

    Raises
    ------
    ValueError
        When they are out of range.
    """
    quality = data[0]
    height, at = unpack_varint(data, 1)
    width, at = unpack_varint(data, at)
    if quality > 100 or not 0 < height <= MOST_SIDE or not 0 < width <= MOST_SIDE:
        raise ValueError(f"quality {quality}, {height}×{width} positions")
    if height * width > max_pixels:
        raise ValueError(f"{height}×{width} positions, at most {max_pixels} are expected here")
    return quality, (height, width), at


def _components(symbols: NDArray[np.int64], steps: NDArray[np.int64], model: Model) -> Array:
    """Return channels (C, h, w), binary64, of symbols."""
    parts = PARTS * symbols + OUTWARDS * np.sign(symbols)
    return model.channels_of(from_coefficients((parts * steps).astype(np.float64)))


def _written(
    symbols: NDArray[np.int64], tables: NDArray[np.int64], low_bits: NDArray[np.int64], model: Model
) -> bytes:
    """Return the entropy coder's words."""
    encoder, coded = SymbolEncoder(), tables >= 0
    own, count = symbols[coded], low_bits[coded]
    raised = own + (1 << count >> 1)
    high = raised >> count
    encoder.put(high.astype(np.int32), tables[coded].astype(np.uint8), model.tables)
    for bits in np.unique(count[count > 0]).tolist():
        part = count == bits
        encoder.put_uniform((raised - (high << count))[part].astype(np.int32), 1 << bits)
    return encoder.finish()


def _read(data: bytes, classes: NDArray[np.int64], model: Model) -> NDArray[np.int64]:
    """Read the symbols of coefficients (C, h, w) of these classes."""
    tables, low_bits = parted(classes)
    if low_bits.max() > MOST_LOW_BITS:
        raise ValueError(f"{low_bits.max()} lower bits, at most {MOST_LOW_BITS}")
    coded = tables >= 0
    decoder = SymbolDecoder(data + bytes(-len(data) % 4))
    found, count = np.zeros(classes.shape, np.int64), low_bits[coded]
    own = decoder.get(tables[coded].astype(np.uint8), model.tables).astype(np.int64) << count
    for bits in np.unique(count[count > 0]).tolist():
        part = count == bits
        own[part] += decoder.get_uniform(int(part.sum()), 1 << bits) - (1 << bits >> 1)
    decoder.check_end()
    found[coded] = own
    return found


def _unit_number(coefficients: NDArray[np.float64]) -> int:
    """Return the number of the unit nearest to a root mean square; the smallest one for 0."""
    power = float(np.mean(coefficients**2))
    if not power:
        return -MOST_UNIT
    return int(np.clip(np.rint(OCTAVE / 2 * np.log2(power)), -MOST_UNIT, MOST_UNIT))


def _unit(number: int) -> float:
    return float(np.ldexp(ROOTS[number % OCTAVE], number // OCTAVE))


def _check_finite(array: Array) -> None:
    """Refuse what no step holds, and say where it is."""
    finite = np.isfinite(array)
    if not finite.all():
        channel, row, column = (int(at[0]) for at in np.nonzero(~finite))
        value = array[channel, row, column]
        raise ValueError(
            f"channel {channel}, row {row}, column {column} is {value}; feature maps are finite: "
            "compute it again, or keep what is there with --exact or --codec TASK=plain"
        )
