"""Averages of a network's weights over the steps: what is evaluated and exported.

ema
    θ̄ ← d θ̄ + (1 - d) θ after every step, d rising to `EMA_DECAY`.
sma
    Sample, then move the average (the SMA of "Accelerating learned image compression through
    modeling neural training dynamics", 2025): every `SMA_EVERY` steps θ̄ ← (1 - α) θ̄ + α θ, and
    training goes on from θ̄.
none
    The weights themselves.

Our own, as torch's `AveragedModel` does not set the trained weights back (sma), and its states have
other names than the checkpoints there are.
"""

import copy
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

EMA_DECAY = 0.999
SMA_EVERY, SMA_PART = 5, 0.5


class WeightAverage:
    """The average of one network's weights.

    Parameters
    ----------
    method
        See the module.
    network
        The network that trains.

    Attributes
    ----------
    network
        Has the averaged weights; the trained network itself for ``none``.
    """

    def __init__(self, method: Literal["ema", "sma", "none"], network: nn.Module) -> None:
        self._method, self._trained = method, network
        self.network = network
        if method != "none":
            self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, done: int) -> None:
        """Take in the weights after a step.

        Parameters
        ----------
        done
            Steps done, this one included.
        """
        if self._method == "ema":
            self._move(1 - min(EMA_DECAY, done / (done + 10)))
        elif self._method == "sma" and done % SMA_EVERY == 0:
            self._move(SMA_PART)
            for kept, new in self._pairs():
                new.copy_(kept)

    def _move(self, part: float) -> None:
        for kept, new in self._pairs():
            kept.lerp_(new, part)
        buffers = zip(self.network.buffers(), self._trained.buffers(), strict=True)
        for kept, new in buffers:
            kept.copy_(new)

    def _pairs(self) -> Any:
        return zip(self.network.parameters(), self._trained.parameters(), strict=True)

    def restart(self) -> None:
        """Begin anew with the weights that the network has now."""
        if self._method != "none":
            self.network.load_state_dict(self._trained.state_dict())

    def state(self) -> dict[str, Any] | None:
        """Return what a checkpoint must hold."""
        return None if self._method == "none" else self.network.state_dict()

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Take back what `state` gave."""
        if state is not None:
            self.network.load_state_dict(state)
