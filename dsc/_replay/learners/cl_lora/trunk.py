"""What adapters sit on: a frozen network in two parts, the early one shared by all tasks.

A picture goes through the early part once, and through the late one once for each task: the early
part's adapters are the same for all, the late one's each task's own. Both compute in bfloat16.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dsc._replay.learners.cl_lora.low_rank import Site
from dsc._replay.learners.views.base import Rows

PRECISION = torch.bfloat16
"""Of activations, and of weights once changed; adapters and their sums with weights are float32."""
Weights = dict[str, Tensor]
"""Weights of a part by name, in place of the frozen ones."""


class AdaptedPart:
    """A part of a frozen network, whose weights adapters change.

    Parameters
    ----------
    module
        The part; it stays as it is.
    sites
        Where adapters may sit, from the input on.
    device
        Where it is computed.
    """

    def __init__(self, module: nn.Module, sites: Sequence[Site], device: torch.device) -> None:
        self.sites = tuple(sites)
        own = copy.deepcopy(module).to(device).eval().requires_grad_(False)
        frozen = dict(own.named_parameters())
        self._frozen = {name: frozen[name].float() for name in {at.parameter for at in sites}}
        self._module: nn.Module = own.to(PRECISION)

    def weights(self, changes: Sequence[Tensor]) -> Weights:
        """Return the weights that `changes` make of the frozen ones, by name.

        Parameters
        ----------
        changes
            What is added to the weight of each site, (outputs, inputs).
        """
        whole: dict[str, Tensor] = {}
        for at, change in zip(self.sites, changes, strict=True):
            weight = self._frozen[at.parameter]
            below = weight.shape[0] - at.first - at.outputs
            rows = nn.functional.pad(change, (0, 0, at.first, below)).reshape(weight.shape)
            whole[at.parameter] = whole.get(at.parameter, weight) + rows
        return {name: weight.to(PRECISION) for name, weight in whole.items()}

    def __call__(self, x: Tensor, weights: Weights) -> Tensor:
        """Compute the part with some of its weights replaced."""
        found: Tensor = functional_call(self._module, weights, (x.to(PRECISION),))
        return found


@dataclass(frozen=True)
class Trunk:
    """A frozen network, parted.

    Attributes
    ----------
    prepare
        Makes of what the learner is shown, (B, ...), what `early` takes.
    early
        The part that all tasks share: from what the learner is shown to feature maps or tokens.
    exit
        Makes of what `early` gives a vector (B, E): the early exit.
    late
        From what `early` gives to the embedding (B, N).
    feature_size
        N of the embedding.
    """

    prepare: Callable[[Rows], Tensor]
    early: AdaptedPart
    exit: Callable[[Tensor], Tensor]
    late: AdaptedPart
    feature_size: int
