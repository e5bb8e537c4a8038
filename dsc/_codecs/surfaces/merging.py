"""Pieces that are joined as long as that saves more bits than the error it adds is worth.

A piece costs bits for itself and for its boundary, and error costs what its share of the error that
a task may have is worth. Two pieces that touch are joined where that saves bits, the best first.
Then pieces that do not touch, but lie on one surface, become one class.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.surfaces import moments as m
from dsc._codecs.surfaces.pieces import Numbers

BOUNDARY_BITS = 0.8  # a pair of neighbours that a boundary parts
CLASS_BITS = 30.0
ORDER_BITS = (0.0, 54.0, 108.0)  # of the coefficients of each order
Floats = NDArray[np.float64]
Numbers64 = NDArray[np.int64]


@dataclass(frozen=True)
class Budget:
    """The error that a task may have, and what it is worth.

    Attributes
    ----------
    mean, square
        Of all pixels together: distances of unit vectors or relative errors, and their squares.
    price
        Bits that all of it is worth.
    """

    mean: float
    square: float
    price: float

    def cost(self, error: Any, count: Any) -> Any:
        """Return what sums of squared errors of so many pixels cost in bits."""
        return self.price * (error / self.square + np.sqrt(error * count) / self.mean)


def join(
    sums: Floats,
    held: Numbers64,
    touching: Sequence[dict[int, int]],
    normal: Budget | None,
    depth: Budget | None,
) -> tuple[NDArray[np.intp], list[int]]:
    """Join pieces.

    Parameters
    ----------
    sums
        (n, `moments.LENGTH`) of the pieces; those of what is joined to a piece are added to its
        own.
    held
        (n,) what must not be mixed.
    touching
        By piece: its neighbours, with the pixels that touch.
    normal, depth
        What counts; None where a task's error does not.

    Returns
    -------
    root (n,), order (n,)
        The piece that each was joined to, and the order of normals that costs least.
    """
    return _Joining(sums, held, touching, normal, depth).join()


class _Joining:
    def __init__(
        self,
        sums: Floats,
        held: Numbers64,
        touching: Sequence[dict[int, int]],
        normal: Budget | None,
        depth: Budget | None,
    ) -> None:
        self.sums, self.held, self.normal, self.depth = sums, held.tolist(), normal, depth
        self.touching = [dict(near) for near in touching]
        self.root = np.arange(len(sums))
        costs, orders = self.price(sums)
        self.cost, self.order = costs.tolist(), orders.tolist()

    def price(self, sums: Floats) -> tuple[Floats, Numbers64]:
        """Return what pieces (k,) cost in bits without boundaries, and their orders of normals."""
        cost, order = np.full(len(sums), CLASS_BITS), np.zeros(len(sums), np.int64)
        if self.normal is not None:
            bits = self.normal.cost(m.normal_errors(sums), sums[:, 0])
            bits += np.array(ORDER_BITS)[:, None]
            order = bits.argmin(axis=0)
            cost += bits.min(axis=0)
        if self.depth is not None:
            cost += self.depth.cost(m.depth_errors(sums), sums[:, m.AT_DEPTHS])
        return cost, order

    def join(self) -> tuple[NDArray[np.intp], list[int]]:
        self._join_touching()
        self._flatten()
        self._join_apart()
        self._flatten()
        return self.root, self.order

    def _flatten(self) -> None:
        while not np.array_equal(self.root[self.root], self.root):
            self.root = self.root[self.root]

    def _gains(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[float, float, int]]:
        """Return, of pairs, what joining them gains, their cost then, and their order."""
        if not pairs:
            return []
        first, second = np.array(pairs).T
        costs, orders = self.price(self.sums[first] + self.sums[second])
        return [
            (self.cost[a] + self.cost[b] - cost, cost, order)
            for (a, b), cost, order in zip(pairs, costs.tolist(), orders.tolist(), strict=True)
        ]

    def _unite(self, a: int, b: int, cost: float, order: int) -> None:
        self.root[b] = a
        self.sums[a] += self.sums[b]
        self.cost[a], self.order[a] = cost, order

    def _join_touching(self) -> None:
        version = [0] * len(self.root)
        heap: list[tuple[float, int, int, int, int, float, int]] = []

        def offer(pairs: Sequence[tuple[int, int]]) -> None:
            fit = [(a, b) for a, b in pairs if self.held[a] == self.held[b]]
            for (a, b), (gain, cost, order) in zip(fit, self._gains(fit), strict=True):
                whole = gain + BOUNDARY_BITS * self.touching[a][b]
                if whole > 0:
                    heapq.heappush(heap, (-whole, a, b, version[a], version[b], cost, order))

        offer([(a, b) for a, near in enumerate(self.touching) for b in near if a < b])
        while heap:
            _, a, b, seen_a, seen_b, cost, order = heapq.heappop(heap)
            if version[a] != seen_a or version[b] != seen_b:
                continue
            version[a] += 1
            version[b] = -1
            self._unite(a, b, cost, order)
            _pass_on(self.touching, a, b)
            offer([(min(a, other), max(a, other)) for other in self.touching[a]])

    def _join_apart(self) -> None:
        roots = np.unique(self.root)
        size = np.maximum(self.sums[roots, 0], self.sums[roots, m.AT_DEPTHS])
        kept: dict[int, list[int]] = {}
        for one in roots[np.argsort(-size, kind="stable")].tolist():
            own = kept.setdefault(self.held[one], [])
            gains = self._gains([(other, one) for other in own])
            offers = [(*gain, other) for gain, other in zip(gains, own, strict=True)]
            flat = [offer for offer in offers if not offer[2]]  # curves are of one thing
            gain, cost, order, other = max(flat, default=(0.0, 0.0, 0, -1))
            if gain > 0:
                self._unite(other, one, cost, order)
            else:
                own.append(one)


def _pass_on(touching: list[dict[int, int]], a: int, b: int) -> None:
    """Give the neighbours of a piece to the one that it is joined to."""
    for other, length in touching[b].items():
        del touching[other][b]
        if other != a:
            touching[a][other] = touching[other][a] = touching[a].get(other, 0) + length
    touching[b] = {}


def touching_pieces(pieces: Numbers, count: int) -> list[dict[int, int]]:
    """List the neighbours of each piece of a map (H, W), with how many pixels touch."""
    found: list[dict[int, int]] = [{} for _ in range(count)]
    pairs = []
    for first, second in ((pieces[:, 1:], pieces[:, :-1]), (pieces[1:], pieces[:-1])):
        differ = first != second
        low = np.minimum(first[differ], second[differ])
        pairs.append(low * count + np.maximum(first[differ], second[differ]))
    values, lengths = np.unique(np.concatenate(pairs), return_counts=True)
    for pair, length in zip(values.tolist(), lengths.tolist(), strict=True):
        a, b = divmod(pair, count)
        found[a][b] = found[b][a] = length
    return found
