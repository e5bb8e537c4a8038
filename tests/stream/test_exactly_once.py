"""Every sample exactly once an epoch, over ranks, workers, resume points and changes of both."""

from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dsc
from dsc._stream.sample_stream import SampleStream
from tests.stream.conftest import SHAPES

quick = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def open_stream(url: Path, rank: int, world: int, **options: object) -> SampleStream:
    given_options = {"batch_size": 3, "shuffle": True, "decode": "bytes", "pad": False, **options}
    return dsc.stream(url, "rgb", rank=rank, world=world, **given_options)  # type: ignore[arg-type]


def by_worker(stream: SampleStream, workers: int, steps: int) -> list[int]:
    """Return the indices of a rank's first steps, as workers of a data loader would give them."""
    found: dict[int, list[int]] = {}
    for worker in range(workers):
        state = stream.state_dict()
        for step, batch in stream.steps_of(worker, workers):
            if step >= steps:
                break
            found[step] = [] if batch is None else batch["__index__"].tolist()
        stream.load_state_dict(state)
    return [index for step in sorted(found) for index in found[step]]


@quick
@given(st.integers(0, len(SHAPES) - 1), st.integers(0, 5), st.data())
def test_each_sample_once_whatever_changes_in_mid_epoch(
    shapes: list[Path], shape: int, seed: int, data: st.DataObject
) -> None:
    url, samples = shapes[shape], SHAPES[shape][0]
    epoch = data.draw(st.integers(0, 3))
    state = None
    seen: list[int] = []
    for _ in range(4):
        world, workers = data.draw(st.integers(1, 8)), data.draw(st.integers(0, 4)) or 1
        batch = data.draw(st.integers(1, 6))
        ranks = [open_stream(url, r, world, seed=seed, batch_size=batch) for r in range(world)]
        for stream in ranks:
            stream.set_epoch(epoch)
            if state is not None:
                stream.load_state_dict(state)
        left = samples - ranks[0].state_dict()["position"]
        steps = data.draw(st.integers(0, -(-left // (batch * world))))
        for stream in ranks:
            seen += by_worker(stream, workers, steps)
        states = [stream.state_dict(batches=steps) for stream in ranks]
        assert all(other == states[0] for other in states)
        state = states[0]
    last = open_stream(url, 0, 1, seed=seed)
    last.load_state_dict(state or {})
    seen += [i for batch in last for i in batch["__index__"].tolist()]
    assert sorted(seen) == list(range(samples))
    assert last.epoch == epoch + 1


@quick
@given(st.integers(0, len(SHAPES) - 1), st.integers(1, 8), st.integers(0, 2))
def test_ranks_get_equal_counts_and_together_every_sample(
    shapes: list[Path], shape: int, world: int, seed: int
) -> None:
    url, samples = shapes[shape], SHAPES[shape][0]
    counts, seen = [], []
    for rank in range(world):
        stream = open_stream(url, rank, world, seed=seed, pad=True)
        batches = [batch["__index__"].tolist() for batch in stream]
        assert len(batches) == len(stream)
        counts.append([len(batch) for batch in batches])
        seen += [index for batch in batches for index in batch]
    assert all(other == counts[0] for other in counts)
    assert set(seen) == set(range(samples))
    assert len(seen) - samples < world


@quick
@given(st.integers(0, len(SHAPES) - 1), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2))
def test_the_order_of_a_rank_does_not_depend_on_its_workers(
    shapes: list[Path], shape: int, world: int, workers: int, seed: int
) -> None:
    url = shapes[shape]
    alone = open_stream(url, world - 1, world, seed=seed)
    steps = len(alone)
    wanted = by_worker(alone, 1, steps)
    assert by_worker(open_stream(url, world - 1, world, seed=seed), workers, steps) == wanted


def test_the_global_order_does_not_depend_on_the_ranks_when_lanes_are_given(
    shapes: list[Path],
) -> None:
    orders = set()
    for world in (1, 2, 3, 4):
        ranks = [
            [b["__index__"].tolist() for b in open_stream(shapes[4], rank, world, lanes=4)]
            for rank in range(world)
        ]
        steps = zip_longest(*ranks, fillvalue=())
        orders.add(tuple(i for step in steps for batch in step for i in batch))
    assert len(orders) == 1
    assert sorted(orders.pop()) == list(range(61))


def test_a_state_carries_the_order_to_another_batch_size(shapes: list[Path]) -> None:
    first = open_stream(shapes[4], 0, 1, batch_size=4)
    whole = [i for batch in first for i in batch["__index__"].tolist()]
    begun = open_stream(shapes[4], 0, 1, batch_size=4)
    seen: list[int] = []
    for batch in begun:
        seen += batch["__index__"].tolist()
        if len(seen) >= 12:
            break
    other = open_stream(shapes[4], 0, 1, batch_size=7, seed=99)
    other.load_state_dict(begun.state_dict())
    seen += [i for batch in other for i in batch["__index__"].tolist()]
    assert seen == whole


def test_epochs_differ_and_come_back(shapes: list[Path]) -> None:
    stream = open_stream(shapes[4], 0, 1)
    orders = [[i for b in stream for i in b["__index__"].tolist()] for _ in range(3)]
    assert stream.epoch == 3
    assert len({tuple(order) for order in orders}) == 3
    stream.set_epoch(1)
    assert [i for b in stream for i in b["__index__"].tolist()] == orders[1]


def test_a_loop_that_is_left_begins_the_epoch_again(shapes: list[Path]) -> None:
    stream = open_stream(shapes[4], 0, 1)
    first = next(iter(stream))["__index__"].tolist()
    assert next(iter(stream))["__index__"].tolist() == first
    assert stream.epoch == 0


def test_more_ranks_than_packs_or_samples_still_share_out_everything(shapes: list[Path]) -> None:
    seen = []
    for rank in range(5):
        stream = open_stream(shapes[1], rank, 5, pad=False)
        seen += [i for batch in stream for i in batch["__index__"].tolist()]
    assert sorted(seen) == [0, 1]
    with pytest.raises(dsc.DscError, match="no batch of 3 on 5 ranks with drop_last"):
        open_stream(shapes[1], 0, 5, drop_last=True)
