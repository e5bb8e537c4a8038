"""Files of strangers: what is told of them, and what their pixels are."""

import io
import pickle
import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from dsc._files.formats import SUFFIXES, can_read, read_content, read_pixels
from dsc._files.formats.exif import orientation_of
from dsc.errors import SampleError
from tests.sources.written_files import exr, flo, npy, oriented, pfm, pillow, tiff

RANDOM = np.random.default_rng(7)
RGB = RANDOM.integers(0, 256, (13, 21, 3), np.uint8)
RGBA = RANDOM.integers(0, 256, (13, 21, 4), np.uint8)
GRAY, GRAY_ALPHA = RGB[:, :, 0].copy(), RGBA[:, :, 2:].copy()
MASK = GRAY > 100
DEPTH = (GRAY.astype(np.uint16) * 251) + 3
METRES = (GRAY / np.float32(7)).astype(np.float32)
INKS = Image.frombytes("CMYK", (21, 13), RGBA.tobytes())
PALETTE = Image.fromarray(RGB).quantize(200)


def open_with_pillow(data: bytes, mode: str = "") -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    return np.asarray(image.convert(mode) if mode else image)


def agrees(data: bytes, want: np.ndarray | None = None, **options: bool) -> np.ndarray:
    """Read both ways; the head must announce the array, and the array be ready for use."""
    content = read_content(data, "f")
    content = content.as_indexes() if options.get("indexes") else content
    content = content if options.get("upright", True) else content.as_stored()
    array = read_pixels(data, "f", **options)
    assert (content.shape, content.dtype) == (array.shape, array.dtype.name)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.dtype.isnative
    if want is not None:
        assert array.dtype == want.dtype
        np.testing.assert_array_equal(array, want)
    return array


# -- everything that can be written exactly comes back, and the head says so ---------------------

CHANNELS = (1, 2, 3, 4)
Writer = Callable[[np.ndarray], bytes]


def jxl(array: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(array, lossless=True))


def pam(array: np.ndarray) -> bytes:
    cube = array.reshape(*array.shape[:2], -1)
    kind = ("GRAYSCALE", "GRAYSCALE_ALPHA", "RGB", "RGB_ALPHA")[cube.shape[2] - 1]
    most = 255 if array.dtype == np.uint8 else 65535
    head = (
        f"P7\n# made here\nWIDTH {cube.shape[1]}\nHEIGHT {cube.shape[0]}\nDEPTH {cube.shape[2]}\n"
        f"MAXVAL {most}\nTUPLTYPE {kind}\nENDHDR\n"
    )
    return head.encode() + array.astype(array.dtype.newbyteorder(">")).tobytes()


def pnm(array: np.ndarray) -> bytes:
    height, width = array.shape[:2]
    digit, most = 5 if array.ndim == 2 else 6, 255 if array.dtype == np.uint8 else 65535
    raw = array.astype(array.dtype.newbyteorder(">")).tobytes()
    return f"P{digit}\n#c\n{width} {height}\n{most}\n".encode() + raw


def plain_pnm(array: np.ndarray) -> bytes:
    height, width = array.shape[:2]
    digit, most = 2 if array.ndim == 2 else 3, 255 if array.dtype == np.uint8 else 65535
    numbers = " ".join(map(str, array.ravel().tolist()))
    return f"P{digit} {width} {height} {most}\n{numbers}\n".encode()


def npz(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, depth=array)
    return file.getvalue()


def exr_of(compression: str) -> Writer:
    def write(array: np.ndarray) -> bytes:
        if array.ndim == 2:
            return exr({"Z": array}, compression)
        names = ("YA", "RGB", "RGBA")[array.shape[2] - 2]
        planes = {name: array[:, :, i] for i, name in enumerate(names)}
        return exr(planes, compression, decreasing=True, origin=(-3, 5))

    return write


WHOLE = ("uint8", "uint16")
TIFF = (*WHOLE, "int8", "int16", "uint32", "int32", "float16", "float32", "float64")
HALF = ("float16", "float32", "uint32")
WRITERS: dict[str, tuple[Writer, tuple[str, ...], tuple[int, ...]]] = {
    "png": (imagecodecs.png_encode, WHOLE, CHANNELS),
    "webp": (lambda a: pillow(Image.fromarray(a), "WEBP", lossless=True, exact=True),
             ("uint8",), (3,)),
    "jxl": (jxl, (*WHOLE, "float16", "float32"), CHANNELS),
    "jpeg": (lambda a: imagecodecs.jpeg8_encode(a, lossless=True), ("uint8",), (1, 3)),
    "tiff": (tiff, TIFF, CHANNELS),
    "tiff-big-endian": (lambda a: tiff(a, order=">"), TIFF, CHANNELS),
    "tiff-planes": (lambda a: tiff(a, planes=True), TIFF, (2, 3, 4)),
    "tiff-tiles": (lambda a: tiff(a, tile=16, deflate=True), TIFF, CHANNELS),
    "tiff-plane-tiles": (lambda a: tiff(a, tile=16, planes=True, order=">"), TIFF, (3,)),
    "bmp": (lambda a: pillow(Image.fromarray(a), "BMP"), ("uint8",), (3,)),
    "pnm": (pnm, WHOLE, (1, 3)),
    "pnm-plain": (plain_pnm, WHOLE, (1, 3)),
    "pam": (pam, WHOLE, CHANNELS),
    "pfm": (pfm, ("float32",), (1, 3)),
    "pfm-big-endian": (lambda a: pfm(a, ">"), ("float32",), (1, 3)),
    "exr-none": (exr_of("none"), HALF, CHANNELS),
    "exr-rle": (exr_of("rle"), HALF, CHANNELS),
    "exr-zips": (exr_of("zips"), HALF, CHANNELS),
    "exr-zip": (exr_of("zip"), HALF, CHANNELS),
    "flo": (flo, ("float32",), (1, 2)),
    "npy": (npy, (*TIFF, "int64", "uint64", "bool"), CHANNELS),
    "npz": (npz, (*TIFF, "int64", "uint64", "bool"), CHANNELS),
}  # fmt: skip


@st.composite
def written(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    """Draw a way to write, and an array that it can write."""
    name = draw(st.sampled_from(sorted(WRITERS)))
    _, dtypes, channels = WRITERS[name]
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    count = draw(st.sampled_from(channels))
    shape = (height, width) if count == 1 else (height, width, count)
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    if dtype.kind == "f":  # JPEG XL is for values of 0 to 1, and flushes halves below 2**-14
        return name, (0.01 + 0.99 * random.random(shape)).astype(dtype)
    if dtype.kind == "b":
        return name, random.random(shape) < 0.5
    limits = np.iinfo(dtype)
    few = draw(st.booleans())  # long runs, so that every way to compress has something to do
    array = random.integers(0, 3, shape) if few else random.integers(
        limits.min, limits.max, shape, dtype, endpoint=True)  # fmt: skip
    return name, array.astype(dtype)


@settings(max_examples=300, deadline=None)
@given(written())
def test_what_is_written_exactly_comes_back_and_the_head_announces_it(
    drawn: tuple[str, np.ndarray],
) -> None:
    name, array = drawn
    data = bytes(WRITERS[name][0](array))
    agrees(data, array)
    content = read_content(data, "f")
    assert content.lossless
    assert content.pages == content.orientation == 1
    counted = content.format not in ("npy", "npz", "flo")
    assert content.alpha == (counted and array.ndim == 3 and array.shape[2] in (2, 4))
    agrees(data, array, indexes=True)


@settings(max_examples=200, deadline=None)
@given(written(), st.data())
def test_a_cut_file_is_an_error_that_names_it(
    drawn: tuple[str, np.ndarray], data: st.DataObject
) -> None:
    name, array = drawn
    whole = bytes(WRITERS[name][0](array))
    kept = data.draw(st.integers(0, len(whole) - 1))
    if name == "pnm-plain":  # the last number may have fewer digits
        kept = min(kept, whole.rstrip().rfind(b" "))
    try:
        found = read_pixels(whole[:kept], "a/b.x")
    except SampleError as error:
        assert "a/b.x" in str(error)  # noqa: PT017
    else:  # what was cut off held no pixels
        np.testing.assert_array_equal(found, array)


@settings(max_examples=300, deadline=None)
@given(written(), st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=6))
def test_a_broken_head_is_read_or_refused_and_nothing_else(
    drawn: tuple[str, np.ndarray], changes: list[tuple[int, int]]
) -> None:
    name, array = drawn
    broken = bytearray(WRITERS[name][0](array[:8, :8]))
    for place, value in changes:
        broken[place % len(broken)] = value
    try:
        content = read_content(bytes(broken), "a/b.x")
        if np.prod(content.shape, dtype=float) < 1 << 24:
            read_pixels(bytes(broken), "a/b.x")
    except SampleError as error:
        assert "a/b.x" in str(error)  # noqa: PT017


# -- orientation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_orientation_is_applied_as_pillow_applies_it(form: str, orientation: int) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    data = oriented(RGB, form, orientation, **options)
    image = Image.open(io.BytesIO(data))
    stored = np.asarray(image) if form == "JPEG" else RGB  # of TIFF, Pillow gives the upright one
    agrees(data, np.asarray(ImageOps.exif_transpose(image)))
    agrees(data, stored, upright=False)
    assert read_content(data, "f").orientation == orientation


@pytest.mark.parametrize("orientation", [2, 3, 6, 7])
def test_tiffs_that_libtiff_turns_itself_are_turned_once(orientation: int) -> None:
    for image, options in ((Image.fromarray(RGB), {"compression": "jpeg"}), (INKS, {})):
        exif = Image.Exif()
        exif[274] = orientation
        data = pillow(image, "TIFF", exif=exif, **options)
        want = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        assert np.abs(agrees(data).astype(int) - np.asarray(want)).max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_as_its_boxes_say(orientation: int) -> None:
    data = oriented(RGB, "AVIF", orientation, quality=100, subsampling="4:4:4")
    want = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.abs(agrees(data).astype(int) - want).max() <= 8
    assert read_content(data, "f").orientation == 1


def test_orientation_in_a_png_text_as_imagemagick_writes_it() -> None:
    exif = Image.Exif()
    exif[274] = 6
    block = exif.tobytes()
    text = b"\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())
    plain = bytes(imagecodecs.png_encode(GRAY))
    for kind, body in (
        (b"tEXt", b"Raw profile type exif\0" + text),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
    ):
        chunk = struct.pack(">I", len(body)) + kind + body
        chunk += struct.pack(">I", zlib.crc32(kind + body))
        agrees(plain[:33] + chunk + plain[33:], np.ascontiguousarray(np.rot90(GRAY, -1)))


@given(st.binary(max_size=80))
@example(b"II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\x01\0\0\0\x06\0\0\0")
@example(b"MM\0*\xff\xff\xff\xf0\0\x01")
@example(b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0")
def test_a_hostile_exif_block_gives_an_orientation(block: bytes) -> None:
    for order in (b"", b"II*\0", b"MM\0*"):
        assert 1 <= orientation_of(order + block) <= 8


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders(order: str) -> None:
    head = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, 2)
    other = struct.pack(f"{order}HHII", 271, 2, 2, 0)
    entry = struct.pack(f"{order}HHIHH", 274, 3, 1, 8, 0)
    assert orientation_of(b"Exif\0\0" + head + other + entry + bytes(4)) == 8
    assert orientation_of((head + other + entry)[:-6]) == 1


# -- palettes, bits, transparency, inks ----------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_png_gives_colours_or_its_indexes(bits: int) -> None:
    ids = (GRAY.astype(int) % (1 << bits)).astype(np.uint8)
    image = Image.fromarray(ids).convert("P")
    image.putpalette(RANDOM.integers(0, 256, 768, np.uint8).tobytes())
    for options, mode in (({}, "RGB"), ({"transparency": bytes([0, 128])}, "RGBA")):
        data = pillow(image, "PNG", bits=bits, **options)
        agrees(data, open_with_pillow(data, mode))
        agrees(data, ids, indexes=True)
        content = read_content(data, "f")
        assert (content.palette, content.bits, content.alpha) == (True, bits, bool(options))


@pytest.mark.parametrize("form", ["BMP", "GIF", "TIFF"])
def test_other_palettes_give_colours_or_their_indexes(form: str) -> None:
    data = pillow(PALETTE, form)
    agrees(data, open_with_pillow(data, "RGB"))
    agrees(data, open_with_pillow(data), indexes=True)
    assert read_content(data, "f").palette


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pillow(Image.fromarray(MASK), "PNG"), id="png"),
        pytest.param(pillow(Image.fromarray(MASK), "PPM"), id="pbm"),
        pytest.param(pillow(Image.fromarray(MASK), "TIFF"), id="tiff"),
        pytest.param(pillow(Image.fromarray(MASK), "TIFF", compression="group4"), id="fax"),
    ],
)
def test_one_bit_is_a_picture_or_a_mask(data: bytes) -> None:
    agrees(data, np.where(MASK, 255, 0).astype(np.uint8))
    agrees(data, MASK.astype(np.uint8), indexes=True)
    assert read_content(data, "f").bits == 1


def test_plain_pbm_needs_no_spaces() -> None:
    data = b"P1\n# c\n5 2\n10110\n0 1 0 0 1\n"
    agrees(data, np.array([[0, 1, 0, 0, 1], [1, 0, 1, 1, 0]], np.uint8), indexes=True)


def test_one_bit_bmp_gives_its_colours() -> None:
    data = pillow(Image.fromarray(MASK), "BMP")
    agrees(data, np.repeat(np.where(MASK, 255, 0).astype(np.uint8)[:, :, None], 3, 2))
    agrees(data, MASK.astype(np.uint8), indexes=True)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("white", [0, 1])
def test_gray_tiff_of_few_bits_is_a_picture_or_numbers(bits: int, white: int) -> None:
    ids = RANDOM.integers(0, 1 << bits, (5, 16), np.uint8)
    unpacked = np.unpackbits(ids[:, :, None], axis=2)[:, :, 8 - bits :]
    packed = np.packbits(unpacked.reshape(5, -1), axis=1)
    data = tiff(packed, tags=[{256: 16, 258: bits, 262: white}])
    agrees(data, ids, indexes=True)
    most = (1 << bits) - 1
    agrees(data, (ids if white else most - ids) * np.uint8(255 // most))
    assert read_content(data, "f").bits == bits


def test_white_is_zero_is_inverted_as_a_picture_and_kept_as_numbers() -> None:
    data = tiff(GRAY, tags=[{262: 0}])
    agrees(data, 255 - GRAY)
    agrees(data, GRAY, indexes=True)


def test_alpha_of_a_plain_32_bit_bmp_counts_where_it_varies() -> None:
    agrees(pillow(Image.fromarray(RGBA), "BMP"), RGBA)
    opaque = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    agrees(pillow(Image.fromarray(opaque), "BMP"), RGB)


def test_a_transparent_colour_becomes_alpha() -> None:
    data = pillow(Image.fromarray(GRAY), "PNG", transparency=int(GRAY[0, 0]))
    array = agrees(data)
    assert read_content(data, "f").alpha
    np.testing.assert_array_equal(array[:, :, 0], GRAY)
    np.testing.assert_array_equal(array[:, :, 1] == 0, GRAY[0, 0] == GRAY)


def test_interlaced_png_is_read() -> None:
    # Adam7 of one pixel a pass, as no writer here interlaces
    width = height = 1
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0\x2a")), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks
    )
    agrees(data, np.array([[42]], np.uint8))


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_inks_become_rgb_by_the_stated_rule(form: str) -> None:
    data = pillow(INKS, form, **({"quality": 100} if form == "JPEG" else {}))
    content = read_content(data, "f")
    assert content.cmyk
    assert content.shape == (13, 21, 3)
    assert np.abs(agrees(data).astype(int) - open_with_pillow(data, "RGB")).max() <= 2


# -- what is lossy says so -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pillow(Image.fromarray(RGB), "JPEG"), id="jpeg"),
        pytest.param(pillow(Image.fromarray(RGB), "JPEG", progressive=True), id="progressive"),
        pytest.param(pillow(Image.fromarray(GRAY), "JPEG"), id="jpeg-gray"),
        pytest.param(bytes(imagecodecs.jpeg8_encode(DEPTH >> 4, bitspersample=12)), id="jpeg-12"),
        pytest.param(pillow(Image.fromarray(RGB), "WEBP"), id="webp"),
        pytest.param(pillow(Image.fromarray(RGBA), "WEBP"), id="webp-alpha"),
        pytest.param(bytes(imagecodecs.jpegxl_encode(RGB, distance=1.0)), id="jxl"),
        pytest.param(
            bytes(imagecodecs.jpegxl_encode(GRAY_ALPHA, distance=1.0, usecontainer=True)),
            id="jxl-boxes",
        ),
        pytest.param(bytes(imagecodecs.jpegxl_encode(METRES / 40, distance=1.0)), id="jxl-float"),
        pytest.param(bytes(imagecodecs.avif_encode(RGB, level=60)), id="avif"),
        pytest.param(pillow(Image.fromarray(RGB), "TIFF", compression="jpeg"), id="tiff-jpeg"),
    ],
)
def test_lossy_files_are_said_to_be_lossy(data: bytes) -> None:
    agrees(data)
    assert not read_content(data, "f").lossless


def test_a_jxl_in_boxes_is_read_as_a_bare_one() -> None:
    for bits, array in ((8, RGBA), (16, DEPTH), (10, DEPTH >> 6)):
        for boxed in (False, True):
            options = {"bitspersample": bits} if bits == 10 else {}
            data = imagecodecs.jpegxl_encode(array, lossless=True, usecontainer=boxed, **options)
            agrees(bytes(data), array)
            assert read_content(bytes(data), "f").bits == bits


@pytest.mark.parametrize("size", [(8, 8), (16, 8), (64, 48), (300, 400), (9, 700), (600, 600)])
def test_the_size_of_a_jxl_is_read_in_every_spelling(size: tuple[int, int]) -> None:
    array = np.zeros(size, np.uint8)
    agrees(jxl(array), array)


# -- several pages -------------------------------------------------------------------------------

FRAMES = [Image.fromarray(255 - RGB)]


@pytest.mark.parametrize(
    ("data", "pages"),
    [
        pytest.param(tiff(DEPTH, DEPTH, DEPTH), 3, id="tiff"),
        pytest.param(
            tiff(GRAY, tags=[{270: b"ImageJ=1.53\nimages=7\nslices=7\n\0"}]), 7, id="imagej"
        ),
        pytest.param(
            pillow(PALETTE, "GIF", save_all=True, append_images=[PALETTE.rotate(90)]), 2, id="gif"
        ),
        pytest.param(
            pillow(Image.fromarray(RGB), "WEBP", save_all=True, append_images=FRAMES), 2, id="webp"
        ),
        pytest.param(
            pillow(Image.fromarray(RGB), "PNG", save_all=True, append_images=FRAMES), 2, id="apng"
        ),
        pytest.param(
            pillow(Image.fromarray(RGB), "AVIF", save_all=True, append_images=FRAMES), 2, id="avif"
        ),
        pytest.param(jxl(np.stack([RGB] * 3)), 3, id="jxl"),
        pytest.param(pnm(GRAY) * 2, 2, id="pnm"),
    ],
)
def test_several_pages_are_counted_and_refused(data: bytes, pages: int) -> None:
    assert read_content(data, "f").pages == pages
    with pytest.raises(SampleError, match=rf"a/b\.x: {pages} pages or frames .*file of its own"):
        read_pixels(data, "a/b.x")


def multi_picture(kind: int) -> bytes:
    """Return a JPEG with a list of two pictures, the second of some kind."""
    entries = b"".join(struct.pack(">IIIHH", k, 9, 9, 0, 0) for k in (0x20000000 | kind, kind))
    table = struct.pack(">HHHII", 1, 0xB002, 7, len(entries), 26)
    block = b"MPF\0" + struct.pack(">2sHI", b"MM", 42, 8) + table + bytes(4) + entries
    data = pillow(Image.fromarray(RGB), "JPEG")
    return data[:2] + b"\xff\xe2" + struct.pack(">H", len(block) + 2) + block + data[2:]


def test_both_pictures_of_a_stereo_jpeg_count_and_its_preview_does_not() -> None:
    assert read_content(multi_picture(0x020002), "f").pages == 2
    agrees(multi_picture(0x010001))
    agrees(multi_picture(0))  # a gain map


@pytest.mark.parametrize("first", [False, True])
def test_thumbnails_are_no_pages(first: bool) -> None:
    pages, tags = [RGB, RGB[::2, ::2]], [{}, {254: 1}]
    if first:
        pages, tags = pages[::-1], tags[::-1]
    agrees(tiff(*pages, tags=tags), RGB)


def test_directories_in_a_loop_are_an_error() -> None:
    data = bytearray(tiff(GRAY, GRAY))
    data[-4:] = data[4:8]
    with pytest.raises(SampleError, match=r"a\.tif.*loop"):
        read_content(bytes(data), "a.tif")


# -- arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [">u2", ">f4", ">i8", "<f2", "?", "u1"])
def test_byte_and_memory_order_of_npy_come_back_native(dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    want = array.astype(array.dtype.newbyteorder("="))
    agrees(npy(array), want)
    agrees(npy(np.asfortranarray(array)), want)
    agrees(npy(array[:, ::2].T), np.ascontiguousarray(want[:, ::2].T))


@pytest.mark.parametrize("shape", [(), (0,), (7,), (4, 4), (2, 3, 4, 5)])
def test_npy_of_any_shape_keeps_it(shape: tuple[int, ...]) -> None:
    agrees(npy(np.ones(shape, np.float32)), np.ones(shape, np.float32))


def savez(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}, 1], object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (savez(rgb=GRAY, depth=DEPTH), r"2 arrays in one \.npz \(rgb, depth\)"),
        (savez(), "ZIP file without arrays"),
        (pickled(), "no plain numbers"),
        (npy(np.zeros(3, [("x", "f4"), ("y", "f4")])), "structured array with the fields x, y"),
        (npy(np.zeros(3, np.complex64)), "complex64"),
        (npy(np.array(["a"])), "no plain numbers"),
        (npy(np.zeros((4, 4)))[:-1], "needs 128 bytes, 127 are there"),
    ],
)
def test_arrays_that_are_no_single_numbers_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(SampleError, match=rf"a/b\.x: .*{words}"):
        read_content(data, "a/b.x")


def test_a_file_is_not_a_view_of_its_bytes() -> None:
    data = npy(GRAY)
    read_pixels(data, "f")[:] = 0
    agrees(data, GRAY)


# -- floating point ------------------------------------------------------------------------------


def test_pfm_has_its_first_row_at_the_top() -> None:
    bottom, top = struct.pack("<2f", 3, 4), struct.pack("<2f", 1, np.inf)
    agrees(b"Pf\n2 2\n-0.5\n" + bottom + top, np.array([[1, np.inf], [3, 4]], np.float32))


def test_a_header_may_end_as_dos_ends_lines() -> None:
    agrees(pfm(METRES).replace(b"\n-1\n", b"\r\n-1\r\n", 1), METRES)
    agrees(b"P5\r\n3 1\r\n255\r\n\x01\x02\x03", np.array([[1, 2, 3]], np.uint8))
    agrees(b"P5\n3 1\n255\r\n\x02\x03", np.array([[10, 2, 3]], np.uint8))


def test_avif_of_ten_and_twelve_bits_says_so() -> None:
    for bits in (8, 10, 12):
        array = GRAY if bits == 8 else (DEPTH >> (16 - bits))
        data = bytes(imagecodecs.avif_encode(array, level=100, bitspersample=bits))
        agrees(data, array)
        assert read_content(data, "f").bits == bits


def test_a_flow_file_is_told_from_depth_of_the_same_signature() -> None:
    flow = np.dstack([METRES, -METRES])
    agrees(flo(flow), flow)
    assert read_content(flo(flow), "f").format == "flo"
    agrees(flo(METRES), METRES)
    assert read_content(flo(METRES), "f").format == "dpt"


def test_exr_channels_come_as_rgba_and_else_as_in_the_file() -> None:
    half = METRES.astype(np.float16)
    data = exr({"A": half, "B": half + 1, "G": half + 2, "R": half + 3})
    agrees(data, np.stack([half + 3, half + 2, half + 1, half], 2))
    content = read_content(data, "f")
    assert (content.channels, content.alpha) == (("R", "G", "B", "A"), True)
    mixed = exr({"Z": METRES, "id": GRAY.astype(np.uint32)})
    assert read_content(mixed, "f").channels == ("Z", "id")
    agrees(mixed, np.stack([METRES, GRAY], 2).astype(np.float64))


def test_exr_keeps_infinity_and_nan() -> None:
    depth = METRES.copy()
    depth[0, :3] = np.inf, -np.inf, np.nan
    agrees(exr({"Z": depth}), depth)


def test_exr_that_needs_a_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "OpenEXR", None)
    with pytest.raises(SampleError, match=r"a\.exr: an OpenEXR with compression PIZ; .*dsc\[exr\]"):
        read_pixels(exr({"Z": METRES}, "piz"), "a.exr")
    with pytest.raises(SampleError, match=r"a\.exr: an OpenEXR with several parts"):
        read_content(exr({"Z": METRES}, flags=0x1000), "a.exr")


def test_exr_of_more_pixels_than_its_bytes_can_hold_is_refused() -> None:
    data = bytearray(exr({"Z": np.zeros((16, 16), np.float32)}))
    place = data.index(b"dataWindow\0box2i\0") + 21
    data[place : place + 16] = struct.pack("<4i", 0, 0, 99999, 99999)
    with pytest.raises(SampleError, match="100000x100000 cannot be in"):
        read_pixels(bytes(data), "a.exr")


def test_the_package_reads_what_is_not_read_here() -> None:
    package = pytest.importorskip("OpenEXR")
    for compression in (package.PIZ_COMPRESSION, package.ZIP_COMPRESSION):
        file = io.BytesIO()
        head = {"compression": compression, "type": package.scanlineimage}
        package.File(head, {"Z": METRES}).write(file)
        agrees(file.getvalue(), METRES)


# -- what is not read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello world", "begins with b'hello wo'"),
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "MATLAB 5 file; .*-v7.3"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC file.*convert it"),
        (pickle.dumps({}), "Python pickle"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*git lfs pull"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (tiff(GRAY, tags=[{262: 8}]), "colour space 8"),
        (tiff(GRAY, tags=[{339: 6, 258: 64}]), "complex"),
        (tiff(GRAY, tags=[{259: 34712}]), "JPEG 2000.*not read"),
    ],
)
def test_other_files_are_refused_with_what_to_do(data: bytes, words: str) -> None:
    with pytest.raises(SampleError, match=rf"(?s)a/b\.x: .*{words}"):
        read_pixels(data, "a/b.x")


def test_a_jpeg_cut_in_its_scan_is_an_error_and_a_film_behind_it_is_not() -> None:
    data = pillow(Image.fromarray(RGB), "JPEG", progressive=True)
    whole = read_pixels(data, "f")
    with pytest.raises(SampleError, match=r"f: .*ends too early"):
        read_pixels(data[:-20], "f")
    agrees(data + b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 9, whole)


def test_damaged_pixels_are_an_error() -> None:
    data = bytearray(imagecodecs.png_encode(RGB))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(SampleError, match=r"a/b\.png: .*cannot be decoded .*copy it again"):
        read_pixels(bytes(data), "a/b.png")


def test_endings_are_told_in_any_case() -> None:
    assert {".png", ".jpg", ".tif", ".exr", ".pfm", ".flo", ".npy", ".jxl", ".webp"} <= SUFFIXES
    assert can_read("a/b.JPG")
    assert not can_read("a/b.txt")
    assert not can_read("png")
