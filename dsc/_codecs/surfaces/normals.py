"""The normals of classes: one direction each, or a polynomial where a thing is curved.

A stream's words of the entropy coder, after the byte of its form: the children of regions, if the
form says so (`dsc._codecs.surfaces.partition`), which make the classes; how many directions there
are (16 bits), three channels each; of each class its direction, or that it is curved, or that it
has no normal; where something is curved, the tilt (16 bits for tx and ty, two's complement, and 1
bit, set where s is -1); of each curved class whether its polynomial is of second order (1 bit), how
many low bits of its coefficients are left out (2 bits), and the coefficients of the first and of
the second component without these (10 bits each), in 1/128.

The polynomial's variables are x and y within the box around the class's pixels, from -1 to 1. Its
components are across the ray from the middle of that box to the camera, since what is seen is
turned towards the camera; the third is along the ray, and what is left to unit length. The *tilt*
stands for the field of view and the signs of the axes: that ray is along (tx X / 4096,
ty Y / 4096, s), where X is (2 x - W + 1) / W, and Y likewise. Everything is integer arithmetic,
with correctly rounded square roots, so that every machine decodes alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.label.palette import write_names
from dsc._codecs.surfaces.moments import ORDERS, solved, terms, unit_vectors
from dsc._codecs.surfaces.partition import MOST, Int, Partition
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder

CURVED, NOTHING = -1, -2
COUNT = 1 << 16
TILT_BITS, TILT_LIMIT = 12, 1 << 15
UNIT_BITS = 14
UNIT = 1 << UNIT_BITS  # places in a box are from -2^14 to 2^14, vectors have this length
COEFFICIENT_BITS = 7
LIMIT = 512  # of coefficients without the bits that are left out: from -4 to below 4, ...
MOST_LEFT_OUT = 3  # ... or from -32 to below 32
MODE_SHARE = 0.5  # of a class's pixels that have one normal, which then stands for all
ROUNDS = 3  # of fitting a curve
RIM = 0.98  # of a unit vector across the ray: there the third component begins to change fast
Normals = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tilt:
    """The ray to the camera; see the module.

    Attributes
    ----------
    x, y
        In 1/4096, of 16 bits with their sign.
    sign
        1 or -1.
    """

    x: int = 0
    y: int = 0
    sign: int = 1


@dataclass(frozen=True)
class Directions:
    """The normals of the classes of a partition.

    Attributes
    ----------
    palette
        (m, 3) uint8.
    direction
        (n,) of each class: which of them, `CURVED` or `NOTHING`.
    tilt
        The ray to the camera.
    curves
        Of each curved class (2, 3) or (2, 6) integers, of 1, x, y, x², xy, y².
    """

    palette: Normals
    direction: Int
    tilt: Tilt
    curves: Sequence[Int]

    def put(self, encoder: SymbolEncoder) -> None:
        """Write them."""
        count = len(self.palette)
        encoder.put_uniform(np.array([count], np.int32), COUNT)
        encoder.put_uniform(self.palette.astype(np.int32), 256)
        folded = np.where(self.direction < 0, count - 1 - self.direction, self.direction)
        encoder.put_uniform(folded.astype(np.int32), count + 2)
        if not self.curves:
            return
        tilts = np.array([self.tilt.x, self.tilt.y], np.int32) & (COUNT - 1)
        encoder.put_uniform(tilts, COUNT)
        encoder.put_uniform(np.array([self.tilt.sign < 0], np.int32), 2)
        for one in self.curves:
            left_out = _left_out(one)
            encoder.put_uniform(np.array([one.shape[1] == ORDERS[2]], np.int32), 2)
            encoder.put_uniform(np.array([left_out], np.int32), MOST_LEFT_OUT + 1)
            encoder.put_uniform(((one >> left_out) + LIMIT).astype(np.int32), 2 * LIMIT)

    @classmethod
    def get(cls, decoder: SymbolDecoder, classes: int) -> "Directions":
        """Read those of some classes; anything raised is damage."""
        (count,) = decoder.get_uniform(1, COUNT).tolist()
        if count > MOST:
            raise ValueError(f"{count} directions")
        palette = decoder.get_uniform(3 * count, 256).astype(np.uint8).reshape(count, 3)
        direction = decoder.get_uniform(classes, count + 2).astype(np.int64)
        direction[direction >= count] = count - 1 - direction[direction >= count]
        curved, curves, tilt = int((direction == CURVED).sum()), [], Tilt()
        if curved:
            x, y = decoder.get_uniform(2, COUNT).astype(np.uint16).view(np.int16).tolist()
            (negative,) = decoder.get_uniform(1, 2).tolist()
            tilt = Tilt(x, y, -1 if negative else 1)
        for _ in range(curved):
            (second,) = decoder.get_uniform(1, 2).tolist()
            (left_out,) = decoder.get_uniform(1, MOST_LEFT_OUT + 1).tolist()
            values = decoder.get_uniform(2 * ORDERS[1 + second], 2 * LIMIT).astype(np.int64)
            curves.append((values.reshape(2, -1) - LIMIT) << left_out)
        return cls(palette, direction, tilt, curves)

    def numbered(self, before: Partition, after: Partition) -> "Directions":
        """Return the same for a partition whose classes have other numbers."""
        order = before.ids.ravel()[after.first_pixels()]
        place = np.cumsum(self.direction == CURVED) - 1
        direction = self.direction[order]
        curves = [self.curves[place[k]] for k in order[direction == CURVED]]
        return replace(self, direction=direction, curves=curves)

    def nothing(self, partition: Partition) -> NDArray[np.bool_] | None:
        """Tell where (H, W) there is no normal; None where there is everywhere."""
        nothing = self.direction == NOTHING
        return np.asarray(nothing[partition.ids]) if nothing.any() else None

    def picture(self, partition: Partition) -> Normals:
        """Return the map (H, W, 3); where there is no normal, it means nothing."""
        colours = np.zeros((partition.count, 3), np.uint8)
        flat = self.direction >= 0
        colours[flat] = self.palette[self.direction[flat]]
        made = np.empty((*partition.ids.shape, 3), np.uint8)
        write_names(partition.ids, colours, made)
        classes = np.flatnonzero(self.direction == CURVED)
        if len(classes):
            places, size = partition.places(classes), partition.ids.shape
            for one, curve in zip(classes.tolist(), self.curves, strict=True):
                made[places[one]] = curved_normals(size, self.tilt, *places[one], curve)
        return made


def curved_normals(
    size: tuple[int, ...], tilt: Tilt, rows: Int, columns: Int, curve: Int
) -> Normals:
    """Return the normals (n, 3) of all pixels of a curved class of a map (H, W)."""
    x, y = _in_box(columns), _in_box(rows)
    basis = [np.full_like(x, UNIT), x, y]
    if curve.shape[1] == ORDERS[2]:
        basis += [x * x >> UNIT_BITS, x * y >> UNIT_BITS, y * y >> UNIT_BITS]
    first, second = (row @ np.stack(basis) >> COEFFICIENT_BITS for row in curve)
    square = first * first + second * second
    length, outside = np.maximum(_root(square), 1), square > UNIT * UNIT
    first = np.where(outside, first * UNIT // length, first)
    second = np.where(outside, second * UNIT // length, second)
    third = _root(np.maximum(UNIT * UNIT - square, 0))
    vectors = np.stack([first, second, third], axis=1) @ frame(size, tilt, rows, columns)
    native = (255 * (UNIT + (vectors >> UNIT_BITS)) + UNIT) // (2 * UNIT)
    return np.asarray(native.clip(0, 255), np.uint8)


def frame(size: tuple[int, ...], tilt: Tilt, rows: Int, columns: Int) -> Int:
    """Return axes (3, 3) of length 2^14: two across the ray to the camera, and along it."""
    height, width = size
    x = (int(columns.min()) + int(columns.max()) - width + 1) * tilt.x // width
    y = (int(rows.min()) + int(rows.max()) - height + 1) * tilt.y // height
    z = tilt.sign << TILT_BITS
    length = isqrt(x * x + y * y + z * z)
    x, y, z = (UNIT * part // length for part in (x, y, z))
    flat = isqrt(x * x + z * z)
    a, b = UNIT * z // flat, -UNIT * x // flat
    second = (y * b >> UNIT_BITS, (z * a - x * b) >> UNIT_BITS, -y * a >> UNIT_BITS)
    return np.array([(a, 0, b), second, (x, y, z)], np.int64)


def _root(squares: Int) -> Int:
    """Return square roots, rounded down, of numbers below 2^52."""
    roots: Int = np.sqrt(squares.astype(np.float64)).astype(np.int64)
    return roots


def _in_box(places: Int) -> Int:
    """Return places (n,) along an axis as numbers from -2^14 to 2^14 between their extremes."""
    low, high = int(places.min()), int(places.max())
    scaled: Int = (2 * places - low - high) * UNIT // max(high - low, 1)
    return scaled


def mean_direction(values: Normals) -> Normals:
    """Return the normal (3,) that stands for those (n, 3) of a flat class."""
    packed = values.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    found, counts = np.unique(packed, return_counts=True)
    if counts.max() >= MODE_SHARE * len(values):
        best = int(found[counts.argmax()])
        return np.array([best >> 16, best >> 8 & 255, best & 255], np.uint8)
    mean = unit_vectors(values).mean(axis=0)
    mean /= max(float(np.linalg.norm(mean)), 1e-6)
    return np.asarray(np.rint(127.5 + 127.5 * mean).clip(0, 255), np.uint8)


def fit_curve(
    size: tuple[int, ...], tilt: Tilt, rows: Int, columns: Int, values: Normals, order: int
) -> Int | None:
    """Return the coefficients nearest to normals (n, 3); None where they are too large."""
    basis = terms(_in_box(columns) / UNIT, _in_box(rows) / UNIT)[:, : ORDERS[order]]
    local = unit_vectors(values) @ (frame(size, tilt, rows, columns).T / UNIT)
    fitted = solved(basis, local[:, :2])
    best, least = fitted, _left(basis, local, fitted)
    for _ in range(ROUNDS):
        fitted = _nearer(basis, local, fitted)
        error = _left(basis, local, fitted)
        if error < least:
            best, least = fitted, error
    fitted = best
    exact = fitted.T * (1 << COEFFICIENT_BITS)
    for left_out in range(MOST_LEFT_OUT + 1):
        coefficients = np.rint(exact / (1 << left_out))
        if np.abs(coefficients).max() < LIMIT:
            return np.asarray(coefficients, np.int64) << left_out
    return None


def _left_out(curve: Int) -> int:
    """Return how many low bits of coefficients are left out: as few as can be."""
    for left_out in range(MOST_LEFT_OUT):
        if -LIMIT << left_out <= curve.min() and curve.max() < LIMIT << left_out:
            return left_out
    return MOST_LEFT_OUT


def _left(basis: Floats, local: Floats, fitted: Floats) -> float:
    """Return the squared error of unit vectors that coefficients leave."""
    across = basis @ fitted
    length = np.maximum(np.sqrt((across**2).sum(axis=1)), 1)
    across /= length[:, None]
    third = np.sqrt(np.maximum(1 - (across**2).sum(axis=1), 0))
    return float(((across - local[:, :2]) ** 2).sum() + ((third - local[:, 2]) ** 2).sum())


def _nearer(basis: Floats, local: Floats, fitted: Floats) -> Floats:
    """Return coefficients after a step of Gauss and Newton, which heeds the third component.

    Near the rim of what is seen it changes fast.
    """
    across = basis @ fitted
    length = np.sqrt((across**2).sum(axis=1))
    across *= np.minimum(1, RIM / np.maximum(length, 1e-9))[:, None]
    third = np.sqrt(1 - (across**2).sum(axis=1))
    slope = -across / third[:, None]
    size = basis.shape[1]
    rows = np.zeros((3, len(basis), 2 * size))
    rows[0, :, :size], rows[1, :, size:] = basis, basis
    rows[2] = np.hstack([basis * slope[:, :1], basis * slope[:, 1:]])
    lacking = np.stack([*(local[:, :2] - across).T, local[:, 2] - third])
    step = solved(rows.reshape(-1, 2 * size), lacking.reshape(-1, 1))
    return np.asarray(fitted + step.reshape(2, size).T)
