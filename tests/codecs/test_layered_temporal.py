"""What a frame knows of the one before it: motion, closures by scale, nothing in a key frame."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from dsc._codecs.learned.layered.differentiable import CodedLayers, LayeredNetwork, layered
from dsc._codecs.learned.layered.motion import HALF_REACH, find_motion, shift, warp
from dsc._codecs.learned.layered.spec import SCALES, STRIDES
from dsc._codecs.learned.layered.temporal import Past, TemporalModel, lift, project
from dsc._training.models.layered_seq import Footage, train


def texture(side: int = 128, seed: int = 0) -> Tensor:
    """A smooth random picture (1, 3, side, side) in [-0.5, 0.5]."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, side // 4, side // 4, generator=random) - 0.5
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(-0.5, 0.5)


def moving(frames: int = 4, step: int = 3) -> Tensor:
    """A picture that moves to the left by `step` pixels a frame, (T, 3, 64, 96)."""
    wide = texture(160)
    return torch.cat([wide[..., :64, at * step : at * step + 96] for at in range(frames)])


@cache
def still() -> LayeredNetwork:
    torch.manual_seed(3)
    made = layered(("rgb",), "tiny")
    made.initialise({"rgb": torch.cat([texture(64, seed) for seed in range(12)])})
    return made.eval()


def branches(seed: int = 1, scale: float = 0.0) -> TemporalModel:
    torch.manual_seed(seed)
    made = TemporalModel(still().spec)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=scale)
    return made.eval()


@torch.no_grad()
def code(frames: Tensor, model: TemporalModel | None, past: Past | None) -> CodedLayers:
    branch = None if model is None else model.modalities["rgb"]
    quality = torch.full((len(frames),), 60)
    return still().code_layers("rgb", frames, quality, temporal=branch, past=past)


def test_motion_that_is_there_is_found_in_half_pixels() -> None:
    wide = texture(192)
    before, now = wide[..., 32:160, 32:160], wide[..., 37:165, 25:153]
    found = find_motion(before, now)
    assert found.shape == (1, 2, 8, 8)
    inner = found[0, :, 1:-1, 1:-1]
    assert (inner[0] == 10).all()
    assert (inner[1] == -14).all()
    assert found.abs().max() <= HALF_REACH
    halfway = (wide[..., 32:160, 32:160] + wide[..., 32:160, 33:161]) / 2
    assert (find_motion(before, halfway)[0, 1, 1:-1, 1:-1] == 1).all()


def test_a_warp_takes_pixels_from_where_motion_says() -> None:
    wide = texture(192)
    before, now = wide[..., 32:160, 32:160], wide[..., 37:165, 25:153]
    motion = torch.tensor([10, -14], dtype=torch.int32).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    inner = (..., slice(16, -16), slice(16, -16))
    torch.testing.assert_close(warp(before, motion)[inner], now[inner], atol=1e-4, rtol=0)


@pytest.mark.parametrize("stride", STRIDES)
def test_integers_move_by_whole_positions_and_stay_what_they_are(stride: int) -> None:
    size = 128 // stride
    integers = torch.arange(2 * size * size).view(1, 2, size, size).float()
    still_motion = torch.zeros(1, 2, 8, 8, dtype=torch.int32)
    assert torch.equal(shift(integers, still_motion, stride), integers)
    down = still_motion.clone()
    down[:, 0] = 2 * stride  # half pixels
    moved = shift(integers, down, stride)
    assert torch.equal(moved[:, :, :-1], integers[:, :, 1:])
    assert torch.equal(moved[:, :, -1], integers[:, :, -1])


def test_branches_that_have_learned_nothing_change_nothing() -> None:
    frames = moving()
    key = code(frames[:1], None, None)
    past = Past(key.scales, find_motion(frames[:1], frames[1:2]))
    alone, after = code(frames[1:2], None, None), code(frames[1:2], branches(), past)
    for ours, theirs in zip(after.bits, alone.bits, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(after.planes, alone.planes)


def test_a_scale_sees_nothing_finer_of_the_frame_before() -> None:
    frames = moving()
    model = branches(scale=0.05)
    key = code(frames[:1], None, None)
    motion = find_motion(frames[:1], frames[1:2])
    whole = code(frames[1:2], model, Past(key.scales, motion))
    for lost in range(1, SCALES):
        scales = tuple(
            replace(one, context=one.context * 0 + 9, features=one.features * 0 + 9)
            if k >= lost
            else one
            for k, one in enumerate(key.scales)
        )
        other = code(frames[1:2], model, Past(scales, motion))
        for scale in range(lost):
            assert torch.equal(other.bits[scale], whole.bits[scale])
            assert torch.equal(other.scales[scale].features, whole.scales[scale].features)
        assert not torch.equal(other.bits[lost], whole.bits[lost])


@torch.no_grad()
def test_what_is_lifted_is_projected_back() -> None:
    layers, x = still().modalities["rgb"], moving()
    for scale in range(SCALES):
        features = project(layers, scale, x)
        again = project(layers, scale, lift(layers, scale, features))
        torch.testing.assert_close(again, features, atol=2e-3, rtol=1e-3)


def test_branches_learn_and_the_still_network_stays_as_it_is() -> None:
    before = {name: value.clone() for name, value in still().state_dict().items()}
    pixels = ((texture(192) + 0.5) * 255).to(torch.uint8)[0].permute(1, 2, 0).numpy()
    clip = Footage.of([pixels[at : at + 160, 2 * at : 2 * at + 160] for at in range(4)])
    model = train(still(), [clip], steps=12)
    assert all(torch.equal(before[name], value) for name, value in still().state_dict().items())
    fresh = branches().state_dict()
    assert any(not torch.equal(value, fresh[name]) for name, value in model.state_dict().items())
    key = code(clip.planes[:1], None, None)
    past = Past(key.scales, clip.motion[1:2])
    with_past, alone = code(clip.planes[1:2], model, past), code(clip.planes[1:2], None, None)
    assert sum(float(b) for b in with_past.bits) < sum(float(b) for b in alone.bits)
