"""Splits that are stated: by lists, hashes, directories, patterns or a task, over any source."""

import json
import pickle
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsc
from dsc._sources.base import lacks_of, origin_of, place_of, report_of, splits_of
from dsc._sources.registry import Source, open_source, source_from_description
from dsc._sources.sequences.source import in_sequences
from dsc._sources.splits.rules import SplitRules
from dsc._sources.splits.source import part
from dsc.errors import PlanMismatchError, SourceNotFoundError, UsageError
from tests.everything import EverythingSource
from tests.sources.tars import write_samples

SCENES = {"a": 4, "b": 3, "c": 2}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three scenes of rgb, with depth for all but the first picture."""
    rng = np.random.default_rng(0)
    for scene, count in SCENES.items():
        for number in range(count):
            for task, shape, dtype in (("rgb", (8, 9, 3), "uint8"), ("depth", (8, 9), "uint16")):
                if (task, scene, number) == ("depth", "a", 0):
                    continue
                path = tmp_path / "in" / task / scene / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(imagecodecs.png_encode(rng.integers(1, 200, shape).astype(dtype)))
    return tmp_path / "in"


def parted(root: Path, **asked: Any) -> Source:
    rules = SplitRules.parse(**asked)
    return part(open_source("folder", str(root)), rules, str(root))


def names(source: Source) -> dict[str, list[str]]:
    """The names of the samples of each split."""
    found, at = {}, 0
    for split, count in splits_of(source).items():
        found[split] = [origin_of(source, i).name for i in range(at, at + count)]  # type: ignore[union-attr]
        at += count
    assert at == len(source)
    return found


@pytest.mark.parametrize("form", [
    "{scene}/{number}", "rgb/{scene}/{number}.png", "depth/{scene}/{number}", "./{scene}/{number}",
    "{scene}__{number}", "data/in/rgb/{scene}/{number}.png", "{scene}/{number} 7",
    "rgb/{scene}/{number}.png depth/{scene}/{number}.png", "{scene}/{number}.png,1",
])  # fmt: skip
def test_lines_name_samples_as_lists_do(root: Path, tmp_path: Path, form: str) -> None:
    lines = [form.format(scene="b", number="002"), form.format(scene="a", number="001")]
    (tmp_path / "val.txt").write_text("# mine\n\n" + "\r\n".join(lines) + "\n", "utf-8")
    found = names(parted(root, split_file=str(tmp_path / "val.txt"), split_rest="train"))
    assert found["val"] == ["a/001", "b/002"]
    assert len(found["train"]) == 7
    assert list(found) == ["val", "train"]


def test_lines_may_name_directories_and_bare_names(root: Path, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a\nc")
    (tmp_path / "test_list.txt").write_text("rgb/b")
    both = f"{tmp_path}/train.txt,test={tmp_path}/test_list.txt"
    assert splits_of(parted(root, split_file=both)) == {"train": 6, "test": 3}
    (tmp_path / "val.txt").write_text("003.png")
    found = names(parted(root, split_file=f"{tmp_path}/val.txt", split_rest="drop"))
    assert found == {"val": ["a/003"]}
    (tmp_path / "val.txt").write_text("000")
    with pytest.raises(UsageError, match=r"val.txt:1: 000 names 3 samples, such as a/000 and b/00"):
        parted(root, split_file=f"{tmp_path}/val.txt", split_rest="drop")


def test_lists_that_do_not_fit_are_refused_with_some_of_it(root: Path, tmp_path: Path) -> None:
    train, val = tmp_path / "train.txt", tmp_path / "val.txt"
    both = {"train": train, "val": val}
    train.write_text("a/000\na/001\nx/000\ny/000")
    val.write_text("b\nc")
    with pytest.raises(
        UsageError, match=r"2 of 6 lines name no sample here: x/000 \(.*train.txt:3"
    ):
        parted(root, split_file=both)
    train.write_text("a/000\nb/001")
    with pytest.raises(
        UsageError, match=r"sample b/001 is in two splits: .*train.txt:2 .*val.txt:1"
    ):
        parted(root, split_file=both)
    train.write_text("a/000\na/001\na/001")
    with pytest.raises(UsageError, match=r"2 of 9 samples are in no split, such as a/002, a/003"):
        parted(root, split_file=both)
    assert splits_of(parted(root, split_file=both, split_rest="test"))["test"] == 2
    assert len(parted(root, split_file=both, split_rest="drop")) == 7
    for content, words in ((b"\xff", "no text in UTF-8"), (b"# none\n", "it lists nothing")):
        train.write_bytes(content)
        with pytest.raises(UsageError, match=words):
            parted(root, split_file=both)
    with pytest.raises(SourceNotFoundError, match=r"none.txt: there is no such file"):
        parted(root, split_file="train=none.txt")
    with pytest.raises(UsageError, match="a directory"):
        parted(root, split_file=f"train={tmp_path}")


def test_a_list_is_looked_for_under_the_root_too(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("a")
    monkeypatch.chdir(tmp_path)
    source = parted(root, split_file="splits/train.txt", split_rest="val")
    assert splits_of(source) == {"train": 4, "val": 5}
    assert source.describe()["parted"]["split_file"] == {"train": f"{root}/splits/train.txt"}


def test_directories_patterns_and_tasks_say_splits(root: Path, tmp_path: Path) -> None:
    assert splits_of(parted(root, split_by="folder:1")) == SCENES
    assert splits_of(parted(root, split_by="folder:-1")) == SCENES
    found = names(parted(root, split_by="name:val=c/*+b/000,train=*"))
    assert found["val"] == ["b/000", "c/000", "c/001"]
    assert list(splits_of(parted(root, split_by="folder:1", split="c,a"))) == ["c", "a"]
    with pytest.raises(UsageError, match="--split x: the splits here are a, b, c"):
        parted(root, split_by="folder:1", split="x")
    with pytest.raises(UsageError, match="9 of 9 samples are in no split"):
        parted(root, split_by="folder:2")
    with pytest.raises(UsageError, match=r"--split a,b: nothing here says .* --split-file or"):
        parted(root, split="a,b")
    with pytest.raises(UsageError, match="task:rgb: it holds maps"):
        parted(root, split_by="task:rgb")
    samples = [(f"{n}", {"txt": b"validation" if n % 3 else b"Train ", "cls": b"%d" % (n % 2)})
               for n in range(6)]  # fmt: skip
    write_samples(tmp_path / "t/x.tar", samples)
    for task, wanted in (("txt", {"train": 2, "val": 4}), ("cls", {"0": 3, "1": 3})):
        rules = SplitRules.parse(split_by=f"task:{task}")
        assert (
            splits_of(part(open_source("webdataset", str(tmp_path / "t")), rules, None)) == wanted
        )


def test_hashes_draw_the_same_for_ever_whatever_joins() -> None:
    rules = SplitRules.parse(split_by="hash:train=0.7,val=0.2,test=0.1")
    few, many = (part(EverythingSource(n), rules, None) for n in (300, 600))
    sizes = splits_of(many)
    assert sum(sizes.values()) == 600
    assert 370 < sizes["train"] < 470
    assert 80 < sizes["val"] < 160

    def where(source: Source) -> dict[str, str]:
        found, at = {}, 0
        for split, count in splits_of(source).items():
            found |= {source.key(i): split for i in range(at, at + count)}
            at += count
        return found

    assert where(few).items() <= where(many).items()
    assert where(few)["sample_0"] == "val"  # in every version


def test_directories_can_stay_together(root: Path) -> None:
    source = parted(root, split_by="hash-folder:train=0.5,val=0.5")
    for own in names(source).values():
        for scene in {name[0] for name in own}:
            assert len([name for name in own if name[0] == scene]) == SCENES[scene]


@pytest.mark.parametrize(("asked", "words"), [
    ({"split_by": "hash:train=2"}, "no share between 0 and 1"),
    ({"split_by": "hash:train=0.9,val=0.2"}, "more than 1 together"),
    ({"split_by": "hash:train"}, "write SPLIT=VALUE"),
    ({"split_by": "hash:Train=1"}, "a split's name is of a to z"),
    ({"split_by": "hash:a=0.1,a=0.2"}, "stands in it twice"),
    ({"split_by": "random"}, "expected one of hash:"),
    ({"split_by": "folder:x"}, "1 is the first"),
    ({"split_rest": "val"}, "goes with --split-file or --split-by"),
    ({"split_file": "a.txt"}, "of which split"),
    ({"split_file": "train.txt", "split_by": "folder:1"}, "give one"),
    ({"split_file": "train=a,train=b"}, "two lists of train"),
    ({"split": ",", "split_by": "folder:1"}, "name a split"),
])  # fmt: skip
def test_rules_that_make_no_sense_are_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SplitRules.parse(**asked)


def test_a_parted_source_is_a_source(root: Path) -> None:
    source = parted(root, split_by="name:val=b/*,train=c/*", split_rest="drop")
    tasks = [task.name for task in source.tasks]
    again = source_from_description(json.loads(json.dumps(source.describe())))
    for other in (again, pickle.loads(pickle.dumps(source))):
        assert names(other) == names(source)
        assert other.describe() == source.describe()
        for index in range(len(source)):
            one, two = source.read(index, tasks), other.read(index, tasks)
            assert one.key == two.key == source.key(index)
            np.testing.assert_array_equal(one.arrays["rgb"], two.arrays["rgb"])
    report = report_of(source)
    assert (report.samples, report.complete, report.tasks["depth"].samples) == (5, 5, 5)
    assert "splits by name:val=b/*,train=c/*: val 3, train 2; 4 samples left out" in report.notes
    assert lacks_of(parted(root, split_by="folder:1"), 0, tasks) == ("depth",)
    with pytest.raises(IndexError):
        source.key(5)
    (root / "rgb/c/009.png").write_bytes((root / "rgb/c/000.png").read_bytes())
    with pytest.raises(UsageError, match="is not what it was"):
        source_from_description(source.describe())


@given(st.integers(0, 40), st.lists(st.floats(0.01, 1), min_size=1, max_size=4), st.booleans())
def test_every_sample_is_in_one_split_or_left_out(
    count: int, weights: list[float], dropped: bool
) -> None:
    total = sum(weights) * (2 if dropped else 1)
    shares = ",".join(f"s{at}={weight / total!r}" for at, weight in enumerate(weights))
    rules = SplitRules.parse(split_by=f"hash:{shares}", split_rest="drop" if dropped else "rest")
    source = part(EverythingSource(count), rules, None)
    keys = [source.key(index) for index in range(len(source))]
    assert len(set(keys)) == len(keys) == sum(splits_of(source).values())
    assert set(keys) <= {f"sample_{n}" for n in range(count)}
    assert dropped or len(keys) == count


def test_archives_have_the_splits_with_workers_resumed_and_appended(
    root: Path, tmp_path: Path
) -> None:
    asked = {"root": root, "codec": "png", "split_by": "name:val=b/*,train=*", "tasks": "rgb"}
    manifest = dsc.compress("folder", tmp_path / "one", **asked)
    assert manifest.splits == {"val": 3, "train": 6}
    assert manifest.source == "folder"
    dsc.compress("folder", tmp_path / "two", workers=1, **asked)
    keys = list(dsc.open(tmp_path / "one").keys())
    assert keys[:3] == ["b__000", "b__001", "b__002"] == list(dsc.open(tmp_path / "two").keys())[:3]
    assert (tmp_path / "one/dsc.json").read_bytes() == (tmp_path / "two/dsc.json").read_bytes()
    assert dsc.compress("folder", tmp_path / "one", **asked) == manifest  # finished: nothing to do
    with pytest.raises(PlanMismatchError):
        dsc.compress("folder", tmp_path / "one", **{**asked, "split_by": "folder:1"})
    few = dsc.compress("folder", tmp_path / "val", split="val", **asked)
    assert few.splits == {"val": 3}
    with pytest.raises(UsageError, match="add one at a time"):
        dsc.append(tmp_path / "val", "folder", root=root, split_by="name:val=b/*,train=*")
    added = dsc.append(
        tmp_path / "val", "folder", root=root, split_by="name:val=b/*,train=*", split="train"
    )
    assert added.manifest.splits == {"val": 3, "train": 6}
    dsc.append(tmp_path / "val", "folder", root=root, tasks="depth")
    opened = dsc.open(tmp_path / "val")
    assert opened["b__000"]["depth"].shape == (8, 9)


def test_own_splits_are_chosen_several_at_once(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_samples(tmp_path / f"in/{split}-0.tar", [(split, {"txt": b"x"})])
    for split, wanted in (("val,train", ["val", "train"]), ("test", ["test"])):
        out = tmp_path / split.replace(",", "-")
        manifest = dsc.compress("webdataset", out, root=tmp_path / "in", split=split)
        assert list(manifest.splits) == wanted
    with pytest.raises(UsageError, match="--split dev: the splits here are train, val, test"):
        dsc.compress("webdataset", tmp_path / "x", root=tmp_path / "in", split="train,dev")


class Two(EverythingSource):
    """A source of a third party with splits, and no option to choose one."""

    splits = {"train": 3, "val": 2}  # noqa: RUF012


def test_an_open_source_with_splits_is_asked_for_one(tmp_path: Path) -> None:
    manifest = dsc.compress(Two(5), tmp_path / "a", split="val", tasks="scene,caption")
    assert manifest.splits == {"val": 2}
    assert list(dsc.open(tmp_path / "a").keys()) == ["sample_3", "sample_4"]


# ---- recordings


def recorded(root: Path, **asked: Any) -> Source:
    rules = SplitRules.parse(**asked)
    return part(in_sequences(open_source("folder", str(root)), "dir"), rules, str(root))


def sequences(source: Source) -> list[str]:
    found = [place_of(source, index) for index in range(len(source))]
    return [place.sequence for place in found if place is not None]


def test_hashes_draw_recordings_as_a_whole(root: Path) -> None:
    source = recorded(root, split_by="hash:train=0.5,val=0.5")
    found = names(source)
    assert sum(map(len, found.values())) == sum(SCENES.values())
    scenes = [{name.partition("/")[0] for name in own} for own in found.values()]
    assert len(scenes) == 2
    assert not scenes[0] & scenes[1]


@pytest.mark.parametrize(
    "asked",
    [{"split_by": "name:val=*/000,train=*"}, {"split_file": "list"}, {"split_by": "task:part"}],
)
def test_a_rule_that_would_cut_a_recording_is_refused(root: Path, asked: dict[str, str]) -> None:
    if "split_file" in asked:
        (root / "list").write_text("a/000\nb\nc\n")
        asked = {"split_file": f"val={root}/list", "split_rest": "train"}
    if asked == {"split_by": "task:part"}:
        for path in (root / "rgb").rglob("*.png"):
            text = root / "part" / path.parent.name / f"{path.stem}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("val" if path.stem == "000" else "train")
    with pytest.raises(UsageError, match=r"recording a would be cut: a/000 in val and a/001 in tr"):
        recorded(root, **asked)
    source = recorded(root, **asked, cut_sequences=True)
    assert {"a/train", "a/val"} <= set(sequences(source))
    again = source_from_description(json.loads(json.dumps(source.describe())))
    assert sequences(again) == sequences(source)
    assert again.describe() == source.describe()
    places = [place_of(source, index) for index in range(len(source))]
    for split, count in splits_of(source).items():
        own, places = places[:count], places[count:]
        assert own == sorted(own, key=lambda p: (p and p.sequence, p and p.frame)), split


def test_cutting_draws_frames_by_their_keys(root: Path) -> None:
    rule = "hash:train=0.5,val=0.5"
    cut = recorded(root, split_by=rule, cut_sequences=True)
    assert names(cut) == names(parted(root, split_by=rule))
    assert any(name.endswith("/val") for name in sequences(cut))
    with pytest.raises(UsageError, match="--cut-sequences goes with"):
        SplitRules.parse(split="train", cut_sequences=True)


def test_frames_may_be_left_out_of_a_recording(root: Path) -> None:
    (root / "list").write_text("a/000\na/002\nc\n")
    source = recorded(root, split_file=f"val={root}/list", split_rest="drop")
    assert names(source) == {"val": ["a/000", "a/002", "c/000", "c/001"]}
    assert sequences(source) == ["a", "a", "c", "c"]
