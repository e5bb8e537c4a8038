"""Between native arrays and planes: valid pixels stay valid, holes come back, depth is relative."""

import numpy as np
import pytest

from dsc._codecs.learned.planes import from_planes, modality_of, to_planes
from dsc._coding.fill import fill_invalid
from dsc._schemas import Task, TaskKind

KINECT = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0, 65535))
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))


@pytest.mark.parametrize("value", [-5e-9, 0.0, 1e-12])
def test_a_normal_without_length_never_becomes_the_invalid_value(value: float) -> None:
    native = from_planes(NORMAL, np.full((3, 2, 2), value, np.float32), None, 0.0)
    assert not NORMAL.invalid_mask(native).any()


@pytest.mark.parametrize("value", [-30.0, 0.0, 30.0])
def test_depth_far_out_of_range_stays_valid(value: float) -> None:
    native = from_planes(KINECT, np.full((1, 2, 2), value, np.float32), None, 0.0)
    assert not KINECT.invalid_mask(native).any()


def test_depth_comes_back_within_float_rounding_and_holes_as_the_first_invalid_value() -> None:
    rng = np.random.default_rng(0)
    depth = rng.integers(300, 9000, (20, 30)).astype(np.uint16)
    depth[3:7, 4:9], depth[0, 0] = 0, 65535
    planes, invalid, offset = to_planes(KINECT, depth)
    assert invalid is not None
    native = from_planes(KINECT, planes, invalid, offset)
    assert np.array_equal(native[~invalid], depth[~invalid])
    assert (native[invalid] == 0).all()


def test_a_map_without_any_valid_pixel_is_coded_as_nothing() -> None:
    planes, invalid, offset = to_planes(KINECT, np.zeros((5, 6), np.uint16))
    assert invalid is not None
    assert invalid.all()
    assert (planes.min(), planes.max(), offset) == (0, 0, 0)


def test_holes_are_filled_within_the_range_of_what_is_valid() -> None:
    rng = np.random.default_rng(1)
    planes = rng.uniform(2, 3, (1, 33, 17)).astype(np.float32)
    invalid = rng.random((33, 17)) < 0.7
    filled = fill_invalid(np.where(invalid, np.float32(99), planes), invalid, 0.0)
    assert np.allclose(filled[:, ~invalid], planes[:, ~invalid])
    assert filled.min() > 1.99
    assert filled.max() < 3.01


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_no_network_codes_depth_in_floats(dtype: str) -> None:
    floats = Task.model_validate(KINECT.model_dump() | {"dtype": dtype, "invalid": ()})
    assert modality_of(floats) is None
    assert modality_of(KINECT) == "depth"
