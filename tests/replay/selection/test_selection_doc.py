import re

import pytest

from tests.places import ROOT

DOC = ROOT / "docs" / "replay_select.md"


def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    exec(compile(block, str(DOC), "exec"), {"__name__": "page"})
    assert "webp-bare:5" in capsys.readouterr().out
