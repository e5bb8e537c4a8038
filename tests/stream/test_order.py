"""Promises of the canonical order: every sample once, the same for everybody, mixed as asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._stream.order import (
    PERIOD,
    ArchiveLanes,
    EpochOrder,
    MixedLanes,
    OrderSpec,
    SamplePlaces,
    even_sizes,
    lane_sizes,
    permutation,
    schedule,
)


def make_spec(
    seed: int = 0, shuffle: int = 1, lanes: int = 3, window: int = 16, chunk: int = 4
) -> OrderSpec:
    return OrderSpec(seed=seed, shuffle=shuffle, lanes=lanes, window=window, chunk=chunk)


def order_of(counts: list[int], spec: OrderSpec, epoch: int = 0) -> EpochOrder:
    packs = np.array(counts, np.int64)
    sizes = lane_sizes(int(packs.sum()), spec.lanes, spec.chunk)
    return EpochOrder(ArchiveLanes(packs, sizes, spec, epoch), spec)


def pairs(places: SamplePlaces) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in places[:3]), strict=True))


SPECS = st.builds(
    make_spec,
    seed=st.integers(-(1 << 63), 1 << 63),
    shuffle=st.integers(0, 1),
    lanes=st.integers(1, 7),
    window=st.integers(1, 40),
    chunk=st.integers(1, 9),
)
COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)


@given(COUNTS, SPECS, st.integers(0, 3))
def test_every_sample_stands_at_exactly_one_position(
    counts: list[int], spec: OrderSpec, epoch: int
) -> None:
    order = order_of(counts, spec, epoch)
    found = pairs(order.locate(0, order.samples))
    wanted = [(0, pack, k) for pack, count in enumerate(counts) for k in range(count)]
    assert sorted(found) == wanted


@given(COUNTS, SPECS, st.data())
def test_a_part_of_the_order_is_found_without_the_rest(
    counts: list[int], spec: OrderSpec, data: st.DataObject
) -> None:
    order = order_of(counts, spec)
    whole = pairs(order.locate(0, order.samples))
    start = data.draw(st.integers(0, order.samples))
    stop = data.draw(st.integers(start, order.samples))
    assert pairs(order_of(counts, spec).locate(start, stop)) == whole[start:stop]


@given(COUNTS)
def test_an_order_that_is_not_shuffled_is_the_archives_own(counts: list[int]) -> None:
    spec = make_spec(shuffle=0, lanes=1, window=5)
    found = pairs(order_of(counts, spec).locate(0, sum(counts)))
    assert found == sorted(found)


def test_seed_and_epoch_decide_the_order() -> None:
    counts = [8] * 20
    orders = {
        tuple(pairs(order_of(counts, make_spec(seed=seed), epoch).locate(0, 160)))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_the_order_is_pinned_for_ever() -> None:
    order = order_of([4, 4, 3, 4], make_spec(seed=7, lanes=2, window=8, chunk=2), epoch=1)
    found = [f"{pack}.{k}" for _, pack, k in pairs(order.locate(0, 15))]
    assert " ".join(found) == ("0.2 0.1 2.2 2.0 3.0 0.0 1.0 1.3 3.3 3.2 1.2 2.1 3.1 0.3 1.1")


def test_a_stride_that_divides_the_lanes_meets_its_own_packs_alone() -> None:
    spec = make_spec(lanes=12, window=32, chunk=4)
    order = order_of([16] * 120, spec)
    readers = 4
    packs: list[set[int]] = [set() for _ in range(readers)]
    for step in range(order.samples // spec.chunk):
        places = order.locate(step * spec.chunk, (step + 1) * spec.chunk)
        packs[step % readers] |= set(places.pack.tolist())
    shared = sum(len(mine) for mine in packs) - 120
    assert shared <= spec.lanes  # only where a lane is cut inside a pack


def test_a_batch_mixes_packs() -> None:
    order = order_of([64] * 48, make_spec(lanes=3, window=16 * 64, chunk=32))
    met = [len(set(order.locate(at, at + 32).pack.tolist())) for at in range(0, 3072, 32)]
    assert np.mean(met) > 10


@given(st.integers(1, 200), st.lists(st.integers(), max_size=4))
def test_a_permutation_is_one(size: int, key: list[int]) -> None:
    assert sorted(permutation(size, *key).tolist()) == list(range(size))


def test_permutations_are_uniform() -> None:
    first = np.bincount([permutation(5, seed)[0] for seed in range(5000)], minlength=5)
    assert (abs(first - 1000) < 150).all()  # 5 standard deviations


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=6))
def test_a_schedule_holds_each_archive_in_its_proportion(weights: list[float]) -> None:
    found = np.bincount(schedule(weights), minlength=len(weights))
    assert found.sum() == PERIOD
    assert (found >= 1).all()
    share = np.array(weights) / sum(weights) * PERIOD
    assert (abs(found - share) <= len(weights) + 1).all()


def mixed(counts: list[list[int]], weights: list[float], spec: OrderSpec, epoch: int) -> EpochOrder:
    packs = [np.array(c, np.int64) for c in counts]
    samples = int(sum(c.sum() for c in packs))
    sizes = lane_sizes(samples, spec.lanes, spec.chunk)
    return EpochOrder(MixedLanes(packs, weights, sizes, spec, epoch), spec)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 1), st.data())
def test_a_mixture_uses_an_archive_up_before_it_repeats(
    lanes: int, chunk: int, shuffle: int, data: st.DataObject
) -> None:
    counts = data.draw(st.lists(st.lists(st.integers(2, 6), min_size=4, max_size=8),
                                min_size=2, max_size=3))  # fmt: skip
    weights = data.draw(st.lists(st.floats(0.2, 5), min_size=len(counts), max_size=len(counts)))
    spec = make_spec(seed=5, shuffle=shuffle, lanes=lanes, window=8, chunk=chunk)
    parts = [even_sizes(sum(c), lanes) for c in counts]
    drawn: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for epoch in range(4):
        order = mixed(counts, weights, spec, epoch)
        for position, (archive, pack, k) in enumerate(pairs(order.locate(0, order.samples))):
            lane = position // chunk % lanes
            drawn.setdefault((archive, lane), []).append((pack, k))
    for (archive, lane), seen in drawn.items():
        size = int(parts[archive][lane])
        for start in range(0, len(seen), size):
            part = seen[start : start + size]
            assert len(set(part)) == len(part), (archive, lane)


def test_a_mixture_draws_in_proportion() -> None:
    order = mixed([[32] * 40, [32] * 10], [0.7, 0.3], make_spec(lanes=4, window=64, chunk=8), 0)
    archive = order.locate(0, order.samples).archive
    assert np.mean(archive == 0) == pytest.approx(0.7, abs=0.01)
    assert np.mean(archive[:64] == 0) == pytest.approx(0.7, abs=0.1)
