"""A first partition of a sample: pixels that belong together beyond doubt.

Neighbours are of one piece where they have the same normal and the same labels and depth goes on
as it did; what is left in crumbs after that is curved, and neighbours in it belong together where
normals turn slowly. The partition is too fine; `dsc._codecs.surfaces.merging` joins what need not
be told apart.
"""

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array

CRUMB = 12  # pixels; smaller pieces of one normal may be of something curved
TURN_DEG = 25.0  # between neighbours on something curved
BEND = 0.004  # relative: how much less straight than its surroundings inverse depth may go on
STEP = 0.06  # relative: how far depth may differ between neighbours on something curved
MOST = 2000  # pieces above which a map is not made of surfaces; rooms have up to 800

Bool = NDArray[np.bool_]
Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]


def first_pieces(
    held: Numbers, normal: Array | None, unit: Floats | None, inverse: Floats | None
) -> Numbers | None:
    """Return the number (H, W) of each pixel's piece; None where there are more than `MOST`.

    Parameters
    ----------
    held
        (H, W) what must not be mixed in a piece: labels, and which tasks have nothing.
    normal, unit
        Normals (H, W, 3) uint8, and as unit vectors; None where there are none.
    inverse
        Inverse depth, 0 where there is none; None likewise.
    """
    across, down = (_alike(held, normal, inverse, axis) for axis in (1, 0))
    pieces = connected(across, down)
    if unit is not None:
        crumb = np.bincount(pieces.ravel())[pieces] < CRUMB
        for axis, known in ((1, across), (0, down)):
            first, second = _pair(crumb, axis)
            known[first & second & _turns(held, unit, inverse, axis)] = True
        pieces = connected(across, down)
    return None if int(pieces.max()) >= MOST else pieces


def connected(across: Bool, down: Bool) -> Numbers:
    """Find the pieces that neighbours make that belong together.

    Parameters
    ----------
    across, down
        (H, W - 1) and (H - 1, W): whether a pixel belongs to the next one.

    Returns
    -------
    (H, W)
        Numbers from 0, in the order of their first pixels.
    """
    height, width = across.shape[0], down.shape[1]
    starts = np.ones((height, width), bool)
    starts[:, 1:] = ~across
    runs = np.cumsum(starts.ravel()).reshape(height, width) - 1
    pairs = np.unique(runs[:-1][down] * (runs.max() + 1) + runs[1:][down])
    above, below = np.divmod(pairs, runs.max() + 1)
    root = np.arange(runs.max() + 1)
    while True:  # the smallest number of all that touch, and then of theirs
        least = root.copy()
        np.minimum.at(least, above, root[below])
        np.minimum.at(least, below, root[above])
        np.minimum.at(least, root, least)
        least = least[least]
        if np.array_equal(least, root):
            break
        root = least
    number = np.unique(root, return_inverse=True)[1]
    return np.asarray(number[runs])


def _pair(array: Array, axis: int) -> tuple[Array, Array]:
    return (array[:, :-1], array[:, 1:]) if axis else (array[:-1], array[1:])


def _alike(held: Numbers, normal: Array | None, inverse: Floats | None, axis: int) -> Bool:
    first, second = _pair(held, axis)
    alike: Bool = first == second
    if normal is not None:
        first, second = _pair(normal, axis)
        for c in range(3):
            alike &= first[..., c] == second[..., c]
    if inverse is not None:
        alike &= _goes_on(inverse, axis, normal is None)
    return alike


def _goes_on(inverse: Floats, axis: int, on_both: bool) -> Bool:
    """Tell whether inverse depth goes on from a pixel to the next as it did.

    Where a surface ends, that is so on one side; where planes meet, on none of the pixels between.

    Parameters
    ----------
    on_both
        Whether it must be as straight on both sides, or on one.
    """
    across = inverse if axis else inverse.T
    bend = np.abs(np.diff(across, n=2, axis=1))
    outside = np.zeros((len(across), 1)) if on_both else np.full((len(across), 1), np.inf)
    before, after = np.hstack([outside, bend]), np.hstack([bend, outside])
    worst = np.maximum(before, after) if on_both else np.minimum(before, after)
    goes: Bool = worst[:, : across.shape[1] - 1] <= BEND * np.minimum(across[:, :-1], across[:, 1:])
    return goes if axis else goes.T


def _turns(held: Numbers, unit: Floats, inverse: Floats | None, axis: int) -> Bool:
    """Tell whether normals turn slowly from a pixel to the next, and depth does not jump."""
    first, second = _pair(held, axis)
    here, there = _pair(unit, axis)
    slowly: Bool = (first == second) & ((here * there).sum(axis=-1) > np.cos(np.radians(TURN_DEG)))
    if inverse is not None:
        near, far = _pair(inverse, axis)
        slowly &= np.abs(near - far) <= STEP * np.minimum(near, far)
    return slowly
