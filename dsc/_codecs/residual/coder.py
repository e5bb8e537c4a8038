"""Codes sparse integer planes losslessly, coarse to fine, each value by what lies around it.

The pixels of a grid of 32 steps come first. Then each level halves the grid, in three passes: the
middles of its cells, of its vertical sides, of its horizontal sides. A pass is whole-array
arithmetic on integers. A value is predicted by the mean of its four nearest known neighbours; how
far these, and a ring around them, lie from the mean gives its context, with the mean's fraction.
For each context the stream names the table that codes it. Pixels that are invalid are neither coded
nor looked at.

The tables are two-sided geometric distributions around a mean of 0, 1/4 or 1/2, some with more
weight on zero. They are made by integer arithmetic alone, the same on every machine. Bytes: one bit
a context, whether it is in use; a table number for each that is; words of
`dsc._coding.entropy`.

The walk is compiled (`dsc/_kernels/residual.c`); the one here is its twin.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._coding.entropy import ESCAPE_BITS, PRECISION, SymbolDecoder, SymbolEncoder, Tables
from dsc.errors import BitstreamError

Int = NDArray[np.int32]
Bool = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

TOP_STEP = 32
# Lower ends of the classes of spread but the first, in 1/16 of a value.
SPREAD = np.array([1, 3, 6, 10, 15, 22, 32, 46, 68, 100, 150, 250, 500], np.int32)
FRACTIONS = 3
CONTEXTS = (len(SPREAD) + 1) * FRACTIONS + 1
ALONE = CONTEXTS - 1  # the context of a value without a known neighbour
USED_BYTES = -(-CONTEXTS // 8)
# Weight of a value by that of one a quarter nearer to the mean, of 4096: a whole step is 1/10,000
# to 0.98.
RATIOS = (410, 600, 800, 1000, 1216, 1448, 1722, 1950, 2190, 2430, 2650, 2850, 3040, 3210, 3360,
          3490, 3610, 3710, 3795, 3870, 3930, 3980, 4030, 4075)  # fmt: skip
SPIKES = (4, 6, 12)  # weight on zero, in quarters of what it would be
REACH = 255  # largest value in a table; an escape holds others
COLUMNS = 2 * REACH + 3  # the symbols from -REACH to REACH, and those below and above
MARGIN = 3  # how far a neighbourhood reaches

VISITS = 16  # the top grid, and three passes a level
LIST_ROOM = 64  # elements that the kernel writes behind its lists

Offsets = tuple[tuple[int, int], ...]
SIDES: Offsets = ((-1, 0), (1, 0), (0, -1), (0, 1))
CORNERS: Offsets = ((-1, -1), (-1, 1), (1, -1), (1, 1))


class Pass(NamedTuple):
    """Which pixels of a grid are coded: the first one, the nearest known ones, a ring of others."""

    origin: tuple[int, int]
    near: Offsets
    ring: Offsets


PASSES = (
    Pass((1, 1), CORNERS, ((-1, -3), (-1, 3), (1, -3), (1, 3), (-3, -1), (-3, 1), (3, -1), (3, 1))),
    Pass((1, 0), SIDES, ((-1, -2), (-1, 2), (1, -2), (1, 2), (-2, -1), (-2, 1), (2, -1), (2, 1))),
    Pass((0, 1), SIDES, CORNERS),
)

Visit = Callable[[Int, Int, Bytes], Int]


def encode_planes(planes: Int, valid: Bool) -> bytes:
    """Code planes.

    Parameters
    ----------
    planes
        (C, H, W) int32, within ±2^19.
    valid
        (H, W), the pixels that are coded.

    Raises
    ------
    CodecError
        When a value is out of range.
    """
    listed = _list_symbols(np.ascontiguousarray(planes, np.int32), np.ascontiguousarray(valid))
    symbols, contexts, ends, counts = listed
    used = counts.any(axis=1)
    table_of = _choose_tables(counts)
    coder = SymbolEncoder()
    for start, end in pairwise((0, *ends)):
        coder.put(symbols[start:end], table_of[contexts[start:end]], geometric_tables())
    return np.packbits(used).tobytes() + table_of[used].tobytes() + coder.finish()


def _list_symbols(planes: Int, valid: Bool) -> tuple[Int, Bytes, list[int], NDArray[np.int64]]:
    """Return what is coded of planes.

    Returns
    -------
    symbols, contexts
        (n,) in coding order.
    ends
        Where each visit ends.
    counts
        (CONTEXTS, COLUMNS) how often each context has each symbol.
    """
    if _kernels.in_use():
        room = planes.size + LIST_ROOM
        symbols, contexts = np.empty(room, np.int32), np.empty(room, np.uint8)
        ends, counts = np.empty(VISITS, np.int64), np.zeros((CONTEXTS, COLUMNS), np.int64)
        _kernels.compiled.residual_contexts(planes, valid, symbols, contexts, ends, counts)
        return symbols[: ends[-1]], contexts[: ends[-1]], ends.tolist(), counts
    parts: list[tuple[Int, Bytes]] = []

    def note(values: Int, quarters: Int, contexts: Bytes) -> Int:
        parts.append((_fold(values, quarters), contexts))
        return values

    _walk(np.where(valid, planes, 0), valid, note)
    symbols, contexts = (np.concatenate(found) for found in zip(*parts, strict=True))
    column = np.clip(symbols, -REACH - 1, REACH + 1) + REACH + 1
    flat = np.bincount(contexts.astype(np.int64) * COLUMNS + column, minlength=CONTEXTS * COLUMNS)
    ends = np.cumsum([len(part) for part, _ in parts])
    return symbols, contexts, ends.tolist(), flat.reshape(CONTEXTS, COLUMNS)


def decode_planes(data: bytes, channels: int, valid: Bool) -> Int:
    """Return the (C, H, W) planes that `encode_planes` coded; 0 where invalid.

    Raises
    ------
    BitstreamError
        When the bytes are damaged.
    """
    used = np.unpackbits(np.frombuffer(data[:USED_BYTES], np.uint8)).astype(bool)
    end = USED_BYTES + int(used.sum())
    if len(data) < end or used[CONTEXTS:].any():
        raise BitstreamError(f"{len(data)} bytes hold no list of tables")
    table_of = np.zeros(CONTEXTS, np.uint8)
    table_of[used[:CONTEXTS]] = np.frombuffer(data[USED_BYTES:end], np.uint8)
    tables = geometric_tables()
    if table_of.max() >= len(tables):
        raise BitstreamError(f"table {table_of.max()} of {len(tables)}")
    coder = SymbolDecoder(data[end:])
    planes = np.zeros((channels, *valid.shape), np.int32)
    if _kernels.in_use():
        parts = (used[:CONTEXTS], table_of, tables.bounds, tables.offsets, tables.lows)
        valid = np.ascontiguousarray(valid)
        try:
            _kernels.compiled.residual_decode(coder.words, coder.state, *parts, valid, planes)
        except ValueError as error:
            raise BitstreamError(str(error)) from None
        coder.check_end()
        return planes

    def read(values: Int, quarters: Int, contexts: Bytes) -> Int:
        if not used[contexts].all():
            raise BitstreamError("a context without a table")
        return _unfold(coder.get(table_of[contexts], tables), quarters)

    _walk(planes, valid, read)
    coder.check_end()
    return planes


def _walk(planes: Int, valid: Bool, visit: Visit) -> None:
    """Visit all valid pixels in coding order; what `visit` gives for them is put in their place.

    It is given their values, the means of their neighbours in quarters, and their contexts.
    """
    top = (slice(None), slice(None, None, TOP_STEP), slice(None, None, TOP_STEP))
    grid = planes[top]
    there = np.broadcast_to(valid[top[1:]], grid.shape)
    count = int(there.sum())
    blank = np.zeros(count, np.int32)
    grid[there] = visit(grid[there], blank, np.full(count, ALONE, np.uint8))
    step = TOP_STEP // 2
    while step:
        grid = planes[:, ::step, ::step]
        there = valid[::step, ::step]
        pad = (MARGIN, MARGIN)
        values, known = np.pad(grid, ((0, 0), pad, pad)), np.pad(there, (pad, pad))
        for one in PASSES:
            _visit(one, values, known, visit)
        grid[...] = values[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        step //= 2


def _visit(one: Pass, values: Int, known: Bool, visit: Visit) -> None:
    own = _places(one.origin, (0, 0), known.shape)
    there = np.broadcast_to(known[own], values[:, *own].shape)
    quarters, contexts = _predict(one, values, known)
    target = values[:, *own]
    target[there] = visit(target[there], quarters[there], contexts[there])


def _places(
    origin: tuple[int, int], offset: tuple[int, int], shape: tuple[int, ...]
) -> tuple[slice, slice]:
    """Return the places in a padded grid that lie at an offset from the pixels of a pass."""
    found = []
    for start, shift, size in zip(origin, offset, shape, strict=True):
        first = MARGIN + start
        stop = max(size - MARGIN, first)
        found.append(slice(first + shift, stop + shift, 2))
    return found[0], found[1]


def _predict(one: Pass, values: Int, known: Bool) -> tuple[Int, Bytes]:
    """Return the mean of the near neighbours, in quarters, and the context, of each pixel."""
    near = [_places(one.origin, offset, known.shape) for offset in one.near]
    ring = [_places(one.origin, offset, known.shape) for offset in one.ring]
    count = np.sum([known[at] for at in near], axis=0, dtype=np.int32)
    total = np.sum([values[:, *at] for at in near], axis=0, dtype=np.int32)  # invalid ones are 0
    safe = np.maximum(count, 1)
    quarters = (8 * total + safe) // (2 * safe)
    inner = 4 * _distance(near, values, known, quarters) // safe
    ring_count = np.sum([known[at] for at in ring], axis=0, dtype=np.int32)
    outer = 4 * _distance(ring, values, known, quarters) // np.maximum(ring_count, 1)
    spread = np.where(ring_count > 0, (2 * inner + outer) // 3, inner)
    level = np.searchsorted(SPREAD, spread, side="right").astype(np.uint8)
    contexts = level * np.uint8(FRACTIONS) + np.abs(_fraction(quarters)).astype(np.uint8)
    contexts[:, count == 0] = ALONE
    return quarters, contexts


def _distance(places: list[tuple[slice, slice]], values: Int, known: Bool, quarters: Int) -> Int:
    """Sum up how far known neighbours lie from the mean, in quarters."""
    total = np.zeros_like(quarters)
    for at in places:
        total += np.abs(4 * values[:, *at] - quarters) * known[at]
    return total


def _fraction(quarters: Int) -> Int:
    """Return what a mean has over the nearest integer: -2 to 1 quarters."""
    fraction: Int = ((quarters + 2) & 3) - 2
    return fraction


def _fold(values: Int, quarters: Int) -> Int:
    """Return values less their prediction, mirrored so that the mean lies at 0 or above."""
    difference: Int = values - ((quarters + 2) >> 2)
    return np.where(_fraction(quarters) < 0, -difference, difference)


def _unfold(symbols: Int, quarters: Int) -> Int:
    difference: Int = np.where(_fraction(quarters) < 0, -symbols, symbols)
    return difference + ((quarters + 2) >> 2)


def _choose_tables(counts: NDArray[np.int64]) -> Bytes:
    """Choose, for each context, the table that codes its symbols in the fewest bits."""
    bits = counts @ _code_lengths()
    kinds = len(RATIOS) * len(SPIKES)
    best = np.empty(CONTEXTS, np.uint8)
    for context in range(CONTEXTS):
        fraction = 0 if context == ALONE else context % FRACTIONS
        first = fraction * kinds
        best[context] = first + int(bits[context, first : first + kinds].argmin())
    return best


@lru_cache(maxsize=1)
def _code_lengths() -> NDArray[np.float64]:
    """Return the bits of each value from -REACH - 1 to REACH + 1 under each table."""
    tables = geometric_tables()
    lengths = np.empty((COLUMNS, len(tables)))
    for number, low in enumerate(tables.lows.tolist()):
        start, stop = tables.offsets[number : number + 2].tolist()
        own = PRECISION - np.log2(tables.frequencies[start:stop].astype(np.float64))
        lengths[:, number] = own[-1] + ESCAPE_BITS
        lengths[REACH + 1 + low :][: len(own) - 1, number] = own[:-1]
    return lengths


@lru_cache(maxsize=1)
def geometric_tables() -> Tables:
    """Return all tables: for each fraction, each ratio, each spike."""
    rows, lows = [], []
    for fraction in range(FRACTIONS):
        for ratio in RATIOS:
            for spike in SPIKES:
                row, low = _geometric(fraction, ratio, spike)
                rows.append(row)
                lows.append(low)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Tables(np.concatenate(rows), offsets, np.asarray(lows, np.int32))


def _geometric(fraction: int, ratio: int, spike: int) -> tuple[NDArray[np.uint32], int]:
    """Return one table's frequencies, the escape last, and its smallest value."""
    by_distance = [1 << 40]
    while len(by_distance) < 4 * REACH + 3:
        by_distance.append(by_distance[-1] * ratio >> 12)
    floor = by_distance[0] >> 17
    values = [k for k in range(-REACH, REACH + 1) if by_distance[abs(4 * k - fraction)] > floor]
    weights = [by_distance[abs(4 * k - fraction)] * (spike if k == 0 else 4) // 4 for k in values]
    spare = (1 << PRECISION) - len(weights) - 1
    counts = [weight * spare // sum(weights) + 1 for weight in weights]
    counts[weights.index(max(weights))] += (1 << PRECISION) - 1 - sum(counts)
    return np.array([*counts, 1], np.uint32), values[0]
