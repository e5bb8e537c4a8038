"""Pictures that dav1d decodes alone: the integers are libavif's, and damage is seen."""

import threading

import imagecodecs
import numpy as np
import pytest

from dsc import _kernels
from dsc._codecs.canvas import Canvas, Place
from dsc._codecs.classical import dav1d, planes
from dsc._codecs.classical.av1_still import bare
from dsc._codecs.classical.planes import look_up_plane, read_planes
from dsc._codecs.maps.lossy import LossyHeader, from_image, native_table
from dsc._codecs.registry import make_codec
from dsc._schemas import Quality, Task, TaskKind
from dsc.errors import BitstreamError

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
GRAY = Task(name="gray", kind=TaskKind.IMAGE, dtype="uint8")
DEEP = Task(name="deep", kind=TaskKind.IMAGE, dtype="uint16", channels=3)
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0, 65535))
SHORT = Task(name="short", kind=TaskKind.DEPTH, dtype="uint8", unit_m=0.04)
WIDE = Task(name="wide", kind=TaskKind.IMAGE, dtype="uint16", invalid=(0,))
TASKS = {task.name: task for task in (RGB, GRAY, DEEP, NORMAL, DEPTH, SHORT, WIDE)}

needs_dav1d = pytest.mark.skipif(not planes.in_use(), reason="no dav1d, or no compiled kernels")


def smooth(task: Task, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A map that a codec can predict, with holes where the task has an invalid value."""
    rng = np.random.default_rng(seed)
    shape = size if task.channels == 1 else (*size, 3)
    steps = rng.integers(-2, 3, shape).cumsum(0).cumsum(1)
    array = (steps % (250 if task.dtype == "uint8" else 60_000) + 1).astype(task.dtype)
    if task.invalid:
        array[rng.random(size) < 0.2] = task.invalid[0]
    return array


def plain(planes: np.ndarray) -> bytes:
    """A picture without loss, whose planes are green, blue and red."""
    options = {"level": 100, "speed": 9, "pixelformat": "444", "matrix": 0, "numthreads": 1}
    return bare(imagecodecs.avif_encode(planes, **options))


@pytest.fixture
def by_libavif(monkeypatch: pytest.MonkeyPatch):
    """Calls a function while libavif decodes everything."""

    def call(function, *args):
        with monkeypatch.context() as patch:
            patch.setattr(planes, "in_use", lambda: False)
            return function(*args)

    return call


@needs_dav1d
@pytest.mark.parametrize("size", [(1, 1), (37, 53), (30, 300)])
@pytest.mark.parametrize("codec_id", ["av1-fast", "avif", "av1-small"])
@pytest.mark.parametrize("name", TASKS)
def test_integers_are_those_of_libavif(name, codec_id, size, by_libavif) -> None:
    task = TASKS[name]
    codec = make_codec(codec_id, [task])
    for quality in (15, 80):
        streams = codec.encode_batch([{name: smooth(task, size)}], Quality(default=quality))
        here = codec.decode_batch(streams, [name], 10**6)[0][name]
        there = by_libavif(codec.decode_batch, streams, [name], 10**6)[0][name]
        assert here.dtype == there.dtype
        assert np.array_equal(here, there)


@needs_dav1d
@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("layout", ["400", "444"])
def test_a_gray_picture_is_its_luma_however_it_is_laid_out(bits, layout, by_libavif) -> None:
    dtype = np.uint8 if bits == 8 else np.uint16
    image = (smooth(DEPTH, (50, 60)) % (1 << bits)).astype(dtype)
    given = image if layout == "400" else np.stack([image[::-1], image, image.T.reshape(50, 60)], 2)
    coded = imagecodecs.avif_encode(
        given, level=80, speed=9, pixelformat=layout, matrix=None if layout == "400" else 0,
        bitspersample=bits, numthreads=1,
    )  # fmt: skip
    codec, found = make_codec("avif", [DEPTH]), np.empty_like(image)
    assert read_planes(bare(coded), found)
    assert np.array_equal(found, by_libavif(codec.read_picture, bare(coded), image))


def test_colours_are_libyuvs_for_every_triple() -> None:
    if not _kernels.in_use():
        pytest.skip("no compiled kernels")
    values = np.arange(256, dtype=np.uint8)
    wide, out = np.zeros((256, 300), np.uint8), np.empty((256, 256, 3), np.uint8)
    blue, red = np.repeat(values, 256), np.tile(values, 256)
    cb, cr = (side.astype(int).reshape(256, 256) - 128 for side in (blue, red))
    for luma in range(256):
        wide[:, :256] = luma
        _kernels.compiled.planes_to_rgb(wide.ravel(), blue, red, 300, 256, True, out)
        y = luma * 257 * 16320 >> 16
        scaled = np.stack([y + 90 * cr, y - 22 * cb - 46 * cr, y + 113 * cb], axis=2) + 32
        assert np.array_equal(out, (scaled >> 6).clip(0, 255))


def test_a_table_gives_what_its_picture_gives() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((9, 11)) < 0.3
    for task, bits, span in (
        (DEPTH, 12, (1, 4000)), (DEPTH, 12, (700, 700)), (SHORT, 12, (3, 250)), (GRAY, 8, None),
        (WIDE, 12, (1, 60000)), (DEPTH, 8, (1, 65534)),
    ):  # fmt: skip
        header = LossyHeader(mask if task.invalid else None, span)
        image = rng.integers(0, 1 << bits, mask.shape).astype(np.uint16 if bits > 8 else np.uint8)
        table = native_table(task, header, bits)
        expected = from_image(task, header, image, bits)
        found = np.where(mask, table[-1], table[image]) if task.invalid else table[image]
        assert len(table) == (1 << bits) + 1
        assert np.array_equal(found, expected)
        physical = task.to_physical(table)
        found = np.where(mask, physical[-1], physical[image]) if task.invalid else physical[image]
        assert np.array_equal(found, task.to_physical(expected), equal_nan=task.kind != "image")


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("native", [False, True])
def test_a_canvas_holds_what_decoding_and_conversion_give(name, native) -> None:
    task = TASKS[name]
    codec = make_codec("av1-fast", [task])
    samples = [{name: smooth(task, (33, 40), seed)} for seed in range(3)]
    streams = codec.encode_batch(samples, Quality())
    expected = [one[name] for one in codec.decode_batch(streams, [name], 10**6)]
    if not native:
        expected = [task.to_physical(array) for array in expected]
    canvas = Canvas(3, {name: task}, native, together=True)
    found = [
        codec.decode_to(name, data[name], 10**6, canvas.place(k, name))
        for k, data in enumerate(streams)
    ]
    for k, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        assert one.base is found[0].base
        assert np.shares_memory(one, one.base[k])


@needs_dav1d
@pytest.mark.parametrize("task", [RGB, DEPTH], ids=lambda task: task.name)
def test_damage_gives_an_error_or_what_libavif_gives(task, by_libavif) -> None:
    codec = make_codec("av1-fast", [task])
    (streams,) = codec.encode_batch([{task.name: smooth(task, (40, 56))}], Quality())
    good, rng = streams[task.name], np.random.default_rng(1)

    def outcome(data: bytes):
        try:
            return codec.decode_batch([{task.name: data}], [task.name], 40 * 56)[0][task.name]
        except BitstreamError:
            return None

    whole = outcome(good)
    for _ in range(150):
        bad = bytearray(good)
        for at in rng.integers(5, len(bad), rng.integers(1, 4)):
            bad[at] = rng.integers(256)
        data = bytes(bad[: rng.integers(1, len(bad) + 1)] if rng.random() < 0.3 else bad)
        here, there = outcome(data), by_libavif(outcome, data)
        if here is not None and there is not None:
            assert np.array_equal(here, there)
        assert (here is None) == (there is None)
        assert np.array_equal(outcome(good), whole)  # nothing of it stays in the decoder


@needs_dav1d
def test_another_size_than_expected_is_refused_before_decoding(monkeypatch) -> None:
    picture = plain(np.zeros((64, 48, 3), np.uint8))
    monkeypatch.setattr(dav1d, "decoded", None)
    with pytest.raises(ValueError, match="64×48, expected 48×64"):
        read_planes(picture, np.empty((48, 64, 3), np.uint8))


@needs_dav1d
def test_a_value_without_an_entry_is_an_error() -> None:
    image = np.full((16, 16), 200, np.uint8)
    picture = plain(np.stack([image] * 3, 2))
    out = np.empty((16, 16), np.float32)
    with pytest.raises(ValueError, match="value 200 of 100"):
        look_up_plane(picture, image.dtype, np.zeros(101, np.float32), None, out)


@needs_dav1d
def test_threads_decode_at_once() -> None:
    codec = make_codec("av1-fast", [RGB, DEPTH])
    samples = [{t.name: smooth(t, (64, 80), seed) for t in (RGB, DEPTH)} for seed in range(4)]
    streams = codec.encode_batch(samples, Quality())
    expected = codec.decode_batch(streams, ["rgb", "depth"], 10**6)
    wrong: list[str] = []

    def decode() -> None:
        for _ in range(5):
            for one, right in zip(
                codec.decode_batch(streams, ["rgb", "depth"], 10**6), expected, strict=True
            ):
                wrong.extend(name for name in right if not np.array_equal(one[name], right[name]))

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_library_that_is_not_known_is_left_alone(monkeypatch) -> None:
    class Foreign:
        def __getattr__(self, name):
            def function(*args):
                return 6 << 16 if name == "dav1d_version_api" else 0

            self.__dict__[name] = function
            return function

    with pytest.raises(ValueError, match="interface"):
        dav1d._open(Foreign())
    monkeypatch.setenv("DSC_DAV1D", "off")
    dav1d._library.cache_clear()
    try:
        assert dav1d.version() is None
        assert not read_planes(b"\x01\x00\x00", np.empty((1, 1, 3), np.uint8))
    finally:
        dav1d._library.cache_clear()


@pytest.mark.skipif(not _kernels.in_use(), reason="no compiled kernels")
def test_kernels_read_no_plane_beyond_its_end() -> None:
    kernels, out = _kernels.compiled, np.empty((4, 5, 3), np.uint8)
    enough, short = np.zeros(3 * 8 + 5, np.uint8), np.zeros(3 * 8 + 4, np.uint8)
    kernels.planes_to_rgb(enough, enough, enough, 8, 8, True, out)
    for strides in ((8, 8), (4, 8), (8, 4), (-8, 8), (1 << 62, 8)):
        with pytest.raises(TypeError, match="plane"):
            kernels.planes_to_rgb(enough, enough, short, *strides, True, out)
    table, flat = np.zeros(257, np.uint16), np.empty((4, 5), np.uint16)
    kernels.plane_look_up(enough, 8, 1, table, 2, None, flat)
    with pytest.raises(TypeError, match="plane"):
        kernels.plane_look_up(short, 8, 1, table, 2, None, flat)
    with pytest.raises(TypeError, match="mask"):
        kernels.plane_look_up(enough, 8, 1, table, 2, np.zeros((4, 4), bool), flat)
    with pytest.raises(TypeError, match="aligned"):
        kernels.plane_look_up(np.zeros(64, np.uint8)[1:], 12, 2, table, 2, None, flat)
    with pytest.raises(TypeError, match="out"):
        kernels.plane_look_up(enough, 8, 1, table, 2, None, np.empty((4, 5), np.uint32))


def test_unit_vectors_are_numpys_to_the_bit(monkeypatch) -> None:
    rng, place = np.random.default_rng(0), Place(native=False)
    counts = rng.integers(0, 256, (700, 300, 3), dtype=np.uint8)
    counts[:2] = [[[127, 127, 127]], [[128, 127, 127]]]
    counts[2, :256] = np.arange(256, dtype=np.uint8)[:, None]  # gray, of which one is nothing
    expected = NORMAL.to_physical(counts)
    found = place.put(NORMAL, counts)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.array_equal(found, expected, equal_nan=True)
    monkeypatch.setattr(_kernels, "in_use", lambda: False)
    assert np.array_equal(place.put(NORMAL, counts), expected, equal_nan=True)
    assert np.array_equal(
        place.put(DEPTH, counts[..., 0]), DEPTH.to_physical(counts[..., 0]), equal_nan=True
    )


def test_a_place_takes_what_a_codec_gives_anywhere() -> None:
    array = smooth(DEPTH, (3, 4))
    assert Place().put(DEPTH, array) is array
    assert Place(native=False).put(DEPTH, array).dtype == np.float32
    assert not Place(native=False).takes(DEPTH)
    assert Place(native=False).takes(RGB)


def test_numbers_of_a_canvas_are_the_rows_of_one_array() -> None:
    """A row of an array of one axis is still an array, which a codec can write to."""
    task = Task(name="scene", kind="class", dtype="int64", channels=0)
    codec = make_codec("vector", [task])
    streams = codec.encode_batch([{"scene": np.array(k)} for k in range(3)], Quality())
    canvas = Canvas(3, {"scene": task}, native=False, together=True)
    found = [
        codec.decode_to("scene", data["scene"], 1, canvas.place(k, "scene"))
        for k, data in enumerate(streams)
    ]
    assert [int(one) for one in found] == [0, 1, 2]
    assert all(np.shares_memory(one, found[0].base) for one in found)
