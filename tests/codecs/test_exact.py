"""`exact` gives every map back bit for bit, and no codec codes an exact task with loss."""

import contextlib
import struct
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc import _kernels
from dsc._codecs.base import Codec, at_effort
from dsc._codecs.classical.exact import (
    ExactMethod,
    _write_image,
    from_words,
    pack_planes,
    to_words,
)
from dsc._codecs.registry import CODECS, codec_class, make_codec
from dsc._codecs.residual.codec import ResidualCodec
from dsc._coding.varint import pack_varint
from dsc._pipeline.choose.codec_spec import can_code, choose_codecs, default_codec
from dsc._schemas import Bound, Effort, Quality, Target, Task
from dsc._schemas.task import DType
from dsc.errors import BitstreamError, CodecError, UsageError
from tests.codecs.conformance import CodecConformance, make_sample
from tests.codecs.test_classical import CLASS, COLOURS, DEPTH, LABEL16, RGB, VECTOR

DTYPES = get_args(DType)
DISPARITY = Task(name="disparity", kind="disparity", dtype="uint16", invalid=(0,))
FLOW = Task(name="flow", kind="flow", dtype="float32", channels=2)
KITTI_FLOW = Task(name="flow16", kind="flow", dtype="uint16", channels=3)
HEAT = Task(name="heat", kind="array", dtype="float16")
WIDE = Task(name="wide", kind="array", dtype="int64", channels=5)
SMALL = Task(name="small", kind="array", dtype="int8", channels=4)
EXACT_RGB = RGB.model_copy(update={"exact": True})
EXACT_GRAY = Task(name="gray", kind="image", dtype="uint16", exact=True)
EXACT_NORMAL = Task(name="normal", kind="normal", dtype="uint8", channels=3, exact=True)
EXACT_IMAGES = (EXACT_RGB, EXACT_GRAY, Task(name="m", kind="image", dtype="uint8", exact=True))
EXACT_TASKS = (*EXACT_IMAGES, DISPARITY, KITTI_FLOW, FLOW, HEAT, WIDE, LABEL16, COLOURS)


class TestExact(CodecConformance):
    @pytest.fixture
    def codec(self) -> Codec:
        return make_codec("exact", (DISPARITY, FLOW, KITTI_FLOW, HEAT, WIDE, SMALL, EXACT_RGB))

    def is_exact(self, codec: Codec, task: Task) -> bool:
        return True


def encode(task: Task, array: np.ndarray) -> bytes:
    (streams,) = make_codec("exact", [task]).encode_batch([{task.name: array}], Quality())
    return streams[task.name]


def decode(task: Task, data: bytes, max_pixels: int = 1 << 20) -> np.ndarray:
    codec = make_codec("exact", [task])
    return codec.decode_batch([{task.name: data}], [task.name], max_pixels)[0][task.name]


def assert_comes_back(array: np.ndarray) -> bytes:
    channels = 1 if array.ndim == 2 else array.shape[2]
    task = Task(name="map", kind="array", dtype=str(array.dtype), channels=channels)
    data = encode(task, array)
    decoded = decode(task, data)
    assert (decoded.dtype, decoded.shape) == (array.dtype, array.shape)
    assert decoded.tobytes() == array.tobytes()
    return data


def surface(height: int = 60, width: int = 80) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 0.01, (height, width))
    return 20 + 5 * np.sin(x / 15) + y / 30 + noise


def tiles() -> np.ndarray:
    """Return what WebP holds in fewer bytes than JPEG XL: (50, 60, 3)."""
    tile = np.random.default_rng(3).integers(0, 200, (10, 6, 3)).repeat(2, axis=1)
    return np.tile(tile, (5, 5, 1)).astype(np.uint8)


# ---- every bit


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(DTYPES), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.data())
def test_any_bits_come_back(dtype, height, width, channels, data):
    count = height * width * channels
    size = np.dtype(dtype).itemsize
    # few different values or many: both ways lead to every method
    pool = data.draw(st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=40))
    picked = data.draw(st.lists(st.sampled_from(pool), min_size=count, max_size=count))
    array = np.frombuffer(b"".join(picked), dtype).reshape(height, width, channels)
    assert_comes_back(array if channels > 1 else array[..., 0])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_payloads_infinities_and_signed_zeros_come_back(dtype):
    bits = np.dtype(f"u{np.dtype(dtype).itemsize}")
    array = surface().astype(dtype)
    array[3, :5] = (np.nan, np.inf, -np.inf, -0.0, 0.0)
    quiet = np.array(np.nan, dtype).view(bits)
    array.view(bits)[4, :3] = (quiet | bits.type(5), ~bits.type(0), quiet ^ bits.type(1))
    assert_comes_back(array)
    zeros = np.zeros((8, 9), dtype)
    zeros[2, 3] = -0.0
    assert assert_comes_back(zeros)[0] != ExactMethod.CONSTANT


@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_of_every_dtype_takes_hardly_more_than_its_raw_bytes(dtype):
    array = np.frombuffer(np.random.default_rng(1).bytes(8 * 60 * 80), dtype)[: 60 * 80]
    assert len(assert_comes_back(array.reshape(60, 80))) < 1.02 * array.nbytes + 100


@pytest.mark.parametrize("dtype", DTYPES)
def test_words_are_in_the_order_of_the_values(dtype):
    limits = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    values = np.unique(np.array([limits.min, 0, 1, 2, 3, 100, limits.max], dtype))
    words = to_words(values)
    assert (np.diff(words.astype(object)) > 0).all()
    assert from_words(words, values.dtype).tobytes() == values.tobytes()


# ---- small where it can be


def jpeg_xl_bytes(counts: np.ndarray) -> int:
    return len(encode(Task(name="map", kind="array", dtype="uint16"), counts))


def test_fixed_point_in_floats_takes_hardly_more_than_the_integers():
    counts = np.rint(surface(240, 320) * 100).astype(np.uint16)
    for divisor in (256, 1000):
        data = assert_comes_back(counts.astype(np.float32) / np.float32(divisor))
        assert data[0] in (ExactMethod.PALETTE, ExactMethod.VALUES)
        assert len(data) < 1.1 * jpeg_xl_bytes(counts) + 1000


def test_a_smooth_map_takes_few_bytes():
    y, x = np.mgrid[:60, :80]
    assert len(assert_comes_back(x * 1000 + y * 70000)) < 120
    assert len(assert_comes_back(surface().astype(np.float32))) < 0.7 * 60 * 80 * 4


def test_the_best_effort_is_never_more_bytes_and_gray_may_be_a_webp_too():
    drawn = np.kron(surface(12, 16).astype(np.uint16), np.ones((5, 5), np.uint16)) * 300
    for array in (tiles(), tiles()[..., 0].copy(), drawn, surface().astype(np.uint8)):
        channels = 1 if array.ndim == 2 else 3
        task = Task(name="map", kind="array", dtype=str(array.dtype), channels=channels)
        codec = make_codec("exact", [task])
        sizes = []
        for effort in (Effort.BEST, Effort.DEFAULT):
            (coded,) = at_effort(codec, effort).encode_batch([{"map": array}], Quality())
            sizes.append(len(coded["map"]))
            assert np.array_equal(decode(task, coded["map"]), array)
        assert sizes[0] <= sizes[1]


@pytest.mark.parametrize("task", [DISPARITY, FLOW, WIDE], ids=lambda task: task.name)
def test_a_constant_map_is_one_pixel(task):
    shape = (400, 600) if task.channels == 1 else (400, 600, task.channels)
    data = encode(task, np.full(shape, 7, task.dtype))
    assert len(data) == 5 + task.channels * np.dtype(task.dtype).itemsize


# ---- damage


METHODS = {
    ExactMethod.CONSTANT: np.full((50, 60), 3.5, np.float32),
    ExactMethod.PLANES: np.random.default_rng(0).normal(size=(50, 60)).cumsum(0),
    ExactMethod.JPEG_XL: np.stack([np.rint(surface() * 100)] * 3, axis=2).astype(np.uint16),
    ExactMethod.PALETTE: np.stack([np.rint(surface() * 100) / 100] * 2, axis=2).astype(np.float32),
    ExactMethod.WEBP: tiles(),
    ExactMethod.VALUES: np.rint(surface() * 100).astype(np.uint16),
}


@pytest.mark.parametrize("method", list(ExactMethod))
def test_each_method_refuses_cuts_and_foreign_bytes(method):
    if method is ExactMethod.VALUES and not _kernels.in_use():
        pytest.skip("is written by compiled kernels")
    array = METHODS[method]
    data = assert_comes_back(array)
    assert data[0] == method
    channels = 1 if array.ndim == 2 else array.shape[2]
    task = Task(name="map", kind="array", dtype=str(array.dtype), channels=channels)
    for end in range(0, len(data), max(1, len(data) // 40)):
        with pytest.raises(BitstreamError):
            decode(task, data[:end])
    with pytest.raises(BitstreamError):
        decode(task, data[:5] + b"\xa5" * 64)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=80), st.sampled_from(list(ExactMethod)))
def test_random_bytes_give_a_map_or_a_bitstream_error(body, method):
    with contextlib.suppress(BitstreamError):
        assert decode(FLOW, struct.pack("<BHH", method, 40, 30) + body).shape == (40, 30, 2)


def test_a_method_of_later_is_named():
    with pytest.raises(BitstreamError, match="method 9 is not known here; a newer dsc wrote it"):
        decode(FLOW, struct.pack("<BHH", 9, 40, 30) + bytes(80))


def test_a_giant_declared_size_is_refused_before_anything_is_allocated():
    for method in ExactMethod:
        with pytest.raises(BitstreamError, match="at most 1000 are expected"):
            decode(FLOW, struct.pack("<BHH", method, 65535, 65535) + bytes(8), 1000)


def test_a_palette_that_an_image_goes_beyond_is_refused():
    listed = pack_planes(np.arange(3, dtype=np.uint32)[None, None])
    image = _write_image(np.full((40, 30, 2), 3, np.uint8).reshape(80, 30), (3,))
    data = struct.pack("<BHH", ExactMethod.PALETTE, 40, 30)
    data += pack_varint(2) + pack_varint(len(listed)) + listed + image
    with pytest.raises(BitstreamError, match="value 3 of a list of 3"):
        decode(FLOW, data)


@pytest.mark.parametrize("task", [CLASS, VECTOR], ids=lambda task: task.name)
def test_what_is_no_map_is_refused(task):
    with pytest.raises(CodecError, match="use vector"):
        make_codec("exact", [task])


# ---- exact tasks and other codecs


OTHERS = ("residual", "derived", "keep")  # over another codec; of frames as a video has them
SINGLE = [c for c in CODECS if not hasattr(codec_class(c), "supported") and c not in OTHERS]


@pytest.mark.parametrize("codec_id", SINGLE)
@pytest.mark.parametrize("quality", [1, 60, 100])
def test_a_codec_gives_an_exact_task_back_or_refuses_it(codec_id, quality):
    for task in (*EXACT_TASKS, EXACT_NORMAL):
        if can_code(codec_id, [task]):
            codec, sample = make_codec(codec_id, [task]), make_sample([task], (33, 47))
            streams = codec.encode_batch([sample], Quality(default=quality))
            (decoded,) = codec.decode_batch(streams, [task.name], 33 * 47)
            assert decoded[task.name].tobytes() == sample[task.name].tobytes(), task.name


@pytest.mark.parametrize("codec_id", ["jpeg", "avif", "av1", "av1-small", "normal-palette"])
def test_a_lossy_codec_says_what_holds_an_exact_task(codec_id):
    task = EXACT_RGB if codec_id != "normal-palette" else EXACT_NORMAL
    with pytest.raises(CodecError, match=f"task {task.name}: {codec_id} .*use exact or jxl"):
        make_codec(codec_id, [task])


def test_learned_codecs_and_bounds_leave_exact_tasks_alone():
    depth = DEPTH.model_copy(update={"exact": True})
    for codec_id in ("independent", "shared-latent", "chained"):
        assert codec_class(codec_id).supported([EXACT_RGB, depth]) == ()
    with pytest.raises(CodecError, match="leave it out of --max-error"):
        ResidualCodec(make_codec("jxl-lossless", [EXACT_RGB]), ["rgb"])
    with pytest.raises(UsageError, match="always lossless; leave it out"):
        Target.parse("rgb=40dB", [EXACT_RGB])
    with pytest.raises(UsageError, match="always lossless; leave it out"):
        Bound.parse("rgb=2", [EXACT_RGB])


@pytest.mark.parametrize("general", [None, "av1", "jpeg", "jxl", "chained", "vector"])
def test_no_word_for_all_tasks_makes_an_exact_task_lossy(general):
    tasks = (RGB, DEPTH, *EXACT_TASKS[1:], VECTOR)
    chosen = choose_codecs(general, tasks)
    for task in EXACT_TASKS[1:]:
        codec, sample = make_codec(chosen[task.name], [task]), make_sample([task], (33, 47))
        streams = codec.encode_batch([sample], Quality(default=20))
        (decoded,) = codec.decode_batch(streams, [task.name], 33 * 47)
        assert decoded[task.name].tobytes() == sample[task.name].tobytes(), task.name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["image", "depth", "label", "disparity", "flow", "array"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_default_codec_can_code_every_map(kind, dtype, channels):
    task = Task(name="map", kind=kind, dtype=dtype, channels=channels, unit_m=0.001)
    assert can_code(default_codec(task), [task])
