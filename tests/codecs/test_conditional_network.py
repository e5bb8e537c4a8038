"""Conditional networks in training: specs, gradients, starts, arithmetic."""

import json

import pytest
import torch
from torch import Tensor

from dsc._codecs.learned.network.differentiable import estimated_bits
from dsc._codecs.learned.network.layers import SLOPES, guide_channels, guide_planes
from dsc._codecs.learned.network.spec import KINDS, ModelSpec, sized
from dsc._coding.integer import set_exact
from dsc._training.networks import make_network
from dsc.errors import UsageError
from tests.codecs.conditional_cases import (
    MODALITY,
    all_quality,
    network_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_an_unwanted_required_task_gets_no_gradient_but_is_charged(
    planes: dict[str, Tensor],
) -> None:
    network = network_of("chained", planes)
    coded = network.code(planes, {}, ["normal"], all_quality(50, 4))
    assert set(coded.rate) == {"depth", "normal"}
    assert set(coded.planes) == set(coded.distortion) == {"normal"}
    (sum(coded.rate.values()) + coded.distortion["normal"]).sum().backward()
    assert all(p.grad is None for p in network.analysis["depth"].parameters())
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0
        for p in network.synthesis["normal"].parameters()
        if p.requires_grad
    )


@pytest.mark.parametrize("kind", KINDS)
def test_spec_survives_json_and_gives_the_network_back(kind: str) -> None:
    network = make_network(kind, size="tiny")
    spec = json.loads(json.dumps(network.spec_json()))
    again = make_network(kind, spec=spec)
    again.load_state_dict(network.state_dict())
    assert again.spec == network.spec
    assert again.required(["rgb"])[-1] == "rgb"


def test_the_first_versions_spec_means_what_it_meant() -> None:
    old = {key: value for key, value in ModelSpec().to_json().items()
           if key in ("modalities", "shared_latents", "joint_width", "hyper_width",
                      "hyper_latents")}  # fmt: skip
    for sizes in old["modalities"].values():
        del sizes["refine"]
    spec = ModelSpec.from_json(old)
    assert (spec.kind, spec.context_steps, spec.guided) == ("shared-latent", 1, False)


@pytest.mark.parametrize(
    ("chain", "complaint"),
    [({"rgb": ["normal"], "normal": ["rgb"]}, "each other"), ({"rgb": ["edges"]}, "there are not")],
)
def test_an_impossible_chain_is_refused(chain: dict[str, list[str]], complaint: str) -> None:
    spec = sized("chained", list(MODALITY), "tiny").to_json()
    with pytest.raises(ValueError, match=complaint):
        ModelSpec.from_json(spec | {"chain": chain})


@pytest.mark.parametrize("size", ["fast", "base"])
@pytest.mark.parametrize("kind", KINDS)
def test_shipped_sizes_stay_below_eight_megabytes(kind: str, size: str) -> None:
    network = make_network(kind, size=size)
    assert 2 * sum(p.numel() for p in network.parameters()) < 8e6


def test_unknown_sizes_and_modalities_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown size 'huge'"):
        sized("chained", ["rgb"], "huge")
    with pytest.raises(UsageError, match="edges"):
        sized("chained", ["rgb", "edges"], "tiny")


def test_new_parts_start_silent(planes: dict[str, Tensor]) -> None:
    """Steps and deeper blocks change nothing until they are trained."""
    full = sized("shared-latent", list(MODALITY), "tiny").to_json()
    small = json.loads(json.dumps(full)) | {"context_steps": 1}
    for sizes in full["modalities"].values():
        sizes["blocks"] = [2, 2]
    old, new = (make_network("shared-latent", spec=spec) for spec in (small, full))
    torch.manual_seed(1)
    old.initialise(planes)
    new.load_state_dict(old.state_dict(), strict=False)
    quality = all_quality(60, 4)
    with torch.no_grad():
        before, after = (n.eval().code(planes, {}, list(planes), quality) for n in (old, new))
    for name in MODALITY:
        assert torch.equal(before.rate[name], after.rate[name])
        assert torch.allclose(before.planes[name], after.planes[name], atol=1e-5)


def test_refinement_leaves_the_klt_start_as_it_is(planes: dict[str, Tensor]) -> None:
    quality = all_quality(70, 4)
    found = []
    for refine in ([0, 0], [8, 1]):
        spec = sized("independent", list(MODALITY), "tiny").to_json()
        spec["modalities"]["rgb"]["refine"] = refine
        network = make_network("independent", spec=spec)
        network.initialise(planes)
        with torch.no_grad():
            found.append(network.synthesise("rgb", torch.randn(1, 16, 4, 4).fill_(0.3), {}))
            assert network.eval().code(planes, {}, ["rgb"], quality).distortion["rgb"].max() < 1000
    assert torch.allclose(found[0], found[1], atol=1e-5)


def test_guide_planes_hold_the_normal_of_a_tilted_surface() -> None:
    """Half log depth of slope tan(tilt) / 2 f, times 2 f and squashed, is sin(tilt)."""
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    tan = 0.75
    planes = (x * tan / SLOPES[1])[None, None]
    guide = guide_planes(planes)
    assert guide.shape[1] == guide_channels(1)
    across, down = guide[0, 3:5, 1:-1, 1:-1]
    assert torch.allclose(across, torch.full_like(across, 0.6), atol=1e-5)
    assert torch.equal(down, torch.zeros_like(down))
    steep = guide_planes(torch.where(x > 3, 5.0, 0.0)[None, None] + y * 0)
    assert steep[:, 1:].abs().max() <= 1


def test_floating_point_arithmetic_is_a_switch(planes: dict[str, Tensor]) -> None:
    network = network_of("independent", planes)
    quality = all_quality(60, 4)
    exact = estimated_bits(network, planes, quality)
    set_exact(network, False)
    plain = estimated_bits(network, planes, quality)
    set_exact(network, True)
    for name, bits in exact.items():
        assert not torch.equal(plain[name], bits)
        assert abs(float(plain[name].sum() / bits.sum()) - 1) < 0.05
        assert torch.equal(estimated_bits(network, planes, quality)[name], bits)
