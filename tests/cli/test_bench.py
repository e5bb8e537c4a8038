"""`dsc bench rd`: what it writes, that it goes on where it stopped, and what it refuses."""

import json
from pathlib import Path

import pytest

from dsc._bench.rate_distortion import measuring
from dsc._bench.rate_distortion.points import measure_job
from tests.cli.conftest import Command

pytest.importorskip("bjontegaard", reason="pip install 'dsc[bench]'")
CODECS = ("--codecs", "jpeg,webp,jxl,png", "--no-speed")


def test_one_command_writes_tables_plots_and_figures(
    dsc: Command, views: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bench"
    ran = dsc("bench", "rd", "--source", "taskonomy", "--root", views, "--out", out, *CODECS,
              "--samples", 2, "--at", "28dB,2%,5deg", "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    found = ran.json()
    assert found["sets"] == json.loads((out / "rd.json").read_text())["sets"]
    report = found["sets"]["taskonomy"]
    assert (report["samples"], report["total"]) == (2, 4)
    codecs = {(point["codec"], *point["pixels"]) for point in report["points"]}
    assert {("jpeg", "rgb"), ("webp", "depth_zbuffer"), ("png", "segment_semantic")} <= codecs
    assert any(row["percent"] is not None for row in report["bd_rate"])
    assert {row["value"] for row in report["equal_distortion"]} == {28.0, 0.02, 5.0}
    text = (out / "rd.md").read_text()
    assert "## BD-rate at a glance" in text
    assert "| segment_semantic |" in text
    for name in found["files"]:
        assert Path(name).stat().st_size > 0
    assert (out / "rd-taskonomy.svg").is_file()


def test_what_is_measured_is_not_measured_again_and_workers_change_nothing(
    dsc: Command, views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("bench", "rd", "--source", "taskonomy", "--root", views, *CODECS, "--tasks",
             "rgb,depth", "--qualities", "20,50,80", "--samples", 2)  # fmt: skip
    assert dsc(*words, "--out", tmp_path / "one").code == 0
    before = (tmp_path / "one" / "rd.json").read_text()
    kept = (tmp_path / "one" / "points.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "one" / "points.jsonl").write_text("".join(kept[:-2]))

    measured = []
    monkeypatch.setattr(
        measuring, "measure_job", lambda job: (measured.append(job), measure_job(job))[1]
    )
    assert dsc(*words, "--out", tmp_path / "one").code == 0
    assert len(measured) == 2
    assert (tmp_path / "one" / "rd.json").read_text() == before

    monkeypatch.undo()
    assert dsc(*words, "--out", tmp_path / "two", "--workers", 2).code == 0
    assert (tmp_path / "two" / "rd.json").read_text() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--codecs", "jpeg9000"), "jpeg9000"),
        (("--codecs", "jpeg", "--sets", "imagenet"), "imagenet"),
        (("--codecs", "jpeg", "--data", "/nowhere", "--views", "0"), "/nowhere"),
        (("--codecs", "jpeg", "--qualities", "0,50"), "--qualities"),
        (("--codecs", "jpeg", "--at", "34lumen"), "34lumen"),
        (("--codecs", "jpeg", "--root", "/nowhere"), "--source"),
        (("--codecs", "mine=chained@/no/such.safetensors", "--sets", "views"), "/no/such"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_measured(
    dsc: Command, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    ran = dsc("bench", "rd", "--out", tmp_path / "out", *words)
    assert ran.code == 2
    assert message in ran.err
    assert not (tmp_path / "out").exists()
