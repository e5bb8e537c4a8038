"""A run that is stopped, killed or moved to a worker ends as one that was left alone."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dsc._jobs.training.run import Pace, TrainProgress
from dsc._jobs.training.train import start_of, teacher_of, train
from dsc._training.checkpoint import CHECKPOINT, load
from dsc._training.log import TIMING
from dsc._training.networks import NETWORKS
from dsc._training.session import Machine
from dsc.errors import DivergedError, PlanMismatchError, UsageError
from tests.training.toy import toy_config, write_views

FINE = Machine(device="cpu", log_every=1)


@pytest.fixture(autouse=True)
def toy_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "toy", "tests.training.toy:network")
    monkeypatch.setitem(NETWORKS, "exploding", "tests.training.toy:exploding")


@pytest.fixture(scope="session")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_views(tmp_path_factory.mktemp("views"))


def curve(out: Path) -> list[dict[str, str]]:
    """Return the log without what a clock says."""
    with (out / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in TIMING} for row in rows]


class StopAt:
    """Presses Ctrl-C once when a step is reached."""

    def __init__(self, step: int) -> None:
        self.step, self.pressed = step, False

    def __call__(self, made: TrainProgress) -> None:
        if made.done >= self.step and not self.pressed:
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsc._jobs.training.run.SLICE_S", 0.0)


@pytest.mark.usefixtures("short_slices")
def test_a_run_stopped_by_ctrl_c_goes_on_with_the_same_loss_curve(
    views: Path, tmp_path: Path
) -> None:
    config = toy_config(views, steps=30)
    train(config, tmp_path / "whole", machine=FINE)
    for step in (9, 20):
        with pytest.raises(KeyboardInterrupt, match=rf"step {step} of 30.*{CHECKPOINT}"):
            train(config, tmp_path / "parts", machine=FINE, tell=StopAt(step))
    report = train(config, tmp_path / "parts", machine=FINE)
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")
    assert len(curve(tmp_path / "parts")) == 30
    assert report.about.done == 20
    assert (tmp_path / "parts" / "card.json").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_loss_curve(views: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from dsc._training.networks import NETWORKS\n"
        "NETWORKS['toy'] = 'tests.training.toy:network'\n"
        "import dsc._jobs.training.run\n"
        "dsc._jobs.training.run.SLICE_S = 0.0\n"  # so that there is a checkpoint after every step
        "from tests.jobs.training.test_train import FINE, Pace, toy_config, train\n"
        f"train(toy_config({str(views)!r}, steps=150), {str(tmp_path / 'parts')!r},\n"
        "      machine=FINE, pace=Pace(checkpoint_s=0.0))\n"
    )
    config = toy_config(views, steps=150)
    path = tmp_path / "parts" / CHECKPOINT
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        for _ in range(1200):
            time.sleep(0.05)
            if path.exists() and load(path)["done"] > 0:
                break
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < load(path)["done"] < 150
    train(config, tmp_path / "parts", machine=FINE)
    train(config, tmp_path / "whole", machine=FINE)
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")


def test_a_finished_run_is_not_trained_again(views: Path, tmp_path: Path) -> None:
    config = toy_config(views, steps=5)
    train(config, tmp_path, machine=FINE)
    before = (tmp_path / CHECKPOINT).read_bytes()
    report = train(config, tmp_path, machine=FINE)
    assert report.row is None
    assert report.figures
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert len(curve(tmp_path)) == 5


def test_another_configuration_is_refused_and_the_difference_named(
    views: Path, tmp_path: Path
) -> None:
    train(toy_config(views, steps=5), tmp_path, machine=FINE)
    with pytest.raises(PlanMismatchError, match=r"lr: 0\.001, now 0\.002.*--overwrite"):
        train(toy_config(views, steps=5, lr=0.002), tmp_path, machine=FINE)
    train(toy_config(views, steps=3, lr=0.002), tmp_path, machine=FINE, overwrite=True)
    assert len(curve(tmp_path)) == 3
    assert load(tmp_path / CHECKPOINT)["done"] == 3


@pytest.mark.usefixtures("short_slices")
def test_a_diverged_run_names_the_last_good_checkpoint_and_what_to_try(
    views: Path, tmp_path: Path
) -> None:
    config = toy_config(views, kind="exploding", steps=60)
    with pytest.raises(DivergedError) as caught:
        train(config, tmp_path, machine=FINE, pace=Pace(checkpoint_s=0.0))
    message = str(caught.value)
    done = load(tmp_path / CHECKPOINT)["done"]
    assert 0 < done < 30
    for word in (f"{tmp_path / CHECKPOINT} (step {done})", "--start", "--lr 0.00033", "step 30"):
        assert word in message


def test_a_new_run_starts_from_the_weights_of_another(views: Path, tmp_path: Path) -> None:
    train(toy_config(views, steps=5), tmp_path / "first", machine=FINE)
    again = toy_config(views, steps=5, lr=1e-4, start=start_of(tmp_path / "first"))
    train(again, tmp_path / "second", machine=FINE)
    assert len(curve(tmp_path / "second")) == 5
    other = toy_config(views, kind="exploding", start=start_of(tmp_path / "first"))
    with pytest.raises(UsageError, match="a toy, not a exploding"):
        train(other, tmp_path / "third", machine=FINE)


def test_a_teacher_guides_a_run_and_must_stay_what_it_was(views: Path, tmp_path: Path) -> None:
    small = {"size": "tiny", "tasks": ("rgb",)}
    report = train(toy_config(views, kind="bound", steps=2, **small), tmp_path / "t", machine=FINE)
    assert report.codec is None
    assert report.about.streams == ("rgb.0", "rgb.1", "rgb.2", "rgb.3")
    teacher = teacher_of(tmp_path / "t")
    config = toy_config(views, kind="layered", steps=4, teacher=teacher, **small)
    train(config, tmp_path / "student", machine=FINE)
    assert len(curve(tmp_path / "student")) == 4
    Path(teacher[0]).write_bytes(b"another")
    with pytest.raises(UsageError, match="not what it was when this run began"):
        train(None, tmp_path / "student", machine=FINE)
    Path(teacher[0]).unlink()
    with pytest.raises(UsageError, match="put it back"):
        train(None, tmp_path / "student", machine=FINE)
    with pytest.raises(UsageError, match=r"--teacher .*: there is no checkpoint"):
        teacher_of(tmp_path / "nothing")


def test_the_card_says_what_was_done(views: Path, tmp_path: Path) -> None:
    report = train(toy_config(views, steps=5, seed=7), tmp_path, machine=FINE)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["steps"] == 5
    assert card["seed"] == 7
    assert card["data"][0]["trained_on"] == 11
    assert card["config"]["crop"] == 64
    assert [one["quality"] for one in card["figures"]] == [20, 50, 80]
    assert report.codec is None
    assert "codec" not in card


def test_export_only_trains_no_further(views: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="train first"):
        train(None, tmp_path / "empty", machine=FINE, export_only=True)
    train(toy_config(views, steps=5), tmp_path / "out", machine=FINE)
    (tmp_path / "out" / "card.json").unlink()
    before = (tmp_path / "out" / CHECKPOINT).read_bytes()
    report = train(None, tmp_path / "out", machine=FINE, export_only=True)
    assert report.about.done == 5
    assert (tmp_path / "out" / "card.json").exists()
    assert (tmp_path / "out" / CHECKPOINT).read_bytes() == before


def test_places_that_cannot_hold_a_run_are_refused(views: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", "s3://bucket/run"):
        with pytest.raises(UsageError, match="--out"):
            train(toy_config(views), out, machine=FINE)
    with pytest.raises(UsageError, match="--address"):
        train(toy_config(views), tmp_path / "a", machine=FINE, address="host:1")
    with pytest.raises(UsageError, match="--run-on"):
        train(toy_config(views), tmp_path / "b", machine=FINE, jobs="cloud")


@pytest.mark.ray
def test_a_worker_gives_the_losses_of_this_process(
    ray_session: Any, views: Path, tmp_path: Path
) -> None:
    config = toy_config(views, kind="independent", size="tiny", steps=6)
    train(config, tmp_path / "here", machine=FINE)
    told: list[TrainProgress] = []
    report = train(config, tmp_path / "there", machine=FINE, jobs="ray", tell=told.append)
    assert curve(tmp_path / "there") == curve(tmp_path / "here")
    assert told[-1].done == 6
    assert report.codec is not None
    assert Path(report.codec).stat().st_size > 1000
    assert ray_session.is_initialized()


@pytest.mark.ray
def test_what_is_wrong_on_the_worker_is_said_here(
    ray_session: Any, views: Path, tmp_path: Path
) -> None:
    for wrong, word in (({"size": "enormous"}, "enormous"), ({"tasks": ("flow",)}, "flow")):
        config = toy_config(views, kind="independent", steps=6, **wrong)
        with pytest.raises(UsageError, match=word):
            train(config, tmp_path, machine=FINE, jobs="ray")
