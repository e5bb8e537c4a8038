"""What is known of the feature maps of a layer: how to take them apart, and how large parts are."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.klt.blocks import EXACT, LONGEST, bands
from dsc._codecs.klt.steps import OCTAVE, ONE, STEPS, step_number
from dsc._codecs.klt.tables import (
    HIGHEST,
    LOWEST,
    Frequencies,
    check_frequencies,
    frequencies,
    no_counts,
    tables_of,
)
from dsc._coding.entropy import Tables

WEIGHT_ONE = 256  # a weight of 1
PARTS = 16  # of a step, in which coefficients come back
MIDDLE = 128  # a scale of the unit
MOST_CHANNELS = 2048  # whose transform is learnt

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Model:
    """See the module.

    Attributes
    ----------
    scales
        (C, 8, 8) uint8: four times the binary logarithm of a coefficient's root mean square, to the
        unit, and `MIDDLE` added; by component and bands of frequencies, down and along.
    weights
        (8, 8) uint16: `WEIGHT_ONE` times what a coefficient is multiplied by to go back: steps of
        frequencies that matter less are longer.
    synthesis
        (C, C) int16, from components to channels, times 2^-`exponent`; None where channels are left
        as they are.
    mean
        (C,) float32 of each channel; None for 0.
    exponent
        See `synthesis`.
    sizes
        Frequencies of sizes by class, see `tables`.
    """

    scales: NDArray[np.uint8]
    weights: NDArray[np.uint16]
    synthesis: NDArray[np.int16] | None
    mean: NDArray[np.float32] | None
    exponent: int
    sizes: Frequencies

    @classmethod
    def unlearnt(cls, channels: int) -> Self:
        """Return what holds of features that nothing is known of."""
        return cls(
            np.full((channels, LONGEST, LONGEST), MIDDLE, np.uint8),
            np.full((LONGEST, LONGEST), WEIGHT_ONE, np.uint16),
            None,
            None,
            0,
            frequencies(no_counts()),
        )

    @property
    def is_learnt(self) -> bool:
        """Whether the unit is this model's; else it is each sample's own."""
        return self.synthesis is not None

    @cached_property
    def tables(self) -> Tables:
        """The table of each class."""
        return tables_of(self.sizes)

    @cached_property
    def matrix(self) -> Floats:
        """`synthesis` as binary64."""
        if self.synthesis is None:
            raise ValueError("channels are left as they are")
        return self.synthesis.astype(np.float64)

    @cached_property
    def analysis(self) -> Floats:
        """(C, C) from channels to components."""
        found: Floats = np.ldexp(np.linalg.inv(self.matrix), self.exponent).astype(np.float64)
        return found

    @cached_property
    def most(self) -> float:
        """The largest component that sums over components are exact for."""
        if self.synthesis is None:
            return float(EXACT)
        return EXACT / max(float(np.abs(self.matrix).sum(axis=1).max()), 1.0)

    def classes(self, size: tuple[int, int], quality: int, loudness: int) -> NDArray[np.int64]:
        """Return by how many quarters of octaves coefficients (C, h, w) are larger than the step.

        Parameters
        ----------
        loudness
            By how many a sample's are larger than usual.
        """
        down, along = (bands(side) for side in size)
        found = self.scales[:, down[:, None], along].astype(np.int64)
        return found + (loudness - MIDDLE - step_number(quality))

    def steps(self, size: tuple[int, int], quality: int) -> NDArray[np.int64]:
        """Return the step of each coefficient (h, w), in 1/4096 of the unit."""
        down, along = (bands(side) for side in size)
        wide = STEPS[quality - 1] * self.weights.astype(np.int64)
        return np.maximum(wide // WEIGHT_ONE, 1)[down[:, None], along]

    def channels_of(self, components: Floats) -> Floats:
        """Turn whole components (C, h, w), in 1/(16 · 4096) of the unit, into channels.

        Raises
        ------
        ValueError
            When they are larger than sums are exact for.
        """
        unit = 1 / (ONE * PARTS)
        if self.synthesis is None:
            return components * unit
        if float(np.abs(components).max(initial=0.0)) > self.most:
            raise ValueError("a component is out of range")
        flat = self.matrix @ components.reshape(len(components), -1)
        found = flat.reshape(components.shape) * (unit * 2.0**-self.exponent)
        return found if self.mean is None else found + self.mean[:, None, None]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return what a weights file holds of this, by name."""
        found = {name: getattr(self, name) for name in ("scales", "weights", "sizes")}
        found |= {"synthesis": self.synthesis, "mean": self.mean}
        return {name: array for name, array in found.items() if array is not None}

    def facts(self) -> dict[str, int]:
        """Return what a weights file says beside."""
        return {"exponent": self.exponent}

    @classmethod
    def of(
        cls, tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], channels: int
    ) -> Self:
        """Make what a weights file describes.

        Raises
        ------
        ValueError, KeyError, TypeError
            When it does not fit together.
        """
        wanted: dict[str, tuple[type, tuple[int, ...]]] = {
            "scales": (np.uint8, (channels, LONGEST, LONGEST)),
            "weights": (np.uint16, (LONGEST, LONGEST)),
            "synthesis": (np.int16, (channels, channels)),
            "mean": (np.float32, (channels,)),
        }
        for name, (dtype, shape) in wanted.items():
            array = tensors[name]
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"{name}: {array.dtype} {array.shape}, expected {shape}")
        check_frequencies(tensors["sizes"])
        exponent = int(facts["exponent"])
        if not tensors["weights"].all() or not np.isfinite(tensors["mean"]).all():
            raise ValueError("a weight is 0, or a mean is not finite")
        if abs(exponent) > 64:
            raise ValueError(f"exponent {exponent} is out of range")
        return cls(
            tensors["scales"], tensors["weights"], tensors["synthesis"], tensors["mean"], exponent,
            tensors["sizes"],
        )  # fmt: skip


def parted(classes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the table of each class, negative where nothing is coded, and its lower bits."""
    low_bits = np.maximum(-((HIGHEST - classes) // OCTAVE), 0)
    return classes - OCTAVE * low_bits - LOWEST, low_bits
