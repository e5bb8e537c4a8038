"""Packs: what goes in comes out; any damaged bit is an error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._storage.format.pack import MISSING, decode_pack, encode_pack
from dsc._storage.read.unpack import unpack
from dsc.errors import CorruptPackError, DscError

PAYLOADS = st.lists(st.one_of(st.none(), st.binary(max_size=50)), min_size=1, max_size=20)


@settings(deadline=None)
@given(PAYLOADS, st.integers(0, 2**63), st.integers(0, 2**32 - 1))
def test_round_trip(payloads: list[bytes | None], first: int, slot: int) -> None:
    pack = decode_pack(encode_pack(payloads, first, slot), "here")
    assert [None if p is None else bytes(p) for p in pack.payloads] == payloads
    assert (pack.first_index, pack.codec_slot) == (first, slot)


def test_every_flipped_bit_is_found() -> None:
    data = bytearray(encode_pack([b"abc", None, b"", b"defgh"], 7, 2))
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DscError):
            decode_pack(bytes(data), "here")
        data[bit // 8] ^= 1 << bit % 8


def test_every_cut_is_found() -> None:
    data = encode_pack([b"abc", None, b"defgh"], 7, 2)
    for end in range(len(data)):
        with pytest.raises(CorruptPackError):
            decode_pack(data[:end], "here")
    with pytest.raises(CorruptPackError):
        decode_pack(data + b"x", "here")


def test_giant_counts_are_refused_before_anything_is_allocated() -> None:
    data = bytearray(encode_pack([b"abc"], 0, 0))
    data[8:12] = (2**32 - 1).to_bytes(4, "little")
    with pytest.raises(CorruptPackError, match="declares 4294967295 samples"):
        decode_pack(bytes(data), "here")


def test_golden_bytes() -> None:
    """The format as written in docs/format.md, to the byte."""
    assert encode_pack([b"\x01\x02", None], 5, 3).hex() == (
        "44534350" "0100" "0000" "02000000" "03000000" "0500000000000000" "0656e0b8" "00000000"
        "02000000" "9242ccb6" "ffffffff" "00000000" "0102"
    )  # fmt: skip
    assert MISSING == 0xFFFFFFFF


def test_unpack_gives_one_sample_at_a_time() -> None:
    data = encode_pack([b"a", None], 41, 0)
    found = list(unpack([{"__key__": "k", "__url__": "u", "rgb.pack": data}]))
    assert [(s["__key__"], s["__index__"], s["rgb"]) for s in found] == [
        ("000000041", 41, b"a"), ("000000042", 42, None),
    ]  # fmt: skip


def test_random_bytes_raise_only_our_errors() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = b"DSCP" + rng.bytes(int(rng.integers(0, 200)))
        with pytest.raises(DscError):
            decode_pack(data, "here")
