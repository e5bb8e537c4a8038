"""The training side of the shared-latent codec: rate-distortion loss and initialisation.

Rate is estimated with additive uniform noise, reconstruction uses rounded latents with
straight-through gradients. A step codes a random subset of the tasks and is charged for the shared
stream and for the streams of that subset only, so that no subset pays for what it does not use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dsc.codecs.learned.integer import round_half_up
from dsc.codecs.learned.model import (
    MEAN_STEPS,
    SCALE_LEVELS,
    SCALE_MAX,
    SCALE_MIN,
    SHARED,
    SharedLatentModel,
    context_of,
    lambdas,
    pad_hyper,
    quality_bucket,
    quantise_hyper,
)

LOG_SCALE_STEP = torch.tensor(SCALE_MAX / SCALE_MIN, dtype=torch.float64).log() / (SCALE_LEVELS - 1)


@dataclass(frozen=True)
class StepResult:
    """What one forward pass gives.

    Attributes
    ----------
    loss
        Scalar: mean over the batch of R + Σ λ_t · 255² · MSE_t.
    rate_bpp
        Mean bits a pixel by stream.
    mse
        Mean squared error of the planes by task.
    """

    loss: Tensor
    rate_bpp: dict[str, float]
    mse: dict[str, float]


def step(
    model: SharedLatentModel,
    inputs: Mapping[str, Tensor],
    valid: Mapping[str, Tensor],
    wanted: Sequence[str],
    quality: Mapping[str, Tensor],
    bfloat16: bool,
) -> StepResult:
    """Code `wanted` tasks of a batch and give the loss.

    Parameters
    ----------
    inputs
        Planes (B, c, H, W) by modality, H and W multiples of 16.
    valid
        (B, 1, H, W) float weights by modality; only modalities with holes need one.
    wanted
        The tasks that are decoded and charged, a subset of `inputs`.
    quality
        Integers 1 to 100 (B,) by task; the shared stream takes the largest of those wanted.
    """
    device = next(iter(inputs.values())).device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
        latents = model.analyse(inputs)
    quality_shared = torch.stack([quality[task] for task in wanted]).amax(0)
    pixels = next(iter(inputs.values()))[0, 0].numel()
    y_shared, bits, context = _code(model, SHARED, latents[SHARED], quality_shared, None, None)
    total = bits / pixels
    rates = {SHARED: total.mean().item()}
    errors: dict[str, float] = {}
    for task in wanted:
        y_task, bits, _ = _code(model, task, latents[task], quality[task], context, quality_shared)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
            planes = model.synthesise(task, y_shared, y_task)
        error = (planes - inputs[task]) ** 2
        if task in valid:
            error = error * valid[task]
        mse = error.mean(dim=(1, 2, 3))
        weight = lambdas(model.spec.modalities[task], quality[task].float()) * 255.0**2
        total = total + bits / pixels + weight * mse
        rates[task] = (bits / pixels).mean().item()
        errors[task] = mse.mean().item()
    return StepResult(total.mean(), rates, errors)


def _code(
    model: SharedLatentModel,
    name: str,
    y: Tensor,
    quality: Tensor,
    context: Tensor | None,
    context_quality: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Give dequantised latents, bits a sample (B,), and the context for other streams."""
    gain = model.gain[name](quality.float())
    entropy = model.entropy[name]
    scaled = y * gain
    z = entropy.analysis(pad_hyper(scaled))
    bits = _bits(entropy.prior(z + torch.rand_like(z) - 0.5, quality_bucket(quality)))
    size = (y.shape[-2], y.shape[-1])
    index, mean = entropy.synthesis(quantise_hyper(z), quality, size, context, context_quality)
    residual = scaled - mean / MEAN_STEPS
    bits = bits + _bits(gaussian_likelihood(residual + torch.rand_like(residual) - 0.5, index))
    symbols = round_half_up(residual)
    return (symbols + mean / MEAN_STEPS) / gain, bits, context_of(symbols, mean)


def gaussian_likelihood(residual: Tensor, index: Tensor) -> Tensor:
    """Give the mass of a unit interval around `residual` under N(0, scale_table[index])."""
    inverse = torch.exp(index * -float(LOG_SCALE_STEP)) / SCALE_MIN
    distance = residual.abs()
    half = 0.5
    upper = torch.special.ndtr((half - distance) * inverse)
    lower = torch.special.ndtr((-half - distance) * inverse)
    mass: Tensor = (upper - lower).clamp_min(1e-9)
    return mass


def _bits(likelihood: Tensor) -> Tensor:
    return -torch.log2(likelihood).sum(dim=(1, 2, 3))


@torch.no_grad()
def initialise_klt(model: SharedLatentModel, planes: Mapping[str, Tensor]) -> None:
    """Start analysis and synthesis as the two-stage KLT (PCA) of each modality's patches.

    The residual blocks start at zero, so that the untrained model is a linear transform codec:
    8×8 patches to the `width_8` strongest components, 2×2 groups of those to `latents`. The shared
    stream starts as depth's own transform: geometry is cheap and tells something about every task.

    Parameters
    ----------
    planes
        Training crops (N, c, H, W) by modality.
    """
    spec = model.spec
    for name, m in spec.modalities.items():
        x = torch.nn.functional.pixel_unshuffle(planes[name], 8)
        basis_8 = _principal(x, m.width_8)
        analysis, synthesis = model.analysis[name], model.synthesis[name]
        _set(analysis.stem, basis_8)
        _set(synthesis.exit, basis_8.T)
        features = torch.einsum("oc,bchw->bohw", basis_8, x)
        basis_16 = _principal(torch.nn.functional.pixel_unshuffle(features, 2), m.latents)
        _set(analysis.down, basis_16)
        _set(synthesis.up, basis_16.T)
        eye = torch.eye(m.latents)
        entry = torch.randn(m.latents, spec.shared_latents) * 0.01
        if name == "depth":
            _set(model.private[name], eye * 0.1)
            entry = torch.eye(m.latents, spec.shared_latents)
        else:
            _set(model.private[name], eye)
        _set(synthesis.entry, torch.cat([entry, eye], dim=1))
        _set(model.joint_private[name], torch.randn(m.latents, spec.joint_width) * 0.003)
    parts = []
    for name, m in spec.modalities.items():
        if name == "depth":
            parts.append(torch.eye(spec.shared_latents, m.latents))
        else:
            parts.append(torch.randn(spec.shared_latents, m.latents) * 0.01)
    _set(model.to_shared, torch.cat(parts, dim=1))
    _set(model.joint_shared, torch.randn(spec.shared_latents, spec.joint_width) * 0.003)


def _principal(x: Tensor, count: int) -> Tensor:
    """Give the `count` leading principal directions (count, C) of (B, C, H, W)."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).double()
    vectors: Tensor = torch.linalg.eigh(rows.T @ rows).eigenvectors
    return vectors.flip(1)[:, :count].T.float()


def _set(layer: torch.nn.Module, weight: Tensor) -> None:
    if not isinstance(layer, torch.nn.Conv2d) or layer.bias is None:
        raise TypeError("only 1×1 convolutions with a bias are initialised here")
    layer.weight.copy_(weight[:, :, None, None])
    layer.bias.zero_()
