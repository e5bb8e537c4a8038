"""The eight levels of rate: what goes the main way, and vectors that are learned for each level.

Levels and slider positions are numbers from 1 to 8; between two whole ones everything is
interpolated.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dsc.errors import UsageError

LEVELS = 8
LAMBDAS = 0.0006, 0.055  # of the first and the last level, geometric between them


def check_level(level: Tensor, what: str = "level") -> None:
    """Refuse what is no level of rate or position of the slider.

    Raises
    ------
    UsageError
        When a number lies outside 1 to 8, or is none.
    """
    outside = ~((level >= 1) & (level <= LEVELS))
    if bool(outside.any()):
        raise UsageError(f"{what} {float(level[outside][0]):g}: it lies in 1 to {LEVELS}")


def encoder_fraction(level: Tensor) -> Tensor:
    """Return the part of the encoder's positions that goes the main way.

    (5^((q - 1) / 7) - 1) / 4: none at the lowest level of rate, all at the highest.
    """
    return (5 ** ((level - 1) / (LEVELS - 1)) - 1) / 4


def decoder_fraction(slider: Tensor) -> Tensor:
    """Return the part of the decoder's positions that goes the main way.

    1 - (q_task - 1) / 7: at 1 all do, and the task's own path is not seen; at 8 none does.
    """
    return 1 - (slider - 1) / (LEVELS - 1)


def by_level(of_level: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what a function of the level gives at each whole one, (8,)."""
    return of_level(torch.arange(1.0, LEVELS + 1))


def rate_lambda(level: Tensor) -> Tensor:
    """Return λ (B,), what 255² · MSE is worth in bits a pixel at levels (B,)."""
    low, high = LAMBDAS
    return low * (high / low) ** ((level - 1) / (LEVELS - 1))


def at_level(table: Tensor, level: Tensor) -> Tensor:
    """Return rows of a table (8, ...) at levels (B,), linear between whole ones: (B, ...)."""
    low = level.floor().clamp(1, LEVELS - 1).long() - 1
    share = (level - 1 - low).view(-1, *[1] * (table.ndim - 1))
    return torch.lerp(table[low], table[low + 1], share)


class LevelGain(nn.Module):
    """A positive factor a channel and level, geometric between two levels.

    Parameters
    ----------
    channels
        C.
    start
        The factor of all channels by level, above 0.
    """

    def __init__(self, channels: int, start: Sequence[float] = (1.0,) * LEVELS) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(start).log()[:, None].repeat(1, channels))

    def forward(self, level: Tensor) -> Tensor:
        """Return the factors (B, C) at levels (B,)."""
        return at_level(self.log, level).exp()
