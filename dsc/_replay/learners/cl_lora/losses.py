"""What keeps the past of adapters that go on learning, and tasks apart from each other.

Equations are those of He, Duan and Zhu, CVPR 2025; where the paper and its authors' code differ,
the code's, with which its figures were made.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def cosine_logits(features: Tensor, directions: Tensor, scale: Tensor | float) -> Tensor:
    """Return `scale` times the cosines (B, K) of features (B, D) and directions (K, D)."""
    return scale * F.normalize(features, dim=1) @ F.normalize(directions, dim=1).T


def early_exit_distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of two early exits' softmaxes at a temperature; a scalar.

    Parameters
    ----------
    student, teacher
        Logits (B, K) of an early exit with the shared adapters as they are, and as they were
        before the task.
    """
    target = F.softmax(teacher / temperature, dim=1)
    return F.cross_entropy(student / temperature, target)


def reassignment(up: Tensor) -> Tensor:
    """Return what the distillation's gradient of each row of U is multiplied by, (outputs, 1).

    The norms of the rows, over their mean: rows that carry much of what earlier tasks learnt are
    held most firmly. All are 1 where there is nothing yet.

    Parameters
    ----------
    up
        U (outputs, rank) before the task.
    """
    norms = up.norm(dim=1, keepdim=True)
    mean = norms.mean()
    return norms / mean if mean > 0 else torch.ones_like(norms)


def block_orthogonality(weights: Tensor, earlier: Sequence[Tensor]) -> Tensor:
    """Return the mean absolute cosine of a task's block weights to those of earlier tasks.

    Parameters
    ----------
    weights
        (sites,) of the task that is learnt.
    earlier
        Those of the tasks before; 0 is returned where there are none.
    """
    if not earlier:
        return weights.new_zeros(())
    return F.cosine_similarity(weights[None], torch.stack(list(earlier)), dim=1).abs().mean()


def class_means(features: Tensor, labels: Tensor) -> Tensor:
    """Return the mean (K, D) of each class's features (N, D), of vectors of unit length.

    Parameters
    ----------
    labels
        (N,) int64, from 0; each of 0 to K - 1 occurs.
    """
    member = F.one_hot(labels).to(features.dtype)
    return member.T @ F.normalize(features, dim=1) / member.sum(0)[:, None]
