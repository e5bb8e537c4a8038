import re
from pathlib import Path

import pytest

DOC = Path(__file__).parents[3] / "docs" / "replay_select.md"


def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    exec(compile(block, str(DOC), "exec"), {"__name__": "page"})
    assert "webp-bare:5" in capsys.readouterr().out
