"""Integer networks: the same integers in any order of arithmetic."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dsc._codecs.learned.network.entropy import HyperSynthesis
from dsc._coding.integer import IntegerConv
from dsc._coding.weights_file import LIMIT, MAX_FAN_IN


@pytest.fixture
def network() -> HyperSynthesis:
    torch.manual_seed(0)
    made = HyperSynthesis(24, 32, 12, 16)
    for layer in made.modules():
        if isinstance(layer, IntegerConv):
            torch.nn.init.normal_(layer.weight, std=0.5)
            layer.freeze()
    return made


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def inputs(batch: int) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(1)
    z = torch.randint(-31, 32, (batch, 12, 5, 7), generator=rng).float()
    quality = torch.randint(1, 101, (batch,), generator=rng)
    context = torch.randint(-LIMIT, LIMIT + 1, (batch, 16, 18, 27), generator=rng).float()
    return z, quality, context


def run(network: HyperSynthesis, *, dtype: torch.dtype = torch.float32, layout: object = None):
    z, quality, context = inputs(8)
    network = network.to(dtype)
    if layout is not None:
        z, context = z.to(memory_format=layout), context.to(memory_format=layout)
    with torch.inference_mode():
        index, mean, _ = network(z.to(dtype), quality, (18, 27), context.to(dtype), quality)
    return index.to(torch.int32), mean.to(torch.int32)


def test_results_are_the_integers_of_exact_arithmetic(network: HyperSynthesis) -> None:
    """float64 has 53 bits, so no sum of these networks can be rounded in it."""
    got = run(network)
    exact = run(network, dtype=torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(got, exact, strict=True))
    assert got[0].unique().numel() > 10  # the comparison is about something


def test_layer_equals_integer_numpy() -> None:
    torch.manual_seed(3)
    layer = IntegerConv(40, 24, shift=8, low=-LIMIT)
    layer.freeze()
    x = torch.randint(-LIMIT, LIMIT + 1, (2, 40, 3, 5)).float()
    weight = layer.weight[:, :, 0, 0].numpy().astype(np.int64)
    sums = np.einsum("oc,bchw->bohw", weight, x.numpy().astype(np.int64))
    sums += layer.bias.detach().numpy().astype(np.int64)[None, :, None, None]
    expected = np.clip((sums + 128) >> 8, -LIMIT, LIMIT)
    assert np.array_equal(layer(x).detach().numpy().astype(np.int64), expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("mkldnn", [True, False])
def test_same_integers_over_threads_layouts_and_libraries(
    network: HyperSynthesis, threads: int, layout: torch.memory_format, mkldnn: bool
) -> None:
    expected = run(network)
    torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=mkldnn):
        got = run(network, layout=layout)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_same_integers_over_batch_sizes(network: HyperSynthesis) -> None:
    expected = run(network)
    z, quality, context = inputs(8)
    for i in range(8):
        one = slice(i, i + 1)
        got = network(z[one], quality[one], (18, 27), context[one], quality[one])[:2]
        assert all(torch.equal(a[0].int(), b[i]) for a, b in zip(got, expected, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_same_integers_on_a_gpu(network: HyperSynthesis) -> None:
    expected = run(network)
    z, quality, context = (x.cuda() for x in inputs(8))
    got = network.cuda()(z, quality, (18, 27), context, quality)[:2]
    assert all(torch.equal(a.int().cpu(), b) for a, b in zip(got, expected, strict=True))


def test_training_arithmetic_is_the_frozen_arithmetic() -> None:
    """Nothing is lost at export: the trained layer and its integers give the same results."""
    torch.manual_seed(4)
    layer = IntegerConv(30, 30, kernel=3, shift=6)
    x = torch.randint(0, LIMIT + 1, (2, 30, 9, 9)).float()
    trained = layer(x).detach()
    layer.freeze()
    assert torch.equal(trained, layer(x))
    assert torch.equal(layer.weight, layer.weight.round())


def test_gradients_reach_weights_through_the_rounding() -> None:
    layer = IntegerConv(8, 4, shift=8)
    layer(torch.full((1, 8, 2, 2), 50.0)).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0


def test_fan_in_beyond_exact_float32_is_refused() -> None:
    with pytest.raises(ValueError, match="not exact"):
        IntegerConv(MAX_FAN_IN + 1, 4, shift=8)
