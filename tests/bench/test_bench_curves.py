"""Curves: Bjøntegaard-delta rates and bits at equal distortion, on curves whose answer is known."""

import math

import numpy as np
import pytest

from dsc._bench.rate_distortion.curves import Curve, axis_of, bd_rate, rate_at, value_of
from dsc._schemas import TaskKind

pytest.importorskip("bjontegaard", reason="pip install 'dsc[bench]'")
QUALITIES = (30.0, 32.0, 35.0, 38.0, 41.0)


def line(bpp_at_30: float, db_a_doubling: float, start: float = 30.0) -> Curve:
    """A curve on which the rate doubles every few decibels: straight on a logarithmic axis."""
    points = [(bpp_at_30 * 2 ** ((q - 30) / db_a_doubling), q) for q in QUALITIES if q >= start]
    return Curve.of(TaskKind.IMAGE, points)


def test_half_the_bits_at_every_quality_is_minus_fifty_percent() -> None:
    found = bd_rate(line(0.2, 4.0), line(0.1, 4.0))
    assert found is not None
    assert found.percent == pytest.approx(-50, abs=1e-6)
    assert (found.low_db, found.high_db, found.share) == (30.0, 41.0, 1.0)


def test_bd_rate_is_the_mean_log_ratio_over_the_overlap_alone() -> None:
    anchor, tested = line(0.2, 4.0), line(0.2, 5.0, start=32.0)
    found = bd_rate(anchor, tested)
    q = np.linspace(32, 41, 100_001)
    log_ratio = (q - 30) * (1 / 5 - 1 / 4) * math.log(2)
    assert found is not None
    assert found.low_db == 32.0
    assert found.percent == pytest.approx(100 * (math.exp(log_ratio.mean()) - 1), abs=1e-3)


def test_bd_rate_of_depth_weighs_equal_ratios_of_error_equally() -> None:
    """Every AbsRel halved at equal bits, where bits double a halving, is half the bits."""
    absrel = (0.02, 0.01, 0.005, 0.0025)
    anchor = Curve.of(TaskKind.DEPTH, [(0.1 * 0.02 / a, a) for a in absrel])
    tested = Curve.of(TaskKind.DEPTH, [(0.1 * 0.02 / a, a / 2) for a in absrel])
    found = bd_rate(anchor, tested)
    assert found is not None
    assert found.percent == pytest.approx(-50, abs=1e-6)
    assert value_of(TaskKind.DEPTH, found.high_db) == pytest.approx(0.0025)


def test_curves_that_do_not_overlap_are_not_compared() -> None:
    low = Curve.of(TaskKind.IMAGE, [(0.1, 20.0), (0.2, 22.0), (0.4, 24.0)])
    assert bd_rate(low, line(0.1, 4.0)) is None
    assert bd_rate(line(0.1, 4.0), low) is None
    assert bd_rate(line(0.1, 4.0), Curve.of(TaskKind.IMAGE, [(0.1, 31.0), (0.2, 36.0)])) is None


def test_beaten_and_lossless_points_are_no_part_of_a_curve() -> None:
    points = [(0.4, 36.0), (0.1, 30.0), (0.3, 35.0), (0.35, 34.0), (0.3, 33.0), (9.0, math.inf)]
    curve = Curve.of(TaskKind.IMAGE, points)
    assert curve.rate_bpp.tolist() == [0.1, 0.3, 0.4]
    assert curve.axis_db.tolist() == [30.0, 35.0, 36.0]
    assert math.isinf(axis_of(TaskKind.DEPTH, 0.0))


def test_bits_at_equal_quality_are_interpolated_and_never_extrapolated() -> None:
    curve = line(0.1, 4.0)
    assert rate_at(curve, 36.0) == pytest.approx(0.1 * 2**1.5)
    assert rate_at(curve, 30.0) == pytest.approx(0.1)
    assert rate_at(curve, 29.9) is None
    assert rate_at(curve, 41.1) is None


@pytest.mark.parametrize("kind", [TaskKind.IMAGE, TaskKind.DEPTH, TaskKind.NORMAL])
def test_the_quality_axis_leads_back_to_the_metric(kind: TaskKind) -> None:
    assert value_of(kind, axis_of(kind, 0.73)) == pytest.approx(0.73)
