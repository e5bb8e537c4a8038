"""Label maps that follow one another: each pixel is what moved there, or else like a neighbour.

Every block of 16×16 pixels has a vector, which says what of an earlier map is expected in it. Row
by row, a pixel is that label or not, under two patterns (`dsc._coding.mixing`): whether
what was expected came true around it, and what shape the expected labels have there. A pixel that
is not is asked whether it is like each of eight labels around it, or else is any label at all. What
was learned goes on from frame to frame, as of `dsc._codecs.sequence.masks`.

Vectors are searched for so that few pixels differ, in whole pixels up to `FARTHEST`; they are coded
as the vector on the left, as that above, or by their difference from the former.

These are the twins of ``dsc/_kernels/track.c``.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._coding.context.lattice import Ids
from dsc._coding.entropy import AnsReader, SymbolDecoder, SymbolEncoder
from dsc._coding.mixing import (
    ONE,
    Counts,
    Port,
    Writing,
    code_one,
    code_two,
    reading,
    weights_start,
)
from dsc.errors import BitstreamError

BLOCK, FARTHEST, LENGTHS = 16, 31, 6  # a difference of two moves has at most so many bits
AGREED, SHAPED, OTHERS, MOVED = 1 << 10, 1 << 15, 1 << 9, 128
MOVED_EACH = 48  # patterns of moves down, and of those to the right
WEIGHT_SETS = 64
NO_LABEL = 0xFFFF
FIRST_SEEN = 2  # as often was a pattern seen, as it were, that begins with a guess
MISMATCH = 4  # bits that a pixel unlike its prediction takes, about
TURN = 4  # and a vector that is not the one before, beside two for each of its bits
AROUND = ((0, -1), (-1, 0), (-1, 1), (-1, -1))  # left, above and beside that, in coding order
SHAPE = ((0, -1), (0, 1), (-1, -1), (-1, 0), (-1, 1), (1, -1), (1, 0), (1, 1))
MOVED_AROUND = ((0, 1), (1, 0), (-1, 0), (0, -1))

Vectors = NDArray[np.int32]


@dataclass(frozen=True)
class Learned:
    """What is known when a map begins: of its four kinds of patterns, and weights.

    At first, the more of the six pixels nearby agree, the more likely is what is expected.
    """

    agreed: Counts = field(default_factory=lambda: _expected(np.arange(AGREED) & 63))
    shaped: Counts = field(default_factory=lambda: _expected(np.arange(SHAPED) >> 8 & 63))
    others: Counts = field(default_factory=lambda: Counts.start(OTHERS))
    moved: Counts = field(default_factory=lambda: Counts.start(MOVED))
    weights: NDArray[np.int32] = field(default_factory=lambda: weights_start(WEIGHT_SETS))

    def copy(self) -> "Learned":
        """Return the same, to go on from."""
        return Learned(
            self.agreed.copy(),
            self.shaped.copy(),
            self.others.copy(),
            self.moved.copy(),
            self.weights.copy(),
        )

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """As the kernel takes them."""
        counts = (self.agreed, self.shaped, self.others, self.moved)
        return *(array for one in counts for array in one.arrays), self.weights


def _expected(agreeing: NDArray[np.int64]) -> Counts:
    """Return patterns whose chance grows with the bits of `agreeing` (n,) that are set."""
    set_bits = (agreeing[:, None] >> np.arange(6) & 1).sum(axis=1)
    chance = ONE - (ONE * 3 // 4 >> set_bits)
    return Counts(chance.astype(np.uint32), np.full(len(agreeing), FIRST_SEEN, np.uint16))


def encode_track(
    encoder: SymbolEncoder, labels: Ids, earlier: Ids, count: int, learned: Learned
) -> None:
    """Append a map (H, W) of labels below `count`, which follows an earlier one."""
    vectors = search(labels, earlier)
    if _kernels.in_use():
        coded = _kernels.compiled.track_encode(labels, earlier, vectors, count, learned.arrays)
        encoder.put_intervals(np.frombuffer(coded, np.uint32).reshape(-1, 2))
        return
    port = _Writing(count)
    _Walk(port, learned, earlier, vectors).code(labels.copy())
    encoder.put_intervals(np.array(port.intervals, np.uint32))


def decode_track(decoder: SymbolDecoder, earlier: Ids, count: int, learned: Learned) -> Ids:
    """Read a map that follows an earlier one.

    Raises
    ------
    BitstreamError
        When what is read is no map.
    """
    labels, vectors = np.zeros_like(earlier), _no_vectors(earlier.shape)
    try:
        if _kernels.in_use():
            _kernels.compiled.track_decode(
                decoder.words, decoder.state, labels, earlier, vectors, count, learned.arrays
            )
        else:
            reader = AnsReader(decoder)
            _Walk(_Reading(reader, count), learned, earlier, vectors).code(labels)
            reader.keep()
    except ValueError as error:
        raise BitstreamError(str(error)) from None
    return labels


def search(labels: Ids, earlier: Ids) -> Vectors:
    """Return the vectors (blocks down, blocks across, 2) that move an earlier map to this one."""
    vectors = _no_vectors(labels.shape)
    if _kernels.in_use():
        _kernels.compiled.track_search(labels, earlier, vectors)
    else:
        _search(labels, np.pad(earlier, FARTHEST + BLOCK, mode="edge"), vectors)
    return vectors


def _no_vectors(shape: tuple[int, ...]) -> Vectors:
    return np.zeros((-(-shape[0] // BLOCK), -(-shape[1] // BLOCK), 2), np.int32)


# ---- the twin of the compiled kernel


class _Writing(Writing):
    """A port that writes labels too."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def any(self, label: int) -> int:
        """Write one of all labels."""
        each = ONE // self._count
        left = label * each
        self.intervals.append((left, ONE - left if label == self._count - 1 else each))
        return label


class _Reading:
    """A port that reads labels too."""

    def __init__(self, reader: AnsReader, count: int) -> None:
        self._port, self._reader, self._count = reading(reader), reader, count

    def __call__(self, chance: int, bit: int) -> int:
        """Read a bit."""
        return self._port(chance, bit)

    def any(self, label: int) -> int:
        """Read one of all labels."""
        return self._reader.uniform(self._count)


class _Walk:
    """One map, in either direction."""

    def __init__(
        self, port: "_Writing | _Reading", learned: Learned, earlier: Ids, vectors: Vectors
    ) -> None:
        self._port, self._learned = port, learned
        self._earlier, self._vectors = np.pad(earlier, FARTHEST + BLOCK, mode="edge"), vectors
        self._size = earlier.shape

    def code(self, labels: Ids) -> None:
        """Code a map; when reading, it is put there."""
        self._code_vectors()
        moving = np.pad(self._moved(), 1, mode="edge").astype(int).tolist()
        own = np.pad(labels, ((2, 0), (2, 2)), constant_values=NO_LABEL).astype(int).tolist()
        for y, x in np.ndindex(*labels.shape):
            labels[y, x] = own[y + 2][x + 2] = self._code_label(own, moving, y, x)

    def _code_vectors(self) -> None:
        port: Port = self._port
        moved, turned = self._learned.moved, 0
        for row, column in np.ndindex(*self._vectors.shape[:2]):
            vector = self._vectors[row, column]
            before, above = _near(self._vectors, row, column)
            own = vector.copy()
            turned = code_one(port, moved, turned, int((own != before).any()))
            vector[:] = before
            if not turned:
                continue
            if (above != before).any() and not code_one(port, moved, 2, int((own != above).any())):
                vector[:] = above
                continue
            for k in range(2):
                first = 4 + k * MOVED_EACH
                vector[k] += self._code_difference(first, int(own[k]) - int(before[k]))
            if np.abs(vector).max() > FARTHEST:
                raise ValueError("a vector is too long")

    def _code_difference(self, first: int, number: int) -> int:
        port, moved, length = self._port, self._learned.moved, 0
        wanted, size = abs(number).bit_length(), abs(number)
        while length < LENGTHS and code_one(port, moved, first + length, int(length < wanted)):
            length += 1
        if not length:
            return 0
        negative = code_one(port, moved, first + LENGTHS, int(number < 0))
        found = 1
        for k in reversed(range(length - 1)):
            pattern = first + LENGTHS + 1 + length * LENGTHS + k
            found = found << 1 | code_one(port, moved, pattern, size >> k & 1)
        return -found if negative else found

    def _moved(self) -> Ids:
        made = np.empty(self._size, np.uint16)
        for row, column in np.ndindex(*self._vectors.shape[:2]):
            part = made[row * BLOCK :, column * BLOCK :][:BLOCK, :BLOCK]
            vector = self._vectors[row, column].tolist()
            part[...] = _moved_block(self._earlier, row, column, vector, part.shape)
        return made

    def _code_label(self, own: list[list[int]], moving: list[list[int]], y: int, x: int) -> int:
        def mine(down: int, right: int) -> int:
            return own[y + 2 + down][x + 2 + right]

        def last(down: int, right: int) -> int:
            return moving[y + 1 + down][x + 1 + right]

        wanted, learned, bit = last(0, 0), self._learned, int(mine(0, 0) == last(0, 0))
        agree = _bits([mine(*at) == last(*at) for at in AROUND])
        like = _bits([mine(0, -1) == wanted, mine(-1, 0) == wanted])
        more = (mine(0, -1) == mine(-1, 0), mine(-1, 1) == wanted)
        ahead = (last(0, 1) == wanted, last(1, 0) == wanted)
        first = agree | like << 4 | _bits([*more, *ahead]) << 6
        shape = _bits([last(*at) == wanted for at in SHAPE])
        second = shape | agree << 8 | like << 12 | (mine(-2, 0) == wanted) << 14
        if first == AGREED - 1 and second == SHAPED - 1:
            same = code_one(self._port, learned.shaped, second, bit)
        else:
            at = 2 * ((agree & 7) | like << 3 | (last(0, 1) == wanted) << 5)
            counts, weights = (learned.agreed, learned.shaped), learned.weights[at : at + 2]
            same = code_two(self._port, counts, (first, second), weights, bit)
        if same:
            return wanted
        offered = [mine(*at) for at in AROUND] + [last(*at) for at in MOVED_AROUND]
        return self._code_other(offered, wanted, agree, mine(0, 0))

    def _code_other(self, offered: list[int], wanted: int, agree: int, label: int) -> int:
        for k, one in enumerate(offered):
            if one in (wanted, NO_LABEL, *offered[:k]):
                continue
            pattern = k << 6 | agree << 2 | min(3, offered[k + 1 :].count(one))
            if code_one(self._port, self._learned.others, pattern, int(label == one)):
                return one
        return self._port.any(label)


def _bits(flags: list[bool]) -> int:
    return sum(flag << place for place, flag in enumerate(flags))


def _near(vectors: Vectors, row: int, column: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the vector on the left (at the left edge that above), and that above."""
    above = vectors[row - 1, column].copy() if row else np.zeros(2, np.int32)
    return (vectors[row, column - 1].copy() if column else above), above


def _moved_block(
    earlier: Ids, row: int, column: int, vector: list[int], shape: tuple[int, ...]
) -> Ids:
    """Return what a vector moves to a block from a map within a margin."""
    y, x = row * BLOCK + vector[0], column * BLOCK + vector[1]
    margin = FARTHEST + BLOCK
    return earlier[y + margin :, x + margin :][: shape[0], : shape[1]]


def _search(labels: Ids, earlier: Ids, vectors: Vectors) -> None:
    moves = range(-FARTHEST, FARTHEST + 1)
    for row, column in np.ndindex(*vectors.shape[:2]):
        part = labels[row * BLOCK :, column * BLOCK :][:BLOCK, :BLOCK]
        before, above = _near(vectors, row, column)
        chosen, best = before.tolist(), None
        for vector in [chosen, *([down, right] for down in moves for right in moves)]:
            price = _price(vector, before.tolist(), above.tolist())
            if best is not None and price >= best:
                continue
            moved = _moved_block(earlier, row, column, vector, part.shape)
            cost = MISMATCH * int((part != moved).sum()) + price
            if best is None or cost < best:
                best, chosen = cost, vector
        vectors[row, column] = chosen


def _price(vector: list[int], before: list[int], above: list[int]) -> int:
    """Return about how many bits a vector takes."""
    if vector == before:
        return 0
    if vector == above:
        return TURN
    parts = (a - b for a, b in zip(vector, before, strict=True))
    return TURN + 2 * sum(abs(part).bit_length() for part in parts)
