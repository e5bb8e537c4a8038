"""Masks come back bit for bit, cost nothing when empty, and are refused when damaged."""

import contextlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from dsc import _kernels
from dsc._coding.context.mask import (
    ALL_SET,
    BROTLI,
    CONTEXT_SET,
    CONTEXT_UNSET,
    JPEG_XL,
    ROWS,
    decode_mask,
    encode_mask,
)
from dsc._coding.context.raster import decode_rows, encode_rows
from dsc._schemas import Effort
from dsc.errors import BitstreamError
from tests.kernels import use_kernels
from tests.places import DATA


def ragged_mask(height: int = 97, width: int = 131) -> np.ndarray:
    """A mask with the ragged holes of a depth camera."""
    rng = np.random.default_rng(1)
    field = rng.normal(size=(height, width)).cumsum(0).cumsum(1)
    return field > np.quantile(field, 0.8)


def two_rectangles() -> np.ndarray:
    mask = np.zeros((480, 640), bool)
    mask[:20] = mask[100:200, 300:500] = True
    return mask


def ten_discs() -> np.ndarray:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:200, :300]
    mask = np.zeros((200, 300), bool)
    for _ in range(10):
        radius = rng.uniform(8, 30)
        mask |= (y - rng.uniform(20, 200)) ** 2 + (x - rng.uniform(20, 300)) ** 2 < radius**2
    return mask


def many_small_holes() -> np.ndarray:
    rng = np.random.default_rng(2)
    field = rng.normal(size=(480, 640))
    for axis in (0, 1, 0, 1):
        field = sum(np.roll(field, k, axis) for k in range(-4, 5))
    return field < np.quantile(field, 0.1)


def all_but_lines() -> np.ndarray:
    lines = np.arange(480)[:, None] % 8 > 0
    return lines | (np.random.default_rng(0).random((480, 640)) < 0.4)


def jpeg_xl(mask: np.ndarray) -> bytes:
    """What earlier versions wrote."""
    coded = imagecodecs.jpegxl_encode(mask.astype(np.uint8), lossless=True, effort=4)
    return bytes([JPEG_XL]) + bytes(coded)


def noise(share: float) -> np.ndarray:
    return np.random.default_rng(0).random((480, 640)) < share


@settings(max_examples=60, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_any_mask_comes_back(mask):
    decoded = decode_mask(encode_mask(mask), *mask.shape)
    assert decoded.dtype == bool
    assert np.array_equal(decoded, mask)


@pytest.mark.parametrize("shape", [(1, 1), (1, 999), (513, 1), (480, 640)])
@pytest.mark.parametrize("share", [0.003, 0.5, 0.999])
def test_noise_of_any_shape_comes_back(shape, share):
    mask = np.random.default_rng(0).random(shape) < share
    assert np.array_equal(decode_mask(encode_mask(mask), *shape), mask)


def test_all_valid_costs_nothing():
    assert encode_mask(np.zeros((480, 640), bool)) == b""
    assert not decode_mask(b"", 480, 640).any()


def test_all_invalid_and_rectangles_are_cheap():
    assert encode_mask(np.ones((480, 640), bool)) == bytes([ALL_SET])
    assert len(encode_mask(two_rectangles())) < 64


def test_each_method_is_used_where_it_is_smaller():
    assert encode_mask(all_but_lines())[0] == BROTLI
    assert encode_mask(ragged_mask())[0] == ROWS
    assert encode_mask(noise(0.01))[0] == ROWS
    assert encode_mask(ten_discs())[0] == CONTEXT_UNSET
    assert encode_mask(~ten_discs())[0] == CONTEXT_SET


def test_the_label_network_is_left_out_where_there_are_many_holes(monkeypatch):
    tried = []
    monkeypatch.setattr(
        "dsc._coding.context.mask._encode_context", lambda mask: tried.append(mask) or b"." * 10**6
    )
    for effort in (Effort.FAST, Effort.DEFAULT):
        encode_mask(many_small_holes(), effort)
    encode_mask(ten_discs(), Effort.FAST)
    assert not tried
    encode_mask(ten_discs())
    encode_mask(many_small_holes(), Effort.BEST)
    assert len(tried) == 2


def test_what_is_too_large_for_rows_is_packed_bits(monkeypatch):
    monkeypatch.setattr("dsc._coding.context.mask.MOST_BY_ROWS", 97 * 131 - 1)
    data = encode_mask(ragged_mask(), Effort.FAST)
    assert data[0] == BROTLI
    assert np.array_equal(decode_mask(data, 97, 131), ragged_mask())


@pytest.mark.parametrize("kernels", ["compiled", "twin"])
def test_many_rows_cost_what_the_holes_tell(kernels, monkeypatch):
    """Noise costs its entropy and what 1,024 patterns take to learn; what is even, all but that."""
    use_kernels(kernels, monkeypatch)
    entropy = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9)) * 480 * 640 / 8
    assert len(encode_rows(noise(0.1))) < 1.02 * entropy
    assert len(encode_rows(np.ones((480, 640), bool))) < 12


@settings(max_examples=60, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_rows_are_the_same_words_in_c_and_in_python(mask):
    if not _kernels.built:
        pytest.skip("there are no compiled kernels here")
    words = encode_rows(mask)
    with pytest.MonkeyPatch.context() as patch:
        use_kernels("twin", patch)
        assert encode_rows(mask) == words
        assert np.array_equal(decode_rows(words, *mask.shape), mask)
    assert np.array_equal(decode_rows(words, *mask.shape), mask)


def test_a_pattern_that_is_seen_often_goes_on_learning_alike_in_c_and_in_python(monkeypatch):
    mask = np.concatenate([np.zeros((40, 70), bool), noise(0.2)[:40, :70], np.ones((40, 70), bool)])
    use_kernels("twin", monkeypatch)
    words = encode_rows(mask)
    assert np.array_equal(decode_rows(words, *mask.shape), mask)
    use_kernels("compiled", monkeypatch)
    assert encode_rows(mask) == words
    assert np.array_equal(decode_rows(words, *mask.shape), mask)


def test_round_holes_take_less_than_half_of_jpeg_xl():
    mask = ten_discs()
    coded = imagecodecs.jpegxl_encode(mask.astype(np.uint8), lossless=True, effort=7)
    assert np.array_equal(decode_mask(encode_mask(mask), *mask.shape), mask)
    assert 2 * len(encode_mask(mask)) < len(coded)


def test_a_view_that_is_not_contiguous_is_coded_as_it_looks():
    mask = ragged_mask()[::2, ::-1]
    assert np.array_equal(decode_mask(encode_mask(mask), *mask.shape), mask)


@pytest.mark.parametrize(
    ("mask", "data"),
    [
        (ragged_mask(), encode_mask(ragged_mask())),
        (all_but_lines(), encode_mask(all_but_lines())[:999]),
        (ragged_mask(), jpeg_xl(ragged_mask())),
        (ten_discs(), encode_mask(ten_discs())),
    ],
    ids=["rows", "brotli", "jpeg-xl", "context"],
)
def test_every_cut_is_reported(mask, data):
    for end in range(1, len(data)):
        with pytest.raises(BitstreamError):
            decode_mask(data[:end], *mask.shape)


@pytest.mark.parametrize(
    "mask", [all_but_lines(), ragged_mask(), ten_discs()], ids=["brotli", "rows", "context"]
)
@pytest.mark.parametrize("grow", [(1, 0), (0, 1), (-1, 0), (400, 400)])
def test_another_size_is_reported(mask, grow):
    with pytest.raises(BitstreamError, match="does not decode to"):
        decode_mask(encode_mask(mask), mask.shape[0] + grow[0], mask.shape[1] + grow[1])


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=60))
def test_random_bytes_give_a_mask_or_a_bitstream_error(data):
    with contextlib.suppress(BitstreamError):
        assert decode_mask(data, 9, 13).shape == (9, 13)


def test_unknown_method_is_named():
    with pytest.raises(BitstreamError, match="unknown method 77"):
        decode_mask(bytes([77, 1, 2, 3]), 4, 4)


def test_bits_after_the_last_pixel_are_reported():
    packed = imagecodecs.brotli_encode(b"\xff", level=9)
    with pytest.raises(BitstreamError, match="after the last pixel"):
        decode_mask(bytes([BROTLI]) + packed, 1, 5)


def test_other_values_than_0_and_1_are_reported():
    image = np.full((8, 8), 7, np.uint8)
    coded = imagecodecs.jpegxl_encode(image, lossless=True)
    with pytest.raises(BitstreamError, match="value 7"):
        decode_mask(bytes([JPEG_XL]) + coded, 8, 8)


@pytest.mark.data
def test_kinect_holes_take_less_than_half_of_png():
    frames = sorted(DATA.glob("sevenscenes/*.depth.png"))[::30]
    if not frames:
        pytest.skip(f"no 7-Scenes frames under {DATA}; set DSC_TEST_DATA")
    for frame in frames:
        depth = imagecodecs.imread(str(frame))
        mask = (depth == 0) | (depth == 65535)
        data = encode_mask(mask)
        assert np.array_equal(decode_mask(data, *mask.shape), mask)
        assert 2 * len(data) < len(imagecodecs.png_encode(mask.astype(np.uint8) * 255, level=9))
