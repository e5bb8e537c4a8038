"""The trunk of a backbone, by what the backbone is."""

import torch

from dsc._backbones.registry import load_backbone
from dsc._backbones.timm_models import TimmBackbone
from dsc._replay.learners.cl_lora.convolutional import convolutional_trunk, parting_layers
from dsc._replay.learners.cl_lora.transformer import transformer_trunk
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
    if isinstance(loaded, TimmBackbone):
        return transformer_trunk(loaded, side, device)
    return convolutional_trunk(loaded, device)


def shown_layer(backbone: str) -> str | None:
    """Return the layer whose feature maps its trunk takes; None where it takes pixels.

    Raises
    ------
    UsageError
        When there is no such backbone, or adapters have no place on it.
    """
    loaded = load_backbone(backbone)
    return None if isinstance(loaded, TimmBackbone) else parting_layers(loaded)[0]
