"""How long a training is, and what each of its steps sees: a function of seed and step alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """How a network is trained.

    Attributes
    ----------
    steps, batch
        Updates, and pictures of each.
    lr
        Peak learning rate of Adam; warmed up, then a cosine to 2 % of it.
    seed
        Of pictures, levels and noise.
    """

    steps: int
    batch: int = 16
    lr: float = 2e-3
    seed: int = 0


def draw(count: int, how: Schedule, step: int) -> tuple[Tensor, Tensor]:
    """Return which of `count` pictures a step sees, and which of those are mirrored, both (B,)."""
    rng = np.random.default_rng([how.seed, step])
    chosen = torch.from_numpy(rng.integers(count, size=how.batch))
    return chosen, torch.from_numpy(rng.random(how.batch) < 0.5)


def to_planes(pictures: Tensor, mirrored: Tensor | None = None) -> Tensor:
    """Turn pictures (B, 3, H, W) uint8 into planes in [-0.5, 0.5], some of them mirrored."""
    planes = pictures.float() / 255 - 0.5
    if mirrored is None:
        return planes
    return torch.where(mirrored[:, None, None, None], planes.flip(-1), planes)
