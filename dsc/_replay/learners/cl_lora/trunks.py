"""The trunk of a backbone, by what the backbone is."""

import torch

from dsc._backbones.registry import TIMM, load_backbone
from dsc._replay.learners.cl_lora.convolutional import convolutional_trunk, parting_layers
from dsc._replay.learners.cl_lora.trunk import Trunk


def make_trunk(backbone: str, side: int, device: torch.device) -> Trunk:
    """Part a backbone for adapters.

    Parameters
    ----------
    backbone
        Its name.
    side
        Pixels of the square that it sees.

    Raises
    ------
    UsageError
        When there is no such backbone, or adapters have no place on it.
    MissingPackageError
        When what the backbone needs is not installed.
    """
    loaded = load_backbone(backbone)
    if backbone.startswith(TIMM):
        from dsc._replay.learners.cl_lora.transformer import transformer_trunk

        return transformer_trunk(loaded, side, device)
    return convolutional_trunk(loaded, device)


def shown_layer(backbone: str) -> str | None:
    """Return the layer whose feature maps its trunk takes; None where it takes pixels.

    Raises
    ------
    UsageError
        When there is no such backbone, or adapters have no place on it.
    """
    return None if backbone.startswith(TIMM) else parting_layers(load_backbone(backbone))[0]
