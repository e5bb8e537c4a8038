"""The integer networks that say how likely each candidate is, and the tables they choose from.

One network a phase: features (0 or 1) → hidden → hidden → three logits. Floats are integers in
[-127, 127], activations integers in [0, 127], and a sum of products stays below 2^24, so float32
arithmetic is exact in any order of summation (the scheme of `dsc._coding.integer`); scaling
by powers of two changes no digit. A logit, an integer in [-127, 127], picks one of 64 tables of two
symbols whose frequencies were counted.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._coding.context.lattice import NEIGHBOURS, PHASES, offsets_of
from dsc._coding.context.neighbours import RADII
from dsc._coding.entropy import Tables

if TYPE_CHECKING:
    from dsc._kernels import compiled

ONE = 16  # what 1 counts in activations and features
SHIFT = 5  # weights are in 1/32
HIGHEST = 127
LOGIT_LEVELS = 64
Float = NDArray[np.float32]
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
    def _scaled(self) -> tuple[Float, Float]:
        """Weights and biases that make ``floor(weight @ x + bias)`` the result before it clamps."""
        scale = np.float32(2.0**-SHIFT)
        weight = self.weight.astype(np.float32) * (self.input_one * scale)
        bias = self.bias.astype(np.float32) * scale + np.float32(0.5)
        return weight, bias[:, :, None]

    def __call__(self, x: Float, level: int) -> Float:
        """Map (inputs, n) to (outputs, n)."""
        weight, bias = self._scaled
        out = weight @ x
        out += bias[min(level, len(bias) - 1)]
        low = 0 if self.rectified else -HIGHEST
        return np.clip(np.floor(out, out=out), low, HIGHEST, out=out)


@dataclass(frozen=True, eq=False)
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
        Tables for labels that no candidate has, by `dsc._coding.context.escapes.table_index`.
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
        if _kernels.in_use():
            index = np.empty((features.shape[1], DECISIONS), np.uint8)
            model, patterns = compiled_model(self), _patterns(features)
            _kernels.compiled.label_tables(model, phase, level, patterns, index)
            return index.T
        x = features
        for layer in self.networks[phase]:
            x = layer(x, level)
        return logit_index(x)


def logit_index(logits: Float) -> NDArray[np.uint8]:
    """Return the table of a logit in [-127, 127]."""
    return ((logits.astype(np.int16) + (HIGHEST + 1)) >> 2).astype(np.uint8)


# ---- for the compiled kernel


@lru_cache(maxsize=8)
def compiled_model(model: LabelModel) -> "compiled.LabelModel":
    """Return a model as the kernel in `dsc/_kernels/labels.c` has it."""
    moves = np.array([offsets_of(phase) for phase in range(len(PHASES))], np.int8)
    return _kernels.compiled.label_model(
        tuple(tuple((layer.weight, layer.bias) for layer in layers) for layers in model.networks),
        (model.calm.bounds, model.calm.offsets),
        tuple((tables.bounds, tables.offsets) for tables in model.decisions),
        (model.escapes.bounds, model.escapes.offsets),
        tuple(np.array(places, np.uint8) for places in PHASES),
        moves,
        np.array(RADII, np.uint8),
    )


def _patterns(features: Float) -> NDArray[np.uint64]:
    """Return features (inputs, n) of 0 and 1 as bits: (n, 3), one number for each candidate."""
    parts = np.split(features, (NEIGHBOURS, 2 * NEIGHBOURS))
    bits = [np.uint64(1) << np.arange(len(part), dtype=np.uint64) for part in parts]
    rows = [(part > 0).T.astype(np.uint64) @ each for part, each in zip(parts, bits, strict=True)]
    return np.stack(rows, axis=1)
