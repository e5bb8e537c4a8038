"""The entropy model of one stream: from ẑ, required streams and earlier steps to probabilities.

Every symbol is coded under a zero-mean Gaussian with one of 64 scales, after a mean has been taken
off. Scale indexes and means come from integer networks alone, so they are the same everywhere.
Hyper-analysis and prior are floating point: only the encoder and training use the one, training
and export the other.
"""

from typing import NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._codecs.learned.network.layers import GatedBlock, pointwise
from dsc._coding.integer import BIAS_UNIT, IntegerConv, clamp_through, round_half_up
from dsc._coding.steps import StepNetwork, take_step
from dsc._coding.weights_file import LIMIT

MEAN_STEPS = 16  # the mean of a latent is coded in sixteenths of a quantiser step
MEAN_LIMIT = 4095
SCALE_LEVELS = 64
SCALE_MIN, SCALE_MAX = 0.11, 128.0
Z_LIMIT = 31
Z_BUCKETS = 4  # quality ranges, each with its own tables for z


class EntropySizes(Protocol):
    """Sizes of an entropy model; see `dsc._codecs.learned.network.spec.ModelSpec`."""

    @property
    def hyper_width(self) -> int: ...

    @property
    def hyper_latents(self) -> int: ...

    @property
    def context_steps(self) -> int: ...


class SteppedEntropy(nn.Module):
    """What codes a latent in steps, whatever its first prediction comes from.

    Parameters
    ----------
    latents
        Channels of the latent, a multiple of `count`.
    count
        In how many steps the latent is coded (`dsc._coding.steps`).
    """

    def __init__(self, latents: int, count: int) -> None:
        super().__init__()
        self.count = count
        if latents % count:
            raise ValueError(f"{latents} channels cannot be coded in {count} equal steps")

    def add_steps(self, latents: int, width: int) -> None:
        """Make the networks of later steps: the last ones, which checkpoints rely on.

        Parameters
        ----------
        latents
            Channels of the latent.
        width
            Half the channels of `Prediction.features`.
        """
        if self.count > 1:
            self.steps = nn.ModuleList(StepNetwork(latents, width) for _ in range(self.count - 1))

    def predict(
        self, step: int, start: "Prediction", known: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return scale indexes and means, (B, C, h, w) integers, right where `step` codes.

        Parameters
        ----------
        step
            0 to `count` - 1.
        start
            What the hyper-synthesis gave.
        known
            What earlier steps coded (`deviation`), zero elsewhere; not used in step 0.
        """
        if step == 0 or known is None:
            return start.scale, start.mean
        scale, mean = self.steps[step - 1](start.features, known, self.count, step)
        index = clamp_through(start.scale + scale, 0, SCALE_LEVELS - 1)
        return index, clamp_through(start.mean + mean, -MEAN_LIMIT, MEAN_LIMIT)

    def predict_own(self, step: int, start: "Prediction", known: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `predict` gives where `step` codes, in the order of `take_step`."""
        index, mean = (
            take_step(x.permute(0, 2, 3, 1), self.count, step) for x in (start.scale, start.mean)
        )
        if step:
            network = cast(StepNetwork, self.steps[step - 1])
            scale_turn, mean_turn = network.own(start.features, known, self.count, step)
            index.add_(scale_turn).clamp_(0, SCALE_LEVELS - 1)
            mean.add_(mean_turn).clamp_(-MEAN_LIMIT, MEAN_LIMIT)
        return index, mean


class StreamEntropy(SteppedEntropy):
    """Everything about one stream's entropy model.

    Parameters
    ----------
    latents
        Channels of the stream's latent.
    required
        Channels of the latents of the streams that it requires.
    """

    def __init__(self, spec: EntropySizes, latents: int, required: tuple[int, ...]) -> None:
        super().__init__(latents, spec.context_steps)
        self.analysis = HyperAnalysis(latents, spec.hyper_width, spec.hyper_latents)
        self.synthesis = HyperSynthesis(
            latents, spec.hyper_width, spec.hyper_latents, sum(required), len(required)
        )
        self.prior = HyperPrior(spec.hyper_latents)
        self.add_steps(latents, spec.hyper_width)


class HyperAnalysis(nn.Module):
    """Latent (B, C, h, w) to hyper-latent (B, Cz, h/4, w/4); floating point, encoder only."""

    def __init__(self, latents: int, width: int, hyper_latents: int) -> None:
        super().__init__()
        self.entry = pointwise(latents, width)
        self.block = GatedBlock(width)
        self.down_1 = pointwise(width * 4, width)
        self.down_2 = pointwise(width * 4, hyper_latents)

    def forward(self, y: Tensor) -> Tensor:
        """Analyse y (in quantiser steps); asinh tames its range."""
        x = self.block(self.entry(torch.asinh(y)))
        x = F.silu(self.down_1(F.pixel_unshuffle(x, 2)))
        z: Tensor = self.down_2(F.pixel_unshuffle(x, 2))
        return z


class Prediction(NamedTuple):
    """What ẑ and the required streams tell of a latent.

    Attributes
    ----------
    scale
        Scale indexes [0, 63], (B, C, h, w) integers.
    mean
        Means in sixteenths of a quantiser step, [-4095, 4095], (B, C, h, w) integers.
    features
        What they were made of, (B, 2 width, h, w), integers in [0, 127].
    """

    scale: Tensor
    mean: Tensor
    features: Tensor


class HyperSynthesis(nn.Module):
    """The integer network from (ẑ, quality[, ŷ of required streams]) to a `Prediction`.

    Everything here is integers in float32; see `dsc._coding.integer`.

    Parameters
    ----------
    latents, width, hyper_latents
        Channels of y, of the layers, and of ẑ.
    context
        Channels of the latents of all required streams; 0 when there are none.
    required
        How many streams are required.
    """

    def __init__(
        self, latents: int, width: int, hyper_latents: int, context: int, required: int = 1
    ) -> None:
        super().__init__()
        self.entry = IntegerConv(hyper_latents + 1, width, shift=8)
        self.up_1 = IntegerConv(width, width * 4, shift=8)
        self.smooth_1 = IntegerConv(width, width, kernel=3, shift=6)
        self.up_2 = IntegerConv(width, width * 4, shift=8)
        self.smooth_2 = IntegerConv(width, width, kernel=3, shift=6)
        self.context_spread: IntegerConv | None = None
        if context:
            self.context_spread = IntegerConv(context, context, kernel=3, shift=6, low=-LIMIT)
            self.context_mix = IntegerConv(context + required, width, shift=8)
        self.mix = IntegerConv(width * (2 if context else 1), 2 * width, shift=8)
        self.scale = IntegerConv(2 * width, latents, shift=8, high=SCALE_LEVELS - 1)
        self.mean = IntegerConv(2 * width, latents, shift=6, low=-MEAN_LIMIT, high=MEAN_LIMIT)
        with torch.no_grad():
            self.scale.bias.fill_(20 / BIAS_UNIT)
            self.scale.weight.mul_(0.3)
            self.mean.weight.mul_(0.05)

    def forward(
        self,
        z: Tensor,
        quality: Tensor,
        size: tuple[int, int],
        context: Tensor | None,
        context_quality: Tensor | None,
    ) -> Prediction:
        """Predict a latent.

        Parameters
        ----------
        z
            ẑ, integers in [-31, 31], (B, Cz, ceil(h/4), ceil(w/4)).
        quality
            Integers 1 to 100, (B,).
        size
            (h, w) of y.
        context
            Integers in [-127, 127], (B, C', h, w): ŷ of the required streams in quarters of a
            step; zero where one is absent.
        context_quality
            Quality of each required stream, (B, n) or, for one, (B,); 0 where it is absent.
        """
        x = self.entry(torch.cat([z * 4, quality_planes(quality, z)], dim=1))
        x = self.smooth_1(F.pixel_shuffle(self.up_1(x), 2))
        x = self.smooth_2(F.pixel_shuffle(self.up_2(x), 2))[..., : size[0], : size[1]]
        if self.context_spread is not None and context is not None and context_quality is not None:
            spread = self.context_spread(context)
            planes = quality_planes(context_quality, spread)
            x = torch.cat([x, self.context_mix(torch.cat([spread, planes], dim=1))], dim=1)
        x = self.mix(x)
        return Prediction(self.scale(x), self.mean(x), x)


def quality_planes(quality: Tensor, like: Tensor) -> Tensor:
    """Return qualities (B,) or (B, n) as constant planes (B, n, h, w)."""
    batch, _, height, width = like.shape
    return quality.to(like.dtype).view(batch, -1, 1, 1).expand(-1, -1, height, width)


class HyperPrior(nn.Module):
    """Factorised prior of ẑ: a mixture of logistics a channel and quality bucket.

    Only training and export use it; the coder reads the integer tables made from it.
    """

    COMPONENTS = 3

    def __init__(self, hyper_latents: int) -> None:
        super().__init__()
        shape = (Z_BUCKETS, hyper_latents, self.COMPONENTS)
        self.weight = nn.Parameter(torch.zeros(shape))
        self.mean = nn.Parameter(torch.linspace(-1, 1, self.COMPONENTS).expand(shape).clone())
        self.log_scale = nn.Parameter(torch.zeros(shape))

    def forward(self, z: Tensor, bucket: Tensor) -> Tensor:
        """Return the likelihood of z (B, Cz, h, w); `bucket` (B,) indexes the quality."""
        weight = self.weight.softmax(-1)[bucket][:, :, None, None]
        mean = self.mean[bucket][:, :, None, None]
        inverse = (-self.log_scale.clamp(-4, 6)).exp()[bucket][:, :, None, None]
        upper = torch.sigmoid((z[..., None] + 0.5 - mean) * inverse)
        lower = torch.sigmoid((z[..., None] - 0.5 - mean) * inverse)
        return (weight * (upper - lower)).sum(-1).clamp_min(1e-9)


def quality_bucket(quality: Tensor) -> Tensor:
    """Return the bucket of z's tables for qualities 1 to 100."""
    return ((quality.long() - 1) * Z_BUCKETS // 100).clamp(0, Z_BUCKETS - 1)


def scale_table() -> Tensor:
    """Return the standard deviations, in quantiser steps, of the 64 scale indexes."""
    ratio = torch.tensor(SCALE_MAX / SCALE_MIN, dtype=torch.float64).log()
    return SCALE_MIN * torch.exp(torch.linspace(0, 1, SCALE_LEVELS, dtype=torch.float64) * ratio)


def pad_hyper(y: Tensor) -> Tensor:
    """Pad a latent with zeros to multiples of 4 in height and width."""
    height, width = y.shape[-2:]
    return F.pad(y, (0, -width % 4, 0, -height % 4))


def quantise_hyper(z: Tensor) -> Tensor:
    """Round and clamp z to ẑ."""
    return clamp_through(round_half_up(z), -Z_LIMIT, Z_LIMIT)


def context_of(symbols: Tensor, mean: Tensor) -> Tensor:
    """Return ŷ as the integers that condition the streams that require it.

    ŷ = symbols + mean / 16 in quantiser steps; the context is floor(4 ŷ), clamped to ±127.
    """
    quarters = (symbols * MEAN_STEPS + mean) * 0.25
    floored = torch.floor(quarters.detach())
    through = quarters + (floored - quarters.detach()) if quarters.requires_grad else floored
    return clamp_through(through, -LIMIT, LIMIT)


def deviation(symbols: Tensor, mean: Tensor, start: Tensor) -> Tensor:
    """Return ŷ less what ẑ predicted of it, as later steps see it: quarters of a step, ±127.

    Parameters
    ----------
    symbols, mean
        ŷ = symbols + mean / 16.
    start
        `Prediction.mean`.
    """
    return context_of(symbols, mean - start)
