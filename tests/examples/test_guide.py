"""docs/streaming.md is true: its code runs, and what it says of it holds."""

import re
from pathlib import Path
from typing import Any

import pytest

import dsc
from tests.places import ROOT

GUIDE = ROOT / "docs" / "streaming.md"
VIEWS = 10


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("guide") / "archive"
    dsc.compress(
        "sample", out, sample=VIEWS, size=64, tasks="rgb,depth,class_scene", pack=4,
        codec="rgb=independent",
    )  # fmt: skip
    return str(out)


@pytest.mark.slow
def test_the_code_of_the_guide_runs(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) >= 9
    scope: dict[str, Any] = {"url": url, "checkpoint": tmp_path / "checkpoint.pt"}
    for block in blocks:
        exec(compile(block, "<guide>", "exec"), scope)
        if "rest" in scope:
            rest = scope.pop("rest")
            state = scope["stream"].state_dict()
            assert len(set(rest)) == len(rest) == VIEWS - state["position"] == VIEWS - 8
    assert scope["shapes"] == {(3, 64, 64)}
    assert scope["seen"] == VIEWS
    assert capsys.readouterr().out.startswith("0 [] {")
    assert scope["pixels"].shape == (4, 3, 64, 64)


def test_every_option_of_the_guide_is_one_of_stream() -> None:
    import inspect

    known = set(inspect.signature(dsc.stream).parameters)
    named = set(re.findall(r"`(\w+)=", GUIDE.read_text())) - {"batches"}
    assert named
    assert named <= known
