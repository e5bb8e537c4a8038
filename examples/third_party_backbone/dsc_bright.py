"""A backbone of one's own: the mean colour of each part of a picture, and an embedding of them.

It stands for any network that torch can run; what makes it is all that the package declares.
"""

import torch
from torch import nn

from dsc.backbones import Layer, Preprocessing, StagedBackbone, hash_weights

SIDE, PART = 64, 16


def make_bright() -> StagedBackbone:
    """Make the backbone with its weights; a network with trained ones would load them here."""
    parts = nn.Conv2d(3, 4, PART, PART)
    with torch.no_grad():
        parts.weight[:] = 1 / PART**2 * torch.eye(4, 3)[:, :, None, None]
        parts.weight[3] = 1 / (3 * PART**2)
        parts.bias.zero_()
    stages = {"parts": parts, "embedding": nn.Flatten()}
    return StagedBackbone(
        "bright",
        hash_weights(parts.state_dict()),
        Preprocessing(side=SIDE, mean=(127.5,) * 3, std=(127.5,) * 3),
        stages,
        [Layer("parts", channels=4, stride=PART)],
        embedding_size=4 * (SIDE // PART) ** 2,
    )
