"""A layered network that never quantises: a bound on rate and distortion, and a teacher.

The rate-distortion bound of a hierarchical variational autoencoder (Duan et al., "An improved upper
bound on the rate-distortion function of images", ICIP 2023) in small. The posterior of a latent is
a Gaussian with a mean and a deviation of its own at every element, z = μ + σ · N(0, 1), and the
rate of a scale is its Kullback-Leibler divergence from the prior, in closed form. (KL, MSE) is an
upper bound on the rate-distortion function of the pictures: codes of many pictures at once can do
as well. A code of one picture this is not, so no archive is written.

Skeleton and start are those of `layered`, and so is the prior, which sees z in quarters of a step,
rounded down: that makes the bound looser, and stays a bound. Its sizes are a quarter wider.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from dsc._codecs.learned.layered.differentiable import LayeredNetwork
from dsc._codecs.learned.layered.model import Layers
from dsc._codecs.learned.layered.spec import LayeredSizes, LayeredSpec, sized_layers
from dsc._codecs.learned.network.differentiable import predict_all
from dsc._codecs.learned.network.entropy import MEAN_STEPS, SCALE_MIN, Prediction
from dsc._codecs.learned.network.layers import GatedBlock, pointwise, silent
from dsc._codecs.learned.network.rate import LOG_SCALE_STEP
from dsc._coding.weights_file import LIMIT

WIDER, MULTIPLE = 5 / 4, 8  # than `layered` of the same size: one and a half times the parameters
ROUNDING = -0.5 * math.log(12)  # logarithm of the deviation that rounding to a step has
LOG_RANGE = 6.0


class Deviation(nn.Module):
    """The logarithm of the posterior's deviation, of its mean and of what the prior knows.

    It starts at the deviation that rounding would have.

    Parameters
    ----------
    latents
        Channels of the latent.
    known
        Channels of the prior's features.
    """

    def __init__(self, latents: int, known: int) -> None:
        super().__init__()
        self.entry = pointwise(latents + known, known)
        self.block = GatedBlock(known)
        self.exit = silent(pointwise(known, latents))

    def forward(self, mean: Tensor, features: Tensor) -> Tensor:
        """Return log σ in quantiser steps, (B, C, h, w), for means in steps."""
        x = self.entry(torch.cat([torch.asinh(mean), features / LIMIT], dim=1))
        turn: Tensor = self.exit(self.block(x)).clamp(-LOG_RANGE, LOG_RANGE)
        return turn + ROUNDING


class BoundNetwork(LayeredNetwork):
    """A `Network` that trains (`dsc._codecs.learned.network.trainable`); see the module.

    It draws its latents in evaluation too: without noise, its error would not be that of its rate.
    """

    prefix_share = 0.0

    def __init__(self, spec: LayeredSpec) -> None:
        super().__init__(spec)
        for layers in self.modalities.values():
            layers.deviation = nn.ModuleList(
                Deviation(count, 2 * spec.prior_width) for count in layers.sizes.latents
            )

    @property
    def kind(self) -> str:
        """Name its kind: a key of `dsc._training.networks.NETWORKS`."""
        return "bound"

    def code_scale(
        self, layers: Layers, scale: int, start: Prediction, scaled: Tensor, there: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return z less its predicted means, these means, and bits (B,), of one scale."""
        log_deviation = cast(nn.ModuleList, layers.deviation)[scale](scaled, start.features)
        z = scaled + log_deviation.exp() * torch.randn_like(scaled)
        index, mean = predict_all(layers.prior.scale(scale), start, z, rounded=False)
        bits = divergence_bits(scaled - mean / MEAN_STEPS, log_deviation, index)
        residual = z - mean / MEAN_STEPS
        if there is not None:
            residual, mean = residual * there, torch.where(there, mean, start.mean)
        return residual, mean, bits


def divergence_bits(distance: Tensor, log_deviation: Tensor, index: Tensor) -> Tensor:
    """Return KL(N(μ, σ²) || N(μ_p, σ_p²)) of each sample in bits, (B,).

    Parameters
    ----------
    distance
        μ - μ_p, (B, C, h, w), in quantiser steps.
    log_deviation
        log σ.
    index
        Scale index of σ_p.
    """
    log_prior = math.log(SCALE_MIN) + index * LOG_SCALE_STEP
    spread = (2 * log_deviation).exp() + distance.square()
    nats = log_prior - log_deviation + 0.5 * (spread * torch.exp(-2 * log_prior) - 1)
    return nats.sum(dim=(1, 2, 3)) / math.log(2)


def bound(
    modalities: Sequence[str], size: str, spec: Mapping[str, Any] | None = None
) -> BoundNetwork:
    """Make an untrained network; see `dsc._training.networks.make_network`."""
    return BoundNetwork(LayeredSpec.from_json(spec) if spec else _wider(modalities, size))


def _wider(modalities: Sequence[str], size: str) -> LayeredSpec:
    """Return the sizes of a network wider than `layered` of that size."""
    spec = sized_layers(modalities, size)
    return replace(spec, modalities={name: _widen(m) for name, m in spec.modalities.items()})


def _widen(sizes: LayeredSizes) -> LayeredSizes:
    widths = tuple(math.ceil(width * WIDER / MULTIPLE) * MULTIPLE for width in sizes.widths)
    return replace(sizes, widths=widths)
