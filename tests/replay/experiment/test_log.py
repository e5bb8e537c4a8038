"""TensorBoard shows every point of a run once, however often it was stopped."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsc._replay.experiment.checkpoint import IncrementRow
from dsc._replay.experiment.log import BOARD, TRAINING, Board, Observer, board_place
from dsc._replay.experiment.plan import RunConfig
from dsc._replay.experiment.run import RunPlace, run
from dsc._replay.experiment.sweep import compute
from tests.jobs.faults import ROOT
from tests.replay.class_pictures import make_pictures, write_zip

EPOCHS = 4


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    (tmp_path / "set").mkdir()
    write_zip(tmp_path / "set" / "train.zip", make_pictures(classes=4, per_class=6, side=12))
    write_zip(tmp_path / "set" / "test.zip", make_pictures(classes=4, per_class=3, side=12, seed=1))
    return RunConfig.model_validate({
        "data": {"place": str(tmp_path / "set")}, "scenario": {"increment": 2}, "learner": "er",
        "budget": 2500, "codec": "webp", "recipe": {"epochs": EPOCHS, "batch": 8},
    })  # fmt: skip


def points(place: Path) -> dict[str, list[tuple[int, float]]]:
    """Read what TensorBoard shows of a directory."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(place))
    found.Reload()
    return {
        tag: [(one.step, one.value) for one in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def both(out: Path, config: RunConfig) -> dict[str, list[tuple[int, float]]]:
    place = board_place(out, config)
    return points(place) | points(place / TRAINING)


class Heard(Observer):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.losses: list[tuple[int, float]] = []
        self.steps: list[tuple[IncrementRow, float]] = []

    def begin(self, steps: int, epochs: int) -> None:
        self.begun.append((steps, epochs))

    def epoch(self, epochs: int, loss: float) -> None:
        self.losses.append((epochs, loss))

    def increment(self, row: IncrementRow, accuracy: float) -> None:
        self.steps.append((row, accuracy))


def test_a_run_tells_its_observer_every_epoch_and_step(config: RunConfig, tmp_path: Path) -> None:
    train, test = (make_pictures(classes=4, per_class=6, side=12, seed=seed) for seed in (0, 1))
    heard = Heard()
    row = run(config, train, test, RunPlace(tmp_path / "work", observer=heard))
    assert heard.begun == [(0, 0)]
    assert [at for at, _ in heard.losses] == list(range(1, 2 * EPOCHS + 1))
    assert [told | {"accuracy": accuracy} for told, accuracy in heard.steps] == row["steps"]


def test_a_run_that_goes_on_says_from_where(config: RunConfig, tmp_path: Path) -> None:
    train, test = (make_pictures(classes=4, per_class=6, side=12, seed=seed) for seed in (0, 1))

    def stop(line: str) -> None:
        if line.startswith(f"step 2 of 2, epoch 3 of {EPOCHS}"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, train, test, RunPlace(tmp_path / "work", checkpoint_every_s=0, tell=stop))
    heard = Heard()
    run(config, train, test, RunPlace(tmp_path / "work", observer=heard))
    assert heard.begun == [(1, EPOCHS + 2)]
    assert [at for at, _ in heard.losses] == [EPOCHS + 3, EPOCHS + 4]


def test_without_tensorboard_nothing_is_written(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    compute(config, tmp_path / "out")
    assert not (tmp_path / "out" / BOARD).exists()


@pytest.fixture
def board() -> Any:
    return pytest.importorskip("tensorboard", reason="pip install tensorboard")


def test_scalars_are_those_of_the_result(board: Any, config: RunConfig, tmp_path: Path) -> None:
    row = compute(config, tmp_path)
    found = both(tmp_path, config)
    assert set(found) == {"accuracy", "exemplars", "bytes", "bytes_with_decoder", "loss"}
    for name in ("accuracy", "exemplars", "bytes"):
        assert found[name] == [
            (at + 1, pytest.approx(step[name], rel=1e-6)) for at, step in enumerate(row["steps"])
        ]
    assert [at for at, _ in found["loss"]] == list(range(1, 2 * EPOCHS + 1))
    assert compute(config, tmp_path) == row  # a finished run writes no more
    assert both(tmp_path, config) == found


KILLED = """
import os, sys
from dsc._replay.experiment.plan import RunConfig
from dsc._replay.experiment.sweep import compute

def tell(line):
    if line.startswith(sys.argv[3]):
        os._exit(9)

config, every_s = RunConfig.from_json(sys.argv[1]), float(sys.argv[4])
compute(config, sys.argv[2], checkpoint_every_s=every_s, tell=tell)
"""


@pytest.mark.slow
def test_a_run_that_was_killed_has_every_point_once(
    board: Any, config: RunConfig, tmp_path: Path
) -> None:
    compute(config, tmp_path / "whole")
    for moment, every in [("step 1 of 2, epoch 3", "0"), ("step 2 of 2, epoch 4", "1000")]:
        words = [config.to_json(), str(tmp_path / "out"), moment, every]
        ran = subprocess.run(
            [sys.executable, "-c", KILLED, *words],
            cwd=ROOT, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert ran.returncode == 9
    compute(config, tmp_path / "out")
    found, whole = both(tmp_path / "out", config), both(tmp_path / "whole", config)
    assert {name: [at for at, _ in one] for name, one in found.items()} == {
        name: [at for at, _ in one] for name, one in whole.items()
    }
    for name, one in found.items():
        assert one == [(at, pytest.approx(value, rel=1e-4)) for at, value in whole[name]]


def test_what_was_not_measured_is_not_drawn(board: Any, tmp_path: Path) -> None:
    with Board(tmp_path) as shown:
        shown.begin(0, 0)
        row = {"step": 0, "exemplars": 3, "bytes": 10, "bytes_with_decoder": 10}
        shown.increment(row, float("nan"))
        shown.epoch(1, float("inf"))
    assert set(points(tmp_path)) == {"exemplars", "bytes", "bytes_with_decoder"}


def test_names_of_runs_tell_them_apart(config: RunConfig) -> None:
    names = {
        board_place(Path(), config.model_copy(update=change)).name
        for change in ({}, {"seed": 1}, {"quality": 20}, {"preprocess": True}, {"learner": "wa"})
    }
    assert len(names) == 5
    assert any(name.startswith("er_webp-50_2500_seed0_") for name in names)
