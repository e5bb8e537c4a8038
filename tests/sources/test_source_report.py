"""What a source found, decided and left out; splits, classes and names in the archive."""

import json
import os
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._copies.export.run import export
from dsc._jobs.archive.append import append
from dsc._jobs.archive.compress import compress
from dsc._pipeline.write.plan import check_keys
from dsc._schemas import Manifest
from dsc._sources.registry import open_source
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError

RNG = np.random.default_rng(11)


def picture(path: Path, shape: tuple[int, ...] = (8, 12, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(RNG.integers(0, 256, shape).astype(np.uint8)))


def classes(root: Path, *names: str, count: int = 2) -> Path:
    for name in names:
        for at in range(count):
            picture(root / name / f"{at:04d}.png")
    return root


def test_splits_of_directories_become_splits_of_the_archive(tmp_path: Path) -> None:
    root = classes(tmp_path / "in", "val/cat", "train/cat", "train/dog", "test/dog", "train/n 10")
    manifest = compress("folder", tmp_path / "a", root=root, codec="png", shard_size=2)
    assert manifest.splits == {"train": 6, "val": 2, "test": 2}
    opened = dsc.open(tmp_path / "a")
    label = next(task for task in manifest.tasks if task.name == "class_label")
    assert label.classes == ("cat", "dog", "n 10")
    found = {
        opened.origin(index).name: int(opened[index]["class_label"]) for index in range(len(opened))
    }
    assert found == {
        f"{split}/{name}/{at:04d}": label.classes.index(name)
        for split, name in (
            ("train", "cat"), ("train", "dog"), ("train", "n 10"), ("val", "cat"), ("test", "dog")
        )
        for at in range(2)
    }  # fmt: skip
    again = compress("folder", tmp_path / "a", root=root, codec="png", shard_size=2)
    assert again == manifest


def test_one_split_can_be_taken(tmp_path: Path) -> None:
    root = classes(tmp_path / "in", "val/cat", "train/cat", "train/dog")
    manifest = compress("folder", tmp_path / "a", root=root, codec="png", split="val")
    assert manifest.splits == {"val": 2}
    with pytest.raises(UsageError, match=r"--split test: found are train, val"):
        compress("folder", tmp_path / "b", root=root, codec="png", split="test")


def test_classes_are_numbered_as_torchvision_numbers_them(tmp_path: Path) -> None:
    names = ["n2", "n10", "Zebra", "apple", "_x", "10", "9"]
    source = open_source("folder", str(classes(tmp_path, *names)))
    assert source.tasks[1].classes == tuple(sorted(names))
    for index in range(len(source)):
        number = int(source.read(index, ["class_label"]).arrays["class_label"])
        assert source.origin(index).files["rgb"].startswith(f"{sorted(names)[number]}/")


def test_a_class_whose_name_is_no_text_is_kept_escaped(tmp_path: Path) -> None:
    classes(tmp_path / "in", "dog")
    os.rename(tmp_path / "in" / "dog", os.fsencode(tmp_path / "in") + b"/caf\xe9")
    classes(tmp_path / "in", "dog")
    manifest = compress("folder", tmp_path / "a", root=tmp_path / "in", codec="png")
    assert manifest.tasks[1].classes == (r"caf\xe9", "dog")
    assert len(Archive.open(tmp_path / "a")) == 4
    export(tmp_path / "a", "rgb", tmp_path / "out")
    assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == [
        b".dsc-export.json", b"caf\xe9", b"dog"
    ]  # fmt: skip


def test_what_lies_beside_is_in_the_manifest_with_its_reason(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for at in range(3):
        picture(root / f"rgb/{at}.png")
        picture(root / f"label/{at}.png", (8, 12))
    (root / "README.md").write_text("hello")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x.png").write_bytes(b"x")
    (root / "label" / "1.png").unlink()
    compress("folder", tmp_path / "a", root=root, codec="png", tasks="rgb,label")
    data = (tmp_path / "a" / "dsc.json").read_bytes()
    report = json.loads(data)["source_report"]
    assert (report["samples"], report["complete"]) == (3, 2)
    assert report["tasks"]["label"]["samples"] == 2
    assert {one["what"] for one in report["left_out"]} == {"README.md", ".hidden/"}
    assert all(one["reason"] for one in report["left_out"])
    assert any("EXIF" in note for note in report["notes"])
    assert Manifest.from_file_bytes(data, "here").source_report is not None


def test_an_append_says_what_it_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "in/rgb/1.png")
    compress("folder", tmp_path / "a", root=tmp_path / "in", codec="png")
    picture(tmp_path / "in/rgb/2.png")
    (tmp_path / "in" / "notes.txt").write_text("x")
    report = append(tmp_path / "a", "folder", root=tmp_path / "in")
    (entry,) = report.manifest.appended
    assert entry.source_report is not None
    assert [one.what for one in entry.source_report.left_out] == ["notes.txt"]
    assert dsc.open(tmp_path / "a").origin(1).files == {"rgb": "rgb/2.png"}


def test_splits_are_appended_one_at_a_time(tmp_path: Path) -> None:
    root = classes(tmp_path / "in", "train/cat", "train/dog")
    compress("folder", tmp_path / "a", root=root, codec="png")
    classes(root, "val/cat", "val/dog")
    with pytest.raises(UsageError, match=r"splits train, val.*--split train"):
        append(tmp_path / "a", "folder", root=root)
    manifest = append(tmp_path / "a", "folder", root=root, split="val").manifest
    assert manifest.splits == {"train": 4, "val": 4}


class Twins:
    """Two samples of one key."""

    def __len__(self) -> int:
        return 70_000

    def key(self, index: int) -> str:
        return f"k{min(index, 69_998)}"


def test_equal_keys_are_found_among_many() -> None:
    with pytest.raises(UsageError, match=r"'k69998': sample 69998 and sample 69999"):
        check_keys(Twins())  # type: ignore[arg-type]


def test_a_hostile_archive_exports_nothing_outside(tmp_path: Path) -> None:
    from dsc._copies.export.files import file_paths
    from dsc._schemas import Origin, Task

    picture(tmp_path / "in/rgb/1.png")
    manifest = compress("folder", tmp_path / "a", root=tmp_path / "in", codec="png")
    tasks = [Task(name="rgb", kind="image", dtype="uint8", channels=3)]
    for path in (
        "/etc/passwd",
        "../x.png",
        "a/../../x.png",
        "a//b.png",
        ".",
        "..",
        "a\\..\\b",
        "\0",
        "\ud800.png",
    ):
        found = file_paths(manifest, tasks, "k", Origin(name="k", files={"rgb": path}))
        assert found == {"rgb": "rgb/k.png"}, path
    found = file_paths(manifest, tasks, "k", Origin(name="k", files={"rgb": "-x/ä.b.JPG"}))
    assert found == {"rgb": "-x/ä.b.png"}


def test_a_view_finds_originals_that_were_read_under_options(tmp_path: Path) -> None:
    """Floating-point depth in millimetres, a kind of one's own, a neighbour that is ignored."""
    from dsc._pipeline.read.originals import find_originals

    root = tmp_path / "in"
    for at in range(2):
        picture(root / f"rgb/{at}.png")
        for name, array in (
            ("range", (RNG.random((8, 12)) * 3000 + 900).astype(np.float32)),
            ("odd", np.zeros((2, 2, 2, 2))),
        ):
            (root / name).mkdir(exist_ok=True)
            np.save(root / name / f"{at}.npy", array)
    compress(
        "folder", tmp_path / "a", root=root, codec="png", kinds={"range": "depth"},
        file_unit={"range": "mm"}, ignore="odd",
    )  # fmt: skip
    opened = dsc.open(tmp_path / "a", native=True)
    found = find_originals(opened, str(root)).originals
    assert found is not None
    assert sorted(found.tasks) == ["range", "rgb"]
    for index, key in enumerate(opened.keys()):
        np.testing.assert_array_equal(found.read(index, key)["range"], opened[index]["range"])


def test_a_codec_that_is_named_for_a_task_calls_it_a_picture(tmp_path: Path) -> None:
    for at in range(2):
        path = tmp_path / f"in/rgb/{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(imagecodecs.png_encode(np.full((8, 12, 3), 40 * at, np.uint8)))
    for options, exact, codec in (
        ({}, True, "jxl-lossless"),
        ({"codec": "rgb=jpeg"}, False, "jpeg"),
        ({"target": "rgb=40dB"}, False, "av1"),
        ({"codec": "rgb=png"}, True, "png"),
        ({"kinds": {"rgb": "image"}}, False, "av1"),
    ):
        manifest = compress(
            "folder", tmp_path / "a", root=tmp_path / "in", overwrite=True, **options
        )
        (task,) = manifest.tasks
        assert (task.exact, manifest.codecs[0].id) == (exact, codec), options
    with pytest.raises(UsageError, match=r"--kinds rgb=image, or --codec rgb=jpeg"):
        compress("folder", tmp_path / "b", root=tmp_path / "in", codec="jpeg")


def test_a_bound_counts_what_depth_is_rounded_by(tmp_path: Path) -> None:
    """The promise is about the source's values, not about counts of a millimetre."""
    drawn = {}
    for at in range(3):
        drawn[str(at)] = (RNG.random((24, 32)) * 0.3 + 0.2).astype(np.float32)
        (tmp_path / "in/depth").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"in/depth/{at}.npy", drawn[str(at)])
    call = {"root": tmp_path / "in", "codec": "depth=av1-fast", "overwrite": True}
    for bound, most_m, most_share in (("2mm", 0.002, 1), ("1%", 1, 0.01)):
        compress("folder", tmp_path / "a", max_error=f"depth={bound}", **call)
        opened = dsc.open(tmp_path / "a")
        for key, found in zip(opened.keys(), opened, strict=True):
            error = np.abs(found["depth"].astype(np.float64) - drawn[key])
            assert error.max() <= most_m + 1e-7
            assert (error / drawn[key]).max() <= most_share + 1e-6
    with pytest.raises(UsageError, match=r"--depth-unit depth=0\.\d+ or less") as caught:
        compress("folder", tmp_path / "a", max_error="depth=0.5mm", **call)
    step = str(caught.value).rpartition("--depth-unit depth=")[2].split()[0]
    compress("folder", tmp_path / "a", max_error="depth=0.5mm", depth_unit={"depth": step}, **call)
    for key, found in zip(dsc.open(tmp_path / "a").keys(), dsc.open(tmp_path / "a"), strict=True):
        assert np.abs(found["depth"].astype(np.float64) - drawn[key]).max() <= 0.0005 + 1e-7


def test_an_append_names_the_new_sample_that_lacks_a_task(tmp_path: Path) -> None:
    for name in ("rgb/1", "label/1"):
        picture(tmp_path / f"in/{name}.png")
    compress("folder", tmp_path / "a", root=tmp_path / "in", codec="png")
    for name in ("rgb/2", "label/2", "rgb/3"):
        picture(tmp_path / f"in/{name}.png")
    with pytest.raises(UsageError, match=r"new sample 3 lacks label.*--missing none"):
        append(tmp_path / "a", "folder", root=tmp_path / "in")
    assert append(tmp_path / "a", "folder", root=tmp_path / "in", missing="none").samples == 2


def test_poses_without_a_picture_are_listed_and_stop_nothing(tmp_path: Path) -> None:
    for at in range(3):
        picture(tmp_path / f"in/frame-{at}.color.png")
    for at in range(5):
        (tmp_path / f"in/frame-{at}.pose.txt").write_text("1 0\n0 1\n")
    manifest = compress("folder", tmp_path / "a", root=tmp_path / "in", codec="png")
    report = manifest.source_report
    assert report is not None
    assert report.tasks["pose"].samples == 3
    (left_out,) = report.left_out
    assert (left_out.files, left_out.task) == (2, "")
    assert "nothing else" in left_out.reason


def test_files_without_an_ending_are_a_task_where_samples_have_them(tmp_path: Path) -> None:
    for at in range(3):
        picture(tmp_path / f"in/rgb/{at}.png")
        (tmp_path / "in/raw").mkdir(exist_ok=True)
        (tmp_path / f"in/raw/{at}").write_bytes(b"\0")
    manifest = compress("folder", tmp_path / "a", root=tmp_path / "in")
    assert [(task.name, task.kind.value) for task in manifest.tasks] == [
        ("rgb", "image"),
        ("raw", "bytes"),
    ]
