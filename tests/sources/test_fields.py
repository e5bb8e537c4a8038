"""Files beside the pictures of a folder: fields of their samples, back to the byte."""

import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dsc
from dsc._copies.export.run import export
from dsc._sources.registry import open_source
from dsc.errors import SampleError, UsageError

RGB = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
DEPTH = np.random.default_rng(0).integers(1, 5000, (8, 12), np.uint16)


def lay(root: Path, files: dict[str, Any]) -> Path:
    for path, data in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if data is RGB:
            encode = imagecodecs.png_encode if path.endswith("png") else imagecodecs.jpeg8_encode
            target.write_bytes(encode(RGB))
        elif isinstance(data, np.ndarray):
            np.save(target, data)
        else:
            target.write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


def tasks(root: Path, **options: Any) -> dict[str, str]:
    return {
        task.name: task.kind.value for task in open_source("folder", str(root), **options).tasks
    }


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (
            {
                "rgb/1.png": RGB, "rgb/2.png": RGB, "captions/1.txt": "a chair",
                "meta/1.json": "{}", "meta/2.json": "[1]", "sound/2.wav": b"RIFF\xff",
            },
            {"rgb": "image", "captions": "text", "meta": "json", "sound": "bytes"},
        ),
        (
            {"1.jpg": RGB, "1.json": "{}", "1.txt": "x", "1.wav": b"\xff", "2.jpg": RGB},
            {"rgb": "image", "json": "json", "txt": "text", "wav": "bytes"},
        ),
        (
            {"rgb/1.png": RGB, "rgb/1.txt": "x", "rgb/1.xml": "<a/>", "depth/1.npy": DEPTH},
            {"rgb": "image", "depth": "depth", "rgb_txt": "text", "rgb_xml": "text"},
        ),
        (
            {
                "a/frame-0.color.jpg": RGB, "a/frame-0.pose.txt": "1 0\n0 1",
                "a/frame-0.boxes.txt": "1 2 3 4", "a/frame-0.meta.json": "{}",
            },
            {"rgb": "image", "pose": "vector", "boxes": "text", "meta": "json"},
        ),
        (
            {
                f"{split}/{name}/{at}.{end}": RGB if end == "jpg" else "{}"
                for split in ("train", "val") for name in ("cat", "dog") for at in (1, 2)
                for end in ("jpg", "json")
            },
            {"rgb": "image", "class_label": "class", "json": "json"},
        ),
        (
            {"rgb/1.png": RGB, "caption/1.txt": "x", "caption/1.json": "{}"},
            {"rgb": "image", "caption_txt": "text", "caption_json": "json"},
        ),
        (
            {"rgb/1.png": RGB, "text/1.txt": b"\xff\xfe", "json/1.json": "{", "raw/1": b""},
            {"rgb": "image", "text": "bytes", "json": "bytes", "raw": "bytes"},
        ),
    ],
)  # fmt: skip
def test_files_beside_pictures_are_tasks(
    files: dict[str, Any], found: dict[str, str], tmp_path: Path
) -> None:
    assert tasks(lay(tmp_path, files)) == found


def test_what_is_of_no_sample_is_left_out_and_said(tmp_path: Path) -> None:
    lay(
        tmp_path / "in",
        {
            "rgb/1.png": RGB, "captions/1.txt": "x", "captions/9.txt": "nobody's",
            "README.txt": "hello", "labels.json": "{}", "rgb/readme.md": "x",
        },
    )  # fmt: skip
    source = open_source("folder", str(tmp_path / "in"))
    left = {one.what: (one.reason, one.task) for one in source.report().left_out}
    assert set(left) == {"captions/9.txt", "README.txt", "labels.json", "rgb/readme.md"}
    assert left["captions/9.txt"] == ("captions of a sample that has nothing else", "")
    assert {task for _, task in left.values()} == {""}
    dsc.compress("folder", tmp_path / "a", root=tmp_path / "in")


def test_class_folders_with_splits_are_taken_in_one_call_or_one_by_one(tmp_path: Path) -> None:
    lay(tmp_path / "in", {"train/dog/1.jpg": RGB, "train/dog/1.txt": "a", "val/cat/9.jpg": RGB})
    manifest = dsc.compress("folder", tmp_path / "all", root=tmp_path / "in")
    assert dict(manifest.splits) == {"train": 1, "val": 1}
    manifest = dsc.compress("folder", tmp_path / "one", root=tmp_path / "in", split="val")
    assert dict(manifest.splits) == {"val": 1}
    classes = {task.name: task.classes for task in manifest.tasks}["class_label"]
    [sample] = list(dsc.open(tmp_path / "one", ["class_label"]))
    assert classes == ("cat", "dog")
    assert sample["class_label"] == 0


def test_numbers_are_read_where_that_is_said(tmp_path: Path) -> None:
    pose = np.arange(16, dtype=np.float64).reshape(4, 4) / 3
    files: dict[str, Any] = {}
    for at in range(3):
        files |= {
            f"rgb/{at}.png": RGB,
            f"pose/{at}.txt": "\n".join(" ".join(map(repr, map(float, row))) for row in pose),
            f"boxes/{at}.npy": np.ones((at, 4), np.float32),
            f"score/{at}.txt": f"{at / 7}\n",
            f"stamp/{at}.txt": f"2024-01-0{at + 1}T00:00:00Z",
            f"count/{at}.txt": str(at),
        }
    lay(tmp_path / "in", files)
    kinds = {
        "pose": "matrix", "boxes": "matrix", "score": "scalar", "stamp": "time", "count": "class",
    }  # fmt: skip
    dsc.compress("folder", tmp_path / "a", root=tmp_path / "in", kinds=kinds)
    archive = dsc.open(tmp_path / "a")
    shapes = {task.name: task.shape for task in archive.tasks if task.shape}
    assert shapes == {"pose": (4, 4), "boxes": (-1, 4)}
    for at, sample in enumerate(archive):
        np.testing.assert_array_equal(sample["pose"], pose)
        assert sample["boxes"].shape == (at, 4)
        assert (sample["score"], sample["count"]) == (at / 7, at)
        assert np.datetime64(int(sample["stamp"]), "ns") == np.datetime64(f"2024-01-0{at + 1}")
    assert tasks(tmp_path / "in", kinds=kinds | {"pose": "text"})["pose"] == "text"


@pytest.mark.parametrize(
    ("kinds", "error", "message"),
    [
        ({"a": "json"}, UsageError, r"--kinds a=json: .*a/1\.txt: not the json.*--kinds a=bytes"),
        ({"a": "scalar"}, UsageError, "not the scalar"),
        ({"a": "matrix"}, SampleError, "no matrix: "),
        ({"rgb": "text"}, UsageError, "holds an array"),
        ({"b": "matrix"}, UsageError, r"of 1 axes.*of 2 axes; say --kinds b=bytes"),
    ],
)
def test_kinds_that_do_not_fit_are_refused(
    kinds: dict[str, str], error: type[Exception], message: str, tmp_path: Path
) -> None:
    files = {"rgb/1.png": RGB, "rgb/2.png": RGB, "a/1.txt": "a chair", "a/2.txt": "b"}
    lay(tmp_path, {**files, "b/1.npy": np.zeros(3), "b/2.npy": np.zeros((3, 3))})
    with pytest.raises(error, match=message):
        open_source("folder", str(tmp_path), kinds=kinds, tasks=["rgb", *kinds])


def test_a_file_of_another_kind_is_named_before_work_starts(tmp_path: Path) -> None:
    files: dict[str, Any] = {f"rgb/{at:02}.png": RGB for at in range(30)}
    files |= {f"text/{at:02}.txt": "x" if at != 8 else b"\xff" for at in range(30)}
    lay(tmp_path / "in", files)
    with pytest.raises(SampleError, match=r"text/08\.txt: not the text.*--kinds text=bytes"):
        dsc.compress("folder", tmp_path / "a", root=tmp_path / "in")
    done = dsc.compress("folder", tmp_path / "a", root=tmp_path / "in", on_error="skip")
    assert done.n_failed == 1


def test_any_file_can_be_kept_as_it_is(tmp_path: Path) -> None:
    lay(tmp_path / "in", {"rgb/1.png": RGB, "depth/1.zzz": b"\1", "seg/1.mat": b"MATLAB"})
    with pytest.raises(UsageError, match="--kinds depth=bytes keeps such files as they are"):
        dsc.compress("folder", tmp_path / "a", root=tmp_path / "in")
    kinds = {"rgb": "bytes", "depth": "bytes", "seg": "bytes"}
    dsc.compress("folder", tmp_path / "a", root=tmp_path / "in", kinds=kinds)
    [sample] = list(dsc.open(tmp_path / "a"))
    assert sample["rgb"] == (tmp_path / "in/rgb/1.png").read_bytes()
    assert (sample["depth"], sample["seg"]) == (b"\1", b"MATLAB")


NAMES = st.sampled_from(["1", "2", "b c", "ü", "10.5"])
FIELDS = st.sampled_from(["captions/{}.txt", "meta/{}.json", "x/{}.wav", "rgb/{}.yaml", "y/{}.bin"])


@given(files=st.dictionaries(st.tuples(FIELDS, NAMES), st.binary(max_size=20), max_size=6))
@settings(max_examples=8, deadline=None)
def test_every_file_comes_back_to_the_byte(
    files: dict[tuple[str, str], bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("fields")
    named: dict[str, Any] = {field.format(name): data for (field, name), data in files.items()}
    names = {name for _, name in files} | {"1"}
    lay(root / "in", {**named, **{f"rgb/{name}.png": RGB for name in names}})
    there = tasks(root / "in")
    kinds = {name: "bytes" for name in ("captions", "meta", "rgb_yaml") if name in there}
    dsc.compress("folder", root / "a", root=root / "in", kinds=kinds, codec="exact")
    export(root / "a", None, root / "out")
    for path, data in named.items():
        assert (root / "out" / path).read_bytes() == data
    for name in names:
        found = imagecodecs.png_decode((root / f"out/rgb/{name}.png").read_bytes())
        np.testing.assert_array_equal(found, RGB)


def test_json_keeps_its_spelling(tmp_path: Path) -> None:
    text = '{ "b": 1.50,\n "a": "\\u00e9" }\n'
    lay(tmp_path / "in", {"rgb/1.png": RGB, "meta/1.json": text})
    dsc.compress("folder", tmp_path / "a", root=tmp_path / "in")
    export(tmp_path / "a", None, tmp_path / "out")
    assert (tmp_path / "out/meta/1.json").read_text() == text
    assert dsc.open(tmp_path / "a")[0]["meta"] == json.loads(text)
