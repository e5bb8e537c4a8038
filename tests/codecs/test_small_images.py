"""Codecs for small images: nothing that is known is stored, and the same pixels come back."""

import imagecodecs
import numpy as np
import pytest

from dsc._codecs.base import Array
from dsc._codecs.classical import av1_small, av1_still, jpeg_bare, webp_bare
from dsc._codecs.classical.jpeg_bare import FULL_CHROMA, JpegBareCodec
from dsc._codecs.registry import make_codec
from dsc._schemas import Quality, Task
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import make_sample
from tests.codecs.test_classical import LABEL, NORMAL, RGB, SHADING

SMALL = ["jpeg-bare", "webp-bare", "av1-small"]
SIDES = [(1, 1), (28, 28), (32, 32), (33, 34), (64, 64), (100, 64), (127, 130)]


def photograph(size: tuple[int, int], seed: int = 0) -> Array:
    """Return (H, W, 3) uint8 with edges, slopes and some noise, as `make_sample` has them."""
    return make_sample([RGB], size, seed, holes=False)[RGB.name]


def encode(codec_id: str, task: Task, array: Array, quality: int) -> bytes:
    codec = make_codec(codec_id, [task])
    return codec.encode_batch([{task.name: array}], Quality(default=quality))[0][task.name]


def decode(codec_id: str, task: Task, data: bytes, max_pixels: int = 1 << 16) -> Array:
    codec = make_codec(codec_id, [task])
    return codec.decode_batch([{task.name: data}], [task.name], max_pixels)[0][task.name]


def psnr_db(a: Array, b: Array) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


# ---- the header


@pytest.mark.parametrize("codec_id", SMALL)
def test_a_square_of_whole_fours_has_a_header_of_one_byte(codec_id) -> None:
    for side in (4, 32, 124):
        data = encode(codec_id, RGB, photograph((side, side)), 60)
        assert data[0] == side // 4 << 3 | 1
        assert decode(codec_id, RGB, data).shape == (side, side, 3)


@pytest.mark.parametrize("codec_id", SMALL)
@pytest.mark.parametrize("size", [(30, 30), (32, 64), (128, 128), (200, 5)])
def test_another_size_stands_in_the_header(codec_id, size) -> None:
    data = encode(codec_id, RGB, photograph(size), 60)
    sides = b"".join(bytes([s]) if s < 128 else bytes([s & 127 | 128, s >> 7]) for s in size)
    assert data[: 1 + len(sides)] == b"\1" + sides
    assert decode(codec_id, RGB, data).shape == (*size, 3)


@pytest.mark.parametrize("codec_id", SMALL)
def test_a_size_written_in_an_unusual_way_is_refused(codec_id) -> None:
    data = encode(codec_id, RGB, photograph((32, 32)), 60)
    for sides in (
        b"\x20\x20",
        b"\xa0\x00\x20",
        b"\xff\xff\xff\x20",
        b"\xff\xff\x04\x01",
        b"\0\x20",
    ):
        with pytest.raises(BitstreamError, match="rgb"):
            decode(codec_id, RGB, b"\1" + sides + data[1:], 1 << 40)


@pytest.mark.parametrize("codec_id", SMALL)
def test_a_declared_size_is_checked_before_the_picture_is_looked_at(codec_id) -> None:
    with pytest.raises(BitstreamError, match="60000×60000 pixels, at most 4096"):
        decode(codec_id, RGB, b"\1" + b"\xe0\xd4\x03" * 2 + b"\x3c" * 40, 4096)


# ---- JPEG


@pytest.mark.parametrize("size", SIDES)
@pytest.mark.parametrize("subsampling", ["420", "444", None])
def test_a_jpeg_file_comes_back_byte_for_byte(size, subsampling) -> None:
    image = photograph(size)
    image = image if subsampling else image[..., 1].copy()
    for quality in (*range(1, 100, 7), 24, 25, 49, 50, 100):
        jpeg = imagecodecs.jpeg8_encode(
            image, level=quality, subsampling=subsampling, optimize=False
        )
        kept = jpeg_bare.bare(jpeg, quality, image.shape, subsampling == "444")
        assert len(jpeg) - len(kept) >= (620 if subsampling else 320)
        assert jpeg_bare.contain(kept, image.shape) == jpeg


def test_a_jpeg_file_with_tables_of_its_own_is_refused() -> None:
    image = photograph((32, 32))
    jpeg = imagecodecs.jpeg8_encode(image, level=60, subsampling="420", optimize=True)
    with pytest.raises(ValueError, match="another header"):
        jpeg_bare.bare(jpeg, 60, image.shape, False)


def test_chroma_is_subsampled_where_that_costs_little_and_only_there() -> None:
    gray = np.repeat(photograph((32, 32))[..., :1], 3, axis=2)
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 130, 0)  # the luma of the red ones
    for image, full in ((gray, 0), (stripes, FULL_CHROMA)):
        assert encode("jpeg-bare", RGB, image, 60)[1] & FULL_CHROMA == full
    assert psnr_db(stripes, decode("jpeg-bare", RGB, encode("jpeg-bare", RGB, stripes, 60))) > 30


@pytest.mark.parametrize("first", [0, 101, 0x80, 0xFF])
def test_a_first_byte_that_is_no_quality_is_a_bitstream_error(first) -> None:
    data = encode("jpeg-bare", RGB, photograph((32, 32)), 60)
    with pytest.raises(BitstreamError, match="first byte"):
        decode("jpeg-bare", RGB, data[:1] + bytes([first]) + data[2:])


def test_a_scan_cannot_smuggle_in_markers() -> None:
    codec = JpegBareCodec([RGB])
    frame = b"\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x11\0\x02\x11\x01\x03\x11\x01"
    data = encode("jpeg-bare", RGB, photograph((32, 32)), 60)[:8] + frame + b"\xff\xd9" + bytes(9)
    (found,) = codec.decode_batch([{"rgb": data}], ["rgb"], 1024)
    assert found["rgb"].shape == (32, 32, 3)


# ---- WebP


@pytest.mark.parametrize("size", SIDES)
@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_file_comes_back_byte_for_byte(size, lossless) -> None:
    image = photograph(size)
    for quality in (1, 40, 75, 100):
        webp = imagecodecs.webp_encode(
            image, level=quality, lossless=lossless, method=6 - 2 * lossless, numthreads=1
        )
        kept = webp_bare.bare(webp)
        assert len(webp) - len(kept) >= 24
        assert webp_bare.contain(kept, *size) == webp


def test_a_webp_file_with_more_than_a_picture_is_refused() -> None:
    alpha = np.dstack([photograph((32, 32)), np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)])
    for webp in (
        imagecodecs.webp_encode(alpha, level=60, lossless=False),
        imagecodecs.webp_encode(alpha, level=60, lossless=True),
        imagecodecs.webp_encode(photograph((32, 32)), level=60) + b"XMP \4\0\0\0meta",
    ):
        with pytest.raises(ValueError, match="one opaque picture"):
            webp_bare.bare(bytes(webp))


@pytest.mark.parametrize("task", [RGB, SHADING, NORMAL, LABEL], ids=lambda task: task.name)
def test_webp_bare_gives_the_pixels_of_webp_in_fewer_bytes(task) -> None:
    array = make_sample([task], (32, 32), holes=False)[task.name]
    bare, whole = (encode(codec_id, task, array, 60) for codec_id in ("webp-bare", "webp"))
    assert np.array_equal(decode("webp-bare", task, bare), decode("webp", task, whole))
    assert len(whole) - len(bare) >= 28


# ---- AV1


@pytest.mark.parametrize("size", SIDES)
@pytest.mark.parametrize("task", [RGB, NORMAL, SHADING], ids=lambda task: task.name)
def test_headers_that_are_known_are_left_out_and_come_back(size, task) -> None:
    image = photograph(size) if task.channels == 3 else photograph(size)[..., 1]
    for quality in (1, 20, 60, 90, 100):
        codec = av1_small.Av1SmallCodec([task])
        data = codec.write_image(np.ascontiguousarray(image), task, quality)
        restored = av1_small.restore(data, *size)
        assert data[0] != 0, "headers were stored whole"
        assert len(restored) - len(data) >= 12
        pixels = imagecodecs.avif_decode(av1_still.contain(restored))
        assert pixels.shape == (*size, 3)


def test_headers_that_are_not_as_expected_are_kept_and_decode_to_the_same_pixels() -> None:
    image = photograph((64, 64))
    planes = av1_small._planes(image, colour=True)
    for speed in (4, 6):
        coded = imagecodecs.avif_encode(
            planes, level=50, speed=speed, numthreads=1, pixelformat="444", matrix=0
        )
        picture = av1_still.bare(coded)
        data = av1_small.shorten(picture, 64, 64, colour=True)
        assert (data[0] == 0) == (speed == 4)
        body = bytes([64 // 4 << 3 | 1]) + data
        assert psnr_db(image, decode("av1-small", RGB, body)) > 32
        plain = av1_small.restore(av1_small.shorten(picture, 64, 64, colour=False), 64, 64)
        assert np.array_equal(imagecodecs.avif_decode(av1_still.contain(plain)),
                              imagecodecs.avif_decode(coded))  # fmt: skip


@pytest.mark.parametrize(("task", "apart"), [(RGB, 0), (NORMAL, 0x80), (SHADING, 0x80)])
def test_only_colours_become_ycbcr(task, apart) -> None:
    array = make_sample([task], (32, 32), holes=False)[task.name]
    assert encode("av1-small", task, array, 60)[1] & 0x80 == apart


def test_av1_small_is_smaller_than_av1_at_equal_psnr() -> None:
    image = photograph((32, 32), seed=4)
    wanted = encode("av1", RGB, image, 60)
    least = psnr_db(image, decode("av1", RGB, wanted))
    found = (encode("av1-small", RGB, image, quality) for quality in range(40, 90))
    enough = (data for data in found if psnr_db(image, decode("av1-small", RGB, data)) >= least)
    assert len(next(enough)) < 0.98 * len(wanted)


def test_gray_has_no_colour_in_it() -> None:
    image = np.ascontiguousarray(photograph((32, 32))[..., 0])
    data = encode("av1-small", SHADING, image, 70)
    assert psnr_db(image, decode("av1-small", SHADING, data)) > 35


@pytest.mark.parametrize("first", [63, 0x40, 0xBF, 0xC0])
def test_a_first_byte_that_is_no_quantiser_is_a_bitstream_error(first) -> None:
    data = encode("av1-small", RGB, photograph((32, 32)), 60)
    with pytest.raises(BitstreamError, match="quantiser"):
        decode("av1-small", RGB, data[:1] + bytes([first]) + data[2:])


def test_levels_of_av1_small_grow_with_quality_and_are_never_lossless() -> None:
    levels = [av1_small.small_level(quality) for quality in range(1, 101)]
    assert levels == sorted(levels)
    assert (levels[0], levels[59], levels[-1]) == (1, 41, 99)


# ---- all of them


@pytest.mark.parametrize("codec_id", SMALL)
@pytest.mark.parametrize("task", [RGB, SHADING], ids=["rgb", "gray"])
def test_quality_buys_fidelity_with_bytes(codec_id, task) -> None:
    image = make_sample([task], (96, 128))[task.name]
    coded = [encode(codec_id, task, image, quality) for quality in (15, 50, 95)]
    sizes = [len(data) for data in coded]
    fidelity = [psnr_db(image, decode(codec_id, task, data)) for data in coded]
    assert sizes == sorted(sizes)
    assert fidelity == sorted(fidelity)
    assert fidelity[-1] > 36
    assert 2 * sizes[0] < sizes[-1]


@pytest.mark.parametrize("codec_id", SMALL)
def test_an_image_that_the_format_cannot_hold_is_a_codec_error(codec_id) -> None:
    with pytest.raises(CodecError, match=r"longer than (32768|65535)"):
        encode(codec_id, RGB, np.zeros((1, 65536, 3), np.uint8), 60)
