"""Pictures as they are coded, with what is known of them: class, labels or boxes.

All carriers see the same pictures: those that a network takes, in 8 bits. So a rate is of the same
pixels everywhere, and what a network throws away is coded by none.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from dsc._backbones.pictures import prepare
from dsc._schemas.extractor import Preprocessing

Array = NDArray[Any]
IGNORED = 255  # label of pixels that count for nothing
UNKNOWN = -1  # class of a picture whose class is not known


@dataclass(frozen=True)
class PictureSet:
    """Pictures in two parts: the first train heads and tables, the others are measured.

    Attributes
    ----------
    name
        Short and unique.
    title
        For people.
    pictures
        uint8 (H, W, 3), as they are coded.
    truth
        What is known of each: a class (int, `UNKNOWN`), labels uint8 (H, W) with `IGNORED`, or
        boxes int (K, 5): left, top, right, bottom, class; empty where nothing is.
    classes
        Names of the classes.
    train
        How many of the first pictures train.
    side
        Pixels of the network's input; None for the pictures' own size.
    source_bpp
        Bits a pixel of the files that they come from; None where there are none. What is coded from
        lossy files with more bits than these says nothing.
    """

    name: str
    title: str
    pictures: tuple[Array, ...]
    truth: tuple[Any, ...] = ()
    classes: tuple[str, ...] = ()
    train: int = 0
    side: int | None = None
    source_bpp: float | None = None

    @cached_property
    def digest(self) -> str:
        """Hash of the pictures."""
        found = hashlib.sha256()
        for picture in self.pictures:
            found.update(f"{picture.shape}".encode())
            found.update(np.ascontiguousarray(picture).tobytes())
        return found.hexdigest()

    @cached_property
    def truth_digest(self) -> str:
        """Hash of what is known of them."""
        found = hashlib.sha256()
        for value in self.truth:
            found.update(np.ascontiguousarray(value).tobytes())
        return found.hexdigest()

    @property
    def count(self) -> int:
        """How many are measured."""
        return len(self.pictures) - self.train

    @property
    def pixels(self) -> int:
        """Pixels of those that are measured."""
        return sum(one.shape[0] * one.shape[1] for one in self.pictures[self.train :])

    def measured(self) -> "PictureSet":
        """Return those that are measured, without those that train."""
        return replace(
            self,
            pictures=self.pictures[self.train :],
            truth=self.truth[self.train :],
            train=0,
        )

    def measured_truth(self) -> list[Any]:
        """Return what is known of those that are measured."""
        return list(self.truth[self.train :])


def as_seen(picture: Array, preprocessing: Preprocessing) -> Array:
    """Return a picture in 8 bits as a network takes it; a smaller one stays as it is.

    Parameters
    ----------
    picture
        uint8 (H, W, 3) or (H, W).
    preprocessing
        What sizes it.

    Returns
    -------
    Array
        uint8 (side, side, 3), or (H, W, 3) of a picture that would have to grow.
    """
    side = preprocessing.side
    if side is None or min(picture.shape[:2]) < round(side / preprocessing.crop):
        return np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture
    counts = preprocessing.model_copy(update={"mean": (0.0,) * 3, "std": (1.0,) * 3})
    return _eight_bits(prepare([picture], counts, 1)[0])


def resized(picture: Array, height: int, width: int) -> Array:
    """Resize a picture, bicubic and antialiased, to uint8 (height, width, 3)."""
    own = Preprocessing(side=None, mean=(0.0,) * 3, std=(1.0,) * 3)
    planes = prepare([picture], own, 1)
    found = functional.interpolate(
        planes, (height, width), mode="bicubic", align_corners=False, antialias=True
    )
    return _eight_bits(found[0])


def resized_labels(labels: Array, height: int, width: int) -> Array:
    """Resize labels to (height, width): each pixel takes that which is nearest."""
    rows, columns = (
        ((np.arange(size) + 0.5) * whole / size).astype(np.intp)
        for size, whole in zip((height, width), labels.shape, strict=True)
    )
    return np.ascontiguousarray(labels[rows[:, None], columns])


def joined(train: Sequence[PictureSet], test: Sequence[PictureSet]) -> PictureSet:
    """Put sets behind one another: the first train, the others are measured."""
    parts = [*train, *test]
    return replace(
        parts[0],
        pictures=tuple(one for part in parts for one in part.pictures),
        truth=tuple(one for part in parts for one in part.truth),
        train=sum(len(part.pictures) for part in train),
    )


def _eight_bits(planes: torch.Tensor) -> Array:
    counts = planes.clamp(0, 255).round().to(torch.uint8)
    return np.ascontiguousarray(counts.permute(1, 2, 0).numpy())
