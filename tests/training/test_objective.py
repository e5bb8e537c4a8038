"""The balances are the equations they name."""

from typing import Any

import pytest
import torch
from torch import nn

from dsc._codecs.learned.network.trainable import Coded
from dsc._training.average import SMA_EVERY, SMA_PART, WeightAverage
from dsc._training.objective import Losses, Objective, min_norm_weight, weigh
from tests.training.toy import ToyNetwork


def quadratic(rate_scale: float = 1.0) -> tuple[nn.Parameter, Any]:
    """Two parameters, and losses that pull them to different places."""
    x = nn.Parameter(torch.tensor([1.0, 2.0]))

    def losses() -> Losses:
        rate = rate_scale * (x**2).sum() + 0.1
        return Losses(rate, {"rgb": ((x - 3) ** 2).sum(), "depth": 0.5 * ((x - 1) ** 2).sum() + 1})

    return x, losses


def gradient(balance: Any, x: nn.Parameter, losses: Losses) -> torch.Tensor:
    objective = Objective(balance, ["rgb", "depth"])
    x.grad = None
    objective.backward(losses, [x])
    assert x.grad is not None
    return x.grad.clone()


def grad_of(value: torch.Tensor, x: nn.Parameter) -> torch.Tensor:
    return torch.autograd.grad(value, x, retain_graph=True)[0]


def test_fixed_descends_on_rate_plus_distortion() -> None:
    x, losses = quadratic()
    now = losses()
    want = grad_of(now.rate + now.distortion["rgb"] + now.distortion["depth"], x)
    assert torch.allclose(gradient("fixed", x, now), want)


def test_uncertainty_starts_as_fixed_and_learns_the_log_of_each_distortion() -> None:
    x, losses = quadratic()
    assert torch.allclose(gradient("uncertainty", x, losses()), gradient("fixed", x, losses()))
    objective = Objective("uncertainty", ["rgb", "depth"])
    descent = torch.optim.SGD([objective.log_variance], lr=0.05)
    for _ in range(600):
        descent.zero_grad()
        objective.backward(losses(), [x])
        descent.step()
    want = torch.stack([losses().distortion[task] for task in ("rgb", "depth")]).log()
    assert torch.allclose(objective.log_variance, want, atol=1e-3)


def test_uncertainty_weighs_tasks_against_each_other_but_leaves_their_mean() -> None:
    x, losses = quadratic()
    objective = Objective("uncertainty", ["rgb", "depth"])
    with torch.no_grad():
        objective.log_variance.copy_(torch.tensor([0.3, -0.9]))
    now = losses()
    share = torch.softmax(-objective.log_variance.detach(), 0) * 2
    want = grad_of(
        now.rate + share[0] * now.distortion["rgb"] + share[1] * now.distortion["depth"], x
    )
    x.grad = None
    objective.backward(losses(), [x])
    assert torch.allclose(x.grad, want)
    assert share.mean() == pytest.approx(1)


def test_balanced_begins_as_descent_on_the_sum_of_logarithms() -> None:
    x, losses = quadratic(rate_scale=50)
    now = losses()
    logs = grad_of(now.rate.log() + now.all_distortion.log(), x)
    found = gradient("balanced-rd", x, losses())
    assert torch.nn.functional.cosine_similarity(found, logs, dim=0) == pytest.approx(1, abs=1e-5)


def test_balanced_gives_more_weight_to_the_loss_that_falls_slower() -> None:
    objective = Objective("balanced-rd", ["rgb"])
    before = Losses(torch.tensor(1.0), {"rgb": torch.tensor(1.0)})
    after = Losses(torch.tensor(0.99), {"rgb": torch.tensor(0.5)})
    for _ in range(5):
        objective.observe(before, after, 1.0)
    rate, distortion = torch.softmax(objective.xi, 0).tolist()
    assert rate > distortion


def test_exact_takes_the_shortest_combination_of_log_gradients() -> None:
    x, losses = quadratic(rate_scale=3)
    now = losses()
    g_rate, g_distortion = grad_of(now.rate.log(), x), grad_of(now.all_distortion.log(), x)
    omega = torch.linspace(0, 1, 2001)[:, None]
    lengths = (omega * g_rate + (1 - omega) * g_distortion).norm(dim=1)
    values = torch.stack([now.rate, now.all_distortion]).detach()
    found = min_norm_weight([grad_of(now.rate, x)], [grad_of(now.all_distortion, x)], values)
    assert float(found) == pytest.approx(float(omega[lengths.argmin()]), abs=1e-3)
    direction = gradient("balanced-rd-exact", x, losses())
    want = found * g_rate + (1 - found) * g_distortion
    assert torch.nn.functional.cosine_similarity(direction, want, dim=0) == pytest.approx(
        1, abs=1e-5
    )


@pytest.mark.parametrize("balance", ["balanced-rd", "balanced-rd-exact"])
def test_balanced_factors_sum_to_those_of_rate_plus_distortion(balance: Any) -> None:
    x = nn.Parameter(torch.tensor([0.7]))
    losses = Losses(2 * x.sum(), {"rgb": 5 * x.sum()})
    # gradients 2 and 5 with factors a and 2 - a
    found = float(gradient(balance, x, losses))
    assert 2 * 2 - 1e-5 <= found <= 2 * 5 + 1e-5


def test_weights_and_lambda_multiply_the_distortion_of_each_sample() -> None:
    quality = {"rgb": torch.tensor([10, 90])}
    coded = Coded(
        {"rgb": torch.tensor([0.5, 1.5]), "depth": torch.tensor([0.1, 0.1])},
        {"rgb": torch.tensor([4.0, 2.0])},
        {},
    )
    network = ToyNetwork(["rgb", "depth"])
    found = weigh(coded, network, quality, {"rgb": 3.0})
    low, high = network.weight("rgb", quality["rgb"]).tolist()
    assert float(found.rate) == pytest.approx(1.1)
    assert float(found.distortion["rgb"]) == pytest.approx(3 * (4 * low + 2 * high) / 2)


def test_sma_moves_to_the_middle_and_trains_on_from_there() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    average = WeightAverage("sma", layer)
    nn.init.ones_(layer.weight)
    average.update(SMA_EVERY - 1)
    assert layer.weight.item() == 1
    average.update(SMA_EVERY)
    assert layer.weight.item() == average.network.weight.item() == SMA_PART
