"""Maps are looked up, filled, made unit vectors and compared in C as in numpy, bit for bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from dsc import _kernels
from dsc._codecs.maps.look_up import look_up
from dsc._coding.fill import fill_invalid
from dsc._pipeline.metrics import ms_ssim
from dsc._schemas import Task, TaskKind
from tests.kernels import use_kernels

KINDS = ("uint8", "uint16")
FIXTURE_IS_FINE = [HealthCheck.function_scoped_fixture]  # it only says which kernels are used


def by_both(monkeypatch: pytest.MonkeyPatch, ask: Any) -> tuple[Any, Any]:
    found = []
    for which in ("compiled", "twin"):
        use_kernels(which, monkeypatch)
        found.append(ask())
    return found[0], found[1]


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE_IS_FINE)
def test_a_look_up_is_that_of_numpy(monkeypatch: pytest.MonkeyPatch, data: st.DataObject) -> None:
    of_image, of_table = data.draw(st.sampled_from(KINDS)), data.draw(st.sampled_from(KINDS))
    size = data.draw(st.integers(1, 256))
    image = data.draw(
        arrays_of.arrays(
            of_image,
            st.sampled_from([(3, 5), (4, 6, 3), (1, 1)]),
            elements=st.integers(0, size - 1),
        )
    )
    table = data.draw(arrays_of.arrays(of_table, size))
    mask = data.draw(st.none() | arrays_of.arrays(bool, image.shape))
    wanted = table[image] if mask is None else np.where(mask, table.dtype.type(7), table[image])
    for found in by_both(monkeypatch, lambda: look_up(image, table, mask, 7)):
        assert found.dtype == table.dtype
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("which", ["compiled", "twin"])
def test_a_value_beyond_the_table_is_refused(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    use_kernels(which, monkeypatch)
    image, table = np.array([[1, 300]], np.uint16), np.zeros(300, np.uint8)
    with pytest.raises(ValueError, match="value 300 of an image whose values are below 300"):
        look_up(image, table, image == 300)


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=FIXTURE_IS_FINE)
def test_unit_vectors_are_those_of_numpy(
    monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    invalid = data.draw(st.sampled_from([(), (127,), (0, 255), (128, 127)]))
    task = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=invalid)
    gray = data.draw(arrays_of.arrays(np.uint8, (5, 7, 1)))
    array = np.where(
        gray < 99, gray * np.ones(3, np.uint8), data.draw(arrays_of.arrays(np.uint8, (5, 7, 3)))
    )
    found, twin = by_both(monkeypatch, lambda: task.to_physical(array))
    assert found.dtype == np.float32
    assert np.array_equal(found, twin, equal_nan=True)
    assert np.array_equal(np.isnan(found).all(axis=2), task.invalid_mask(array))


@given(
    st.integers(0, 1 << 20),
    st.tuples(st.integers(1, 3), st.integers(1, 50), st.integers(1, 70)),
    st.sampled_from((0.0, 0.1, 0.5, 0.99)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE_IS_FINE)
def test_holes_are_filled_as_numpy_fills_them(
    monkeypatch: pytest.MonkeyPatch, seed: int, shape: tuple[int, int, int], share: float
) -> None:
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 4096, shape).astype(np.float32)
    invalid = rng.random(shape[1:]) < share
    invalid[: shape[1] // 2] |= seed % 3 == 0
    found, twin = by_both(monkeypatch, lambda: fill_invalid(planes, invalid, 7.0))
    assert found.dtype == np.float32
    assert np.array_equal(found, twin)
    assert np.array_equal(found[:, ~invalid], planes[:, ~invalid])


@pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built")
@pytest.mark.parametrize("weight", [-1.0, np.nan])
def test_a_weight_that_could_leave_holes_for_ever_is_refused(weight: float) -> None:
    planes, weights = np.ones((1, 2, 2), np.float32), np.array([[1, weight], [0, 0]], np.float32)
    with pytest.raises(TypeError, match="below 0"):
        _kernels.compiled.maps_fill(planes, weights)


@pytest.mark.parametrize("shape", [(200, 190, 3), (97, 31), (7, 40, 3), (11, 11)])
def test_ms_ssim_is_that_of_numpy(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape)
    noisy = np.clip(image + rng.integers(-9, 10, shape), 0, 255)
    found, twin = by_both(monkeypatch, lambda: ms_ssim(image, noisy))
    assert found == twin
