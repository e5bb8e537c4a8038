"""No valid pixel is beyond the bound, whatever the codec below gives, at little cost.

The compiled kernels and their twins give the same bytes and integers, on damage as well.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from dsc import _kernels
from dsc._codecs.registry import codec_class, make_codec
from dsc._codecs.residual.bound import Steps, worst_error
from dsc._codecs.residual.codec import ResidualCodec, residual_stream
from dsc._codecs.residual.coder import decode_planes, encode_planes, geometric_tables
from dsc._codecs.residual.map import MARGIN, decode_residual, encode_residual, steps_of
from dsc._schemas import Bound, BoundKind, Quality, Task, TaskKind, required_streams
from dsc._sources.registry import open_source
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import MAX_PIXELS, CodecConformance, decode, make_sample
from tests.kernels import use_kernels

DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0, 65535))
GRAY = Task(name="gray", kind=TaskKind.IMAGE, dtype="uint16")
RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
LABEL = Task(name="label", kind=TaskKind.LABEL, dtype="uint8")
PERCENT = Bound(kind=BoundKind.RELATIVE, value=0.01)
MILLIMETRES = Bound(kind=BoundKind.METRES, value=0.004)
COUNTS = Bound(kind=BoundKind.COUNTS, value=2)
FIXTURE_IS_FINE = [HealthCheck.function_scoped_fixture]  # it only says which kernels are used


class TestOverDepth(CodecConformance):
    quality: ClassVar[Quality] = Quality(default=60, max_error={"depth": PERCENT})

    @pytest.fixture
    def codec(self) -> Any:
        return ResidualCodec(make_codec("avif", [DEPTH]), ["depth"])


class TestBesideATaskWithoutABound(CodecConformance):
    max_cuts: ClassVar[int] = 20
    n_flips: ClassVar[int] = 20
    quality: ClassVar[Quality] = Quality(
        default=40, max_error={"normal": COUNTS, "depth": MILLIMETRES}
    )

    @pytest.fixture
    def codec(self) -> Any:
        return ResidualCodec(make_codec("webp", [RGB, NORMAL, DEPTH]), ["normal", "depth"])


class FloatCodec:
    """A codec below that decodes to counts a little off, and more so on "another machine"."""

    id: ClassVar[str] = "float"
    shift = 0

    def __init__(self, tasks: Sequence[Task], noise: float) -> None:
        self.tasks, self._noise = tuple(tasks), noise

    def weights(self) -> bytes:
        return b"weights"

    def config(self) -> dict[str, Any]:
        return make_codec("png", self.tasks).config()

    def streams(self) -> Any:
        return make_codec("png", self.tasks).streams()

    def encode_batch(self, samples: Any, quality: Quality) -> Any:
        return make_codec("png", self.tasks).encode_batch(samples, quality)

    def decode_batch(self, streams: Any, tasks: Any, max_pixels: int) -> Any:
        decoded = make_codec("png", self.tasks).decode_batch(streams, tasks, max_pixels)
        rng = np.random.default_rng(0)
        for task in self.tasks:
            for sample in decoded:
                array = sample[task.name].astype(np.int64)
                mask = task.invalid_mask(sample[task.name])
                off = np.rint(array * rng.normal(0, self._noise, array.shape)).astype(np.int64)
                moved = np.clip(array + off + self.shift, 1, 65534).astype(task.dtype)
                sample[task.name] = np.where(mask, sample[task.name], moved)
        return decoded


def code(codec: ResidualCodec, sample: Any, quality: Quality) -> tuple[dict[str, bytes], Any]:
    (streams,) = codec.encode_batch([sample], quality)
    return streams, decode(codec, streams)


@pytest.mark.parametrize("base", ["avif", "webp", "jpeg", "jxl", "png"])
@pytest.mark.parametrize("bound", [PERCENT, MILLIMETRES, Bound(kind=BoundKind.COUNTS, value=0)])
def test_no_valid_pixel_of_depth_is_beyond_the_bound(base: str, bound: Bound) -> None:
    codec = ResidualCodec(make_codec(base, [DEPTH]), ["depth"])
    for quality in (1, 60, 100):
        sample = make_sample([DEPTH], (65, 33), seed=quality)
        asked = Quality(default=quality, max_error={"depth": bound})
        _, decoded = code(codec, sample, asked)
        assert worst_error(bound, DEPTH, sample["depth"], decoded["depth"]) <= bound.value


@pytest.mark.parametrize("task", [RGB, NORMAL, GRAY])
def test_images_and_normals_keep_a_bound_in_counts(task: Task) -> None:
    codec = ResidualCodec(make_codec("avif", [task]), [task.name])
    for counts in (0, 3):
        bound = Bound(kind=BoundKind.COUNTS, value=counts)
        sample = make_sample([task], (40, 56))
        _, decoded = code(codec, sample, Quality(default=30, max_error={task.name: bound}))
        error = np.abs(sample[task.name].astype(int) - decoded[task.name].astype(int))
        assert error.max() <= counts
        assert counts == 0 or error.max() == counts  # the room is used


def test_what_meets_the_bound_already_costs_five_bytes() -> None:
    codec = ResidualCodec(make_codec("png", [DEPTH]), ["depth"])
    sample = make_sample([DEPTH], (65, 33))
    streams, decoded = code(codec, sample, Quality(max_error={"depth": PERCENT}))
    assert len(streams["depth.residual"]) == 5
    assert np.array_equal(
        decoded["depth"] * ~DEPTH.invalid_mask(sample["depth"]),
        sample["depth"] * ~DEPTH.invalid_mask(sample["depth"]),
    )


def test_a_looser_bound_costs_less() -> None:
    codec = ResidualCodec(make_codec("webp", [DEPTH]), ["depth"])
    sample = make_sample([DEPTH], (120, 160))
    sizes = []
    for value in (0.0, 0.002, 0.01, 0.05):
        bound = Bound(kind=BoundKind.RELATIVE, value=value)
        streams, _ = code(codec, sample, Quality(default=20, max_error={"depth": bound}))
        sizes.append(len(streams["depth.residual"]))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 5


def test_a_reader_of_the_task_takes_both_streams_and_another_one_neither() -> None:
    codec = ResidualCodec(make_codec("webp", [RGB, DEPTH]), ["depth"])
    assert required_streams(codec.streams(), ["depth"]) == ("depth", "depth.residual")
    assert required_streams(codec.streams(), ["rgb"]) == ("rgb",)
    sample = make_sample([RGB, DEPTH], (40, 56))
    streams, _ = code(codec, sample, Quality(max_error={"depth": PERCENT}))
    del streams["depth.residual"]
    with pytest.raises(BitstreamError, match=r"depth\.residual is required"):
        codec.decode_batch([streams], ["depth"], MAX_PIXELS)


@pytest.mark.parametrize("bound", [PERCENT, MILLIMETRES])
def test_the_bound_of_a_float_codec_holds_on_a_machine_that_is_a_count_off(bound: Bound) -> None:
    sample = make_sample([DEPTH], (64, 80))
    sample["depth"][:8] = np.arange(1, 81)  # where a count is more than the bound
    for noise in (0.003, 0.1):
        base = FloatCodec([DEPTH], noise)
        codec = ResidualCodec(base, ["depth"])  # type: ignore[arg-type]
        streams, _ = code(codec, sample, Quality(max_error={"depth": bound}))
        for shift in (-1, 0, 1):
            base.shift = shift
            decoded = decode(codec, streams)["depth"]
            assert worst_error(bound, DEPTH, sample["depth"], decoded) <= bound.value
    assert streams["depth.residual"][0] & MARGIN


def test_without_a_margin_a_count_off_would_break_the_bound() -> None:
    sample = make_sample([DEPTH], (64, 80))["depth"]
    near = sample.astype(np.int64) + np.random.default_rng(0).integers(-60, 60, sample.shape)
    near = np.clip(near, 1, 65534).astype(np.uint16)
    near[DEPTH.invalid_mask(sample)] = 0
    data = encode_residual(DEPTH, steps_of(DEPTH, False, 4, 0), sample, near)
    found = decode_residual(DEPTH, data, near + (near > 0).astype(np.uint16))
    assert worst_error(MILLIMETRES, DEPTH, sample, found) > MILLIMETRES.value


def test_a_mask_that_the_codec_below_changed_is_put_right() -> None:
    original = make_sample([DEPTH], (40, 56))["depth"]
    changed = original.copy()
    changed[:4], changed[8:12] = 0, np.maximum(original[8:12], 1)
    changed[changed == 65535] = 900
    data = encode_residual(DEPTH, steps_of(DEPTH, True, 10_000, 0), original, changed)
    assert worst_error(PERCENT, DEPTH, original, decode_residual(DEPTH, data, changed)) <= 0.01


def test_a_bound_needs_a_value_and_a_task_that_takes_one() -> None:
    codec = ResidualCodec(make_codec("avif", [DEPTH]), ["depth"])
    with pytest.raises(CodecError, match="--max-error depth="):
        codec.encode_batch([make_sample([DEPTH], (8, 8))], Quality())
    with pytest.raises(CodecError, match="label"):
        ResidualCodec(make_codec("png", [LABEL]), ["label"])
    with pytest.raises(CodecError, match=r"floating point.*--codec rgb=avif"):
        ResidualCodec(FloatCodec([RGB], 0.0), ["rgb"])  # type: ignore[arg-type]
    with pytest.raises(CodecError, match="--max-error"):
        codec_class("residual").for_tasks([DEPTH])


# ---- the parts


@given(
    st.booleans(),
    st.integers(0, 200_000),
    st.integers(0, 1),
    arrays_of.arrays(np.uint16, (2, 40)),
)
@settings(max_examples=60, deadline=None)
def test_steps_reach_every_original_from_every_count(
    relative: bool, size: int, margin: int, counts: np.ndarray
) -> None:
    size = size if relative else size % 70_000
    steps = Steps("uint16", (0, 65535), relative, size, margin)
    original = np.clip(counts[0], 1, 65534)
    residual = steps.quantise(original, counts[1])
    found = steps.apply(counts[1], residual)
    moved = residual != 0
    assert steps.holds(original, found).all()
    assert not np.isin(found[moved], (0, 65535)).any()
    if margin == 0:  # what is covered stays as it is, so that a good map is not made worse
        assert np.array_equal(moved, ~steps.holds(original, counts[1]))


def test_a_step_is_as_wide_as_the_bound_allows() -> None:
    steps = Steps("uint16", (), False, 5)
    original = np.arange(1000, 1100, dtype=np.uint16)
    assert np.array_equal(
        steps.quantise(original, np.full_like(original, 1000)), (np.arange(100) + 5) // 11
    )
    relative = Steps("uint16", (), True, 10_000)
    top = relative.quantise(np.array([60_000], np.uint16), np.array([1000], np.uint16))
    assert top[0] == pytest.approx(np.log(60) / np.log(1.01 / 0.99), rel=0.02)


@given(
    arrays_of.arrays(
        np.int32,
        st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 40)),
        elements=st.integers(-3, 3) | st.integers(-70_000, 70_000),
    ),
    st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_planes_come_back(planes: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random(planes.shape[1:]) < (0.0, 0.5, 0.9, 1.0, 1.0, 1.0)[seed]
    data = encode_planes(planes, valid)
    assert np.array_equal(decode_planes(data, len(planes), valid), np.where(valid, planes, 0))


def test_cuts_are_seen() -> None:
    # all but one of some hundred, by the coder's own state; an archive's checksums see every one
    for seed in range(20):
        rng = np.random.default_rng(seed)
        planes = rng.integers(-seed, seed + 2, (1, 30, 40)).astype(np.int32)
        data = encode_planes(planes, np.ones((30, 40), bool))
        for cut in (1, 4, 40):
            with pytest.raises(BitstreamError):
                decode_planes(data[:-cut], 1, np.ones((30, 40), bool))


def by_both(monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any]) -> tuple[Any, Any]:
    """Return what the kernels give, and what their twins do."""
    found = []
    for which in ("compiled", "twin"):
        use_kernels(which, monkeypatch)
        found.append(ask())
    return found[0], found[1]


def planes_from(data: st.DataObject) -> tuple[np.ndarray, np.ndarray]:
    """Draw planes, from smooth to noise with escapes, and which pixels are valid."""
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 80), st.integers(1, 150)))
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 20)))
    spread = data.draw(st.sampled_from((0, 1, 3, 40, 100_000)))
    planes = rng.integers(-spread, spread + 1, shape)
    if data.draw(st.booleans()):
        planes = planes.cumsum(axis=2).clip(-250_000, 250_000)
    valid = rng.random(shape[1:]) < data.draw(st.sampled_from((0.0, 0.3, 0.9, 0.999, 1.0)))
    return planes.astype(np.int32), valid


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE_IS_FINE)
def test_kernels_code_planes_as_their_twins_do(
    monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    planes, valid = planes_from(data)
    coded, twin = by_both(monkeypatch, lambda: encode_planes(planes, valid))
    assert coded == twin
    for found in by_both(monkeypatch, lambda: decode_planes(coded, len(planes), valid)):
        assert np.array_equal(found, np.where(valid, planes, 0))


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE_IS_FINE)
def test_kernels_see_damage_as_their_twins_do(
    monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    planes, valid = planes_from(data)
    damaged = bytearray(encode_planes(planes, valid))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))

    def ask() -> Any:
        try:
            return decode_planes(bytes(damaged), len(planes), valid).tolist()
        except BitstreamError as error:
            return str(error)

    found, twin = by_both(monkeypatch, ask)
    assert found == twin


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=FIXTURE_IS_FINE)
def test_kernels_take_steps_as_their_twins_do(
    monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from(("uint8", "uint16")))
    invalid = data.draw(st.sampled_from(((), (0,), (0, np.iinfo(dtype).max), (127,))))
    relative = data.draw(st.booleans())
    size = data.draw(st.integers(0, 300_000) if relative else st.integers(0, 60))
    steps = Steps(dtype, invalid, relative, size, data.draw(st.integers(0, 1)))
    counts = data.draw(arrays_of.arrays(dtype, (2, 3, 20)))
    near = counts[0] // 16 + counts[1] // 17
    for decoded in (counts[1], near):
        residual, twin = by_both(monkeypatch, lambda d=decoded: steps.quantise(counts[0], d))
        assert np.array_equal(residual, twin)
        wild = data.draw(
            arrays_of.arrays(np.int32, (3, 20), elements=st.integers(-(1 << 30), 1 << 30))
        )
        for asked in (residual, wild):
            found, twin = by_both(monkeypatch, lambda d=decoded, r=asked: steps.apply(d, r))
            assert found.dtype == twin.dtype == dtype
            assert np.array_equal(found, twin)
        held, twin = by_both(monkeypatch, lambda d=decoded: steps.holds(counts[0], d))
        assert np.array_equal(held, twin)


@pytest.mark.parametrize("which", ["compiled", "twin"])
@pytest.mark.parametrize(
    ("spread", "channels", "promised"),
    [(0, 1, "10e22d7c9d05959e"), (2, 2, "b8574cadbcd6a414"), (90, 1, "a0d71399f666642b")],
)
def test_bytes_are_these_for_ever(
    monkeypatch: pytest.MonkeyPatch, which: str, spread: int, channels: int, promised: str
) -> None:
    use_kernels(which, monkeypatch)
    rng = np.random.default_rng(spread)
    planes = rng.integers(-spread, spread + 1, (channels, 97, 131)).cumsum(axis=1).astype(np.int32)
    planes[rng.random(planes.shape) < 0.001] += 1000
    y, x = np.mgrid[:97, :131]
    valid = (y - 40) ** 2 + (x - 60) ** 2 > 20**2
    data = encode_planes(planes, valid)
    assert hashlib.sha256(data).hexdigest()[:16] == promised
    assert np.array_equal(decode_planes(data, channels, valid), np.where(valid, planes, 0))


def test_a_kernel_refuses_arrays_of_another_size() -> None:
    if not _kernels.built:
        pytest.skip("the compiled kernels were not built here")
    planes, valid = np.zeros((1, 8, 8), np.int32), np.ones((8, 8), bool)
    room, contexts = np.empty(64 + 64, np.int32), np.empty(64 + 64, np.uint8)
    ends, counts = np.empty(16, np.int64), np.zeros((43, 513), np.int64)
    whole = [planes, valid, room, contexts, ends, counts]
    _kernels.compiled.residual_contexts(*whole)
    for k, wrong in enumerate([planes[:, :4], valid[:4], room[:64], contexts[:64], ends[:8]]):
        with pytest.raises(TypeError):
            _kernels.compiled.residual_contexts(*whole[:k], wrong, *whole[k + 1 :])


def test_sparse_residuals_cost_little() -> None:
    planes = np.zeros((1, 240, 320), np.int32)
    planes[0, 100:104, 50:90] = 1
    assert len(encode_planes(planes, np.ones((240, 320), bool))) < 150


def test_tables_are_these_integers_for_ever() -> None:
    tables = geometric_tables()
    assert len(tables) == 216
    sums = np.add.reduceat(tables.frequencies.astype(np.int64), tables.offsets[:-1])
    assert (sums == 1 << 16).all()
    stored = [(tables.frequencies, "<u4"), (tables.lows, "<i4"), (tables.offsets, "<i8")]
    data = b"".join(array.astype(kind).tobytes() for array, kind in stored)
    assert hashlib.sha256(data).hexdigest()[:16] == "f2f3162492115c83"


# ---- real depth with holes


@pytest.mark.data
@pytest.mark.parametrize("value", [0.02, 0.005])
def test_no_valid_pixel_of_real_depth_is_beyond_the_bound(data_root: Path, value: float) -> None:
    source = open_source("folder", str(data_root / "sevenscenes"))
    task = next(task for task in source.tasks if task.kind is TaskKind.DEPTH)
    codec = ResidualCodec(make_codec("avif", [task]), [task.name])
    bound = Bound(kind=BoundKind.RELATIVE, value=value)
    for index in (0, 60):
        sample = source.read(index, [task.name]).arrays
        asked = Quality(default=70, max_error={task.name: bound})
        (streams,) = codec.encode_batch([sample], asked)
        (decoded,) = codec.decode_batch([streams], [task.name], 1 << 20)
        error = worst_error(bound, task, sample[task.name], decoded[task.name])
        assert 0.9 * value < error <= value
        assert residual_stream(task.name) in streams
        plain = make_codec("jxl-lossless", [task]).encode_batch([sample], Quality())[0]
        assert sum(map(len, streams.values())) < 0.75 * sum(map(len, plain.values()))
