"""Networks on a pretrained backbone, and the choice of a network by a recipe."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from dsc._backbones.base import Backbone
from dsc._backbones.pictures import resize_middle
from dsc._backbones.registry import load_backbone
from dsc._backbones.staged import INPUT
from dsc._replay.learners.base import Recipe
from dsc._replay.learners.network import Classifier, ResNet
from dsc._schemas.extractor import EMBEDDING


def make_network(recipe: Recipe, classes: int, side: int, seed: int) -> Classifier:
    """Make the network of a recipe.

    Parameters
    ----------
    classes
        Rows of the head.
    side
        Shorter side of the pictures, in pixels.
    seed
        Of all weights that are not pretrained.

    Raises
    ------
    UsageError
        When the network or backbone is unknown.
    MissingPackageError
        When what the backbone needs is not installed.
    """
    if recipe.backbone is None:
        return ResNet(recipe.network, classes, side, seed)
    backbone = load_backbone(recipe.backbone)
    if recipe.tune == "frozen":
        return LinearHead(backbone.embedding_size, classes, seed)
    return TunedBackbone(backbone, recipe.backbone_side, classes, seed)


def weights_sha256(recipe: Recipe) -> str | None:
    """Return the hash of the weights of a recipe's backbone; None where it has none."""
    return None if recipe.backbone is None else load_backbone(recipe.backbone).weights_sha256


class LinearHead(Classifier):
    """A head on features that are there already.

    Parameters
    ----------
    feature_size
        N of the features.
    """

    def __init__(self, feature_size: int, classes: int, seed: int) -> None:
        super().__init__()
        self.feature_size = feature_size
        self.head = _seeded_head(feature_size, classes, seed)

    def features(self, images: Tensor) -> Tensor:
        """Return the features (B, N), as float32."""
        return images.float()


class TunedBackbone(Classifier):
    """A copy of a backbone that is trained, with a head.

    Parameters
    ----------
    backbone
        Stays as it is.
    side
        Pixels of the square that it sees.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, side: int, classes: int, seed: int) -> None:
        super().__init__()
        self.side, self.feature_size = side, backbone.embedding_size
        self.body = copy.deepcopy(backbone.tail(INPUT, EMBEDDING)).requires_grad_(True)
        self.head = _seeded_head(self.feature_size, classes, seed)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(backbone.preprocessing, name))[:, None, None]
            self.register_buffer(name, values, persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """Return embeddings (B, N) of pictures (B, H, W, 3) uint8."""
        planes = resize_middle(images.permute(0, 3, 1, 2).float(), self.side)
        x = ((planes - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return cast(Tensor, self.body(x))


def _seeded_head(feature_size: int, classes: int, seed: int) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):  # the weights depend on the seed alone
        torch.manual_seed(seed)
        return nn.Linear(feature_size, classes)
