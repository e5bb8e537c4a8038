"""ER: each batch of new images is joined by as many exemplars.

Chaudhry et al., "On Tiny Episodic Memories in Continual Learning", 2019.
"""

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from dsc._replay.learners.gradient import NetworkLearner, ReplayBatch


class ExperienceReplay(NetworkLearner):
    """Cross-entropy of the new images plus that of the exemplars, over all classes seen."""

    name: ClassVar[str] = "er"

    def loss(self, batch: ReplayBatch) -> Tensor:
        """Return the sum of both cross-entropies."""
        new, old = self.both(batch)
        loss = F.cross_entropy(new, batch.labels)
        return loss + F.cross_entropy(old, batch.old_labels) if len(old) else loss
