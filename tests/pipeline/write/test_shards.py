"""Every sample of an archive, and of what is added to it, has one place, and no two share one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsc._pipeline.write.plan import Growth, Plan, Run, find_place, next_run, runs_of
from dsc._schemas import FileRecord, Quality, ShardRecord, Task, TaskKind

KEYS = FileRecord(path="keys/train-keys-000000.jsonl", bytes=0, sha256="0" * 64)


def records(sizes: list[tuple[str, int]]) -> list[ShardRecord]:
    """Return the records of shards of these splits and sizes, in order."""
    counts: dict[str, list[int]] = {}
    found = []
    for split, size in sizes:
        own = counts.setdefault(split, [])
        found.append(
            ShardRecord(
                n=len(own), split=split, first_index=sum(own), samples=size, keys=KEYS, streams={}
            )
        )
        own.append(size)
    return found


SHARDS = st.lists(
    st.tuples(st.sampled_from(["train", "test"]), st.integers(1, 5)), min_size=1, max_size=12
).map(records)


@given(shards=SHARDS)
def test_the_runs_of_an_archive_are_its_shards(shards: list[ShardRecord]) -> None:
    runs = runs_of(shards)
    assert sum(run.shards for run in runs) == len(shards)
    start = 0
    for job, shard in enumerate(shards):
        place = find_place(runs, job)
        assert (place.split, place.n) == (shard.split, shard.n)
        assert place.first_index == shard.first_index
        assert place.indices == range(start, start + shard.samples)
        start += shard.samples
    with pytest.raises(IndexError):
        find_place(runs, len(shards))
    with pytest.raises(IndexError):
        find_place(runs, -1)


def test_equal_shards_are_one_run_and_each_append_one_more() -> None:
    shards = records([("train", size) for size in (4, 4, 4, 2, 4, 4, 1)])
    assert [(run.n, run.samples) for run in runs_of(shards)] == [(0, 14), (4, 9)]


@given(
    shards=SHARDS,
    samples=st.integers(1, 30),
    size=st.integers(1, 7),
    split=st.text("ab", max_size=1),
)
def test_new_samples_continue_numbers_and_indices_of_their_split(
    shards: list[ShardRecord], samples: int, size: int, split: str
) -> None:
    name = {"": "train", "a": "test", "b": "val"}[split]
    run = next_run(shards, name, samples, size)
    held = [place for job in range(run.shards) for place in find_place([run], job).indices]
    assert held == list(range(samples))
    own = [shard for shard in shards if shard.split == name]
    first = find_place([run], 0)
    assert first.n == len(own)
    assert first.first_index == sum(shard.samples for shard in own)
    last = find_place([run], run.shards - 1)
    assert last.first_index + len(last.indices) == first.first_index + samples


def test_a_plan_that_adds_nothing_to_an_archive_keeps_its_hash() -> None:
    task = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
    given = {"created_by": "dsc 0", "source": {"name": "s"}, "split": "train", "samples": 5,
             "tasks": (task,), "streams": (), "codecs": (), "quality": Quality(),
             "shard_size": 2, "pack_size": 1}  # fmt: skip
    plan = Plan(**given)
    assert plan.sha256[:16] == "fedf2b532ab6b59e"  # as it was before archives could grow
    growth = Growth(
        adds="samples",
        base_sha256="0" * 64,
        generation=2,
        runs=(Run(split="b", samples=5, shard_size=2),),
    )
    grown = plan.model_copy(update={"growth": growth})
    assert grown.sha256 != plan.sha256
    assert Plan.from_json(grown.to_json()) == grown
    assert [plan.place(n).split for n in range(3)] == ["train"] * 3
    assert [grown.place(n).split for n in range(3)] == ["b"] * 3
