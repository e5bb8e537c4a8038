"""Trains a `FeatureNetwork`: by what the rest of the backbone answers, and by the features' error.

The loss of a sample of quality q is the divergence between the answers to its features and to the
decoded ones, and the features' error relative to their variance, and the bits:

    L = KL(answer ‖ answer to decoded) + α · error + μ(q) · bits a pixel

with μ falling by a fixed ratio from quality to quality, and L over the root of μ(q), so that no
quality rules the gradient. Nothing knows of labels: the answers are the network's own.

The start is what minimises L to second order without training. For small errors δ, the divergence
is ½ δᵀ F δ with F the Fisher information of the answer, F = E[g gᵀ] over gradients g of sampled
labels' log-likelihood. Averaged over positions and with α's share added, it is a metric on
channels, and the Karhunen-Loève transform in that metric with one step for all components is the
best linear transform at high resolution. It goes on learning, and what decodes is its inverse at
every step: two transforms that learned apart drifted apart, and left an error of 7 % that no bits
took away (KL 0.035 at all high qualities).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._codecs.learned.feature.network import FeatureNetwork
from dsc._codecs.learned.feature.spec import FeatureSpec
from dsc._codecs.learned.network.differentiable import predict_all
from dsc._codecs.learned.network.entropy import (
    MEAN_STEPS,
    pad_hyper,
    quality_bucket,
    quantise_hyper,
)
from dsc._codecs.learned.network.klt import set_pointwise
from dsc._codecs.learned.network.model import ANCHORS
from dsc._codecs.learned.network.rate import bits_of, gaussian_likelihood
from dsc._coding.integer import round_half_up
from dsc._training.average import WeightAverage

ERROR_WEIGHT = 0.3  # α
PRICES = (24.0, 0.04)  # μ of qualities 1 and 100: nats for a bit a pixel
STEP_POWER = 1 / 3  # of μ; 1/2 at high resolution, but errors that are alike everywhere add up
BATCH = 8
LEARNING_RATE = 2e-3
WARM_UP = 100
FISHER_SAMPLES = 512
CHECKPOINT_EVERY = 100


@dataclass(frozen=True)
class FeatureExamples:
    """Features of one layer, and what the rest of their network answers.

    Attributes
    ----------
    features
        (n, C, h, w), float16 or wider.
    answers
        Logits (n, classes).
    """

    features: Tensor
    answers: Tensor

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Measured:
    """What a quality costs and gives, averaged over examples.

    Attributes
    ----------
    bpp
        Bits a pixel of the picture, estimated.
    divergence
        KL of the answer, in nats.
    error
        Squared error over the variance, averaged over channels.
    agreement
        Share of the examples whose likeliest class stays.
    """

    bpp: float
    divergence: float
    error: float
    agreement: float


@torch.inference_mode()
def with_answers(features: Tensor, tail: nn.Module) -> FeatureExamples:
    """Ask the rest of the network about features (n, C, h, w)."""
    parts = [tail(_last(some.float())) for some in torch.split(features, BATCH)]
    return FeatureExamples(features, torch.cat(parts))


def price(quality: Tensor) -> Tensor:
    """Return μ for qualities 1 to 100."""
    first, last = PRICES
    return first * (last / first) ** ((quality - 1) / 99)


# ---- the start


def untrained(
    spec: FeatureSpec, examples: FeatureExamples, tail: nn.Module, seed: int = 0
) -> FeatureNetwork:
    """Make a network that codes by the transform that needs no training; see the module."""
    torch.manual_seed(seed)
    network = FeatureNetwork(spec)
    some = examples.features[:: max(1, len(examples) // FISHER_SAMPLES)].float()
    mean, deviation = some.mean(dim=(0, 2, 3)), some.std(dim=(0, 2, 3)).clamp_min(1e-6)
    normal = (some - mean[:, None, None]) / deviation[:, None, None]
    positions = some.shape[2] * some.shape[3]
    error_share = 2 * ERROR_WEIGHT / (positions * spec.channels)
    metric = _fisher(some, deviation, tail) + error_share * torch.eye(spec.channels).double()
    values, vectors = torch.linalg.eigh(metric)
    root = vectors * values.sqrt() @ vectors.T
    rows = normal.permute(0, 2, 3, 1).reshape(-1, spec.channels).double() @ root
    turn = torch.linalg.eigh(rows.T @ rows).eigenvectors.flip(1)
    basis = turn.T @ root
    unit = basis.square().mean().sqrt() * spec.channels**0.5  # weights as layers start with them
    finest = 12 / math.log(2) * PRICES[1] / (positions * spec.stride**2)  # its square
    grown = (price(torch.linspace(1, 100, ANCHORS)) / PRICES[1]) ** STEP_POWER
    _start(network, mean, deviation, (basis / unit).float(), math.sqrt(finest) / unit * grown)
    return network


@torch.no_grad()
def _start(
    network: FeatureNetwork, mean: Tensor, deviation: Tensor, basis: Tensor, step: Tensor
) -> None:
    """Make a network a linear transform codec.

    Parameters
    ----------
    mean, deviation
        Of each channel, (C,).
    basis
        From normalised features to the latent, (C, C).
    step
        Quantiser steps at the qualities of the anchors, (ANCHORS,).
    """
    network.mean.copy_(mean.view_as(network.mean))
    network.deviation.copy_(deviation.view_as(network.deviation))
    set_pointwise(network.analysis, basis)
    set_pointwise(network.synthesis, inverse_of(network))
    network.gain.log_gain.copy_((-step.log())[:, None].expand_as(network.gain.log_gain))
    network.inverse_gain.log_gain.copy_(-network.gain.log_gain)


def inverse_of(network: FeatureNetwork) -> Tensor:
    """Return the inverse of the analysis' transform, (C, C)."""
    inverse: Tensor = torch.linalg.inv(network.analysis.weight[:, :, 0, 0].double())
    return inverse.float()


def _fisher(features: Tensor, deviation: Tensor, tail: nn.Module) -> Tensor:
    """Return E[g gᵀ] of normalised features, averaged over positions, (C, C) float64."""
    channels = features.shape[1]
    total = torch.zeros(channels, channels, dtype=torch.float64)
    for some in torch.split(features, BATCH):
        given = _last(some).requires_grad_()
        likelihood = F.log_softmax(tail(given), dim=1)
        label = torch.multinomial(likelihood.detach().exp(), 1)
        (gradient,) = torch.autograd.grad(likelihood.gather(1, label).sum(), given)
        rows = (gradient * deviation[:, None, None]).permute(0, 2, 3, 1).reshape(-1, channels)
        total += rows.double().T @ rows.double()
    return total / (len(features) * features.shape[2] * features.shape[3])


# ---- one pass


@dataclass(frozen=True)
class CodedFeatures:
    """What one forward pass gives; differentiable.

    Attributes
    ----------
    features
        Decoded features (B, C, h, w).
    bits
        Estimated bits of each sample, (B,).
    """

    features: Tensor
    bits: Tensor


def code(network: FeatureNetwork, features: Tensor, quality: Tensor) -> CodedFeatures:
    """Code a batch, and decode it by the inverse of the analysis as it is now.

    Parameters
    ----------
    features
        (B, C, h, w).
    quality
        Integers 1 to 100, (B,).
    """
    latent, bits = code_latent(network, features, quality, noisy=network.training)
    scaled = latent * network.inverse_gain(quality.float())
    normal = F.conv2d(scaled, inverse_of(network)[:, :, None, None])
    return CodedFeatures(normal * network.deviation + network.mean, bits)


def code_latent(
    network: FeatureNetwork, features: Tensor, quality: Tensor, *, noisy: bool
) -> tuple[Tensor, Tensor]:
    """Return the rounded latent in quantiser steps (B, C, h, w), and its bits (B,).

    The bits are those of the rounded symbols. In training their gradient is that of the scales at
    these symbols, and that of y at symbols with additive uniform noise in rounding's place: at low
    rates, where most symbols are zero for certain, noise would cost what rounding does not, and
    scales learned from it are too wide.

    Parameters
    ----------
    features
        (B, C, h, w).
    quality
        Integers 1 to 100, (B,).
    noisy
        Whether it is training; ẑ is costed with noise then.
    """
    entropy = network.entropy
    scaled = network.analyse(features, quality.float())
    z = entropy.analysis(pad_hyper(scaled))
    noisy_z = z + torch.rand_like(z) - 0.5 if noisy else quantise_hyper(z)
    bits = bits_of(entropy.prior(noisy_z, quality_bucket(quality)))
    size = (scaled.shape[-2], scaled.shape[-1])
    start = entropy.synthesis(quantise_hyper(z), quality, size, None, None)
    index, mean = predict_all(entropy, start, scaled)
    residual = scaled - mean / MEAN_STEPS
    symbols = round_half_up(residual)
    bits = bits + bits_of(gaussian_likelihood(symbols.detach(), index))
    if noisy:
        near = residual + torch.rand_like(residual) - 0.5
        through = bits_of(gaussian_likelihood(near, index.detach()))
        bits = bits + through - through.detach()
    return symbols + mean / MEAN_STEPS, bits


# ---- training


def train(
    network: FeatureNetwork,
    examples: FeatureExamples,
    tail: nn.Module,
    steps: int,
    seed: int = 0,
    qualities: Sequence[int] = range(1, 101),
    checkpoint: Path | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> FeatureNetwork:
    """Train a network, and return its average over the steps.

    What a step does depends on its number and the seed alone: a run that goes on from a checkpoint
    ends as one that was never stopped.

    Parameters
    ----------
    network
        What `untrained` gave; it is changed.
    examples
        What is trained on.
    tail
        The frozen rest of the backbone, to logits.
    steps
        Updates, of `BATCH` examples each.
    qualities
        What qualities are drawn from; one for a network of one rate.
    checkpoint
        File that the state is kept in, and gone on from where it is there.
    log
        Told, now and then, what the last steps cost.
    """
    network.to(memory_format=torch.channels_last).train()
    network.synthesis.requires_grad_(False)
    cast(nn.Parameter, network.analysis.bias).requires_grad_(False)  # features come centred
    learned = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, LEARNING_RATE, betas=(0.9, 0.98))
    average = WeightAverage("ema", network)
    begun = _resume(checkpoint, network, optimizer, average)
    drawn = torch.tensor(list(qualities))
    shown = torch.zeros(3)
    for step in range(begun, steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        torch.manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(len(examples), (BATCH,), generator=generator)
        quality = drawn[torch.randint(len(drawn), (BATCH,), generator=generator)]
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _schedule(step, steps)
        divergence, error, bpp, _ = costs(
            network, tail, examples.features[chosen].float(), examples.answers[chosen], quality
        )
        mu = price(quality.float())
        loss = ((divergence + ERROR_WEIGHT * error) / mu.sqrt() + mu.sqrt() * bpp).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        average.update(step + 1)
        parts = torch.stack([part.detach().mean() for part in (divergence, error, bpp)])
        shown = shown + (parts - shown) / min(step - begun + 1, 100)
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps:
            log("step {}: KL {:.4f}, error {:.4f}, {:.4f} bpp".format(step + 1, *shown.tolist()))
            _keep(checkpoint, step + 1, network, optimizer, average)
    trained = cast(FeatureNetwork, average.network)
    with torch.no_grad():
        set_pointwise(trained.synthesis, inverse_of(trained))
    return trained.eval()


def costs(
    network: FeatureNetwork, tail: nn.Module, features: Tensor, answers: Tensor, quality: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return divergence, error and bits a pixel of each sample, (B,), and what is answered."""
    coded = code(network, _last(features), quality)
    found = tail(_last(coded.features))
    error = ((coded.features - features) / network.deviation).square().mean(dim=(1, 2, 3))
    pixels = features.shape[2] * features.shape[3] * network.spec.stride**2
    return divergence_of(answers, found), error, coded.bits / pixels, found


def divergence_of(wanted: Tensor, found: Tensor) -> Tensor:
    """Return KL(wanted ‖ found) of logits (B, classes), in nats, (B,)."""
    ours, theirs = F.log_softmax(wanted, dim=1), F.log_softmax(found, dim=1)
    return (ours.exp() * (ours - theirs)).sum(1)


@torch.inference_mode()
def measure(
    network: FeatureNetwork, examples: FeatureExamples, tail: nn.Module, quality: int
) -> Measured:
    """Measure a network at one quality, with rounded symbols and estimated bits."""
    network.eval()
    totals = torch.zeros(4)
    both = zip(*(torch.split(x, BATCH) for x in (examples.features, examples.answers)), strict=True)
    for features, answers in both:
        qualities = torch.full((len(features),), quality)
        divergence, error, bpp, found = costs(network, tail, features.float(), answers, qualities)
        agrees = (found.argmax(1) == answers.argmax(1)).float()
        totals += torch.stack([part.sum() for part in (bpp, divergence, error, agrees)])
    return Measured(*(totals / len(examples)).tolist())


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _schedule(step: int, steps: int) -> float:
    """Return the learning rate's share: a short rise, then a cosine to a hundredth."""
    return min(1.0, (step + 1) / WARM_UP) * (0.505 + 0.495 * math.cos(math.pi * step / steps))


def _keep(
    path: Path | None,
    step: int,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage,
) -> None:
    if path is None:
        return
    state = {
        "step": step,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.state(),
    }
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _resume(
    path: Path | None,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage,
) -> int:
    if path is None or not path.exists():
        return 0
    state: dict[str, Any] = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    average.restore(state["average"])
    return int(state["step"])
