"""Columns of numbers as bytes that compress well, and back, bit for bit.

Samples are rows, the numbers of a sample columns. Floats that are decimals of a few digits (what a
text file held) become integers, column by column; then each row is predicted from those before it,
and the bytes are put together by their rank, as low bytes are noise and high ones are nearly all
the same. Docs/format.md has the bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[Any]  # (rows, columns), unsigned

NONE, DELTA, DELTA2 = range(3)
PREDICTORS = (NONE, DELTA, DELTA2)
AS_BITS = 0xFF  # exponent of a column whose words are its bits
MAX_EXPONENT = 17
MAX_INTEGER = float(1 << 53)
FEW_ROWS = 64  # that a column is tried on, before all of it is


@dataclass(frozen=True)
class Transform:
    """How a table of numbers became bytes.

    Attributes
    ----------
    word
        Bytes a number: 1, 2, 4, 8.
    predictor
        `NONE`, `DELTA` (difference from the row before) or `DELTA2` (difference of differences).
    exponents
        Of each column: e where its values are integers divided by 10^e, else `AS_BITS`; empty where
        all columns are bits.
    """

    word: int
    predictor: int
    exponents: bytes = b""


def candidates(rows: NDArray[Any]) -> Iterator[tuple[Transform, bytes]]:
    """Yield every way to write a table (rows, columns) of a little-endian dtype.

    Where some columns are decimals, with and without making integers of them.
    """
    bits = rows.view(f"<u{rows.dtype.itemsize}")
    tables: list[tuple[bytes, Words]] = [(b"", bits)]
    if rows.dtype.kind == "f" and rows.dtype.itemsize >= 4:
        exponents = _exponents(rows)
        if any(one != AS_BITS for one in exponents):
            tables.append((exponents, _as_integers(rows, bits, exponents)))
    for exponents, words in tables:
        for predictor in PREDICTORS[: len(words) + 1]:
            transform = Transform(rows.dtype.itemsize, predictor, exponents)
            yield transform, _shuffled(_predicted(words, predictor))


def restore(transform: Transform, data: bytes | memoryview, rows: int, columns: int) -> bytes:
    """Return the numbers, little-endian, row by row.

    Raises
    ------
    ValueError
        When these bytes are no such table.
    """
    word, exponents = transform.word, transform.exponents
    wide = 8 if exponents else word
    if len(data) != rows * columns * wide or transform.predictor not in PREDICTORS:
        raise ValueError("a table of numbers of another size than declared")
    planes = np.frombuffer(data, np.uint8).reshape(wide, columns, rows)
    table = np.ascontiguousarray(planes.transpose(2, 1, 0)).view(f"<u{wide}")
    words = _unpredicted(table.reshape(rows, columns), transform.predictor)
    if exponents:
        words = _as_bits(words, word, exponents)
    return words.astype(f"<u{word}", copy=False).tobytes()


def _predicted(words: Words, predictor: int) -> Words:
    for _ in range(predictor):
        words = np.concatenate([words[:1], words[1:] - words[:-1]])
    return words if predictor == NONE else _zigzag(words)


def _unpredicted(words: Words, predictor: int) -> Words:
    if predictor == NONE:
        return words
    one = words.dtype.type(1)
    words = (words >> one) ^ (~(words & one) + one)
    for _ in range(predictor):
        words = np.cumsum(words, axis=0, dtype=words.dtype)
    return words


def _zigzag(words: Words) -> Words:
    """Write a difference d ≥ 0 as 2d and else as −2d − 1, modulo the words' size."""
    bits = 8 * words.dtype.itemsize
    top = words >> words.dtype.type(bits - 1)
    found: Words = (words << words.dtype.type(1)) ^ (~top + words.dtype.type(1))
    return found


def _shuffled(words: Words) -> bytes:
    rows, columns = words.shape
    split = np.ascontiguousarray(words).view(np.uint8).reshape(rows, columns, -1)
    return split.transpose(2, 1, 0).tobytes()


def _exponents(rows: NDArray[Any]) -> bytes:
    """Find for each column the least e at which its values are integers divided by 10^e."""
    found = np.full(rows.shape[1], AS_BITS, np.uint8)
    with np.errstate(all="ignore"):
        for exponent in range(MAX_EXPONENT + 1):
            for some in (rows[:FEW_ROWS], rows):
                open_ = np.flatnonzero(found == AS_BITS)
                if len(open_):
                    fits = _are_decimals(some[:, open_], exponent)
                    if some is not rows and not fits.any():
                        break
                    if some is rows:
                        found[open_[fits]] = exponent
    return found.tobytes()


def _are_decimals(values: NDArray[Any], exponent: int) -> NDArray[np.bool_]:
    scaled = np.rint(values.astype(np.float64) * 10.0**exponent) + 0.0  # an integer has no -0
    back = (scaled / 10.0**exponent).astype(values.dtype)
    bits = f"<u{values.dtype.itemsize}"
    same = back.view(bits) == np.ascontiguousarray(values).view(bits)
    fits: NDArray[np.bool_] = (same & (np.abs(scaled) < MAX_INTEGER)).all(axis=0)
    return fits


def _as_integers(rows: NDArray[Any], bits: Words, exponents: bytes) -> Words:
    words = bits.astype("<u8")
    for column, exponent in enumerate(exponents):
        if exponent != AS_BITS:
            scaled = np.rint(rows[:, column].astype(np.float64) * 10.0**exponent)
            words[:, column] = scaled.astype("<i8").view("<u8")
    return words


def _as_bits(words: Words, word: int, exponents: bytes) -> Words:
    if word not in (4, 8) or len(exponents) != words.shape[1]:
        raise ValueError("a table of numbers of another shape than declared")
    found = words.astype(f"<u{word}")
    for column, exponent in enumerate(exponents):
        if exponent == AS_BITS:
            continue
        if exponent > MAX_EXPONENT:
            raise ValueError("a column of numbers of an unknown exponent")
        integers = np.ascontiguousarray(words[:, column]).view("<i8").astype(np.float64)
        found[:, column] = (integers / 10.0**exponent).astype(f"<f{word}").view(f"<u{word}")
    return found
