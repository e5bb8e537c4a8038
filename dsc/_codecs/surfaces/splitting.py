"""Curved pieces that one polynomial does not describe are parted in two, by what describes each.

Two balls that touch have normals that turn slowly all over. Pixels are given to the one of two
polynomials that they are closer to, and these are fitted again, until nothing changes.
"""

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.surfaces.moments import solved, terms
from dsc._codecs.surfaces.pieces import Numbers

LEAST = 24  # pixels of a piece that is parted
ROUNDS = 12
DEPTH = 4  # a piece is parted into 2^4 at most
GAIN = 0.5  # of the error that must be left at most, or the piece stays whole
Floats = NDArray[np.float64]


def split_curved(pieces: Numbers, unit: Floats, most: float) -> Numbers:
    """Part the pieces (H, W) whose error of normals under a second order is above `most`.

    Parameters
    ----------
    unit
        (H, W, 3) normals, zero where there is none.
    """
    flat, vectors = pieces.ravel().copy(), unit.reshape(-1, 3)
    order = np.argsort(flat, kind="stable")
    counts = np.bincount(flat)
    number = len(counts)
    starts = np.cumsum(counts) - counts
    todo = []
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        if count >= LEAST:
            at = order[start : start + count]
            if (vectors[at] != vectors[at[0]]).any():
                todo.append((at, DEPTH))
    while todo:
        at, left = todo.pop()
        rows, columns = np.divmod(at, pieces.shape[1])
        basis = _basis(rows, columns)
        whole = _errors(basis, vectors[at], np.ones(len(at), bool))
        if not left or len(at) < LEAST or whole.sum() <= most:
            continue
        second = parted(vectors[at], rows, columns)
        after = np.minimum(
            _errors(basis, vectors[at], second), _errors(basis, vectors[at], ~second)
        )
        if min(second.sum(), (~second).sum()) < 6 or after.sum() > GAIN * whole.sum():
            continue
        flat[at[second]] = number
        number += 1
        todo += [(at[second], left - 1), (at[~second], left - 1)]
    return flat.reshape(pieces.shape)


def _basis(rows: NDArray[np.integer], columns: NDArray[np.integer]) -> Floats:
    scale = max(np.ptp(rows), np.ptp(columns), 1) / 2
    return terms((columns - columns.mean()) / scale, (rows - rows.mean()) / scale)


def _errors(basis: Floats, vectors: Floats, where: NDArray[np.bool_]) -> Floats:
    """Return the squared error (n,) of a polynomial that is fitted where it is said."""
    size = 6 if where.sum() >= 18 else 3 if where.sum() >= 9 else 1
    own = basis[:, :size]
    fitted = solved(own[where], vectors[where])
    error: Floats = ((own @ fitted - vectors) ** 2).sum(axis=1)
    return error


def parted(
    vectors: Floats, rows: NDArray[np.integer], columns: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Tell which of the pixels of a piece, with normals (n, 3), are of its second part."""
    basis = _basis(rows, columns)
    along = np.stack([columns - columns.mean(), rows - rows.mean()], axis=1)
    axis = np.linalg.eigh(np.einsum("ni,nj->ij", along, along))[1][:, -1]
    second = along @ axis > 0
    for _ in range(ROUNDS):
        if min(second.sum(), (~second).sum()) < 6:
            break
        again = _errors(basis, vectors, second) < _errors(basis, vectors, ~second)
        if np.array_equal(again, second):
            break
        second = again
    return np.asarray(second)
