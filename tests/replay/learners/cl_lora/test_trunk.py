"""Trunks: without adapters they are the backbone, and adapters change each their own rows."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dsc._backbones.registry import load_backbone
from dsc._replay.learners.batches import generator
from dsc._replay.learners.cl_lora.convolutional import parting_layers
from dsc._replay.learners.cl_lora.low_rank import LowRankAdapters, site
from dsc._replay.learners.cl_lora.trunk import AdaptedPart, Trunk
from dsc._replay.learners.cl_lora.trunks import make_trunk, shown_layer
from dsc.errors import UsageError
from tests.replay.tiny_backbone import TINY, register

CPU = torch.device("cpu")
CLOSE = 0.04  # bfloat16 has 8 bits


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    register(monkeypatch)
    yield
    load_backbone.cache_clear()


def unchanged(trunk: Trunk, rows: np.ndarray) -> torch.Tensor:
    """Embeddings (N, D) by the frozen weights."""
    return trunk.late(trunk.early(trunk.prepare(rows), {}), {}).float()


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", [TINY, "efficientnet-lite0"])
def test_a_trunk_without_adapters_is_the_backbone(name: str, tiny: None) -> None:
    backbone = load_backbone(name)
    pictures = torch.randn(2, 3, 64, 64, generator=generator(0))
    layer = shown_layer(name)
    assert layer is not None
    maps = backbone.features(pictures, layer).numpy().astype(np.float16)
    trunk = make_trunk(name, 64, CPU)
    assert relative_error(unchanged(trunk, maps), backbone.embed(pictures)) < CLOSE
    new = LowRankAdapters(trunk.early.sites, 2, generator(1), trains_down=False)
    early = trunk.early(trunk.prepare(maps), trunk.early.weights(new.changes()))
    assert torch.equal(early, trunk.early(trunk.prepare(maps), {}))
    assert trunk.exit(early).shape == (2, early.shape[1])


def test_efficientnet_is_adapted_at_every_1x1_convolution_behind_block4() -> None:
    trunk = make_trunk("efficientnet-lite0", 128, CPU)
    assert parting_layers(load_backbone("efficientnet-lite0")) == ("block4", "block11")
    assert len(trunk.early.sites) == 2 * 7  # blocks 5 to 11
    assert len(trunk.late.sites) == 2 * 4 + 1  # blocks 12 to 15, and the head
    assert trunk.late.sites[-1].outputs == 1280


def test_changes_are_added_to_the_rows_of_their_site() -> None:
    linear = torch.nn.Linear(3, 6, bias=False)
    sites = [site("weight", linear.weight, 0, 2), site("weight", linear.weight, 4, 2)]
    part = AdaptedPart(linear, sites, CPU)
    changes = [torch.full((2, 3), 8.0), torch.full((2, 3), -16.0)]
    changed = part.weights(changes)["weight"].float()
    expected = linear.weight.detach().clone()
    expected[:2] += 8
    expected[4:] -= 16
    assert torch.allclose(changed, expected, rtol=CLOSE)
    part(torch.ones(1, 3), part.weights(changes))
    assert not part(torch.zeros(1, 3), {}).any()
    assert linear.weight.dtype == torch.float32  # the module that it was made of stays as it was


def test_a_backbone_that_cannot_be_parted_is_refused(
    monkeypatch: pytest.MonkeyPatch, tiny: None
) -> None:
    backbone = load_backbone(TINY)
    monkeypatch.setattr(backbone, "layers", backbone.layers[:1])
    with pytest.raises(UsageError, match=r"backbone tiny has 1 layers: .* take efficientnet-lite0"):
        make_trunk(TINY, 16, CPU)
