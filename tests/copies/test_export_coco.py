"""COCO to an archive and back: every annotation file says what it said, images have their names."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import dsc
from dsc._copies.export.run import export
from dsc._sources.base import read_sample
from dsc._sources.registry import open_source
from dsc.errors import UsageError
from tests import coco

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(TEXT.filter(lambda name: name not in RESERVED), VALUES, max_size=3)
RESERVED = ("id", "image_id", "file_name", "height", "width", "segments_info")


@st.composite
def datasets(draw: st.DrawFn) -> dict[str, Any]:
    """Annotation files of some groups; those of one group list some of its images, in any order."""
    found = {}
    for group in draw(st.sampled_from([["val2017"], ["train2017", "val2017"], ["test-dev2017"]])):
        ids = draw(st.lists(st.integers(0, 99) | TEXT, min_size=1, max_size=5, unique=True))
        names = draw(st.permutations([f"{k}.png" for k in range(len(ids))]))
        folder = draw(st.sampled_from(["", "sub/"]))
        same = {
            id_: {"file_name": folder + name, "height": 2 + k, "width": 3, **draw(FIELDS)}
            for k, (id_, name) in enumerate(zip(ids, names, strict=True))
        }
        for base in draw(st.sampled_from([["instances"], ["instances", "captions", "image_info"]])):
            some = (
                draw(st.permutations(ids))
                if base != "captions"
                else draw(st.lists(st.sampled_from(ids), unique=True))
            )
            images = [{**same[id_], "id": id_} for id_ in some]
            if images and base == "captions" and draw(st.booleans()):
                images[0] = images[0] | {"more": 1}
            marks = [
                {"image_id": id_, "id": k, **draw(FIELDS)}
                for k, id_ in enumerate(draw(st.lists(st.sampled_from(ids), max_size=8)))
            ]
            more = {k: v for k, v in draw(FIELDS).items() if k not in ("images", "annotations")}
            listed = None if base == "image_info" else marks
            found[f"annotations/{base}_{group}.json"] = coco.content(images, listed, **more)
    return found


def there_and_back(root: Path, files: Mapping[str, Any], **options: Any) -> Path:
    coco.write(root / "source", files)
    for path in files:  # of a file that lists no image, others' images are there
        assert (root / "source" / path).is_file()
    dsc.compress("coco", root / "archive", root=root / "source", codec="exact", **options)
    report = export(root / "archive", None, root / "out", to="coco")
    assert report.notes == ()
    return root / "out"


@given(files=datasets(), shard=st.sampled_from([2, 64]))
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example is seconds: never shrunk
)
def test_coco_comes_back_value_for_value(files: dict[str, Any], shard: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        out = there_and_back(Path(root), files, shard_size=shard, pack=2)
        for path, content in files.items():
            found = json.loads((out / path).read_text())
            assert found == content
            assert list(found) == list(content)
            assert json.dumps(found) == json.dumps(content)  # order of fields, -0.0, 1 and 1.0
        first, again = (open_source("coco", str(p)) for p in (Path(root) / "source", out))
        assert first.tasks == again.tasks
        assert [first.key(k) for k in range(len(first))] == [
            again.key(k) for k in range(len(again))
        ]
        for index in range(len(first)):
            names = [task.name for task in first.tasks]
            one, two = read_sample(first, index, names), read_sample(again, index, names)
            assert one.arrays.keys() == two.arrays.keys()
            for name in one.arrays:
                np.testing.assert_array_equal(one.arrays[name], two.arrays[name])


def test_every_file_of_the_usual_form_comes_back(tmp_path: Path) -> None:
    files = coco.usual()
    out = there_and_back(tmp_path, files)
    names = {str(p.relative_to(tmp_path / "source")) for p in (tmp_path / "source").rglob("*.*")}
    assert {str(p.relative_to(out)) for p in out.rglob("[!.]*.*")} == names
    for path, content in files.items():
        assert json.loads((out / path).read_text()) == content
    for task in ("image", "panoptic"):
        one, two = (open_source("coco", str(p)) for p in (tmp_path / "source", out))
        for index in range(10):
            np.testing.assert_array_equal(
                one.read(index, [task]).arrays[task], two.read(index, [task]).arrays[task]
            )


def test_jpeg_keeps_its_name_and_it_is_said(tmp_path: Path) -> None:
    path = "annotations/instances_val2017.json"
    files = {path: coco.content([coco.image(k, "jpg") for k in range(3)], [])}
    coco.write(tmp_path / "source", files)
    dsc.compress("coco", tmp_path / "archive", root=tmp_path / "source", codec="exact")
    report = export(tmp_path / "archive", None, tmp_path / "out", to="coco")
    assert report.notes == ("3 images are JPEG of quality 95",)
    assert (tmp_path / "out/val2017/000000000001.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert json.loads((tmp_path / "out" / path).read_text()) == files[path]
    again = export(tmp_path / "archive", None, tmp_path / "out", to="coco")
    assert (again.kept, again.written) == (3, 1)


def test_an_archive_that_grew_gives_all_files(tmp_path: Path) -> None:
    files = coco.usual()
    coco.write(tmp_path / "source", files)
    dsc.compress("coco", tmp_path / "a", root=tmp_path / "source", split="val", codec="exact")
    more = dict(root=tmp_path / "source", split="train")
    dsc.append(tmp_path / "a", "coco", **more)
    export(tmp_path / "a", None, tmp_path / "out", to="coco")
    for name, content in files.items():
        if "test2017" not in name:
            assert json.loads((tmp_path / "out" / name).read_text()) == content


def test_an_order_that_was_not_kept_is_said(tmp_path: Path) -> None:
    images = [coco.image(1), coco.image(2)]
    one = coco.content(images, [coco.instance(1, 1), coco.instance(2, 2)])
    two = coco.content(images, [coco.instance(1, 2), coco.instance(2, 1)])
    coco.write(tmp_path / "one", {"annotations/instances_train2017.json": one})
    coco.write(tmp_path / "two", {"annotations/instances_val2017.json": two})
    dsc.compress("coco", tmp_path / "a", root=tmp_path / "one", codec="exact")
    dsc.append(tmp_path / "a", "coco", root=tmp_path / "two")
    report = export(tmp_path / "a", None, tmp_path / "out", to="coco")
    path = "annotations/instances_val2017.json"
    assert report.notes == (
        f"{path}: in the order of the samples, for instances_order was not kept",
    )
    found = json.loads((tmp_path / "out" / path).read_text())
    assert found["annotations"] == two["annotations"][::-1]


def test_some_tasks_need_others_to_make_a_file(tmp_path: Path) -> None:
    files = coco.usual()
    coco.write(tmp_path / "source", files)
    dsc.compress("coco", tmp_path / "a", root=tmp_path / "source", codec="exact")
    with pytest.raises(UsageError, match=r"needs image_info, captions_order, too"):
        export(tmp_path / "a", "captions", tmp_path / "out", to="coco")
    words = "captions,image_info,captions_order"
    report = export(tmp_path / "a", words, tmp_path / "out", to="coco")
    path = "annotations/captions_val2017.json"
    assert json.loads((tmp_path / "out" / path).read_text()) == files[path]
    assert any("instances_val2017.json: not written" in note for note in report.notes)
    assert not (tmp_path / "out/val2017").exists()


def test_other_archives_have_no_coco(tmp_path: Path) -> None:
    dsc.compress("sample", tmp_path / "a", sample=2, size=16)
    with pytest.raises(UsageError, match="is not the source coco"):
        export(tmp_path / "a", None, tmp_path / "out", to="coco")
