"""`dsc bench speed`: what it writes, that it goes on where it stopped, and what it refuses."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from dsc._bench.speed import run
from tests.cli.conftest import Command

TINY = ("--samples", 1, "--frames", 2, "--rounds", 1, "--effort", "default", "--codecs", "png,jpeg")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("dsc._cli.bench.speed"), "VIEW_PX", 96)


def test_one_command_writes_codecs_and_whole_jobs(dsc: Command, tmp_path: Path) -> None:
    ran = dsc("bench", "speed", "--out", tmp_path / "bench", *TINY, "--parts", "codecs,compress",
              "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    found = ran.json()
    assert found["parts"] == json.loads((tmp_path / "bench" / "speed.json").read_text())["parts"]
    assert "kernels" in found["environment"]["kernels"]
    named = [(part["part"], part.get("kind", part.get("holes"))) for part in found["parts"]]
    assert named == [
        ("codecs", "rgb"), ("codecs", "depth_zbuffer"), ("codecs", "depth_zbuffer, 10 % holes"),
        ("codecs", "normal"), ("codecs", "segment_semantic"),
        ("compress", 0.0), ("compress", 0.1),
    ]  # fmt: skip
    assert not [row for part in found["parts"] for row in part["rows"] if "error" in row]
    text = (tmp_path / "bench" / "speed.md").read_text()
    assert "| dsc compress | Rendered views, 10 % holes |" in text
    assert "## Rendered views: depth_zbuffer, 10 % holes, 1 frame of 96×96" in text


def test_what_is_measured_is_not_measured_again_unless_asked(
    dsc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def counted(kind: Any, *rest: Any) -> dict[str, Any]:
        measured.append(kind.name)
        return {"kind": kind.name, "size": "96×96", "frames": 1, "pixels": 9216,
                "baseline": "PNG", "rows": []}  # fmt: skip

    monkeypatch.setattr(run, "measure_codecs", counted)
    words = ("bench", "speed", "--out", tmp_path / "bench", *TINY, "--parts", "codecs", "--tasks",
             "rgb,depth", "--source", "sample")  # fmt: skip
    assert dsc(*words).code == 0
    assert measured == ["rgb", "depth_zbuffer", "depth_zbuffer, 10 % holes"]
    assert dsc(*words).code == 0
    assert len(measured) == 3
    assert dsc(*words, "--holes", 0.2).code == 0  # only what is another measurement
    assert measured[3:] == ["depth_zbuffer, 20 % holes"]
    assert dsc(*words, "--fresh").code == 0
    assert len(measured) == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--codecs", "jpeg9000"), "jpeg9000"),
        (("--parts", "smell"), "codecs, compress, stream, max-error, target, auto, workers"),
        (("--parts", ","), "parts none"),
        (("--sets", "imagenet"), "imagenet"),
        (("--sets", "nyuv2", "--data", "/nowhere"), "/nowhere"),
        (("--tasks", "smell", "--source", "sample"), "smell"),
        (("--root", "/nowhere"), "--source"),
        (("--holes", "1.5"), "--holes"),
        (("--effort", "fast,heroic"), "heroic"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_measured(
    dsc: Command, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    ran = dsc("bench", "speed", "--out", tmp_path / "out", *words)
    assert ran.code == 2
    assert message in ran.err
    assert not (tmp_path / "out").exists()


def test_jobs_without_depth_are_left_out_and_named(dsc: Command, tmp_path: Path) -> None:
    ran = dsc("bench", "speed", "--out", tmp_path / "out", "--source", "sample", "--tasks", "rgb",
              "--parts", "compress")  # fmt: skip
    assert ran.code == 2
    assert "compress take images and depth" in ran.err
    assert "nothing to measure" in ran.err
