"""The trainable side of the layered network: one differentiable coding of a batch.

As in `dsc._codecs.learned.network.differentiable`, training estimates rates with uniform noise and
decodes rounded latents with straight-through gradients; in evaluation both are of rounded symbols.

Prefix training: while it trains, some samples are cut after a random scale. What is missing of them
is predicted, as a reader does; their rate and distortion count less, so that coarse versions become
better without the whole one becoming much worse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dsc._codecs.learned.layered.model import LayeredModel, Layers
from dsc._codecs.learned.layered.spec import SCALES, LayeredSpec, scale_stream, sized_layers
from dsc._codecs.learned.layered.start import initialise_layers
from dsc._codecs.learned.layered.temporal import Past, ScaleState, TemporalLayers
from dsc._codecs.learned.network.differentiable import distortion_of, predict_all
from dsc._codecs.learned.network.entropy import MEAN_STEPS, Prediction, context_of
from dsc._codecs.learned.network.model import lambdas
from dsc._codecs.learned.network.rate import bits_of, gaussian_likelihood
from dsc._codecs.learned.network.trainable import Coded
from dsc._coding.integer import round_half_up

CUT_WEIGHT = 0.3  # what rate and distortion of a sample that is cut count


@dataclass(frozen=True)
class CodedLayers:
    """One modality, coded.

    Attributes
    ----------
    bits
        Of each sample, (B,), by scale.
    planes
        Decoded, (B, c, H, W).
    scales
        What a frame leaves for the one after it.
    """

    bits: list[Tensor]
    planes: Tensor
    scales: tuple[ScaleState, ...]


class LayeredNetwork(LayeredModel):
    """A `Network` that trains (`dsc._codecs.learned.network.trainable`); see the module.

    Attributes
    ----------
    prefix_share
        Part of the samples that are cut while it trains.
    """

    prefix_share: float = 0.2

    @property
    def kind(self) -> str:
        """Name its kind: a key of `dsc._training.networks.NETWORKS`."""
        return self.spec.kind

    @property
    def channels(self) -> dict[str, int]:
        """Channels of the planes by modality."""
        return {name: m.channels for name, m in self.spec.modalities.items()}

    def required(self, tasks: Sequence[str]) -> tuple[str, ...]:
        """Name the streams that decoding these tasks takes, coarse first."""
        return self.spec.required(tasks)

    def weight(self, task: str, quality: Tensor) -> Tensor:
        """Return λ (B,), the weight of `Coded.distortion`, for qualities (B,)."""
        return lambdas(self.spec.modalities[task].lambda_range, quality.float())

    def initialise(self, planes: Mapping[str, Tensor]) -> None:
        """Start from training crops (N, c, H, W) by modality: nested PCA."""
        initialise_layers(self, planes)

    def spec_json(self) -> dict[str, Any]:
        """Return the sizes, as JSON."""
        return self.spec.to_json()

    def code(
        self,
        inputs: Mapping[str, Tensor],
        valid: Mapping[str, Tensor],
        wanted: Sequence[str],
        quality: Mapping[str, Tensor],
        bfloat16: bool = False,
    ) -> Coded:
        """Code a batch; see `dsc._codecs.learned.network.trainable.Network.code`.

        In training mode rate and distortion of samples that are cut count `CUT_WEIGHT`, and nothing
        is charged for what they lack.
        """
        rate, distortion, planes, features = {}, {}, {}, {}
        for name in wanted:
            x = inputs[name]
            kept = self._kept(len(x), x.device)
            coded = self.code_layers(name, x, quality[name], kept, bfloat16)
            weight = torch.where(kept < SCALES, CUT_WEIGHT, 1.0)
            pixels = x[0, 0].numel()
            for scale, bits in enumerate(coded.bits):
                rate[scale_stream(name, scale)] = weight * (scale < kept) * bits / pixels
            planes[name] = coded.planes
            features[name] = tuple(scale.features for scale in coded.scales)
            distortion[name] = weight * distortion_of(coded.planes, x, valid.get(name))
        return Coded(rate, distortion, planes, features)

    def code_layers(
        self,
        name: str,
        x: Tensor,
        quality: Tensor,
        kept: Tensor | None = None,
        bfloat16: bool = False,
        temporal: TemporalLayers | None = None,
        past: Past | None = None,
    ) -> CodedLayers:
        """Code one modality.

        Parameters
        ----------
        x
            Planes (B, c, H, W), H and W multiples of 32.
        quality
            Integers 1 to 100, (B,).
        kept
            How many scales each sample keeps, (B,); None for all. The latents of the others are
            the predicted means. Bits are returned of all scales.
        temporal, past
            The branches that see the frame before, and that frame; None for a key frame.
        """
        layers = self.modalities[name]
        autocast = partial(torch.autocast, x.device.type, torch.bfloat16, enabled=bfloat16)
        with autocast():
            features = layers.analysis(x)
        size = (features[0].shape[2], features[0].shape[3])
        hidden = layers.chain.start(len(x), size)
        state = layers.prior.start(quality, size)
        bits, scales = [], []
        for scale, own in enumerate(features):
            gain = layers.gain_of(scale, quality)
            context = None
            if temporal is not None and past is not None:
                context = temporal.context(scale, past)
                with autocast():
                    hidden = temporal.hidden(layers, scale, hidden, past)
            with autocast():
                scaled = layers.latent(scale, hidden, own, gain)
            there = None if kept is None else (kept > scale)[:, None, None, None]
            start = _predicted(layers, scale, state, quality, temporal, context)
            symbols, mean, own_bits = self.code_scale(layers, scale, start, scaled, there)
            bits.append(own_bits)
            with autocast():
                latent = (symbols + mean / MEAN_STEPS) / gain
                taken = layers.chain.take(scale, hidden, latent)
                hidden = layers.chain.rise(scale, taken)
            seen = context_of(symbols, mean)
            scales.append(ScaleState(seen, taken))
            state = layers.prior.advance(scale, state, seen, quality)
        return CodedLayers(bits, hidden, tuple(scales))

    def code_scale(
        self, layers: Layers, scale: int, start: Prediction, scaled: Tensor, there: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return symbols and means (B, C, h, w), and bits (B,), of one scale.

        Parameters
        ----------
        start
            What the prior knows before the scale's first step.
        scaled
            The latent in quantiser steps, (B, C, h, w).
        there
            Which samples have this scale, (B, 1, 1, 1); None for all.
        """
        index, mean = predict_all(layers.prior.scale(scale), start, scaled)
        residual = scaled - mean / MEAN_STEPS
        symbols = round_half_up(residual)
        noisy = residual + torch.rand_like(residual) - 0.5 if self.training else symbols
        bits = bits_of(gaussian_likelihood(noisy, index))
        if there is not None:
            symbols, mean = symbols * there, torch.where(there, mean, start.mean)
        return symbols, mean, bits

    def _kept(self, batch: int, device: torch.device) -> Tensor:
        """Draw how many scales each sample keeps, (B,)."""
        whole = torch.full((batch,), SCALES, device=device)
        if not self.training or not self.prefix_share:
            return whole
        cut = torch.rand(batch, device=device) < self.prefix_share
        return torch.where(cut, torch.randint(1, SCALES, (batch,), device=device), whole)


def _predicted(
    layers: Layers,
    scale: int,
    state: Tensor,
    quality: Tensor,
    temporal: TemporalLayers | None,
    context: Tensor | None,
) -> Prediction:
    """Return what a scale is coded under, before its steps."""
    if temporal is None or context is None:
        return layers.prior.scale(scale)(state, quality)  # type: ignore[no-any-return]
    return temporal.predict(layers, scale, state, quality, context)


def layered(
    modalities: Sequence[str], size: str, spec: Mapping[str, Any] | None = None
) -> LayeredNetwork:
    """Make an untrained network; see `dsc._training.networks.make_network`."""
    return LayeredNetwork(LayeredSpec.from_json(spec) if spec else sized_layers(modalities, size))
