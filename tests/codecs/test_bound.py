"""The layered network that never quantises: its rate is a divergence, and its start the same."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from dsc._codecs.learned.layered.differentiable import layered
from dsc._codecs.learned.layered.spec import sized_layers
from dsc._codecs.learned.network.entropy import SCALE_LEVELS, scale_table
from dsc._training.networks import make_network
from dsc._training.research.bound import ROUNDING, bound, divergence_bits
from tests.codecs.test_layered_network import RGB, pictures


def test_the_rate_is_the_divergence_of_two_gaussians() -> None:
    random = torch.Generator().manual_seed(2)
    distance = 3 * torch.randn(4, 5, 3, 2, generator=random)
    log_deviation = torch.randn(4, 5, 3, 2, generator=random)
    index = torch.randint(0, SCALE_LEVELS, (4, 5, 3, 2), generator=random)
    deviations = scale_table().float()[index]
    exact = kl_divergence(
        Normal(distance, log_deviation.exp()), Normal(torch.zeros(()), deviations)
    )
    found = divergence_bits(distance, log_deviation, index.float())
    torch.testing.assert_close(found, exact.sum(dim=(1, 2, 3)) / math.log(2), rtol=1e-4, atol=1e-2)
    same = divergence_bits(torch.zeros_like(distance), deviations.log(), index.float())
    torch.testing.assert_close(same, torch.zeros(4), rtol=0, atol=1e-3)


@torch.no_grad()
def test_noise_as_wide_as_rounding_costs_fewer_bits_at_the_same_error() -> None:
    x, quality = pictures(), torch.full((24,), 60)
    found = []
    for make in (layered, bound):
        torch.manual_seed(3)
        network = make(RGB, "tiny", sized_layers(RGB, "tiny").to_json())
        network.initialise({"rgb": x})
        coded = network.eval().code({"rgb": x}, {}, RGB, {"rgb": quality})
        assert list(coded.rate) == ["rgb.0", "rgb.1", "rgb.2", "rgb.3"]
        rate = sum(float(bits.mean()) for bits in coded.rate.values())
        found.append((rate, float(coded.distortion["rgb"].mean())))
    (rounded, error), (drawn, same_error) = found
    assert same_error == pytest.approx(error, rel=0.1)
    assert drawn < rounded


@torch.no_grad()
def test_latents_are_drawn_in_evaluation_too() -> None:
    network = bound(RGB, "tiny").eval()
    network.initialise({"rgb": pictures()})
    quality = torch.full((2,), 50)
    first, second = (network.code_layers("rgb", pictures(2), quality).planes for _ in range(2))
    assert not torch.equal(first, second)


def test_every_part_learns_something() -> None:
    torch.manual_seed(0)
    made = bound(RGB, "tiny").train()
    x = pictures(4)
    made.initialise({"rgb": x})
    with torch.no_grad():  # what starts at zero hides what is behind it
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    coded = made.code({"rgb": x}, {}, RGB, {"rgb": torch.tensor([10, 40, 70, 100])})
    loss = torch.stack([bits.mean() for bits in coded.rate.values()]).sum()
    (loss + 0.01 * coded.distortion["rgb"].mean()).backward()  # type: ignore[no-untyped-call]
    idle = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in idle if ".gain." not in name], idle


def test_it_begins_with_the_deviation_of_rounding_and_is_larger_than_its_student() -> None:
    network = make_network("bound", RGB, "fast")
    assert network.kind == "bound"
    assert math.exp(ROUNDING) == pytest.approx(torch.rand(100_000).std().item(), rel=0.02)
    sizes = [sum(p.numel() for p in n.parameters()) for n in (network, layered(RGB, "fast"))]
    assert 1.4 < sizes[0] / sizes[1] < 1.8
    again = make_network("bound", spec=network.spec_json())
    assert again.spec == network.spec
