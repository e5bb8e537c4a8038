"""``dsc append`` does what its help says, and ends with the right code."""

import json
import shutil
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from dsc._storage.read.archive import Archive
from tests.cli.conftest import Command

SAMPLE = ("--size", 32)


@pytest.fixture
def demo(dsc: Command, tmp_path: Path) -> Path:
    """Five rendered views, rgb and depth."""
    words = ("--views", 5, *SAMPLE, "--tasks", "rgb,depth", "--codec", "png", "--shard-size", 2)
    assert dsc("compress", "taskonomy", *words, "--out", tmp_path / "demo").code == 0
    return tmp_path / "demo"


def test_help_teaches_by_examples(dsc: Command) -> None:
    ran = dsc("append", "--help")
    assert ran.code == 0
    assert "dsc append " in ran.out.partition("Examples")[2]
    assert "--json" in ran.out
    assert "append" in dsc("--help").out


def test_samples_and_then_a_task(dsc: Command, demo: Path) -> None:
    ran = dsc("append", demo, "taskonomy", "--views", 8, *SAMPLE)
    assert ran.code == 0
    for words in (
        "3 samples added, generation 2",
        "there already: 5 samples of the source",
        "8 samples",
    ):
        assert words in ran.out
    assert "append: 3 of 3 samples" in ran.err
    words = ("--views", 7, *SAMPLE, "--tasks", "normals", "--quality", 90)
    ran = dsc("append", demo, "taskonomy", *words, "--json")
    found = ran.json()
    assert ran.code == 0
    assert found["generation"] == 3
    assert found["added"] == {"samples": 0, "tasks": ["normal"]}
    assert found["missing"] == 1
    assert [row["name"] for row in found["rows"]] == ["rgb", "depth_zbuffer", "normal"]
    assert dsc("verify", demo, "--deep").code == 0
    info = dsc("info", demo, "--json").json()
    assert (info["samples"], info["manifest"]["generation"]) == (8, 3)
    assert len(dsc("ls", demo, "-n", 0, "--json").json()["samples"]) == 8


def test_nothing_new_is_said_and_exits_0(dsc: Command, demo: Path) -> None:
    ran = dsc("append", demo, "taskonomy", "--views", 5, *SAMPLE)
    assert ran.code == 0
    assert "nothing to add: it has all 5 samples" in ran.out
    assert "--tasks normal" in ran.out
    found = dsc("append", demo, "taskonomy", "--views", 4, *SAMPLE, "--json").json()
    assert found["added"] == {"samples": 0, "tasks": []}
    assert (found["there"], found["generation"]) == (4, 1)


def test_a_call_that_cannot_be_honoured_exits_2(dsc: Command, demo: Path, tmp_path: Path) -> None:
    for words, message in [
        ((demo, "taskonomy", "--views", 8, "--tasks", "rgb,normals"), "--tasks normal"),
        ((demo, "taskonomy", "--views", 8, "--codec", "png"), "named with --tasks"),
        ((tmp_path / "none", "taskonomy", "--views", 8), "no such directory"),
        (("http://127.0.0.1:9/a", "taskonomy", "--views", 8), "HTTP cannot be written to"),
        ((demo, "nonsense", "--views", 8), "no source 'nonsense'"),
    ]:
        ran = dsc("append", *words, "--json")
        assert ran.code == 2
        assert message in ran.json()["error"]
    assert len(Archive.open(demo)) == 5


def test_skipped_samples_are_listed_and_exit_1(dsc: Command, views: Path, tmp_path: Path) -> None:
    words = ("--tasks", "rgb", "--codec", "png")
    root = tmp_path / "views"
    for path in sorted((views / "rgb").rglob("*.png")):
        target = root / path.relative_to(views)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    broken = next(path for path in root.rglob("*point_3_*"))
    whole = broken.read_bytes()
    broken.unlink()
    out = tmp_path / "a"
    assert dsc("compress", "taskonomy", "--root", root, *words, "--out", out).code == 0
    broken.write_bytes(whole[:99])
    ran = dsc("append", out, "taskonomy", "--root", root, "--json")
    assert ran.code == 1
    assert "--on-error skip" in json.loads(ran.out)["error"]
    ran = dsc("append", out, "taskonomy", "--root", root, "--on-error", "skip", "--json")
    assert ran.code == 1
    assert [one["key"] for one in ran.json()["failed"]] == ["procedural__point_3_view_0"]
    assert dsc("verify", out).code == 0


@pytest.mark.data
def test_the_test_frames_of_nyuv2_and_then_its_labels_join_the_training_frames(
    dsc: Command, tmp_path: Path, data_root: Path
) -> None:
    root, out = tmp_path / "nyu", tmp_path / "a"
    frames = {
        split: (data_root / "nyuv2" / f"{split}.txt").read_text().split()[:2]
        for split in ("train", "test")
    }
    for split, names in frames.items():
        root.mkdir(exist_ok=True)
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            for folder in ("nyu_depths", "nyu_labels40"):
                (root / folder).mkdir(exist_ok=True)
                shutil.copy(data_root / "nyuv2" / folder / f"{name}.png", root / folder)
    words = ("--root", root, "--codec", "png", "--tasks", "depth", "--split", "train")
    assert dsc("compress", "nyuv2", *words, "--out", out).code == 0
    ran = dsc("append", out, "nyuv2", "--root", root, "--split", "test")
    assert ran.code == 0, ran.err
    ran = dsc("append", out, "nyuv2", "--root", root, "--tasks", "label", "--json")
    assert ran.code == 0
    assert ran.json()["missing"] == 0
    listed = dsc("ls", out, "-n", 0, "--json").json()["samples"]
    assert [one["split"] for one in listed] == ["train", "train", "test", "test"]
    found = dsc("export", out, "--out", tmp_path / "files", "--json").json()
    assert found["written"] == 8 + 2  # arrays, and the lists of the splits
    for folder in ("nyu_depths", "nyu_labels40"):
        for names in frames.values():
            for name in names:
                decoded = imagecodecs.imread(tmp_path / "files" / folder / f"{name}.png")
                original = imagecodecs.imread(data_root / "nyuv2" / folder / f"{name}.png")
                np.testing.assert_array_equal(decoded, original)


def test_a_quality_that_is_the_same_for_all_is_said_once(dsc: Command, tmp_path: Path) -> None:
    where = tmp_path / "a"
    assert (
        dsc("compress", "sample", "--views", 2, *SAMPLE, "--tasks", "rgb", "--out", where).code == 0
    )
    for task, quality in (("depth", 60), ("normals", 80)):
        words = ("--views", 2, *SAMPLE, "--tasks", task, "--quality", quality)
        assert dsc("append", where, "taskonomy", *words).code == 0
        shown = dsc("info", where).out
        assert f"quality 60{', normal 80' * (quality == 80)}; " in shown
        assert "zbuffer 60" not in shown
