"""A run: what is stopped goes on exactly, the budget holds, and results say what was measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.experiment.checkpoint import CHECKPOINT, IncrementRow
from dsc._replay.experiment.log import Observer
from dsc._replay.experiment.plan import DataConfig, RunConfig, ScenarioConfig
from dsc._replay.experiment.run import RunPlace, run
from dsc._replay.learners import gdumb
from dsc._replay.learners.base import Recipe
from dsc._replay.learners.registry import LEARNERS, learner_class
from dsc._replay.scenario.scenario import ClassIncremental
from dsc.errors import CorruptArchiveError, UsageError
from tests.replay.class_pictures import make_pictures

TRAIN = make_pictures(classes=6, per_class=10, side=12)
TEST = make_pictures(classes=6, per_class=4, side=12, seed=1)
BUDGET = 2500
REPLAYING = [name for name in LEARNERS if not learner_class(name).exemplar_free]


def config(learner: str = "er", **changes: Any) -> RunConfig:
    values: dict[str, Any] = {
        "data": DataConfig(place="pictures"),
        "scenario": ScenarioConfig(increment=2),
        "learner": learner,
        "budget": BUDGET,
        "codec": "webp",
        "recipe": Recipe(epochs=2, steps=6, batch=10),
    }
    return RunConfig(**values | changes)


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """GDumb can be stopped after every three steps of its optimiser."""
    monkeypatch.setattr(gdumb, "STEPS_AN_EPOCH", 3)


class StoppedError(Exception):
    """Stands for a kill."""


def stop_at(call: int) -> Callable[[str], None]:
    """Make a `tell` that stops the run at its call-th line."""
    left = [call]

    def tell(line: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise StoppedError(line)

    return tell


class Stopping(Observer):
    """Stops a run when it is told of the second increment and, gone on with, of it again.

    The buffer has taken it in by then, and no checkpoint has it.
    """

    def __init__(self) -> None:
        self._told = 0

    def increment(self, row: IncrementRow, accuracy: float) -> None:
        self._told += 1
        if self._told in (2, 3):
            raise StoppedError


def learned(work: Path) -> dict[str, Any]:
    state = torch.load(work / CHECKPOINT, weights_only=True)
    found: dict[str, Any] = state["learner"]
    return found


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def without_seconds(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seconds"}


@pytest.mark.parametrize("name", REPLAYING)
def test_a_run_stopped_in_the_middle_of_every_step_ends_as_if_it_had_not_been(
    name: str, tmp_path: Path
) -> None:
    whole = run(config(name), TRAIN, TEST, RunPlace(tmp_path / "whole"))
    work, stops = tmp_path / "stopped", 0
    while True:
        try:
            # the second line: an epoch after the one that it begins with is always saved
            row = run(config(name), TRAIN, TEST, RunPlace(work, "cpu", 0.0, stop_at(2)))
            break
        except StoppedError:
            stops += 1
    assert stops >= 3
    assert without_seconds(row) == without_seconds(whole)
    assert same(learned(work), learned(tmp_path / "whole"))
    kept = [ReplayBuffer.open(tmp_path / one / "buffer-3.h5") for one in ("whole", "stopped")]
    assert (kept[0].targets == kept[1].targets).all()
    assert [image.tobytes() for image, _ in kept[0].__getitems__(range(len(kept[0])))] == [
        image.tobytes() for image, _ in kept[1].__getitems__(range(len(kept[1])))
    ]


@pytest.mark.parametrize("name", ["er", "gdumb", "derpp"])
def test_a_run_killed_just_after_the_buffer_took_an_increment_in_does_not_take_it_twice(
    name: str, tmp_path: Path
) -> None:
    whole = run(config(name), TRAIN, TEST, RunPlace(tmp_path / "whole"))
    observer = Stopping()
    for _ in range(2):
        with pytest.raises(StoppedError):
            run(config(name), TRAIN, TEST, RunPlace(tmp_path / "killed", observer=observer))
    row = run(config(name), TRAIN, TEST, RunPlace(tmp_path / "killed"))
    assert without_seconds(row) == without_seconds(whole)
    left = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert left == ["buffer-3.h5", CHECKPOINT]


def test_a_run_killed_while_the_buffer_is_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(config(), TRAIN, TEST, RunPlace(tmp_path / "whole"))
    add, calls = ReplayBuffer.add, []

    def stopping(self: ReplayBuffer, *given: Any, **options: Any) -> None:
        add(self, *given, **options)
        calls.append(self.path)
        if len(calls) == 2:
            raise StoppedError

    monkeypatch.setattr(ReplayBuffer, "add", stopping)
    with pytest.raises(StoppedError):
        run(config(), TRAIN, TEST, RunPlace(tmp_path / "killed"))
    row = run(config(), TRAIN, TEST, RunPlace(tmp_path / "killed"))
    assert without_seconds(row) == without_seconds(whole)


@pytest.mark.parametrize("name", REPLAYING)
@pytest.mark.parametrize("codec", ["webp", "png"])
def test_all_that_is_kept_stays_within_the_budget(name: str, codec: str, tmp_path: Path) -> None:
    quick = config(name, codec=codec, recipe=Recipe(epochs=1, steps=2, batch=20))
    row = run(quick, TRAIN, TEST, RunPlace(tmp_path))
    assert [step["seen"] for step in row["steps"]] == [2, 4, 6]
    for step in row["steps"]:
        assert 0 < step["bytes"] <= BUDGET
        assert step["bytes"] == step["buffer_bytes"] + step["learner_bytes"]
    assert row["bytes"] > BUDGET * 0.7
    assert (row["learner_bytes"] > 0) == (name == "derpp")


def test_results_follow_from_the_steps_accuracies(tmp_path: Path) -> None:
    row = run(config("er"), TRAIN, TEST, RunPlace(tmp_path))
    steps = [step["accuracies"] for step in row["steps"]]
    means = [float(np.mean(one)) for one in steps]  # all classes have as many test images
    assert [step["accuracy"] for step in row["steps"]] == pytest.approx(means)
    assert row["last_accuracy"] == pytest.approx(means[-1])
    assert row["average_incremental_accuracy"] == pytest.approx(np.mean(means))
    fell = [max(steps[0][0], steps[1][0]) - steps[2][0], steps[1][1] - steps[2][1]]
    assert row["forgetting"] == pytest.approx(np.mean(fell))
    assert sorted(row["class_order"]) == sorted(TRAIN.classes)


def test_gdumb_measured_at_the_end_alone_trains_once_and_ends_the_same(tmp_path: Path) -> None:
    lines: list[str] = []
    every = run(config("gdumb"), TRAIN, TEST, RunPlace(tmp_path / "every"))
    place = RunPlace(tmp_path / "last", tell=lines.append)
    last = run(config("gdumb", evaluate="last"), TRAIN, TEST, place)
    assert last["last_accuracy"] == every["last_accuracy"]
    assert last["average_incremental_accuracy"] is last["forgetting"] is None
    assert [step["accuracy"] is None for step in last["steps"]] == [True, True, False]
    assert lines
    assert all(line.startswith("step 3 of 3") for line in lines)


def test_runs_of_one_seed_see_the_same_classes_and_an_order_seed_fixes_them(
    tmp_path: Path,
) -> None:
    quick = {"recipe": Recipe(steps=1), "evaluate": "last"}

    def order(name: str, **changes: Any) -> list[str]:
        row = run(config("gdumb", **quick | changes), TRAIN, TEST, RunPlace(tmp_path / name))
        found: list[str] = row["class_order"]
        return found

    assert order("a", seed=1) == order("b", seed=1, codec="png") != order("c", seed=2)
    fixed = ScenarioConfig(increment=2, order_seed=1993)
    assert order("d", seed=1, scenario=fixed) == order("e", seed=2, scenario=fixed)


def test_what_was_begun_with_other_data_is_not_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run(config(), TRAIN, TEST, RunPlace(tmp_path, "cpu", 0.0, stop_at(2)))
    other = make_pictures(classes=6, per_class=10, side=12, seed=5)
    with pytest.raises(UsageError, match="begun with another data"):
        run(config(), other, TEST, RunPlace(tmp_path))
    with pytest.raises(UsageError, match="begun with another config"):
        run(config(seed=1), TRAIN, TEST, RunPlace(tmp_path))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run(config(), TRAIN, TEST, RunPlace(tmp_path, "cpu", 0.0, stop_at(2)))
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CorruptArchiveError, match=r"checkpoint.pt: .*begin anew"):
        run(config(), TRAIN, TEST, RunPlace(tmp_path))


def test_a_budget_below_one_exemplar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="smaller than one exemplar"):
        run(config(budget=150, codec="png"), TRAIN, TEST, RunPlace(tmp_path))


def seen_by(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """Run iCaRL; give what the network trained on, was tested on, and herded by."""
    found: dict[str, Any] = {"test": [], "herded": [], "new": []}
    made = learner_class("icarl")

    class Watched(made):  # type: ignore[misc, valid-type]
        def begin(self, step: Any, buffer: Any) -> None:
            found["new"].append(step.images)
            super().begin(step, buffer)

        def predict(self, images: Any) -> Any:
            found["test"].append(images)
            return super().predict(images)

        def features(self, images: Any) -> Any:
            found["herded"].append(images)  # the first ones; means of classes come later
            return super().features(images)

    monkeypatch.setattr("dsc._replay.experiment.run.learner_class", lambda name: Watched)
    run(config("icarl", quality=10, **changes), TRAIN, TEST, RunPlace(tmp_path))
    return found


def coded(images: Any, tmp_path: Path) -> Any:
    with ReplayBuffer(tmp_path / "coded.h5", 10**6, "webp", quality=10) as buffer:
        return np.stack(buffer.through_codec(images)[0])


@pytest.mark.parametrize("herd_decoded", [False, True])
def test_only_herding_sees_decoded_images_where_nothing_is_preprocessed(
    herd_decoded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ClassIncremental(TRAIN, 2)
    found = seen_by(monkeypatch, tmp_path / "run", herd_decoded=herd_decoded)
    new = steps[0].images
    assert np.array_equal(found["new"][0], new)
    assert np.array_equal(found["test"][0], steps.over(TEST)[0].images)
    assert np.array_equal(found["herded"][0], coded(new, tmp_path) if herd_decoded else new)


def test_preprocessing_sends_all_that_the_network_sees_through_the_codec_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ClassIncremental(TRAIN, 2)
    found = seen_by(monkeypatch, tmp_path / "run", preprocess=True)
    new = coded(steps[0].images, tmp_path)
    assert np.array_equal(found["new"][0], new)
    assert np.array_equal(found["herded"][0], new)
    (tmp_path / "coded.h5").unlink()
    assert np.array_equal(found["test"][0], coded(steps.over(TEST)[0].images, tmp_path))
    # the buffer codes the originals: an exemplar is the decoded image, not one decoded twice
    buffer = ReplayBuffer.open(tmp_path / "run" / "buffer-3.h5")
    decoded = [image.tobytes() for images in found["new"] for image in images]
    assert len(buffer)
    assert all(buffer[at][0].tobytes() in decoded for at in range(len(buffer)))


def test_an_arm_says_that_images_were_preprocessed() -> None:
    assert config().arm == "webp-50"
    assert config(preprocess=True, herd_decoded=True).arm == "webp-50+preprocess+herd-decoded"
    assert config(preprocess=True).id != config().id
