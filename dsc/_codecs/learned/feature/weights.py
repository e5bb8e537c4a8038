"""The weights file of a feature codec: float16 transforms, int8 integer networks, integer tables.

Its facts say which layer of which backbone it codes, the network's sizes and the hash of the
self-test, which whoever loads it runs: a machine that does not reproduce the integers must not
decode. A decoder's part lacks what only an encoder needs, and the card. Equal decoders give equal
bytes, so that the hash of the part names the decoder.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray

from dsc._codecs.learned.codec_file import (
    check_integers,
    gaussian_tables,
    hash_entropy,
    hyper_tables_of,
    read_tables,
)
from dsc._codecs.learned.feature.network import FeatureNetwork
from dsc._codecs.learned.feature.spec import FeatureSpec
from dsc._coding.entropy import Tables
from dsc._coding.integer import IntegerConv
from dsc._coding.weights_file import check_self_test, facts_of, save_with_facts
from dsc.errors import BitstreamError

KIND = "dsc feature-learned 1"
ENCODER_PARTS = ("analysis.", "gain.", "entropy.analysis.")
PRIOR = "entropy.prior."  # training's; its tables are in the file
TABLES = ("scale", "hyper")


@dataclass(frozen=True)
class CodedLayer:
    """The features that a weights file is for.

    Attributes
    ----------
    backbone, weights_sha256, layer
        As `dsc._schemas.extractor.Extractor` has them.
    """

    backbone: str
    weights_sha256: str
    layer: str


@dataclass(frozen=True)
class LoadedFeatures:
    """A weights file, ready for use.

    Attributes
    ----------
    of
        What it codes.
    network
        Integer layers frozen.
    scale_tables, hyper_tables
        One table a scale index; one for each quality bucket and channel of ẑ.
    has_encoder
        Whether the file holds the encoder too; without it the network can only decode.
    """

    of: CodedLayer
    network: FeatureNetwork
    scale_tables: Tables
    hyper_tables: Tables
    has_encoder: bool


def save_network(network: FeatureNetwork, of: CodedLayer, card: Mapping[str, str]) -> bytes:
    """Turn a trained network into a weights file; it is frozen by this call.

    Parameters
    ----------
    card
        Facts about the training, for people.
    """
    tensors: dict[str, NDArray[np.generic]] = {}
    for name, layer in network.named_modules():
        if isinstance(layer, IntegerConv):
            layer.freeze()
            tensors[f"{name}.weight"] = layer.weight.numpy().astype(np.int8)
            tensors[f"{name}.bias"] = layer.bias.numpy().astype(np.int32)
    for name, value in network.state_dict().items():
        if name not in tensors and not name.startswith(PRIOR):
            tensors[name] = np.ascontiguousarray(value.detach().numpy(), np.float16)
    for name, tables in zip(
        TABLES, (gaussian_tables(), hyper_tables_of(network.entropy.prior)), strict=True
    ):
        tensors[f"tables.{name}.frequencies"] = tables.frequencies.astype(np.uint16)
        tensors[f"tables.{name}.offsets"] = tables.offsets
        tensors[f"tables.{name}.lows"] = tables.lows
    facts = {
        "kind": KIND,
        "of": [of.backbone, of.weights_sha256, of.layer],
        "spec": network.spec.to_json(),
        "self_test": self_test_hash(network),
        "card": dict(card),
    }
    return save_with_facts(tensors, facts)


def load_network(data: bytes) -> LoadedFeatures:
    """Read a weights file and run its self-test.

    Raises
    ------
    BitstreamError
        When the bytes are not a weights file.
    SelfTestError
        When this machine does not reproduce the integers that the file promises.
    """
    try:
        facts, tensors = read_facts(data), safetensors.torch.load(data)
        with torch.random.fork_rng(devices=[]):  # a caller's random state does not pay for it
            network = FeatureNetwork(FeatureSpec.from_json(facts["spec"]))
        scale, hyper = (read_tables(tensors, name) for name in TABLES)
        has_encoder = _fill(network, tensors)
        of = CodedLayer(*(str(part) for part in facts["of"]))
        promised = str(facts["self_test"])
    except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise BitstreamError(f"not a weights file of features: {error}") from None
    check_self_test("the codec's integer networks give", self_test_hash(network), promised)
    return LoadedFeatures(of, network, scale, hyper, has_encoder)


def read_facts(data: bytes) -> dict[str, Any]:
    """Read the facts of a weights file, without its tensors.

    Raises
    ------
    ValueError, KeyError, TypeError
        When it is none.
    """
    return facts_of(data, KIND)


def decoder_part(data: bytes) -> bytes:
    """Return the decoder's part of a weights file; of a decoder's part, itself.

    Raises
    ------
    BitstreamError
        When the bytes are not a weights file.
    """
    try:
        facts, tensors = read_facts(data), safetensors.numpy.load(data)
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise BitstreamError(f"not a weights file of features: {error}") from None
    kept = {name: value for name, value in tensors.items() if not name.startswith(ENCODER_PARTS)}
    return save_with_facts(kept, {name: facts[name] for name in facts if name != "card"})


@torch.no_grad()
def self_test_hash(network: FeatureNetwork) -> str:
    """Hash the integers that the integer networks give for a fixed input."""
    digest = hashlib.sha256()
    spec = network.spec
    hash_entropy(digest, network.entropy, spec.channels, spec.hyper_latents)
    return digest.hexdigest()


def _fill(network: FeatureNetwork, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Put a file's weights into a network of its sizes; tell whether an encoder is among them."""
    state = {name: t.float() for name, t in tensors.items() if not name.startswith("tables.")}
    check_integers(network, state)
    own = network.state_dict()
    encoder = [name for name in own if name.startswith(ENCODER_PARTS)]
    has_encoder = any(name in state for name in encoder)
    absent = [name for name in own if name.startswith(PRIOR)] + ([] if has_encoder else encoder)
    network.load_state_dict(state | {name: own[name] for name in absent})
    for layer in network.integer_modules():
        layer.freeze_loaded()
    network.requires_grad_(False)
    network.eval()
    network.to(memory_format=torch.channels_last)
    return has_encoder
