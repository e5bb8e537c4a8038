"""Where data lies is noted beside archives, on this machine alone, and found again."""

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc._copies.fetch import fetch
from dsc._jobs.archive.append import append
from dsc._jobs.archive.compress import compress
from dsc._pipeline.read import whereabouts
from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.read.originals import find_originals
from dsc._pipeline.read.whereabouts import recall, recall_all, remember, state_directory
from dsc._pipeline.view.view import write_view
from dsc._sources.rendered.sample import write_sample
from tests.jobs.sources import PixelSource

PLAN = "a" * 64


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DSC_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "sources"


def views(place: Path, n: int, **options: Any) -> Path:
    write_sample(place, n, size=32)
    return place


def test_originals_are_found_where_this_machine_made_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = views(tmp_path / "views", 3)
    compress("taskonomy", tmp_path / "a", root=root, tasks="rgb", codec="jpeg", quality="20")
    report = write_view(tmp_path / "a", tmp_path / "v.html")
    assert report.measured == 3
    assert str(root) in report.note
    fetch(tmp_path / "a", "rgb", tmp_path / "copy")
    assert write_view(tmp_path / "copy", tmp_path / "v.html").measured == 3
    monkeypatch.setenv("DSC_STATE", "off")
    assert write_view(tmp_path / "a", tmp_path / "v.html").measured == 0


def test_no_file_of_the_archive_knows_where_its_source_lay(tmp_path: Path) -> None:
    root = views(tmp_path / "a_place_of_mine", 2)
    compress("taskonomy", tmp_path / "a", root=root, tasks="rgb", codec="jpeg")
    for path in (tmp_path / "a").rglob("*"):
        assert not path.is_file() or b"a_place_of_mine" not in path.read_bytes()


def test_what_was_appended_is_looked_for_where_it_came_from(tmp_path: Path) -> None:
    both = views(tmp_path / "both", 4)
    few = tmp_path / "few"
    shutil.copytree(both, few)
    for file in [*few.rglob("*point_2*"), *few.rglob("*point_3*")]:
        file.unlink()
    compress("taskonomy", tmp_path / "a", root=few, tasks="rgb", codec="jpeg")
    append(tmp_path / "a", "taskonomy", root=both)
    append(tmp_path / "a", "taskonomy", root=both, tasks="depth", codec="png")
    dataset = Dataset.open(tmp_path / "a", native=True)
    roots = [noted["root"] for noted in recall_all(dataset.manifest)]
    assert list(dict.fromkeys(roots)) == [str(few), str(both)]
    found = find_originals(dataset).originals
    assert found is not None
    for index, key in enumerate(dataset.keys()):
        assert set(found.read(index, key)) == {"rgb", "depth_zbuffer"}
        arrays = found.read(index, key, ["depth_zbuffer"])
        np.testing.assert_array_equal(arrays["depth_zbuffer"], dataset[index]["depth_zbuffer"])


def test_data_that_moved_or_changed_is_said_so(tmp_path: Path) -> None:
    root = views(tmp_path / "views", 3)
    compress("taskonomy", tmp_path / "a", root=root, tasks="rgb", codec="jpeg")
    next(root.rglob("*point_2*rgb*")).unlink()
    dataset = Dataset.open(tmp_path / "a", native=True)
    found = find_originals(dataset)
    assert found.originals is not None
    assert "changed since" in found.note
    assert found.originals.read(2, "point_2_view_0") == {}
    root.rename(tmp_path / "moved")
    found = find_originals(dataset)
    assert found.originals is None
    assert "cannot be opened" in found.note
    compress("taskonomy", tmp_path / "a", root=tmp_path / "moved", tasks="rgb", codec="jpeg",
             overwrite=True)  # fmt: skip
    assert find_originals(Dataset.open(tmp_path / "a", native=True)).originals is not None


def test_views_of_any_seed_are_rendered_again(tmp_path: Path) -> None:
    compress("sample", tmp_path / "a", n=2, size=32, seed=9, tasks="rgb", codec="jpeg")
    assert write_view(tmp_path / "a", tmp_path / "v.html").measured == 2


def test_views_are_rendered_again_with_the_tasks_that_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compress("taskonomy", tmp_path / "a", sample=2, size=32, tasks="rgb,edge_texture", codec="png")
    dataset = Dataset.open(tmp_path / "a", native=True)
    monkeypatch.setattr("dsc._pipeline.read.originals.recall_all", lambda manifest: [])
    found = find_originals(dataset)
    assert found.note == "originals rendered again"
    assert found.originals is not None
    for name, array in found.originals.read(1, "point_1_view_0").items():
        np.testing.assert_array_equal(dataset[1][name], array)
    assert set(found.originals.read(1, "point_1_view_0")) == {"rgb", "edge_texture"}


def test_a_source_of_no_layout_is_no_error(tmp_path: Path) -> None:
    compress(PixelSource(n=5), tmp_path / "a", codec="png")
    report = write_view(tmp_path / "a", tmp_path / "v.html")
    assert report.measured == 0
    assert "pixels" in report.note


@pytest.mark.parametrize(
    "root",
    ["https://host/data?X-Amz-Signature=abc", "https://me:secret@host/data", "s3://me@bucket/x"],
)
def test_secrets_are_not_noted(root: str, state: Path) -> None:
    remember(PLAN, {"name": "folder", "root": root})
    assert recall(PLAN) is None
    remember(PLAN, {"name": "folder", "root": "/data", "options": {"lists": [root]}})
    assert recall(PLAN) is None
    assert not state.exists()


def test_data_in_splits_is_found_again(tmp_path: Path) -> None:
    root = views(tmp_path / "views", 8)
    compress("taskonomy", tmp_path / "a", root=root, tasks="rgb", codec="jpeg",
             split_by="hash:train=0.5,val=0.5")  # fmt: skip
    dataset = Dataset.open(tmp_path / "a", native=True)
    found = find_originals(dataset)
    assert found.originals is not None
    assert "changed" not in found.note
    for index, key in enumerate(dataset.keys()):
        assert set(found.originals.read(index, key)) == {"rgb"}


def test_only_the_user_can_read_what_is_noted(state: Path) -> None:
    remember(PLAN, {"name": "folder", "root": "relative"})
    assert stat.S_IMODE((state / f"{PLAN}.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    noted = recall(PLAN)
    assert noted is not None
    assert noted["root"] == str(Path("relative").absolute())


def test_damage_and_foreign_files_are_passed_over(state: Path) -> None:
    state.mkdir(parents=True)
    for text in ("", "{", "[]", '{"name": 3}', "null"):
        (state / f"{PLAN}.json").write_text(text)
        assert recall(PLAN) is None
    assert recall("../secret") is None


def test_the_oldest_are_forgotten(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts, "KEPT", 3)
    for n in range(5):
        remember(f"{n:064x}", {"name": "folder", "root": "/data"})
        os.utime(state / f"{n:064x}.json", (n, n))
    remember(PLAN, {"name": "folder", "root": "/data"})
    assert len(list(state.iterdir())) == 3
    assert recall(PLAN) is not None


def test_a_place_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DSC_STATE", str(tmp_path / "file"))
    remember(PLAN, {"name": "folder", "root": "/data"})
    assert recall(PLAN) is None
    remember(PLAN, {"name": "folder", "root": None, "options": {"f": object()}})


def test_where_it_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for off in ("", "off", "0"):
        monkeypatch.setenv("DSC_STATE", off)
        assert state_directory() is None
    monkeypatch.delenv("DSC_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_directory() == tmp_path / "dsc" / "sources"
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/invalid")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert state_directory() == tmp_path / "home" / ".local" / "state" / "dsc" / "sources"


def test_what_is_noted_is_what_opens_the_source_again(tmp_path: Path, state: Path) -> None:
    root = views(tmp_path / "views", 2)
    manifest = compress("taskonomy", tmp_path / "a", root=root, tasks="rgb", codec="jpeg")
    noted = json.loads((state / f"{manifest.plan_sha256}.json").read_text())
    assert set(noted) == {"name", "root", "options", "fingerprint"}
