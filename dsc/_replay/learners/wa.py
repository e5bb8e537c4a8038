"""WA: after each increment the head's rows of new classes are scaled to the old ones' length.

Zhao et al., "Maintaining Discrimination and Fairness in Class Incremental Learning", CVPR 2020:
knowledge distillation weighed by the share of old classes, then weight aligning (equation 8).
"""

from typing import ClassVar

import torch
from torch import nn

from dsc._replay.learners.joint import JointLearner


class WeightAligning(JointLearner):
    """Distillation, then the head's rows of new classes scaled to the old ones' length."""

    name: ClassVar[str] = "wa"

    def weights(self) -> tuple[float, float]:
        """Return 1 - λ and λ, λ the share of old classes."""
        old = self.first / self.seen
        return 1 - old, old

    def end(self) -> None:
        """Align the weights of the increment's classes."""
        if self.first:
            align_weights(self.network.head, self.first, self.seen)


def align_weights(head: nn.Linear, first: int, seen: int) -> float:
    """Scale rows `first` to `seen` - 1 of a head to the mean length of the rows before them.

    Returns
    -------
    float
        The factor γ: mean length of old rows over mean length of new ones.
    """
    with torch.no_grad():
        lengths = head.weight[:seen].norm(dim=1)
        factor = lengths[:first].mean() / lengths[first:].mean()
        head.weight[first:seen] *= factor
    return float(factor)
