"""ER-ACE: new images compete with each other alone, so they do not push old classes away.

Caccia et al., "New Insights on Reducing Abrupt Representation Change in Online Continual Learning",
ICLR 2022. The buffer takes an increment's images in before it is trained, as in the paper's
stream: only among exemplars are new classes told from old ones.
"""

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from dsc._replay.learners.gradient import NetworkLearner, ReplayBatch


class AsymmetricReplay(NetworkLearner):
    """Cross-entropy among the increment's own classes, plus that of the exemplars among all."""

    name: ClassVar[str] = "er-ace"
    fills_first: ClassVar[bool] = True

    def loss(self, batch: ReplayBatch) -> Tensor:
        """Return the asymmetric cross-entropy."""
        new, old = self.both(batch)
        loss = F.cross_entropy(new[:, self.first :], batch.labels - self.first)
        return loss + F.cross_entropy(old, batch.old_labels) if len(old) else loss
