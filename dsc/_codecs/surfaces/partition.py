"""Partitions of a map, each finer than the one before: labels, surfaces of depth, and of normals.

A finer partition is coded within the coarser one, or as a map of *children*: which part of its
coarser region a pixel is of (`dsc._codecs.surfaces.children`). Where it parts nothing there are no
symbols at all. Classes of what comes as children are the pairs of region and child that there are,
in ascending order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._codecs.base import Array
from dsc._codecs.label.palette import index_labels
from dsc._coding.context.lattice import Ids

MOST = 0xFFFE  # classes of a partition
ROUNDS = 3  # of numbering children: at first, not all neighbours have numbers
SPARE = 4  # numbers of children beyond the fewest that a region needs
_TABLE = 1 << 22  # pairs of region and child that are looked up; others are searched for
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Classes of pixels.

    Attributes
    ----------
    ids
        (H, W) the class of each pixel.
    count
        How many classes there are; each has a pixel.
    """

    ids: Ids
    count: int

    @classmethod
    def whole(cls, height: int, width: int) -> "Partition":
        """Return one class of all pixels."""
        return cls(np.zeros((height, width), np.uint16), 1)

    @classmethod
    def of(cls, labels: Sequence[Array], size: tuple[int, int]) -> "Partition":
        """Return the partition that label maps (H, W) or (H, W, C) make together.

        Raises
        ------
        ValueError
            When there are too many classes.
        """
        found = cls.whole(*size)
        for one in labels:
            found = found.refined(index_labels(one)[0])
        return found

    def refined(self, children: Ids) -> "Partition":
        """Return the partition into pairs of region and child.

        Raises
        ------
        ValueError
            When there are too many classes.
        """
        n_children = int(children.max()) + 1
        if n_children == 1:
            return self
        if _kernels.in_use() and self.count * n_children <= _TABLE:
            ids = np.empty(self.ids.shape, np.uint16)
            own, parts = np.ascontiguousarray(self.ids), np.ascontiguousarray(children)
            refine = _kernels.compiled.surfaces_refine
            count = refine(own, self.count, parts, n_children, ids)
        else:
            pairs = self.ids * np.uint32(n_children) + children
            values, place = np.unique(pairs, return_inverse=True)
            ids, count = place.reshape(pairs.shape).astype(np.uint16), len(values)
        if count > MOST:
            raise ValueError(f"{count} classes, more than a partition has")
        return Partition(ids, count)

    def children(self, finer: "Partition") -> Ids:
        """Return children (H, W) by which a finer partition follows.

        Children have the numbers of those beyond the region's boundary that they touch most, so
        that the map has few boundaries of its own.
        """
        parent = self.ids.ravel()[finer.first_pixels()].tolist()
        size = np.bincount(finer.ids.ravel(), minlength=finer.count)
        regions: dict[int, list[int]] = {}
        for one in np.argsort(-size, kind="stable").tolist():
            regions.setdefault(parent[one], []).append(one)
        touching = finer.touching()
        child = np.full(finer.count, -1)
        for _ in range(ROUNDS):
            for own in regions.values():
                child[own] = -1
                _number(own, touching, child)
        return np.asarray(child.astype(np.uint16)[finer.ids])

    def first_pixels(self) -> NDArray[np.intp]:
        """Return a pixel of each class (n,), in the flat map."""
        found = np.empty(self.count, np.intp)
        found[self.ids.ravel()[::-1]] = np.arange(self.ids.size)[::-1]
        return found

    def touching(self) -> list[dict[int, int]]:
        """List the neighbours of each class, with how many pixels touch."""
        found: list[dict[int, int]] = [{} for _ in range(self.count)]
        pairs = []
        ids = self.ids.astype(np.int64)
        for first, second in ((ids[:, 1:], ids[:, :-1]), (ids[1:], ids[:-1])):
            differ = first != second
            low = np.minimum(first[differ], second[differ])
            pairs.append(low * self.count + np.maximum(first[differ], second[differ]))
        values, lengths = np.unique(np.concatenate(pairs), return_counts=True)
        for pair, length in zip(values.tolist(), lengths.tolist(), strict=True):
            a, b = divmod(pair, self.count)
            found[a][b] = found[b][a] = length
        return found

    def places(self, classes: Int) -> dict[int, tuple[Int, Int]]:
        """Return the rows and columns of all pixels of some classes, in order."""
        wanted = np.zeros(self.count, bool)
        wanted[classes] = True
        at = np.flatnonzero(wanted[self.ids].ravel())
        own = self.ids.ravel()[at]
        at = at[np.argsort(own, kind="stable")]
        ends = np.cumsum(np.bincount(own, minlength=self.count))
        found = {}
        for one in classes.tolist():
            rows, columns = np.divmod(
                at[ends[one - 1] if one else 0 : ends[one]], self.ids.shape[1]
            )
            found[one] = rows.astype(np.int64), columns.astype(np.int64)
        return found

    def boxes(self) -> Int:
        """Return the middles and boxes of classes: rows, then columns, (2, n, 2).

        The first is the mean place of the class's pixels, rounded down, the second the length from
        its first to its last row or column.
        """
        found = np.empty((2, self.count, 2), np.int64)
        if _kernels.in_use():
            _kernels.compiled.surfaces_boxes(np.ascontiguousarray(self.ids), found)
            return found
        size = np.bincount(self.ids.ravel(), minlength=self.count)
        for axis, ids in enumerate((self.ids, self.ids.T)):
            counts = np.stack([np.bincount(row, minlength=self.count) for row in ids])
            found[axis, :, 0] = np.arange(len(ids)) @ counts // size
            there = counts > 0
            last = len(ids) - 1 - there[::-1].argmax(axis=0)
            found[axis, :, 1] = last - there.argmax(axis=0) + 1
        return found


def _number(own: list[int], touching: list[dict[int, int]], child: NDArray[np.int64]) -> None:
    """Give the children of a region numbers; the largest comes first, the smallest last."""
    scores: dict[tuple[int, int], int] = {}
    for one in own:
        for other, length in touching[one].items():
            if child[other] >= 0:
                pair = one, int(child[other])
                scores[pair] = scores.get(pair, 0) + length
    used: set[int] = set()
    for (one, number), _ in sorted(scores.items(), key=lambda item: (-item[1], item[0])):
        if child[one] < 0 and number not in used and number < len(own) + SPARE:
            child[one] = number
            used.add(number)
    for one in own:
        if child[one] < 0:
            child[one] = next(k for k in range(len(own)) if k not in used)
            used.add(int(child[one]))
