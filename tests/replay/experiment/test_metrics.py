"""Metrics against matrices worked out by hand."""

import numpy as np
import pytest

from dsc._replay.experiment.metrics import (
    average_incremental_accuracy,
    backward_transfer,
    forgetting,
    last_accuracy,
    paired_interval,
    step_accuracy,
)
from dsc.errors import UsageError

NAN = np.nan
# after step 2 the first step's classes are better than after step 1, then fall
MATRIX = np.array([[80.0, NAN, NAN], [90.0, 60.0, NAN], [50.0, 40.0, 70.0]])
COUNTS = (10, 10, 20)


def test_a_steps_accuracy_counts_test_images_of_all_seen_classes() -> None:
    assert step_accuracy(MATRIX, COUNTS) == pytest.approx([80, 75, (500 + 400 + 1400) / 40])


def test_averages_and_last() -> None:
    assert last_accuracy(MATRIX, COUNTS) == pytest.approx(57.5)
    assert average_incremental_accuracy(MATRIX, COUNTS) == pytest.approx((80 + 75 + 57.5) / 3)


def test_forgetting_is_from_the_best_and_backward_transfer_from_the_first() -> None:
    assert forgetting(MATRIX) == pytest.approx(((90 - 50) + (60 - 40)) / 2)
    assert backward_transfer(MATRIX) == pytest.approx(((50 - 80) + (40 - 60)) / 2)


def test_one_step_cannot_forget() -> None:
    one = np.array([[50.0]])
    assert np.isnan(forgetting(one))
    assert np.isnan(backward_transfer(one))
    assert average_incremental_accuracy(one, [5]) == 50


def test_what_was_not_measured_makes_no_average() -> None:
    last_only = MATRIX.copy()
    last_only[:2] = NAN
    assert np.isnan(average_incremental_accuracy(last_only, COUNTS))
    assert np.isnan(forgetting(last_only))
    assert last_accuracy(last_only, COUNTS) == pytest.approx(57.5)


def test_paired_differences_forget_what_pairs_share() -> None:
    mean, half = paired_interval([11, 22, 33], [10, 20, 30])
    assert mean == pytest.approx(2)
    assert half == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)
    assert np.isnan(paired_interval([1], [0])[1])


@pytest.mark.parametrize("freedom", [1, 2, 5, 10, 11, 15, 29, 100])
def test_the_interval_is_students(freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="pip install 'dsc[bench]'")
    values = np.random.default_rng(freedom).normal(size=freedom + 1).tolist()
    half = paired_interval(values, [0.0] * len(values))[1]
    exact = stats.t.ppf(0.975, freedom) * np.std(values, ddof=1) / np.sqrt(freedom + 1)
    assert half == pytest.approx(exact, rel=1e-3)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="2 counts for 3 steps"):
        step_accuracy(MATRIX, (1, 2))
    with pytest.raises(UsageError, match=r"shape \(2, 3\)"):
        forgetting(MATRIX[:2])
    with pytest.raises(UsageError, match="no pairs"):
        paired_interval([1.0], [1.0, 2.0])
