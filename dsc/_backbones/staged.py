"""A backbone that is a chain of stages: each takes what the one before gives."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from dsc._backbones.base import Layer
from dsc._schemas.extractor import EMBEDDING, Preprocessing
from dsc.errors import UsageError

INPUT, LOGITS = "input", "logits"


class StagedBackbone:
    """A backbone whose features at any layer can be gone on from.

    Parameters
    ----------
    name
        As it is asked for.
    weights_sha256
        Hash of its weights.
    preprocessing
        What its training expects of a picture.
    stages
        The network by name of what each stage gives: of `layers`, and ``embedding``, the last but
        ``logits``.
    layers
        What of it are feature maps.
    embedding_size
        N of an embedding.
    """

    def __init__(
        self,
        name: str,
        weights_sha256: str,
        preprocessing: Preprocessing,
        stages: Mapping[str, nn.Module],
        layers: Sequence[Layer],
        embedding_size: int,
    ) -> None:
        self.name = name
        self.weights_sha256 = weights_sha256
        self.preprocessing = preprocessing
        self.layers = tuple(layers)
        self.embedding_size = embedding_size
        self._stages = {key: stage.eval().requires_grad_(False) for key, stage in stages.items()}
        self._order = list(stages)

    def embed(self, pictures: Tensor) -> Tensor:
        """Return the embeddings (B, N) of prepared pictures, float32 (B, 3, H, W)."""
        return self._run(pictures, EMBEDDING)

    def features(self, pictures: Tensor, layer: str) -> Tensor:
        """Return the feature maps (B, C, h, w) of prepared pictures at a layer."""
        names = [known.name for known in self.layers]
        if layer not in names:
            raise UsageError(
                f"backbone {self.name} has no feature maps {layer!r}; it has {', '.join(names)}"
            )
        return self._run(pictures, layer)

    def tail(self, layer: str, to: str) -> nn.Module:
        """Return the frozen rest of the network between two places."""
        first, last = self._place(layer), self._place(to)
        if last <= first:
            raise UsageError(f"backbone {self.name}: {to} is not behind {layer}")
        return nn.Sequential(*(self._stages[key] for key in self._order[first + 1 : last + 1]))

    def _run(self, pictures: Tensor, to: str) -> Tensor:
        whole = nn.Sequential(*(self._stages[key] for key in self._order[: self._place(to) + 1]))
        with torch.inference_mode():
            return cast(Tensor, whole(pictures.contiguous(memory_format=torch.channels_last)))

    def _place(self, name: str) -> int:
        if name == INPUT:
            return -1
        if name not in self._order:
            raise UsageError(
                f"backbone {self.name} has no layer {name!r}; it has {', '.join(self._order)}"
            )
        return self._order.index(name)
