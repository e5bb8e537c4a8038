"""The model file of `label-context`: a safetensors of int8 networks and integer tables.

Its metadata holds a hash of what the networks must give for a fixed input, and of all its numbers.
Whoever loads the file runs the self-test: a machine that does not reproduce the integers must not
decode.
"""

import hashlib
from functools import cache, lru_cache

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from dsc._coding import weights_file
from dsc._coding.context import escapes
from dsc._coding.context.coder import CALM_TABLES
from dsc._coding.context.lattice import LEVELS, PHASES
from dsc._coding.context.neighbours import FEATURES
from dsc._coding.context.network import DECISIONS, LOGIT_LEVELS, ONE, LabelModel, Layer
from dsc._coding.entropy import PRECISION, Tables
from dsc._coding.weights_file import (
    BIAS_LIMIT,
    MAX_FAN_IN,
    check_self_test,
    facts_of,
    save_with_facts,
)
from dsc.errors import BitstreamError

KIND = "dsc label-context 1"
# Masks (`dsc._coding.context.mask`) use this very file: a better model gets another name.
SHIPPED = "label-context.safetensors"
_COUNTS = {
    "calm": CALM_TABLES,
    **{f"decision{k}": LOGIT_LEVELS for k in range(DECISIONS)},
    "escapes": escapes.TABLES,
}


def save_model(model: LabelModel, card: dict[str, str]) -> bytes:
    """Turn a trained model into a model file.

    Parameters
    ----------
    card
        Facts about the training, for people.
    """
    tensors: dict[str, NDArray[np.generic]] = {}
    for phase, layers in enumerate(model.networks):
        for k, layer in enumerate(layers):
            tensors[f"phase{phase}.{k}.weight"] = layer.weight
            tensors[f"phase{phase}.{k}.bias"] = layer.bias
    for name, tables in zip(_COUNTS, _tables_of(model), strict=True):
        tensors[f"{name}.frequencies"] = tables.frequencies
        tensors[f"{name}.offsets"] = tables.offsets
    facts = {"kind": KIND, "self_test": self_test_hash(model), "card": card}
    return save_with_facts(tensors, facts)


def load_model(data: bytes) -> LabelModel:
    """Read a model file and run its self-test.

    Raises
    ------
    BitstreamError
        When the bytes are not a model file.
    SelfTestError
        When this machine does not reproduce the integers that the file promises.
    """
    try:
        promised = str(facts_of(data, KIND)["self_test"])
        tensors = safetensors.numpy.load(data)
        networks = tuple(_network(tensors, phase) for phase in range(len(PHASES)))
        calm, *decisions, escape = (_tables(tensors, name, n) for name, n in _COUNTS.items())
        model = LabelModel(networks, calm, tuple(decisions), escape)
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise BitstreamError(f"not a label-context model file: {error}") from None
    check_self_test("the label model's networks give", self_test_hash(model), promised)
    return model


def shipped_file() -> bytes:
    """Return the model file that comes with dsc."""
    return weights_file.shipped_file(SHIPPED)


@lru_cache(maxsize=4)
def cached_model(data: bytes) -> LabelModel:
    """Read a model file, once."""
    return load_model(data)


@cache
def shipped_model() -> LabelModel:
    """Return the model that comes with dsc."""
    return cached_model(shipped_file())


def self_test_hash(model: LabelModel) -> str:
    """Hash the networks' results for fixed features, then all numbers of the file."""
    digest = hashlib.sha256()
    count = 37  # pixels, an odd number
    steps = np.arange(1, FEATURES * count + 1, dtype=np.uint64) * np.uint64(2654435761)
    features = ((steps >> np.uint64(13)) & np.uint64(1)).astype(np.float32)
    for phase in range(len(PHASES)):
        for level in range(LEVELS):
            digest.update(model.logits(phase, level, features.reshape(FEATURES, count)).tobytes())
    for layer in (layer for layers in model.networks for layer in layers):
        digest.update(layer.weight.tobytes())
        digest.update(layer.bias.astype("<i4").tobytes())
    for tables in _tables_of(model):
        digest.update(tables.frequencies.astype("<u4").tobytes())
        digest.update(tables.offsets.astype("<i8").tobytes())
    return digest.hexdigest()


def _tables_of(model: LabelModel) -> tuple[Tables, ...]:
    return (model.calm, *model.decisions, model.escapes)


def _network(tensors: dict[str, NDArray[np.generic]], phase: int) -> tuple[Layer, ...]:
    count = sum(name.startswith(f"phase{phase}.") for name in tensors) // 2
    layers, inputs = [], FEATURES
    for k in range(count):
        weight = tensors[f"phase{phase}.{k}.weight"].astype(np.int8, casting="no")
        bias = tensors[f"phase{phase}.{k}.bias"].astype(np.int32, casting="no")
        fits = weight.ndim == bias.ndim == 2 and weight.shape == (bias.shape[1], inputs)
        if not fits or len(bias) not in (1, LEVELS) or inputs > MAX_FAN_IN:
            raise ValueError(f"phase {phase}: layer {k} is of shape {weight.shape}")
        if np.abs(bias.astype(np.int64)).max() > BIAS_LIMIT or weight.min() < -127:
            raise ValueError(f"phase {phase}: a number of layer {k} is out of range")
        layers.append(Layer(weight, bias, ONE if k == 0 else 1, rectified=k < count - 1))
        inputs = len(weight)
    if not layers or inputs != DECISIONS:
        raise ValueError(f"phase {phase}: {len(layers)} layers with {inputs} results")
    return tuple(layers)


def _tables(tensors: dict[str, NDArray[np.generic]], name: str, count: int) -> Tables:
    frequencies = tensors[f"{name}.frequencies"].astype(np.uint32, casting="no")
    offsets = tensors[f"{name}.offsets"].astype(np.int64, casting="no")
    ends = offsets[0] == 0 and offsets[-1] == len(frequencies)
    if len(offsets) != count + 1 or not ends or (np.diff(offsets) < 2).any():
        raise ValueError(f"tables {name} do not fit together")
    sums = np.add.reduceat(frequencies.astype(np.int64), offsets[:-1])
    if (sums != 1 << PRECISION).any() or frequencies.min() < 1:
        raise ValueError(f"a table of {name} does not sum to {1 << PRECISION}")
    return Tables(frequencies, offsets, np.zeros(count, np.int32))
