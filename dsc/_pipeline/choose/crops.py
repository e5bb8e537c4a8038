"""Samples and crops of them, which stand for whole ones where a few pixels tell enough.

Where frames of a recording are coded together, a piece is some that follow one another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsc._codecs.base import Array, Sample

CROP_PIXELS = 1 << 15  # that a crop has at most


@dataclass(frozen=True)
class Piece:
    """A group of samples, most often one, or crops of them.

    Attributes
    ----------
    scale
        How many pixels the whole samples have for each of a map's here.
    """

    samples: tuple[Sample, ...]
    scale: float = 1.0

    def of(self, names: Sequence[str]) -> list[Sample]:
        """Return the arrays of some tasks, as far as there are."""
        return [{name: one[name] for name in names if name in one} for one in self.samples]


def crop(samples: Sequence[Sample], pixels: int = CROP_PIXELS) -> Piece:
    """Cut the same part out of the middle of all maps of samples.

    Parameters
    ----------
    pixels
        How many the largest map is to keep at most; a small one stays as it is.
    """
    whole = most_map_pixels(samples)
    if whole <= pixels:
        return Piece(tuple(samples))
    share = math.sqrt(pixels / whole)
    crops = tuple({name: _middle(a, share) for name, a in sample.items()} for sample in samples)
    return Piece(crops, whole / max(most_map_pixels(crops), 1))


def _middle(array: Array, share: float) -> Array:
    if array.ndim < 2:
        return array
    sides = [max(int(side * share), 1) for side in array.shape[:2]]
    starts = [(side - own) // 2 for side, own in zip(array.shape, sides, strict=False)]
    rows, columns = (slice(at, at + own) for at, own in zip(starts, sides, strict=True))
    return np.ascontiguousarray(array[rows, columns])


def most_map_pixels(samples: Sequence[Sample]) -> int:
    """Return the pixels of the largest map of some samples."""
    return max(map(map_pixels, samples), default=0)


def map_pixels(sample: Sample) -> int:
    """Return the pixels of a sample's largest map; 0 where it has none."""
    maps = [array for array in sample.values() if array.ndim > 1]
    return max((array.shape[0] * array.shape[1] for array in maps), default=0)
