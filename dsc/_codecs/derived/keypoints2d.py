"""Where an image has blobs: the determinant of its Hessian, approximated by boxes.

The formula is that of the task ``keypoints2d`` of Taskonomy and Omnidata: SURF's approximation
(Bay, Ess, Tuytelaars, Van Gool: *SURF: Speeded Up Robust Features*, 2006) as scikit-image's
`skimage.feature.blob_doh` takes it, at ten sizes; the largest of the ten, 0 at least, times 65535,
rounded. With the integral image S of gray values between 0 and 1, a box is the sum of four of its
values. For a filter of `size` pixels, whose lobe is l = size // 3:

- dxy: the boxes of l x l pixels toward the four corners, those of one diagonal less the others'.
- dxx: a box of 2 l - 1 rows and `size` columns, less thrice its middle l columns. dyy likewise.
- det = (dxx dyy - 0.81 dxy^2) / size^4.

Boxes begin after the pixel that they are named by, and are moved into the image where they begin
before it, as there: the values at borders are part of the task.

Here all is of integers. Sums of gray are exact. Each of the three is multiplied by an integer of 22
bits and cut off, so that their products count 1/2^32 of a count of the map; the map is their
difference, rounded. Against the formula in floats 99.9 % of pixels are equal, and all others differ
by a count (`tests/codecs/derived/test_keypoints2d.py` has it in floats).
"""

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._codecs.base import Array, Sample
from dsc._codecs.derived.evidence import check_fit, check_own, input_maps
from dsc._codecs.derived.images import (
    WHITE,
    Pair,
    agrees,
    busiest,
    gray_of,
    inside,
    is_evident,
    is_filtered,
    is_image,
    makes,
    pairs_of,
)
from dsc._codecs.derived.rule import Own
from dsc._schemas import Task

SIZES = (3, 12, 22, 32, 41, 51, 61, 70, 80, 90)
"""Of the filters, in pixels: three sigmas, ten of them evenly from 1 to 30, cut off."""

PARTS = 16  # a part of the determinant counts 1/2^16 of the root of a count
FACTOR_BITS = 22  # a sum of a box is below 2^31, so their product is exact in a double
MIXED = 9, 10  # dxy is weighted by 0.9, whose square is 0.81

WINDOW, MARGIN = 256, 91  # pixels each way that are tried first; what filters reach over

Factor = tuple[int, int]
"""An integer to multiply by, and the power of two to divide by then."""


class Keypoints2d:
    """The rule ``keypoints2d@1``; it has no parameters."""

    id: ClassVar[str] = "keypoints2d@1"
    own_count = 0

    def __init__(self, image: Task) -> None:
        self.inputs = (image.name,)
        self._image = image

    @classmethod
    def find(cls, child: Task, parents: Sequence[Task], samples: Sequence[Sample]) -> Self | None:
        """Find the image that a task was made from; see `Rule.find`."""
        if not is_filtered(child):
            return None
        for parent in filter(is_image, parents):
            if _follow(pairs_of(child, parent, samples)):
                return cls(parent)
        return None

    @classmethod
    def from_params(cls, child: Task, inputs: Sequence[Task], params: Mapping[str, int]) -> Self:
        """Make the rule; see `Rule.from_params`."""
        check_fit(cls.id, makes(child, inputs), child, inputs)
        return cls(inputs[0])

    def params(self) -> dict[str, int]:
        """Return nothing: the sizes are the rule's."""
        return {}

    def fit(self, child: Array, inputs: Mapping[str, Array]) -> Own:
        """Return nothing: no sample has parameters of its own."""
        return ()

    def derive(self, inputs: Mapping[str, Array], own: Own) -> Array:
        """Compute the keypoints (H, W) uint16 of an image (H, W, 3) uint8."""
        check_own(own, self.own_count)
        (image,) = input_maps(inputs, [self._image])
        return keypoints(image)


def keypoints(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Compute the keypoints (H, W) of an image (H, W, 3)."""
    if not _kernels.in_use():
        return _keypoints(image)
    found = np.empty(image.shape[:2], np.uint16)
    _kernels.compiled.keypoints2d(image, FILTERS, found)
    return found


def factor(size: int, weight: tuple[int, int] = (1, 1)) -> Factor:
    """Return what a sum of gray values is multiplied and divided by in a filter of some size.

    The factor is 2^`PARTS` sqrt(65535) / (WHITE size^2), times `weight`.
    """
    shift = 0
    while True:
        over, under = weight
        most = isqrt(65535 << 2 * (PARTS + shift)) * over // (WHITE * size**2 * under)
        if most >> (FACTOR_BITS - 1):
            return most, shift
        shift += 1


FILTERS = np.array([(size, *factor(size), *factor(size, MIXED)) for size in SIZES], np.int64)
"""Of each filter: size, factor and shift of dxx and dyy, and those of dxy."""


def _keypoints(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Compute keypoints in numpy: the twin of `keypoints2d` in ``dsc/_kernels/filters.c``."""
    sums = gray_of(image).cumsum(axis=0).cumsum(axis=1)
    most = np.zeros(sums.shape, np.int64)
    for size, straight, shift, mixed, mixed_shift in FILTERS.tolist():
        dxx, dyy, dxy = _second_derivatives(sums, size)
        a, b = _cut_off(dxx * straight, shift), _cut_off(dyy * straight, shift)
        c = _cut_off(dxy * mixed, mixed_shift)
        np.maximum(most, a * b - c * c, out=most)
    return (((most >> (2 * PARTS - 1)) + 1) >> 1).astype(np.uint16)


def _second_derivatives(sums: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], ...]:
    """Return dxx, dyy and dxy, each (H, W), but for their common sign and scale."""
    lobe, half, half_lobe = size // 3, (size - 1) // 2, size // 3 // 2
    corner, far = (-lobe, lobe), (1, lobe)
    middle, wide, narrow = (1 - lobe, 2 * lobe - 1), (-half, size), (-half_lobe, lobe)
    mixed = _rows(sums, *corner) - _rows(sums, *far)
    dxy = _columns(mixed, *far) - _columns(mixed, *corner)
    rows = _rows(sums, *middle)
    dxx = _columns(rows, *wide) - 3 * _columns(rows, *narrow)
    dyy = _columns(_rows(sums, *wide) - 3 * _rows(sums, *narrow), *middle)
    return dxx, dyy, dxy


def _rows(sums: NDArray[np.int64], start: int, length: int) -> NDArray[np.int64]:
    """Subtract, for each row, the row `start` further from that `length` after it."""
    first = (np.arange(len(sums)) + start).clip(0, len(sums) - 1)
    last = (first + length).clip(0, len(sums) - 1)
    found: NDArray[np.int64] = sums[last] - sums[first]
    return found


def _columns(sums: NDArray[np.int64], start: int, length: int) -> NDArray[np.int64]:
    return _rows(sums.T, start, length).T


def _cut_off(product: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """Divide by 2^shift, towards zero."""
    found: NDArray[np.int64] = np.sign(product) * (abs(product) >> shift)
    return found


def _follow(pairs: Sequence[Pair]) -> bool:
    """Tell whether all maps are the keypoints of their images, and any says something."""
    if not any(is_evident(*pair) for pair in pairs):
        return False
    return _looks_right(*pairs[0]) and all(
        agrees(found, keypoints(image)) for image, found in pairs
    )


def _looks_right(image: NDArray[np.uint8], found: NDArray[np.uint16]) -> bool:
    """Tell whether a map can be the keypoints of its image, by its busiest window."""
    place = busiest(found, WINDOW)
    inner = inside(place, found.shape, MARGIN)
    derived = keypoints(np.ascontiguousarray(image[place]))
    return agrees(found[place][inner], derived[inner])
