"""The transforms of a layered network: analysis upward, decoding chain downward.

A hierarchical variational autoencoder in the manner of QARV and DHVC (Duan et al., "QARV:
quantization-aware ResNet VAE for lossy image compression", TPAMI 2024; Lu et al., "Deep
hierarchical video compression", AAAI 2024). As in the latter there are two chains downward: one of
integers, which probabilities come from (`dsc._codecs.learned.layered.prior`), and one of floating
point, which ends in pixels. A scale that is missing has the latent that the integers of the
coarser ones predict.

At scale k the chain has features h; the encoder's own features of that scale are e. What is coded
is a projection of what h lacks of e. Rate is variable by a gain vector a scale.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._codecs.learned.layered.prior import PriorChain
from dsc._codecs.learned.layered.spec import SCALES, STRIDES, UNIT, LayeredSizes, LayeredSpec
from dsc._codecs.learned.network.layers import GatedBlock, pointwise, unshuffle
from dsc._codecs.learned.network.model import Gain, modules, start_of_steps
from dsc._coding.integer import IntegerConv

FINEST = STRIDES[-1]


class Analysis(nn.Module):
    """Planes (B, c, H, W) to features of all scales."""

    def __init__(self, sizes: LayeredSizes) -> None:
        super().__init__()
        widths, blocks = sizes.widths, sizes.blocks
        self.stem = pointwise(sizes.channels * FINEST**2, widths[-1])
        self.blocks = nn.ModuleList(_blocks(widths[k], blocks[k]) for k in range(SCALES))
        self.down = nn.ModuleList(
            pointwise(widths[k + 1] * 4, widths[k]) for k in range(SCALES - 1)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return features (B, widths[k], H / 32 · 2^k, W / 32 · 2^k), coarse first.

        H and W are multiples of 32.
        """
        x = self.stem(unshuffle(x, FINEST).to(self.stem.weight.dtype))
        found = [self.blocks[-1](x)]
        for scale in reversed(range(SCALES - 1)):
            x = self.down[scale](F.pixel_unshuffle(found[0], 2))
            found.insert(0, self.blocks[scale](x))
        return found


class Posterior(nn.Module):
    """The latent of a scale, of the chain's features and the encoder's."""

    def __init__(self, width: int, latents: int) -> None:
        super().__init__()
        self.entry = pointwise(2 * width, width)
        self.block = GatedBlock(width)
        self.exit = pointwise(width, latents)

    def forward(self, hidden: Tensor, own: Tensor) -> Tensor:
        """Map two (B, width, h, w) to (B, latents, h, w)."""
        x = self.entry(torch.cat([hidden.to(own.dtype), own], dim=1))
        latent: Tensor = self.exit(self.block(x))
        return latent


class DecodingChain(nn.Module):
    """From the latents of all scales to planes."""

    def __init__(self, sizes: LayeredSizes) -> None:
        super().__init__()
        widths, blocks = sizes.widths, sizes.blocks
        self.first = nn.Parameter(torch.zeros(widths[0]))
        self.receive = nn.ModuleList(pointwise(sizes.latents[k], widths[k]) for k in range(SCALES))
        self.blocks = nn.ModuleList(_blocks(widths[k], blocks[k]) for k in range(SCALES))
        self.up = nn.ModuleList(pointwise(widths[k], widths[k + 1] * 4) for k in range(SCALES - 1))
        self.exit = pointwise(widths[-1], sizes.channels * FINEST**2)

    def start(self, batch: int, size: tuple[int, int]) -> Tensor:
        """Return the features above the coarsest scale, (B, widths[0], h, w)."""
        hidden = self.first[None, :, None, None].expand(batch, -1, *size)
        return hidden.contiguous(memory_format=torch.channels_last)

    def take(self, scale: int, hidden: Tensor, latent: Tensor) -> Tensor:
        """Take in the dequantised latent of a scale; features (B, widths[scale], h, w)."""
        taken: Tensor = self.blocks[scale](hidden + self.receive[scale](latent.to(hidden.dtype)))
        return taken

    def rise(self, scale: int, features: Tensor) -> Tensor:
        """Return the features above the next finer scale; after the finest, planes, float32."""
        if scale + 1 < SCALES:
            return F.pixel_shuffle(self.up[scale](features), 2)
        return F.pixel_shuffle(self.exit(features).float(), FINEST)

    def forward(self, latents: Sequence[Tensor]) -> Tensor:
        """Synthesise planes (B, c, H, W), float32, from dequantised latents, coarse first."""
        coarsest = latents[0]
        x = self.start(len(coarsest), (coarsest.shape[2], coarsest.shape[3]))
        for scale, latent in enumerate(latents):
            x = self.rise(scale, self.take(scale, x, latent))
        return x


class Layers(nn.Module):
    """All networks of one modality."""

    def __init__(self, sizes: LayeredSizes, prior_width: int, steps: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.analysis = Analysis(sizes)
        self.posterior = nn.ModuleList(
            Posterior(width, latents)
            for width, latents in zip(sizes.widths, sizes.latents, strict=True)
        )
        self.chain = DecodingChain(sizes)
        start = start_of_steps(sizes.lambda_range, sizes.channels)
        gains = [Gain(latents, start) for latents in sizes.latents]
        self.gain = cast(Sequence[Gain], nn.ModuleList(gains))
        self.prior = PriorChain(sizes.latents, prior_width, steps)

    def gain_of(self, scale: int, quality: Tensor) -> Tensor:
        """Return the gains of a scale, (B, C, 1, 1) float32, for qualities (B,) in [1, 100]."""
        gain: Tensor = self.gain[scale](quality.float())
        return gain

    def latent(self, scale: int, hidden: Tensor, own: Tensor, gain: Tensor) -> Tensor:
        """Return a scale's latent in quantiser steps, (B, C, h, w) float32."""
        found: Tensor = self.posterior[scale](hidden, own).float()
        return found * gain


class LayeredModel(nn.Module):
    """The networks of all modalities; see the module.

    Attributes
    ----------
    unit
        Sides of planes are multiples of it.
    """

    unit = UNIT

    def __init__(self, spec: LayeredSpec) -> None:
        super().__init__()
        self.spec = spec
        self.modalities: Mapping[str, Layers] = modules(
            {
                name: Layers(sizes, spec.prior_width, spec.context_steps)
                for name, sizes in spec.modalities.items()
            }
        )

    def quicken(self) -> None:
        """Run the decoding of 8-bit tasks in bfloat16; depth keeps float32, which it needs.

        Nothing that probabilities come from is changed.
        """
        for name, layers in self.modalities.items():
            if name != "depth":
                layers.chain.to(torch.bfloat16)
        self.to(memory_format=torch.channels_last)

    def integer_modules(self) -> list[IntegerConv]:
        """List the layers of all integer networks."""
        return [m for m in self.modules() if isinstance(m, IntegerConv)]


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(GatedBlock(width) for _ in range(count)))
