"""What is known around a pixel: how calm its surroundings are, candidate labels, equality patterns.

Labels are compared with each other and nothing else: a context does not change when the labels of a
map are renamed, so one model serves any number of classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._coding.context.lattice import MARGIN, NEIGHBOURS, Grid, Ids, Index

NO_LABEL = 0xFFFF  # a candidate that is not there
NEAR = 12  # neighbours that are compared with the third candidate
FEATURES = 2 * NEIGHBOURS + NEAR
CALM = 3  # classes of pixels without a boundary near them
# Windows that make these classes, by phase. The last two phases know all four nearest pixels: no
# more than one of 10,000 that the smallest window calls calm is a surprise (NYUv2).
RADII = ((2, 4, 8),) * 5 + ((1, 3, 8),) * 2


@dataclass(frozen=True)
class Contexts:
    """What is known around n pixels.

    Attributes
    ----------
    candidates
        (3, n) the first three labels met among the neighbours, nearest first; `NO_LABEL` when there
        are fewer.
    features
        (FEATURES, n) 0 and 1: which neighbours have the first candidate, which have the second, and
        which of the nearest have the third.
    """

    candidates: Ids
    features: NDArray[Any]


def calmness(grid: Grid, phase: int) -> NDArray[np.uint8]:
    """Count the phase's windows around a pixel (`RADII`) that hold one label only: (H, W)."""
    padded = grid.padded
    differ = padded[:-1, :-1] != padded[:-1, 1:]
    differ |= padded[:-1, :-1] != padded[1:, :-1]
    calm = np.full((grid.height, grid.width), CALM, np.uint8)
    size = 1
    for radius in RADII[phase]:
        while size < 2 * radius:  # the union of shifted windows is a wider window
            shift = min(size, 2 * radius - size)
            differ = differ[:-shift] | differ[shift:]
            differ = differ[:, :-shift] | differ[:, shift:]
            size += shift
        first = MARGIN - radius
        calm -= differ[first : first + grid.height, first : first + grid.width]  # windows nest
    return calm


def contexts(grid: Grid, places: Index, offsets: tuple[tuple[int, int], ...]) -> Contexts:
    """Look around pixels.

    Parameters
    ----------
    places
        (n,) in the flat padded grid.
    offsets
        Where to look, nearest first.
    """
    stride = grid.padded.shape[1]
    moves = np.array([down * stride + right for down, right in offsets], np.intp)
    around = grid.padded.ravel()[places + moves[:, None]]
    candidates = np.full((3, len(places)), NO_LABEL, np.uint16)
    candidates[0] = around[0]
    features = np.zeros((FEATURES, len(places)), np.float32)
    same = around == around[0]
    features[:NEIGHBOURS] = same
    other = ~same
    _find_nearest(around, other, candidates[1])
    same = around == candidates[1]
    features[NEIGHBOURS : 2 * NEIGHBOURS] = same
    other &= ~same
    _find_nearest(around, other, candidates[2])
    np.equal(around[:NEAR], candidates[2], out=same[:NEAR])
    features[2 * NEIGHBOURS :] = same[:NEAR]
    return Contexts(candidates, features)


def _find_nearest(around: Ids, wanted: NDArray[np.bool_], out: Ids) -> None:
    """Write the nearest wanted neighbour of each pixel that has one to `out`."""
    at = np.flatnonzero(wanted.any(axis=0))
    if len(at) < len(out):
        around, wanted = around[:, at], wanted[:, at]
    out[at] = around[wanted.argmax(axis=0), np.arange(len(at))]
