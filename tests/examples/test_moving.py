"""The scripts of docs/moving.md run as they stand, and have as many lines as the page says."""

import re
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

import dsc
from tests.places import ROOT
from tests.sources.tars import png, write_samples

PAGE = ROOT / "docs/moving.md"


def section(title: str) -> list[tuple[str, int]]:
    """Return the Python of a section: code, and how many lines the page says it has."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    found = re.findall(
        r"(?:Before|After), (\d+)(?: lines)?:\n\n```python\n(.*?)```", text, re.DOTALL
    )
    return [(code, int(lines)) for lines, code in found]


def count(code: str) -> int:
    return len([line for line in code.splitlines() if line.strip()])


@pytest.fixture
def tars(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (4, 5, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    samples = [
        (
            f"{number:03d}",
            {
                "jpg": bytes(imagecodecs.jpeg8_encode(picture)),
                "depth.png": png(rng.integers(500, 4000, (32, 40)).astype(np.uint16)),
                "txt": b"a room",
            },
        )
        for number in range(8)
    ]
    write_samples(tmp_path / "in/train-000000.tar", samples)
    return str(tmp_path / "in/train-000000.tar")


def test_webdataset_before_and_after(tars: str, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    pytest.importorskip("torch")
    (before, lines), (after, fewer) = section("From webdataset")
    assert (count(before), count(after)) == (lines, fewer)
    scope: dict[str, Any] = {"tars": tars}
    exec(compile(before, str(PAGE), "exec"), scope)
    assert scope["image"].shape == (4, 3, 16, 16)
    assert scope["depth"].shape == (4, 16, 16)
    archive = tmp_path / "archive"
    dsc.compress("webdataset", archive, root=tars)
    scope = {"archive": archive}
    exec(compile(after, str(PAGE), "exec"), scope)
    assert scope["image"].shape == (4, 3, 16, 16)
    assert scope["depth"].shape == (4, 16, 16)
    assert scope["caption"] == ["a room"] * 4
