"""Sees a run that diverges: loss or gradient not finite, or a loss that stays far above its best.

Losses of single steps differ several times over (qualities and tasks are drawn), so medians over
blocks of steps are compared.
"""

import math
import statistics
from collections.abc import Mapping
from typing import Any

from dsc.errors import DivergedError

BLOCK = 100
TOO_HIGH = 8.0  # times the lowest median of a block so far
SUSPICIOUS = 3.0  # from here on, no checkpoint replaces the last good one


class DivergenceWatch:
    """What has been seen of the loss so far."""

    def __init__(self) -> None:
        self._block: list[float] = []
        self._lowest, self._last = math.inf, 0.0

    def check(self, step: int, loss: float, gradient: float) -> None:
        """Take in a step.

        Parameters
        ----------
        step
            Its number, from 0.
        loss, gradient
            The loss, and the norm of its gradient before clipping.

        Raises
        ------
        DivergedError
            When the run has diverged.
        """
        for name, value in (("loss", loss), ("norm of the gradient", gradient)):
            if not math.isfinite(value):
                raise DivergedError(f"diverged at step {step + 1}: the {name} is {value}")
        self._block.append(loss)
        if len(self._block) < BLOCK:
            return
        self._last, self._block = statistics.median(self._block), []
        if self._last > TOO_HIGH * self._lowest:
            raise DivergedError(
                f"diverged at step {step + 1}: the median loss of {BLOCK} steps is "
                f"{self._last:.4g}, it was {self._lowest:.4g} before"
            )
        self._lowest = min(self._lowest, self._last)

    @property
    def good(self) -> bool:
        """Whether the loss is where it should be, so that a checkpoint is worth keeping."""
        recent = statistics.median(self._block) if len(self._block) >= BLOCK // 4 else self._last
        return max(recent, self._last) <= SUSPICIOUS * self._lowest

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint must hold."""
        return {"block": list(self._block), "lowest": self._lowest, "last": self._last}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self._block, self._lowest = list(state["block"]), state["lowest"]
        self._last = state["last"]
