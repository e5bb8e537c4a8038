"""What holds the shared adapters to what earlier tasks taught them.

The early exit of a picture, what the shared part alone makes of it, is classified by its cosines to
the mean exits of the task's classes: as it was before the task. The distillation's gradient is
reassigned to the rows that earlier tasks moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dsc._replay.learners.cl_lora.losses import (
    class_means,
    cosine_logits,
    early_exit_distillation,
    reassignment,
)

TEMPERATURE = 2.0
WEIGHT = 5.0
"""Of the distillation beside the cross-entropy, as in the authors' code; so is `TEMPERATURE`."""
LOGIT_SCALE = 16.0


@dataclass(frozen=True, eq=False)
class EarlyExitTeacher:
    """The early exits of a task's pictures as they were before the task.

    Attributes
    ----------
    means
        (K, E): the mean exit of each of the task's classes.
    logits
        (N, K), of each of the task's pictures.
    factors
        (outputs, 1) of each shared adapter: what the gradient of U's rows is multiplied by.
    """

    means: Tensor
    logits: Tensor
    factors: tuple[Tensor, ...]

    def loss(self, exits: Tensor, rows: Tensor) -> Tensor:
        """Return the distillation of pictures' exits.

        Parameters
        ----------
        exits
            (B, E), with the shared adapters as they are.
        rows
            (B,), which of the task's pictures they are.
        """
        student = cosine_logits(exits, self.means, LOGIT_SCALE)
        return WEIGHT * early_exit_distillation(student, self.logits[rows], TEMPERATURE)

    def add_gradient(self, exits: Tensor, rows: Tensor, up: Sequence[nn.Parameter]) -> None:
        """Add the reassigned gradient of `loss` to that of the shared adapters' U."""
        gradients = torch.autograd.grad(self.loss(exits, rows), list(up), retain_graph=True)
        for one, factor, gradient in zip(up, self.factors, gradients, strict=True):
            step = factor * gradient
            one.grad = step if one.grad is None else one.grad + step


def early_exit_teacher(
    exits: Tensor, labels: Tensor, up: Sequence[Tensor], *, reassigns: bool
) -> EarlyExitTeacher:
    """Note what the shared adapters are to be held to, before a task.

    Parameters
    ----------
    exits
        (N, E), of all pictures of the task.
    labels
        (N,) int64, from 0.
    up
        U of each shared adapter.
    reassigns
        Whether the gradient is reassigned; else it is taken as it is.
    """
    means = class_means(exits, labels)
    factors = [one.detach() for one in up]
    return EarlyExitTeacher(
        means,
        cosine_logits(exits, means, LOGIT_SCALE),
        tuple(reassignment(one) if reassigns else torch.ones_like(one[:, :1]) for one in factors),
    )
