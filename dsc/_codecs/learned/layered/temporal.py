"""What a frame of a recording knows from the frame before it, scale by scale.

Deep hierarchical video coding in the manner of DHVC (Lu et al., AAAI 2024; DHVC 2.0, arXiv
2410.02598), with motion told, beside a still network that is not changed. Scale k of a frame sees
scales 0 to k of the frame before and nothing finer, so that a finer scale that is lost, or never
fetched, harms no coarser one. Two branches, both of which begin at zero: without them, and in a key
frame, the still codec is what is left.

- Integers: the ẑ of the frame before, moved by whole positions, turn the prior's state and means.
- Floating point: what the frame before looks like when decoded to scale k is moved by half pixels,
  taken apart as the encoder takes pictures apart, and added to the features of the decoding chain,
  so that only what it lacks is coded. This differs from machine to machine in its last bits, and no
  probability comes from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._codecs.learned.layered.model import FINEST, LayeredModel, Layers
from dsc._codecs.learned.layered.motion import shift, warp
from dsc._codecs.learned.layered.spec import (
    SCALES,
    STRIDES,
    LayeredSizes,
    LayeredSpec,
    SequenceSpec,
)
from dsc._codecs.learned.network.entropy import MEAN_LIMIT, Prediction
from dsc._codecs.learned.network.layers import GatedBlock, pointwise, silent
from dsc._codecs.learned.network.model import modules
from dsc._coding.integer import IntegerConv, clamp_through
from dsc._coding.weights_file import LIMIT


@dataclass(frozen=True)
class ScaleState:
    """What one scale of a frame leaves for the same scale of the next.

    Attributes
    ----------
    context
        ẑ in quarters of a step, (B, C, h, w), integers in [-127, 127].
    features
        Features of the decoding chain after this scale, (B, width, h, w).
    """

    context: Tensor
    features: Tensor

    def detached(self) -> Self:
        """Return the same without a gradient."""
        return type(self)(self.context.detach(), self.features.detach())


@dataclass(frozen=True)
class Past:
    """The frame before, and the motion since.

    Attributes
    ----------
    scales
        All of them, coarse first; those that are not there as they are predicted.
    motion
        (B, 2, H / 16, W / 16) int32, half pixels (`dsc._codecs.learned.layered.motion`).
    """

    scales: tuple[ScaleState, ...]
    motion: Tensor


class TemporalPrior(nn.Module):
    """Turns what a scale is coded under by the same scale of the frame before: integers.

    Parameters
    ----------
    latents, width
        Channels of the latent, and of the prior's state.
    """

    def __init__(self, latents: int, width: int) -> None:
        super().__init__()
        self.spread = IntegerConv(2 * latents, 2 * latents, kernel=5, shift=6, low=-LIMIT)
        self.gather = IntegerConv(4 * latents + width, width, shift=8)
        self.turn = IntegerConv(width, width, shift=8, low=-LIMIT)
        self.mean = IntegerConv(latents, latents, shift=6, low=-MEAN_LIMIT, high=MEAN_LIMIT)
        with torch.no_grad():
            self.turn.weight.zero_()
            self.mean.weight.zero_()

    def state(self, state: Tensor, context: Tensor) -> Tensor:
        """Return the state (B, width, h, w) for a frame before whose context is (B, C, h, w)."""
        both = torch.cat([context, context.abs()], dim=1)
        known = self.gather(torch.cat([both, self.spread(both), state], dim=1))
        return clamp_through(state + self.turn(known), 0, LIMIT)

    def expect(self, start: Prediction, context: Tensor) -> Prediction:
        """Return a prediction whose mean knows the frame before."""
        mean = clamp_through(start.mean + self.mean(context), -MEAN_LIMIT, MEAN_LIMIT)
        return start._replace(mean=mean)


class Carry(nn.Module):
    """From the features of the frame before, moved, to what they add to this frame's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.entry = pointwise(2 * width, width)
        self.block = GatedBlock(width)
        self.exit = silent(pointwise(width, width))

    def forward(self, hidden: Tensor, carried: Tensor) -> Tensor:
        """Return features (B, width, h, w) of the two."""
        x = self.entry(torch.cat([hidden, carried], dim=1))
        added: Tensor = self.exit(self.block(x))
        return hidden + added


class TemporalLayers(nn.Module):
    """The branches of one modality, by scale."""

    def __init__(self, sizes: LayeredSizes, prior_width: int) -> None:
        super().__init__()
        self.priors = nn.ModuleList(TemporalPrior(count, prior_width) for count in sizes.latents)
        self.carries = nn.ModuleList(Carry(width) for width in sizes.widths)

    def prior(self, scale: int) -> TemporalPrior:
        """Return the integer branch of a scale."""
        return cast(TemporalPrior, self.priors[scale])

    def predict(
        self, layers: Layers, scale: int, state: Tensor, quality: Tensor, context: Tensor
    ) -> Prediction:
        """Return what a scale is coded under, before its steps.

        Parameters
        ----------
        layers
            The still network of the modality.
        state
            Of its prior, (B, width, h, w), for qualities (B,).
        context
            What `context` gives.
        """
        branch, prior = self.prior(scale), layers.prior.scale(scale)
        return branch.expect(prior(branch.state(state, context), quality), context)

    def hidden(self, layers: Layers, scale: int, hidden: Tensor, past: Past) -> Tensor:
        """Return the features of a scale, (B, width, h, w), with what the frame before tells.

        Parameters
        ----------
        layers
            The still network of the modality.
        hidden
            The features above this scale.
        """
        seen = lift(layers, scale, past.scales[scale].features)
        carried = project(layers, scale, warp(seen, past.motion))
        added: Tensor = self.carries[scale](hidden, carried.to(hidden.dtype))
        return added

    def context(self, scale: int, past: Past) -> Tensor:
        """Return the integers of the frame before, moved: (B, C, h, w)."""
        return shift(past.scales[scale].context, past.motion, STRIDES[scale])


class TemporalModel(nn.Module):
    """The branches of all modalities, for a still network of the same sizes."""

    def __init__(self, spec: LayeredSpec) -> None:
        super().__init__()
        self.spec = spec
        self.modalities: Mapping[str, TemporalLayers] = modules(
            {name: TemporalLayers(m, spec.prior_width) for name, m in spec.modalities.items()}
        )

    def integer_modules(self) -> list[IntegerConv]:
        """List the layers of all integer networks."""
        return [m for m in self.modules() if isinstance(m, IntegerConv)]

    def spec_json(self) -> dict[str, Any]:
        """Return the sizes, as JSON."""
        return self.spec.to_json()


class SequenceModel(LayeredModel):
    """A still network and its branches: all that `layered-seq` codes with."""

    spec: SequenceSpec

    def __init__(self, spec: SequenceSpec) -> None:
        super().__init__(spec)
        self.branches: Mapping[str, TemporalLayers] = modules(
            {name: TemporalLayers(m, spec.prior_width) for name, m in spec.modalities.items()}
        )

    def quicken(self) -> None:
        """Keep float32: what bfloat16 rounds off adds up from frame to frame.

        Encoded in bfloat16 and decoded in float32, the last of 16 frames lost 0.9 dB at quality 90;
        and it was not faster.
        """
        self.to(memory_format=torch.channels_last)


def lift(layers: Layers, scale: int, features: Tensor) -> Tensor:
    """Turn the chain's features after a scale into planes (B, c, H, W) without finer blocks."""
    x = features
    for finer in range(scale, SCALES - 1):
        x = F.pixel_shuffle(layers.chain.up[finer](x), 2)
    return F.pixel_shuffle(layers.chain.exit(x).float(), FINEST)


def project(layers: Layers, scale: int, planes: Tensor) -> Tensor:
    """Turn planes (B, c, H, W) into features of a scale without blocks: `lift` the other way."""
    stem = layers.analysis.stem
    x = stem(F.pixel_unshuffle(planes.to(stem.weight.dtype), FINEST))
    for coarser in reversed(range(scale, SCALES - 1)):
        x = layers.analysis.down[coarser](F.pixel_unshuffle(x, 2))
    return x  # type: ignore[no-any-return]
