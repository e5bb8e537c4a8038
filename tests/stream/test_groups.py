"""Shuffling by groups: each sample once, each group decoded once, mixed, exactly resumable."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dsc
from dsc._pipeline.read.decoding import SampleDecoder
from dsc._pipeline.write.groups import cut_groups
from dsc._schemas import SequencePlace
from dsc._sources import registry
from dsc._stream.groups import cut
from dsc._stream.order import GROUPED, ArchiveLanes, EpochOrder, OrderSpec, lane_sizes, mixed_groups
from dsc.errors import UsageError
from tests.walks import PLACES

N = len(PLACES) + 2


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("walks") / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.SOURCES, "walks", "tests.walks:WalksSource")
        dsc.compress("walks", out, n=N, codec="png", shard_size=20, pack=10)
    return out


def stream(url: Path, **options: Any) -> Any:
    given = {"batch_size": 4, "shuffle": "group", "output": "numpy", "threads": 0} | options
    return dsc.stream(url, "rgb", **given)


def seen(batches: Any) -> list[int]:
    return [int(index) for batch in batches for index in batch["__index__"]]


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.integers(1, 9)), max_size=6),
    st.integers(1, 7),
    st.integers(2, 5),
)
def test_groups_are_those_of_the_writer(
    runs: list[tuple[str | None, int]], pack: int, most: int
) -> None:
    names = [name for name, count in runs for _ in range(count)]
    places = [None if name is None else SequencePlace(name, n) for n, name in enumerate(names)]
    at = np.arange(len(names))
    number = np.array([{None: -1, "a": 0, "b": 1}[name] for name in names], np.int64)
    found = cut(number, at // pack * pack, most)
    wanted = [group.start for group in cut_groups(places, pack, most) for _ in group]
    assert found.tolist() == wanted


SPECS = st.builds(
    OrderSpec,
    seed=st.integers(0, 99),
    shuffle=st.just(GROUPED),
    lanes=st.integers(1, 4),
    window=st.integers(1, 60),
    chunk=st.integers(1, 7),
    groups=st.integers(1, 6),
)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), SPECS, st.integers(0, 2), st.data())
def test_an_order_of_groups_has_every_sample_once_and_knows_what_comes_later(
    counts: list[int], spec: OrderSpec, epoch: int, data: st.DataObject
) -> None:
    packs = np.array(counts, np.int64)
    sizes = lane_sizes(int(packs.sum()), spec.lanes, spec.chunk)
    lanes = ArchiveLanes(packs, sizes, spec, epoch, 0, lambda pack, k: pack * 100 + k // 4)
    order = EpochOrder(lanes, spec)
    whole = order.locate(0, order.samples)
    found = list(zip(whole.pack.tolist(), whole.ordinal.tolist(), strict=True))
    assert sorted(found) == [(pack, k) for pack, count in enumerate(counts) for k in range(count)]
    start = data.draw(st.integers(0, order.samples - 1))
    stop = data.draw(st.integers(start + 1, order.samples))
    part, mates = order.locate(start, stop), order.mates(start, stop)
    assert part.pack.tolist() == whole.pack[start:stop].tolist()
    groups = {(pack, k // 4) for pack, k in found[start:stop]}
    position = {one: n for n, one in enumerate(found)}
    for one in zip(mates.pack.tolist(), mates.ordinal.tolist(), strict=True):
        assert (one[0], one[1] // 4) in groups
        assert position[one] >= start
    later = set(zip(mates.pack.tolist(), mates.ordinal.tolist(), strict=True))
    if spec.window >= order.samples and spec.lanes == 1:  # no group is cut
        assert later >= {one for one in found[stop:] if (one[0], one[1] // 4) in groups}


def test_few_groups_are_begun_at_a_time_and_frames_of_many_are_near_each_other() -> None:
    group = np.repeat(np.arange(64), 16)
    order = group[mixed_groups(group, 8, 5)]
    left, begun, most = Counter(group.tolist()), set[int](), 0
    for one in order.tolist():
        begun.add(one)
        left[one] -= 1
        begun -= {one} if left[one] == 0 else set()
        most = max(most, len(begun))
    assert most <= 9
    batches = [len(set(order[k : k + 64].tolist())) for k in range(0, 1024, 64)]
    assert min(batches) >= 6
    assert min(batches[1:-1]) >= 9
    alone = group[mixed_groups(group, 1, 5)]
    assert [len(set(alone[k : k + 16].tolist())) for k in range(0, 1024, 16)] == [1] * 64
    assert mixed_groups(np.repeat(np.arange(3), 3), 2, 7).tolist() == [7, 8, 6, 0, 2, 1, 5, 3, 4]


def test_each_sample_once_each_decoded_once(walks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    begin = SampleDecoder.begin

    def counted(self: Any, indices: Any, *rest: Any, **more: Any) -> Any:
        decoded.extend(indices)
        return begin(self, indices, *rest, **more)

    monkeypatch.setattr(SampleDecoder, "begin", counted)
    orders = []
    opened = stream(walks, lanes=1)
    for _ in range(2):
        found = seen(opened)
        assert sorted(found) == list(range(N))
        orders.append(found)
    assert orders[0] != orders[1]
    assert sorted(decoded) == sorted([*range(N)] * 2)
    decoded.clear()
    without = stream(walks, lanes=1, buffer=0)  # room for none: each is decoded at its turn
    without.load_state_dict(stream(walks, lanes=1).state_dict())
    assert seen(without) == orders[0]
    assert sorted(decoded) == list(range(N))


def test_pixels_are_those_of_the_samples(walks: Path) -> None:
    for options in ({}, {"threads": 2}, {"transform": lambda sample: sample}):
        for batch in stream(walks, **options):
            assert batch["rgb"][:, 0, 0, 0].tolist() == batch["__index__"].tolist()


def test_a_state_goes_on_from_any_step(walks: Path) -> None:
    whole = seen(stream(walks, seed=3))
    opened = stream(walks, seed=3)
    assert opened.state_dict()["groups"] >= 1
    for step, batch in enumerate(opened):
        state = opened.state_dict()
        again = stream(walks, batch_size=3)
        again.load_state_dict(state)
        before = whole[: 4 * step + len(batch["__index__"])]
        assert sorted(before + seen(again)) == list(range(N))
        same = dsc.stream(walks, "rgb", batch_size=4, shuffle=True, output="numpy")
        same.load_state_dict(state)
        assert before + seen(same) == whole


def test_ranks_and_workers_share_an_epoch(walks: Path) -> None:
    whole = seen(stream(walks, lanes=2))
    for workers in (0, 2):
        ranks = [
            seen(stream(walks, lanes=2, batch_size=2, rank=r, world=2, workers=workers))
            for r in (0, 1)
        ]
        assert sorted(ranks[0] + ranks[1]) == list(range(N))
    assert seen(stream(walks, lanes=2, workers=2)) == whole


def test_a_mixture_and_a_selection_are_shuffled_by_groups(walks: Path, tmp_path: Path) -> None:
    some = stream(walks, where="index % 3 == 0")
    assert sorted(seen(some)) == list(range(0, N, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.SOURCES, "walks", "tests.walks:WalksSource")
        dsc.compress("walks", tmp_path / "b", n=20, codec="png", pack=10)
    both = dsc.stream(
        [walks, tmp_path / "b"], "rgb", batch_size=4, shuffle="group", output="numpy"
    )  # fmt: skip
    for batch in both:
        assert batch["rgb"][:, 0, 0, 0].tolist() == batch["__index__"].tolist()


def test_what_has_no_groups_is_refused(walks: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shuffle='groups': False, True or 'group'"):
        stream(walks, shuffle="groups")
    dsc.compress("taskonomy", tmp_path / "stills", sample=2, tasks="rgb", size=32, codec="png")
    with pytest.raises(UsageError, match="shuffle='group' is of the frames of recordings"):
        stream(tmp_path / "stills")
