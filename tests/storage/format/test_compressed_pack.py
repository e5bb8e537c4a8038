"""Packs of version 2: what goes in comes back, and no damage, bomb or forgery passes for it."""

import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsc._storage.format.block import Method
from dsc._storage.format.dictionary import read_dictionary, write_dictionary
from dsc._storage.format.numbers import candidates, restore
from dsc._storage.format.pack import (
    EACH,
    HEADER,
    MAX_BLOCK,
    MAX_EACH,
    Packing,
    decode_joined,
    decode_pack,
    encode_compressed,
)
from dsc._storage.format.zstd import compress, decompress
from dsc.errors import CorruptArchiveError, CorruptPackError, DscError, UnsupportedVersionError

CAPTION = b"a brown chair in front of a wooden table"
DICTIONARY = b" ".join([b"chair table in front of a wooden brown white lamp"] * 4)
DTYPES = ("uint8", "int16", "uint32", "int64", "float16", "float32", "float64")

blobs = st.lists(st.none() | st.binary(max_size=40), min_size=1, max_size=30)
texts = st.lists(st.none() | st.text(max_size=20).map(str.encode), min_size=1, max_size=30)


def method_of(pack: bytes) -> int:
    return int(struct.unpack_from("<H", pack, 6)[0])


PLAIN = Packing()


def back(pack: bytes, packing: Packing = PLAIN) -> list[bytes | None]:
    found = decode_pack(pack, "here", lambda _: packing.dictionary)
    assert (found.first_index, found.codec_slot) == (7, 3)
    _, _, joined = decode_joined(pack, "here", lambda _: packing.dictionary)
    assert [p if p is None else bytes(p) for p in joined.payloads()] == [
        p if p is None else bytes(p) for p in found.payloads
    ]
    return [None if payload is None else bytes(payload) for payload in found.payloads]


def forged(method: int, n: int, size: int, body: bytes) -> bytes:
    """A pack with a true checksum, whatever it holds."""
    start = HEADER.pack(b"DSCP", 2, method, n, 3, 7, 0, 0)[:24]
    rest = struct.pack("<I", size) + body
    covered = struct.pack("<I", size) + (body[: 12 * n] if method == EACH else body)
    return start + struct.pack("<I", zlib.crc32(covered, zlib.crc32(start))) + rest


@given(blobs | texts, st.booleans(), st.sampled_from([None, DICTIONARY]))
def test_payloads_come_back(
    payloads: list[bytes | None], together: bool, dictionary: bytes | None
) -> None:
    packing = Packing(together, None, dictionary)
    pack, stored = encode_compressed(payloads, 7, 3, packing)
    assert back(pack, packing) == payloads
    assert pack == encode_compressed(payloads, 7, 3, packing)[0]
    table = 0 if together else 12 * len(payloads)
    assert stored == len(pack) - HEADER.size - table
    assert decode_pack(pack, "here", lambda _: dictionary).stored_bytes == stored


@given(st.data(), st.sampled_from(DTYPES), st.integers(1, 20), st.integers(1, 4))
def test_numbers_come_back_bit_for_bit(
    data: st.DataObject, dtype: str, rows: int, columns: int
) -> None:
    table = data.draw(hnp.arrays(dtype, (rows, columns)))
    absent = data.draw(st.sets(st.integers(0, rows - 1)))
    payloads = [None if k in absent else table[k].tobytes() for k in range(rows)]
    pack, _ = encode_compressed(payloads, 7, 3, Packing(dtype=dtype))
    assert back(pack) == payloads
    little = table.astype(table.dtype.newbyteorder("<"))
    for transform, body in candidates(little):
        assert restore(transform, body, rows, columns) == little.tobytes()


@given(st.lists(st.binary(max_size=5).map(lambda b: 4 * b), min_size=1, max_size=20))
def test_numbers_of_varying_count_come_back(payloads: list[bytes]) -> None:
    pack, _ = encode_compressed(payloads, 7, 3, Packing(dtype="uint32"))
    assert back(pack) == payloads


@settings(max_examples=30)
@given(st.integers(0, 9), st.sampled_from(["float32", "float64"]), st.integers(0, 2**31))
def test_decimals_become_integers(digits: int, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(64, 3)), min(digits, 4)).astype(dtype)
    values[:, 2] = [np.nan, -0.0, np.inf, -np.inf] * 16
    pack, _ = encode_compressed([row.tobytes() for row in values], 7, 3, Packing(dtype=dtype))
    assert back(pack) == [row.tobytes() for row in values]


def test_each_kind_of_data_has_its_method() -> None:
    rng = np.random.default_rng(0)
    times = (1_700_000_000_000_000_000 + np.arange(300) * 33_333_333).astype("<i8")
    poses = np.round(np.cumsum(rng.normal(size=(100, 16)), 0), 6)
    cases: list[tuple[Method, list[bytes | None], Packing]] = [
        (Method.STORED, [rng.bytes(50) for _ in range(9)], Packing()),
        (Method.ZSTD, [CAPTION + b"%d" % k for k in range(50)], Packing()),
        (Method.DICTIONARY, [CAPTION, None], Packing(dictionary=DICTIONARY)),
        (Method.NUMBERS, [one.tobytes() for one in times], Packing(dtype="int64")),
        (Method.NUMBERS, [row.tobytes() for row in poses], Packing(dtype="float64")),
        (Method.EACH, [bytes(5000), rng.bytes(3000)], Packing(together=False)),
    ]
    for method, payloads, packing in cases:
        pack, _ = encode_compressed(payloads, 7, 3, packing)
        assert method_of(pack) == method
        assert back(pack, packing) == payloads
    raw = sum(map(len, map(bytes, cases[4][1])))  # type: ignore[arg-type]
    assert len(encode_compressed(cases[4][1], 7, 3, Packing(dtype="float64"))[0]) < 0.45 * raw
    assert len(encode_compressed(cases[3][1], 7, 3, Packing(dtype="int64"))[0]) < 100


CASES = {
    "text": ([CAPTION, b"", None, CAPTION + b"s"] * 5, Packing()),
    "separated": ([CAPTION, b"", CAPTION + b"s"] * 5, Packing()),
    "dictionary": ([CAPTION, CAPTION[:9]], Packing(dictionary=DICTIONARY)),
    "stored": ([b"\x01\x9c\x44", b"\x80"], Packing()),
    "numbers": ([struct.pack("<2d", k / 10, k) for k in range(20)], Packing(dtype="float64")),
    "each": ([CAPTION * 9, None, b"\xfe"], Packing(together=False)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_flipped_bit_and_every_cut_is_found(name: str) -> None:
    payloads, packing = CASES[name]
    pack, _ = encode_compressed(payloads, 7, 3, packing)
    assert back(pack, packing) == payloads
    for at in range(8 * len(pack)):
        damaged = bytearray(pack)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises((CorruptPackError, UnsupportedVersionError)):
            decode_pack(bytes(damaged), "here", lambda _: packing.dictionary)
    for length in range(len(pack)):
        with pytest.raises(CorruptPackError):
            decode_pack(pack[:length], "here", lambda _: packing.dictionary)
    with pytest.raises(CorruptPackError):
        decode_pack(pack + b"\0", "here", lambda _: packing.dictionary)


@settings(max_examples=300)
@given(
    st.integers(0, 6), st.integers(1, 1 << 20), st.integers(0, 1 << 32),
    st.binary(max_size=60), st.booleans(),
)  # fmt: skip
def test_whatever_is_forged_is_refused_or_has_so_many_samples(
    method: int, n: int, size: int, body: bytes, compressed: bool
) -> None:
    small = n % 64 + 1 if compressed else n
    inside = zstandard.compress(body) if compressed else body
    size = len(body) if compressed else size % (1 << 32)
    pack = forged(method, small, size, inside)
    with suppress(DscError):
        assert len(decode_pack(pack, "here", lambda _: DICTIONARY).payloads) == small


def test_a_bomb_is_refused_before_it_grows() -> None:
    frame = zstandard.ZstdCompressor(3, write_content_size=False).compress(bytes(MAX_BLOCK + 1))
    with pytest.raises(CorruptPackError, match="a block has up to"):
        decode_pack(forged(Method.ZSTD, 1, MAX_BLOCK + 1, frame), "here")
    with pytest.raises(CorruptPackError):
        decode_pack(forged(Method.ZSTD, 1, 1000, frame), "here")
    declared = zstandard.compress(bytes(MAX_BLOCK + 1))  # which says its own size
    with pytest.raises(CorruptPackError, match="another size"):
        decode_pack(forged(Method.ZSTD, 1, 1000, declared), "here")
    row = struct.pack("<III", len(frame), zlib.crc32(frame), MAX_BLOCK + 1)
    with pytest.raises(CorruptPackError, match="at most"):
        decode_pack(forged(EACH, 1, 0, row + frame), "here")
    many = forged(Method.STORED, 1 << 20, 5, struct.pack("<BI", 0, 0xFFFFFFFF))
    with pytest.raises(CorruptPackError, match="payloads of"):
        decode_pack(many, "here")


def test_many_small_bombs_are_refused_together() -> None:
    frame = zstandard.ZstdCompressor(3).compress(bytes(MAX_BLOCK))
    row = struct.pack("<III", len(frame), zlib.crc32(frame), MAX_BLOCK)
    most = MAX_EACH // MAX_BLOCK
    with pytest.raises(CorruptPackError, match="of a pack are decompressed"):
        decode_pack(forged(EACH, most + 1, 0, row * (most + 1) + frame * (most + 1)), "here")


def test_a_writer_stores_what_would_grow_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsc._storage.format.pack.MAX_EACH", 10_000)
    payloads = [bytes(3000), None, *[bytes(4000)] * 3]
    pack, _ = encode_compressed(payloads, 7, 3, Packing(together=False))
    assert back(pack) == payloads
    assert 8000 < len(pack) < 8200  # two of them are stored as they are


def test_what_is_too_long_for_a_block_is_compressed_by_itself() -> None:
    payloads = [bytes(MAX_BLOCK // 2), b"short"]
    pack, _ = encode_compressed(payloads, 7, 3, Packing())
    assert method_of(pack) == EACH
    assert back(pack) == payloads
    assert len(pack) < 10_000


def test_a_pack_with_a_dictionary_says_that_it_lacks_it() -> None:
    pack, _ = encode_compressed([CAPTION], 7, 3, Packing(dictionary=DICTIONARY))
    with pytest.raises(CorruptPackError, match="compressed with a dictionary"):
        decode_pack(pack, "here")
    with pytest.raises(CorruptPackError):
        decode_pack(pack, "here", lambda _: DICTIONARY[::-1])


def test_a_dictionary_file_comes_back_and_damage_is_found() -> None:
    data = write_dictionary(DICTIONARY)
    assert read_dictionary(data, "here") == DICTIONARY
    assert write_dictionary(DICTIONARY) == data
    for length in range(0, len(data), 7):
        with pytest.raises(CorruptArchiveError):
            read_dictionary(data[:length], "here")


def test_versions_that_are_not_known_are_refused() -> None:
    start = HEADER.pack(b"DSCP", 3, 0, 1, 3, 7, 0, 0)[:24]
    table = struct.pack("<II", 0xFFFFFFFF, 0)
    pack = start + struct.pack("<II", zlib.crc32(table, zlib.crc32(start)), 0) + table
    with pytest.raises(UnsupportedVersionError, match="pack version 3"):
        decode_pack(pack, "here")
    with pytest.raises(UnsupportedVersionError):
        decode_pack(forged(9, 1, 0, b""), "here")


@pytest.mark.parametrize("declared", [0, 2, 4, 1 << 20])
def test_a_frame_of_another_size_than_declared_is_none(declared: int) -> None:
    frame = compress(b"abc")
    assert decompress(frame, 3) == b"abc"
    with pytest.raises(ValueError, match="zstd frame"):
        decompress(frame, declared)
