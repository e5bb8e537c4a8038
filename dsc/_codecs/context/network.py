"""The integer networks that say how likely each candidate is, and the tables they choose from.

One network a phase: features (0 or 1) → hidden → hidden → three logits. Floats are integers in
[-127, 127], activations integers in [0, 127], and a sum of products stays below 2^24, so float32
arithmetic is exact in any order of summation (the scheme of `dsc._codecs.coding.integer`); scaling
by powers of two changes no digit. A logit, an integer in [-127, 127], picks one of 64 tables of two
symbols whose frequencies were counted.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsc._codecs.coding.entropy import Tables

ONE = 16  # what 1 counts in activations and features
SHIFT = 5  # weights are in 1/32
HIGHEST = 127
LOGIT_LEVELS = 64
DECISIONS = 3  # is it the first candidate; if not, the second; if not, the third


@dataclass(frozen=True)
class Layer:
    """One layer: ``clamp((weight @ (x * input_one) + bias + 2^4) >> 5, low, 127)``.

    Attributes
    ----------
    weight
        (outputs, inputs) int8
    bias
        (levels or 1, outputs) int32
    input_one
        What 1 counts in its input.
    rectified
        Whether `low` is 0, or -127.
    """

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    input_one: int
    rectified: bool

    @cached_property
    def _scaled(self) -> tuple[Tensor, Tensor]:
        """Weights and biases that make ``floor(weight @ x + bias)`` the result before it clamps."""
        scale = 2.0**-SHIFT
        weight = torch.from_numpy(self.weight.astype(np.float32)) * (self.input_one * scale)
        bias = torch.from_numpy(self.bias.astype(np.float32)) * scale + 0.5
        return weight, bias[:, :, None]

    def __call__(self, x: Tensor, level: int) -> Tensor:
        """Map (inputs, n) to (outputs, n)."""
        weight, bias = self._scaled
        out = torch.addmm(bias[min(level, len(bias) - 1)], weight, x)
        return out.floor_().clamp_(0 if self.rectified else -HIGHEST, HIGHEST)


@dataclass(frozen=True)
class LabelModel:
    """All that is trained.

    Attributes
    ----------
    networks
        The layers of each phase's network.
    calm
        Tables for pixels without a boundary near them, by `calm_index`.
    decisions
        Tables for each of the three decisions, by logit.
    escapes
        Tables for labels that no candidate has, by `dsc._codecs.context.escapes.table_index`.
    """

    networks: tuple[tuple[Layer, ...], ...]
    calm: Tables
    decisions: tuple[Tables, ...]
    escapes: Tables

    def logits(self, phase: int, level: int, features: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the table of each decision.

        Parameters
        ----------
        features
            (inputs, n) float32 of 0 and 1.

        Returns
        -------
        (3, n) uint8
        """
        x = torch.from_numpy(features)
        for layer in self.networks[phase]:
            x = layer(x, level)
        return logit_index(x)


def logit_index(logits: Tensor) -> NDArray[np.uint8]:
    """Return the table of a logit in [-127, 127]."""
    index: NDArray[np.uint8] = ((logits.to(torch.int16) + (HIGHEST + 1)) >> 2).byte().numpy()
    return index
