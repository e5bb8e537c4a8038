"""Starts a scale hyperprior as a linear transform codec: the KLT of what its decoders have to give.

Analysis begins as a cascade of principal components of 2×2 blocks of all inputs together; synthesis
as the inverse of each task's own cascade. Between them, each group of latents takes the directions
that explain most of what the tasks which see it still lack, in order, in steps that are optimal for
their λ at high rates; the first layer of synthesis is the linear least-squares estimate from the
rounded latents. Every kind is treated alike: only the layout differs.
"""

from collections.abc import Mapping
from math import log
from typing import Any

import torch
from compressai.layers import GDN
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from dsc._training.research.hyperprior import HyperpriorCodec

# a step Δ leaves Δ²/12, and costs -log2 Δ: the derivatives of both, times λ, agree at this one
STEP = (6 / log(2)) ** 0.5
PEAK = 255.0
NEARLY_LINEAR = 1e-3  # γ of GDN, so that the cascades are linear at first
BLOCK = (slice(2, 4), slice(2, 4))  # of a 5×5 kernel of stride 2: the taps that tile the plane
UNUSED = 0.01  # what the other weights are times, compared with the layers' own initialisation
HYPER_DEVIATION = 2.0  # of z, in rounding steps


@torch.no_grad()
def initialise(
    codec: HyperpriorCodec, planes: Mapping[str, Tensor], lambdas: Mapping[str, float]
) -> None:
    """Set all transforms of a codec.

    Parameters
    ----------
    planes
        Training crops (N, c, H, W) by modality, H and W multiples of 64.
    lambdas
        Weight of 255² · MSE by task.
    """
    layout = codec.layout
    for module in codec.modules():
        if isinstance(module, GDN):
            gamma = NEARLY_LINEAR * torch.eye(len(module.beta))
            module.gamma.copy_(module.gamma_reparam.init(gamma))
    x = torch.cat([planes[name] for name in layout.inputs], dim=1)
    trunk = _analysis_cascade(codec.analysis, x)
    wanted = {}
    for task in layout.sees:
        unit = PEAK * (lambdas[task] / planes[task].shape[1]) ** 0.5
        wanted[task] = unit, _rows(_synthesis_cascade(codec.synthesis[task], planes[task]))
    features = _rows(trunk)
    directions = _directions(codec, features, wanted)
    last = _convolutions(codec.analysis)[-1]
    _set_analysis(last, directions, trunk.mean(dim=(0, 2, 3)))
    y = last(trunk)
    _estimate(codec, y, wanted)
    z = _scale(codec.hyper_analysis, y.abs(), HYPER_DEVIATION)
    _scale(codec.hyper_synthesis, z.round(), 0.05, y.std(dim=(0, 2, 3)))


def _analysis_cascade(layers: Any, x: Tensor) -> Tensor:
    """Set all convolutions but the last to principal components; give what they make of `x`."""
    stages = list(layers)[:-1]
    for stage in stages:
        if isinstance(stage, nn.Conv2d):
            _set_analysis(stage, _principal(x, stage.out_channels), x.mean(dim=(0, 2, 3)))
        x = stage(x)
    return x


def _synthesis_cascade(layers: Any, x: Tensor) -> Tensor:
    """Set all convolutions but the first to the inverse of `x`'s own components; give those."""
    for stage in reversed(_convolutions(layers)[1:]):
        mean = x.mean(dim=(0, 2, 3))
        basis = _principal(x, stage.weight.shape[0])
        _set_synthesis(stage, basis, mean)
        centered = pixel_unshuffle(x - mean[:, None, None], 2)
        x = torch.einsum("oc,nchw->nohw", basis, centered)
    return x


def _directions(
    codec: HyperpriorCodec, features: Tensor, wanted: Mapping[str, tuple[float, Tensor]]
) -> Tensor:
    """Return rows (M, 4 W): what each latent is of the trunk's 2×2 blocks, in rounding steps."""
    layout = codec.layout
    covariance = features.T @ features / len(features)
    maps = {
        task: unit * _regress(features, rows, 1e-6 * float(covariance.trace()) / len(covariance))
        for task, (unit, rows) in wanted.items()
    }
    found = []
    for group, count in layout.groups.items():
        tasks = [task for task, seen in layout.sees.items() if group in seen]
        lacking = torch.cat([maps[task] for task in tasks])
        vectors = torch.linalg.eigh(lacking @ covariance @ lacking.T).eigenvectors.flip(1)
        rows = vectors[:, :count].T @ lacking
        rows = torch.cat([rows, torch.zeros(count - len(rows), rows.shape[1])])
        found.append(rows / STEP)
        for task in tasks:  # what the group does not tell of a task is left to the next ones
            y = features @ rows.T
            maps[task] = maps[task] - _regress(y, features @ maps[task].T, STEP**2 / 12) @ rows
    return torch.cat(found)


def _estimate(
    codec: HyperpriorCodec, y: Tensor, wanted: Mapping[str, tuple[float, Tensor]]
) -> None:
    """Set the first convolution of each synthesis to the Wiener estimate from rounded latents."""
    groups = torch.split(y, list(codec.layout.groups.values()), dim=1)
    named = dict(zip(codec.layout.groups, groups, strict=True))
    for task, seen in codec.layout.sees.items():
        latents = torch.cat([named[name] for name in seen], dim=1)
        flat = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
        estimate = _regress(flat, wanted[task][1], 1 / 12)
        first = _convolutions(codec.synthesis[task])[0]
        first.weight.div_(max(1.0, float(flat.square().mean().sqrt())))
        _set_synthesis(first, estimate.T, torch.zeros(len(estimate) // 4))


def _set_analysis(stage: Any, rows: Tensor, mean: Tensor) -> None:
    """Let the first channels be `rows` (k, 4 c) times the 2×2 blocks of the input less its mean."""
    stage.weight.mul_(UNUSED)
    stage.weight[: len(rows), :, *BLOCK] = rows.reshape(len(rows), -1, 2, 2)
    stage.bias.zero_()
    stage.bias[: len(rows)] = -rows @ mean.repeat_interleave(4)


def _set_synthesis(stage: Any, rows: Tensor, mean: Tensor) -> None:
    """Let the 2×2 blocks of the first c channels be sums of `rows` (k, 4 c), plus the mean (c,)."""
    stage.weight.mul_(UNUSED)
    stage.weight[: len(rows), : len(mean), *BLOCK] = rows.reshape(len(rows), -1, 2, 2)
    stage.bias.zero_()
    stage.bias[: len(mean)] = mean


def _convolutions(layers: Any) -> list[Any]:
    return [stage for stage in layers if isinstance(stage, nn.Conv2d | nn.ConvTranspose2d)]


def _rows(x: Tensor) -> Tensor:
    """Return the 2×2 blocks of (N, c, H, W) as rows (N H W / 4, 4 c)."""
    blocks = pixel_unshuffle(x, 2)
    return blocks.permute(0, 2, 3, 1).reshape(-1, blocks.shape[1])


def _principal(x: Tensor, count: int) -> Tensor:
    """Return the leading principal directions (at most count, 4 c) of the 2×2 blocks of x."""
    rows = _rows(x - x.mean(dim=(0, 2, 3))[:, None, None]).double()
    vectors: Tensor = torch.linalg.eigh(rows.T @ rows).eigenvectors.flip(1)
    return vectors[:, :count].T.float()


def _regress(given: Tensor, wanted: Tensor, ridge: float) -> Tensor:
    """Return the rows (w, g) that best predict `wanted` (n, w) from `given` (n, g)."""
    given, wanted = given.double(), wanted.double()
    gram = given.T @ given / len(given) + ridge * torch.eye(given.shape[1], dtype=torch.float64)
    solution: Tensor = torch.linalg.solve(gram, given.T @ wanted / len(given))
    return solution.T.float()


def _scale(layers: Any, x: Tensor, last: float, mean: Tensor | None = None) -> Tensor:
    """Return convolutions outputs of mean 0 and deviation 1, the last of `mean` and `last`."""
    convolutions = _convolutions(layers)
    for stage in layers:
        if stage in convolutions:
            is_last = stage is convolutions[-1]
            stage.bias.zero_()
            out = stage(x)
            center = out.mean(dim=(0, 2, 3))
            deviation = max(float((out - center[:, None, None]).std()), 1e-6)
            factor = (last if is_last else 1.0) / deviation
            stage.weight.mul_(factor)
            stage.bias.copy_(-factor * center)
            if is_last and mean is not None:
                stage.bias.add_(mean)
        x = stage(x)
    return x
