"""Learners from sums: what is learnt of all pictures at once, whatever order they came in."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dsc._replay.learners.base import Recipe
from dsc._replay.learners.closed_form import ClosedFormLearner
from dsc._replay.learners.memory import NoExemplars
from dsc._replay.learners.ranpac import RanPac
from dsc._replay.learners.registry import LEARNERS, learner_class
from dsc._replay.learners.ridge import Ridge, ridge_weights
from dsc._replay.learners.simple_cil import SimpleCil
from dsc._replay.scenario.scenario import Increment

CLASSES, SIZE = 5, 8
RECIPE = Recipe(backbone="any", random_features=40)
CLOSED_FORM = [
    name for name in LEARNERS if issubclass(learner_class(name), ClosedFormLearner)
]  # fmt: skip


def draw(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw features (N, SIZE) of classes that overlap, and their labels."""
    means = np.random.default_rng(7).normal(0, 1, (CLASSES, SIZE))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    return (means[labels] + rng.normal(0, 0.8, (count, SIZE))).astype(np.float32), labels


ROWS, LABELS = draw(120, 0)
HELD, HELD_LABELS = draw(300, 1)


def increments(order: list[list[int]]) -> Iterator[Increment]:
    """Give classes out in parts; they keep their numbers, and all count as seen."""
    for index, part in enumerate(order):
        rows = np.flatnonzero(np.isin(LABELS, part))
        yield Increment(index, ROWS[rows], LABELS[rows], rows, 0, CLASSES)  # type: ignore[arg-type]


def taught(name: str, order: list[list[int]]) -> Any:
    learner = learner_class(name)(CLASSES, 16, RECIPE, 0)
    for increment in increments(order):
        learner.begin(increment, NoExemplars())
        learner.start()
        for number in range(learner.epochs()):
            learner.epoch(number)
        learner.end()
    return learner


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_steps_in_any_order_learn_what_all_pictures_at_once_do(name: str) -> None:
    whole = taught(name, [[0, 1, 2, 3, 4]])
    scores = whole.scores(HELD)
    assert (whole.predict(HELD) == HELD_LABELS).mean() > 0.6  # chance is 0.2
    for order in ([[0], [1], [2], [3], [4]], [[4, 1], [3], [0, 2]]):
        other = taught(name, order)
        assert torch.allclose(other.scores(HELD), scores, rtol=1e-9, atol=1e-9)
        assert (other.predict(HELD) == whole.predict(HELD)).all()
        assert other.nbytes == whole.nbytes


def test_simple_cil_takes_the_mean_of_the_smallest_angle() -> None:
    learner = taught("simple-cil", [[0, 1], [2, 3, 4]])
    assert isinstance(learner, SimpleCil)
    means = np.stack([ROWS[label == LABELS].mean(0) for label in range(CLASSES)])
    cosines = HELD @ means.T / np.linalg.norm(means, axis=1)
    assert (learner.predict(HELD) == cosines.argmax(1)).all()


def explicit(strength: float) -> tuple[NDArray[np.float64], float]:
    """Return the scores of the held-out rows, and the GCV error, from the rows themselves."""
    x, y = ROWS.astype(np.float64), np.eye(CLASSES)[LABELS]
    centred, target = x - x.mean(0), y - y.mean(0)
    inverse = np.linalg.inv(centred.T @ centred + strength * np.eye(SIZE))
    hat = centred @ inverse @ centred.T + 1 / len(x)
    residual = target - centred @ inverse @ centred.T @ target
    error = (residual**2).sum() / len(x) / (1 - np.trace(hat) / len(x)) ** 2
    weights = inverse @ centred.T @ target
    return (HELD - x.mean(0)) @ weights + y.mean(0), float(error)


def test_ridge_has_the_strength_of_the_smallest_cross_validation_error() -> None:
    learner = taught("ridge", [[0, 1], [2], [3, 4]])
    assert isinstance(learner, Ridge)
    centred = ROWS - ROWS.astype(np.float64).mean(0)
    strengths = np.logspace(-7, 0, 29) * (centred**2).sum()
    errors = [explicit(strength)[1] for strength in strengths]
    best = int(np.argmin(errors))
    assert 0 < best < len(errors) - 1  # neither end of what is tried
    scores = explicit(strengths[best])[0]
    assert np.allclose(learner.scores(HELD).numpy(), scores, rtol=1e-6, atol=1e-9)


def test_more_features_than_pictures_are_no_trouble() -> None:
    few = torch.from_numpy(ROWS[:4]).double()
    centred = few - few.mean(0)
    labels = torch.eye(2, dtype=torch.float64)[[0, 1, 0, 1]]
    products = centred.T @ (labels - labels.mean(0))
    weights = ridge_weights(centred.T @ centred, products, labels.sum(0))
    assert torch.isfinite(weights).all()
    assert ((centred @ weights).argmax(1) == torch.tensor([0, 1, 0, 1])).all()


def test_one_class_alone_is_always_predicted() -> None:
    for name in CLOSED_FORM:
        learner = learner_class(name)(CLASSES, 16, RECIPE, 0)
        rows = np.flatnonzero(LABELS == 0)
        learner.begin(Increment(0, ROWS[rows], LABELS[rows], rows, 0, 1), NoExemplars())  # type: ignore[arg-type]
        learner.epoch(0)
        assert (learner.predict(HELD) == 0).all()


def test_ranpac_draws_its_projection_from_the_seed_and_keeps_none_of_it() -> None:
    first, second = taught("ranpac", [[0, 1, 2, 3, 4]]), taught("ranpac", [[0, 1, 2, 3, 4]])
    assert isinstance(first, RanPac)
    expanded = first.expand(HELD)
    assert expanded.shape == (300, 40)
    assert float(expanded.min()) == 0
    assert torch.equal(expanded, second.expand(HELD))
    assert set(first.state_dict()["sums"]) == {"classes", "counts", "gram"}
    other = learner_class("ranpac")(CLASSES, 16, RECIPE, 1)
    assert isinstance(other, RanPac)
    assert not torch.equal(expanded, other.expand(HELD))
