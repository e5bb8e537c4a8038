"""What a backbone is: a frozen network with named layers, known by the hash of its weights."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from dsc._schemas.extractor import Preprocessing


@dataclass(frozen=True)
class Layer:
    """A place of a network where its features may be taken.

    Attributes
    ----------
    name
        As it is asked for, e.g. ``block10``.
    channels
        C of a feature map (C, h, w).
    stride
        Pixels of the input from one feature to the next, in both directions.
    """

    name: str
    channels: int
    stride: int


@runtime_checkable
class Backbone(Protocol):
    """A frozen network; nothing here changes its weights, or leaves them a gradient.

    Attributes
    ----------
    name
        As it is asked for.
    weights_sha256
        Hash of its weights, lower-case hexadecimal.
    layers
        Where its features may be taken, from the input on; those of the last stride are whole
        pictures' as long as both sides are multiples of it.
    embedding_size
        N of an embedding.
    preprocessing
        What its training expects of a picture.
    """

    name: str
    weights_sha256: str
    layers: tuple[Layer, ...]
    embedding_size: int
    preprocessing: Preprocessing

    def embed(self, pictures: Tensor) -> Tensor:
        """Return the embeddings (B, N) of prepared pictures, float32 (B, 3, H, W)."""
        ...

    def features(self, pictures: Tensor, layer: str) -> Tensor:
        """Return the feature maps (B, C, h, w) of prepared pictures at a layer.

        Raises
        ------
        UsageError
            When it has no such layer.
        """
        ...

    def tail(self, layer: str, to: str) -> nn.Module:
        """Return the frozen rest of the network.

        It takes feature maps (B, C, h, w) of `layer`, and lets gradients through to them.

        Parameters
        ----------
        layer
            Where the features were taken; ``input``: prepared pictures (B, 3, H, W).
        to
            A later layer, ``embedding``, or ``logits`` where the network has a classifier.

        Raises
        ------
        UsageError
            When there is no such layer, or `to` is not behind it.
        """
        ...
