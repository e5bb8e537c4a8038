"""A backbone of a few hundred weights, registered for a test."""

import pytest
import torch
from torch import nn

from dsc._backbones import registry
from dsc._backbones.base import Layer
from dsc._backbones.staged import StagedBackbone
from dsc._backbones.weights import hash_weights
from dsc._schemas.extractor import EMBEDDING, Preprocessing

TINY, WIDTH, STRIDE = "tiny", 24, 4


def tiny_backbone(seed: int = 0) -> StagedBackbone:
    """Make it with weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stages: dict[str, nn.Module] = {
            "stem": nn.Sequential(nn.Conv2d(3, 8, 5, STRIDE, 2), nn.ReLU()),
            EMBEDDING: nn.Sequential(
                nn.Conv2d(8, WIDTH, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            ),
        }
        middle = nn.Conv2d(8, 8, 1)
        nn.init.dirac_(middle.weight)
    stages = {"stem": stages["stem"], "middle": nn.Sequential(middle, nn.ReLU()), **stages}
    weights = nn.ModuleDict(stages).state_dict()
    scale = Preprocessing(side=16, mean=(127.0,) * 3, std=(64.0,) * 3)
    layers = [Layer("stem", 8, STRIDE), Layer("middle", 8, STRIDE)]
    return StagedBackbone(TINY, hash_weights(weights), scale, stages, layers, WIDTH)


def other_weights() -> StagedBackbone:
    """Make it with other weights."""
    return tiny_backbone(seed=1)


def register(patch: pytest.MonkeyPatch, maker: str = "tiny_backbone") -> None:
    """Let ``tiny`` be this backbone until the test ends."""
    patch.setitem(registry.BACKBONES, TINY, f"{__name__}:{maker}")
    registry.load_backbone.cache_clear()
