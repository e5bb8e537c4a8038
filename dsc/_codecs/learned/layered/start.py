"""The start of a layered network: nested PCA, and at each scale the PCA of what is lacking.

Blocks of 4×4 pixels become their principal components, groups of 2×2 of those again, up to 1/32;
the transposes lead back. From coarse to fine, a scale's latent is then a PCA of what the decoded
coarser scales lack at that scale. So coarse scales carry a picture before the first step; from
random weights they stay empty.
"""

import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._codecs.learned.layered.model import FINEST, LayeredModel, Layers, Posterior
from dsc._codecs.learned.layered.spec import SCALES
from dsc._codecs.learned.network.entropy import SCALE_MIN
from dsc._codecs.learned.network.klt import principal_directions, set_pointwise
from dsc._codecs.learned.network.rate import LOG_SCALE_STEP
from dsc._coding.integer import BIAS_UNIT

MIDDLE = 50  # the quality at which scales are measured
PASSED = 127 / 256  # the largest weight of an integer layer of shift 8


@torch.no_grad()
def initialise_layers(model: LayeredModel, planes: Mapping[str, Tensor]) -> None:
    """Start all modalities; see the module.

    Parameters
    ----------
    planes
        Training crops (N, c, H, W) by modality, H and W multiples of 32.
    """
    for name, layers in model.modalities.items():
        _nested_pca(layers, planes[name])
        _lacking_pca(layers, planes[name])


def _nested_pca(layers: Layers, planes: Tensor) -> None:
    """Set the transforms between scales."""
    analysis, chain = layers.analysis, layers.chain
    x = F.pixel_unshuffle(planes, FINEST)
    basis = _basis(x, layers.sizes.widths[-1])
    set_pointwise(analysis.stem, basis)
    set_pointwise(chain.exit, basis.T)
    x = torch.einsum("oc,bchw->bohw", basis, x)
    for scale in reversed(range(SCALES - 1)):
        x = F.pixel_unshuffle(x, 2)
        basis = _basis(x, layers.sizes.widths[scale])
        set_pointwise(analysis.down[scale], basis)
        set_pointwise(chain.up[scale], basis.T)
        x = torch.einsum("oc,bchw->bohw", basis, x)


def _lacking_pca(layers: Layers, planes: Tensor) -> None:
    """Set what is coded at each scale, by what the coarser ones decode to at the middle quality."""
    features = layers.analysis(planes)
    quality = torch.full((1,), float(MIDDLE))
    coarsest = features[0]
    hidden = layers.chain.start(len(coarsest), (coarsest.shape[2], coarsest.shape[3]))
    for scale, own in enumerate(features):
        width, latents = layers.sizes.widths[scale], layers.sizes.latents[scale]
        basis = _basis(own - hidden, latents)
        posterior, eye = cast(Posterior, layers.posterior[scale]), torch.eye(width)
        set_pointwise(posterior.entry, torch.cat([-eye, eye], dim=1))
        set_pointwise(posterior.exit, basis)
        set_pointwise(layers.chain.receive[scale], basis.T)
        gain = layers.gain_of(scale, quality)
        scaled = layers.latent(scale, hidden, own, gain)
        _expect(layers, scale, scaled)
        taken = layers.chain.take(scale, hidden, scaled.round() / gain)
        hidden = layers.chain.rise(scale, taken)


def _expect(layers: Layers, scale: int, scaled: Tensor) -> None:
    """Let a scale's prior begin with the deviations that were measured, at all qualities.

    A scale index is linear in the logarithm of a deviation, and that of a gain nearly so in
    quality: the first feature hands quality through.
    """
    prior = layers.prior.scale(scale)
    low, high = layers.sizes.lambda_range
    slope = 0.5 * math.log(high / low) / 99 / LOG_SCALE_STEP
    deviation = scaled.square().mean(dim=(0, 2, 3)).sqrt().clamp_min(SCALE_MIN)
    index = (deviation / SCALE_MIN).log() / LOG_SCALE_STEP
    nn.init.zeros_(prior.mix.weight[0])
    prior.mix.weight[0, -1] = PASSED
    prior.scale.weight[:, 0] = slope / PASSED
    prior.scale.bias.copy_((index - slope * MIDDLE) / BIAS_UNIT)


def _basis(x: Tensor, count: int) -> Tensor:
    """Return `count` principal directions of (B, C, H, W), followed by zeros where C is less."""
    found = principal_directions(x, count)
    return F.pad(found, (0, 0, 0, count - len(found)))
