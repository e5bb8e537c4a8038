"""Adapters on the convolutions of a network that is a chain of stages.

A 1x1 convolution is a linear map of channels, so an adapter fits it as it is; a wider one is one of
all that its kernel covers. Depthwise ones are left alone: they have few weights. In
EfficientNet-Lite0 adapters so sit on each block's expansion and projection and on the convolution
before pooling.

The first third of the layers is never changed, and the learner is shown what it gives; the last
quarter is each task's own. Of EfficientNet-Lite0 at 128 pixels, that is what is behind ``block4``
and behind ``block11``: 76 and 31 % of a forward pass.
"""

import torch
from torch import Tensor, nn

from dsc._backbones.base import Backbone
from dsc._replay.learners.cl_lora.low_rank import Site, site
from dsc._replay.learners.cl_lora.trunk import PRECISION, AdaptedPart, Trunk
from dsc._replay.learners.views.base import Rows
from dsc._schemas.extractor import EMBEDDING
from dsc.errors import UsageError


def parting_layers(backbone: Backbone) -> tuple[str, str]:
    """Return the layer that the learner is shown, and the last one that all tasks share.

    Raises
    ------
    UsageError
        When the network has fewer than two layers.
    """
    names = [layer.name for layer in backbone.layers]
    if len(names) < 2:
        raise UsageError(
            f"backbone {backbone.name} has {len(names)} layers: adapters that tasks share, and "
            "those of each task, need two to part it at; take efficientnet-lite0"
        )
    return names[len(names) // 3], names[3 * len(names) // 4]


def convolutional_trunk(backbone: Backbone, device: torch.device) -> Trunk:
    """Part a network behind the last layer that all tasks share.

    Raises
    ------
    UsageError
        When it cannot be parted there, or has no convolution to adapt.
    """
    shown, shared = parting_layers(backbone)
    early, late = backbone.tail(shown, shared), backbone.tail(shared, EMBEDDING)
    if not _sites(late):
        raise UsageError(f"backbone {backbone.name} has no convolution behind {shared} to adapt")

    def prepare(maps: Rows) -> Tensor:
        x = torch.from_numpy(maps).to(device, PRECISION)
        return x.contiguous(memory_format=torch.channels_last)

    return Trunk(
        prepare,
        AdaptedPart(early, _sites(early), device),
        _pooled,
        AdaptedPart(late, _sites(late), device),
        backbone.embedding_size,
    )


def _sites(part: nn.Module) -> list[Site]:
    """List the convolutions of a part that mix channels, from its input on."""
    return [
        site(f"{name}.weight", module.weight)
        for name, module in part.named_modules()
        if isinstance(module, nn.Conv2d) and module.groups == 1
    ]


def _pooled(maps: Tensor) -> Tensor:
    """Return the mean (B, C) of feature maps (B, C, h, w)."""
    return maps.mean((2, 3))
