"""The encoder's choice of symbols, and the order in which a latent's steps code it."""

import math

import numpy as np
import pytest
import torch

from dsc._codecs.learned.codec_file import gaussian_tables
from dsc._codecs.learned.network.entropy import StreamEntropy, scale_table
from dsc._codecs.learned.network.rate import SymbolChooser, gaussian_likelihood
from dsc._codecs.learned.network.spec import sized
from dsc._coding.entropy import build_tables
from dsc._coding.integer import IntegerConv
from dsc._coding.steps import group_rows, step_elements, step_mask
from dsc._coding.weights_file import LIMIT

HIGH_RATE = 6 / math.log(2)  # -dR/dD of a fine uniform quantiser, in bits a squared step
KAPPAS = (2.0, HIGH_RATE)


def bits(symbol: np.ndarray, index: np.ndarray) -> np.ndarray:
    mass = gaussian_likelihood(torch.from_numpy(symbol).float(), torch.from_numpy(index).float())
    return -np.log2(mass.numpy())


@pytest.mark.parametrize("kappa", KAPPAS)
def test_no_nearer_or_lower_symbol_is_cheaper(kappa: float) -> None:
    rng = np.random.default_rng(0)
    index = rng.integers(0, 45, 4000)
    scale = scale_table().numpy()[index]
    residual = (rng.standard_normal(4000) * np.minimum(scale, 12)).astype(np.float32)
    choose = SymbolChooser(gaussian_tables())
    got = choose(torch.from_numpy(residual), torch.from_numpy(index).float(), kappa).numpy()
    nearest = np.floor(residual + 0.5)
    lower = nearest - np.sign(nearest)
    cost = {
        name: bits(symbol, index) + kappa * (residual - symbol) ** 2
        for name, symbol in (("got", got), ("nearest", nearest), ("lower", lower))
    }
    assert set(np.unique(nearest - got)) <= {-1.0, 0.0, 1.0}
    assert (got != nearest).sum() > 40
    assert (cost["got"] <= np.minimum(cost["nearest"], cost["lower"]) + 0.02).all()


def test_infinite_kappa_is_plain_rounding() -> None:
    residual = torch.linspace(-300, 300, 1001)
    choose = SymbolChooser(gaussian_tables())
    assert torch.equal(
        choose(residual, torch.full((1001,), 9.0), math.inf), torch.floor(residual + 0.5)
    )


def test_symbols_beyond_the_tables_can_be_chosen() -> None:
    choose = SymbolChooser(build_tables([np.array([0.2, 0.5, 0.2])], [-1]))
    residual = torch.tensor([-9000.4, -2.5, 0.0, 1.4, 2.4, 250.2, 9000.4])
    got = choose(residual, torch.zeros(7), HIGH_RATE)
    assert (got - residual).abs().max() <= 1.5


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 7), (8, 6)])
def test_every_element_is_coded_in_one_step(steps: int, size: tuple[int, int]) -> None:
    places = step_elements(steps, 8, *size)
    assert len(places) == steps
    assert torch.equal(torch.cat(places).sort().values, torch.arange(8 * size[0] * size[1]))
    blank = torch.zeros(1, 8, *size)
    assert torch.equal(sum(step_mask(steps, s, blank) for s in range(steps)), blank + 1)


def test_each_step_codes_one_group_at_every_position() -> None:
    blank = torch.zeros(1, 12, 6, 6)
    for step in range(4):
        mask = step_mask(4, step, blank)[0]
        found = torch.stack([mask[group_rows(12, 4, g)].mean(0) for g in range(4)])
        assert torch.equal(found.sum(0), torch.ones(6, 6))
        assert torch.equal(found.mean((1, 2)), torch.full((4,), 0.25))


def test_a_step_depends_on_earlier_steps_alone() -> None:
    """Were it otherwise, a decoder would need symbols that it has not decoded."""
    torch.manual_seed(0)
    spec = sized("independent", ["rgb"], "tiny")
    entropy = StreamEntropy(spec, 16, ())
    for layer in entropy.modules():
        if isinstance(layer, IntegerConv):
            torch.nn.init.normal_(layer.weight, std=0.3)
            layer.freeze()
    z = torch.randint(-9, 10, (1, spec.hyper_latents, 2, 2)).float()
    start = entropy.synthesis(z, torch.tensor([50]), (7, 6), None, None)
    first, second = (torch.randint(-LIMIT, LIMIT + 1, (1, 16, 7, 6)).float() for _ in range(2))
    for step in range(1, 4):
        before = sum(step_mask(4, s, first) for s in range(step))
        here = step_mask(4, step, first).bool()
        index, mean = entropy.predict(step, start, first * before)
        other_index, other_mean = entropy.predict(step, start, second * before)
        assert not torch.equal(mean[here], other_mean[here])  # what came before counts
        assert torch.equal(index[~here], start.scale[~here])
        assert torch.equal(mean[~here], start.mean[~here])
        assert (other_index >= 0).all()
        assert (index <= 63).all()
