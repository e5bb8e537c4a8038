"""`dsc info --distortion` and `--values` from the command line."""

from pathlib import Path

import pytest

from dsc._jobs.archive.compress import compress
from tests.cli.conftest import Command
from tests.everything import EverythingSource
from tests.jobs.sources import PixelSource


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("info") / "everything"
    compress(EverythingSource(12), out, codec="rgb=png", pack=4)
    return out


def test_distortion_is_a_table_of_tasks_and_metrics(dsc: Command, archive: Path) -> None:
    ran = dsc("info", archive, "--distortion", "--samples", 3)
    assert ran.code == 0, ran.err
    for word in ("distortion of 3 samples", "PSNR", "of sample", "exact", "mean angle"):
        assert word in ran.out
    found = dsc("info", archive, "--distortion", "-n", 2, "--tasks", "depth", "--json").json()
    assert found["distortion"]["compared"] == 2
    assert {one["task"] for one in found["distortion"]["metrics"]} == {"depth_zbuffer"}
    assert found["manifest"]["splits"] == {"train": 5}


def test_values_are_told_for_people_and_machines(dsc: Command, everything: Path) -> None:
    ran = dsc("info", everything, "--values")
    assert ran.code == 0, ran.err
    for line in (
        "scene (class): 12 samples", "kitchen 6, hall 6", "caption (text): 10 samples, 2 of the",
        "0 to 3.66667, median 1.83333", "2023-11-14T22:13:20Z to", ".weather 12", "6 B",
        "for example 'A room, number 0",
    ):  # fmt: skip
        assert line in ran.out
    found = dsc("info", everything, "--values", "--tasks", "scene", "--json").json()
    assert [one["task"] for one in found["values"]] == ["scene"]
    assert found["values"][0]["counts"] == {"kitchen": 6, "hall": 6}


def test_without_them_neither_is_told(dsc: Command, archive: Path) -> None:
    found = dsc("info", archive, "--json").json()
    assert not {"distortion", "values"} & set(found)
    for words in (["--samples", 3], ["--tasks", "rgb"], ["--source-root", "x"]):
        ran = dsc("info", archive, *words)
        assert ran.code == 2
        assert str(words[0]) in ran.err


def test_an_archive_of_maps_alone_says_so(dsc: Command, archive: Path) -> None:
    ran = dsc("info", archive, "--values", "--tasks", "rgb")
    assert "every task is a map" in ran.out


def test_no_originals_is_said_with_what_to_do(dsc: Command, tmp_path: Path) -> None:
    compress(PixelSource(n=5), tmp_path / "a", codec="png")
    ran = dsc("info", tmp_path / "a", "--distortion")
    assert ran.code == 2
    assert "--source-root DIR" in ran.err


def test_where_the_source_lies_is_told_where_it_is_known(
    dsc: Command, views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSC_STATE", str(tmp_path / "state"))
    compress("taskonomy", tmp_path / "a", root=views, tasks="rgb", codec="jpeg")
    ran = dsc("info", tmp_path / "a", "--distortion")
    assert ran.code == 0, ran.err
    assert f"its source lies at {views}, as this machine remembers" in ran.out
    assert "distortion of 4 samples" in ran.out
