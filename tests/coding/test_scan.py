"""Label maps row by row: the kernel and its twin write the same bytes, and damage is seen."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc import _kernels
from dsc._coding.context.escapes import MAX_LABELS
from dsc._coding.context.scan import decode_scan, encode_scan
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder
from dsc.errors import BitstreamError
from tests.codecs.test_label_codec import blobs, ragged
from tests.kernels import use_kernels

needs_kernels = pytest.mark.skipif(not _kernels.built, reason="the kernels were not built")


def encode(which: str, labels: np.ndarray) -> tuple[bytes, list[int]]:
    with pytest.MonkeyPatch.context() as patch:
        use_kernels(which, patch)
        encoder = SymbolEncoder()
        order = encode_scan(encoder, labels)
        return encoder.finish(), order.tolist()


def decode(which: str, data: bytes, size: tuple[int, int]) -> np.ndarray | str:
    with pytest.MonkeyPatch.context() as patch:
        use_kernels(which, patch)
        try:
            decoder = SymbolDecoder(data)
            labels = decode_scan(decoder, *size)
        except BitstreamError as error:
            return str(error)
        return np.append(labels.ravel(), decoder.state.any())


def some_maps() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "regions": blobs(60, 90, 9),
        "superpixels": ragged(70, 80, 30),
        "one pixel": np.full((1, 1), 5),
        "constant": np.full((40, 50), 7),
        "one unlike": (np.indices((20, 70)).sum(axis=0) == 88) * 3,
        "all new": np.arange(40 * 50).reshape(40, 50),
        "noise": rng.integers(0, 4, (30, 40)),
        "a row": rng.integers(0, 3, (1, 99)),
        "a column": rng.integers(0, 3, (99, 1)),
        "runs": np.repeat(rng.integers(0, 5, (30, 3)), 32, axis=1),
    }


@needs_kernels
@pytest.mark.parametrize("case", some_maps())
def test_kernel_and_twin_write_the_same_and_read_it_back(case):
    labels = some_maps()[case].astype(np.uint16)
    data, order = encode("compiled", labels)
    assert encode("python", labels) == (data, order)
    for which in ("compiled", "python"):
        found = decode(which, data, labels.shape)
        assert not found[-1]
        assert np.array_equal(np.array(order)[found[:-1]].reshape(labels.shape), labels)


@needs_kernels
@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60), st.integers(1, 12), st.integers(1, 40))
def test_kernel_and_twin_read_the_same_from_any_bytes(data, height, width):
    found = [decode(which, data, (height, width)) for which in ("compiled", "python")]
    assert np.array_equal(*found) if isinstance(found[0], np.ndarray) else found[0] == found[1]


def test_as_many_labels_as_can_be_numbered_come_back():
    labels = np.arange(MAX_LABELS, dtype=np.uint16).reshape(-1, 217)[::-1]
    data, order = encode("compiled" if _kernels.built else "python", labels[:30])
    assert order == labels[:30].ravel().tolist()
    if _kernels.built:
        data, order = encode("compiled", labels)
        assert len(order) == MAX_LABELS
        found = decode("compiled", data, labels.shape)
        assert np.array_equal(np.array(order)[found[:-1]].reshape(labels.shape), labels)


def test_flipped_bits_give_a_map_or_an_error():
    data, _ = encode(
        "compiled" if _kernels.built else "python", ragged(40, 50, 9).astype(np.uint16)
    )
    for at in range(0, len(data), 7):
        broken = bytearray(data)
        broken[at] ^= 0x10
        with contextlib.suppress(BitstreamError):
            assert decode_scan(SymbolDecoder(bytes(broken)), 40, 50).shape == (40, 50)
