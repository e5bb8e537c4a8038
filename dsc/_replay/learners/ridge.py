"""Ridge regression on frozen features, from sums alone.

For features X (N, D) and one-hot labels Y (N, K), both less their means, the weights are
W = (XᵀX + λI)⁻¹XᵀY. XᵀX is kept as the Gram matrix G, which adds up over increments, and XᵀY
follows from the sums of classes. So the classifier after any number of increments is that of all
their pictures at once ("analytic" learning: Zhuang et al., "ACIL: Analytic Class-Incremental
Learning with Absolute Memorization and Privacy Protection", NeurIPS 2022).

λ is that of the smallest generalised cross-validation error, the closed form of leave-one-out that
sums suffice for (Golub, Heath and Wahba, "Generalized Cross-Validation as a Method for Choosing a
Good Ridge Parameter", Technometrics 21, 1979, equation 1.4).
"""

from typing import ClassVar

import torch
from torch import Tensor

from dsc._replay.learners.closed_form import ClosedFormLearner

STRENGTHS = torch.logspace(-7, 0, 29, dtype=torch.float64)
"""λ that are tried, in units of the sum of squares of all centred features."""


class Ridge(ClosedFormLearner):
    """Least squares to one-hot labels, its strength chosen anew after each increment."""

    name: ClassVar[str] = "ridge"

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Add features (B, D) to the sums of their classes, and to the Gram matrix."""
        super().add(features, labels)
        self.add_to("gram", features.T @ features)

    def solve(self) -> Tensor:
        """Return the weights and offsets of the best strength."""
        sums, counts = self.sums["classes"][: self.seen], self.sums["counts"][: self.seen]
        total = counts.sum()
        mean, share = sums.sum(0) / total, counts / total
        gram = self.sums["gram"] - total * torch.outer(mean, mean)
        products = sums.T - torch.outer(mean, counts)
        weights = ridge_weights(gram, products, counts)
        return torch.cat([weights, (share - mean @ weights)[None]])


def ridge_weights(gram: Tensor, products: Tensor, counts: Tensor) -> Tensor:
    """Return the weights (D, K) of ridge regression with the strength of the smallest GCV error.

    Parameters
    ----------
    gram
        XᵀX of centred features, (D, D) float64.
    products
        XᵀY of centred features and one-hot labels, (D, K).
    counts
        Rows of each class, (K,).
    """
    values, vectors = torch.linalg.eigh(gram)
    values = values.clamp(min=0)
    rotated = vectors.T @ products
    strengths = STRENGTHS.to(gram.device) * values.sum()
    total = counts.sum()
    energy = total - (counts.square().sum() / total)  # of centred one-hot labels
    errors = torch.stack([_gcv(values, rotated, energy, total, one) for one in strengths])
    best = strengths[errors.argmin()]
    weights: Tensor = vectors @ (rotated / (values + best)[:, None])
    return weights


def _gcv(
    values: Tensor, rotated: Tensor, energy: Tensor, total: Tensor, strength: Tensor
) -> Tensor:
    """Return the mean squared residual over (1 - mean leverage)²."""
    shrunk = values + strength
    explained = rotated.square().sum(1)
    residual = energy - (explained * (2 / shrunk - values / shrunk.square())).sum()
    leverage = 1 + (values / shrunk).sum()  # the offset takes one
    error: Tensor = residual / total / (1 - leverage / total).square()
    return error
