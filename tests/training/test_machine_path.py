"""Training of machine paths: by a frozen network's error, the same again, and going on."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dsc._codecs.base import Array
from dsc._codecs.machine.paths import KIND
from dsc._codecs.restored.network import RestorationNetwork, Shape, restore
from dsc._codecs.restored.weights import load_network, save_network
from dsc._training.models.machine_path import (
    CodedPictures,
    State,
    TaskAnswer,
    Terms,
    divergence,
    loss_of,
    make_examples,
    train,
)
from tests.codecs.conformance import make_sample
from tests.codecs.test_classical import RGB

SHAPE = Shape(stride=4, width=8, blocks=1, first_quantiser=12)
STEPS = 12


def teacher(pictures: Tensor) -> TaskAnswer:
    """TaskAnswer by contrasts between neighbours, and by the mean colours of quarters."""
    across = pictures[..., 1:] - pictures[..., :-1]
    colours = torch.nn.functional.adaptive_avg_pool2d(pictures, 2).flatten(1)
    return TaskAnswer(colours / 64, (across / 16,))


@pytest.fixture(scope="module")
def examples() -> CodedPictures:
    pictures = [make_sample([RGB], (176, 176), seed, holes=False)["rgb"] for seed in range(4)]
    return make_examples(pictures, each=2, seed=0)


def learn(examples: CodedPictures, steps: int = STEPS, state: State | None = None) -> bytes:
    network = train(examples, teacher, steps, state=state or State.first(SHAPE, 0))
    return save_network(network, {}, KIND)


def test_examples_are_what_av1_makes_of_pictures(examples: CodedPictures) -> None:
    assert examples.wanted.shape == examples.decoded.shape == (8, 176, 176, 3)
    assert (examples.wanted != examples.decoded).any(axis=(1, 2, 3)).all()
    assert examples.quantiser.min() > 12


def test_training_takes_off_what_the_network_minds() -> None:
    rng = np.random.default_rng(0)
    wanted = np.repeat(np.repeat(rng.integers(30, 220, (8, 20, 20, 3)), 8, 1), 8, 2)
    decoded = (wanted * 0.8 + 20).astype(np.uint8)  # less contrast
    examples = CodedPictures(wanted.astype(np.uint8), decoded, np.full(8, 50, np.uint8))
    network = load_network(learn(examples, 200), KIND)
    corrected = restore(network, decoded, examples.quantiser)

    def loss(pictures: Array) -> float:
        found = [torch.from_numpy(p).permute(0, 3, 1, 2).float() for p in (wanted, pictures)]
        return float(loss_of(Terms(), *map(teacher, found)).mean())

    assert loss(corrected) < 0.7 * loss(decoded)


def test_the_same_training_gives_the_same_file(examples: CodedPictures) -> None:
    assert learn(examples) == learn(examples)


def test_a_training_goes_on_as_if_it_had_not_stopped(examples: CodedPictures) -> None:
    begun = State.first(SHAPE, 0)
    train(examples, teacher, STEPS, state=begun, until=5)
    again = State.first(SHAPE, 1)
    again.take(begun.pack())
    assert learn(examples, STEPS, again) == learn(examples)


def test_divergence_is_of_answers_and_of_places() -> None:
    truth, found = torch.zeros(1, 2), torch.tensor([[np.log(3.0), 0.0]])
    expected = 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)
    assert divergence(truth, found).item() == pytest.approx(expected)
    places = found[..., None, None].expand(1, 2, 3, 4)
    assert divergence(torch.zeros_like(places), places).item() == pytest.approx(expected)
    assert divergence(found, found).item() == 0


def test_terms_weigh_what_they_name() -> None:
    truth = TaskAnswer(torch.zeros(1, 2), (torch.ones(1, 4),))
    found = TaskAnswer(torch.tensor([[1.0, 0.0]]), (torch.zeros(1, 4),))
    answer = loss_of(Terms(answer=1, features=0), truth, found).item()
    features = loss_of(Terms(answer=0, features=1), truth, found).item()
    assert (answer > 0, features) == (True, 1.0)
    assert loss_of(Terms(answer=2, features=3), truth, found).item() == pytest.approx(
        2 * answer + 3
    )


def test_a_network_of_other_qualities_keeps_its_first_quantiser() -> None:
    data = save_network(RestorationNetwork(SHAPE), {}, KIND)
    assert load_network(data, KIND).shape == SHAPE
