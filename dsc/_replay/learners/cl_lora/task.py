"""What CL-LoRA keeps of one task: its adapters, their block weights, its classes' mean features."""

import torch
from torch import Tensor, nn

from dsc._replay.learners.cl_lora.low_rank import LowRankAdapters


class TaskAdapters(nn.Module):
    """The adapters of a task and what tells its classes apart.

    Parameters
    ----------
    adapters
        On the late part of the trunk.
    first, classes
        The first of the task's classes, and how many there are.
    feature_size
        D of an embedding.
    weights
        (sites,): what each adapter is multiplied by, learnt from here on; None for 1, always.

    Attributes
    ----------
    means
        (`classes`, D): the mean embedding of each class by the task's own adapters, of vectors of
        unit length.
    """

    means: Tensor
    weights: Tensor

    def __init__(
        self,
        adapters: LowRankAdapters,
        first: int,
        classes: int,
        feature_size: int,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.adapters, self.first, self.classes = adapters, first, classes
        if weights is None:
            self.register_buffer("weights", torch.ones(len(adapters.sites)))
        else:
            self.weights = nn.Parameter(weights)
        self.register_buffer("means", torch.zeros(classes, feature_size))

    def changes(self) -> list[Tensor]:
        """Return what is added to the weight of each site of the late part."""
        return self.adapters.changes(self.weights)


def draw_block_weights(sites: int, draw: torch.Generator) -> Tensor:
    """Draw the block weights (sites,) that a task begins with, uniform from 0.5 to 1.5."""
    return 0.5 + torch.rand(sites, generator=draw)
