"""Images as tensors on a device, random shifts, flips and mixtures; seeded generators."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dsc._replay.learners.views.base import Rows
from dsc._replay.scenario.images import Labels


def generator(*numbers: int) -> torch.Generator:
    """Make a CPU generator whose draws depend on `numbers` alone."""
    (seed,) = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed) >> 1)


def augment(images: Tensor, draw: torch.Generator) -> Tensor:
    """Shift each image by up to an eighth of its side (black comes in), and mirror half of them.

    Parameters
    ----------
    images
        (B, H, W, 3) uint8.
    """
    count, height, width = images.shape[:3]
    if not count:
        return images
    margin = max(1, min(height, width) // 8)
    padded = F.pad(images, (0, 0, margin, margin, margin, margin))
    shift = torch.randint(2 * margin + 1, (count, 2, 1), generator=draw)
    mirrored = torch.randint(2, (count, 1), generator=draw).bool()
    rows = shift[:, 0] + torch.arange(height)
    columns = shift[:, 1] + torch.arange(width)
    columns = torch.where(mirrored, columns.flip(1), columns)
    place = images.device
    which = torch.arange(count, device=place)[:, None, None]
    return padded[which, rows.to(place)[:, :, None], columns.to(place)[:, None, :]]


def cutmix(images: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Paste a rectangle of other images of the batch into each (CutMix, Yun et al., ICCV 2019).

    Parameters
    ----------
    images
        (B, H, W, 3) uint8.

    Returns
    -------
    The mixed images; which image each rectangle comes from, (B,); the share of an image's area
    that is its own. That is drawn uniformly (Beta(1, 1)), then cut at the image's edges.
    """
    count, height, width = images.shape[:3]
    order = torch.randperm(count, generator=draw)
    side, down, across = torch.rand(3, generator=draw).tolist()
    half = 0.5 * math.sqrt(1 - side)
    top, bottom = (round(height * min(max(down + sign * half, 0), 1)) for sign in (-1, 1))
    left, right = (round(width * min(max(across + sign * half, 0), 1)) for sign in (-1, 1))
    mixed = images.clone()
    mixed[:, top:bottom, left:right] = images[order.to(images.device), top:bottom, left:right]
    return mixed, order, 1 - (bottom - top) * (right - left) / (height * width)


class Pictures:
    """Images, or features of them, and labels on a device."""

    def __init__(self, images: Rows, labels: Labels, device: torch.device) -> None:
        self._images = torch.from_numpy(images).to(device)
        self._labels = torch.from_numpy(labels).to(device)

    def __len__(self) -> int:
        return len(self._labels)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (B, ...) and labels (B,)."""
        rows = rows.to(self._labels.device)
        return self._images[rows], self._labels[rows]
