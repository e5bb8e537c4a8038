"""The loops of examples/loops train, stop in mid-epoch, and go on as they say."""

from pathlib import Path
from typing import Any

import pytest

import dsc
from benchmarks.loop_lines import BESIDE, LOOPS, NEEDS, goes_on, lines_of, run_loop, seen
from dsc.transforms import Compose, HorizontalFlip, RandomCrop

ALL = NEEDS | BESIDE


def test_lines_are_those_that_hold_code(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        '"""Says\n\nwhat."""\n\n# why\nimport os  # here\n\n\ndef f(\n    a: int,\n) -> str:\n'
        '    """Say."""\n    return """\n    x\n    """\n'
    )
    assert lines_of(path) == 1 + 3 + 3
    assert {path.stem.removesuffix("_loop") for path in LOOPS.glob("*_loop.py")} == set(ALL)
    assert lines_of(LOOPS / "dsc_loop.py") < min(
        lines_of(LOOPS / f"{name}_loop.py") for name in NEEDS.keys() - {"dsc"}
    )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What dsc's loop leaves when nothing stops it."""
    work = tmp_path_factory.mktemp("loops") / "unbroken"
    run_loop("dsc", work, 1)
    assert sum(seen(work).values()) == 2 * 16
    return work


@pytest.mark.slow
def test_dsc_goes_on_exactly_on_another_number_of_ranks(unbroken: Path, tmp_path: Path) -> None:
    assert goes_on("dsc", tmp_path / "one", seen(unbroken), 1)
    crop = Compose([RandomCrop(32), HorizontalFlip()])
    stream = dsc.stream(unbroken / "archive", None, 16, seed=5, transform=crop)
    samples = dsc.open(unbroken / "archive", transform=crop, seed=5)
    for epoch, batch in enumerate([*stream, *stream]):  # and random access draws the same
        samples.set_epoch(epoch)
        assert (samples[3]["rgb"] == batch["rgb"][3].permute(1, 2, 0).numpy()).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name != "dsc"])
def test_a_loop_goes_on_in_mid_epoch_as_if_it_had_not_stopped(name: str, tmp_path: Path) -> None:
    pytest.importorskip(ALL[name])
    run_loop(name, tmp_path / "whole", 1)
    run_loop(name, tmp_path / "broken", 1, stop_at=3)
    run_loop(name, tmp_path / "broken", 1)
    logs: Any = [(tmp_path / run / "log-0.jsonl").read_text() for run in ("whole", "broken")]
    assert logs[0].count("\n") == 8
    assert logs[0] == logs[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accelerate", "map_style"])
def test_two_ranks_share_an_epoch(name: str, unbroken: Path, tmp_path: Path) -> None:
    pytest.importorskip(ALL[name])
    assert "4 steps on 2 ranks" in run_loop(name, tmp_path, 2)
    assert len(list(tmp_path.glob("log-*.jsonl"))) == 2
    assert seen(tmp_path) == seen(unbroken)
