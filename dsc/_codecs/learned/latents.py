"""What entropy decoding gives and synthesis takes: a sample's integers, the same everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StreamLatent:
    """One stream's integers.

    Attributes
    ----------
    symbols
        int32 (C, h, w): coded residuals, in quantiser steps.
    mean
        int16 (C, h, w): predicted means, in sixteenths of a step; ŷ = symbols + mean / 16.
    quality
        1 to 100.
    """

    symbols: NDArray[np.int32]
    mean: NDArray[np.int16]
    quality: int


@dataclass(frozen=True)
class Latents:
    """All integers of one sample, as decoded: the same on every machine.

    Attributes
    ----------
    size
        (H, W) of the sample in pixels.
    streams
        Latents by stream name.
    offsets
        Median log depth by depth task, ln(metres).
    masks
        Invalid mask (H, W) by task, where the task has one.
    """

    size: tuple[int, int]
    streams: Mapping[str, StreamLatent]
    offsets: Mapping[str, float]
    masks: Mapping[str, NDArray[np.bool_]]
