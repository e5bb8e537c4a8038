"""Every weight as an affine form of its mode's reference, w ≈ a w_ref + b, by least squares.

With R = [w_ref; 1] over the snapshots, [a b] = w Rᵀ (R Rᵀ)⁻¹. One more snapshot, r = [w_ref; 1] and
weight w, gives [a b]' = ([a b] R Rᵀ + w rᵀ)(R Rᵀ + r rᵀ)⁻¹, which is the same as
[a b] + (w - [a b] r) rᵀ (R Rᵀ + r rᵀ)⁻¹: no snapshot has to be kept.
"""

import torch
from torch import Tensor

from dsc._training.research.embedded.modes import Modes


class AffineForms:
    """The forms of all weights of a network.

    Parameters
    ----------
    trajectories
        Snapshots of all weights, (T, N), T at least 2.
    modes
        Their modes.

    Attributes
    ----------
    coefficients
        [a b] of every weight, (N, 2) float64; [1 0] of references.
    """

    def __init__(self, trajectories: Tensor, modes: Modes) -> None:
        self._modes = modes
        design = _with_ones(trajectories[:, modes.references].T.double())  # (M, T, 2)
        self._gram = design.mT @ design
        fits = design @ torch.linalg.inv(self._gram)  # (M, T, 2)
        self.coefficients = design.new_empty(trajectories.shape[1], 2)
        for mode, fit in enumerate(fits):
            own = modes.members == mode
            self.coefficients[own] = trajectories[:, own].T.double() @ fit
        self._hold_references()

    def update(self, weights: Tensor) -> None:
        """Take in one more snapshot, (N,)."""
        row = _with_ones(weights[self._modes.references].double())  # (M, 2)
        self._gram += row[:, :, None] * row[:, None, :]
        gain = torch.linalg.solve(self._gram, row)  # (M, 2)
        missed = weights.double() - self.values(weights)
        self.coefficients += missed[:, None] * gain[self._modes.members]
        self._hold_references()

    def values(self, weights: Tensor) -> Tensor:
        """Return what the forms make of the references' present weights, (N,) float64."""
        reference = weights[self._modes.references].double()[self._modes.members]
        return torch.addcmul(self.coefficients[:, 1], self.coefficients[:, 0], reference)

    def references(self, indices: Tensor) -> Tensor:
        """Return the places of the references of the weights at `indices`."""
        return self._modes.references[self._modes.members[indices]]

    def _hold_references(self) -> None:
        self.coefficients[self._modes.references] = self.coefficients.new_tensor([1.0, 0.0])


def _with_ones(values: Tensor) -> Tensor:
    return torch.stack([values, torch.ones_like(values)], dim=-1)
