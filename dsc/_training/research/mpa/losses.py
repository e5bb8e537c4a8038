"""What decoded pictures are measured by: squared error, features, a task network's answers.

Each takes decoded and original planes (B, 3, H, W), about [-0.5, 0.5], and returns one number a
picture, (B,). Networks in them are frozen: in evaluation mode, without gradients of their own, and
no part of the codec, so that its `train()` does not reach their batch statistics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Measure = Callable[[Tensor, Tensor], Tensor]
SMALLEST = 1e-6


@dataclass(frozen=True)
class Term:
    """A part of a loss: a weight times a measure."""

    weight: float
    measure: Measure


class FeatureNetwork(Protocol):
    """A network that shows its inner maps; an `nn.Module` as well."""

    def features(self, planes: Tensor) -> list[Tensor]:
        """Return maps (B, C, h, w) of planes (B, 3, H, W), the finest first."""
        ...


def weighed(terms: Sequence[Term], decoded: Tensor, original: Tensor) -> Tensor:
    """Return the sum of the terms of each picture, (B,)."""
    return torch.stack([one.weight * one.measure(decoded, original) for one in terms]).sum(dim=0)


def squared_error(decoded: Tensor, original: Tensor) -> Tensor:
    """Return 255² times the mean squared error."""
    return 255.0**2 * (decoded - original).square().mean(dim=(1, 2, 3))


class FeatureDistance:
    """The squared distance of normalised features, summed over maps and averaged over positions.

    LPIPS (Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric",
    CVPR 2018, equation 1) with equal weights for all channels.
    """

    def __init__(self, network: FeatureNetwork) -> None:
        self.network = network
        freeze(network)

    def __call__(self, decoded: Tensor, original: Tensor) -> Tensor:
        """Return the distances, (B,)."""
        with torch.no_grad():
            wanted = self.network.features(original)
        found = self.network.features(decoded)
        distances = [
            (_unit(a) - _unit(b)).square().sum(dim=1).mean(dim=(1, 2))
            for a, b in zip(found, wanted, strict=True)
        ]
        return torch.stack(distances).sum(dim=0)


class AnswerDivergence:
    """The cross entropy of a task network's answers, less the entropy of what it should say.

    KL(answer to the original ‖ answer to the decoded picture), in nats, averaged over positions
    where answers are dense.

    Parameters
    ----------
    network
        Planes (B, 3, H, W) to logits (B, classes) or (B, classes, h, w).
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        freeze(network)

    def __call__(self, decoded: Tensor, original: Tensor) -> Tensor:
        """Return the divergences, (B,)."""
        with torch.no_grad():
            wanted = self.network(original).log_softmax(dim=1)
        found = self.network(decoded).log_softmax(dim=1)
        each = F.kl_div(found, wanted, reduction="none", log_target=True).sum(dim=1)
        return each.flatten(1).mean(dim=1) if each.ndim > 1 else each


def freeze(network: object) -> None:
    """Put a network into evaluation mode and stop its gradients."""
    if isinstance(network, nn.Module):
        network.eval().requires_grad_(requires_grad=False)


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(dim=1, keepdim=True) + SMALLEST).sqrt()
