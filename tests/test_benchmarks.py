"""Every benchmark can be started: what the README's commands import is there."""

import importlib
from pathlib import Path

import pytest

MODULES = sorted(path.stem for path in Path(__file__, "../../benchmarks").resolve().glob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_benchmark_imports(name: str) -> None:
    if name == "entropy_coding":
        pytest.importorskip("compressai", reason="compares with compressai (extra `train`)")
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.__doc__


def test_benchmarks_are_found() -> None:
    assert {"family", "paper_experiment", "real_data"} <= set(MODULES)
