import re
from pathlib import Path

import pytest

from tests.places import ROOT

DOC = ROOT / "docs" / "codec_that_keeps_learning.md"


def test_the_page_runs_as_one_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, str(DOC), "exec"), names)
