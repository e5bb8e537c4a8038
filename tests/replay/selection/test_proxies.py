"""The proxies' formulas: drift, volume, and what a probe makes of its trials."""

import numpy as np
import pytest

from dsc._replay.selection.proxies import (
    Trial,
    coding_rate,
    drift,
    drift_score,
    probe_scores,
    survivors,
    volume_ratio,
    volume_score,
)

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(30, 8)).astype(np.float32)
LABELS = np.arange(30) % 3


def test_drift_is_relative_and_none_where_nothing_changed() -> None:
    assert drift(FEATURES, FEATURES) == 0
    assert drift(FEATURES, 1.5 * FEATURES) == pytest.approx(0.25)
    assert drift(9 * FEATURES, 13.5 * FEATURES) == pytest.approx(0.25)


def test_drift_costs_beta_e_folds_of_exemplars() -> None:
    assert drift_score(100, 0.1, beta=0) == pytest.approx(np.log(100))
    assert drift_score(100, 0.2, beta=5) == pytest.approx(np.log(100 / np.e))


@pytest.mark.parametrize("count", [1, 7, 8, 30])
def test_the_coding_rate_is_its_determinant_also_for_more_exemplars_than_features(
    count: int,
) -> None:
    some = FEATURES[:count].astype(np.float64)
    unit = some / np.linalg.norm(some, axis=1, keepdims=True)
    matrix = np.eye(8) + 8 / (count * 0.25) * unit.T @ unit
    assert coding_rate(some) == pytest.approx(np.log(np.linalg.det(matrix)) / 2)


def test_volume_neither_vanishes_nor_overflows() -> None:
    same = np.repeat(FEATURES[:1], 400, axis=0)
    assert 0 < coding_rate(same) < coding_rate(FEATURES)
    wide = RNG.normal(size=(5000, 2000))
    assert np.isfinite(coding_rate(wide[:300]))
    assert np.isfinite(coding_rate(np.zeros((4, 8))))


def test_the_volume_ratio_is_one_without_compression_and_falls_with_diversity() -> None:
    assert volume_ratio(FEATURES, FEATURES, LABELS) == 1
    alike = FEATURES.mean(axis=0) + 0.2 * FEATURES
    assert volume_ratio(FEATURES, alike, LABELS) < 0.9
    assert volume_ratio(alike, FEATURES, LABELS) > 1.1


def test_the_rule_takes_the_most_exemplars_within_epsilon() -> None:
    within = [volume_score(count, ratio) for count, ratio in ((10, 1.0), (30, 1.4), (90, 0.6))]
    beyond = [volume_score(count, ratio) for count, ratio in ((1000, 1.6), (9000, 3.0))]
    assert within == sorted(within)
    assert beyond == sorted(beyond, reverse=True)
    assert max(beyond) < volume_score(1, 1.0)
    assert volume_score(90, 0.6, epsilon=0.3) < 0


def trial(candidate: int, loss: float, number: int = 0) -> Trial:
    return Trial(candidate, number, loss, 50.0)


def test_a_round_that_is_easier_for_all_favours_nobody() -> None:
    some = {0: 50, 1: 60, 2: 70}
    first = [trial(0, 2.0), trial(1, 1.0), trial(2, 1.5)]
    before = probe_scores(first, some, {})
    again = probe_scores([*first, trial(1, 0.5, 1), trial(2, 0.75, 1)], some, {})
    assert again == pytest.approx(before)
    turned = probe_scores([*first, trial(1, 0.75, 1), trial(2, 0.25, 1)], some, {})
    assert turned[2] > turned[1]
    assert turned[0] == pytest.approx(before[0])


EXEMPLARS = {at: 100 + 60 * at for at in range(9)}
DRIFTS = {at: 0.02 * (at % 3) + 0.02 * (at > 6) for at in range(9)}
TRUTH = {at: 0.3 * float(np.log(EXEMPLARS[at])) - 4 * DRIFTS[at] - 1 for at in range(9)}


def trials(values: dict[int, float]) -> list[Trial]:
    return [trial(at, float(np.exp(-value))) for at, value in values.items()]


def test_many_candidates_are_judged_by_what_explains_all_of_them() -> None:
    assert probe_scores(trials(TRUTH), EXEMPLARS, DRIFTS) == pytest.approx(TRUTH)
    best = max(TRUTH, key=lambda at: TRUTH[at])
    lucky = TRUTH | {5: TRUTH[best] + 0.05}
    fitted = probe_scores(trials(lucky), EXEMPLARS, DRIFTS)
    assert max(fitted, key=lambda at: fitted[at]) == best
    few = {at: lucky[at] for at in range(1, 6)}
    assert probe_scores(trials(few), EXEMPLARS, DRIFTS) == pytest.approx(few)


def test_candidates_with_far_fewer_exemplars_neither_bend_the_fit_nor_win() -> None:
    exemplars, drifts = EXEMPLARS | {9: 10, 10: 12}, DRIFTS | {9: 0.0, 10: 0.0}
    fitted = probe_scores(trials(TRUTH | {9: -3.0, 10: 2.0}), exemplars, drifts)
    assert {at: fitted[at] for at in TRUTH} == pytest.approx(TRUTH)
    assert fitted[9] == pytest.approx(-3.0)
    assert fitted[10] == pytest.approx(min(TRUTH.values()))


def test_noise_never_makes_drift_a_gain_or_exemplars_a_loss() -> None:
    odd = {at: 0.3 * float(np.log(EXEMPLARS[at])) + 5 * DRIFTS[at] for at in range(9)}
    by_number = probe_scores(trials(odd), EXEMPLARS, DRIFTS)
    assert sorted(by_number, key=lambda at: by_number[at]) == list(range(9))
    odd = {at: -4 * DRIFTS[at] - 0.1 * float(np.log(EXEMPLARS[at])) for at in range(9)}
    by_drift = probe_scores(trials(odd), EXEMPLARS, DRIFTS)
    assert [by_drift[at] for at in (0, 3, 6)] == pytest.approx([by_drift[0]] * 3)
    assert by_drift[0] > by_drift[1] > by_drift[2]


def test_the_best_third_goes_on_and_never_fewer_than_two() -> None:
    scores = {at: float(-abs(at - 4)) for at in range(9)}
    assert survivors(scores) == [3, 4, 5]
    assert survivors({7: 1.0, 2: 3.0, 5: 2.0}) == [2, 5]
    assert survivors({3: 1.0}) == [3]
