"""One bitstream, several decoder paths: what a task's training may change, and what it may not."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._training.research.mpa.batches import Schedule, to_planes
from dsc._training.research.mpa.blocks import PathBlock
from dsc._training.research.mpa.codec import Decoded, MultiPathCodec
from dsc._training.research.mpa.levels import (
    LEVELS,
    LevelGain,
    decoder_fraction,
    encoder_fraction,
    rate_lambda,
)
from dsc._training.research.mpa.losses import (
    AnswerDivergence,
    FeatureDistance,
    Term,
    squared_error,
)
from dsc._training.research.mpa.paths import (
    Mlp,
    gumbel_sigmoid,
    ratio_loss,
    side_path,
    split_by_score,
)
from dsc._training.research.mpa.spec import CodecSpec
from dsc._training.research.mpa.task_networks import IGNORED, TaskNetwork, fit
from dsc._training.research.mpa.training import train_path, train_shared
from dsc.errors import UnknownTaskError, UsageError

SMALL = CodecSpec(
    widths=(16, 32, 48), blocks=(1, 1, 1), latents=32, hyper_width=16, hyper_latents=8
)
MIDDLE = torch.full((4,), 4.0)
ALL = torch.arange(1.0, LEVELS + 1)
SQUARED = [Term(0.01, squared_error)]
FEW = Schedule(steps=30)
KINDS = ("bottleneck", "inverted", "lora-4")


def pictures(count: int = 32, side: int = 32, seed: int = 0) -> Tensor:
    """Smooth pictures with some noise, (N, 3, side, side) uint8."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, side // 8, side // 8, generator=generator)
    smooth = F.interpolate(coarse, size=(side, side), mode="bilinear")
    noisy = smooth + 0.05 * torch.randn(count, 3, side, side, generator=generator)
    return (255 * noisy).clamp(0, 255).byte()


def small_codec(awake: float = 0.1) -> MultiPathCodec:
    """Make a codec whose branches do something, as trained ones do."""
    torch.manual_seed(0)
    codec = MultiPathCodec(SMALL)
    codec.initialise(to_planes(pictures()))
    for module in codec.modules():
        if isinstance(module, PathBlock):
            nn.init.normal_(module.main.project.weight, std=awake)
            nn.init.normal_(module.mixer.weight, std=awake / 5)
    return codec.eval()


@torch.no_grad()
def seen(codec: MultiPathCodec, task: str | None = None, slider: float = LEVELS) -> Tensor:
    """Decode some pictures at level 4."""
    latent = codec.encode(to_planes(pictures(4)), MIDDLE).latent
    where = None if task is None else torch.full_like(MIDDLE, slider)
    return codec.decode(latent, MIDDLE, task, where).planes


def task_network(*, dense: bool = False, classes: int = 3) -> TaskNetwork:
    torch.manual_seed(1)
    network = TaskNetwork(classes, dense=dense, widths=(8, 8, 16, 16))
    planes = to_planes(pictures(16, seed=5))
    network.train()
    network(planes)  # its batch statistics are no longer those it was made with
    return network


def red_or_not() -> tuple[Tensor, Tensor]:
    """Return pictures (32, 3, 32, 32), and which of them are not bright red, (32,)."""
    red = pictures(32)
    red[::2, 0] = 255
    return red, torch.arange(32).remainder(2)


def test_fractions_are_those_of_the_paper() -> None:
    assert encoder_fraction(ALL)[[0, -1]].tolist() == [0, 1]
    assert decoder_fraction(ALL)[[0, -1]].tolist() == [1, 0]
    assert (encoder_fraction(ALL).diff() > 0).all()
    assert (decoder_fraction(ALL).diff() < 0).all()
    assert encoder_fraction(torch.tensor(4.5)).item() == pytest.approx((5**0.5 - 1) / 4)
    assert decoder_fraction(torch.tensor(4.5)).item() == pytest.approx(0.5)


def test_gains_between_two_levels_are_their_geometric_mean() -> None:
    gain = LevelGain(3, [2.0**k for k in range(LEVELS)])
    assert torch.allclose(gain(torch.tensor([1.0, 2.5, 8.0]))[:, 0], torch.tensor([1, 2**1.5, 128]))
    assert (gain(torch.linspace(1, 8, 50)).diff(dim=0) > 0).all()


def test_exactly_so_many_of_the_best_positions_go_the_main_way() -> None:
    scores = torch.randn(11, 6, 5, generator=torch.Generator().manual_seed(2))
    scores[0] = 0  # all alike
    fraction = torch.linspace(0, 1, 11)
    mask = split_by_score(scores, fraction)
    assert mask.sum(dim=(1, 2)).tolist() == (fraction * 30).round().tolist()
    for one, sent in zip(scores[1:-1], mask[1:-1], strict=True):
        assert one[sent].min() > one[~sent].max()


def test_more_on_the_main_way_are_the_same_and_more() -> None:
    scores = torch.randint(4, (1, 8, 8), generator=torch.Generator().manual_seed(3)).float()
    masks = [split_by_score(scores, torch.tensor([part])) for part in (0, 0.2, 0.5, 0.51, 1)]
    for fewer, more in pairwise(masks):
        assert (fewer <= more).all()


def test_gumbel_sigmoid_draws_zeros_and_ones_with_gradients_of_the_probability() -> None:
    torch.manual_seed(0)
    logits = torch.full((20_000,), 0.8, requires_grad=True)
    drawn = gumbel_sigmoid(logits)
    assert set(drawn.detach().unique().tolist()) == {0, 1}
    assert drawn.mean().item() == pytest.approx(torch.sigmoid(torch.tensor(0.8)).item(), abs=0.02)
    drawn.sum().backward()
    assert logits.grad is not None
    assert (logits.grad > 0).all()


def test_the_ratio_loss_is_what_masks_miss_their_fraction_by() -> None:
    half = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[None, ..., None]
    assert ratio_loss([half, half], torch.tensor([0.5])).item() == 0
    assert ratio_loss([half, half], torch.tensor([0.7])).item() == pytest.approx(0.04)


@pytest.mark.parametrize("kind", ["inverted", "lora-4"])
def test_a_new_path_is_the_main_path_bit_for_bit(kind: str) -> None:
    codec = small_codec()
    codec.add_task("task", kind)
    for slider in (1, 4, 8):
        assert torch.equal(seen(codec, "task", slider), seen(codec))


def test_a_new_bottleneck_is_nearer_to_the_main_path_than_no_perceptron_is() -> None:
    torch.manual_seed(0)
    main = Mlp(32, 64)
    x = torch.randn(4, 8, 8, 32)
    missed = (side_path("bottleneck", main).along(x, main) - main(x)).square().mean()
    assert missed < main(x).square().mean()


@pytest.mark.parametrize("kind", KINDS)
def test_the_sliders_ends_are_pure_paths(kind: str) -> None:
    codec = small_codec()
    codec.add_task("task", kind)
    people = seen(codec)
    with torch.no_grad():
        for parameter in codec.task_parameters("task"):
            parameter.add_(0.3 * torch.randn_like(parameter))
    assert torch.equal(seen(codec, "task", slider=1), people)
    machine = seen(codec, "task", slider=8)
    assert not torch.equal(machine, people)
    far = [(seen(codec, "task", slider) - machine).square().mean().item() for slider in (1, 3, 6)]
    assert far == sorted(far, reverse=True)


def test_at_the_sliders_end_the_main_perceptrons_are_not_used() -> None:
    codec = small_codec()
    codec.add_task("task", "bottleneck")
    before = seen(codec, "task", slider=8)
    with torch.no_grad():
        for stage in codec.synthesis.path_stages():
            for block in stage.blocks:
                block.main.project.weight.add_(1.0)  # type: ignore[union-attr, operator]
    assert torch.equal(seen(codec, "task", slider=8), before)
    assert not torch.equal(seen(codec, "task", slider=7), before)


def test_the_encoders_low_levels_take_its_side_path() -> None:
    codec = small_codec()
    planes = to_planes(pictures(1)).expand(LEVELS, -1, -1, -1)
    masks = codec.encode(planes, ALL).masks
    assert len(masks) == 2
    for mask in masks:
        count = mask.sum(dim=(1, 2, 3))
        assert count.tolist() == (encoder_fraction(ALL) * mask[0].numel()).round().tolist()


def test_bits_and_fidelity_rise_with_the_level_between_whole_ones_too() -> None:
    codec = small_codec(awake=0.0)
    planes = to_planes(pictures(1, side=64)).expand(15, -1, -1, -1)
    level = torch.linspace(1, 8, 15)
    with torch.no_grad():
        encoded = codec.encode(planes, level)
        error = squared_error(codec.decode(encoded.latent, level).planes, planes)
    assert (encoded.rate_bpp.diff() > 0).all()
    assert (error.diff() < 0).all()
    assert (rate_lambda(level).diff() > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_training_a_path_changes_that_path_alone(kind: str) -> None:
    codec = small_codec()
    codec.add_task("other", "bottleneck")
    codec.add_task("task", kind)
    planes = to_planes(pictures(LEVELS))
    digest, encoded = codec.digest(but="task"), codec.encode(planes, ALL)
    people, other, machine = (seen(codec, name) for name in (None, "other", "task"))
    own = [parameter.clone() for parameter in codec.task_parameters("task")]

    codec.train()  # a caller's own mode does not leak into the frozen parts
    train_path(codec, "task", pictures(), SQUARED, Schedule(steps=12, batch=16))

    again = codec.encode(planes, ALL)
    assert torch.equal(encoded.symbols, again.symbols)
    assert torch.equal(encoded.hyper, again.hyper)
    assert torch.equal(encoded.rate_bpp, again.rate_bpp)
    assert codec.digest(but="task") == digest
    assert torch.equal(seen(codec), people)
    assert torch.equal(seen(codec, "other"), other)
    assert not torch.equal(seen(codec, "task"), machine)
    moved = [not torch.equal(a, b) for a, b in zip(own, codec.task_parameters("task"), strict=True)]
    assert all(moved), "a part of the path learned nothing"


def test_gradients_and_training_mode_reach_one_path_alone() -> None:
    codec = small_codec().train()
    for task in ("other", "task"):
        codec.add_task(task, "bottleneck")
    own = {id(parameter) for parameter in codec.task_parameters("task")}
    apart = {id(module) for root in codec.task_modules("task") for module in root.modules()}
    asked = 0

    def spy(decoded: Tensor, original: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        for module in codec.modules():
            assert module.training == (id(module) in apart), type(module)
        return squared_error(decoded, original)

    train_path(codec, "task", pictures(), [Term(0.01, spy)], Schedule(steps=2))
    assert asked == 2
    for name, parameter in codec.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in own), name
        assert parameter.requires_grad


def test_a_digest_sees_a_change_of_anything_shared() -> None:
    codec = small_codec()
    codec.add_task("task", "bottleneck")
    before = codec.digest(but="task")
    for parameter in codec.shared_parameters():
        with torch.no_grad():
            parameter.view(-1)[0] += 1
        assert codec.digest(but="task") != before
        with torch.no_grad():
            parameter.view(-1)[0] -= 1


def test_a_task_network_stays_frozen_while_a_path_learns_from_it() -> None:
    codec, network = small_codec(), task_network()
    codec.add_task("cls", "bottleneck")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    terms = [Term(1.0, AnswerDivergence(network)), Term(1.0, FeatureDistance(network))]
    train_path(codec, "cls", pictures(), terms, Schedule(steps=3))
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in network.parameters())


@torch.no_grad()
def mean_of(
    measure: Callable[[Tensor, Tensor], Tensor], codec: MultiPathCodec, task: str | None
) -> float:
    """Measure decoded pictures that no path was trained on, at all levels."""
    planes = to_planes(pictures(LEVELS * 4, seed=9))
    level = ALL.repeat(4)
    decoded: Decoded = codec.decode(codec.encode(planes, level).latent, level, task)
    return measure(decoded.planes, planes).mean().item()


class Hue(nn.Module):
    """Answers which colour is the strongest, on the average of `cell`-sided squares."""

    def __init__(self, cell: int) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, planes: Tensor) -> Tensor:
        return 40 * F.avg_pool2d(planes, self.cell).squeeze(-1).squeeze(-1)


@pytest.mark.parametrize("cell", [4, 8])
def test_a_path_gets_better_at_what_it_was_trained_for(cell: int) -> None:
    answers = AnswerDivergence(Hue(cell))
    codec = small_codec()
    how = Schedule(steps=60, batch=8, lr=1e-2)
    for task, terms in (("mse", SQUARED), ("machine", [Term(1.0, answers)])):
        codec.add_task(task, "inverted")
        train_path(codec, task, pictures(64), terms, how)
    for measure, best in ((squared_error, "mse"), (answers, "machine")):
        found = {task: mean_of(measure, codec, task) for task in (None, "mse", "machine")}
        assert min(found, key=lambda task: found[task]) == best, found


@torch.no_grad()
def cost_of(codec: MultiPathCodec) -> float:
    """Return rate + λ · 255² · MSE of pictures that nothing was trained on."""
    planes = to_planes(pictures(LEVELS * 4, seed=9))
    level = ALL.repeat(4)
    encoded = codec.encode(planes, level)
    error = squared_error(codec.decode(encoded.latent, level).planes, planes)
    return (encoded.rate_bpp + rate_lambda(level) * error).mean().item()


def test_the_first_stage_learns_and_repeats_itself() -> None:
    def trained() -> MultiPathCodec:
        codec = small_codec()
        state = torch.get_rng_state()
        train_shared(codec, pictures(), [Term(1.0, squared_error)], Schedule(steps=25))
        assert torch.equal(torch.get_rng_state(), state)
        return codec

    before, codec = small_codec(), trained()
    assert cost_of(codec) < cost_of(before)
    assert trained().digest() == codec.digest()
    assert not codec.training


def test_a_task_takes_at_most_two_percent_of_the_parameters_in_the_default_size() -> None:
    codec = MultiPathCodec()
    for kind in KINDS:
        codec.add_task(kind, kind)
    assert codec.task_share("bottleneck") <= 0.02
    assert codec.task_share("lora-4") <= 0.02
    assert 0.02 < codec.task_share("inverted") <= 0.07  # the paper's: 0.07
    counted = [len(codec.task_parameters(kind)) for kind in KINDS]
    assert len(list(codec.parameters())) == len(codec.shared_parameters()) + sum(counted)


def test_task_networks_learn_and_labels_that_do_not_count_do_not() -> None:
    red, labels = red_or_not()
    network = task_network(classes=2)
    fit(network, red, labels, FEW)
    assert (network(to_planes(red)).argmax(1) == labels).float().mean() > 0.9
    dense = task_network(dense=True, classes=2)
    maps = labels[:, None, None].repeat(1, 32, 32)
    maps[:, :4] = IGNORED
    fit(dense, red, maps, FEW)
    assert (dense(to_planes(red)).argmax(1) == labels[:, None, None]).float().mean() > 0.9


def test_bad_input_is_refused_and_named() -> None:
    codec = small_codec()
    codec.add_task("cls", "bottleneck")
    planes = to_planes(pictures(4))
    for level in (0.9, 8.1, float("nan")):
        with pytest.raises(UsageError, match=rf"level {level:g}: it lies in 1 to 8"):
            codec.encode(planes, torch.tensor([1.0, 2.0, level, 8.0]))
    with pytest.raises(UsageError, match="32x24 pixels: sides are multiples of 16"):
        codec.encode(planes[..., :24], MIDDLE)
    latent = codec.encode(planes, MIDDLE).latent
    with pytest.raises(UsageError, match="slider 0"):
        codec.decode(latent, MIDDLE, "cls", torch.zeros(4))
    with pytest.raises(UnknownTaskError, match="no path for 'seg'; there are: cls"):
        codec.decode(latent, MIDDLE, "seg")
    with pytest.raises(UsageError, match="'cls': there is a bottleneck path"):
        codec.add_task("cls", "inverted")
    for kind in ("wide", "lora-0", "lora-"):
        with pytest.raises(UsageError, match="bottleneck, inverted, or lora-RANK"):
            codec.add_task("seg", kind)
    with pytest.raises(UsageError, match="200 latents: at most 192"):
        CodecSpec(latents=200)
