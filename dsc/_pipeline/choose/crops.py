"""Samples and crops of them, which stand for whole ones where a few pixels tell enough."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsc._codecs.base import Array, Sample

CROP_PIXELS = 1 << 15  # that a crop has at most


@dataclass(frozen=True)
class Piece:
    """A sample, or a crop of one.

    Attributes
    ----------
    scale
        How many pixels the whole sample has for each of a map's here.
    """

    arrays: Sample
    scale: float = 1.0

    def of(self, names: Sequence[str]) -> Sample:
        """Return the arrays of some tasks, as far as there are."""
        return {name: self.arrays[name] for name in names if name in self.arrays}


def crop(sample: Sample, pixels: int = CROP_PIXELS) -> Piece:
    """Cut the same part out of the middle of all maps of a sample.

    Parameters
    ----------
    pixels
        How many the largest map is to keep at most; a small one stays as it is.
    """
    whole = map_pixels(sample)
    if whole <= pixels:
        return Piece(sample)
    share = math.sqrt(pixels / whole)
    arrays = {name: _middle(array, share) for name, array in sample.items()}
    return Piece(arrays, whole / max(map_pixels(arrays), 1))


def _middle(array: Array, share: float) -> Array:
    if array.ndim < 2:
        return array
    sides = [max(int(side * share), 1) for side in array.shape[:2]]
    starts = [(side - own) // 2 for side, own in zip(array.shape, sides, strict=False)]
    rows, columns = (slice(at, at + own) for at, own in zip(starts, sides, strict=True))
    return np.ascontiguousarray(array[rows, columns])


def map_pixels(sample: Sample) -> int:
    """Return the pixels of a sample's largest map; 0 where it has none."""
    maps = [array for array in sample.values() if array.ndim > 1]
    return max((array.shape[0] * array.shape[1] for array in maps), default=0)
