"""Transforms of whole samples for `dsc.stream` and `dsc.open`: all tasks of one move together.

Images are interpolated; depth, labels, masks and normals take the nearest pixel, and NaN, nothing
measured, stays NaN. Normals, flow, disparity and intrinsics are made right for the picture that
comes out; what cannot be made right is refused.
"""

from dsc._transforms.albumentations import Albumentations
from dsc._transforms.color import ColorJitter
from dsc._transforms.compose import Compose
from dsc._transforms.joint import (
    CenterCrop,
    HorizontalFlip,
    Pad,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    VerticalFlip,
)
from dsc._transforms.meaning import Meaning
from dsc._transforms.randomness import generator
from dsc._transforms.seeded import Seeded
from dsc._transforms.torchvision import Torchvision

__all__ = [
    "Albumentations",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "HorizontalFlip",
    "Meaning",
    "Pad",
    "RandomCrop",
    "RandomResizedCrop",
    "Resize",
    "Seeded",
    "Torchvision",
    "VerticalFlip",
    "generator",
]
