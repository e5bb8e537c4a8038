"""Kinds of exemplars that a buffer's promises are tested on: pictures, embeddings, either of them.

`Kind.samples` makes what `ReplayBuffer.add` takes, `same` compares what a buffer gives back.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Extractor, Preprocessing, Task
from tests.replay.pictures import pictures

SIZE = 640
SOMEONES = Extractor(
    backbone="someones-network",
    weights_sha256="5" * 64,
    layer="embedding",
    of="rgb",
    preprocessing=Preprocessing(mean=(127, 127, 127), std=(128, 128, 128)),
)
RGB = Task(name="rgb", kind="image", dtype="uint8", channels=3)
EMBEDDING = Task(
    name="embedding", kind="embedding", dtype="float32", channels=SIZE, extractor=SOMEONES
)


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Make (count, `SIZE`) float32, all different: sparse and not negative, as networks' are."""
    rng = np.random.default_rng(seed)
    drawn = rng.gamma(0.5, 1.0, (count, SIZE)) * np.linspace(0.2, 2, SIZE)
    return np.where(drawn > 0.1, drawn, 0).astype(np.float32)


@dataclass(frozen=True)
class Kind:
    """A kind of exemplars: options of its buffer, and how samples are made."""

    name: str
    samples: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)

    def some(self, samples: Any, rows: Any) -> Any:
        """Return some of the samples."""
        if isinstance(samples, dict):
            return {name: arrays[rows] for name, arrays in samples.items()}
        return samples[rows]


def of_vectors(count: int, side: int = 16, seed: int = 0) -> dict[str, Any]:
    """Make embeddings; a side means nothing to them."""
    return {"embedding": vectors(count, seed)}


def of_both(count: int, side: int = 16, seed: int = 0) -> dict[str, Any]:
    """Make pictures, with embeddings that have nothing to do with them."""
    return {"rgb": pictures(count, side, seed), "embedding": vectors(count, seed)}


PICTURES = Kind("pictures", pictures, {"codec": "webp"})
EMBEDDINGS = Kind("embeddings", of_vectors, {"codec": "embedding", "tasks": [EMBEDDING]})
MIXED = Kind("mixed", of_both, {"codec": "rgb=webp", "tasks": [RGB, EMBEDDING], "pictures": 0.3})
KINDS = (PICTURES, EMBEDDINGS, MIXED)


def same(one: Any, other: Any) -> bool:
    """Tell whether two exemplars without their labels are equal, bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            np.array_equal(one[name], other[name]) for name in one
        )
    return bool(np.array_equal(one, other))
