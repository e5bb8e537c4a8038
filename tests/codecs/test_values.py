"""Maps of numbers row by row: kernel and twin agree, `exact` gives them back in few bytes."""

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc import _kernels
from dsc._codecs.classical.exact import (
    END,
    END_SIZE,
    ExactMethod,
    _read_values,
    _write_values,
    to_words,
)
from dsc._codecs.registry import make_codec
from dsc._coding.context.values import decode_values, encode_values
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder
from dsc._schemas import Effort, Quality, Task
from dsc._sources.registry import open_source
from dsc.errors import BitstreamError
from tests.kernels import use_kernels
from tests.places import DATA

DEPTH = Task(name="depth", kind="depth", dtype="uint16", unit_m=0.001, invalid=(0, 65535))
needs_kernels = pytest.mark.skipif(not _kernels.in_use(), reason="no compiled kernels in use")


def some_maps() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :50]
    return {
        "a slope": 900 + 13 * y + 7 * x,
        "steps": 500 + x // 9 * 200 + rng.integers(0, 2, x.shape),
        "noise": rng.integers(0, 65536, (24, 20)),
        "extremes": rng.integers(0, 2, (20, 24)) * 65535,
        "a row": rng.integers(0, 300, (1, 70)),
        "a column": rng.integers(0, 300, (70, 1)),
        "one pixel": np.full((1, 1), 65535),
        "small": rng.integers(0, 3, (30, 30)),
        "constant": np.full((9, 12), 700),
        "bytes": rng.integers(0, 256, (20, 30)).cumsum(1) % 256,
    }


def encode(which: str, values: np.ndarray, holes: np.ndarray | None) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        use_kernels(which, patch)
        encoder = SymbolEncoder()
        encode_values(encoder, values, holes)
        return encoder.finish()


def decode(which: str, data: bytes, size: tuple[int, int], holes: np.ndarray | None):
    with pytest.MonkeyPatch.context() as patch:
        use_kernels(which, patch)
        try:
            decoder = SymbolDecoder(data)
            values = decode_values(decoder, *size, holes)
        except BitstreamError as error:
            return str(error)
        return np.append(values.ravel(), decoder.state.any())


@needs_kernels
@pytest.mark.parametrize("with_holes", [False, True])
@pytest.mark.parametrize("case", some_maps())
def test_kernel_and_twin_write_the_same_and_read_it_back(case, with_holes):
    values = some_maps()[case].astype(np.uint16)
    holes = np.random.default_rng(1).random(values.shape) < 0.2 if with_holes else None
    data = encode("compiled", values, holes)
    assert encode("python", values, holes) == data
    kept = np.ones(values.shape, bool) if holes is None else ~holes
    for which in ("compiled", "python"):
        found = decode(which, data, values.shape, holes)
        assert not found[-1]
        assert np.array_equal(found[:-1].reshape(values.shape)[kept], values[kept])


@needs_kernels
@pytest.mark.parametrize("which", ["compiled", "python"])
def test_a_map_of_holes_only_takes_no_bytes(which):
    holes = np.ones((5, 7), bool)
    assert encode(which, np.zeros((5, 7), np.uint16), holes) == b""
    assert not decode(which, b"", (5, 7), holes).any()


@needs_kernels
@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=60), st.integers(1, 9), st.integers(1, 20))
def test_kernel_and_twin_read_the_same_from_any_bytes(data, height, width):
    found = [decode(which, data, (height, width), None) for which in ("compiled", "python")]
    assert np.array_equal(*found) if isinstance(found[0], np.ndarray) else found[0] == found[1]


def exactly(array: np.ndarray, effort: Effort = Effort.DEFAULT, task: Task = DEPTH) -> bytes:
    """Encode a map by `exact`, and see that it comes back."""
    codec = make_codec("exact", [task]).at_effort(effort)
    (streams,) = codec.encode_batch([{task.name: array}], Quality(default=50))
    (decoded,) = codec.decode_batch([streams], [task.name], array.size)
    assert decoded[task.name].dtype == array.dtype
    assert decoded[task.name].tobytes() == array.tobytes()
    return streams[task.name]


def jpeg_xl(array: np.ndarray) -> int:
    return len(imagecodecs.jpegxl_encode(array, lossless=True, effort=7, numthreads=1))


@needs_kernels
def test_drawn_depth_takes_at_most_0_8_of_jpeg_xl():
    source = open_source("sample", n=2, size=192, seed=3)
    for k in range(2):
        depth = source.read(k, ["depth_zbuffer"]).arrays["depth_zbuffer"]
        data = exactly(depth)
        assert data[0] == ExactMethod.VALUES
        assert len(data) < 0.8 * jpeg_xl(depth)
    assert exactly(depth, Effort.FAST)[0] != ExactMethod.VALUES


ROUGH = np.random.default_rng(5)


@needs_kernels
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "float16", "int32", "float32"]
)
@pytest.mark.parametrize("invalid", [(), (0,), (0, 7)])
def test_maps_of_every_type_come_back(dtype, invalid):
    task = Task(name="map", kind="disparity", dtype=dtype, invalid=invalid)
    y, x = np.mgrid[:60, :80]
    array = (20 + y // 2 + x // 3 + ROUGH.integers(0, 2, x.shape)).astype(dtype)
    array[10:20, 30:60], array[40:50, :9] = 0, 7
    assert exactly(array, task=task)[0] == ExactMethod.VALUES
    if dtype.startswith("float"):
        array = array / np.array(8, dtype)
        array[3, :9], array[4, :9] = np.nan, -0.0
        assert exactly(array, task=task)[0] == ExactMethod.VALUES


@needs_kernels
@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("one pixel", np.full((1, 1), 7)),
        ("all holes", np.zeros((30, 40))),
        ("noise", ROUGH.integers(0, 65536, (70, 90))),
        ("two rows", ROUGH.integers(0, 900, (2, 300))),
        ("65,536 values", np.arange(65536).reshape(256, 256)),
        ("65,536 values in a mess", ROUGH.permutation(65536).reshape(256, 256)),
    ],
)
def test_odd_maps_come_back(name, array):
    exactly(array.astype(np.uint16))
    exactly(array.astype(np.float32), task=DEPTH.model_copy(update={"dtype": "float32"}))


@needs_kernels
def test_lists_of_all_words_and_of_none_are_read(monkeypatch):
    wide = np.append(np.arange(65536), np.zeros(256)).reshape(257, 256).astype(np.int32)
    words = to_words(wide)
    for hole in (None, words[0, 0]):
        body = _write_values(words, hole)
        assert np.array_equal(_read_values(body, words.shape, words.dtype), words)
    for sparse in (1 << 16, 0):
        monkeypatch.setattr("dsc._codecs.classical.exact.SPARSE", sparse)
        body = _write_values(words.astype(np.uint16), None)
        assert (body[0] == 0) == (sparse > 0)
        found = _read_values(body, words.shape, np.dtype(np.uint16))
        assert np.array_equal(found, words.astype(np.uint16))


@needs_kernels
def test_holes_of_both_kinds_come_back():
    y, x = np.mgrid[:90, :120]
    rng = np.random.default_rng(2)
    depth = (800 + 3 * y + 2 * x + rng.integers(0, 3, x.shape)).astype(np.uint16)
    depth[20:40, 30:70], depth[60:70, :9] = 0, 65535
    assert exactly(depth)[0] == ExactMethod.VALUES
    assert exactly(depth, Effort.BEST)[0] == ExactMethod.VALUES


def some_depth() -> tuple[np.ndarray, bytes]:
    y, x = np.mgrid[:24, :36]
    disparity = 60 + y + x // 2 + np.random.default_rng(3).integers(0, 2, x.shape)
    depth = (60_000 // disparity).astype(np.uint16)
    depth[5:9, 8:20] = 0
    data = exactly(depth)
    assert data[0] == ExactMethod.VALUES
    return depth, data


@needs_kernels
@pytest.mark.usefixtures("both_kernels")
def test_cuts_and_foreign_bytes_are_refused():
    with pytest.MonkeyPatch.context() as patch:
        use_kernels("compiled", patch)
        depth, data = some_depth()
    codec = make_codec("exact", [DEPTH])
    cuts = [data[:end] for end in range(5, len(data), max(1, len(data) // 40))]
    for broken in (*cuts, data[:5] + b"\xa5" * 64, data[:5], data + bytes(4)):
        with pytest.raises(BitstreamError):
            codec.decode_batch([{"depth": broken}], ["depth"], depth.size)


@needs_kernels
def test_flipped_bits_are_mostly_refused_and_never_give_another_size():
    depth, data = some_depth()
    codec, refused, tried = make_codec("exact", [DEPTH]), 0, 0
    for at in range(8 * 5, 8 * len(data), 7):
        broken = bytearray(data)
        broken[at // 8] ^= 1 << at % 8
        tried += 1
        try:
            (found,) = codec.decode_batch([{"depth": bytes(broken)}], ["depth"], depth.size)
        except BitstreamError:
            refused += 1
            continue
        assert found["depth"].shape == depth.shape
        assert found["depth"].dtype == depth.dtype
    assert refused > 0.75 * tried  # of the list and the mask, an archive's checksums tell


@needs_kernels
def test_a_value_beyond_the_list_or_the_type_is_refused():
    encoder = SymbolEncoder()
    encode_values(encoder, np.full((3, 4), 256, np.uint16), None)
    encoder.put_uniform(np.array([END], np.int32), END_SIZE)
    body = encoder.finish()
    with pytest.raises(ValueError, match="256 is beyond"):
        _read_values(bytes([0, 0]) + body, (3, 4), np.dtype(np.uint8))
    assert (_read_values(bytes([0, 0]) + body, (3, 4), np.dtype(np.uint16)) == 256).all()
    with pytest.raises(ValueError, match="2 channels"):
        _read_values(bytes([0, 0]) + body, (3, 4, 2), np.dtype(np.uint16))


@pytest.mark.data
@needs_kernels
def test_depth_of_a_kinect_takes_at_most_0_9_of_jpeg_xl():
    paths = sorted((DATA / "sevenscenes").glob("*.depth.png"))[::40]
    if not paths:
        pytest.skip(f"no 7-Scenes under {DATA}; set DSC_TEST_DATA")
    for path in paths:
        depth = imagecodecs.imread(str(path))
        assert len(exactly(depth)) < 0.9 * jpeg_xl(depth)
