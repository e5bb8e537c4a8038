"""A sample's surfaces, fitted on the originals: two partitions, and the numbers of their classes.

`Fitting` holds what is found once. Depth is fitted first, within labels, and then normals within
the classes of depth, or within labels where depth is not of planes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._codecs.label.palette import index_labels
from dsc._codecs.surfaces import depth as d
from dsc._codecs.surfaces import moments as m
from dsc._codecs.surfaces.merging import ORDER_BITS, Budget, join, touching_pieces
from dsc._codecs.surfaces.moments import unit_vectors
from dsc._codecs.surfaces.normals import (
    CURVED,
    NOTHING,
    TILT_BITS,
    TILT_LIMIT,
    Directions,
    Tilt,
    curved_normals,
    fit_curve,
    mean_direction,
)
from dsc._codecs.surfaces.partition import Int, Partition
from dsc._codecs.surfaces.pieces import Numbers, first_pieces
from dsc._codecs.surfaces.splitting import parted_curve, split_bent, split_curved

Bool = NDArray[np.bool_]
Floats = NDArray[np.float64]
SPLIT_SHARE = 0.02  # of the error that a task may have, in one curved piece
PARTS = 4  # times that a curved class is parted in two at most
WORTH_PARTING = 0.04  # of what all error is worth
LEAST_PARTED, LEAST_PART = 20, 6  # pixels
PARTING_BITS = 60.0
LEAST_SLANT = 25  # of a direction's component, of 255, to tell how much the field of view tilts


@dataclass(frozen=True)
class Fitting:
    """Pieces of a sample and their sums.

    Attributes
    ----------
    pieces
        (H, W)
    sums
        (n, `moments.LENGTH`)
    touching
        By piece: its neighbours, with the pixels that touch.
    normal, no_normal
        (H, W, 3) uint8, and (H, W) where there is none.
    """

    pieces: Numbers
    sums: Floats
    touching: Sequence[dict[int, int]]
    normal: Array | None
    no_normal: Bool

    @property
    def has_depth(self) -> bool:
        """Whether there is depth at any pixel."""
        return bool(self.sums[:, m.AT_DEPTHS].any())

    @classmethod
    def begin(
        cls,
        labels: Partition,
        normal: Array | None,
        no_normal: Bool,
        inverse: Floats | None,
        normal_budget: Budget | None,
        depth_budget: Budget | None,
    ) -> "Fitting | None":
        """Find the pieces of maps; None where they are too many.

        Parameters
        ----------
        normal, no_normal
            (H, W, 3) uint8, or None, and (H, W) where there is none.
        inverse
            (H, W) inverse depth, 0 where there is none; or None.
        normal_budget, depth_budget
            The errors that tasks may have.
        """
        unit = None
        held = labels.ids.astype(np.int64)
        if normal is not None:
            unit = unit_vectors(normal)
            unit[no_normal] = 0
            held = 2 * held + no_normal
        if inverse is not None:
            held = 2 * held + (inverse > 0)
        pieces = first_pieces(held, normal, unit, inverse)
        if pieces is None:
            return None
        if unit is not None and normal_budget is not None:
            pieces = split_curved(pieces, unit, SPLIT_SHARE * normal_budget.square)
        if inverse is not None and depth_budget is not None:
            pieces = split_bent(pieces, inverse, SPLIT_SHARE * depth_budget.square)
        height, width = no_normal.shape
        x, y = (np.arange(1 - n, n, 2) / n for n in (width, height))
        grid = np.meshgrid(x, y)
        count = int(pieces.max()) + 1
        sums = m.sums(pieces, count, (grid[0], grid[1]), unit, inverse)
        return cls(pieces, sums, touching_pieces(pieces, count), normal, no_normal)

    def joined(
        self, within: Partition, apart: Bool | None, normal: Budget | None, depth: Budget | None
    ) -> tuple[Partition, Floats, list[int]]:
        """Join pieces within regions; return the partition, its moments and orders of normals."""
        held = within.ids.astype(np.int64)
        if apart is not None:
            held = 2 * held + apart
        held_of = np.empty(len(self.sums), np.int64)
        held_of[self.pieces.ravel()] = held.ravel()
        sums = self.sums.copy()
        root, orders = join(sums, held_of, self.touching, normal, depth)
        ids, names = index_labels(root[self.pieces].astype(np.uint16))
        own = names[0].astype(np.intp)
        return Partition(ids, len(own)), sums[own], [orders[k] for k in own]

    def fit_depth(self, within: Partition, nothing: Bool, budget: Budget) -> "Depths":
        """Fit planes to classes within regions."""
        partition, sums, _ = self.joined(within, nothing, None, budget)
        there = sums[:, m.AT_DEPTHS] > 0
        fitted = np.zeros((partition.count, 3))
        fitted[there] = m.planes(sums[there])
        return Depths(partition, sums, fitted, partition.boxes())

    def fit_normals(self, within: Partition, budget: Budget) -> tuple[Partition, Directions]:
        """Fit directions and curves to classes within regions."""
        partition, sums, orders = self.joined(within, self.no_normal, budget, None)
        normals = np.zeros((partition.count, 3), np.uint8)
        direction = np.full(partition.count, CURVED, np.int64)
        places = partition.places(np.arange(partition.count))
        for one, (rows, columns) in places.items():
            if self.no_normal[rows[0], columns[0]]:
                direction[one] = NOTHING
            elif not orders[one]:
                direction[one], normals[one] = 0, mean_direction(self._at(rows, columns))
        tilt = find_tilt(normals, direction, sums, partition.ids.shape)
        ids, found = partition.ids.copy(), list(zip(normals, direction.tolist(), strict=True))
        curves: dict[int, Int] = {}
        todo = [(one, places[one], PARTS) for one in np.flatnonzero(direction == CURVED).tolist()]
        while todo:
            one, (rows, columns), left = todo.pop()
            kept, mean, cost = self._curve(rows, columns, tilt, budget)
            if left and cost > WORTH_PARTING * budget.price and len(rows) >= LEAST_PARTED:
                second = self._parted(rows, columns, tilt, budget, cost)
                if second is not None:
                    ids[rows[second], columns[second]] = len(found)
                    todo += [
                        (one, (rows[~second], columns[~second]), left - 1),
                        (len(found), (rows[second], columns[second]), left - 1),
                    ]
                    found.append((mean, CURVED))
                    continue
            found[one] = (mean, 0 if kept is None else CURVED)
            if kept is not None:
                curves[one] = kept
        return _directions(Partition(ids, len(found)), found, tilt, curves)

    def _at(self, rows: Int, columns: Int) -> Array:
        """Return normals (n, 3)."""
        if self.normal is None:
            raise ValueError("there are no normals")
        return self.normal[rows, columns]

    def _curve(
        self, rows: Int, columns: Int, tilt: Tilt, budget: Budget
    ) -> tuple[Int | None, Array, float]:
        """Return the curve that costs least, None where it is the direction that follows; cost."""
        values, size = self._at(rows, columns), self.no_normal.shape
        unit, mean = unit_vectors(values), mean_direction(values)
        best, kept = budget.cost(_error(unit, mean[None]), len(unit)), None
        for order in (1, 2):
            fitted = fit_curve(size, tilt, rows, columns, values, order)
            if fitted is not None:
                error = _error(unit, curved_normals(size, tilt, rows, columns, fitted))
                cost = ORDER_BITS[order] + budget.cost(error, len(unit))
                if cost < best:
                    best, kept = cost, fitted
        return kept, mean, best

    def _parted(
        self, rows: Int, columns: Int, tilt: Tilt, budget: Budget, cost: float
    ) -> Bool | None:
        """Tell which pixels of a curved class are better another class; None where none are."""
        second = parted_curve(unit_vectors(self._at(rows, columns)), rows, columns)
        if min(second.sum(), (~second).sum()) < LEAST_PART:
            return None
        after = sum(
            self._curve(rows[one], columns[one], tilt, budget)[2] for one in (second, ~second)
        )
        return second if after + PARTING_BITS < cost else None


def _directions(
    partition: Partition, found: Sequence[tuple[Array, int]], tilt: Tilt, curves: Mapping[int, Int]
) -> tuple[Partition, Directions]:
    """Order classes as `index_labels` meets them, and directions by value."""
    ids, names = index_labels(partition.ids)
    order = names[0].astype(np.intp)
    normals = np.stack([found[k][0] for k in order])
    direction = np.array([found[k][1] for k in order], np.int64)
    flat = direction >= 0
    values, place = np.unique(_packed(normals[flat]), return_inverse=True)
    direction[flat] = place
    palette = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1).astype(np.uint8)
    own = [curves[k] for k in order.tolist() if k in curves]
    return Partition(ids, len(order)), Directions(palette, direction, tilt, own)


@dataclass(frozen=True)
class Depths:
    """A partition, and the planes (n, 3) of inverse depth of its classes over 1, x and y."""

    partition: Partition
    sums: Floats
    fitted: Floats
    boxes: Int

    def numbered(self, partition: Partition) -> "Depths":
        """Return the same for a partition whose classes have other numbers."""
        order = self.partition.ids.ravel()[partition.first_pixels()]
        return Depths(partition, self.sums[order], self.fitted[order], self.boxes[:, order])

    def rounded(self, coarse: int, level: int) -> d.Planes:
        """Return the planes with so many low bits of codes and slopes left out."""
        height, width = self.partition.ids.shape
        there = self.sums[:, m.AT_DEPTHS] > 0
        middle = self.boxes[:, :, 0]
        y, x = (2 * middle[0] - height + 1) / height, (2 * middle[1] - width + 1) / width
        a, b, c = self.fitted.T
        here = a + b * x + c * y
        lengths = self.boxes[:, :, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            exact = np.stack(
                [2 * c / height * lengths[0] / here, 2 * b / width * lengths[1] / here]
            )
        most = 1 << d.MOST_SLOPE_BITS - 1 - level
        step = (1 << d.ONE_BITS) / (1 << level)
        slopes = np.where(there & (here > 0), exact * step, 0).T
        slopes = np.rint(slopes).clip(-most, most - 1).astype(np.int64)
        planes = d.plane_of(self.boxes, slopes << level) / (1 << d.ONE_BITS)
        g, gy, gx = planes.T
        shapes = np.column_stack(
            [g + gx * (width - 1) / 2 + gy * (height - 1) / 2, gx * width / 2, gy * height / 2]
        )
        factors = np.maximum(m.factors(self.sums, shapes), 1e-12)
        codes = d.distance_code((1 << d.ONE_BITS) / factors, coarse)
        codes[~there] = 0
        return d.Planes(coarse, level, there, codes, slopes)


def find_tilt(normals: Array, direction: Int, sums: Floats, size: tuple[int, ...]) -> Tilt:
    """Find what the planes of depth of flat classes say about the ray to the camera.

    A plane that is slanted along an axis tells the field of view along it. Where there is none,
    pixels are square, and the sign is that with which planes are seen from the front.
    """
    flat = np.flatnonzero((direction >= 0) & (sums[:, m.AT_DEPTHS] > 0))
    sign = 1 if float(sums[direction != NOTHING, m.AT_XU + 2].sum()) >= 0 else -1
    if not len(flat):
        return Tilt(0, 0, sign)
    weight = sums[flat, m.AT_DEPTHS]
    vectors = 2.0 * normals[flat].astype(np.float64) - 255
    planes = m.planes(sums[flat])
    planes /= np.maximum(np.sqrt((planes**2).sum(axis=1, keepdims=True)), 1e-300)
    found: list[float | None] = []
    signs = []
    for axis in range(2):
        against = planes[:, 0] * vectors[:, axis]
        use = (np.abs(vectors[:, [axis, 2]]) >= LEAST_SLANT).all(axis=1) & (against != 0)
        ratio = planes[use, 1 + axis] * vectors[use, 2] / against[use]
        found.append(_median(ratio, (weight * np.abs(against))[use]) if use.any() else None)
        facing = float((weight * planes[:, 1 + axis] * vectors[:, axis]).sum())
        signs.append(sign if facing >= 0 else -sign)
    width, height = size[1], size[0]
    x = found[0] if found[0] is not None else abs(found[1] or 0) * width / height * signs[0]
    y = found[1] if found[1] is not None else abs(found[0] or 0) * height / width * signs[1]
    return Tilt(_in_units(sign * x), _in_units(sign * y), sign)


def _in_units(tilt: float) -> int:
    return int(np.clip(np.rint(tilt * (1 << TILT_BITS)), -TILT_LIMIT, TILT_LIMIT - 1))


def _median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _packed(normals: Array) -> Int:
    packed: Int = normals.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return packed


def _error(unit: Floats, found: Array) -> float:
    return float(((unit - unit_vectors(found)) ** 2).sum())
