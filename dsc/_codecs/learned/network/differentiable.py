"""The trainable side of the conditional network: one differentiable coding of a batch.

In training mode rate is estimated with additive uniform noise and reconstruction uses rounded
latents with straight-through gradients. In evaluation mode (`eval()`) rate is that of the rounded
symbols, which is what a coder with ideal tables would write.

In a chain, a stream sees what it requires as it is, without a gradient: the first task then costs
what its own codec would, whatever is coded after it. What is predicted of a stream's planes learns
from its own error as well; the value of the loss is not changed by that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dsc._codecs.learned.network.entropy import (
    MEAN_STEPS,
    Prediction,
    SteppedEntropy,
    context_of,
    deviation,
    pad_hyper,
    quality_bucket,
    quantise_hyper,
)
from dsc._codecs.learned.network.klt import initialise_klt
from dsc._codecs.learned.network.model import ConditionalModel, Given, lambdas
from dsc._codecs.learned.network.rate import bits_of, gaussian_likelihood
from dsc._codecs.learned.network.spec import SHARED, ModelSpec, sized
from dsc._codecs.learned.network.trainable import Coded
from dsc._coding.integer import round_half_up
from dsc._coding.steps import step_mask

PREDICTION_LAMBDA = 1e-3  # weight of a prediction's own error while it trains


@dataclass(frozen=True)
class _Stream:
    """One coded stream: ŷ dequantised, its context for others, its quality, its bits (B,)."""

    latent: Tensor
    context: Tensor
    quality: Tensor
    bits: Tensor


class ConditionalNetwork(ConditionalModel):
    """A `Network` that trains (`trainable.Network`), of one of the three kinds; see the module."""

    @property
    def kind(self) -> str:
        """Name its kind: a key of `dsc._training.networks.NETWORKS`."""
        return self.spec.kind

    @property
    def channels(self) -> dict[str, int]:
        """Channels of the planes by modality."""
        return {name: m.channels for name, m in self.spec.modalities.items()}

    def required(self, tasks: Sequence[str]) -> tuple[str, ...]:
        """Name the streams that decoding these tasks takes, those required first."""
        return self.spec.required(tasks)

    def weight(self, task: str, quality: Tensor) -> Tensor:
        """Return λ (B,), the weight of `Coded.distortion`, for qualities (B,)."""
        return lambdas(self.spec.modalities[task].lambda_range, quality.float())

    def initialise(self, planes: Mapping[str, Tensor]) -> None:
        """Start from training crops (N, c, H, W) by modality: the two-stage KLT."""
        initialise_klt(self, planes)

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

        A shared stream takes the largest quality of the wanted tasks. A required task that is not
        among the inputs is coded without. One that is, but is not wanted, is charged, and takes
        the quality given for it, else that of the first wanted task.
        """
        device = next(iter(inputs.values())).device.type
        pixels = next(iter(inputs.values()))[0, 0].numel()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
            features = self.features(inputs)
        coded: dict[str, _Stream] = {}
        given: dict[str, Given] = {}
        distortion, decoded = {}, {}
        order = [name for name in self.required(wanted) if name == SHARED or name in inputs]
        for name in order:
            own = self._quality(name, wanted, quality)
            fixed = name not in wanted and name != SHARED
            with torch.set_grad_enabled(torch.is_grad_enabled() and not fixed):
                with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
                    guide = self.guide(name, given)
                    y = self.analyse(name, inputs, features, given, guide)
                coded[name] = self._code_stream(name, y, own, coded)
                latent, planes = coded[name].latent, None
                if name in wanted or (self.spec.guided and name != order[-1]):
                    with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
                        planes = self.synthesise(name, latent, given, guide)
            if name in wanted and planes is not None:
                decoded[name] = planes
                distortion[name] = distortion_of(planes, inputs[name], valid.get(name))
                if guide is not None and guide.predicted is not None:
                    missed = distortion_of(guide.predicted, inputs[name], valid.get(name))
                    distortion[name] = distortion[name] + self._lesson(name, missed, own)
            given[name] = Given(latent, planes) if self.spec.is_joint else _detached(latent, planes)
        rate = {name: stream.bits / pixels for name, stream in coded.items()}
        return Coded(rate, distortion, decoded)

    def _lesson(self, name: str, missed: Tensor, quality: Tensor) -> Tensor:
        """Return zeros (B,) with the gradient that teaches a prediction its target directly.

        Rate tells a prediction too little: one that learned from it alone stayed a constant.
        Divided by λ, the gradient is the same at all qualities.
        """
        through = PREDICTION_LAMBDA * (missed - missed.detach())
        return through / self.weight(name, quality)

    def _quality(self, name: str, wanted: Sequence[str], quality: Mapping[str, Tensor]) -> Tensor:
        if name == SHARED:
            return torch.stack([quality[task] for task in wanted]).amax(0)
        return quality[name] if name in quality else quality[wanted[0]]

    def _code_stream(
        self, name: str, y: Tensor, quality: Tensor, coded: Mapping[str, _Stream]
    ) -> _Stream:
        gain = self.gain[name](quality.float())
        entropy = self.entropy[name]
        scaled = y * gain
        z = entropy.analysis(pad_hyper(scaled))
        noisy = z + torch.rand_like(z) - 0.5 if self.training else quantise_hyper(z)
        bits = bits_of(entropy.prior(noisy, quality_bucket(quality)))
        contexts, qualities = self._contexts(name, y, coded)
        size = (y.shape[-2], y.shape[-1])
        start = entropy.synthesis(quantise_hyper(z), quality, size, contexts, qualities)
        index, mean = predict_all(entropy, start, scaled)
        residual = scaled - mean / MEAN_STEPS
        symbols = round_half_up(residual)
        noisy = residual + torch.rand_like(residual) - 0.5 if self.training else symbols
        bits = bits + bits_of(gaussian_likelihood(noisy, index))
        latent = (symbols + mean / MEAN_STEPS) / gain
        return _Stream(latent, context_of(symbols, mean), quality, bits)

    def _contexts(
        self, name: str, y: Tensor, coded: Mapping[str, _Stream]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Join the contexts of required streams and their qualities; zeros where one is absent."""
        names = self.spec.requires(name)
        if not names:
            return None, None
        batch, _, height, width = y.shape
        parts, qualities = [], []
        for required in names:
            stream = coded.get(required)
            if stream is None:
                parts.append(y.new_zeros(batch, self.spec.latents(required), height, width))
                qualities.append(y.new_zeros(batch))
            else:
                context = stream.context if self.spec.is_joint else stream.context.detach()
                parts.append(context)
                qualities.append(stream.quality.to(y.dtype))
        return torch.cat(parts, dim=1), torch.stack(qualities, dim=1)


def untrained(
    kind: str, modalities: Sequence[str], size: str, spec: Mapping[str, Any] | None = None
) -> ConditionalNetwork:
    """Make an untrained network; see `dsc._training.networks.make_network`."""
    return ConditionalNetwork(ModelSpec.from_json(spec) if spec else sized(kind, modalities, size))


independent = partial(untrained, "independent")
shared_latent = partial(untrained, "shared-latent")
chained = partial(untrained, "chained")


@torch.no_grad()
def estimated_bits(
    network: Any, inputs: Mapping[str, Tensor], quality: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Estimate the bits of each stream with rounded symbols, all tasks coded.

    Parameters
    ----------
    network
        A `Network` (`dsc._codecs.learned.network.trainable`) whose streams are coded.
    inputs
        Planes (B, c, H, W) by modality, H and W multiples of 64.
    quality
        Integers 1 to 100, (B,), by task.

    Returns
    -------
    dict
        Bits of each sample, (B,), by stream. The coder's words exceed it by the rounding of the
        tables and up to 8 bytes a stream.
    """
    was_training = network.training
    network.eval()
    try:
        coded = network.code(inputs, {}, list(inputs), quality)
    finally:
        network.train(was_training)
    pixels = next(iter(inputs.values()))[0, 0].numel()
    return {name: rate * pixels for name, rate in coded.rate.items()}


def predict_all(
    entropy: SteppedEntropy, start: Prediction, scaled: Tensor, rounded: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the scale indexes and means that every element is coded under, whatever its step.

    Parameters
    ----------
    start
        What the hyper-synthesis gave.
    scaled
        y in quantiser steps, (B, C, h, w).
    rounded
        Whether later steps know ŷ, rounded about its mean, or y itself.
    """
    index, mean = start.scale, start.mean
    known = torch.zeros_like(scaled)
    for step in range(1, entropy.count):
        symbols = scaled - mean / MEAN_STEPS
        symbols = round_half_up(symbols) if rounded else symbols
        mask = step_mask(entropy.count, step - 1, scaled)
        known = known + mask * deviation(symbols, mean, start.mean)
        later_index, later_mean = entropy.predict(step, start, known)
        mask = step_mask(entropy.count, step, scaled)
        index = index + mask * (later_index - start.scale)
        mean = mean + mask * (later_mean - start.mean)
    return index, mean


def _detached(latent: Tensor, planes: Tensor | None) -> Given:
    return Given(latent.detach(), None if planes is None else planes.detach())


def distortion_of(planes: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    """Return 255² · mean squared error of planes (B, c, H, W), weighted by `valid`, (B,)."""
    error = (planes - target) ** 2
    if valid is not None:
        error = error * valid
    return 255.0**2 * error.mean(dim=(1, 2, 3))
