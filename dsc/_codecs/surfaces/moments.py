"""Sums over the pixels of a piece, by which models are fitted to it and to what it is joined with.

A piece's *error* of normals is the sum of squared distances of unit vectors from its model, which
is one direction, or a polynomial of first or second order in the place; that of depth the sum of
squared relative errors of inverse depth from a plane. Both follow from sums alone, and the sums of
two pieces that are joined are added.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ORDERS = (1, 3, 6)  # terms of a direction, and of polynomials of first and second order
_XX, _XU = 36, 18
_PP, _P = 9, 3
AT_XX = 1
AT_XU = AT_XX + _XX
AT_PP = AT_XU + _XU
AT_P = AT_PP + _PP
AT_DEPTHS = AT_P + _P
LENGTH = AT_DEPTHS + 1
LEAST_CURVED = 1e-3  # of the error of a direction, a pixel
NORMAL_DEGENERATE, DEPTH_DEGENERATE = 1e-9, 1e-12


def unit_vectors(values: NDArray[np.uint8]) -> Floats:
    """Turn normals (..., 3) into unit vectors."""
    vectors = 2.0 * values - 255  # no whole number is none of them
    length = np.sqrt((vectors**2).sum(axis=-1, keepdims=True))
    return np.asarray(vectors / length)


def terms(x: Floats, y: Floats) -> Floats:
    """Return the polynomial terms (n, 6) of places."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def solved(basis: Floats, values: Floats) -> Floats:
    """Return the coefficients (k, c) over terms (n, k) that are nearest to values (n, c).

    Sums are in one order, whatever threads there are.
    """
    gram = np.einsum("ni,nj->ij", basis, basis)
    right = np.einsum("ni,nc->ic", basis, values)
    scale = np.trace(gram) / len(gram) * NORMAL_DEGENERATE + 1e-300
    found: Floats = np.linalg.solve(gram + np.eye(len(gram)) * scale, right)
    return found


def sums(
    pieces: NDArray[np.intp],
    count: int,
    places: tuple[Floats, Floats],
    unit: Floats | None,
    inverse: Floats | None,
) -> Floats:
    """Return the moments (count, LENGTH) of pieces.

    Parameters
    ----------
    pieces
        (H, W), the number of each pixel's piece.
    places
        x and y (H, W) of the pixels, about -1 to 1.
    unit
        (H, W, 3) normals, zero where there is none.
    inverse
        (H, W) inverse depth, zero where there is none.
    """
    flat = pieces.ravel()
    found = np.zeros((count, LENGTH))

    def add(at: int, values: Any) -> None:
        found[:, at] = np.bincount(flat, weights=values.ravel(), minlength=count)

    basis = terms(*places)
    if unit is not None:
        there = unit.any(axis=-1).astype(np.float64)
        add(0, there)
        for i in range(6):
            for j in range(i, 6):
                add(AT_XX + 6 * i + j, basis[..., i] * basis[..., j] * there)
                found[:, AT_XX + 6 * j + i] = found[:, AT_XX + 6 * i + j]
            for c in range(3):
                add(AT_XU + 3 * i + c, basis[..., i] * unit[..., c])
    if inverse is not None:
        has_depth = inverse > 0
        scaled = basis[..., :3] * (has_depth / np.where(has_depth, inverse, 1.0))[..., None]
        for i in range(3):
            for j in range(i, 3):
                add(AT_PP + 3 * i + j, scaled[..., i] * scaled[..., j])
                found[:, AT_PP + 3 * j + i] = found[:, AT_PP + 3 * i + j]
            add(AT_P + i, scaled[..., i])
        add(AT_DEPTHS, has_depth)
    return found


def normal_errors(sums_of: Floats) -> Floats:
    """Return the errors (3, k) of the normals of pieces (k, LENGTH), one for each order."""
    count = sums_of[:, 0]
    whole = sums_of[:, AT_XX:AT_XU].reshape(-1, 6, 6)
    right = sums_of[:, AT_XU:AT_PP].reshape(-1, 6, 3)
    found = np.empty((3, len(sums_of)))
    found[0] = np.maximum(2 * (count - np.sqrt((right[:, 0] ** 2).sum(axis=1))), 0)
    curved = found[0] >= LEAST_CURVED * count
    for order, size in enumerate(ORDERS[1:], 1):
        found[order] = found[order - 1]
        use = np.flatnonzero(curved & (count >= 3 * size))
        if len(use):
            a = whole[use, :size, :size] + np.eye(size) * (
                NORMAL_DEGENERATE * count[use, None, None]
            )
            solved_for = np.linalg.solve(a, right[use, :size])
            error = count[use] - (solved_for * right[use, :size]).sum(axis=(1, 2))
            found[order, use] = np.minimum(found[order, use], np.maximum(error, 0))
    return found


def planes(sums_of: Floats) -> Floats:
    """Return the planes (k, 3) of inverse depth over 1, x, y that are nearest to pieces."""
    a = sums_of[:, AT_PP:AT_P].reshape(-1, 3, 3)
    scale = DEPTH_DEGENERATE * np.trace(a, axis1=1, axis2=2) + 1e-300
    found: Floats = np.linalg.solve(
        a + np.eye(3) * scale[:, None, None], sums_of[:, AT_P:AT_DEPTHS, None]
    )[..., 0]
    return found


def depth_errors(sums_of: Floats) -> Floats:
    """Return the errors (k,) of depth under the nearest planes."""
    there = np.flatnonzero(sums_of[:, AT_DEPTHS] > 0)
    found = np.zeros(len(sums_of))
    own = sums_of[there]
    error = own[:, AT_DEPTHS] - (planes(own) * own[:, AT_P:AT_DEPTHS]).sum(axis=1)
    found[there] = np.maximum(error, 0)
    return found


def factors(sums_of: Floats, shapes: Floats) -> Floats:
    """Return the factors (k,) by which given planes (k, 3) are nearest; 0 where none is."""
    first = (shapes * sums_of[:, AT_P:AT_DEPTHS]).sum(axis=1)
    matrices = sums_of[:, AT_PP:AT_P].reshape(-1, 3, 3)
    second = np.einsum("ki,kij,kj->k", shapes, matrices, shapes)
    return np.asarray(np.where(second > 0, first / np.where(second > 0, second, 1), 0))
