"""A stream of some samples: what a filter by hand leaves, whoever reads it, wherever it goes on."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import dsc
from dsc._bench.server import serve
from dsc._sources import registry
from dsc.errors import StateMismatchError, UnknownSampleError, UsageError
from tests.everything import values
from tests.sources.tars import write_samples

N = 47
quick = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-seven samples of every kind, in shards of ten and packs of four."""
    out = tmp_path_factory.mktemp("everything") / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.SOURCES, "everything", "tests.everything:EverythingSource")
        dsc.compress("everything", out, n=N, codec="png", shard_size=10, pack=4)
    return out


def indices(stream: Any) -> list[int]:
    return [index for batch in stream for index in batch["__index__"].tolist()]


WHERE: list[tuple[str, Callable[[int, dict[str, Any]], bool]]] = [
    ("scene == 'hall'", lambda k, v: v["scene"] == 1),
    ("scene == 0 and height > 3.5", lambda k, v: v["scene"] == 0 and v["height"] > 3.5),
    ("caption is None", lambda k, v: v["caption"] is None),
    ("len(caption) > 25", lambda k, v: v["caption"] is not None and len(v["caption"]) > 25),
    ("'chair chair' in caption", lambda k, v: "chair chair" in (v["caption"] or "")),
    ("meta.weather == 'rain' or index > 40", lambda k, v: v["meta"]["weather"] == "rain" or k > 40),
    ("meta.none is None and len(sound) >= 5", lambda k, v: len(v["sound"]) >= 5),
    ("taken < '2023-11-14T22:13:21Z'", lambda k, v: v["taken"] < 1_700_000_001 * 10**9),
    ("pose[0, 3] > 0 and pose[3][3] == 1", lambda k, v: v["pose"][0, 3] > 0),
    ("gains[-1] <= 0.5", lambda k, v: v["gains"][2] <= 0.5),
    ("boxes is not None and len(boxes) == 2", lambda k, v: v["boxes"] is not None and k % 3 == 2),
    (
        "boxes[0, 1] > 0.5",
        lambda k, v: bool(v["boxes"] is not None and k % 3 and v["boxes"][0, 1] > 0.5),
    ),
    ("key in ('sample_3', 'sample_40')", lambda k, v: k in (3, 40)),
    ("key.endswith('7') and source != 'sample_17'", lambda k, v: k % 10 == 7 and k != 17),
    ("rgb is not None and split == 'train' and index % 11 == 0", lambda k, v: k % 11 == 0),
    ("index == 46", lambda k, v: k == 46),
]


@pytest.mark.parametrize(("text", "holds"), WHERE)
def test_a_condition_leaves_what_a_filter_by_hand_does(
    url: Path, text: str, holds: Callable[[int, dict[str, Any]], bool]
) -> None:
    wanted = [k for k in range(N) if holds(k, values(k))]
    assert 0 < len(wanted) < N
    assert indices(dsc.stream(url, "scene", 4, where=text)) == wanted
    assert sorted(indices(dsc.stream(url, "scene", 4, where=text, shuffle=True))) == wanted


def test_a_function_of_a_row_sees_what_a_sample_has(url: Path) -> None:
    seen: dict[str, Any] = {}

    def some(row: Any) -> bool:
        if row["key"] == "sample_2":
            seen.update({name: row[name] for name in row})
        return row["caption"] is not None and row["pose"][0, 0] > 0 and row["meta"]["id"] % 2 == 0

    wanted = [
        k for k in range(N)
        if (v := values(k))["caption"] and v["pose"][0, 0] > 0 and v["meta"]["id"] % 2 == 0
    ]  # fmt: skip
    assert indices(dsc.stream(url, "scene", where=some)) == wanted
    made = values(2)
    assert seen["meta"] == made["meta"]
    assert seen["caption"] == made["caption"]
    assert (seen["scene"], seen["height"], seen["index"]) == (0, made["height"], 2)
    np.testing.assert_array_equal(seen["boxes"], made["boxes"])
    assert seen["split"] == "train"
    assert seen["source"] == "sample_2"


@quick
@given(st.data())
def test_each_chosen_sample_once_whatever_ranks_workers_and_resuming(
    url: Path, data: st.DataObject
) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=N, max_size=N).filter(any))
    wanted = np.flatnonzero(bits)
    options: dict[str, Any] = {"shuffle": data.draw(st.booleans()), "seed": 3, "pad": False}
    how = data.draw(st.sampled_from(["where", "keys", "indices"]))
    if how == "where":
        options["where"] = lambda row: bits[row["index"]]
    elif how == "keys":
        options["keys"] = [f"sample_{k}" for k in data.draw(st.permutations(wanted.tolist()))]
    else:
        options["indices"] = wanted
    state, seen = None, []
    for _ in range(3):
        world, batch = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
        workers = data.draw(st.integers(1, 3))
        ranks = [
            dsc.stream(url, "scene", batch, rank=rank, world=world, **options)
            for rank in range(world)
        ]
        for stream in ranks:
            assert stream.samples == len(wanted)
            if state is not None:
                stream.load_state_dict(state)
        left = len(wanted) - ranks[0].state_dict()["position"]
        steps = data.draw(st.integers(0, math.ceil(left / (batch * world))))
        for stream in ranks:
            place = stream.state_dict()
            for worker in range(workers):
                for step, one in stream.steps_of(worker, workers):
                    if step >= steps:
                        break
                    seen += [] if one is None else one["__index__"].tolist()
                stream.load_state_dict(place)
        state = ranks[0].state_dict(batches=steps)
    last = dsc.stream(url, "scene", 3, rank=0, world=1, **options)
    last.load_state_dict(state or {})
    assert sorted(seen + indices(last)) == wanted.tolist()


def test_selections_hold_together(url: Path) -> None:
    whole = indices(dsc.stream(url, "scene", where="height > 5", missing="skip"))
    assert indices(dsc.stream(url, "scene", where="height > 5", limit=7)) == whole[:7]
    keys = [f"sample_{k}" for k in (30, 20, 2)]
    assert indices(dsc.stream(url, "scene", where="height > 5", keys=keys)) == [20, 30]
    assert indices(dsc.stream(url, "scene", indices=[30, 20, 2], limit=2)) == [20, 30]
    assert indices(
        dsc.stream(url, "scene", indices=range(20), where="index % 2", split="train")
    ) == [*range(1, 20, 2)]
    assert indices(dsc.stream(url, "scene", keys="sample_4, sample_1", limit=1)) == [4]


def test_samples_that_lack_a_task_are_left_out_before_the_limit(url: Path) -> None:
    stream = dsc.stream(url, "scene,caption", 4, missing="skip", limit=6, where="index > 1")
    assert indices(stream) == [2, 4, 5, 6, 7, 9]
    assert stream.left_out >= 1
    some = dsc.stream(url, "caption", 8, missing="none", where="index < 6")
    assert [type(one) for batch in some for one in batch["caption"]].count(type(None)) == 1
    with pytest.raises(UsageError, match="no sample has all of caption"):
        dsc.stream(url, "caption", missing="skip", where="caption is None")


@pytest.mark.parametrize("seed", [None, "fold 1", 7])
def test_subsets_are_part_of_larger_ones_and_the_same_in_any_order(url: Path, seed: Any) -> None:
    before: set[int] = set()
    for fraction in (0.1, 0.2, 0.5, 0.9, 1.0):
        subset = fraction if seed is None else (fraction, seed)
        stream = dsc.stream(url, "scene", subset=subset, shuffle=True)
        found = set(indices(stream))
        assert before <= found
        assert abs(len(found) / N - fraction) < 0.25
        half = [f"sample_{k}" for k in range(0, N, 2)]
        kept = indices(dsc.stream(url, "scene", subset=subset, keys=half))
        assert set(kept) == {k for k in found if k % 2 == 0}
        before = found
    assert before == set(range(N))


def test_a_subset_is_always_the_same(url: Path) -> None:
    assert indices(dsc.stream(url, "scene", subset=0.2)) == FIFTH
    assert indices(dsc.stream(url, "scene", subset=(0.2, "other"))) != FIFTH


FIFTH = [3, 7, 10, 11, 12, 14, 26, 31, 36, 44]


def test_a_state_of_another_selection_is_refused(url: Path) -> None:
    first = dsc.stream(url, "scene", 3, where="height > 5", shuffle=True)
    next(iter(first))
    iterator = iter(first)
    next(iterator)
    state = first.state_dict()
    again = dsc.stream(url, "scene", 5, indices=range(16, N), shuffle=True)
    again.load_state_dict(state)  # the same samples, found in another way
    for other in ({"where": "height > 6"}, {"indices": range(15, N)}, {}, {"subset": 0.5}):
        with pytest.raises(StateMismatchError, match="where and other selections"):
            dsc.stream(url, "scene", 3, shuffle=True, **other).load_state_dict(state)


def test_packs_without_a_chosen_sample_are_not_read(url: Path) -> None:
    stream = dsc.stream(url, "rgb", 4, indices=[5, 6, 33])
    assert indices(stream) == [5, 6, 33]
    whole = dsc.stream(url, "rgb", 4)
    indices(whole)
    packs = 5 * 3 - 1
    part = stream.report.reads["bytes_read"] / whole.report.reads["bytes_read"]
    assert part < 2.5 / packs


def test_workers_and_data_loaders_give_the_selection(url: Path) -> None:
    wanted = [k for k in range(N) if k % 3 == 0]
    options: dict[str, Any] = {"where": lambda row: row["index"] % 3 == 0, "shuffle": True}
    own = dsc.stream(url, "scene", 4, workers=2, **options)
    assert sorted(indices(own)) == wanted
    for context in ("fork", "spawn"):
        loader = DataLoader(
            dsc.stream(url, "scene", 4, **options),
            batch_size=None, num_workers=2, multiprocessing_context=context,
        )  # fmt: skip
        assert sorted(indices(loader)) == wanted


def test_mixtures_take_selections_of_each_archive(url: Path, tmp_path: Path) -> None:
    other = tmp_path / "b"
    dsc.fetch(url, "scene,height", other)
    mixed = {url: 1.0, other: 1.0}
    stream = dsc.stream(mixed, "scene", 4, where="height > 10", shuffle=True)
    assert stream.samples == 2 * sum(k / 3 > 10 for k in range(N))
    found = dsc.stream(
        mixed, "scene", 4, indices={url: [1, 2]}, keys={str(other): ["sample_8", "sample_9"]}
    )
    pairs = {
        (archive, index)
        for batch in found
        for archive, index in zip(
            batch["__archive__"].tolist(), batch["__index__"].tolist(), strict=True
        )
    }
    assert pairs == {(0, 1), (0, 2), (1, 8), (1, 9)}
    with pytest.raises(UsageError, match="indices of several archives: give them by URL"):
        dsc.stream(mixed, "scene", indices=[1])
    with pytest.raises(UsageError, match="keys: no archive /none here"):
        dsc.stream(mixed, "scene", keys={"/none": ["a"]})


def test_a_remote_archive_is_filtered_by_the_streams_of_its_columns(url: Path) -> None:
    with serve(url) as (address, traffic):
        where = "meta.weather == 'rain' and len(sound) == 4"
        stream = dsc.stream(address, "scene", 4, where=where)
        assert indices(stream) == [k for k in range(N) if k % 2 == 0 and k % 7 == 4]
        read = {path.split("/")[-2] for path in traffic.requests if path.endswith(".tar")}
        assert read == {"meta", "sound", "scene"}
        some = dsc.stream(address, "scene", 4, where="height >= 0", limit=3)
        assert indices(some) == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"where": "scenery == 'hall'"},
            "no column 'scenery' (did you mean scene?); this archive has",
        ),
        ({"where": "scene == 'bath'"}, "scene has no class 'bath'; found: kitchen, hall"),
        ({"where": "caption > 3"}, "caption is text, and 3 is a number"),
        ({"where": "height >"}, "invalid syntax"),
        (
            {"where": "height > 1e9"},
            "leaves none of the 47 samples of split train; its first shard has height: 0.0 to 3.0",
        ),
        ({"where": "meta.weather == 'snow'"}, "meta: "),
        ({"where": lambda row: row["key"] > 3}, "of sample sample_0: TypeError"),
        ({"where": 7}, "where=7: an expression in a string"),
        (
            {"keys": ["sample_3", "sample_99"]},
            "keys: no sample 'sample_99' in split train; `dsc ls` lists the keys",
        ),
        ({"keys": ["sample_3", "sample_3"]}, "keys: sample_3 is given twice"),
        ({"keys": [3]}, "keys: 3 is no key"),
        ({"keys": []}, "keys: none is given"),
        ({"indices": [1, 5, 1]}, "indices: 1 is given twice"),
        ({"indices": [47]}, "indices: no sample 47; there are 0 to 46"),
        ({"indices": [-1]}, "indices: no sample -1"),
        ({"indices": [0.5]}, "indices: whole numbers in a row, got float64"),
        ({"indices": np.ones(N, bool)}, "np.flatnonzero(mask)"),
        ({"indices": []}, "indices: none is given"),
        ({"limit": 0}, "limit=0: at least 1"),
        ({"limit": True}, "limit=True: at least 1"),
        ({"limit": 1.5}, "limit=1.5: at least 1"),
        ({"subset": 0}, "subset=0: a fraction above 0 and at most 1"),
        ({"subset": 1.5}, "subset=1.5: a fraction"),
        ({"subset": (0.5, 0.5)}, "its seed is text or a whole number"),
        ({"subset": "half"}, "subset='half': a fraction"),
        ({"subset": 1e-6}, "subset=1e-06 leaves none of the 47 samples"),
        ({"split": "test"}, "no split 'test'; found: train"),
        ({"split": ["train", "test"]}, "no split 'test'; found: train"),
        ({"split": []}, "the name of a split, or several"),
        (
            {"indices": [3], "keys": ["sample_4"]},
            "keys: no sample 'sample_4' in split train among these indices",
        ),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_what_there_is(
    url: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        dsc.stream(url, "scene", **options)
    assert message in str(caught.value)


def test_a_name_of_the_source_is_told_its_key(tmp_path: Path) -> None:
    samples = [(f"room/{n}", {"txt": b"a"}) for n in range(3)]
    dsc.compress("webdataset", tmp_path / "a", root=write_samples(tmp_path / "a.tar", samples))
    for use in (dsc.open, dsc.stream):
        with pytest.raises(UnknownSampleError, match="source's 'room/1' has the key 'room__1'"):
            use(tmp_path / "a", keys=["room__0", "room/1"])
    assert len(dsc.open(tmp_path / "a", where="source == 'room/1'")) == 1


def test_an_unknown_key_is_a_key_error(url: Path) -> None:
    with pytest.raises(UnknownSampleError):
        dsc.stream(url, "scene", keys=["nobody"])


def test_several_splits_and_indices_that_count_all_samples(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for number in range(4):
            path = tmp_path / "source" / split / "rgb" / f"{split}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((8, 8, 3), number, np.uint8)
            path.write_bytes(imagecodecs.png_encode(pixels))
    out = tmp_path / "a"
    dsc.compress("folder", out, root=tmp_path / "source", codec="png", shard_size=3, pack=2)
    all_of = {split: indices(dsc.stream(out, "rgb", split=split)) for split in ("train", "val")}
    both = dsc.stream(out, "rgb", split="train,val", batch_size=3)
    assert indices(both) == sorted(all_of["train"] + all_of["val"])
    assert indices(dsc.stream(out, "rgb", split=["val"], where="split == 'val'")) == all_of["val"]
    one = all_of["val"][1]
    assert indices(dsc.stream(out, "rgb", split="val", indices=[one])) == [one]
    with pytest.raises(UsageError, match=f"sample {one} is of split val, not of train"):
        dsc.stream(out, "rgb", split="train", indices=[one])
    with pytest.raises(UsageError, match="no sample 'val__val_1' in split train"):
        dsc.stream(out, "rgb", split="train", keys=[dsc.open(out)._archive.key(one)])
    with pytest.raises(UsageError, match="say which split to read"):
        dsc.stream(out, "rgb", where="index > 0")
