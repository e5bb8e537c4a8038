"""A search goes by a model, and what it finds was measured all the same."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsc._pipeline.choose.below import lowest
from dsc._pipeline.choose.distortion import level_db, margin_db, mean_distortion
from dsc._pipeline.choose.quality_search import (
    BEST,
    CLOSE_DB,
    SLACK_DB,
    QualityCurve,
    smallest_quality,
)
from dsc._schemas import Metric, Target

SLOPES = st.lists(st.sampled_from([0.0, 0.05, 0.3, 0.8, 3.0]), min_size=BEST, max_size=BEST)


@given(SLOPES, st.floats(-5, 60), st.integers(1, 100), st.integers(1, 100))
def test_what_is_found_is_good_enough_and_hardly_more(
    slopes: list[float], wanted: float, start: int, lowest_quality: int
) -> None:
    levels = np.cumsum(slopes) - wanted
    tried: dict[int, float] = {}

    def margin_of(quality: int) -> float:
        assert quality not in tried
        tried[quality] = float(levels[quality - 1])
        return tried[quality]

    found = smallest_quality(margin_of, start, lowest_quality)
    assert len(tried) <= 16
    if found is None:
        assert levels[-1] < 0
        assert BEST in tried
        return
    assert tried[found] >= 0
    is_smallest = found <= max(lowest_quality, 1) or tried.get(found - 1, 0.0) < 0
    assert is_smallest or tried[found] <= SLACK_DB


@given(SLOPES, st.floats(-5, 60), st.integers(1, 100))
def test_without_slack_the_smallest_quality_is_found(
    slopes: list[float], wanted: float, start: int
) -> None:
    levels = np.cumsum(slopes) - wanted
    found = smallest_quality(lambda q: float(levels[q - 1]), start, slack_db=0.0)
    good = np.flatnonzero(levels >= 0)
    if not good.size:
        assert found is None
    else:
        assert found is not None
        assert levels[found - 1] >= 0
        assert found == good[0] + 1 or levels[found - 1] == 0


def test_a_curve_that_is_known_takes_one_or_two_trials() -> None:
    curve, slopes = QualityCurve(), np.linspace(0.1, 0.6, BEST)
    counts = []
    for height in (3.0, 8.0, 5.5, 1.0, 7.0, 6.0, 2.0, 4.0, 5.0):
        known: dict[int, float] = {}

        def margin_of(quality: int, own: dict[int, float] = known, off: float = height) -> float:
            own[quality] = float(slopes[:quality].sum()) + off - 20
            return own[quality]

        found = smallest_quality(margin_of, 60, 1, curve)
        assert found is not None
        assert known[found] >= 0
        assert known[found] <= CLOSE_DB or known[found] - slopes[found - 1] < 1e-9
        curve.learn(known)
        counts.append(len(known))
    assert max(counts[3:]) <= 3


def test_one_exact_point_says_nothing_of_a_slope() -> None:
    curve = QualityCurve()
    curve.learn({60: math.inf, 50: math.inf})
    assert curve.rise_db(50, 60) == pytest.approx(3.0)
    assert curve.through({60: math.inf}, 0, 60)(50) == 0.0


@pytest.mark.parametrize("answer", [1, 12, 40, 61, 74, 83, 96, 100])
def test_the_bottom_of_a_valley_is_found_in_few_steps(answer: int) -> None:
    tried: list[int] = []

    def size(quality: int) -> int:
        tried.append(quality)
        return 10_000 + 2 * (quality - answer) ** 2

    found = lowest(size, 74)
    assert size(found) <= 1.01 * size(answer)
    assert len(tried) - 2 <= (10 if answer < 40 else 6)
    assert lowest(lambda quality: 5, 74) <= 74  # all alike


def test_decibels_rise_where_a_metric_gets_better_and_a_miss_is_below_nothing() -> None:
    better = {
        Metric.PSNR: (30, 31), Metric.MS_SSIM: (0.9, 0.95), Metric.ABSREL: (0.02, 0.01),
        Metric.RMSE: (0.2, 0.1), Metric.ANGLE: (3, 2),
    }  # fmt: skip
    for metric, (worse, good) in better.items():
        assert level_db(metric, worse) < level_db(metric, good)
        target = Target(metric=metric, value=good)
        assert margin_db(target, good) == 0
        assert margin_db(target, worse) < 0
        assert margin_db(target, math.nan) == math.inf
    assert margin_db(Target(metric=Metric.ABSREL, value=0.01), 0.0) == math.inf
    tiny = Target(metric=Metric.ABSREL, value=0.01)
    assert margin_db(tiny, math.nextafter(0.01, 1)) < 0
    assert mean_distortion([math.inf, math.nan]) == math.inf
