"""`dsc.open` as a map-style dataset: selections, samplers, subsets, loaders, transforms."""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Subset,
    WeightedRandomSampler,
    random_split,
)

import dsc
from dsc._bench.server import serve
from dsc._sources import registry
from dsc.errors import UnknownSampleError, UsageError
from tests.everything import same, values

N = 33
NUMBERS = "scene,height,taken,pose,gains"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("everything") / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.SOURCES, "everything", "tests.everything:EverythingSource")
        dsc.compress("everything", out, n=N, codec="png", shard_size=10, pack=4)
    return out


def heights(batches: Any) -> list[int]:
    """Return which samples batches are of."""
    return [round(float(value) * 3) for batch in batches for value in batch["height"]]


def test_a_selection_counts_from_zero_in_the_order_asked_for(url: Path) -> None:
    data = dsc.open(url, "height,caption", indices=[30, 2, 17])
    assert len(data) == 3
    assert list(data.keys()) == ["sample_30", "sample_2", "sample_17"]
    assert data.indices.tolist() == [30, 2, 17]
    assert [round(one["height"] * 3) for one in data] == [30, 2, 17]
    assert round(data[-1]["height"] * 3) == 17
    assert [round(one["height"] * 3) for one in data[1:]] == [2, 17]
    assert same("caption", data["sample_17"]["caption"], 17)
    assert data.origin(1).name == "sample_2"
    assert [sorted(one) for one in data.payloads([0])] == [["caption", "height"]]
    for wrong in (3, -4):
        with pytest.raises(IndexError, match=f"sample {wrong} of 3"):
            data[wrong]
    with pytest.raises(UnknownSampleError, match="'sample_3' is not in this selection of 3"):
        data["sample_3"]
    assert "3 samples" in repr(data)


def test_keys_have_the_order_asked_for_and_conditions_the_archives(url: Path) -> None:
    names = ["sample_9", "sample_1", "sample_20"]
    assert list(dsc.open(url, "scene", keys=names).keys()) == names
    some = dsc.open(url, "scene", keys=names, where="index > 5")
    assert list(some.keys()) == ["sample_9", "sample_20"]
    assert dsc.open(url, "scene", keys=names, limit=2).indices.tolist() == [9, 1]
    found = dsc.open(url, "scene", where="height > 9", split="train", limit=3)
    assert found.indices.tolist() == [28, 29, 30]
    assert dsc.open(url, "scene").indices.tolist() == list(range(N))
    assert len(dsc.open(url, "scene", split=["train"])) == N


def test_a_selection_of_a_selection(url: Path) -> None:
    data = dsc.open(url, "scene", indices=[8, 20, 3, 15, 12])
    assert data.select("index > 10").indices.tolist() == [20, 15, 12]
    assert data.select("index > 10", limit=1).indices.tolist() == [20]
    assert data.select(indices=[-1, 0]).indices.tolist() == [12, 8]
    assert data.select(keys=["sample_15", "sample_8"]).indices.tolist() == [15, 8]
    assert data.select(indices=range(4)).select(limit=2).indices.tolist() == [8, 20]
    assert set(data.select(subset=0.5).indices) == set(
        dsc.open(url, "scene", subset=0.5).indices
    ) & {8, 20, 3, 15, 12}
    with pytest.raises(UnknownSampleError, match="no sample 'sample_4'"):
        data.select(keys=["sample_4"])
    with pytest.raises(IndexError, match="sample 5 of 5"):
        data.select(indices=[5])
    with pytest.raises(UsageError, match="leaves none of the 5 samples"):
        data.select("height < 0")
    assert len(data) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "hight > 3"}, "did you mean height?"),
        (
            {"where": "height > 99"},
            "leaves none of the 33 samples; its first shard has height: 0.0",
        ),
        ({"split": "val"}, "no split 'val'; found: train"),
        ({"limit": 0}, "limit=0"),
        ({"indices": [1, 1]}, "indices: 1 is given twice"),
        ({"keys": "sample_1,nobody"}, "no sample 'nobody'"),
        ({"transform": lambda a, b, c: a}, "must be given a, b, c"),
    ],
)
def test_what_cannot_be_chosen_is_refused(url: Path, options: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        dsc.open(url, "scene", **options)
    assert message in str(caught.value)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_items_are_those_that_a_filter_by_hand_leaves(url: Path, data: st.DataObject) -> None:
    low, high = data.draw(st.integers(0, 12)), data.draw(st.integers(0, 12))
    part = data.draw(
        st.sampled_from(["scene == 'hall'", "meta.weather != 'sun'", "caption is None"])
    )
    limit = data.draw(st.none() | st.integers(1, 40))
    wanted = [
        k for k in range(N)
        if low <= k / 3 <= high and {
            "s": k % 2 == 1, "m": k % 2 == 0, "c": k % 5 == 3
        }[part[0]]
    ][:limit]  # fmt: skip
    where = f"{low} <= height <= {high} and {part}"
    if not wanted:
        with pytest.raises(UsageError, match="leaves none"):
            dsc.open(url, "height", where=where, limit=limit)
        return
    found = dsc.open(url, "height", where=where, limit=limit)
    again = pickle.loads(pickle.dumps(found))
    assert found.indices.tolist() == again.indices.tolist() == wanted
    assert [round(one["height"] * 3) for one in again.batch(range(len(wanted)))] == wanted


@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_a_data_loader_gives_every_sample_of_a_selection_once(url: Path, context: Any) -> None:
    data = dsc.open(url, NUMBERS, where="index % 3 == 1")
    loader: Any = DataLoader(
        data, batch_size=4, shuffle=True, num_workers=2 if context else 0,
        multiprocessing_context=context,
    )  # fmt: skip
    batches = list(loader)
    assert sorted(heights(batches)) == list(range(1, N, 3))
    assert batches[0]["pose"].shape == (4, 4, 4)
    assert batches[0]["taken"].dtype == torch.int64


def test_text_and_files_come_as_lists_from_torchs_own_collation(url: Path) -> None:
    loader: Any = DataLoader(dsc.open(url, "rgb,sound", limit=4, where="index > 1"), batch_size=4)
    (batch,) = loader
    assert batch["rgb"].shape == (4, 8, 12, 3)
    texts: Any = DataLoader(dsc.open(url, "caption", where="caption is not None"), batch_size=5)
    assert next(iter(texts))["caption"][1] == values(1)["caption"]


def test_samplers_subsets_and_splits_of_torch(url: Path) -> None:
    data = dsc.open(url, "height", where="index < 20")
    first, second = random_split(data, [15, 5], torch.Generator().manual_seed(1))
    assert len(first) == 15
    both = [heights(DataLoader(part, batch_size=4)) for part in (first, second)]
    assert sorted(both[0] + both[1]) == list(range(20))
    assert heights(DataLoader(Subset(data, [3, 19, 3]), batch_size=2)) == [3, 19, 3]
    random = BatchSampler(RandomSampler(data), 6, drop_last=False)
    assert sorted(heights(DataLoader(data, batch_sampler=random))) == list(range(20))
    weights = torch.zeros(20)
    weights[7] = 1
    weighted = WeightedRandomSampler(weights.tolist(), 5)
    assert heights(DataLoader(data, sampler=weighted, batch_size=5)) == [7] * 5
    seen = []
    for rank in range(3):
        sampler = DistributedSampler(data, num_replicas=3, rank=rank, shuffle=True)
        seen += heights(DataLoader(data, sampler=sampler, batch_size=4))
    assert set(seen) == set(range(20))
    assert len(seen) == 21


def test_a_batch_is_read_together(url: Path) -> None:
    with serve(url) as (address, traffic):
        data = dsc.open(address, "height", indices=range(0, 20))
        before = traffic.bodies
        assert len(data.__getitems__(list(range(20)))) == 20
        assert traffic.bodies - before <= 2 * 2


class Crop:
    """Gives what it drew."""

    def __call__(self, sample: Any, rng: np.random.Generator) -> dict[str, Any]:
        return {"index": sample["__index__"], "drawn": float(rng.random())}


def test_a_transform_makes_the_items_and_draws_by_seed_epoch_and_sample(url: Path) -> None:
    def draws(data: Any, **options: Any) -> dict[int, float]:
        loader: Any = DataLoader(data, batch_size=4, **options)
        return {
            int(index): float(drawn)
            for batch in loader
            for index, drawn in zip(batch["index"], batch["drawn"], strict=True)
        }

    def opened(**options: Any) -> Any:
        return dsc.open(url, "scene", where="index > 3", transform=Crop(), **options)

    first = draws(opened())
    assert sorted(first) == list(range(4, N))
    assert len(set(first.values())) == len(first)
    assert draws(opened(), num_workers=2, shuffle=True) == first
    assert draws(opened(seed=1)) != first
    data = opened()
    loader: Any = DataLoader(data, batch_size=4, num_workers=2, persistent_workers=True)
    found = []
    for epoch in range(2):
        data.set_epoch(epoch)
        found.append({
            int(i): float(d) for batch in loader
            for i, d in zip(batch["index"], batch["drawn"], strict=True)
        })  # fmt: skip
    assert found[0] == first != found[1]
    alone = opened()
    alone.set_epoch(1)
    assert draws(alone) == found[1] == draws(pickle.loads(pickle.dumps(alone)))
    assert draws(alone.select("index < 9")) == {k: found[1][k] for k in range(4, 9)}
    with pytest.raises(UsageError, match=r"set_epoch\(-1\)"):
        alone.set_epoch(-1)


def test_a_plain_transform_and_keys_in_items(url: Path) -> None:
    data = dsc.open(url, "height", transform=lambda one: math.floor(one["height"]), limit=7)
    assert [data[k] for k in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    keyed = dsc.open(url, "height", with_keys=True, indices=[5, 3])
    assert [one["__key__"] for one in keyed] == ["sample_5", "sample_3"]
    (batch,) = DataLoader(keyed, batch_size=2)  # type: ignore[var-annotated]
    assert batch["__key__"] == ["sample_5", "sample_3"]
