"""Label maps row by row: each pixel is like the one on its left, or else like another one near it.

Nothing is trained: chances begin at even odds and move to what the map itself shows
(`dsc._coding.mixing`), so that ragged regions cost what they must, whatever they are of.
Contexts compare labels and never look at their values. In the order of coding:

- A pixel is *calm* where the two on its left, five above it and five above those are alike. A run
  of `RUN` calm pixels in which nothing farther away differs either is one decision: all are like
  the one on the left, or which one is not. Any other calm pixel is a decision under one pattern.
- Else it is asked whether the pixel is like the one on its left, under four patterns that are
  mixed: 6, 11 and 26 neighbours, and 11 with the labels themselves.
- A pixel unlike the one on its left is asked whether it has each other label around it, nearest
  first, or else has a label that was not met before, or which one of those that were, bit by bit.

Labels are numbered in the order in which they are met. Around the map everything has label 0, that
of the first pixel, but beside a row what its ends have.

These are the twins of ``dsc/_kernels/scan.c``.
"""

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._coding.context.escapes import MAX_LABELS
from dsc._coding.context.lattice import Ids
from dsc._coding.entropy import AnsReader, SymbolDecoder, SymbolEncoder
from dsc._coding.mixing import (
    TRUSTS,
    Counts,
    Port,
    Writing,
    code_mixed,
    code_one,
    hash_key,
    reading,
)
from dsc.errors import BitstreamError

ABOVE, LEFT, RIGHT = 4, 3, 5  # rows above the map and columns beside it that are read
RUN = 16
# (down, right) from a pixel; the first 11 are alike around a calm one
AROUND = (
    (-1, 0), (-1, 1), (-1, -1), (0, -2), (-2, 0), (-1, 2), (-1, -2), (-2, 1), (-2, -1), (-2, 2),
    (-2, -2), (-1, 3), (0, -3), (-1, -3), (-3, 0), (-3, 1), (-3, -1), (-1, 4), (-2, 3), (-3, 2),
    (-3, -2), (-3, 3), (-1, 5), (-2, -3), (-4, 0), (-4, 1),
)  # fmt: skip
NEAREST = 11
OFFERED_FROM = (
    (-1, 0), (-1, 1), (-1, -1), (0, -2), (-2, 0), (-2, 1), (-1, 2), (-2, -1), (-1, -2), (-2, 2),
    (-1, 3),
)  # fmt: skip
FARTHER = ((-1, 3), (-3, 0), (-1, 4), (-1, -3), (0, -3))  # that calm pixels tell apart
CALMEST = (1 << len(FARTHER)) - 1

# where the patterns of each kind begin
HASH_BITS = 15
CALM = 0
RUNS = CALM + 32
PLACES = RUNS + 1
FRESH = PLACES + RUN
NEAR = FRESH + 2
WIDE = NEAR + (1 << 12)
FAR = WIDE + (1 << 14)
PAIRS = FAR + (1 << HASH_BITS)
OFFERED = PAIRS + (1 << HASH_BITS)
TURNS = OFFERED + (1 << 13)
NAMES = TURNS + (1 << 9)
PATTERNS = NAMES + (1 << 16)

MIXED = 4
FIRST_SETS = 16
SETS = FIRST_SETS + 32
FIRST_WEIGHT = 19_000  # 0.29, of patterns that are neither new nor well known
QUARTERS = (0, 2, 3, 4, 5, 6)  # of it, by what a pattern has seen


def encode_scan(encoder: SymbolEncoder, labels: Ids) -> Ids:
    """Append a map.

    Parameters
    ----------
    labels
        (H, W) uint16, of at least one pixel, of at most `MAX_LABELS` numbers.

    Returns
    -------
    (n,) uint16
        The number in `labels` of each label, in the order in which it is met here.
    """
    if _kernels.in_use():
        order = np.empty(MAX_LABELS, np.uint16)
        coded, count = _kernels.compiled.scan_encode(np.ascontiguousarray(labels), order)
        encoder.put_intervals(np.frombuffer(coded, np.uint32).reshape(-1, 2))
        return order[:count]
    first = np.unique(labels, return_index=True)
    order = first[0][np.argsort(first[1])].astype(np.uint16)
    numbers = np.zeros(1 << 16, np.uint16)
    numbers[order] = np.arange(len(order))
    port = Writing()
    Walk(port, labels.shape).code(numbers[labels])
    encoder.put_intervals(np.array(port.intervals, np.uint32))
    return order


def decode_scan(decoder: SymbolDecoder, height: int, width: int) -> Ids:
    """Read a map: (height, width) uint16, numbered in the order in which labels are met.

    Raises
    ------
    BitstreamError
        When what is read is no map.
    """
    if not _kernels.in_use():
        reader = AnsReader(decoder)
        walk = Walk(reading(reader), (height, width))
        walk.code(None)
        reader.keep()
        return walk.map
    labels = np.empty((height, width), np.uint16)
    try:
        _kernels.compiled.scan_decode(decoder.words, decoder.state, labels)
    except ValueError as error:
        raise BitstreamError(str(error)) from None
    return labels


# ---- the twin of the compiled kernel


class Walk:
    """A map that is written to a port, or read from one.

    Parameters
    ----------
    size
        (H, W)
    """

    def __init__(self, port: Port, size: tuple[int, ...]) -> None:
        self._port, self._size = port, size
        self._grid = np.zeros((size[0] + ABOVE, size[1] + LEFT + RIGHT), np.uint16)
        self._counts, self._weights = Counts.start(PATTERNS), first_weights()
        self._known = 1

    @property
    def map(self) -> Ids:
        """The labels (H, W) that were coded."""
        return np.ascontiguousarray(self._grid[ABOVE:, LEFT:-RIGHT])

    def code(self, truth: Ids | None) -> None:
        """Code all pixels; (H, W) `truth` is given when writing."""
        for y in range(self._size[0]):
            self._begin_row(y)
            x = 0
            while x < self._size[1]:
                x = self._code_at(y, x, None if truth is None else truth[y])
            self._end_row(y)

    def _begin_row(self, y: int) -> None:
        self._grid[y + ABOVE, :LEFT] = self._grid[y + ABOVE - 1, LEFT]

    def _end_row(self, y: int) -> None:
        row = self._grid[y + ABOVE]
        row[:LEFT], row[-RIGHT:] = row[LEFT], row[-RIGHT - 1]

    def _code_at(self, y: int, x: int, truth: Ids | None) -> int:
        """Code the pixel of a row, or a run from it on; return where the next one is."""
        row, at = self._grid[y + ABOVE], x + LEFT
        label = 0 if truth is None else int(truth[x])
        farther = self._farther(y, x)
        if farther is None:
            row[at] = self._code_busy(y, x, label)
        elif farther == CALMEST and self._is_run(y, x):
            return self._code_run(y, x, truth)
        else:
            row[at] = self._code_calm(y, x, farther, label)
        return x + 1

    def _code_run(self, y: int, x: int, truth: Ids | None) -> int:
        """Code pixels up to one that is not like the rest, `RUN` at most."""
        row, at = self._grid[y + ABOVE], x + LEFT
        first = row[at - 1]
        unlike = [] if truth is None else np.flatnonzero(truth[x : x + RUN] != first).tolist()
        alike = unlike[0] if unlike else RUN
        if self._one(RUNS, alike == RUN):
            row[at : at + RUN] = first
            return x + RUN
        k = 0
        while k < RUN - 1 and not self._one(PLACES + k, alike == k):
            k += 1
        row[at : at + k] = first
        label = 0 if truth is None else int(truth[x + k])
        row[at + k] = self._code_other(y, x + k, (1 << len(AROUND)) - 1, 1, label)
        return x + k + 1

    def _look(self, y: int, x: int, place: tuple[int, int]) -> int:
        return int(self._grid[y + ABOVE + place[0], x + LEFT + place[1]])

    def _farther(self, y: int, x: int) -> int | None:
        """Return what is alike farther away from a calm pixel; None for any other one."""
        first = self._look(y, x, (0, -1))
        if any(self._look(y, x, place) != first for place in AROUND[:NEAREST]):
            return None
        return self._alike(y, x, FARTHER, first)

    def _alike(self, y: int, x: int, places: tuple[tuple[int, int], ...], label: int) -> int:
        """Return which places around a pixel have a label, the first in the lowest bit."""
        return sum((self._look(y, x, place) == label) << k for k, place in enumerate(places))

    def _is_run(self, y: int, x: int) -> bool:
        """Tell whether the pixels above a run that begins with the calmest pixel are as calm."""
        if x + RUN > self._size[1]:
            return False
        rows = self._grid[y + ABOVE - 3 : y + ABOVE, x + LEFT :]
        first = rows[2, 0]
        near, top = rows[2, : RUN + 4], rows[1, : RUN + 2]
        return bool(
            (near == first).all() and (top == first).all() and (rows[0, :RUN] == first).all()
        )

    def _one(self, pattern: int, bit: int) -> int:
        return code_one(self._port, self._counts, pattern, int(bit))

    def _mixed(self, patterns: tuple[int, ...], weights: int, bit: int) -> int:
        return code_mixed(self._port, self._counts, patterns, self._weights[weights], int(bit))

    def _code_calm(self, y: int, x: int, farther: int, label: int) -> int:
        first = self._look(y, x, (0, -1))
        if self._one(CALM + farther, label == first):
            return first
        return self._code_other(y, x, (1 << len(AROUND)) - 1, 1, label)

    def _code_busy(self, y: int, x: int, label: int) -> int:
        first, above, right = (self._look(y, x, place) for place in ((0, -1), (-1, 0), (-1, 1)))
        alike = self._alike(y, x, AROUND, first)
        nearest = alike & ((1 << NEAREST) - 1)
        shape = self._shape(y, x)
        pair = first * 2_654_435_769 + above * 2_246_822_507 + right * 3_266_489_909
        patterns = (
            NEAR + (shape << 6 | alike & 63),
            WIDE + ((shape & 7) << NEAREST | nearest),
            FAR + hashed(alike),
            PAIRS + hashed(pair + nearest * 668_265_263),
        )
        if self._mixed(patterns, (shape & 1) << 3 | alike & 7, label == first):
            return first
        return self._code_other(y, x, alike, 0, label)

    def _shape(self, y: int, x: int) -> int:
        """Return which pixels near one are like one another."""
        above, right = self._look(y, x, (-1, 0)), self._look(y, x, (-1, 1))
        shape = self._alike(y, x, ((-1, 1), (-1, -1), (-2, 0)), above)
        shape |= self._alike(y, x, ((-1, 2), (-2, 1)), right) << 3
        return shape | (self._look(y, x, (0, -2)) == self._look(y, x, (-1, -1))) << 5

    def _code_other(self, y: int, x: int, alike: int, calm: int, label: int) -> int:
        """Code a label unlike that on the left; `alike` says which neighbours are like that."""
        first = self._look(y, x, (0, -1))
        offered = [self._look(y, x, place) for place in OFFERED_FROM]
        rank, nearest = 0, alike & ((1 << NEAREST) - 1)
        for k, one in enumerate(offered):
            if one == first or one in offered[:k]:
                continue
            same = sum((other == one) << j for j, other in enumerate(offered))
            patterns = (
                OFFERED + (rank << 11 | 1 << (len(offered) - 1 - k) | same >> (k + 1)),
                FAR + hashed(1 << 31 | rank << 22 | nearest << 11 | same),
                PAIRS + hashed(first * 40_503 + one * 2_246_822_507 + 1),
                TURNS + (k << 5 | rank << 3 | alike & 7),
            )
            if self._mixed(patterns, FIRST_SETS + rank * 8 + (same & 7), label == one):
                return one
            rank = min(rank + 1, 3)
        return self._code_name(calm, label)

    def _code_name(self, calm: int, label: int) -> int:
        """Code a label that none of the pixels nearby has."""
        if self._one(FRESH + calm, label == self._known):
            if self._known == MAX_LABELS:
                raise BitstreamError("too many labels")
            self._known += 1
            return self._known - 1
        bits, node = (self._known - 1).bit_length(), 1
        for k in reversed(range(bits)):
            node = node << 1 | self._one(NAMES + node, label >> k & 1)
        if node - (1 << bits) >= self._known:
            raise BitstreamError("a label that was not met")
        return node - (1 << bits)


def first_weights() -> NDArray[np.int32]:
    """Return the weights of patterns before anything is seen."""
    first = np.array(QUARTERS, np.int32) * FIRST_WEIGHT // 4
    return np.broadcast_to(first, (SETS, MIXED, TRUSTS)).copy()


def hashed(key: int) -> int:
    """Return the place of a key among the patterns of its kind."""
    return hash_key(key, HASH_BITS)
