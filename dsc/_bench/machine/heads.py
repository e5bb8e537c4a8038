"""Small heads on frozen features, as users train them: ridge regression, and a dense trunk.

The dense trunk takes feature maps of two layers (stride 16 and the deepest, which follows from it):
group norms, 1×1 convolutions to a common width, then two depthwise 5×5 convolutions with 1×1
behind. Training is a function of data and seed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dsc._bench.machine.pictures import Array

WIDTH, KERNEL, GROUPS = 96, 5, 8
Loss = Callable[[Tensor, Tensor], Tensor]  # of a head's answers to samples by number, int64 (B,)
LEAST_STEPS = 20  # a warm-up of a tenth of fewer would be none
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the features' mean square


class Trunk(nn.Module):
    """From two feature maps to one, (B, `WIDTH`, h, w) of the finer.

    Parameters
    ----------
    channels, deeper
        C of both maps; multiples of `GROUPS`.
    upsampled
        Whether the result is twice as fine.
    """

    def __init__(self, channels: int, deeper: int, upsampled: bool = False) -> None:
        super().__init__()
        self.fine = _into(channels)
        self.deep = _into(deeper)
        self.finer = nn.ConvTranspose2d(WIDTH, WIDTH, 2, 2) if upsampled else nn.Identity()
        self.mixing = nn.Sequential(*_mix(), *_mix(), nn.Dropout2d(0.1))

    def forward(self, fine: Tensor, deep: Tensor) -> Tensor:
        """Join the maps (B, channels, h, w) and (B, deeper, h / 2, w / 2)."""
        found = self.fine(fine)
        found = found + functional.interpolate(self.deep(deep), found.shape[2:], mode="bilinear")
        joined: Tensor = self.mixing(self.finer(functional.relu(found)))
        return joined


def _into(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.GroupNorm(GROUPS, channels), nn.Conv2d(channels, WIDTH, 1))


def _mix() -> list[nn.Module]:
    depthwise = nn.Conv2d(WIDTH, WIDTH, KERNEL, padding=KERNEL // 2, groups=WIDTH)
    return [depthwise, nn.Conv2d(WIDTH, WIDTH, 1), nn.ReLU()]


@dataclass(frozen=True)
class Schedule:
    """How a head is trained: AdamW, a warm-up of a tenth, then a cosine down to nothing."""

    epochs: int = 24
    batch: int = 8
    rate: float = 2e-3
    decay: float = 0.05


def train(
    module: nn.Module,
    answer: Callable[[Tensor], Tensor],
    loss: Loss,
    count: int,
    schedule: Schedule,
    seed: int,
) -> None:
    """Train a module; the same data, seed and threads give the same weights.

    Parameters
    ----------
    module
        What is trained; in evaluation mode afterwards.
    answer
        Its answers to samples by number, int64 (B,).
    count
        How many samples there are.
    """
    order = torch.Generator().manual_seed(seed)
    steps = max(schedule.epochs * -(-count // schedule.batch), LEAST_STEPS)
    free = [one for one in module.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(free, schedule.rate, weight_decay=schedule.decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.rate, total_steps=steps, pct_start=0.1
    )
    module.train()
    with torch.random.fork_rng(devices=[]):  # which places are dropped
        torch.manual_seed(seed)
        for numbers in _batches(count, schedule, order):
            optimizer.zero_grad()
            loss(answer(numbers), numbers).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rates.step()
    module.eval()


def _batches(count: int, schedule: Schedule, order: torch.Generator) -> Iterator[Tensor]:
    for _ in range(schedule.epochs):
        yield from torch.split(torch.randperm(count, generator=order), schedule.batch)


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Make a module whose first weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


class Ridge:
    """Ridge regression from embeddings to one-hot classes: a linear probe in closed form.

    Parameters
    ----------
    embeddings
        float32 (N, D).
    classes
        int (N,), from 0.
    count
        How many classes there are.
    weights
        Of the penalty, in units of the features' mean square; that one is taken whose squared error
        of samples that were left out one by one is least (Golub, Heath and Wahba, "Generalized
        Cross-Validation", Technometrics 1979, section 1). With about as many samples as features a
        weight of another number of samples can cost a third of the accuracy.
    """

    def __init__(
        self, embeddings: Array, classes: Array, count: int, weights: Sequence[float] = RIDGES
    ) -> None:
        values = np.asarray(embeddings, np.float64)
        targets = np.eye(count)[np.asarray(classes)]
        self._mean, self._level = values.mean(axis=0), targets.mean(axis=0)
        centred, wanted = values - self._mean, targets - self._level
        squares, axes = np.linalg.eigh(centred.T @ centred)
        along, level = centred @ axes, squares.mean()

        def fitted(weight: float) -> tuple[Array, float]:
            """Return what leads from the axes to classes, and the error of those left out."""
            shrunk = 1 / (squares.clip(0) + weight * level + 1e-9)
            found = shrunk[:, None] * (along.T @ wanted)
            leverage = (along**2 * shrunk).sum(axis=1) + 1 / len(values)
            left_out = (wanted - along @ found) / (1 - leverage).clip(1e-9)[:, None]
            return found, float(np.square(left_out).sum())

        self._weights = axes @ min(map(fitted, weights), key=lambda one: one[1])[0]

    def classes(self, embeddings: Array) -> Array:
        """Return the likeliest classes int64 (N,)."""
        scores = (np.asarray(embeddings, np.float64) - self._mean) @ self._weights + self._level
        return np.asarray(scores.argmax(axis=1))
