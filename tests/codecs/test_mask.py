"""Masks come back bit for bit, cost nothing when empty, and are refused when damaged."""

import contextlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from dsc._codecs.context.coder import Phase
from dsc._codecs.context.mask import (
    ALL_SET,
    BROTLI,
    CONTEXT_SET,
    CONTEXT_UNSET,
    JPEG_XL,
    WEBP,
    count_busy,
    decode_mask,
    encode_mask,
)
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
    assert encode_mask(two_rectangles())[0] == BROTLI
    assert encode_mask(noise(0.01))[0] == JPEG_XL
    assert encode_mask(noise(0.1))[0] == WEBP
    assert encode_mask(ten_discs())[0] == CONTEXT_UNSET
    assert encode_mask(~ten_discs())[0] == CONTEXT_SET


def test_the_context_coder_is_left_out_where_it_would_take_longer_than_a_picture():
    mask = many_small_holes()
    quick, small = encode_mask(mask), encode_mask(mask, Effort.BEST)
    assert quick[0] == WEBP
    assert small[0] in (CONTEXT_UNSET, CONTEXT_SET)
    assert len(small) < len(quick)
    for data in (quick, small):
        assert np.array_equal(decode_mask(data, *mask.shape), mask)


def test_what_is_written_fast_is_read_fast():
    for mask in (ten_discs(), many_small_holes(), noise(0.01)):
        data = encode_mask(mask, Effort.FAST)
        assert data[0] in (BROTLI, WEBP)
        assert np.array_equal(decode_mask(data, *mask.shape), mask)


def test_other_values_than_0_and_1_of_green_are_reported():
    for value in ((0, 7, 0), (1, 0, 0), (0, 1, 1)):
        image = np.full((8, 8, 3), value, np.uint8)
        file = bytes(imagecodecs.webp_encode(image, lossless=True))
        body = file[25 : 20 + int.from_bytes(file[16:20], "little")]
        with pytest.raises(BitstreamError, match="in a mask"):
            decode_mask(bytes([WEBP]) + body, 8, 8)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_noise_is_never_left_to_the_context_coder(share):
    assert encode_mask(noise(share), Effort.BEST)[0] in (BROTLI, JPEG_XL, WEBP)


def test_a_boundary_is_counted_at_every_level():
    half = np.zeros((64, 96), bool)
    half[:, 48:] = True
    # of each level's rows, half have pixels between four known ones, all have others
    assert count_busy(half) == pytest.approx(64 * 2 * 2, rel=0.3)
    assert count_busy(np.zeros((64, 96), bool)) == 0
    assert count_busy(noise(0.5)) == pytest.approx(480 * 640, rel=0.05)


def test_busy_pixels_are_about_those_that_a_network_predicts(monkeypatch):
    use_kernels("twin", monkeypatch)
    predicted = []
    code_busy = Phase._code_busy

    def count(self, at, *rest):
        predicted.append(len(at))
        code_busy(self, at, *rest)

    monkeypatch.setattr(Phase, "_code_busy", count)
    for mask in (ten_discs(), ragged_mask(), many_small_holes()[:100, :150]):
        predicted.clear()
        encode_mask(mask, Effort.BEST)
        assert count_busy(mask) == pytest.approx(sum(predicted), rel=0.12)


def test_round_holes_take_less_than_half_of_jpeg_xl():
    mask = ten_discs()
    coded = imagecodecs.jpegxl_encode(mask.astype(np.uint8), lossless=True, effort=7)
    assert np.array_equal(decode_mask(encode_mask(mask), *mask.shape), mask)
    assert 2 * len(encode_mask(mask)) < len(coded)


def test_a_view_that_is_not_contiguous_is_coded_as_it_looks():
    mask = ragged_mask()[::2, ::-1]
    assert np.array_equal(decode_mask(encode_mask(mask), *mask.shape), mask)


@pytest.mark.parametrize(
    ("mask", "effort"),
    [
        (two_rectangles(), Effort.DEFAULT),
        (ragged_mask(), Effort.BEST),
        (ten_discs(), Effort.DEFAULT),
        (ten_discs(), Effort.FAST),
    ],
    ids=["brotli", "jpeg-xl", "context", "webp"],
)
def test_every_cut_is_reported(mask, effort):
    data = encode_mask(mask, effort)
    for end in range(1, len(data)):
        with pytest.raises(BitstreamError):
            decode_mask(data[:end], *mask.shape)


@pytest.mark.parametrize(
    "mask", [two_rectangles(), ragged_mask(), ten_discs()], ids=["brotli", "jpeg-xl", "context"]
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
