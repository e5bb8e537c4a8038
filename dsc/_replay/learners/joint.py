"""Learners that train on new images and exemplars as one set and distil from the network before.

Distillation is that of "Learning without Forgetting" (Li and Hoiem 2016): cross-entropy to the old
network's softmax at a temperature, over the classes that it knew.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dsc._replay.learners.gradient import NetworkLearner, ReplayBatch


class JointLearner(NetworkLearner):
    """Cross-entropy over all classes seen, and distillation; a subclass weighs the two."""

    def start(self) -> None:
        """Keep the network of the increment before as teacher."""
        super().start()
        if self.first:
            self.copy_as_teacher()

    def size(self) -> int:
        """Return the number of new images and exemplars."""
        return len(self.new) + len(self.old)

    def draw(self, rows: Tensor, draw: torch.Generator) -> ReplayBatch:
        """Take rows of the joined set: new images first, then exemplars."""
        count = len(self.new)
        return self.batch(rows[rows < count], rows[rows >= count] - count, draw)

    def loss(self, batch: ReplayBatch) -> Tensor:
        """Return the weighted sum of both losses."""
        logits = torch.cat(self.both(batch))
        loss = F.cross_entropy(logits, torch.cat([batch.labels, batch.old_labels]))
        if self.teacher is None:
            return loss
        with torch.no_grad():
            parts = [part for part in (batch.images, batch.old_images) if len(part)]
            known = self.teacher(torch.cat(parts))[:, : self.first]
        kept = distillation(logits[:, : self.first], known, self.recipe.temperature)
        classify, distil = self.weights()
        return classify * loss + distil * kept

    def weights(self) -> tuple[float, float]:
        """Return the weights of cross-entropy and distillation."""
        return 1.0, 1.0


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of two softmaxes at a temperature, (B, C) each; a scalar."""
    target = F.softmax(teacher / temperature, dim=1)
    return -(target * F.log_softmax(logits / temperature, dim=1)).sum(1).mean()
