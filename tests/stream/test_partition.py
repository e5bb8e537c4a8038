"""Promises of the partition: each position once, even counts, whatever changes in mid-epoch."""

from hypothesis import given
from hypothesis import strategies as st

from dsc._stream.partition import Partition

WORLDS = st.integers(1, 8)
WORKERS = st.integers(0, 4)
BATCHES = st.integers(1, 7)


def positions(partition: Partition, rank: int, step: int) -> list[int]:
    return [at for span in partition.spans(step, rank) for at in range(*span)]


@given(st.integers(0, 150), BATCHES, WORLDS, st.data())
def test_every_position_once_over_changing_topologies(
    samples: int, batch: int, world: int, data: st.DataObject
) -> None:
    seen: list[int] = []
    start = 0
    while True:
        partition = Partition(samples, start, batch, world, drop_last=False, pad=False)
        stop = data.draw(st.integers(min(1, partition.steps), partition.steps))
        workers = max(data.draw(WORKERS), 1)
        for worker in range(workers):
            for step in range(worker, stop, workers):
                for rank in range(world):
                    seen += positions(partition, rank, step)
        start = partition.position(stop)
        if stop == partition.steps:
            break
        world, batch = data.draw(WORLDS), data.draw(BATCHES)
    assert sorted(seen) == list(range(samples))


@given(st.integers(0, 300), st.integers(0, 300), BATCHES, WORLDS)
def test_padding_gives_ranks_equal_counts_and_repeats_few(
    samples: int, start: int, batch: int, world: int
) -> None:
    partition = Partition(samples, min(start, samples), batch, world, drop_last=False, pad=True)
    by_rank = [
        [at for step in range(partition.steps) for at in positions(partition, rank, step)]
        for rank in range(world)
    ]
    assert len({len(found) for found in by_rank}) == 1
    assert {partition.batches(rank) for rank in range(world)} == {partition.steps}
    given_out = [at for found in by_rank for at in found]
    assert set(given_out) == set(range(partition.start, samples))
    assert len(given_out) - len(set(given_out)) < world


@given(st.integers(0, 300), BATCHES, WORLDS)
def test_without_padding_ranks_differ_by_one_sample_at_most(
    samples: int, batch: int, world: int
) -> None:
    partition = Partition(samples, 0, batch, world, drop_last=False, pad=False)
    counts = [
        sum(partition.count(step, rank) for step in range(partition.steps)) for rank in range(world)
    ]
    assert max(counts) - min(counts) <= 1
    for rank in range(world):
        given_out = [bool(positions(partition, rank, step)) for step in range(partition.steps)]
        assert partition.batches(rank) == sum(given_out)


@given(st.integers(0, 300), BATCHES, WORLDS, st.booleans())
def test_drop_last_gives_whole_batches_only(
    samples: int, batch: int, world: int, pad: bool
) -> None:
    partition = Partition(samples, 0, batch, world, drop_last=True, pad=pad)
    for step in range(partition.steps):
        for rank in range(world):
            assert len(positions(partition, rank, step)) == batch
    assert samples - partition.position(partition.steps) < batch * world
