"""Weights files of restoring networks: a safetensors of int8 weights and int16 biases.

All layers' numbers follow one another in two tensors, so that names take few bytes; its metadata
holds the network's sizes and a hash of what it must give for a fixed input. Whoever loads the file
runs the self-test: a machine that does not reproduce the integers must not decode. There is no
encoder: the file is its own decoder's part.
"""

import hashlib
from functools import lru_cache
from itertools import pairwise

import numpy as np
import safetensors
import safetensors.numpy
import torch
from numpy.typing import NDArray

from dsc._codecs.restored.network import (
    FIRST_QUANTISER,
    LAST_QUANTISER,
    RestorationNetwork,
    Shape,
    restore,
)
from dsc._coding import weights_file
from dsc._coding.weights_file import (
    LIMIT,
    MAX_FAN_IN,
    check_self_test,
    facts_of,
    save_with_facts,
)
from dsc.errors import BitstreamError

KIND = "dsc av1-small-restored 1"
SHIPPED = "av1-small-restored.safetensors"
MAX_BIAS = (1 << 15) - 1
MOST_BLOCKS = 64


def save_network(network: RestorationNetwork, card: dict[str, str], kind: str = KIND) -> bytes:
    """Turn a trained network into a weights file; it is frozen by this call.

    Parameters
    ----------
    card
        Facts about the training, for people.
    kind
        What the file is for, with the number of its form.

    Raises
    ------
    ValueError
        When a bias does not fit 16 bits.
    """
    weights, biases = [], []
    for name, layer in network.layers():
        if not layer.frozen:
            layer.freeze()
        bias = layer.bias.numpy()
        if np.abs(bias).max() > MAX_BIAS:
            raise ValueError(f"layer {name}: a bias of {np.abs(bias).max():.0f} is out of range")
        weights.append(layer.weight.numpy().astype(np.int8).ravel())
        biases.append(bias.astype(np.int16))
    facts = {
        "kind": kind,
        "shape": _sizes(network.shape),
        "self_test": self_test_hash(network),
        "card": card,
    }
    return save_with_facts(
        {"biases": np.concatenate(biases), "weights": np.concatenate(weights)}, facts
    )


def load_network(data: bytes, kind: str = KIND) -> RestorationNetwork:
    """Read a weights file of a kind and run its self-test.

    Raises
    ------
    BitstreamError
        When the bytes are not a weights file.
    SelfTestError
        When this machine does not reproduce the integers that the file promises.
    """
    try:
        shape, promised = _facts(data, kind)
        network = RestorationNetwork(shape)
        _fill(network, safetensors.numpy.load(data))
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise BitstreamError(f"not a weights file of kind {kind}: {error}") from None
    network.to(memory_format=torch.channels_last)
    check_self_test("the restoring network gives", self_test_hash(network), promised)
    return network


def shipped_file() -> bytes:
    """Return the weights file that comes with dsc."""
    return weights_file.shipped_file(SHIPPED)


@lru_cache(maxsize=4)
def cached_network(data: bytes, kind: str = KIND) -> RestorationNetwork:
    """Read a weights file, once."""
    return load_network(data, kind)


def self_test_hash(network: RestorationNetwork) -> str:
    """Hash the network's numbers, and what it makes of fixed pictures of an odd size."""
    count, height, width = 3, 29, 43
    steps = np.arange(count * height * width * 3, dtype=np.uint64) * np.uint64(2654435761)
    noise = (steps >> np.uint64(13)).astype(np.uint8).reshape(count, height, width, 3)
    slopes = (np.arange(width)[:, None] * np.array([5, 3, 1])).astype(np.uint8)
    pictures = np.stack([noise[0], noise[1] // 8 + slopes, np.broadcast_to(slopes, noise[2].shape)])
    digest = hashlib.sha256()
    digest.update(restore(network, pictures, np.array([5, 31, 60], np.uint8)).tobytes())
    for _, layer in network.layers():
        digest.update(layer.weight.numpy().astype(np.int8).tobytes())
        digest.update(layer.bias.numpy().astype("<i4").tobytes())
    return digest.hexdigest()


def _sizes(shape: Shape) -> list[int]:
    """Return a shape's numbers; the first quantiser where it is not what goes without saying."""
    sizes = [shape.stride, shape.width, shape.blocks]
    return sizes if shape.first_quantiser == FIRST_QUANTISER else [*sizes, shape.first_quantiser]


def _facts(data: bytes, kind: str) -> tuple[Shape, str]:
    facts = facts_of(data, kind)
    shape = Shape(*(int(size) for size in facts["shape"]))
    fits = shape.stride in (1, 2, 4, 8) and 0 < shape.width <= MAX_FAN_IN
    fits = fits and 0 < shape.blocks <= MOST_BLOCKS and 0 < shape.first_quantiser <= LAST_QUANTISER
    if not fits or 3 * shape.stride**2 * shape.width > len(data):
        raise ValueError(f"sizes {_sizes(shape)}")
    return shape, str(facts["self_test"])


def _fill(network: RestorationNetwork, tensors: dict[str, NDArray[np.generic]]) -> None:
    """Put the numbers into the layers, each checked to be within its range, and freeze them."""
    layers = [layer for _, layer in network.layers()]
    weights = _parts(tensors["weights"], np.int8, [layer.weight.numel() for layer in layers])
    biases = _parts(tensors["biases"], np.int16, [layer.bias.numel() for layer in layers])
    for layer, weight, bias in zip(layers, weights, biases, strict=True):
        if weight.min() < -LIMIT:
            raise ValueError("a weight is out of range")
        layer.freeze_loaded()
        layer.weight.copy_(torch.from_numpy(weight).view_as(layer.weight))
        layer.bias.copy_(torch.from_numpy(bias))


def _parts(
    tensor: NDArray[np.generic], dtype: type[np.signedinteger], sizes: list[int]
) -> list[NDArray[np.float32]]:
    if tensor.dtype != dtype or tensor.shape != (sum(sizes),):
        raise ValueError(f"{tensor.dtype} {tensor.shape} where {sum(sizes)} numbers belong")
    ends = np.cumsum([0, *sizes])
    return [tensor[a:b].astype(np.float32) for a, b in pairwise(ends)]
