"""Machine paths of archives: nothing is stored for them, and what is stored reads as it did."""

import hashlib
import re
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._pipeline.read.dataset import Dataset
from dsc._schemas.machine_path import PATHS
from dsc.errors import UnknownTaskError, UsageError
from tests.cli.conftest import run_dsc
from tests.places import ROOT


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rendered views of 64 pixels, coarse, rgb by `av1`, edges of 16 bits and depth beside."""
    out = tmp_path_factory.mktemp("paths") / "demo"
    words = ("--views", 4, "--size", 64, "--tasks", "rgb,depth", "--shard-size", 3, "--pack", 2)
    ran = run_dsc("compress", "taskonomy", *words, "--codec", "av1", "--quality", 20, "--out", out)
    assert ran.code == 0, ran.err
    return out


def hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_a_path_is_asked_for_as_a_task_and_changes_nothing_else(archive: Path) -> None:
    before = hashes(archive)
    plain = dsc.open(archive)
    found = dsc.open(archive, ["depth", *(f"rgb:{path}" for path in PATHS), "rgb"])
    names = [f"rgb_{path}" for path in PATHS]
    assert [task.name for task in found.tasks] == ["depth_zbuffer", *names, "rgb"]
    assert found.streams == plain.streams
    for one, other in zip(plain, found, strict=True):
        for name in ("rgb", "depth_zbuffer"):
            assert one[name].tobytes() == other[name].tobytes()
        assert other["rgb_cls"].shape == one["rgb"].shape
        assert not np.array_equal(other["rgb_cls"], one["rgb"])
    assert "rgb_cls" not in [task.name for task in dsc.open(archive).tasks]
    assert hashes(archive) == before


def test_a_strength_of_nothing_is_what_people_see(archive: Path) -> None:
    for sample in dsc.open(archive, ["rgb", "rgb:cls:0"]):
        assert np.array_equal(sample["rgb"], sample["rgb_cls"])


def test_batches_have_what_samples_have(archive: Path) -> None:
    samples = dsc.open(archive, "rgb:cls")
    for workers in (0, 1):
        stream = dsc.stream(archive, "rgb:cls", 2, workers=workers)
        for batch in stream:
            for index, picture in zip(batch["__index__"], batch["rgb_cls"], strict=True):
                wanted = samples[int(index)]["rgb_cls"].transpose(2, 0, 1)
                assert np.array_equal(picture.numpy(), wanted)


def test_the_command_line_exports_and_fetches_what_a_path_takes(archive: Path, tmp_path) -> None:
    ran = run_dsc("export", archive, "--tasks", "rgb:cls", "--out", tmp_path / "files")
    assert ran.code == 0, ran.err
    assert len(list((tmp_path / "files").rglob("*.png"))) == 4
    ran = run_dsc("fetch", archive, "--tasks", "rgb:cls", "--out", tmp_path / "copy")
    assert ran.code == 0, ran.err
    copy = Dataset.open(tmp_path / "copy", "rgb:cls")
    assert [task.name for task in copy.manifest.tasks] == ["rgb", "rgb_cls"]
    assert not (tmp_path / "copy" / "depth_zbuffer").exists()
    assert np.array_equal(copy[0]["rgb_cls"], dsc.open(archive, "rgb:cls")[0]["rgb_cls"])
    assert run_dsc("verify", tmp_path / "copy", "--deep").code == 0


def test_the_loop_of_the_page_runs(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "machine_paths.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(archive.parent)
    known: dict[str, Any] = {}
    exec(compile(block, "machine_paths.md", "exec"), known)
    assert known["batch"]["rgb_cls"].shape[1:] == (3, 64, 64)


def test_info_says_which_paths_there_are(archive: Path) -> None:
    assert run_dsc("info", archive, "--json").json()["machine_paths"] == [
        f"rgb:{path}" for path in PATHS
    ]
    assert "rgb:cls for classification" in run_dsc("info", archive).out


@pytest.mark.parametrize(
    ("tasks", "error", "words"),
    [
        ("rgb:det", UnknownTaskError, "no machine path rgb:det; rgb has cls"),
        ("video:cls", UnknownTaskError, "no task 'video' here; found: rgb"),
        ("depth:cls", UsageError, "depth_zbuffer is no image of three 8-bit channels"),
        ("rgb:cls:1.5", UsageError, "a strength from 0 to 1"),
        ("rgb:cls,rgb:cls:0.5", UsageError, "would both be rgb_cls"),
    ],
)
def test_a_path_that_is_none_is_refused_with_what_there_is(archive, tasks, error, words) -> None:
    for reader in (dsc.open, dsc.stream, dsc.decode):
        with pytest.raises(error, match=words):
            reader(archive, tasks)
    assert words in " ".join(run_dsc("export", archive, "--tasks", tasks, "--out", "x").err.split())


def test_exact_pictures_have_no_paths_and_are_told_why(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for red in range(3):  # pictures of one colour each may be masks, so they are kept exactly
        imagecodecs.imwrite(tmp_path / f"folder/{red}.png", np.full((8, 8, 3), red, np.uint8))
    dsc.compress("folder", tmp_path / "a", root=str(tmp_path / "folder"))
    with pytest.raises(UsageError, match="rgb is exact, so there is nothing to correct"):
        dsc.open(tmp_path / "a", "rgb:cls")


def test_pictures_of_other_codecs_have_no_paths(tmp_path: Path) -> None:
    words = ("--views", 2, "--size", 48, "--tasks", "rgb", "--codec", "jpeg")
    assert run_dsc("compress", "taskonomy", *words, "--out", tmp_path / "a").code == 0
    with pytest.raises(UsageError, match="rgb is coded by jpeg, and paths correct what av1"):
        dsc.open(tmp_path / "a", "rgb:cls")
    assert run_dsc("info", tmp_path / "a", "--json").json()["machine_paths"] == []
