"""Low-rank adapters: what is added to the weights of a frozen network.

A frozen weight W (outputs, inputs) becomes W + s U D (Hu et al., "LoRA: Low-Rank Adaptation of
Large Language Models", ICLR 2022): D (rank, inputs) has orthonormal rows that are drawn at random,
and U (outputs, rank) starts at zero, so a new adapter changes nothing. The change is added to the
weight and not to what the weight gives, so an adapted network costs what the frozen one does.

s is the root mean square of W's singular values. Layers with batch norms folded into them differ
in scale by an order of magnitude; in units of their own, one learning rate suits all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Site:
    """A linear map of a frozen network that an adapter may sit on.

    Attributes
    ----------
    parameter
        Name of its weight, (outputs, inputs) or (outputs, inputs, 1, 1).
    inputs, outputs
        Of the map.
    scale
        s of the module's description.
    first
        The first of the weight's rows that belong to it; a transformer keeps queries, keys and
        values in one weight.
    """

    parameter: str
    inputs: int
    outputs: int
    scale: float
    first: int = 0


def site(parameter: str, weight: Tensor, first: int = 0, outputs: int | None = None) -> Site:
    """Describe a map by its weight, or some rows of it.

    Parameters
    ----------
    parameter
        Name of the weight.
    weight
        (outputs, inputs) or (outputs, inputs, 1, 1), all rows.
    first, outputs
        The rows that belong to the map; by default all.
    """
    rows = weight.detach().flatten(1)[first : None if outputs is None else first + outputs].float()
    scale = float(rows.norm()) / math.sqrt(min(rows.shape))
    return Site(parameter, rows.shape[1], rows.shape[0], scale, first)


class LowRankAdapters(nn.Module):
    """An adapter on each of some sites.

    Parameters
    ----------
    sites
        Where they sit.
    rank
        r of each.
    draw
        Of the down-projections.
    trains_down
        Whether D is trained too; else it stays as it was drawn.
    """

    def __init__(
        self, sites: Sequence[Site], rank: int, draw: torch.Generator, *, trains_down: bool
    ) -> None:
        super().__init__()
        self.sites = tuple(sites)
        self.up = nn.ParameterList(nn.Parameter(torch.zeros(at.outputs, rank)) for at in sites)
        self.down = nn.ParameterList(
            nn.Parameter(orthonormal_rows(rank, at.inputs, draw), requires_grad=trains_down)
            for at in sites
        )

    def changes(self, weights: Tensor | None = None) -> list[Tensor]:
        """Return what is added to the weight of each site, (outputs, inputs).

        Parameters
        ----------
        weights
            (sites,): what each adapter is multiplied by; None for 1.
        """
        factors = torch.ones(len(self.sites)) if weights is None else weights
        return [
            factor * at.scale * up @ down
            for factor, at, up, down in zip(factors, self.sites, self.up, self.down, strict=True)
        ]

    @property
    def nbytes(self) -> int:
        """Bytes of all that it holds."""
        return sum(one.nbytes for one in self.parameters())


def orthonormal_rows(rank: int, inputs: int, draw: torch.Generator) -> Tensor:
    """Draw a matrix (rank, inputs) whose rows are orthonormal: Q of a random matrix's QR.

    A map of fewer inputs than `rank` gets as many rows as it has inputs, and zeros below.
    """
    found = torch.zeros(rank, inputs)
    rows = torch.linalg.qr(torch.randn(inputs, min(rank, inputs), generator=draw)).Q.T
    found[: len(rows)] = rows
    return found
