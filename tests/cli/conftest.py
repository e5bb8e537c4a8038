"""Runs commands as a user would, in this process, on tiny archives of rendered views."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dsc._cli import app
from dsc._sources.rendered.sample import write_sample


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """Return stdout as JSON; it must be one object and nothing else."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


Command = Callable[..., Ran]


@pytest.fixture
def dsc() -> Command:
    return run_dsc


def run_dsc(*words: object) -> Ran:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return Ran(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="session")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four views as files in Taskonomy's layout."""
    root = tmp_path_factory.mktemp("views")
    write_sample(root, 4, size=32)
    return root


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five rendered views of 48 pixels, all tasks, lossless, in three shards."""
    out = tmp_path_factory.mktemp("archives") / "demo"
    words = ("--views", 5, "--size", 48, "--codec", "png", "--shard-size", 2, "--pack", 2)
    ran = run_dsc("compress", "taskonomy", *words, "--out", out)
    assert ran.code == 0, ran.err
    return out
