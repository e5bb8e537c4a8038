"""Entropy coding of integer symbols with stored integer tables: an ANS coder.

Symbols are coded *grouped by table*: all symbols of table 0 first, then those of table 1, and so
on. The tables are integers made once, at export (`build_tables`), and stored with the weights:
nothing about a probability is ever computed from floating point at run time.

A symbol outside its table is an escape: the table's last entry, and its value later in the same
stream, in `ESCAPE_BITS` plain bits.

The coder is a stack of 32-bit words and a 64-bit state, with probabilities of 24 bits; bitstreams
are those of `AnsCoder` of constriction (Bamler 2022, https://arxiv.org/abs/2201.01741), word for
word. The loops are in `dsc/_kernels/ans.c`; those below are their twins in Python.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc.errors import BitstreamError, CodecError

ANS_BITS = 24  # of a probability inside the coder
_ONE = 1 << ANS_BITS
PRECISION = 16
ESCAPE_BITS = 20
ESCAPE_OFFSET = 1 << (ESCAPE_BITS - 1)
_CHUNK = 1 << 10  # an escape is coded as two uniform symbols of ten bits

Int = NDArray[np.int32]
Words = NDArray[np.uint32]


@dataclass(frozen=True)
class Tables:
    """Integer probability tables.

    Attributes
    ----------
    frequencies
        uint16 or wider, all tables one after another; each table's entries are at least 1. The
        last entry of a table is its escape.
    offsets
        (n + 1,) where each table starts in `frequencies`.
    lows
        (n,) the smallest symbol of each table; the next ones follow by 1.
    """

    frequencies: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    lows: Int

    def __len__(self) -> int:
        return len(self.lows)

    def table(self, index: int) -> NDArray[np.uint32]:
        """Return the bounds of one table."""
        return self.bounds[self.offsets[index] + index : self.offsets[index + 1] + index + 1]

    @cached_property
    def bounds(self) -> NDArray[np.uint32]:
        """Where each entry's interval of 2^24 begins and, after a table's last entry, ends.

        Each table has one bound more than entries. An entry of frequency f has about f 2^24 / sum,
        and at least 1.
        """
        rows = []
        for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            before = np.cumsum(self.frequencies[start:stop].astype(np.float64))
            # the sum is a power of two, so that nothing here is rounded but by `floor`
            scale = (_ONE - len(before)) / before[-1]
            left = np.floor(np.append(0, before[:-1]) * scale) + np.arange(len(before))
            rows.append(np.append(left, _ONE).astype(np.uint32))
        return np.concatenate(rows)

    @cached_property
    def escapes(self) -> Int:
        """(n,) the coded value that stands for an escape in each table."""
        return (np.diff(self.offsets) - 1).astype(np.int32)


def build_tables(mass: list[NDArray[np.float64]], lows: list[int]) -> Tables:
    """Round probability masses to integer tables that sum to 2^16 and add an escape to each.

    Parameters
    ----------
    mass
        One array a table: the probability of each symbol; what is missing to 1 is the escape's.
    lows
        The smallest symbol of each table.
    """
    rows = []
    for probabilities in mass:
        tail = max(1.0 - float(probabilities.sum()), 0.0)
        full = np.append(probabilities, tail).clip(0)
        spare = (1 << PRECISION) - len(full)
        counts = np.floor(full / full.sum() * spare).astype(np.int64) + 1
        counts[counts.argmax()] += (1 << PRECISION) - counts.sum()
        rows.append(counts.astype(np.uint32))
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Tables(np.concatenate(rows), offsets, np.asarray(lows, np.int32))


class SymbolEncoder:
    """Writes groups of symbols into one bitstream; a decoder reads them in the same order.

    The coder is a stack (ANS), so their intervals are kept until `finish` and coded last to first.
    """

    def __init__(self) -> None:
        self._intervals: list[Words] = []

    def put(self, symbols: Int, indexes: NDArray[np.uint8], tables: Tables) -> None:
        """Append symbols, each under the table that its index names.

        Parameters
        ----------
        symbols
            int32, any shape.
        indexes
            uint8 table numbers, the same number of elements.

        Raises
        ------
        CodecError
            When a symbol is beyond what an escape can hold.
        """
        flat = np.ascontiguousarray(symbols, np.int32).ravel()
        numbers = np.ascontiguousarray(indexes, np.uint8).ravel()
        intervals, escaped = _look_up(flat, numbers, tables)
        self._intervals.append(intervals)
        if len(escaped):
            self._put_raw(escaped)

    def put_uniform(self, values: Int, size: int) -> None:
        """Append integers from 0 to below `size` (2 to 2^16), all of them equally likely."""
        each = _ONE // size
        left = values.astype(np.int64).ravel() * each
        if len(left) and not 0 <= left.min() <= left.max() < size * each:
            raise CodecError(f"a value is not from 0 to below {size}")
        # the last one has what is left over
        width = np.where(left == (size - 1) * each, _ONE - left, each)
        self._intervals.append(np.stack([left, width], axis=1).astype(np.uint32))

    def _put_raw(self, values: Int) -> None:
        shifted = values.astype(np.int64) + ESCAPE_OFFSET
        if shifted.min() < 0 or shifted.max() >= 1 << ESCAPE_BITS:
            raise CodecError(f"a latent of {values[np.abs(values).argmax()]} is out of range")
        halves = np.stack([shifted // _CHUNK, shifted % _CHUNK], axis=1).astype(np.int32)
        self.put_uniform(halves, _CHUNK)

    def put_intervals(self, intervals: Words) -> None:
        """Append symbols by their intervals (n, 2), as compiled kernels find them."""
        self._intervals.append(intervals)

    def finish(self) -> bytes:
        """Return the bitstream: little-endian 32-bit words; empty when nothing was put."""
        if not self._intervals:
            return b""
        intervals = np.concatenate(self._intervals)
        if _kernels.in_use():
            return _kernels.compiled.ans_encode(intervals)
        return _encode(intervals)


class SymbolDecoder:
    """Reads groups of symbols in the order in which they were put.

    Parameters
    ----------
    data
        What `SymbolEncoder.finish` gave.

    Raises
    ------
    BitstreamError
        When the bytes cannot be what an encoder wrote.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        if len(data) % 4:
            raise BitstreamError(f"{len(data)} bytes are no whole number of 32-bit words")
        self.words = np.frombuffer(data, "<u4").astype(np.uint32)
        if len(self.words) and not self.words[-1]:
            raise BitstreamError("these words end no bitstream: the last one is zero")
        state, left = 0, len(self.words)
        while left and state < 1 << 32:
            left -= 1
            state = state << 32 | int(self.words[left])
        self.state = np.array([state, left], np.uint64)  # and how many words are not read yet

    def get(self, indexes: NDArray[np.uint8], tables: Tables) -> Int:
        """Read as many symbols as there are indexes, in the shape of `indexes`.

        Damage may show here or, at the latest, in `check_end`.
        """
        flat = np.ascontiguousarray(indexes, np.uint8).ravel()
        symbols = np.empty(len(flat), np.int32)
        if _kernels.in_use():
            parts = (tables.bounds, tables.offsets, tables.lows)
            _kernels.compiled.ans_decode(self.words, self.state, flat, *parts, symbols)
        else:
            self._get(flat, tables, symbols)
        return symbols.reshape(indexes.shape)

    def _get(self, indexes: NDArray[np.uint8], tables: Tables, symbols: Int) -> None:
        coder, outside = AnsReader(self), []
        for index, places in _groups(indexes):
            bounds, low = tables.table(index), int(tables.lows[index])
            for place in places.tolist():
                entry = coder.entry(bounds)
                symbols[place] = low + entry
                if entry == len(bounds) - 2:
                    outside.append(place)
        for place in outside:
            high, rest = coder.uniform(_CHUNK), coder.uniform(_CHUNK)
            symbols[place] = high * _CHUNK + rest - ESCAPE_OFFSET
        coder.keep()

    def get_uniform(self, count: int, size: int) -> Int:
        """Read `count` integers from 0 to below `size`."""
        values = np.empty(count, np.int32)
        if _kernels.in_use():
            _kernels.compiled.ans_decode_uniform(self.words, self.state, size, values)
        else:
            coder = AnsReader(self)
            values[:] = [coder.uniform(size) for _ in range(count)]
            coder.keep()
        return values

    def check_end(self) -> None:
        """Raise `BitstreamError` unless all that was written has been read, and no more."""
        if self.state.any():
            raise BitstreamError("the entropy coder does not end where the symbols end")


# ---- the twins of the compiled kernels


def _groups(indexes: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each table in use and the places of its symbols, both ascending."""
    order = np.argsort(indexes, kind="stable")
    counts = np.bincount(indexes, minlength=1)
    ends = np.cumsum(counts)
    for index in np.flatnonzero(counts).tolist():
        yield index, order[ends[index] - counts[index] : ends[index]]


def _look_up(symbols: Int, indexes: NDArray[np.uint8], tables: Tables) -> tuple[Words, Int]:
    """Return the intervals (n, 2) of symbols in the order of coding, and those that escape."""
    intervals = np.empty((len(symbols), 2), np.uint32)
    if _kernels.in_use():
        escaped, parts = np.empty_like(symbols), (tables.bounds, tables.offsets, tables.lows)
        look_up = _kernels.compiled.ans_look_up
        return intervals, escaped[: look_up(symbols, indexes, *parts, intervals, escaped)]
    outside, start = [np.empty(0, np.int32)], 0
    for index, places in _groups(indexes):
        own, bounds = symbols[places], tables.table(index)
        entries = own.astype(np.int64) - tables.lows[index]
        escapes = (entries < 0) | (entries >= len(bounds) - 2)
        entries[escapes] = len(bounds) - 2
        rows = intervals[start : start + len(own)]
        rows[:, 0], rows[:, 1] = bounds[entries], np.diff(bounds)[entries]
        outside.append(own[escapes])
        start += len(own)
    return intervals, np.concatenate(outside)


def _encode(intervals: Words) -> bytes:
    state, words = 0, []
    for left, size in reversed(intervals.tolist()):
        if state >> (64 - ANS_BITS) >= size:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        state = state // size << ANS_BITS | left + state % size
    while state:
        words.append(state & 0xFFFFFFFF)
        state >>= 32
    return np.array(words, "<u4").tobytes()


class AnsReader:
    """The state of a decoder in Python's integers, while symbols are read."""

    def __init__(self, decoder: SymbolDecoder) -> None:
        self._decoder = decoder
        self._state, self._left = decoder.state.tolist()

    def entry(self, bounds: Words) -> int:
        """Read the entry of a table."""
        entry = int(np.searchsorted(bounds, self._state % _ONE, "right")) - 1
        self._advance(int(bounds[entry]), int(bounds[entry + 1]))
        return entry

    def uniform(self, size: int) -> int:
        """Read an integer from 0 to below `size`."""
        each = _ONE // size
        value = min(self._state % _ONE // each, size - 1)
        self._advance(value * each, _ONE if value == size - 1 else (value + 1) * each)
        return int(value)

    def below(self, bound: int) -> bool:
        """Read which of two symbols it is: the one of [0, `bound`), or the other one."""
        is_below = bool(self._state % _ONE < bound)
        self._advance(*((0, bound) if is_below else (bound, _ONE)))
        return is_below

    def _advance(self, left: int, right: int) -> None:
        quantile = self._state % _ONE
        self._state = (self._state >> ANS_BITS) * (right - left) + quantile - left
        if self._state < 1 << 32 and self._left:  # one that has run out gives zeros
            self._left -= 1
            self._state = self._state << 32 | int(self._decoder.words[self._left])

    def keep(self) -> None:
        """Leave the state to the next call."""
        self._decoder.state[:] = self._state, self._left
