"""Streams that were damaged in many ways are refused or decode to something of the right size.

DSC_FUZZ is how many of each kind are tried: by default 300, and 20 where there are no compiled
kernels, whose twins take 50 times as long; 10,000 before a release. What is compiled is also tried
with sanitizers, which see every read beyond an array::

    DSC_SANITIZE=1 python setup.py build_ext --inplace --force
    export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
    export ASAN_OPTIONS=detect_leaks=0 DSC_FUZZ=10000
    python -m pytest tests/codecs/test_damaged_streams.py
"""

import os
from collections.abc import Callable

import numpy as np
import pytest

from dsc import _kernels
from dsc._codecs.classical.exact import ExactMethod, _write_values, to_words
from dsc._codecs.maps.base import HEADER
from dsc._codecs.registry import make_codec
from dsc._codecs.residual.coder import decode_planes, encode_planes
from dsc._codecs.residual.map import decode_residual, encode_residual, steps_of
from dsc._coding.context.coder import encode_labels
from dsc._coding.context.mask import (
    BROTLI,
    CONTEXT_SET,
    CONTEXT_UNSET,
    JPEG_XL,
    ROWS,
    decode_mask,
    encode_mask,
)
from dsc._coding.context.weights import shipped_model
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder, build_tables
from dsc._schemas import Quality, Task
from dsc.errors import BitstreamError
from tests.coding.test_context_kernel import some_map
from tests.coding.test_mask import all_but_lines, jpeg_xl, ragged_mask

COUNT = int(os.environ.get("DSC_FUZZ", "300" if _kernels.in_use() else "20"))
TABLES = build_tables(list(np.random.default_rng(0).dirichlet(np.ones(30), 9)[:, :-1]), [-9] * 9)
INDEXES = np.random.default_rng(1).integers(0, 9, 700).astype(np.uint8)
Decoder = Callable[[bytes], np.ndarray]


def symbols() -> tuple[bytes, Decoder]:
    encoder = SymbolEncoder()
    encoder.put((np.arange(700) % 25 - 9).astype(np.int32), INDEXES, TABLES)
    encoder.put_uniform((np.arange(50) % 65).astype(np.int32), 65)

    def decode(data: bytes) -> np.ndarray:
        decoder = SymbolDecoder(data)
        found = np.append(decoder.get(INDEXES, TABLES), decoder.get_uniform(50, 65))
        decoder.check_end()
        return found

    return encoder.finish(), decode


def labels(dtype: str, kind: str, count: int) -> tuple[bytes, Decoder]:
    codec = make_codec("label-context", [Task(name="label", kind="label", dtype=dtype)])
    array = (some_map(3, 53, 71, count, kind).astype(np.int64) * 211 % 60_001).astype(dtype)
    (coded,) = codec.encode_batch([{"label": array}], Quality(default=100))
    assert coded["label"][0] in (0, 4), "another method was chosen"  # CONTEXT, SCAN

    def decode(data: bytes) -> np.ndarray:
        return codec.decode_batch([{"label": data}], ["label"], 53 * 71)[0]["label"]

    return coded["label"], decode


def mask() -> tuple[bytes, Decoder]:
    holes = ragged_mask()
    encoder = SymbolEncoder()
    encode_labels(encoder, shipped_model(), (holes ^ holes[0, 0]).astype(np.uint16))
    method = CONTEXT_SET if holes[0, 0] else CONTEXT_UNSET
    return bytes([method]) + encoder.finish(), lambda data: decode_mask(data, *holes.shape)


def mask_by(method: int) -> tuple[bytes, Decoder]:
    holes = {BROTLI: all_but_lines(), JPEG_XL: ragged_mask(), ROWS: ragged_mask()}[method]
    data = jpeg_xl(holes) if method == JPEG_XL else encode_mask(holes)
    assert data[0] == method, "another method was chosen"
    return data, lambda data: decode_mask(data, *holes.shape)


def planes(spread: int) -> tuple[bytes, Decoder]:
    rng = np.random.default_rng(5)
    found = rng.integers(-spread, spread + 1, (2, 53, 71)).cumsum(axis=2).astype(np.int32)
    found[rng.random(found.shape) < 0.001] += 1000
    valid = ragged_mask(53, 71)
    return encode_planes(found, valid), lambda data: decode_planes(data, 2, valid)


def residual(margin: int) -> tuple[bytes, Decoder]:
    """All that a residual may hold: a mask, exceptions where there is a margin, residuals."""
    task = Task(name="depth", kind="depth", dtype="uint16", unit_m=0.001, invalid=(0, 65535))
    rng = np.random.default_rng(6)
    original = rng.integers(900, 1100, (53, 71)).cumsum(axis=1).clip(1, 65534).astype(np.uint16)
    original[:4] = np.arange(1, 72)  # where a count is more than the bound
    decoded = np.clip(original * rng.normal(1, 0.03, original.shape), 1, 65534).astype(np.uint16)
    original[ragged_mask(53, 71)] = 0
    data = encode_residual(task, steps_of(task, True, 10_000, margin), original, decoded)

    def decode(data: bytes) -> np.ndarray:
        try:
            return decode_residual(task, data, decoded)
        except Exception as error:  # as `ResidualCodec` does
            raise BitstreamError(str(error)) from error

    return data, decode


def rows() -> tuple[bytes, Decoder]:
    """Values row by row: a list, a mask of holes, words."""
    task = Task(name="depth", kind="depth", dtype="uint16", unit_m=0.001, invalid=(0, 65535))
    codec = make_codec("exact", [task])
    disparity = 60 + np.random.default_rng(8).integers(-1, 2, (53, 71)).cumsum(axis=1) % 90
    depth = (60_000 // disparity).astype(np.uint16)
    depth[ragged_mask(53, 71)] = 0
    words = to_words(depth)
    body = _write_values(words, words.dtype.type(0))
    data = HEADER.pack(ExactMethod.VALUES, *depth.shape) + body

    def decode(data: bytes) -> np.ndarray:
        return codec.decode_batch([{"depth": data}], ["depth"], depth.size)[0]["depth"]

    assert np.array_equal(decode(data), depth)
    return data, decode


CODERS: dict[str, Callable[[], tuple[bytes, Decoder]]] = {
    "symbols": symbols,
    "regions": lambda: labels("uint8", "regions", 12),
    "instances": lambda: labels("uint16", "regions", 200),
    "ragged": lambda: labels("int32", "ragged", 7),
    "mask": mask,
    "mask, brotli": lambda: mask_by(BROTLI),
    "mask, JPEG XL": lambda: mask_by(JPEG_XL),
    "mask, rows": lambda: mask_by(ROWS),
    "planes": lambda: planes(2),
    "rough planes": lambda: planes(200),
    "rows": rows,
    "residual": lambda: residual(0),
    "residual, margin": lambda: residual(1),
}


def damaged(rng: np.random.Generator, data: bytes) -> bytes:
    """Change bits or bytes, cut, lengthen, join parts, or make all of it up."""
    changed = bytearray(data)
    kind = int(rng.integers(7))
    at = int(rng.integers(len(data)))
    if kind <= 1:
        for _ in range(int(rng.integers(1, 4))):
            changed[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        changed[at : at + 8] = rng.bytes(len(changed[at : at + 8]))
    elif kind == 3:
        del changed[at:]
    elif kind == 4:
        del changed[at : at + 4 * int(rng.integers(1, 9))]
    elif kind == 5:
        changed[at:at] = rng.bytes(4 * int(rng.integers(1, 9)))
    else:  # the head, which says what follows, is left
        changed[5:] = rng.bytes(4 * int(rng.integers(0, 200)))
    return bytes(changed)


@pytest.mark.parametrize("name", CODERS)
def test_damage_is_refused_or_gives_what_was_asked_for(name: str) -> None:
    data, decode = CODERS[name]()
    intact = decode(data)
    rng = np.random.default_rng(17)
    refused = 0
    for _ in range(COUNT):
        try:
            found = decode(damaged(rng, data))
        except BitstreamError:
            refused += 1
        else:
            assert found.dtype == intact.dtype
            assert found.ndim == intact.ndim  # a header may say another size
    assert refused > COUNT / 2
