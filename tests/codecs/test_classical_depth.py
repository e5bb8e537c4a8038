"""Depth: the error bound holds for every valid pixel, invalid pixels are exact, none are made."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._codecs.maps.levels import Levels, relative_error
from dsc._codecs.registry import make_codec
from dsc._schemas import Quality, Task
from dsc.errors import BitstreamError
from tests.codecs.conformance import make_sample

ALL_COUNTS = {"uint8": np.arange(256, dtype=np.uint8), "uint16": np.arange(65536, dtype=np.uint16)}


def depth_task(dtype: str = "uint16", invalid: tuple[int, ...] = (65535,)) -> Task:
    return Task(name="depth", kind="depth", dtype=dtype, unit_m=1 / 512, invalid=invalid)


def round_trip(codec_id: str, task: Task, array: np.ndarray, quality: int) -> np.ndarray:
    codec = make_codec(codec_id, [task])
    streams = codec.encode_batch([{task.name: array}], Quality(default=quality))
    return codec.decode_batch(streams, [task.name], array.size)[0][task.name]


def test_relative_error_goes_from_5_percent_to_a_fiftieth_of_a_percent():
    errors = [relative_error(quality) for quality in range(1, 101)]
    assert errors[0] == 0.05
    assert errors[-1] == 0.0002
    assert errors == sorted(errors, reverse=True)
    assert len(set(errors)) > 90


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("quality", [1, 10, 33, 60, 87, 100])
@pytest.mark.parametrize("invalid", [(), (0,), (255,), (0, 255), (5, 6, 7, 101)])
def test_the_bound_holds_for_every_count_there_is(dtype, quality, invalid):
    task = depth_task(dtype, invalid)
    levels = Levels.at_quality(task, quality)
    counts = ALL_COUNTS[dtype]
    decoded = levels.decode(levels.encode(counts[None]))[0]
    valid = ~np.isin(counts, invalid)
    error = np.abs(decoded[valid].astype(np.int64) - counts[valid])
    # In whole numbers: the stated error is a whole number of 1/100,000.
    assert (error * 100_000 <= levels.error * counts[valid].astype(np.int64)).all()
    assert levels.error == round(relative_error(quality) * 100_000)
    assert not np.isin(decoded[valid], invalid).any()
    assert (decoded[~valid] == invalid[0]).all() if invalid else valid.all()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_jxl_keeps_the_bound_and_the_holes_of_any_map(data):
    dtype = data.draw(st.sampled_from(["uint8", "uint16"]))
    top = int(np.iinfo(dtype).max)
    invalid = tuple(data.draw(st.lists(st.integers(0, top), max_size=3, unique=True)))
    quality = data.draw(st.integers(1, 100))
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    low, high = sorted(data.draw(st.tuples(st.integers(0, top), st.integers(0, top))))
    array = rng.integers(low, high, shape, endpoint=True).astype(dtype)
    for value in invalid:
        array[rng.random(shape) < 0.1] = value
    task = depth_task(dtype, invalid)
    decoded = round_trip("jxl", task, array, quality)
    hole = task.invalid_mask(array)
    assert np.array_equal(task.invalid_mask(decoded), hole)
    error = np.abs(decoded[~hole].astype(float) - array[~hole])
    assert (error <= relative_error(quality) * array[~hole] * (1 + 1e-12)).all()


def test_coarser_levels_take_fewer_bytes():
    task = depth_task()
    codec = make_codec("jxl", [task])
    sample = make_sample([task], (120, 160))
    sizes = [
        len(codec.encode_batch([sample], Quality(default=quality))[0]["depth"])
        for quality in (10, 40, 70, 100)
    ]
    assert sizes == sorted(sizes)
    assert 2 * sizes[0] < sizes[-1]


def test_depth_already_coarser_than_the_levels_is_kept_exact():
    task = depth_task("uint8", ())
    sample = make_sample([task], (40, 40))["depth"]
    assert np.array_equal(round_trip("jxl", task, sample, 60), sample)


@pytest.mark.parametrize("codec_id", ["jpeg", "webp", "avif", "av1"])
@pytest.mark.parametrize(("quality", "limit"), [(50, 0.04), (95, 0.012)])
def test_lossy_depth_is_close_on_average(codec_id, quality, limit):
    task = depth_task(invalid=(0, 65535))
    depth = make_sample([task], (120, 160))["depth"]
    decoded = round_trip(codec_id, task, depth, quality)
    valid = ~task.invalid_mask(depth)
    error = np.abs(decoded[valid].astype(float) - depth[valid]) / depth[valid]
    assert error.mean() < limit


@pytest.mark.parametrize("codec_id", ["jpeg", "webp", "avif", "av1", "jxl"])
def test_every_invalid_value_comes_back_as_the_first_one(codec_id):
    task = depth_task(invalid=(65535, 0, 9))
    depth = make_sample([task], (40, 40))["depth"]
    assert len(np.unique(depth[task.invalid_mask(depth)])) == 3
    decoded = round_trip(codec_id, task, depth, 60)
    assert set(decoded[task.invalid_mask(depth)]) == {65535}


@pytest.mark.parametrize("codec_id", ["jpeg", "webp", "avif", "av1", "jxl"])
def test_an_invalid_value_amid_the_range_is_never_made(codec_id):
    task = depth_task("uint8", (100, 101, 102))
    depth = np.tile(np.arange(60, 160, dtype=np.uint8), (64, 1))
    depth[(depth >= 100) & (depth <= 102)] = 99
    decoded = round_trip(codec_id, task, depth, 30)
    assert not task.invalid_mask(decoded).any()


@pytest.mark.parametrize("codec_id", ["jpeg", "webp", "avif", "av1"])
def test_lossy_counts_stay_in_the_range_of_the_sample(codec_id):
    task = depth_task()
    depth = make_sample([task], (48, 48))["depth"]
    valid = ~task.invalid_mask(depth)
    decoded = round_trip(codec_id, task, depth, 5)
    assert decoded[valid].min() >= depth[valid].min()
    assert decoded[valid].max() <= depth[valid].max()


@pytest.mark.parametrize("codec_id", ["jpeg", "webp", "avif", "av1", "jxl", "png", "jxl-lossless"])
def test_a_valid_zero_is_coded(codec_id):
    task = depth_task(invalid=())
    depth = make_sample([task], (16, 16))["depth"]
    depth[:3] = 0
    decoded = round_trip(codec_id, task, depth, 90)
    if codec_id in ("png", "jxl", "jxl-lossless"):
        assert (decoded[:3] == 0).all()
    assert decoded.shape == depth.shape


def test_a_level_that_does_not_exist_is_a_bitstream_error():
    task = depth_task()
    good, none = depth_task(invalid=(65535,)), depth_task(invalid=())
    depth = make_sample([good], (24, 24))
    streams = make_codec("jxl", [good]).encode_batch([depth], Quality(default=20))
    # Level 0 is "invalid", which a task without invalid values does not have.
    with pytest.raises(BitstreamError, match="a level is outside"):
        make_codec("jxl", [none]).decode_batch(streams, [task.name], 24 * 24)


def test_a_mask_for_a_task_without_invalid_values_is_a_bitstream_error():
    good, none = depth_task(), depth_task(invalid=())
    depth = make_sample([good], (24, 24))
    streams = make_codec("avif", [good]).encode_batch([depth], Quality())
    with pytest.raises(BitstreamError, match="no invalid value"):
        make_codec("avif", [none]).decode_batch(streams, ["depth"], 24 * 24)
