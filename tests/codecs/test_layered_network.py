"""The layered network: coarse scales that carry a picture, and integers that are the same."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from dsc._codecs.learned.layered.differentiable import CUT_WEIGHT, LayeredNetwork, layered
from dsc._codecs.learned.layered.spec import SCALES, LayeredSpec, sized_layers
from dsc._coding.integer import set_exact
from dsc.errors import UsageError

RGB = ("rgb",)


def pictures(count: int = 24, side: int = 64) -> Tensor:
    """Smooth blobs with some texture, (N, 3, side, side) in [-0.5, 0.5]."""
    random = torch.Generator().manual_seed(5)
    coarse = torch.rand(count, 3, 3, 3, generator=random) - 0.5
    middle = torch.rand(count, 3, 12, 12, generator=random) - 0.5
    fine = torch.rand(count, 3, side, side, generator=random) - 0.5
    enlarged = [
        torch.nn.functional.interpolate(x, (side, side), mode="bicubic") for x in (coarse, middle)
    ]
    return (enlarged[0] + 0.3 * enlarged[1] + 0.05 * fine).clamp(-0.5, 0.5)


@pytest.fixture(scope="module")
def network() -> LayeredNetwork:
    torch.manual_seed(3)
    made = layered(RGB, "tiny")
    made.initialise({"rgb": pictures()})
    return made.eval()


def errors(network: LayeredNetwork, x: Tensor, kept: int) -> Tensor:
    quality = torch.full((len(x),), 60)
    coded = network.code_layers("rgb", x, quality, torch.full((len(x),), kept))
    return (coded.planes - x).square().mean(dim=(1, 2, 3))


@torch.no_grad()
def test_before_the_first_step_every_scale_brings_every_picture_nearer(
    network: LayeredNetwork,
) -> None:
    x = pictures()[:8]
    found = [errors(network, x, kept) for kept in range(1, SCALES + 1)]
    for coarser, finer in pairwise(found):
        assert (finer < coarser).all()


@torch.no_grad()
def test_coarse_scales_cost_less_than_fine_ones(network: LayeredNetwork) -> None:
    coded = network.code({"rgb": pictures()[:8]}, {}, RGB, {"rgb": torch.full((8,), 60)})
    assert list(coded.rate) == ["rgb.0", "rgb.1", "rgb.2", "rgb.3"]
    means = [float(bits.mean()) for bits in coded.rate.values()]
    assert means[0] < means[1] < means[2]


@torch.no_grad()
def test_a_scale_that_is_missing_leaves_the_bits_of_coarser_ones_as_they_are(
    network: LayeredNetwork,
) -> None:
    x, quality = pictures()[:4], torch.full((4,), 40)
    whole = network.code_layers("rgb", x, quality)
    cut = network.code_layers("rgb", x, quality, torch.full((4,), 2))
    for scale in range(2):
        assert torch.equal(whole.bits[scale], cut.bits[scale])


@torch.no_grad()
def test_a_sample_is_coded_the_same_alone_and_in_a_batch(network: LayeredNetwork) -> None:
    x, quality = pictures()[:3], torch.tensor([5, 50, 99])
    together = network.code_layers("rgb", x, quality)
    for at in range(3):
        alone = network.code_layers("rgb", x[at : at + 1], quality[at : at + 1])
        for ours, theirs in zip(alone.bits, together.bits, strict=True):
            torch.testing.assert_close(ours[0], theirs[at], rtol=1e-3, atol=1)


def test_every_part_learns_something(network: LayeredNetwork) -> None:
    torch.manual_seed(0)
    made = layered(("rgb", "depth"), "tiny").train()
    inputs = {"rgb": pictures(4), "depth": pictures(4)[:, :1]}
    made.initialise(inputs)
    with torch.no_grad():  # what starts at zero hides what is behind it
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    quality = dict.fromkeys(inputs, torch.tensor([10, 40, 70, 100]))
    coded = made.code(inputs, {}, list(inputs), quality)
    loss = sum(bits.mean() for bits in coded.rate.values())
    loss = loss + sum(0.01 * error.mean() for error in coded.distortion.values())
    loss.backward()  # type: ignore[union-attr]
    idle = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in idle if ".gain." not in name], idle


def test_samples_that_are_cut_are_charged_less_and_only_for_what_is_left() -> None:
    torch.manual_seed(0)
    made = layered(RGB, "tiny").train()
    x, quality = pictures(32), torch.full((32,), 60)
    made.initialise({"rgb": x})
    made.prefix_share = 0.0
    whole = made.code({"rgb": x}, {}, RGB, {"rgb": quality})
    assert all((bits > 0).all() for bits in whole.rate.values())
    made.prefix_share = 1.0
    cut = made.code({"rgb": x}, {}, RGB, {"rgb": quality})
    assert not cut.rate["rgb.3"].any()
    lacking = [int((bits == 0).sum()) for bits in cut.rate.values()]
    assert lacking == sorted(lacking)
    assert lacking[0] == 0 < lacking[1]
    ratio = cut.rate["rgb.0"].mean() / whole.rate["rgb.0"].mean()
    assert ratio.item() == pytest.approx(CUT_WEIGHT, rel=0.05)
    made.eval()
    assert made.code({"rgb": x}, {}, RGB, {"rgb": quality}).rate["rgb.3"].any()


@torch.no_grad()
def test_integers_do_not_depend_on_the_precision_of_the_arithmetic(network: LayeredNetwork) -> None:
    quality = torch.tensor([13, 88])
    priors = network.modalities["rgb"].prior
    context = torch.randint(-127, 128, (2, 8, 5, 7)).float()
    state = priors.start(quality, (5, 7))
    single = priors.advance(0, state, context, quality)
    doubled = layered(RGB, "tiny", network.spec_json())
    doubled.load_state_dict(network.state_dict())
    wide = doubled.double().modalities["rgb"].prior
    other = wide.advance(0, wide.start(quality, (5, 7)).double(), context.double(), quality)
    assert torch.equal(single.double(), other)
    set_exact(doubled, False)
    assert not torch.equal(
        single.double(), wide.advance(0, state.double(), context.double(), quality)
    )


def test_sizes_survive_json() -> None:
    spec = sized_layers(("rgb", "depth", "normal"), "fast")
    assert LayeredSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    "change", [{"latents": (8, 8, 8)}, {"latents": (8, 8, 8, 3)}, {"widths": (8,)}]
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, tuple[int, ...]]) -> None:
    spec = sized_layers(RGB, "tiny")
    wrong = replace(spec, modalities={"rgb": replace(spec.modalities["rgb"], **change)})
    with pytest.raises(ValueError, match="rgb"):
        LayeredSpec.from_json(wrong.to_json())
    with pytest.raises(UsageError, match="rbg"):
        sized_layers(("rbg",), "tiny")
