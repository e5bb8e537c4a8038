"""The start of a conditional network: the two-stage KLT (PCA) of each modality's patches."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from dsc._codecs.learned.network.model import ConditionalModel
from dsc._codecs.learned.network.spec import SHARED


@torch.no_grad()
def initialise_klt(model: ConditionalModel, planes: Mapping[str, Tensor]) -> None:
    """Start analysis and synthesis as the two-stage KLT (PCA) of each modality's patches.

    The residual blocks start at zero, so that the untrained model is a linear transform codec:
    8×8 patches to the `width_8` strongest components, 2×2 groups of those to `latents`. A shared
    stream starts as depth's own transform: geometry is cheap and tells something about every task.

    Parameters
    ----------
    planes
        Training crops (N, c, H, W) by modality.
    """
    spec = model.spec
    for name, m in spec.modalities.items():
        x = F.pixel_unshuffle(planes[name], 8)
        basis_8 = principal_directions(x, m.width_8)
        analysis, synthesis = model.analysis[name], model.synthesis[name]
        set_pointwise(analysis.stem, basis_8)
        exit_rows = basis_8.T
        if synthesis.refine is not None:
            exit_rows = exit_rows[refined_order(m.channels)]
        set_pointwise(synthesis.exit, exit_rows)
        features = torch.einsum("oc,bchw->bohw", basis_8, x)
        basis_16 = principal_directions(F.pixel_unshuffle(features, 2), m.latents)
        set_pointwise(analysis.down, basis_16)
        set_pointwise(synthesis.up, basis_16.T)
        eye = torch.eye(m.latents)
        is_geometry = spec.is_joint and name == "depth"
        set_pointwise(model.private[name], eye * 0.1 if is_geometry else eye)
        given = synthesis.entry.weight.shape[1] - m.latents
        # what a chain gives starts silent: it is no part of this task's own transform
        entry = torch.randn(m.latents, given) * (0.01 if spec.is_joint else 0.0)
        if is_geometry:
            entry = torch.eye(m.latents, given)
        set_pointwise(synthesis.entry, torch.cat([entry, eye], dim=1))
    if SHARED in model.gain:
        _start_shared(model)


def _start_shared(model: ConditionalModel) -> None:
    spec, parts = model.spec, []
    for name, m in spec.modalities.items():
        noise = torch.randn(spec.shared_latents, m.latents) * 0.01
        parts.append(torch.eye(spec.shared_latents, m.latents) if name == "depth" else noise)
        joint = torch.randn(m.latents, spec.joint_width) * 0.003
        set_pointwise(model.joint_private[name], joint)
    set_pointwise(model.to_shared, torch.cat(parts, dim=1))
    joint = torch.randn(spec.shared_latents, spec.joint_width) * 0.003
    set_pointwise(model.joint_shared, joint)


def refined_order(channels: int) -> Tensor:
    """Return, for each output of an exit that refinement follows, its place among 8×8 patches.

    ``pixel_shuffle`` by 2 and then by 4 orders the pixels of a patch otherwise than one by 8.
    """
    places = torch.arange(channels * 64).view(1, channels * 64, 1, 1).float()
    shuffled = F.pixel_unshuffle(F.pixel_unshuffle(F.pixel_shuffle(places, 8), 4), 2)
    return shuffled.view(-1).long()


def set_pointwise(layer: torch.nn.Module, weight: Tensor) -> None:
    """Set the weights (outputs, inputs) of a 1×1 convolution; its bias becomes zero."""
    if not isinstance(layer, torch.nn.Conv2d) or layer.bias is None:
        raise TypeError("only 1×1 convolutions with a bias are initialised here")
    layer.weight.copy_(weight[:, :, None, None])
    layer.bias.zero_()


def principal_directions(x: Tensor, count: int) -> Tensor:
    """Return the `count` leading principal directions (count, C) of (B, C, H, W)."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).double()
    vectors: Tensor = torch.linalg.eigh(rows.T @ rows).eigenvectors
    return vectors.flip(1)[:, :count].T.float()
