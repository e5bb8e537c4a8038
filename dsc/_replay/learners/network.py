"""Small residual networks for pictures of 28 to 64 pixels, and ResNet-18 for larger ones.

A network gives features and, by a linear head, one logit for each class of the scenario. The head
has a row for every class from the start; a learner looks only at those that were seen. Input is
uint8, and normalising it is part of the network. The networks are written here, since torchvision's
and timm's stems are made for 224 pixels, and neither has the ResNets of CIFAR (He et al. 2016).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsc.errors import UsageError

MEAN, DEVIATION = 127.5, 64.0
LARGE = 96
"""Pictures of at least so many pixels are halved twice before the first block."""
MEDIUM = 48
"""Pictures of at least so many pixels are halved once."""


@dataclass(frozen=True)
class Stages:
    """Blocks a stage, and channels of the first one; each stage halves and doubles.

    An `early` one halves its pictures once more before the first block: a third of the time, for a
    processor.
    """

    blocks: tuple[int, ...]
    width: int
    early: bool = False


LAYOUTS = {
    "resnet8": Stages((1, 1, 1), 16),
    "resnet8-wide": Stages((1, 1, 1), 32),
    "resnet8-early": Stages((1, 1, 1), 16, early=True),
    "resnet20": Stages((3, 3, 3), 16),
    "resnet32": Stages((5, 5, 5), 16),
    "resnet18": Stages((2, 2, 2, 2), 64),
}


class Classifier(nn.Module, ABC):
    """Gives features of `feature_size` and, by its linear `head`, a logit for each class."""

    head: nn.Linear
    feature_size: int

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Return features (B, D) of what the learner is shown, (B, ...)."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) of what the learner is shown, (B, ...)."""
        return cast(Tensor, self.head(self.features(images)))


class ResNet(Classifier):
    """A residual network (He et al. 2016) with a linear head.

    Parameters
    ----------
    layout
        Name in `LAYOUTS`.
    classes
        Rows of the head.
    side
        Shorter side of the pictures, in pixels; decides how early they are halved.
    seed
        Of the weights.

    Raises
    ------
    UsageError
        When there is no such layout.
    """

    def __init__(self, layout: str, classes: int, side: int, seed: int) -> None:
        super().__init__()
        if layout not in LAYOUTS:
            raise UsageError(f"unknown network {layout!r}; known: {', '.join(LAYOUTS)}")
        blocks, width = LAYOUTS[layout].blocks, LAYOUTS[layout].width
        with torch.random.fork_rng(devices=[]):  # the weights depend on the seed alone
            torch.manual_seed(seed)
            self.stem = _stem(width, side, LAYOUTS[layout].early)
            stages, channels = [], width
            for at, count in enumerate(blocks):
                for number in range(count):
                    halve = at > 0 and number == 0
                    stages.append(Block(channels, width << at, 2 if halve else 1))
                    channels = width << at
            self.stages = nn.Sequential(*stages)
            self.head = nn.Linear(channels, classes)
        self.feature_size = channels

    def features(self, images: Tensor) -> Tensor:
        """Return features (B, D) of images (B, H, W, 3) uint8."""
        x = images.permute(0, 3, 1, 2).float().sub_(MEAN).div_(DEVIATION)
        x = x.contiguous(memory_format=torch.channels_last)
        return cast(Tensor, self.stages(self.stem(x)).mean((2, 3)))


class Block(nn.Module):
    """Two 3×3 convolutions beside the identity (or a strided 1×1 convolution)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.second = _convolution(outputs, outputs, 3, 1)
        same = inputs == outputs and stride == 1
        self.shortcut: Any = nn.Identity() if same else _convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride)."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)
    )


def _stem(width: int, side: int, early: bool) -> nn.Sequential:
    if side >= LARGE:
        return nn.Sequential(
            _convolution(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)
        )
    halved = early + (side >= MEDIUM)
    layers = [_convolution(3, width, 3, 2 if halved else 1), nn.ReLU()]
    if halved == 2:
        layers += [_convolution(width, width, 3, 2), nn.ReLU()]
    return nn.Sequential(*layers)
