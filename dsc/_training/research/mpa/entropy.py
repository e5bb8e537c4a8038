"""Latents to symbols and what those cost, by eight levels of rate.

Rates are estimated as dsc's own networks estimate them: a hyper-latent, and from it scales and
means by integer layers, which are told the level. The paper has gains of the hyper-latent and a
context model instead.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dsc._codecs.learned.network.entropy import (
    MEAN_STEPS,
    HyperAnalysis,
    HyperPrior,
    HyperSynthesis,
    pad_hyper,
    quality_bucket,
    quantise_hyper,
)
from dsc._codecs.learned.network.rate import bits_of, gaussian_likelihood
from dsc._coding.integer import round_half_up
from dsc._training.research.mpa.levels import LEVELS, LevelGain, by_level, rate_lambda
from dsc._training.research.mpa.spec import CodecSpec

HIGHEST_QUALITY = 100  # what the integer layers know the last level as


class CodedLatent(NamedTuple):
    """What became of a latent.

    Attributes
    ----------
    symbols, hyper
        What is written, integers: residuals of the latent in quantiser steps (B, M, h, w), and the
        hyper-latent.
    latent
        Dequantised, (B, M, h, w).
    bits
        Estimated, (B,).
    """

    symbols: Tensor
    hyper: Tensor
    latent: Tensor
    bits: Tensor


class LatentModel(nn.Module):
    """Gains, quantisation and the hyperprior."""

    def __init__(self, spec: CodecSpec) -> None:
        super().__init__()
        # a step Δ costs -log2 Δ bits a coefficient and leaves λ 255² Δ² / 36: where both agree
        gains = (math.log(2) * 255.0**2 / 18 * by_level(rate_lambda)).sqrt().tolist()
        self.gain = LevelGain(spec.latents, gains)
        self.inverse_gain = LevelGain(spec.latents, [1 / gain for gain in gains])
        self.hyper_analysis = HyperAnalysis(spec.latents, spec.hyper_width, spec.hyper_latents)
        self.hyper_synthesis = HyperSynthesis(spec.latents, spec.hyper_width, spec.hyper_latents, 0)
        self.prior = HyperPrior(spec.hyper_latents)

    def forward(self, y: Tensor, level: Tensor) -> CodedLatent:
        """Quantise a latent (B, M, h, w) at levels (B,); in training mode, bits see noise."""
        scaled = y * self.gain(level)[..., None, None]
        z = self.hyper_analysis(pad_hyper(scaled))
        hyper = quantise_hyper(z)
        quality = (1 + (HIGHEST_QUALITY - 1) / (LEVELS - 1) * (level - 1)).round()
        size = (y.shape[-2], y.shape[-1])
        index, mean, _ = self.hyper_synthesis(hyper, quality, size, None, None)
        residual = scaled - mean / MEAN_STEPS
        symbols = round_half_up(residual)
        bits = bits_of(self.prior(self._noisy(z, hyper), quality_bucket(quality)))
        bits = bits + bits_of(gaussian_likelihood(self._noisy(residual, symbols), index))
        latent = (symbols + mean / MEAN_STEPS) * self.inverse_gain(level)[..., None, None]
        return CodedLatent(symbols, hyper, latent, bits)

    def _noisy(self, x: Tensor, rounded: Tensor) -> Tensor:
        return x + torch.rand_like(x) - 0.5 if self.training else rounded
