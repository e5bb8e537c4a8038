"""The frozen network that every task goes through, from pictures or from a place further on."""

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from dsc._backbones.base import Backbone, Layer
from dsc._backbones.pictures import prepare
from dsc._bench.machine.pictures import Array
from dsc._schemas.extractor import EMBEDDING
from dsc.errors import UsageError

PIXELS, LOGITS = "pixels", "logits"
BATCH = 8
FEATURE_STRIDE = 16


class Network:
    """A backbone with one layer whose features may be stored.

    Parameters
    ----------
    backbone
        The network.
    layer
        The layer; None for the last of stride 16.

    Attributes
    ----------
    layer
        Where features are stored.
    deepest
        The last layer that has feature maps.

    Raises
    ------
    UsageError
        When it has no such layer.
    """

    def __init__(self, backbone: Backbone, layer: str | None = None) -> None:
        by_name = {one.name: one for one in backbone.layers}
        if layer is None:
            layer = [one.name for one in backbone.layers if one.stride == FEATURE_STRIDE][-1]
        if layer not in by_name:
            raise UsageError(f"--layer {layer}: {backbone.name} has {', '.join(by_name)}")
        self.backbone = backbone
        self.layer: Layer = by_name[layer]
        self.deepest: Layer = backbone.layers[-1]

    @property
    def classifies(self) -> bool:
        """Whether it has a classifier of its own."""
        try:
            self.backbone.tail(EMBEDDING, LOGITS)
        except UsageError:
            return False
        return True

    def prepared(self, pictures: Sequence[Array], side: int | None) -> Tensor:
        """Return pictures as its input, float32 (B, 3, h, w); of one size where that is kept."""
        return torch.cat([self._prepared(picture, side) for picture in pictures])

    def _prepared(self, picture: Array, side: int | None) -> Tensor:
        own = self.backbone.preprocessing
        keeps = side is None or picture.shape[:2] == (side, side)
        size = {"side": None, "crop": 1.0} if keeps else {"side": side}
        return prepare([picture], own.model_copy(update=size), self.deepest.stride)

    def maps(self, pictures: Sequence[Array], side: int | None) -> Array:
        """Return feature maps float16 (N, C, h, w) at its layer, of uint8 pictures."""
        found = [
            self.backbone.features(self.prepared(pictures[at : at + BATCH], side), self.layer.name)
            for at in range(0, len(pictures), BATCH)
        ]
        return np.concatenate([one.half().numpy() for one in found])

    def embeddings(self, maps: Array) -> Array:
        """Return embeddings float32 (N, D) of feature maps at its layer."""
        return self._through(self.backbone.tail(self.layer.name, EMBEDDING), maps)

    def logits(self, embeddings: Array) -> Array:
        """Return its own classifier's answers float32 (N, classes) to embeddings."""
        return self._through(self.backbone.tail(EMBEDDING, LOGITS), embeddings)

    def deeper(self, maps: Array) -> Array:
        """Return feature maps float32 (N, C, h, w) of its deepest layer, from its layer's."""
        return self._through(self.backbone.tail(self.layer.name, self.deepest.name), maps)

    @staticmethod
    def _through(module: nn.Module, values: Array) -> Array:
        with torch.inference_mode():
            found = [cast(Tensor, module(part)).float().numpy() for part in _batches(values)]
        return np.concatenate(found)


def _batches(values: Array) -> Iterator[Tensor]:
    for at in range(0, len(values), BATCH):
        yield torch.from_numpy(np.asarray(values[at : at + BATCH], np.float32))
