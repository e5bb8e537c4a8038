"""How far a task network's answers are from its teacher's, one number a sample, (B,), in nats.

Any function of (wanted, found) that gives (B,) will do for a task; these are of classes, of label
maps and of centres of objects.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Divergence = Callable[[Tensor, Tensor], Tensor]


def of_classes(wanted: Tensor, found: Tensor) -> Tensor:
    """Return KL(wanted ‖ found) of logits (B, classes) or (B, classes, h, w), of these the mean."""
    ours, theirs = F.log_softmax(wanted, dim=1), F.log_softmax(found, dim=1)
    each = (ours.exp() * (ours - theirs)).sum(dim=1)
    return each.flatten(1).mean(dim=1) if each.ndim > 1 else each


def of_centres(classes: int) -> Divergence:
    """Return the divergence of answers (B, classes + k, h, w) of a detector by centres.

    Its first channels are logits of whether a centre of a class is there, whose divergences are
    summed over classes; the others measure the box, and their squared error counts by how sure the
    teacher is of a centre. Both are sums over positions, as few of them have an object.
    """

    def divergence(wanted: Tensor, found: Tensor) -> Tensor:
        ours, theirs = wanted[:, :classes], found[:, :classes]
        chance = ours.sigmoid()
        there = chance * (F.logsigmoid(ours) - F.logsigmoid(theirs))
        absent = (1 - chance) * (F.logsigmoid(-ours) - F.logsigmoid(-theirs))
        boxes = (wanted[:, classes:] - found[:, classes:]).square().sum(dim=1)
        sure = chance.amax(dim=1)
        return ((there + absent).sum(dim=1) + sure * boxes).sum(dim=(1, 2))

    return divergence
