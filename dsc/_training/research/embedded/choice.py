"""Which weights stop to train next: those with a stable form that the loss hardly depends on.

Stability is δ = ‖[a b] - [a b] of a period ago‖, as in embedded CMD; sensitivity is the mean over
some steps of |w ∂L/∂w|, the loss that leaving a weight out would cost in first order.
"""

import torch
from torch import Tensor


class Sensitivity:
    """The mean of |w ∂L/∂w| over steps.

    Parameters
    ----------
    like
        The weights, (N,).
    """

    def __init__(self, like: Tensor) -> None:
        self._sum, self._steps = torch.zeros_like(like), 0

    def add(self, weights: Tensor, gradient: Tensor) -> None:
        """Take in a step's weights and gradient, (N,)."""
        self._sum += (weights * gradient).abs_()
        self._steps += 1

    def take(self) -> Tensor:
        """Return the mean, (N,), zeros if no step was taken in, and begin anew."""
        mean = self._sum / max(self._steps, 1)
        self._sum.zero_()
        self._steps = 0
        return mean


def change(coefficients: Tensor, before: Tensor) -> Tensor:
    """Return δ (N,) of forms (N, 2)."""
    return (coefficients - before).square().sum(dim=1).sqrt()


def choose(delta: Tensor, sensitivity: Tensor, free: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Choose the next weights.

    Of the 2 · `count` most stable ones, the half that is less sensitive and the other half.

    Parameters
    ----------
    delta, sensitivity
        Of all weights, (N,).
    free
        Places of those that may be chosen.
    count
        How many; fewer if fewer are free.

    Returns
    -------
    insensitive, sensitive
        Places, at most `count` each.
    """
    count = min(count, len(free))
    stable = free[_least(delta[free], min(2 * count, len(free)))]
    insensitive = torch.zeros(len(stable), dtype=torch.bool, device=stable.device)
    insensitive[_least(sensitivity[stable], count)] = True
    return stable[insensitive], stable[~insensitive]


def _least(values: Tensor, count: int) -> Tensor:
    return values.topk(count, largest=False, sorted=False).indices
