"""The integer prior of a modality: from scale to scale, what probabilities its latents have.

A scale sees quality, and the integers ẑ of all coarser scales; never what the transforms made of
them, which differs from machine to machine in its last bits. Everything here is integers in
float32; see `dsc._coding.integer`.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._codecs.learned.layered.spec import SCALES
from dsc._codecs.learned.network.entropy import (
    MEAN_LIMIT,
    SCALE_LEVELS,
    Prediction,
    SteppedEntropy,
    quality_planes,
)
from dsc._coding.integer import IntegerConv
from dsc._coding.weights_file import LIMIT


class ScalePrior(SteppedEntropy):
    """What one scale's latent is coded under.

    Parameters
    ----------
    latents, width
        Channels of the latent, and of the state.
    steps
        In how many steps the latent is coded.
    """

    def __init__(self, latents: int, width: int, steps: int) -> None:
        super().__init__(latents, steps)
        self.mix = IntegerConv(width + 1, 2 * width, shift=8)
        self.scale = IntegerConv(2 * width, latents, shift=8, high=SCALE_LEVELS - 1)
        self.mean = IntegerConv(2 * width, latents, shift=6, low=-MEAN_LIMIT, high=MEAN_LIMIT)
        with torch.no_grad():
            self.scale.weight.mul_(0.1)
            self.mean.weight.mul_(0.05)
        self.add_steps(latents, width)

    def forward(self, state: Tensor, quality: Tensor) -> Prediction:
        """Predict a latent (B, C, h, w) from the state (B, width, h, w) and qualities (B,)."""
        x = self.mix(torch.cat([state, quality_planes(quality, state)], dim=1))
        return Prediction(self.scale(x), self.mean(x), x)


class StateUpdate(nn.Module):
    """From the state of a scale, and its ẑ, to the state of the next finer one.

    Parameters
    ----------
    latents, width
        Channels of the scale's latent, and of the states.
    """

    def __init__(self, latents: int, width: int) -> None:
        super().__init__()
        self.spread = IntegerConv(2 * latents, 2 * latents, kernel=5, shift=6, low=-LIMIT)
        self.merge = IntegerConv(width + 2 * latents + 1, width, shift=8)
        self.up = IntegerConv(width, width * 4, shift=8)
        self.smooth = IntegerConv(width, width, kernel=3, shift=6)

    def forward(self, state: Tensor, context: Tensor, quality: Tensor) -> Tensor:
        """Return the next state (B, width, 2 h, 2 w).

        Parameters
        ----------
        state
            (B, width, h, w), integers in [0, 127].
        context
            ẑ in quarters of a step (`context_of`), (B, C, h, w), integers in [-127, 127].
        quality
            Integers 1 to 100, (B,).
        """
        spread = self.spread(torch.cat([context, context.abs()], dim=1))
        planes = quality_planes(quality, state)
        merged = self.merge(torch.cat([state, spread, planes], dim=1))
        next_state: Tensor = self.smooth(F.pixel_shuffle(self.up(merged), 2))
        return next_state


class PriorChain(nn.Module):
    """The priors of all scales of a modality.

    Parameters
    ----------
    latents
        Channels of the latents, by scale.
    width
        Channels of the states.
    steps
        In how many steps each latent is coded.
    """

    def __init__(self, latents: tuple[int, ...], width: int, steps: int) -> None:
        super().__init__()
        self.entry = IntegerConv(1, width, shift=8)
        self.scales = nn.ModuleList(ScalePrior(count, width, steps) for count in latents)
        self.updates = nn.ModuleList(StateUpdate(count, width) for count in latents[:-1])

    def start(self, quality: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the state of the coarsest scale, (B, width, h, w), for qualities (B,)."""
        like = self.entry.weight.new_empty(len(quality), 1, *size)
        state: Tensor = self.entry(quality_planes(quality, like))
        return state

    def scale(self, number: int) -> ScalePrior:
        """Return the prior of one scale."""
        return cast(ScalePrior, self.scales[number])

    def advance(self, number: int, state: Tensor, context: Tensor, quality: Tensor) -> Tensor:
        """Return the state after scale `number`, for the next one; see `StateUpdate`."""
        if number + 1 >= SCALES:
            return state
        following: Tensor = self.updates[number](state, context, quality)
        return following
