"""Learners: what each one's paper promises, determinism, and that nothing global is touched."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dsc._replay.learners.base import Recipe
from dsc._replay.learners.batches import augment, cutmix, generator
from dsc._replay.learners.gradient import NetworkLearner
from dsc._replay.learners.icarl import ICarl
from dsc._replay.learners.memory import NoExemplars, ReplayedExemplars
from dsc._replay.learners.network import LAYOUTS, ResNet
from dsc._replay.learners.registry import LEARNERS, learner_class
from dsc._replay.learners.wa import align_weights
from dsc._replay.scenario.images import Images, LabelledImages, Labels
from dsc._replay.scenario.scenario import ClassIncremental
from dsc.errors import UsageError
from tests.replay.class_pictures import make_pictures

TRAIN = make_pictures(classes=4, per_class=16, side=12)
TEST = make_pictures(classes=4, per_class=8, side=12, seed=1)
RECIPE = Recipe(epochs=6, steps=60, batch=16, lr=0.05)
REPLAYING = [name for name in LEARNERS if not learner_class(name).exemplar_free]


class Memory:
    """A buffer of plain arrays: the given number of exemplars of each class."""

    def __init__(self, data: LabelledImages, labels: Labels, each: int) -> None:
        rows = [np.flatnonzero(labels == label)[:each] for label in np.unique(labels)]
        self.rows = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        self._images, self.targets = data.images[self.rows], labels[self.rows]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(str(row) for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Images, int]]:
        return [(self._images[at], int(self.targets[at])) for at in indices]


def seen_labels(scenario: ClassIncremental, steps: int) -> Labels:
    """Labels of the data set's rows by their turn; -1 for what has not come."""
    labels = np.full(len(scenario.data), -1, np.int64)
    for step in list(scenario)[:steps]:
        labels[step.rows] = step.labels
    return labels


def memory(scenario: ClassIncremental, steps: int, each: int = 6) -> Memory:
    labels = seen_labels(scenario, steps)
    some = np.flatnonzero(labels >= 0)
    return Memory(scenario.data.take(some), labels[some], each)


def make(name: str, seed: int = 0, recipe: Recipe = RECIPE) -> NetworkLearner:
    made = learner_class(name)(4, 12, recipe, seed)
    assert isinstance(made, NetworkLearner)
    return made


def teach(learner: NetworkLearner, scenario: ClassIncremental, steps: int = 2) -> NetworkLearner:
    for step in list(scenario)[:steps]:
        count = step.index + learner.fills_first
        buffer = memory(scenario, count) if count else NoExemplars()
        learner.begin(step, buffer)
        learner.start()
        for number in range(learner.epochs()):
            learner.epoch(number)
        learner.end()
        learner.remember(memory(scenario, step.index + 1))
    return learner


def accuracy(learner: NetworkLearner, scenario: ClassIncremental) -> float:
    held = list(scenario.over(TEST))
    right = [learner.predict(step.images) == step.labels for step in held]
    return 100 * float(np.concatenate(right).mean())


def weights(learner: NetworkLearner) -> list[torch.Tensor]:
    return [value.clone() for value in learner.network.state_dict().values()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", REPLAYING)
def test_every_learner_tells_old_and_new_classes_apart(name: str) -> None:
    scenario = ClassIncremental(TRAIN, 2, seed=0)
    assert accuracy(teach(make(name), scenario), scenario) > 60  # chance is 25


@pytest.mark.parametrize("name", REPLAYING)
def test_equal_seeds_give_equal_networks_whatever_else_draws_numbers(name: str) -> None:
    scenario = ClassIncremental(TRAIN, 2, seed=0)
    short = RECIPE.model_copy(update={"epochs": 1, "steps": 3})
    torch.manual_seed(1)
    first = weights(teach(make(name, recipe=short), scenario))
    torch.manual_seed(2)
    np.random.seed(3)
    state = torch.get_rng_state()
    assert equal(first, weights(teach(make(name, recipe=short), scenario)))
    assert torch.equal(state, torch.get_rng_state())
    assert not equal(first, weights(teach(make(name, seed=1, recipe=short), scenario)))


def old_rows_move(name: str) -> bool:
    """Tell whether new images, alone, change the head's rows of old classes."""
    scenario = ClassIncremental(TRAIN, 2, seed=0)
    learner = make(name)
    learner.begin(scenario[1], NoExemplars())
    before = learner.network.head.bias[: scenario[1].first].clone()
    learner.recipe = RECIPE.model_copy(update={"weight_decay": 0.0})
    learner.optimizer = torch.optim.SGD(learner.network.parameters(), 0.1)
    learner.epoch(0)
    return not torch.equal(before, learner.network.head.bias[: scenario[1].first])


def test_er_ace_keeps_new_images_from_pushing_old_classes_away() -> None:
    assert old_rows_move("er")
    assert not old_rows_move("er-ace")


def test_gdumb_depends_on_the_buffer_and_on_nothing_else() -> None:
    scenario = ClassIncremental(TRAIN, 2, seed=0)
    short = RECIPE.model_copy(update={"steps": 5})
    taught = teach(make("gdumb", recipe=short), scenario)
    fresh = make("gdumb", recipe=short)
    fresh.begin(scenario[1], memory(scenario, 2))  # it never saw the first step
    fresh.start()
    for number in range(fresh.epochs()):
        fresh.epoch(number)
    assert equal(weights(taught), weights(fresh))


def test_gdumb_takes_exactly_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    learner = make("gdumb", recipe=RECIPE.model_copy(update={"steps": 120, "batch": 2}))
    monkeypatch.setattr(learner, "descend", lambda loss: taken.append(1) or loss.detach())
    scenario = ClassIncremental(TRAIN, 4)
    learner.begin(scenario[0], memory(scenario, 1))
    for number in range(learner.epochs()):
        learner.epoch(number)
    assert len(taken) == 120


def test_weight_aligning_gives_new_rows_the_mean_length_of_old_ones() -> None:
    head = torch.nn.Linear(8, 6)
    with torch.no_grad():
        head.weight[3:5] *= 7
    before = head.weight.detach().clone()
    factor = align_weights(head, 3, 5)
    lengths = head.weight.detach().norm(dim=1)
    assert lengths[3:5].mean() == pytest.approx(float(lengths[:3].mean()), rel=1e-5)
    assert torch.equal(head.weight[:3], before[:3])
    assert torch.equal(head.weight[5:], before[5:])  # not seen yet
    assert torch.allclose(head.weight[3:5], before[3:5] * factor)


def test_icarl_predicts_the_nearest_mean_of_its_exemplars() -> None:
    scenario = ClassIncremental(TRAIN, 2, seed=0)
    learner = teach(make("icarl", recipe=RECIPE.model_copy(update={"epochs": 2})), scenario)
    kept = memory(scenario, 2)
    images = np.stack([image for image, _ in kept.__getitems__(range(len(kept)))])
    features, held = learner.features(images), learner.features(TEST.images)
    assert np.linalg.norm(features, axis=1) == pytest.approx(np.ones(len(kept)), abs=1e-5)
    means = np.stack([features[kept.targets == label].mean(0) for label in range(4)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    nearest = ((held[:, None] - means[None]) ** 2).sum(2).argmin(1)
    assert (learner.predict(TEST.images) == nearest).all()


def test_icarl_never_predicts_a_class_without_exemplars() -> None:
    scenario = ClassIncremental(TRAIN, 2, seed=0)
    learner = make("icarl")
    assert isinstance(learner, ICarl)
    learner.begin(scenario[1], memory(scenario, 1))
    learner.remember(memory(scenario, 1))
    state = learner.state_dict()
    state["means"] = -state["means"]  # those that there are, far from every picture
    learner.load_state_dict(state)
    assert set(learner.predict(TEST.images)) <= {0, 1}


@pytest.mark.parametrize(("name", "classify", "distil"), [("icarl", 1.0, 1.0), ("wa", 0.5, 0.5)])
def test_the_network_of_the_step_before_teaches_the_old_classes(
    name: str, classify: float, distil: float
) -> None:
    scenario = ClassIncremental(TRAIN, 2, seed=0)
    learner = teach(make(name, recipe=RECIPE.model_copy(update={"epochs": 1})), scenario, steps=1)
    before = make(name)
    before.network.load_state_dict(learner.network.state_dict())
    learner.begin(scenario[1], memory(scenario, 1))
    learner.start()
    learner.epoch(0)
    learner.network.eval()
    batch = learner.batch(torch.arange(5), torch.arange(4), generator(0))
    images = torch.cat([batch.images, batch.old_images])
    labels = torch.cat([batch.labels, batch.old_labels])
    with torch.no_grad():
        logits, known = learner.network(images), before.network.eval()(images)[:, :2]
        target = (known / 2).softmax(1)  # the temperature is 2
        taught = -(target * (logits[:, :2] / 2).log_softmax(1)).sum(1).mean()
        expected = classify * F.cross_entropy(logits, labels) + distil * taught
        assert float(learner.loss(batch)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", REPLAYING)
def test_every_epoch_has_an_order_of_its_own(name: str) -> None:
    drawn: list[Any] = []
    scenario = ClassIncremental(TRAIN, 2, seed=0)
    learner = make(name, recipe=RECIPE.model_copy(update={"steps": 100}))
    learner.begin(scenario[1], memory(scenario, 1))
    learner.descend = lambda loss: loss.detach()  # type: ignore[method-assign]
    draw = learner.draw
    for number in range(2):
        rows: list[int] = []
        learner.draw = lambda r, g, rows=rows: rows.extend(r.tolist()) or draw(r, g)  # type: ignore[method-assign, misc]
        learner.epoch(number)
        drawn.append(rows)
    assert len(drawn[0]) == len(drawn[1])
    assert drawn[0] != drawn[1]


def dark(budget: int = 1 << 20) -> tuple[NetworkLearner, ClassIncremental]:
    """Make a learner that may keep half of a budget in logits, and a scenario."""
    learner = make("derpp", recipe=RECIPE.model_copy(update={"epochs": 1}))
    assert learner.reserve(exemplar_bytes=8.0, budget=budget) == budget // 2  # 4 float16 are 8
    return learner, ClassIncremental(TRAIN, 2, seed=0)


def test_derpp_keeps_each_exemplars_logits_of_its_own_step_and_counts_them() -> None:
    learner, scenario = dark()
    teach(learner, scenario, steps=1)
    first = memory(scenario, 1)
    assert learner.nbytes == 2 * 2 * len(first)  # two classes, float16
    images = np.stack([image for image, _ in first.__getitems__(range(len(first)))])
    expected = learner.evaluate(images, learner.logits).astype(np.float16)
    step = scenario[1]
    learner.begin(step, first)
    learner.epoch(0)
    learner.remember(memory(scenario, 2))
    kept = learner.state_dict()["logits"]
    for row, key in enumerate(first.keys):
        assert (kept[key].numpy() == expected[row]).all()
    assert learner.nbytes == 2 * (2 * len(first) + 4 * (len(memory(scenario, 2)) - len(first)))


def test_derpp_keeps_no_more_logits_than_fit() -> None:
    learner, scenario = dark(budget=100)
    teach(learner, scenario)
    assert 0 < learner.nbytes <= 50


def test_derpp_forgets_the_logits_of_exemplars_that_are_gone() -> None:
    learner, scenario = dark()
    teach(learner, scenario)
    learner.remember(memory(scenario, 2, each=2))
    assert set(learner.state_dict()["logits"]) == set(memory(scenario, 2, each=2).keys)


def test_derpp_reserves_its_share_of_the_budget() -> None:
    learner, _ = dark()
    assert learner.reserve(exemplar_bytes=24.0, budget=8000) == 2000  # 4 classes of 2 bytes


def test_derpp_pulls_outputs_towards_the_stored_logits() -> None:
    learner, scenario = dark()
    buffer = memory(scenario, 1)
    logits = torch.tensor([5.0, -5.0], dtype=torch.float16)
    stored = dict.fromkeys(buffer.keys, logits)
    learner.load_state_dict(learner.state_dict() | {"logits": stored})
    learner.begin(scenario[1], buffer)
    learner.recipe = RECIPE.model_copy(update={"alpha": 1.0, "beta": 0.0, "lr": 0.005})
    images = np.stack([image for image, _ in buffer.__getitems__(range(len(buffer)))])

    def distance() -> float:
        return float(np.abs(learner.evaluate(images, learner.logits)[:, :2] - [5, -5]).mean())

    before = distance()
    for _ in range(20):
        learner.epoch(0)
    assert distance() < before / 2


def test_exemplars_decoded_when_drawn_are_those_decoded_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer = memory(ClassIncremental(TRAIN, 2), 1)
    rows = torch.tensor([3, 0, 3, 7])
    at_once = ReplayedExemplars(buffer, torch.device("cpu")).take(rows)
    monkeypatch.setattr("dsc._replay.learners.memory.DECODED_LIMIT", 0)
    later = ReplayedExemplars(buffer, torch.device("cpu")).take(rows)
    assert all(torch.equal(one, other) for one, other in zip(at_once, later, strict=True))


@pytest.mark.parametrize("name", REPLAYING)
def test_large_buffers_train_to_the_same_network(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = ClassIncremental(TRAIN, 2, seed=0)
    short = RECIPE.model_copy(update={"epochs": 1, "steps": 2})
    at_once = weights(teach(make(name, recipe=short), scenario))
    monkeypatch.setattr("dsc._replay.learners.memory.DECODED_LIMIT", 0)
    assert equal(at_once, weights(teach(make(name, recipe=short), scenario)))


def test_augmented_pictures_are_shifted_and_mirrored_ones() -> None:
    image = torch.from_numpy(TRAIN.images[:1])
    padded = F.pad(image[0], (0, 0, 1, 1, 1, 1))  # an eighth of 12 pixels
    places = [padded[y : y + 12, x : x + 12] for y in range(3) for x in range(3)]
    allowed = [*places, *(place.flip(1) for place in places)]
    drawn = augment(image.expand(400, -1, -1, -1), generator(1, 2))
    counts = [int((drawn == place).flatten(1).all(1).sum()) for place in allowed]
    assert sum(counts) == 400
    assert min(counts) > 5


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "resnet18"])
@pytest.mark.parametrize("side", [28, 64])
def test_networks_take_small_pictures_of_any_side(layout: str, side: int) -> None:
    network = ResNet(layout, 5, side, 0)
    assert network(torch.zeros(2, side, side, 3, dtype=torch.uint8)).shape == (2, 5)


def test_an_unknown_network_or_learner_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"unknown network 'vgg'.*resnet32"):
        ResNet("vgg", 5, 32, 0)
    with pytest.raises(UsageError, match=r"unknown learner 'ewc'.*er-ace"):
        learner_class("ewc")


def test_a_learners_state_is_plain_values_and_tensors() -> None:
    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(plain(one) for one in value.values())
        if isinstance(value, list | tuple):
            return all(plain(one) for one in value)
        return value is None or isinstance(value, torch.Tensor | int | float | str | bool)

    scenario = ClassIncremental(TRAIN, 2, seed=0)
    for name in REPLAYING:
        short = RECIPE.model_copy(update={"epochs": 1, "steps": 2})
        assert plain(teach(make(name, recipe=short), scenario).state_dict()), name


def test_cutmix_pastes_one_rectangle_and_tells_its_share() -> None:
    images = torch.arange(8, dtype=torch.uint8)[:, None, None, None].repeat(1, 10, 12, 3)
    for seed in range(50):
        mixed, order, kept = cutmix(images, generator(seed))
        own = (mixed == images).all(-1)
        other = (mixed == images[order]).all(-1)
        assert bool((own | other).all())
        changed = [row for row in range(8) if order[row] != row]
        for row in changed:
            inside = ~own[row]
            assert float(own[row].float().mean()) == pytest.approx(kept)
            rows, columns = inside.any(1).sum(), inside.any(0).sum()
            assert int(inside.sum()) == int(rows * columns)  # a rectangle
    assert torch.equal(images, images.clone())


def test_cutmix_shares_spread_over_zero_to_one() -> None:
    images = torch.zeros((2, 32, 32, 3), dtype=torch.uint8)
    shares = np.array([cutmix(images, generator(seed))[2] for seed in range(400)])
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert 0.5 < shares.mean() < 0.75  # 0.5 before edges cut rectangles


def test_gdumb_mixes_the_share_of_batches_that_the_recipe_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mixed: list[int] = []
    real = cutmix

    def counted(images: torch.Tensor, draw: torch.Generator) -> Any:
        mixed.append(len(images))
        return real(images, draw)

    monkeypatch.setattr("dsc._replay.learners.gdumb.cutmix", counted)
    scenario = ClassIncremental(TRAIN, 4)
    for share, wanted in ((0.0, range(1)), (0.5, range(15, 46)), (1.0, range(60, 61))):
        mixed.clear()
        learner = learner_class("gdumb")(4, 12, RECIPE.model_copy(update={"cutmix": share}), 0)
        learner.begin(scenario[0], memory(scenario, 1))
        learner.start()
        learner.descend = lambda loss: loss.detach()  # type: ignore[method-assign]
        for number in range(learner.epochs()):
            assert np.isfinite(learner.epoch(number))
        assert len(mixed) in wanted
