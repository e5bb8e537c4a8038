"""Archives with tasks that must be exact can be looked at, checked, fetched and exported."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc._jobs.archive.compress import compress
from dsc._schemas import Task
from dsc._sources.base import SourceSample
from tests.cli.conftest import Command
from tests.jobs.sources import PixelSource

TASKS = tuple(
    Task.model_validate(fields)
    for fields in (
        {"name": "disparity", "kind": "disparity", "dtype": "uint16", "invalid": (0,)},
        {"name": "flow", "kind": "flow", "dtype": "uint16", "channels": 3},
        {"name": "mask", "kind": "array", "dtype": "uint8"},
        {"name": "ids", "kind": "image", "dtype": "uint8", "channels": 3, "exact": True},
    )
)
NAMES = [task.name for task in TASKS]


@dataclass(frozen=True)
class ExactSource(PixelSource):
    """Noise of the kinds that no codec may change."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        return TASKS

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        rng = np.random.default_rng(index)
        arrays: dict[str, Any] = {}
        for task in TASKS:
            shape = (12, 16) if task.channels == 1 else (12, 16, task.channels)
            if task.name in tasks:
                arrays[task.name] = rng.integers(0, 200, shape).astype(task.dtype)
        return SourceSample(self.key(index), arrays, {n: a.nbytes for n, a in arrays.items()})


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exact") / "archive"
    compress(ExactSource(n=3), out, codec="png")
    return out


def test_info_says_the_kind_and_what_is_exact(dsc: Command, exact: Path) -> None:
    ran = dsc("info", exact)
    assert ran.code == 0, ran.err
    for words in ("disparity, exact", "flow, exact", "array, exact", "image, exact", "(H, W, 3)"):
        assert words in ran.out
    found = dsc("info", exact, "--json").json()
    assert [row["kind"] for row in found["rows"]] == ["disparity", "flow", "array", "image"]


def test_it_is_verified_fetched_exported_and_viewed(
    dsc: Command, exact: Path, tmp_path: Path
) -> None:
    assert dsc("verify", exact, "--deep").code == 0
    ran = dsc("fetch", exact, "--tasks", "disparity,ids", "--out", tmp_path / "copy", "--json")
    assert ran.json()["tasks"] == ["disparity", "ids"]
    ran = dsc("export", exact, "--out", tmp_path / "files", "--json")
    assert ran.json()["written"] == 12
    page = tmp_path / "page.html"
    for archive in (exact, tmp_path / "copy"):
        ran = dsc("view", archive, "--out", page)
        assert ran.code == 0, ran.err
        assert "first of 3 channels" in page.read_text() or archive != exact
