"""COCO files as a source: what each sample has, what is refused, what is said of the rest."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsc
from dsc._sources.base import Source, read_sample
from dsc._sources.coco.names import base_and_group, split_names
from dsc._sources.coco.scan import compact, scan, split_list
from dsc._sources.registry import open_source, source_from_description
from dsc.errors import SampleError, SourceNotFoundError, UsageError
from tests import coco


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coco.write(tmp_path_factory.mktemp("coco"), coco.usual())


def value(source: Source, key: str, task: str) -> Any:
    keys = [source.key(index) for index in range(len(source))]
    array = read_sample(source, keys.index(key), [task]).arrays.get(task)
    known = next(one for one in source.tasks if one.name == task)
    return None if array is None else known.to_physical(array)


def test_samples_come_in_the_order_of_the_file_with_all_that_it_says(root: Path) -> None:
    files = coco.usual()
    source = open_source("coco", str(root))
    assert dict(source.splits) == {"train": 5, "val": 5, "test": 2}  # type: ignore[attr-defined]
    listed = [
        image
        for name in ("instances_train2017", "instances_val2017", "image_info_test2017")
        for image in files[f"annotations/{name}.json"]["images"]
    ]
    for index, image in enumerate(listed):
        assert value(source, source.key(index), "image_info") == image
    marks = files["annotations/instances_val2017.json"]["annotations"]
    for image in files["annotations/instances_val2017.json"]["images"]:
        key = f"val2017__{image['id']:012d}"
        own = [one for one in marks if one["image_id"] == image["id"]]
        assert value(source, key, "instances") == own
        assert value(source, key, "panoptic").shape == (12, 16, 3)
        [caption] = value(source, key, "captions")
        assert caption["image_id"] == image["id"]
    assert value(source, "test2017__000000000300", "instances") is None
    assert source.lacks(11, ["instances", "image"]) == ("instances",)  # type: ignore[attr-defined]


def test_only_files_in_another_order_have_places(root: Path) -> None:
    names = [task.name for task in open_source("coco", str(root)).tasks]
    assert "instances_order" in names
    assert "captions_order" in names
    assert "panoptic_order" not in names
    assert "image_info_order" not in names


def test_it_travels_to_other_processes(root: Path) -> None:
    source = open_source("coco", str(root), split="val2017")
    assert len(source) == 5
    for again in (pickle.loads(pickle.dumps(source)), source_from_description(source.describe())):
        assert again.key(3) == source.key(3)
        names = [task.name for task in source.tasks]
        one, two = read_sample(source, 3, names), read_sample(again, 3, names)
        for name in names:
            np.testing.assert_array_equal(one.arrays[name], two.arrays[name])


def test_a_changed_file_is_noticed(root: Path, tmp_path: Path) -> None:
    files = {"annotations/instances_val2017.json": coco.content([coco.image(1)], [])}
    coco.write(tmp_path, files)
    source = open_source("coco", str(tmp_path))
    described = source.describe()
    (tmp_path / "annotations/instances_val2017.json").write_text("{}" * 300)
    with pytest.raises(SampleError, match="changed since it was listed"):
        source.read(0, ["image_info"])
    coco.write(tmp_path, {next(iter(files)): coco.content([coco.image(1)], [coco.instance(1, 1)])})
    with pytest.raises(UsageError, match="not what it was"):
        source_from_description(described)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("annotations/instances_val2017.json", ("instances", "val2017")),
        ("annotations/person_keypoints_train2014.json", ("person_keypoints", "train2014")),
        ("annotations/image_info_test-dev2017.json", ("image_info", "test-dev2017")),
        ("instances_val2014_minusminival.json", ("instances", "val2014_minusminival")),
        ("train/_annotations.coco.json", ("annotations", "train")),
        ("valid/_annotations.coco.json", ("annotations", "valid")),
        ("lvis_v1_train.json", ("lvis_v1", "train")),
        ("train.json", ("annotations", "train")),
        ("result.json", ("result", "")),
        ("labels/val/Objects.JSON", ("objects", "val")),
    ],
)
def test_names_of_files_say_what_they_hold(path: str, found: tuple[str, str]) -> None:
    assert base_and_group(path) == found


def test_two_groups_of_one_split_keep_their_years() -> None:
    found = split_names(["train2017", "train2014", "val2017", "test-dev2017", "unlabeled2017", ""])
    assert found == {
        "train2017": "train2017", "train2014": "train2014", "val2017": "val",
        "test-dev2017": "test_dev", "unlabeled2017": "unlabeled", "": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "images"),
    [
        ("train/_annotations.coco.json", "train"),
        ("result.json", "images"),
        ("annotations/instances_default.json", "images/default"),
        ("train.json", "train"),
    ],
)
def test_other_tools_lay_files_out_otherwise(tmp_path: Path, path: str, images: str) -> None:
    entries = [coco.image(k) for k in (1, 2)]
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(json.dumps(coco.content(entries, [coco.instance(1, 2)])))
    for k in (1, 2):
        coco.put(tmp_path / images / f"{k:012d}.png", 12, 16, k)
    source = open_source("coco", str(tmp_path))
    assert len(source) == 2
    [annotations] = [t.name for t in source.tasks if t.name not in ("image", "image_info")]
    first, second = (read_sample(source, k, ["image", annotations]) for k in range(2))
    assert first.arrays[annotations].tobytes() == b"[]"
    assert json.loads(second.arrays[annotations].tobytes()) == [coco.instance(1, 2)]
    assert second.arrays["image"].shape == (12, 16, 3)


def test_an_image_that_is_missing_is_named_and_can_be_skipped(root: Path, tmp_path: Path) -> None:
    coco.write(tmp_path, coco.usual())
    (tmp_path / "val2017/000000000203.png").unlink()
    out = tmp_path / "archive"
    with pytest.raises(SampleError, match=r"val2017/000000000203\.png.*not there.*--on-error skip"):
        dsc.compress("coco", out, root=tmp_path, tasks="image,instances")
    done = dsc.compress("coco", out, root=tmp_path, tasks="image,instances", on_error="skip")
    assert done.n_failed == 1
    source = open_source("coco", str(tmp_path))
    report = source.report()  # type: ignore[attr-defined]
    assert any("1 files of image are not there" in note for note in report.notes)
    assert report.tasks["image"].samples == 12
    assert value(source, "val2017__000000000203", "instances") is not None


def test_a_split_without_any_image_is_left_out_and_said(tmp_path: Path) -> None:
    files = coco.usual()
    coco.write(tmp_path, files)
    for path in (tmp_path / "train2017").iterdir():
        path.unlink()
    source = open_source("coco", str(tmp_path))
    assert dict(source.splits) == {"val": 5, "test": 2}  # type: ignore[attr-defined]
    left = {one.what: one.reason for one in source.report().left_out}  # type: ignore[attr-defined]
    assert left["annotations/instances_train2017.json"] == "not one of its images is there"
    captions = open_source("coco", str(tmp_path), tasks="captions")
    assert len(captions) == 12
    with pytest.raises(UsageError, match=r"--split train: found are test, val"):
        open_source("coco", str(tmp_path), split="train")


def test_maps_that_nobody_has_are_left_out_and_said(tmp_path: Path) -> None:
    coco.write(tmp_path, coco.usual())
    for path in tmp_path.glob("annotations/panoptic_*/*.png"):
        path.unlink()
    source = open_source("coco", str(tmp_path))
    assert "panoptic" not in [task.name for task in source.tasks]
    assert value(source, "val2017__000000000203", "panoptic_segments") is not None
    reasons = [one.reason for one in source.report().left_out]  # type: ignore[attr-defined]
    assert any("none is there" in reason for reason in reasons)


def test_pictures_and_files_that_nobody_speaks_of_are_said(root: Path, tmp_path: Path) -> None:
    coco.write(tmp_path, coco.usual())
    coco.put(tmp_path / "val2017/extra.png", 12, 16, 0)
    (tmp_path / "annotations/results.json").write_text('[{"image_id": 1}]')
    (tmp_path / "README.txt").write_text("hello")
    source = open_source("coco", str(tmp_path))
    left = {one.what: one.reason for one in source.report().left_out}  # type: ignore[attr-defined]
    assert left == {
        "val2017/extra.png": "in no annotation file",
        "annotations/results.json": "JSON that lists no images",
        "README.txt": "no annotations and no picture",
    }


def test_annotations_of_no_image_stop_the_call_until_they_are_left_out(tmp_path: Path) -> None:
    path = "annotations/instances_val2017.json"
    marks = [coco.instance(1, 1), coco.instance(2, 77), coco.instance(3, 77)]
    coco.write(tmp_path, {path: coco.content([coco.image(1)], marks[:1])})
    (tmp_path / path).write_text(json.dumps(coco.content([coco.image(1)], marks)))
    with pytest.raises(UsageError, match=r"annotations without image: 2 files.*\(77\)") as caught:
        dsc.compress("coco", tmp_path / "a", root=tmp_path)
    pattern = str(caught.value).rpartition("--ignore ")[2].strip("'")
    dsc.compress("coco", tmp_path / "a", root=tmp_path, ignore=pattern)
    [sample] = list(dsc.open(tmp_path / "a", ["instances"]))
    assert sample["instances"] == marks[:1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"].append(c["images"][0]), "image id 100 comes twice"),
        (lambda c: c["images"][1].pop("file_name"), "image 1 .* has no file_name"),
        (lambda c: c["images"][1].pop("id"), r"image 1, 000000000101\.png, has no id"),
        (lambda c: c["annotations"][2].pop("image_id"), "annotation 2 .* has no image_id"),
        (lambda c: c["annotations"].insert(0, 5), "annotation 0 .* has no image_id"),
    ],
)
def test_files_that_contradict_themselves_are_refused(
    tmp_path: Path, change: Any, message: str
) -> None:
    content = coco.usual()["annotations/instances_train2017.json"]
    coco.write(tmp_path, {"annotations/instances_train2017.json": content})
    change(content)
    (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(content))
    with pytest.raises(SampleError, match=message):
        open_source("coco", str(tmp_path))


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    one = coco.content([coco.image(1)], [])
    other = coco.content([coco.image(2) | {"id": 1}], [])
    coco.write(tmp_path, {"annotations/a_val2017.json": one, "annotations/b_val2017.json": other})
    with pytest.raises(UsageError, match=r"image 1 is 000000000002\.png, and 000000000001\.png in"):
        open_source("coco", str(tmp_path))
    again = tmp_path / "again"
    coco.write(again, {"x/instances_val2017.json": one, "y/instances_val2017.json": one})
    with pytest.raises(UsageError, match="are both instances of val2017; leave one out"):
        open_source("coco", str(again))
    assert len(open_source("coco", str(again), ignore="y/*.json")) == 1


def test_what_is_no_coco_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    coco.put(tmp_path / "a.png", 4, 4, 0)
    with pytest.raises(SourceNotFoundError, match="no annotated image"):
        open_source("coco", str(tmp_path))
    (tmp_path / "b.json").write_text('{"images": [{"id": 1, "file_name": "a.png"')
    with pytest.raises(SampleError, match=r"b\.json: damaged JSON"):
        open_source("coco", str(tmp_path))


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_places_in_a_file_are_those_of_its_bytes(indent: int | None, bom: bytes) -> None:
    content = coco.content(
        [coco.image(1, name="ü – 語", escaped="\u2028")], [coco.instance(1, 1, note='é\\" [}')]
    )
    for ascii_ in (True, False):
        text = json.dumps(content, indent=indent, ensure_ascii=ascii_)
        data = bom + text.encode()
        found = scan(data, "x")
        assert found is not None
        for spans, items in (
            (found.image_spans, content["images"]),
            (found.spans, content["annotations"]),
        ):
            assert [json.loads(data[a:b]) for a, b in spans.tolist()] == items
        header = {**content, "images": [], "annotations": []}
        assert json.loads(found.header) == header
        assert list(json.loads(found.header)) == list(header)


@given(
    value=st.recursive(
        st.none() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    ),
    indent=st.sampled_from([None, 1]),
)
def test_white_space_goes_and_nothing_else(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    short = json.dumps(value, separators=(",", ":"))
    assert compact(text.encode()) == short.encode()
    assert compact(f'[ {text} , "a b" ]'.encode()) == f'[{short},"a b"]'.encode()


def test_a_list_is_parted_as_it_is_spelled() -> None:
    assert split_list(b'[{"a":1.50},  "\xc3\xbc",[1,[2]]\n]') == [
        b'{"a":1.50}', b'"\xc3\xbc"', b"[1,[2]]",
    ]  # fmt: skip
    assert split_list(b"[]") == []
    with pytest.raises(ValueError, match="no list"):
        split_list(b"{}")
