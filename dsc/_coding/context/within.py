"""Label maps row by row, where it is known within which region each pixel is.

The regions are those of a coarser map: a label is of one region, and what parts regions parts
labels. It is as `dsc._coding.context.scan`, but

- where a region is met, one decision says whether it has one label; if so, no more is said of it;
- its first label costs nothing; a pixel is asked about labels of its own region alone, and a
  neighbour of another region is no sign of an edge: which neighbours are of the region is in the
  patterns. A pixel that is none of the labels of its region that were met has a new one.

Coarser maps are known on both sides, so chances have learnt, before the map begins, from how
each level lies within the one before it, the first within one region.

These are the twins of ``dsc/_kernels/scan.c``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._coding.context.escapes import MAX_LABELS
from dsc._coding.context.lattice import Ids
from dsc._coding.context.scan import (
    ABOVE,
    AROUND,
    FAR,
    FIRST_SETS,
    FRESH,
    LEFT,
    NAMES,
    NEAREST,
    OFFERED_FROM,
    PAIRS,
    PATTERNS,
    RIGHT,
    RUN,
    TURNS,
    Walk,
    first_weights,
    hashed,
)
from dsc._coding.entropy import AnsReader, SymbolDecoder, SymbolEncoder
from dsc._coding.mixing import Counts, Port, Writing, reading
from dsc.errors import BitstreamError

WHOLE = PATTERNS
_ALL = (1 << len(AROUND)) - 1


def as_met(labels: Ids) -> Ids:
    """Return labels (H, W) numbered in the order in which they are met row by row."""
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    number = np.argsort(np.argsort(first)).astype(np.uint16)
    return np.asarray(number[place].reshape(labels.shape))


def encode_within(encoder: SymbolEncoder, levels: Sequence[Ids], labels: Ids) -> None:
    """Append a map.

    Parameters
    ----------
    levels
        Maps (H, W) uint16, each of regions of the one before; at least one.
    labels
        (H, W) uint16, of regions of the last level, as `as_met` numbers them.
    """
    if _kernels.in_use():
        order = np.empty(MAX_LABELS, np.uint16)
        known = np.ascontiguousarray(np.stack(levels))
        coded, _ = _kernels.compiled.scan_encode(np.ascontiguousarray(labels), order, known)
        encoder.put_intervals(np.frombuffer(coded, np.uint32).reshape(-1, 2))
        return
    port = Writing()
    _code(port, levels, labels)
    encoder.put_intervals(np.array(port.intervals, np.uint32).reshape(-1, 2))


def decode_within(decoder: SymbolDecoder, levels: Sequence[Ids]) -> Ids:
    """Read a map (H, W) uint16 within the last of some levels.

    Raises
    ------
    BitstreamError
        When what is read is no map.
    """
    if not _kernels.in_use():
        reader = AnsReader(decoder)
        found = _code(reading(reader), levels, None)
        reader.keep()
        return found
    labels = np.empty(levels[-1].shape, np.uint16)
    known = np.ascontiguousarray(np.stack(levels))
    try:
        _kernels.compiled.scan_decode(decoder.words, decoder.state, labels, known)
    except ValueError as error:
        raise BitstreamError(str(error)) from None
    return labels


def _code(port: Port, levels: Sequence[Ids], truth: Ids | None) -> Ids:
    learnt = Counts.start(PATTERNS + 1), first_weights()
    regions = np.zeros_like(levels[0])
    for level in levels:
        _Within(Writing(), regions, learnt).code(as_met(level))
        regions = level
    walk = _Within(port, regions, learnt)
    walk.code(truth)
    return walk.map


class _Within(Walk):
    """A map whose regions (H, W) are known."""

    def __init__(self, port: Port, regions: Ids, learnt: tuple[Counts, NDArray[np.int32]]) -> None:
        super().__init__(port, regions.shape)
        self._counts, self._weights = learnt
        self._regions = np.pad(regions, ((ABOVE, 0), (LEFT, RIGHT)), mode="edge")
        self._regions[:ABOVE] = regions[0, 0]
        self._labels: dict[int, list[int]] = {}
        self._known = 0
        self._whole: dict[int, bool] = {}

    def code(self, truth: Ids | None) -> None:
        """Code all pixels; (H, W) `truth` is given when writing."""
        parted: set[int] = set()
        if truth is not None:
            own = self._regions[ABOVE:, LEFT:-RIGHT].astype(np.int64)
            pairs = np.unique(own * (1 << 16) + truth) >> 16
            regions, counts = np.unique(pairs, return_counts=True)
            parted = set(regions[counts > 1].tolist())
        self._parted = parted
        first = self._region(0, 0)
        self._meet(first)
        self._new(first)
        super().code(truth)

    def _begin_row(self, y: int) -> None:
        super()._begin_row(y)
        self._regions[y + ABOVE, :LEFT] = self._regions[y + ABOVE - 1, LEFT]

    def _end_row(self, y: int) -> None:
        super()._end_row(y)
        self._regions[y + ABOVE, :LEFT] = self._regions[y + ABOVE, LEFT]

    def _region(self, y: int, x: int) -> int:
        return int(self._regions[y + ABOVE, x + LEFT])

    def _is_kin(self, y: int, x: int, place: tuple[int, int]) -> bool:
        return self._region(y + place[0], x + place[1]) == self._region(y, x)

    def _meet(self, region: int) -> None:
        self._whole[region] = bool(self._one(WHOLE, region not in self._parted))

    def _new(self, region: int) -> int:
        if self._known == MAX_LABELS:
            raise BitstreamError("too many labels")
        self._known += 1
        self._labels.setdefault(region, []).append(self._known - 1)
        return self._known - 1

    def _code_at(self, y: int, x: int, truth: Ids | None) -> int:
        region, own = self._region(y, x), self._grid[y + ABOVE]
        if region not in self._whole:
            self._meet(region)
            own[x + LEFT] = self._new(region)
            return x + 1
        if self._whole[region]:
            own[x + LEFT] = self._labels[region][0]
            return x + 1
        return super()._code_at(y, x, truth)

    def _farther(self, y: int, x: int) -> int | None:
        return super()._farther(y, x) if self._is_kin(y, x, (0, -1)) else None

    def _is_run(self, y: int, x: int) -> bool:
        row = self._regions[y + ABOVE, x + LEFT : x + LEFT + RUN]
        return super()._is_run(y, x) and bool((row == row[0]).all())

    def _code_busy(self, y: int, x: int, label: int) -> int:
        if not self._is_kin(y, x, (0, -1)):
            return self._code_other(y, x, 0, 0, label)
        first, above, right = (self._look(y, x, place) for place in ((0, -1), (-1, 0), (-1, 1)))
        alike, shape = self._alike(y, x, AROUND, first), self._shape(y, x)
        kin = sum(self._is_kin(y, x, place) << k for k, place in enumerate(AROUND))
        nearest, near = (one & ((1 << NEAREST) - 1) for one in (alike, kin))
        of = (kin & 7) << 1 | self._is_kin(y, x, (0, 1))
        pair = first * 2_654_435_769 + above * 2_246_822_507 + right * 3_266_489_909
        patterns = (
            FAR + hashed((shape << 6 | alike & 63) << 4 | of),
            FAR + hashed(((shape & 7) << NEAREST | nearest) * 2_654_435_769 + near + 7),
            FAR + hashed(alike + kin * 2_246_822_507),
            PAIRS + hashed(pair + nearest * 668_265_263 + of),
        )
        if self._mixed(patterns, (kin & 1) << 3 | alike & 7, label == first):
            return first
        return self._code_other(y, x, alike, 0, label)

    def _code_other(self, y: int, x: int, alike: int, calm: int, label: int) -> int:
        first, is_left = self._look(y, x, (0, -1)), self._is_kin(y, x, (0, -1))
        offered = [self._look(y, x, place) for place in OFFERED_FROM]
        there = [self._is_kin(y, x, place) for place in OFFERED_FROM]
        nearest = alike & ((1 << NEAREST) - 1)
        of = sum(one << k for k, one in enumerate(there[:7])) << 1 | is_left
        rank, asked = 0, int(is_left)
        for k, one in enumerate(offered):
            if not there[k] or (is_left and one == first) or one in offered[:k]:
                continue
            same = sum((other == one) << j for j, other in enumerate(offered))
            far = 1 << 31 | rank << 22 | nearest << 11 | same
            patterns = (
                FAR + hashed(2_654_435_769 * (rank << 11 | same) + of * 40_503 + 5),
                FAR + hashed(far ^ of * 668_265_263 & 0xFFFFFFFF),
                PAIRS + hashed(first * 40_503 + one * 2_246_822_507 + of + 1),
                TURNS + (k << 5 | rank << 3 | of & 7),
            )
            asked += 1
            if self._mixed(patterns, FIRST_SETS + rank * 8 + (same & 7), label == one):
                return one
            rank = min(rank + 1, 3)
        return self._code_name_within(self._region(y, x), asked, label)

    def _code_name_within(self, region: int, asked: int, label: int) -> int:
        """Code a label of a region, of which so many were asked for in vain."""
        met = self._labels[region]
        if asked >= len(met) or self._one(FRESH, label == self._known):
            return self._new(region)
        at, node = met.index(label) if label in met else 0, 1
        bits = (len(met) - 1).bit_length()
        for k in reversed(range(bits)):
            node = node << 1 | self._one(NAMES + node, at >> k & 1)
        if node - (1 << bits) >= len(met):
            raise BitstreamError("a label that was not met")
        return met[node - (1 << bits)]
