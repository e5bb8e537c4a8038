"""What docs/moving.md says of rows is true: its code runs, before and after moving."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dsc
from tests.places import ROOT
from tests.sources.test_huggingface import IMAGE, picture, png, write

PAGE = ROOT / "docs" / "moving.md"
ROWS = 40


def blocks(heading: str) -> list[str]:
    part = PAGE.read_text().split(f"## {heading}")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", part, re.DOTALL)


def test_the_loops_before_and_after_see_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    pa = pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    cells = pa.array([{"bytes": png(picture(n)), "path": None} for n in range(ROWS)], IMAGE)
    columns = {"image": cells, "depth": cells, "caption": [f"room {n}" for n in range(ROWS)]}
    write(tmp_path / "USER" / "NAME" / "train.parquet", columns)
    given = {"kinds": {"depth": "image"}, "codec": "png"}
    dsc.compress("huggingface", tmp_path / "data-dsc", root=str(tmp_path / "USER"), **given)
    before, after = blocks("From Hugging Face datasets")
    for block in (before, after):
        seen: list[str] = []
        scope: dict[str, Any] = {
            "to_tensors": lambda rows: {
                "image": [0] * len(rows["caption"]),
                "depth": [0] * len(rows["caption"]),
                "caption": rows["caption"],
            },
            "step": lambda image, depth, caption, seen=seen: seen.extend(caption),
        }
        exec(compile(block, "<moving>", "exec"), scope)
        assert sorted(seen) == sorted(columns["caption"])


def test_rows_of_mds_become_parquet_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"t{n}", "n": n, "image": png(picture(n))} for n in range(3)]
    double = SimpleNamespace(StreamingDataset=lambda **_: rows)
    monkeypatch.setitem(sys.modules, "streaming", double)
    [block] = blocks("From MDS")
    exec(compile(block, "<moving>", "exec"), {})
    dsc.compress("huggingface", tmp_path / "out", root=str(tmp_path / "parquet"), codec="image=png")
    opened = dsc.open(tmp_path / "out")
    assert [opened[n]["text"] for n in range(3)] == ["t0", "t1", "t2"]
    assert opened[2]["image"].tolist() == picture(2).tolist()
