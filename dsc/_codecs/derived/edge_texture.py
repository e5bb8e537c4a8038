"""Edges of an image's texture: the gradient's magnitude after a Gaussian.

The formula is that of the task ``edge_texture`` of Taskonomy and Omnidata: gray values as numbers
between levels, a Gaussian that is divided by how much of it lies in the image, and Sobel's kernels
(scikit-image's `skimage.filters.sobel`), whose magnitude is sqrt((gx^2 + gy^2) / 2), 1 at most, 0
at the border; times 65535, rounded. Here all but the root is of integers:

- Gaussian weights are integers that sum to 2^24. Radius and weights are a function of the sigma
  alone, made in decimal arithmetic, which has no machine's libm in it.
- Columns first, rounded to 1/4096 of a gray step, then rows, to 1/64. A sum over what lies in the
  image is divided by the sum of the weights there.
- gx^2 + gy^2 is below 2^53, so its root is the same on every machine.

Against the formula in floats 99.8 % of pixels are equal, and all others differ by a count
(`tests/codecs/derived/test_edge_texture.py` has it in floats).
"""

import decimal
from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._codecs.base import Array, Sample
from dsc._codecs.derived.evidence import check_fit, check_own, input_maps, read_param
from dsc._codecs.derived.images import (
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

SIGMAS = (100, 16_000)  # smallest and largest, in thousandths of a pixel; 100 smooths nothing
ROUND = 50  # sigmas of which a source rather chooses one

WEIGHT_BITS = 24  # Gaussian weights sum to 2^24
COLUMN_BITS, ROW_BITS = 12, 6  # of a gray step, after columns and after rows
SCALE = 257 / 256_000  # 65535 / (4 * WHITE * 64): what a gradient of Sobel's sums is in counts

DECIMALS = decimal.Context(
    prec=30, rounding=decimal.ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999, clamp=0, traps=[]
)

SLACK = 1  # counts that the mean may be beyond that of the smallest or largest sigma
WINDOW = 256  # pixels each way that a sigma is searched in, over twice what the widest reaches


class EdgeTexture:
    """The rule ``edge_texture@1``; parameter: ``sigma_1000``, in thousandths of a pixel."""

    id: ClassVar[str] = "edge_texture@1"
    own_count = 0

    def __init__(self, image: Task, sigma: int) -> None:
        self.inputs = (image.name,)
        self._image, self._sigma = image, sigma

    @classmethod
    def find(cls, child: Task, parents: Sequence[Task], samples: Sequence[Sample]) -> Self | None:
        """Find the image and the sigma that a task was made with; see `Rule.find`."""
        if not is_filtered(child):
            return None
        for parent in filter(is_image, parents):
            pairs = pairs_of(child, parent, samples)
            sigma = _sigma_of(pairs) if all(_border_is_zero(found) for _, found in pairs) else None
            if sigma is not None:
                return cls(parent, sigma)
        return None

    @classmethod
    def from_params(cls, child: Task, inputs: Sequence[Task], params: Mapping[str, int]) -> Self:
        """Make the rule that `params` describe; see `Rule.from_params`."""
        check_fit(cls.id, makes(child, inputs), child, inputs)
        return cls(inputs[0], read_param(cls.id, params, "sigma_1000", *SIGMAS))

    def params(self) -> dict[str, int]:
        """Return the sigma."""
        return {"sigma_1000": self._sigma}

    def fit(self, child: Array, inputs: Mapping[str, Array]) -> Own:
        """Return nothing: no sample has parameters of its own."""
        return ()

    def derive(self, inputs: Mapping[str, Array], own: Own) -> Array:
        """Compute the edges (H, W) uint16 of an image (H, W, 3) uint8."""
        check_own(own, self.own_count)
        (image,) = input_maps(inputs, [self._image])
        return edges(image, self._sigma)


def edges(image: NDArray[np.uint8], sigma: int) -> NDArray[np.uint16]:
    """Compute the edges (H, W) of an image (H, W, 3); sigma in thousandths of a pixel."""
    weights = gaussian(sigma)
    if not _kernels.in_use():
        return _edges(image, weights)
    found = np.empty(image.shape[:2], np.uint16)
    _kernels.compiled.edge_texture(image, np.array(weights, np.uint32), found)
    return found


@cache
def gaussian(sigma: int) -> tuple[int, ...]:
    """Return the weights at distances 0, 1 ... of a Gaussian that is cut off at 4 sigma.

    They sum to 2^24, both sides together.

    Parameters
    ----------
    sigma
        In thousandths of a pixel.
    """
    radius = (4 * sigma + 500) // 1000
    one = 1 << WEIGHT_BITS
    with decimal.localcontext(DECIMALS):
        shape = [
            (decimal.Decimal(-(i**2) * 10**6) / (2 * sigma**2)).exp() for i in range(radius + 1)
        ]
        total = 2 * sum(shape) - shape[0]
        sides = [int((one * value / total).to_integral_value()) for value in shape[1:]]
    return (one - 2 * sum(sides), *sides)


def _edges(image: NDArray[np.uint8], weights: tuple[int, ...]) -> NDArray[np.uint16]:
    """Compute edges in numpy: the twin of `edge_texture` in ``dsc/_kernels/filters.c``."""
    found = np.zeros(image.shape[:2], np.uint16)
    if min(found.shape) < 3:
        return found
    columns = _smoothed(gray_of(image), weights, COLUMN_BITS)
    smooth = _smoothed(columns.T, weights, ROW_BITS - COLUMN_BITS).T
    across = smooth[:-2] + 2 * smooth[1:-1] + smooth[2:]
    down = smooth[2:] - smooth[:-2]
    gx = across[:, 2:] - across[:, :-2]
    gy = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    # twice the count is cut off, then one added and halved: rounded without a sum of floats
    doubled = (np.sqrt((2 * (gx**2 + gy**2)).astype(np.float64)) * SCALE).astype(np.int64)
    found[1:-1, 1:-1] = (doubled + 1) >> 1
    return found


def _smoothed(values: NDArray[np.int64], weights: tuple[int, ...], bits: int) -> NDArray[np.int64]:
    """Smooth down the columns of values (H, W), and scale by 2^bits, rounded half up."""
    height = len(values)
    sums, inside = values * weights[0], np.full(height, weights[0])
    for distance, weight in enumerate(weights[1 : min(len(weights), height)], start=1):
        sums[distance:] += weight * values[:-distance]
        sums[:-distance] += weight * values[distance:]
        inside[distance:] += weight
        inside[:-distance] += weight
    divisor = inside[:, None] << max(0, -bits)
    found: NDArray[np.int64] = ((sums << max(0, bits)) + divisor // 2) // divisor
    return found


def _is_sigma(sigma: int) -> bool:
    return SIGMAS[0] <= sigma <= SIGMAS[1]


def _border_is_zero(found: NDArray[np.uint16]) -> bool:
    return not (found[[0, -1]].any() or found[:, [0, -1]].any())


def _sigma_of(pairs: Sequence[Pair]) -> int | None:
    """Find the sigma by which all maps follow from their images; None where there is none."""
    evidence = [pair for pair in pairs if is_evident(*pair)]
    sigma = _searched(*evidence[0]) if evidence else None
    if sigma is None or not all(agrees(found, edges(image, sigma)) for image, found in pairs):
        return None
    return sigma


def _searched(image: NDArray[np.uint8], found: NDArray[np.uint16]) -> int | None:
    """Find the sigma by which the busiest window of a map follows from its image.

    The wider the Gaussian, the lower is the mean of the edges: the mean leads to the sigma.
    """
    place = busiest(found, WINDOW)
    image, found, whole = np.ascontiguousarray(image[place]), found[place], found.shape

    def compared(sigma: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """Return what the window has, and what is derived, where the filter is all inside."""
        inner = inside(place, whole, len(gaussian(sigma)))
        return found[inner], edges(image, sigma)[inner]

    def excess(sigma: int) -> float:
        """Return by how many counts the mean is too high."""
        wanted, derived = compared(sigma)
        return float(derived.mean() - wanted.mean())

    least, most = SIGMAS
    if excess(least) < -SLACK or excess(most) > SLACK:
        return None
    while most - least > 1:
        middle = (least + most) // 2
        if excess(middle) > 0:
            least = middle
        else:
            most = middle
    near = {round(least / ROUND) * ROUND, *range(least - 2, most + 3)}
    tried = [sigma for sigma in sorted(near) if _is_sigma(sigma)]
    best = max(tried, key=lambda sigma: float(np.equal(*compared(sigma)).mean()))
    return best if agrees(*compared(best)) else None
