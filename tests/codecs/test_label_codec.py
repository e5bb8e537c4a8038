"""`label-context` gives every label map back, is small where labels are, and refuses damage."""

import contextlib
import struct

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from dsc._codecs.base import Codec
from dsc._codecs.label.codec import LabelContextCodec, LabelMethod
from dsc._codecs.registry import codec_from_config, make_codec
from dsc._coding.context.weights import shipped_file
from dsc._coding.jpeg_xl import BARE, codestream_of, size_of
from dsc._schemas import Effort, Quality, Task
from dsc._sources.registry import open_source
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import CodecConformance
from tests.codecs.test_classical import COLOURS, DEPTH, LABEL, LABEL16
from tests.places import DATA

IDS = Task(name="ids", kind="label", dtype="int32", invalid=(-1,))
WIDE = Task(name="wide", kind="label", dtype="int64")
WIDE_COLOURS = Task(name="wide_colours", kind="label", dtype="uint32", channels=3)
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")


class TestLabelContext(CodecConformance):
    @pytest.fixture(
        params=[(LABEL,), (LABEL16, COLOURS), (IDS, WIDE), (WIDE_COLOURS,)],
        ids=lambda tasks: tasks[0].name,
    )
    def codec(self, request) -> Codec:
        return make_codec("label-context", request.param)


def encode(task: Task, array: np.ndarray) -> bytes:
    codec = make_codec("label-context", [task])
    (streams,) = codec.encode_batch([{task.name: array}], Quality(default=50))
    return streams[task.name]


def decode(task: Task, data: bytes, max_pixels: int = 1 << 24) -> np.ndarray:
    codec = make_codec("label-context", [task])
    return codec.decode_batch([{task.name: data}], [task.name], max_pixels)[0][task.name]


def assert_comes_back(task: Task, array: np.ndarray) -> bytes:
    data = encode(task, array)
    decoded = decode(task, data)
    assert decoded.dtype == array.dtype
    assert np.array_equal(decoded, array)
    return data


def blobs(height: int, width: int, count: int, seed: int = 0) -> np.ndarray:
    """Return `count` regions around random points."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    nearest = np.full((height, width), np.inf)
    label = np.zeros((height, width), int)
    for number in range(count):
        v, u = rng.uniform(0, (height, width))
        distance = (y - v) ** 2 + (x - u) ** 2
        label[distance < nearest] = number
        nearest = np.minimum(nearest, distance)
    return label


# ---- every map comes back


@settings(deadline=None, max_examples=60)
@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.integers(0, 4))
)
def test_any_small_map_comes_back(array):
    assert_comes_back(LABEL, array)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 999), (777, 1), (2, 2), (3, 5)])
def test_thin_maps_come_back(shape):
    rng = np.random.default_rng(1)
    assert_comes_back(
        LABEL, (rng.random(shape) < 0.1).cumsum(axis=int(shape[1] > 1)).astype(np.uint8)
    )


@pytest.mark.parametrize("task", [LABEL16, IDS, WIDE], ids=lambda task: task.dtype)
def test_the_least_and_the_greatest_label_come_back(task):
    limits = np.iinfo(task.dtype)
    array = np.full((30, 40), 7, task.dtype)
    array[:10], array[10:15, 5:], array[29, 39] = limits.min, limits.max, limits.max - 1
    assert_comes_back(task, array)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_regions_and_noise_of_every_integer_come_back(dtype, channels):
    limits, rng = np.iinfo(dtype), np.random.default_rng(4)
    task = Task(name="ids", kind="label", dtype=dtype, channels=channels)
    names = rng.integers(limits.min, limits.max, (9, channels), dtype, endpoint=True)
    names[0], names[1] = limits.min, limits.max
    regions = names[blobs(40, 50, 9)]
    assert assert_comes_back(task, np.squeeze(regions))[0] == LabelMethod.CONTEXT
    noise = rng.integers(limits.min, limits.max, (40, 50, channels), dtype, endpoint=True)
    assert_comes_back(task, np.squeeze(noise))


def test_labels_of_wide_channels_differ_where_any_channel_does():
    task = Task(name="ids", kind="label", dtype="int64", channels=2)
    array = np.zeros((30, 40, 2), np.int64)
    array[:10, :, 1], array[10:, 20:, 0], array[20:, 20:, 1] = -(1 << 60), 1 << 61, 5
    assert assert_comes_back(task, array)[0] == LabelMethod.CONTEXT


def test_hundreds_of_instances_come_back_from_few_bytes():
    array = (blobs(160, 200, 400) * 131 + 17).astype(np.uint16)
    data = assert_comes_back(LABEL16, array)
    assert data[0] == LabelMethod.SCAN
    assert len(data) < 0.8 * len(imagecodecs.jpegxl_encode(array, lossless=True, effort=7))


def test_colour_codes_come_back_from_few_bytes():
    palette = np.random.default_rng(0).integers(0, 256, (30, 3)).astype(np.uint8)
    array = palette[blobs(120, 90, 30)]
    data = assert_comes_back(COLOURS, array)
    assert len(data) < 0.8 * len(imagecodecs.jpegxl_encode(array, lossless=True, effort=7))


def test_more_labels_than_16_bits_can_number_come_back():
    array = np.arange(300 * 300, dtype=np.int32).reshape(300, 300)
    assert assert_comes_back(IDS, array)[0] == LabelMethod.ZSTD


@pytest.mark.parametrize("task", [LABEL, LABEL16, IDS], ids=lambda task: task.dtype)
def test_noise_takes_hardly_more_than_its_raw_bytes(task):
    rng = np.random.default_rng(0)
    top = min(np.iinfo(task.dtype).max, 1 << 24)
    array = rng.integers(0, top, (100, 120)).astype(task.dtype)
    assert len(assert_comes_back(task, array)) < 1.05 * array.nbytes


@pytest.mark.parametrize(("task", "n_bytes"), [(LABEL, 6), (LABEL16, 7), (COLOURS, 8), (WIDE, 13)])
def test_a_constant_map_is_one_label(task, n_bytes):
    shape = (480, 640) if task.channels == 1 else (480, 640, task.channels)
    array = np.full(shape, 39, task.dtype)
    array[..., -1] += task.channels == 3
    assert len(assert_comes_back(task, array)) == n_bytes


@pytest.mark.slow
def test_a_map_of_4000_by_3000_comes_back():
    array = np.kron(blobs(250, 320, 40), np.ones((12, 12), int)).astype(np.uint8)
    array = np.pad(array, ((0, 0), (60, 100)))
    assert array.shape == (3000, 4000)
    data = assert_comes_back(LABEL, array)
    assert data[0] == LabelMethod.SCAN


def test_renaming_the_labels_changes_little():
    array = blobs(96, 128, 20)
    names = np.random.default_rng(3).permutation(256)[:20].astype(np.uint8)
    sizes = [len(encode(LABEL, a)) for a in (array.astype(np.uint8), names[array])]
    assert abs(sizes[0] - sizes[1]) <= 24  # the palette's bits


def test_a_mirrored_view_that_is_not_contiguous_is_coded_as_it_looks():
    array = blobs(80, 90, 9).astype(np.uint8)[::-2, ::-1]
    assert_comes_back(LABEL, array)


# ---- what is small


def share_of_jpeg_xl(task: Task, maps: list[np.ndarray]) -> float:
    theirs = sum(
        len(imagecodecs.jpegxl_encode(m, lossless=True, effort=7, numthreads=1)) for m in maps
    )
    return sum(len(assert_comes_back(task, m)) for m in maps) / theirs


def test_procedural_views_take_at_most_0_6_of_jpeg_xl():
    source = open_source("sample", n=4, size=192, seed=5)
    (task,) = (task for task in source.tasks if task.name == "segment_semantic")
    maps = [source.read(k, [task.name]).arrays[task.name] for k in range(4)]
    assert share_of_jpeg_xl(task, maps) < 0.6


@pytest.mark.data
def test_nyuv2_takes_at_most_0_5_of_jpeg_xl():
    root = DATA
    if not (root / "nyuv2" / "test.txt").is_file():
        pytest.skip(f"no NYUv2 under {root}; set DSC_TEST_DATA")
    source = open_source("nyuv2", str(root / "nyuv2"), split="test")
    maps = [source.read(k, ["label"]).arrays["label"] for k in range(0, len(source), 40)]
    assert share_of_jpeg_xl(LABEL, maps) < 0.5


def ragged(height: int, width: int, count: int, seed: int = 0) -> np.ndarray:
    """Return regions as of superpixels: by distance and by what a rough field has there."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    field = rng.normal(size=(height, width)).cumsum(0).cumsum(1)
    field *= 4 / field.std()
    moved = blobs(height + 32, width + 32, count, seed)
    rows, columns = np.rint(field).astype(int), np.rint(field[::-1, ::-1]).astype(int)
    return moved[(y + 16 + rows).clip(0, height + 31), (x + 16 + columns).clip(0, width + 31)]


def awkward_maps() -> dict[str, np.ndarray]:
    """Return maps, many of which no coder of regions was made for."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:120, :160]
    speckled = {f"speckles {p:g}": rng.random((120, 160)) < p for p in (0.001, 0.01, 0.1, 0.5)}
    thin = {f"thin {shape}": rng.integers(0, 3, shape) for shape in ((1, 500), (300, 1), (2, 9))}
    blocks = {
        f"blocks {n}": np.kron(rng.integers(0, n, (30, 40)), np.ones((4, 4))) for n in (2, 99)
    }
    boards = {f"boards {n}": (y // n + x // n) % 2 for n in (1, 2, 8)}
    return speckled | thin | blocks | boards | {
        "superpixels": ragged(160, 200, 65),
        "regions": blobs(120, 160, 12),
        "a tile": np.tile(ragged(20, 20, 5), (6, 8)),
        "ramp": x,
        "slanted ramp": (x + y) // 2,
        "rings": np.hypot(x - 80, y - 60) // 5,
        "boards of many": (y // 8 + x // 8 * 3) % 17,
        "lines": (y % 16 == 0) | (x % 16 == 0),
        "half": x > 80,
        "diagonal": x > y,
        "ids": rng.permutation(256)[x // 10 + y // 10 * 16],
        "noise of 5": rng.integers(0, 5, (120, 160)),
        "noise": rng.integers(0, 256, (120, 160)),
        "xor": x ^ y,
        "a walk": rng.integers(-1, 2, (120, 160)).cumsum(axis=1),
        "one unlike": (x == 7) & (y == 9),
    }  # fmt: skip


@pytest.mark.parametrize("task", [LABEL, LABEL16], ids=lambda task: task.dtype)
@pytest.mark.parametrize("case", awkward_maps())
def test_no_map_takes_more_than_jpeg_xl(case, task):
    array = awkward_maps()[case].astype(np.uint8).astype(task.dtype)
    file = imagecodecs.jpegxl_encode(array, lossless=True, effort=7, numthreads=1)
    assert len(assert_comes_back(task, array)) <= len(codestream_of(file))


def test_superpixels_take_at_most_0_6_of_jpeg_xl():
    maps = [ragged(256, 256, 65, seed).astype(np.uint8) for seed in range(3)]
    assert share_of_jpeg_xl(LABEL, maps) < 0.6


@pytest.mark.parametrize("effort", Effort)
def test_maps_come_back_at_every_effort(effort):
    array = ragged(90, 120, 20).astype(np.uint8)
    codec = make_codec("label-context", [LABEL]).at_effort(effort)
    (streams,) = codec.encode_batch([{LABEL.name: array}], Quality(default=50))
    assert np.array_equal(decode(LABEL, streams[LABEL.name]), array)


@pytest.mark.parametrize(
    "shape", [(1, 1), (8, 8), (5, 7), (60, 80), (256, 16), (700, 9), (9, 1400)]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_codestream_of_jpeg_xl_says_its_size(shape, dtype):
    array = np.zeros(shape, dtype)
    codestream = codestream_of(bytes(imagecodecs.jpegxl_encode(array, lossless=True)))
    assert codestream.startswith(BARE)
    assert size_of(codestream) == shape


def test_what_is_no_codestream_has_no_size():
    for data in (b"", BARE, b"\x00\x00\x00\x0cJXL "):
        assert codestream_of(data) == data
        with pytest.raises(ValueError, match="no JPEG XL codestream"):
            size_of(data)


# ---- what is refused


def test_a_giant_declared_size_is_refused_before_anything_is_allocated():
    data = struct.pack("<BHH", LabelMethod.CONTEXT, 65535, 65535)
    with pytest.raises(BitstreamError, match="at most 1000 are expected"):
        decode(LABEL, data, 1000)


@pytest.mark.parametrize("method", list(LabelMethod))
def test_each_method_refuses_cuts_and_foreign_bytes(method):
    rng = np.random.default_rng(2)
    array = {
        LabelMethod.CONTEXT: blobs(50, 60, 7),
        LabelMethod.CONSTANT: np.full((50, 60), 3),
        LabelMethod.ZSTD: np.tile(rng.integers(0, 256, (5, 60)), (10, 1)),
        LabelMethod.JPEG_XL: np.indices((50, 60)).sum(axis=0) // 2,
        LabelMethod.SCAN: np.kron(rng.integers(0, 9, (10, 12)), np.ones((5, 5))),
    }[method].astype(np.uint8)
    data = assert_comes_back(LABEL, array)
    if method is LabelMethod.JPEG_XL:  # now without a header
        assert data[:2] == BARE
        data = struct.pack("<BHH", method, *array.shape) + data
        assert np.array_equal(decode(LABEL, data), array)
    assert data[0] == method
    for end in range(0, len(data), max(1, len(data) // 40)):
        with pytest.raises(BitstreamError):
            decode(LABEL, data[:end])
    with pytest.raises(BitstreamError):
        decode(LABEL, data[:5] + b"\xa5" * 64)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=80), st.sampled_from(list(LabelMethod)))
def test_random_bytes_give_a_map_or_a_bitstream_error(body, method):
    with contextlib.suppress(BitstreamError):
        assert decode(LABEL, struct.pack("<BHH", method, 40, 30) + body).shape == (40, 30)


def test_a_zstd_bomb_is_refused():
    body = imagecodecs.zstd_encode(bytes(1 << 24))
    with pytest.raises(BitstreamError):
        decode(LABEL, struct.pack("<BHH", LabelMethod.ZSTD, 4, 4) + bytes(body))


def test_an_unknown_method_is_refused():
    with pytest.raises(BitstreamError, match="9 is not a valid LabelMethod"):
        decode(LABEL, struct.pack("<BHH", 9, 4, 4))


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (DEPTH, "label maps"),
        (Task(name="soft", kind="label", dtype="float32"), "integers"),
        (Task(name="deep", kind="label", dtype="uint8", channels=9), "use exact"),
    ],
)
def test_a_task_that_is_no_label_map_is_refused(task, said):
    with pytest.raises(CodecError, match=said):
        make_codec("label-context", [task])


def test_a_missing_or_broken_model_file_is_refused():
    config = make_codec("label-context", [LABEL]).config()
    with pytest.raises(CodecError, match="label-context needs its weights file"):
        codec_from_config("label-context", config, None)
    weights = shipped_file()
    for broken in (b"", weights[:1000], weights[:-1], b"\xff" * 40):
        with pytest.raises(BitstreamError):
            LabelContextCodec([LABEL], broken)
