"""The entropy coder: exact for any symbols, near the ideal size, never fooled by damage."""

import hashlib

import constriction
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._coding.entropy import (
    ESCAPE_OFFSET,
    SymbolDecoder,
    SymbolEncoder,
    Tables,
    build_tables,
)
from dsc.errors import BitstreamError, CodecError

pytestmark = pytest.mark.usefixtures("both_kernels")


def gaussian_tables(count: int = 16) -> Tables:
    mass, lows = [], []
    for scale in np.geomspace(0.11, 32, count):
        reach = int(np.ceil(scale * 5))
        k = torch.arange(-reach, reach + 1, dtype=torch.float64)
        upper, lower = torch.special.ndtr((k + 0.5) / scale), torch.special.ndtr((k - 0.5) / scale)
        mass.append((upper - lower).numpy())
        lows.append(-reach)
    return build_tables(mass, lows)


TABLES = gaussian_tables()


def round_trip(symbols: np.ndarray, indexes: np.ndarray) -> bytes:
    encoder = SymbolEncoder()
    encoder.put(symbols, indexes, TABLES)
    data = encoder.finish()
    decoder = SymbolDecoder(data)
    assert np.array_equal(decoder.get(indexes, TABLES), symbols)
    decoder.check_end()
    return data


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 400), st.sampled_from([1, 30, 500_000]))
def test_any_symbols_come_back(seed: int, count: int, reach: int) -> None:
    rng = np.random.default_rng(seed)
    symbols = rng.integers(-reach, reach + 1, count).astype(np.int32)
    round_trip(symbols, rng.integers(0, len(TABLES), count).astype(np.uint8))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_tiny_streams_are_tiny(count: int) -> None:
    data = round_trip(np.zeros(count, np.int32), np.zeros(count, np.uint8))
    assert len(data) <= 4 * min(count, 1)


def test_size_is_within_half_a_percent_of_the_entropy() -> None:
    rng = np.random.default_rng(0)
    indexes = rng.integers(0, len(TABLES), 40_000).astype(np.uint8)
    scales = np.geomspace(0.11, 32, len(TABLES))[indexes]
    symbols = np.rint(rng.normal(size=indexes.shape) * scales).astype(np.int32)
    ideal = 0.0
    for index in range(len(TABLES)):
        row = TABLES.frequencies[TABLES.offsets[index] : TABLES.offsets[index + 1]]
        chosen = np.clip(symbols[indexes == index] - TABLES.lows[index], 0, len(row) - 1)
        ideal += -np.log2(row[chosen] / 65536).sum() / 8
    assert len(round_trip(symbols, indexes)) < 1.005 * ideal + 4


def test_two_groups_share_one_stream() -> None:
    encoder = SymbolEncoder()
    first = np.arange(-5, 5, dtype=np.int32)
    second = np.array([[1000, -2], [0, 3]], np.int32)
    encoder.put(first, np.full(10, 9, np.uint8), TABLES)
    encoder.put(second, np.full((2, 2), 2, np.uint8), TABLES)
    decoder = SymbolDecoder(encoder.finish())
    assert np.array_equal(decoder.get(np.full(10, 9, np.uint8), TABLES), first)
    assert np.array_equal(decoder.get(np.full((2, 2), 2, np.uint8), TABLES), second)
    decoder.check_end()


def test_a_symbol_beyond_the_escape_range_is_refused() -> None:
    with pytest.raises(CodecError, match="out of range"):
        SymbolEncoder().put(np.array([ESCAPE_OFFSET], np.int32), np.zeros(1, np.uint8), TABLES)


def test_random_bytes_never_crash_the_decoder() -> None:
    rng = np.random.default_rng(1)
    indexes = rng.integers(0, len(TABLES), 3000).astype(np.uint8)
    refused = 0
    for _ in range(200):
        try:
            decoder = SymbolDecoder(rng.bytes(4 * int(rng.integers(1, 60))))
            decoder.get(indexes, TABLES)
            decoder.check_end()
        except BitstreamError:
            refused += 1
    assert refused > 190  # an ANS coder may empty itself by chance, when it holds one word


def test_bytes_left_over_are_an_error() -> None:
    data = round_trip(np.arange(-9, 9, dtype=np.int32), np.full(18, 8, np.uint8))
    decoder = SymbolDecoder(b"\1\2\3\4" * 3 + data)
    decoder.get(np.full(18, 8, np.uint8), TABLES)
    with pytest.raises(BitstreamError, match="does not end"):
        decoder.check_end()


def test_tables_sum_to_a_power_of_two_and_leave_no_zero() -> None:
    sums = np.add.reduceat(TABLES.frequencies.astype(np.int64), TABLES.offsets[:-1])
    assert (sums == 65536).all()
    assert TABLES.frequencies.min() >= 1


def test_golden_words_do_not_change() -> None:
    """The bitstream of fixed symbols under fixed tables, to the bit, for ever."""
    tables = Tables(
        np.array([60000, 5000, 500, 36, 20000, 30000, 15000, 536], np.uint32),
        np.array([0, 4, 8]),
        np.array([0, -1], np.int32),
    )
    steps = np.arange(400)
    indexes = (steps * 7 % 5 < 2).astype(np.uint8)
    symbols = np.where(indexes == 1, steps * 13 % 3 - 1, (steps % 11 == 0).astype(int))
    symbols[[17, 200]] = 4321, -77
    encoder = SymbolEncoder()
    encoder.put(symbols.astype(np.int32), indexes, tables)
    data = encoder.finish()
    assert (len(data), hashlib.sha256(data).hexdigest()[:32]) == GOLDEN


GOLDEN = (56, "d99a5ca49783c46b638a045c05b7572e")


# ---- the words are constriction's


def constriction_words(groups: list[tuple[np.ndarray, object]]) -> bytes:
    coder = constriction.stream.stack.AnsCoder()
    for symbols, model in reversed(groups):
        coder.encode_reverse(symbols.astype(np.int32), model)
    return bytes(coder.get_compressed().astype("<u4").tobytes())


def categorical(tables: Tables, index: int) -> object:
    weights = tables.frequencies[tables.offsets[index] : tables.offsets[index + 1]]
    return constriction.stream.model.Categorical(weights.astype(np.float64), perfect=False)


@pytest.mark.parametrize("entries", [2, 3, 17, 700, 60_000])
def test_words_are_those_of_constriction(entries: int) -> None:
    rng = np.random.default_rng(entries)
    mass = rng.dirichlet(np.full(entries, 0.3), 3)
    tables = build_tables([row[:-1] for row in mass], [0] * 3)
    indexes = rng.integers(0, 3, 2000).astype(np.uint8)
    symbols = rng.integers(0, entries - 1, 2000).astype(np.int32)
    symbols[indexes == 1] = 0  # most are likely ones
    encoder = SymbolEncoder()
    encoder.put(symbols, indexes, tables)
    groups = [(symbols[indexes == k], categorical(tables, k)) for k in range(3)]
    assert encoder.finish() == constriction_words(groups)


@pytest.mark.parametrize("size", [2, 3, 65, 1000, 1 << 16])
def test_words_of_uniform_integers_are_those_of_constriction(size: int) -> None:
    values = np.random.default_rng(size).integers(0, size, 999).astype(np.int32)
    values[::7] = size - 1
    encoder = SymbolEncoder()
    encoder.put_uniform(values, size)
    data = encoder.finish()
    assert data == constriction_words([(values, constriction.stream.model.Uniform(size))])
    decoder = SymbolDecoder(data)
    assert np.array_equal(decoder.get_uniform(999, size), values)
    decoder.check_end()


def test_any_words_decode_as_constriction_decodes_them() -> None:
    """Damage, too: words that no encoder wrote, and fewer of them than symbols take."""
    rng = np.random.default_rng(2)
    tables = build_tables(list(rng.dirichlet(np.ones(9), 4)[:, :-1] * 0.9999), [0] * 4)
    indexes = np.sort(rng.integers(0, 4, 300)).astype(np.uint8)
    for _ in range(30):
        words = rng.integers(1, 1 << 32, int(rng.integers(0, 50)), np.uint32)
        coder = constriction.stream.stack.AnsCoder(words)
        theirs = [coder.decode(categorical(tables, k), int((indexes == k).sum())) for k in range(4)]
        escapes = int(sum((row == 8).sum() for row in theirs))
        raw = coder.decode(constriction.stream.model.Uniform(1024), 2 * escapes)
        decoder = SymbolDecoder(words.astype("<u4").tobytes())
        symbols = decoder.get(indexes, tables)
        inside = np.concatenate(theirs)
        expected = inside.astype(np.int64)
        expected[inside == 8] = raw[::2].astype(np.int64) * 1024 + raw[1::2] - ESCAPE_OFFSET
        assert np.array_equal(symbols, expected)
        assert (not decoder.state.any()) == coder.is_empty()


@pytest.mark.parametrize("index", [16, 255])
def test_a_table_that_is_not_there_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        SymbolDecoder(b"\1\2\3\4").get(np.full(3, index, np.uint8), TABLES)
    with pytest.raises(IndexError):
        SymbolEncoder().put(np.zeros(3, np.int32), np.full(3, index, np.uint8), TABLES)


def test_values_beyond_a_uniform_range_are_refused() -> None:
    for value in (-1, 10):
        with pytest.raises(CodecError, match="from 0 to below 10"):
            SymbolEncoder().put_uniform(np.array([3, value], np.int32), 10)
