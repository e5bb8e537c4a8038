import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._replay.policies.base import (
    ClassBalanced,
    ExemplarTable,
    Policy,
    Reservoir,
    State,
    fill_equally,
    state_bytes,
)
from dsc._replay.policies.herding import Herding, herding_order
from dsc._replay.policies.rate_adaptive import RateAdaptive
from dsc._replay.policies.registry import POLICIES, make_policy
from dsc.errors import UsageError

sizes = st.lists(st.integers(5, 400), min_size=1, max_size=60)


def rows(
    labels: Any, costs: Any, random: Any = None, fresh: Any = None, features: Any = None
) -> ExemplarTable:
    count = len(labels)
    drawn = np.random.default_rng(count).permutation(count) * 1000 if random is None else random
    return ExemplarTable(
        np.array(labels, np.int64),
        np.array(costs, np.int64),
        np.array(drawn, np.uint32),
        np.full(count, 50),
        np.ones(count, bool) if fresh is None else np.array(fresh, bool),
        features,
    )


def part(whole: ExemplarTable, at: Any, n_old: int = 0) -> ExemplarTable:
    fresh = np.arange(len(at)) >= n_old
    given = None if whole.features is None else whole.features[np.asarray(at)[fresh]]
    return ExemplarTable(
        whole.labels[at], whole.costs[at], whole.random[at], whole.qualities[at], fresh, given
    )


def offered_in_parts(
    policy: Policy, whole: ExemplarTable, budget: int, order: Any, step: int
) -> tuple[set[int], State]:
    kept: np.ndarray[Any, Any] = np.zeros(0, np.int64)
    state: State = {}
    for start in range(0, len(order), step):
        at = np.concatenate([kept, order[start : start + step]]).astype(np.int64)
        chosen = policy.select(part(whole, at, len(kept)), budget, state)
        kept, state = at[chosen.keep], chosen.state
    return set(kept.tolist()), state


@given(sizes, st.integers(500, 4000), st.randoms(use_true_random=False), st.integers(1, 20))
def test_a_reservoir_keeps_the_same_in_whatever_order_and_parts_data_come(
    costs: list[int], budget: int, shuffler: Any, step: int
) -> None:
    whole = rows([0] * len(costs), costs)
    order = list(range(len(costs)))
    at_once, _ = offered_in_parts(Reservoir(), whole, budget, order, len(order))
    shuffler.shuffle(order)
    in_parts, _ = offered_in_parts(Reservoir(), whole, budget, order, step)
    assert in_parts == at_once


@given(sizes, st.integers(500, 4000), st.integers(0, 2**32 - 1))
def test_a_reservoir_is_the_longest_run_of_smallest_keys_that_fits(
    costs: list[int], budget: int, seed: int
) -> None:
    random = np.random.default_rng(seed).integers(0, 12, len(costs))  # with many equal keys
    chosen = Reservoir().select(rows([0] * len(costs), costs, random), budget, {})
    kept = set(chosen.keep.tolist())
    used = sum(costs[at] for at in kept)
    assert used + state_bytes(chosen.state) <= budget
    lowest_left = min((random[at] for at in range(len(costs)) if at not in kept), default=None)
    if lowest_left is not None:
        assert all(random[at] < lowest_left for at in kept)
        group = sum(c for c, key in zip(costs, random, strict=True) if key == lowest_left)
        assert used + group > budget - 4


@given(st.lists(st.integers(0, 6), min_size=1, max_size=120), st.integers(400, 3000))
def test_equal_sizes_give_classes_equal_counts_or_all_they_have(
    labels: list[int], budget: int
) -> None:
    chosen = ClassBalanced().select(rows(labels, [50] * len(labels)), budget, {})
    kept = np.bincount(np.array(labels)[chosen.keep], minlength=7)
    there = np.bincount(labels, minlength=7)
    cut_short = [kept[c] for c in range(7) if kept[c] < there[c]]
    for count in cut_short:  # a class that gave something up has no less than any other, but one
        assert count >= kept.max() - 1


def test_what_a_rare_class_leaves_over_goes_to_the_others() -> None:
    labels = [0] * 2 + [1] * 50 + [2] * 50
    chosen = ClassBalanced().select(rows(labels, [50] * 102), 50 * 30 + 18, {})
    assert np.bincount(np.array(labels)[chosen.keep]).tolist() == [2, 14, 14]


@pytest.mark.parametrize("policy", [ClassBalanced(), Reservoir()])
def test_offering_in_parts_fills_the_budget_as_well(policy: Policy) -> None:
    rng = np.random.default_rng(3)
    whole = rows(rng.integers(0, 10, 3000), rng.integers(100, 300, 3000))
    order = rng.permutation(3000)
    kept, state = offered_in_parts(policy, whole, 20_000, order, 10)
    used = int(whole.costs[sorted(kept)].sum()) + state_bytes(state)
    assert 0.97 * 20_000 < used <= 20_000


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(10, 200)), min_size=2, max_size=60),
    st.integers(300, 2500),
    st.integers(1, 30),
    st.sampled_from(sorted(POLICIES)),
)
def test_no_policy_goes_over_budget_in_any_sequence(
    exemplars: list[tuple[int, int]], budget: int, step: int, name: str
) -> None:
    labels, costs = zip(*exemplars, strict=True)
    features = np.random.default_rng(0).normal(size=(len(labels), 3))
    whole = rows(labels, costs, features=features)
    policy = make_policy(name) if name != "rate-adaptive" else RateAdaptive(floor=50)
    kept, state = offered_in_parts(policy, whole, budget, np.arange(len(labels)), step)
    assert int(whole.costs[sorted(kept)].sum()) + state_bytes(state) <= budget


def test_what_a_class_gave_up_does_not_come_back() -> None:
    policy, budget = ClassBalanced(), 500
    whole = rows([1] * 12, [50] * 12, random=np.arange(12) * 100)
    first = policy.select(whole, budget, {})
    assert len(first.keep) == 9
    larger = np.array([899, 900, 901])
    assert policy.admits(np.array([1, 1, 1]), larger, first.state).tolist() == [True, False, False]
    assert policy.admits(np.array([2]), larger[2:], first.state).all()
    late = policy.select(rows([1] * 3, [50] * 3, random=larger), budget, first.state)
    assert late.keep.tolist() == [0]


def test_a_small_exemplar_does_not_slip_in_behind_a_large_one_that_did_not_fit() -> None:
    policy = Reservoir()
    first = policy.select(rows([0, 0], [300, 400], random=[10, 20]), 504, {})
    assert first.keep.tolist() == [0]
    later = rows([0, 0], [300, 50], random=[10, 30], fresh=[False, True])
    assert policy.select(later, 504, first.state).keep.tolist() == [0]


def test_herding_follows_the_papers_recursion() -> None:
    features = np.random.default_rng(1).normal(size=(20, 4))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    mean, picked = unit.mean(axis=0), []
    for k in range(1, 21):
        left = [at for at in range(20) if at not in picked]
        total = unit[picked].sum(axis=0)
        picked.append(min(left, key=lambda at: np.linalg.norm(mean - (unit[at] + total) / k)))
    assert herding_order(features, np.ones(20, np.int64), 100).tolist() == picked


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 3), min_size=4, max_size=60),
    st.integers(300, 4000),
    st.floats(0.1, 0.9),
)
def test_shrinking_a_herded_class_keeps_a_prefix_of_it(
    labels: list[int], budget: int, share: float
) -> None:
    rng = np.random.default_rng(len(labels))
    whole = rows(
        labels, rng.integers(20, 90, len(labels)), features=rng.normal(size=(len(labels), 5))
    )
    large = Herding().select(whole, budget, {})
    kept = part(whole, large.keep, len(large.keep))
    small = Herding().select(kept, int(budget * share), large.state)
    after = large.keep[small.keep]
    for label in set(labels):
        before = large.keep[whole.labels[large.keep] == label]
        now = after[whole.labels[after] == label]
        assert now.tolist() == before[: len(now)].tolist()


def test_a_class_that_comes_again_is_herded_in_proportion_to_its_samples() -> None:
    rng = np.random.default_rng(0)
    whole = rows([0] * 40, [10] * 40, features=rng.normal(size=(40, 4)))
    first = Herding().select(part(whole, np.arange(30)), 10_000, {})
    at = np.concatenate([first.keep, np.arange(30, 40)])
    second = Herding().select(part(whole, at, 30), 206, first.state)
    kept = at[second.keep]
    assert len(kept) == 20
    assert (kept < 30).sum() == 15


def test_herding_without_features_says_what_is_missing() -> None:
    with pytest.raises(UsageError, match="features"):
        Herding().select(rows([0, 1], [10, 10]), 100, {})


def test_qualities_fall_before_anything_is_dropped() -> None:
    policy = RateAdaptive(floor=20)
    whole = rows([0] * 10, [100] * 10)
    chosen = policy.select(whole, 900, {})
    assert chosen.lower
    assert set(chosen.lower.values()) == {35}
    assert len(chosen.keep) == 10
    at_floor = ExemplarTable(
        whole.labels, whole.costs, whole.random, np.full(10, 20), whole.fresh, None
    )
    dropped = policy.select(at_floor, 900, {})
    assert not dropped.lower
    assert len(dropped.keep) == 8


def test_filling_goes_on_past_a_row_that_does_not_fit() -> None:
    queues = {0: np.array([0, 1]), 1: np.array([2, 3])}
    assert fill_equally(queues, np.array([10, 90, 10, 10]), 35) == {0: 1, 1: 2}


@pytest.mark.parametrize("policy", [Reservoir(), ClassBalanced()])
def test_every_sample_is_kept_equally_often(policy: Policy) -> None:
    kept_total = np.zeros(40)
    for seed in range(300):
        random = np.random.default_rng(seed).integers(0, 2**32, 40)
        whole = rows([0] * 40, [50] * 40, random)
        kept, _ = offered_in_parts(policy, whole, 516, np.arange(40), 7)
        kept_total[sorted(kept)] += 1
    expected = kept_total.sum() / 40
    chi_squared = ((kept_total - expected) ** 2 / expected).sum()
    assert chi_squared < 72.1  # 99.9 % of a chi-squared distribution with 39 degrees of freedom


def test_the_policy_in_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(Policy, "Policy", globs={})
    assert len(example.examples) > 5
    assert doctest.DocTestRunner().run(example).failed == 0
