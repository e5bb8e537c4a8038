"""Pieces that one polynomial does not describe are parted in two, by what describes each.

Two balls that touch have normals that turn slowly all over, and on a plane that is bent normals may
be alike. Pixels are given to the one of two polynomials that they are closer to, and these are
fitted again, until nothing changes.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.surfaces.moments import solved, terms
from dsc._codecs.surfaces.pieces import Numbers

LEAST = 24  # pixels of a piece that is parted
LEAST_PART = 6
ROUNDS = 12
DEPTH = 4  # a piece is parted into 2^4 at most
GAIN = 0.5  # of the error that must be left at most, or the piece stays whole
Floats = NDArray[np.float64]
Places = NDArray[np.integer]
Fields = Callable[[Numbers, Places, Places], tuple[Floats, Floats]]
"""Returns the terms (n, k) and the values (n, c) of pixels, by places in the flat map and in it."""


def split_curved(pieces: Numbers, unit: Floats, most: float) -> Numbers:
    """Part the pieces (H, W) whose error of normals under a second order is above `most`.

    Parameters
    ----------
    unit
        (H, W, 3) normals, zero where there is none.
    """
    vectors = unit.reshape(-1, 3)

    def fields(at: Numbers, rows: Places, columns: Places) -> tuple[Floats, Floats]:
        return _basis(rows, columns), vectors[at]

    return _split(pieces, fields, most)


def split_bent(pieces: Numbers, inverse: Floats, most: float) -> Numbers:
    """Part the pieces (H, W) whose error of depth under a plane is above `most`.

    Parameters
    ----------
    inverse
        (H, W) inverse depth, 0 where there is none.
    """
    flat = inverse.ravel()

    def fields(at: Numbers, rows: Places, columns: Places) -> tuple[Floats, Floats]:
        own = flat[at]
        there = (own > 0)[:, None]
        scaled = _basis(rows, columns)[:, :3] * (own.mean() / np.where(own > 0, own, 1))[:, None]
        return np.where(there, scaled, 0), there.astype(np.float64)

    return _split(pieces, fields, most)


def _split(pieces: Numbers, fields: Fields, most: float) -> Numbers:
    flat = pieces.ravel().copy()
    order = np.argsort(flat, kind="stable")
    counts = np.bincount(flat)
    number = len(counts)
    ends = np.cumsum(counts)
    todo = [(order[ends[k] - counts[k] : ends[k]], DEPTH) for k in np.flatnonzero(counts >= LEAST)]
    while todo:
        at, left = todo.pop()
        if not left or len(at) < LEAST:
            continue
        rows, columns = np.divmod(at, pieces.shape[1])
        basis, values = fields(at, rows, columns)
        if (values == values[0]).all() and (basis[:, 0] == basis[0, 0]).all():
            continue
        whole = _errors(basis, values, np.ones(len(at), bool)).sum()
        if whole <= most:
            continue
        second = parted(basis, values, rows, columns)
        if min(second.sum(), (~second).sum()) < LEAST_PART:
            continue
        after = np.minimum(_errors(basis, values, second), _errors(basis, values, ~second))
        if after.sum() > GAIN * whole:
            continue
        flat[at[second]] = number
        number += 1
        todo += [(at[second], left - 1), (at[~second], left - 1)]
    return flat.reshape(pieces.shape)


def parted_curve(vectors: Floats, rows: Places, columns: Places) -> NDArray[np.bool_]:
    """Tell which of the pixels of a piece, with normals (n, 3), are of its second part."""
    return parted(_basis(rows, columns), vectors, rows, columns)


def parted(basis: Floats, values: Floats, rows: Places, columns: Places) -> NDArray[np.bool_]:
    """Tell which of the pixels of a piece are of its second part."""
    along = np.stack([columns - columns.mean(), rows - rows.mean()], axis=1)
    axis = np.linalg.eigh(np.einsum("ni,nj->ij", along, along))[1][:, -1]
    second = along @ axis > 0
    for _ in range(ROUNDS):
        if min(second.sum(), (~second).sum()) < LEAST_PART:
            break
        again = _errors(basis, values, second) < _errors(basis, values, ~second)
        if np.array_equal(again, second):
            break
        second = again
    return np.asarray(second)


def _basis(rows: Places, columns: Places) -> Floats:
    scale = max(int(np.ptp(rows)), int(np.ptp(columns)), 1) / 2
    return terms((columns - columns.mean()) / scale, (rows - rows.mean()) / scale)


def _errors(basis: Floats, values: Floats, where: NDArray[np.bool_]) -> Floats:
    """Return the squared error (n,) of a polynomial that is fitted where it is said."""
    count = int(where.sum())
    size = 6 if count >= 18 else 3 if count >= 9 else 1
    own = basis[:, :size]
    error: Floats = ((own @ solved(own[where], values[where]) - values) ** 2).sum(axis=1)
    return error
