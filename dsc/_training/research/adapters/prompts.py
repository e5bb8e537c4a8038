"""Parallel task prompts: a few convolutions beside the transforms and the hyper-networks.

The hyper-synthesis feeds the entropy coder, so its prompt is made of integers as it is itself:
every machine adds the same corrections to scale indexes and means.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._codecs.learned.feature.network import FeatureNetwork
from dsc._codecs.learned.network.entropy import (
    MEAN_LIMIT,
    SCALE_LEVELS,
    HyperSynthesis,
    Prediction,
    quality_planes,
)
from dsc._codecs.learned.network.layers import pointwise, silent
from dsc._coding.integer import IntegerConv, clamp_through
from dsc._training.research.adapters.parallel import Parallel, with_parts

WIDTH = 32
HYPER_STRIDE = 4  # elements of y from one of ẑ to the next


class Prompt(nn.Module):
    """Four convolutions, the last one zero: 1×1, two depthwise 3×3, 1×1.

    Parameters
    ----------
    inputs, outputs
        Channels.
    width
        Channels in between.
    stride
        Of each of the depthwise convolutions.
    """

    def __init__(self, inputs: int, outputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.entry = pointwise(inputs, width)
        self.near, self.far = (
            nn.Conv2d(width, width, 3, stride, padding=1, groups=width) for _ in range(2)
        )
        self.exit = silent(pointwise(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride², w / stride²)."""
        near = F.silu(self.near(self.entry(x)))
        found: Tensor = self.exit(F.silu(self.far(near)))
        return found


class HyperAnalysisPrompt(Prompt):
    """Beside the hyper-analysis: from y in quantiser steps, whose range it tames likewise."""

    def __init__(self, latents: int, hyper_latents: int, width: int) -> None:
        super().__init__(latents, hyper_latents, width, stride=2)

    def forward(self, y: Tensor) -> Tensor:
        """Map (B, C, h, w), h and w multiples of 4, to (B, Cz, h / 4, w / 4)."""
        return super().forward(torch.asinh(y))


class HyperSynthesisPrompt(nn.Module):
    """Beside the hyper-synthesis: from ẑ and quality to corrections of scale indexes and means."""

    def __init__(self, latents: int, hyper_latents: int, width: int) -> None:
        super().__init__()
        self.entry = IntegerConv(hyper_latents + 1, width, shift=8)
        self.up = IntegerConv(width, width * HYPER_STRIDE**2, shift=8)
        self.smooth = IntegerConv(width, width, kernel=3, shift=6)
        self.scale = IntegerConv(
            width, latents, shift=8, low=1 - SCALE_LEVELS, high=SCALE_LEVELS - 1
        )
        self.mean = IntegerConv(width, latents, shift=6, low=-MEAN_LIMIT, high=MEAN_LIMIT)
        for last in (self.scale, self.mean):
            nn.init.zeros_(last.weight)

    def forward(self, z: Tensor, quality: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return integers to add to scale indexes and to means, (B, C, h, w) of `size`."""
        x = self.entry(torch.cat([z * 4, quality_planes(quality, z)], dim=1))
        x = F.pixel_shuffle(self.up(x), HYPER_STRIDE)[..., : size[0], : size[1]]
        x = self.smooth(x)
        return self.scale(x), self.mean(x)


class PromptedHyperSynthesis(Parallel):
    """A hyper-synthesis with a prompt; what it predicts stays in the range of the tables."""

    def __init__(self, base: HyperSynthesis, branch: HyperSynthesisPrompt) -> None:
        super().__init__(base, branch)

    def forward(  # type: ignore[override]
        self,
        z: Tensor,
        quality: Tensor,
        size: tuple[int, int],
        context: Tensor | None,
        context_quality: Tensor | None,
    ) -> Prediction:
        """Predict a latent; see `HyperSynthesis`."""
        start: Prediction = self.base(z, quality, size, context, context_quality)
        scale, mean = self.branch(z, quality, size)
        return Prediction(
            clamp_through(start.scale + scale, 0, SCALE_LEVELS - 1),
            clamp_through(start.mean + mean, -MEAN_LIMIT, MEAN_LIMIT),
            start.features,
        )


def prompted(network: FeatureNetwork, width: int = WIDTH, *, hyper: bool = True) -> FeatureNetwork:
    """Return a feature codec with prompts, which shares everything else with `network`.

    Parameters
    ----------
    width
        Channels inside the prompts.
    hyper
        Whether the hyper-networks have prompts as well as the transforms.
    """
    channels, hyper_latents = network.spec.channels, network.spec.hyper_latents
    parts: dict[str, nn.Module] = {
        name: Parallel(base, Prompt(channels, channels, width))
        for name, base in (("analysis", network.analysis), ("synthesis", network.synthesis))
    }
    if hyper:
        entropy = network.entropy
        sizes = (channels, hyper_latents, width)
        parts["entropy.analysis"] = Parallel(entropy.analysis, HyperAnalysisPrompt(*sizes))
        parts["entropy.synthesis"] = PromptedHyperSynthesis(
            entropy.synthesis, HyperSynthesisPrompt(*sizes)
        )
    return with_parts(network, parts)
