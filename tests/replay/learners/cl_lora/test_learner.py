"""CL-LoRA and its control: what is trained, what is kept, and what each part is there for."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from dsc._backbones.registry import load_backbone
from dsc._replay.learners.base import AdapterPart, Recipe
from dsc._replay.learners.cl_lora.adapted_ridge import AdaptedRidge
from dsc._replay.learners.cl_lora.learner import ClLora
from dsc._replay.learners.cl_lora.sequential import SequentialLora
from dsc._replay.learners.memory import NoExemplars
from dsc._replay.learners.ridge import Ridge
from dsc._replay.scenario.scenario import Increment
from dsc.errors import UsageError
from tests.replay.tiny_backbone import TINY, register

CHANNELS, SIDE, EACH = 8, 3, 24
RECIPE = Recipe(epochs=3, batch=16, backbone=TINY, rank=3, adapter_lr=0.01)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    register(monkeypatch)
    yield
    load_backbone.cache_clear()


def increment(index: int, classes: int = 2, seed: int = 0) -> Increment:
    """Feature maps of classes that differ in the mean of their channels."""
    rng = np.random.default_rng((seed, index))
    means = np.random.default_rng(index).uniform(0, 3, (classes, CHANNELS, 1, 1))
    labels = np.repeat(np.arange(classes), EACH)
    maps = np.abs(means[labels] + rng.normal(0, 0.3, (len(labels), CHANNELS, SIDE, SIDE)))
    first = index * classes
    rows = np.arange(len(labels))
    return Increment(
        index, maps.astype(np.float16), labels + first, rows, first, first + classes
    )  # fmt: skip


def teach(learner: ClLora, steps: Sequence[int]) -> ClLora:
    for index in steps:
        learner.begin(increment(index), NoExemplars())
        learner.start()
        for number in range(learner.epochs()):
            learner.epoch(number)
        learner.end()
    return learner


def make(
    cls: type[ClLora] = ClLora, *, without: tuple[AdapterPart, ...] = (), seed: int = 0
) -> ClLora:
    return cls(8, 12, RECIPE.model_copy(update={"without": without}), seed)


def ups(learner: ClLora, task: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """U of the shared adapters, and of a task's own."""
    network = learner.network
    return (
        [one.detach().clone() for one in network.shared.up],
        [one.detach().clone() for one in network.tasks[task].adapters.up],
    )


def same(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_classes_of_all_tasks_are_told_apart() -> None:
    learner = teach(make(), range(3))
    for index in range(3):
        held = increment(index, seed=1)
        assert (learner.predict(held.images) == held.labels).mean() > 0.7  # chance is 1/6


def test_a_task_leaves_the_adapters_and_means_of_others_as_they_are() -> None:
    learner = teach(make(), [0, 1])
    before = {name: value.clone() for name, value in learner.network.tasks[0].state_dict().items()}
    shared, _ = ups(learner, 0)
    teach(learner, [2])
    after = learner.network.tasks[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not same(shared, ups(learner, 0)[0])  # those go on learning


def test_shared_down_projections_stay_as_they_were_drawn() -> None:
    learner = make()
    drawn = [one.clone() for one in learner.network.shared.down]
    teach(learner, [0, 1])
    assert same(drawn, list(learner.network.shared.down))
    assert not same(drawn, list(make(seed=1).network.shared.down))


def test_each_part_can_be_left_out() -> None:
    learner = teach(make(without=("shared",)), [0, 1])
    assert not any(one.any() for one in ups(learner, 1)[0])
    learner = teach(make(without=("specific",)), [0, 1])
    shared, own = ups(learner, 1)
    assert all(one.any() for one in shared)
    assert not any(one.any() for one in own)
    learner = teach(make(without=("block-weights",)), [0])
    assert torch.equal(learner.network.tasks[0].weights, torch.ones(1))
    with pytest.raises(UsageError, match="without shared and specific adapters has none"):
        make(without=("shared", "specific"))


@pytest.mark.parametrize("part", ["distillation", "reassignment"])
def test_what_holds_the_shared_adapters_matters_from_the_second_task_on(part: AdapterPart) -> None:
    whole, lacking = teach(make(), [0]), teach(make(without=(part,)), [0])
    assert same(ups(whole, 0)[0], ups(lacking, 0)[0])
    teach(whole, [1])
    teach(lacking, [1])
    assert not same(ups(whole, 0)[0], ups(lacking, 0)[0])


def test_block_weights_are_learnt_and_differ_by_task() -> None:
    first, second = (one.weights.detach() for one in teach(make(), [0, 1]).network.tasks)
    assert not torch.equal(first, second)
    learner = make()
    learner.begin(increment(0), NoExemplars())
    learner.start()
    drawn = learner.network.tasks[0].weights.detach().clone()
    assert ((drawn >= 0.5) & (drawn <= 1.5)).all()
    learner.epoch(0)
    assert not torch.equal(drawn, learner.network.tasks[0].weights)


def test_sequential_lora_trains_one_set_of_adapters_on() -> None:
    learner = teach(make(SequentialLora), [0])
    own = learner.network.tasks[0].adapters
    before = ups(learner, 0)[1]
    bytes_of_one = learner.nbytes
    teach(learner, [1])
    assert learner.network.tasks[1].adapters is own
    assert not same(before, ups(learner, 0)[1])
    means = learner.network.tasks[1].means
    assert learner.nbytes - bytes_of_one == means.nbytes + learner.network.tasks[1].weights.nbytes


@pytest.mark.parametrize("cls", [ClLora, SequentialLora, AdaptedRidge])
def test_a_learner_goes_on_from_its_state(cls: type[ClLora]) -> None:
    whole = make(cls)
    teach(whole, [0])
    whole.begin(increment(1), NoExemplars())
    whole.start()
    if whole.epochs():
        whole.epoch(0)
    other = make(cls)
    other.load_state_dict(copy.deepcopy(whole.state_dict()))
    for one in (whole, other):
        one.begin(increment(1), NoExemplars())
        if one.epochs():
            one.epoch(1)
        one.end()
        assert one.predict(increment(0).images).max() < 4
    for task in range(len(whole.network.tasks)):
        assert same(*(ups(one, task)[0] for one in (whole, other)))
        assert same(*(ups(one, task)[1] for one in (whole, other)))
        assert torch.equal(*(one.network.tasks[task].means for one in (whole, other)))


def test_a_backbone_is_needed_and_not_trained() -> None:
    with pytest.raises(UsageError, match="name one by --backbone"):
        ClLora(8, 12, Recipe(), 0)
    with pytest.raises(UsageError, match="trains adapters alone: leave --tune full out"):
        ClLora(8, 12, RECIPE.model_copy(update={"tune": "full"}), 0)


def test_adapted_ridge_adapts_to_the_first_task_alone() -> None:
    learner = teach(make(AdaptedRidge), [0])
    before = [*ups(learner, 0)[0], *ups(learner, 0)[1]]
    assert all(one.any() for one in before)
    teach(learner, [1, 2])
    assert same(before, [*ups(learner, 0)[0], *ups(learner, 0)[1]])
    for index in range(3):
        held = increment(index, seed=1)
        assert (learner.predict(held.images) == held.labels).mean() > 0.8  # chance is 1/6


def test_adapted_ridge_is_ridge_on_the_adapted_features() -> None:
    learner = make(AdaptedRidge)
    teach(learner, [0, 1])
    ridge = Ridge(8, 12, RECIPE, 0)
    for index in (1, 0):  # sums do not depend on the order
        step = increment(index)
        features = learner.network.embed(step.images, learner.network.tasks[0]).numpy()
        ridge.begin(replace(step, images=features, first=0, seen=4), NoExemplars())
        ridge.epoch(0)
    held = increment(0, seed=1)
    features = learner.network.embed(held.images, learner.network.tasks[0]).numpy()
    assert np.array_equal(learner.predict(held.images), ridge.predict(features))
