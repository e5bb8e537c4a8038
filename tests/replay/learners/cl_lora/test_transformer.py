"""CL-LoRA on a vision transformer: adapters on queries and values, shown pixels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dsc._backbones import registry
from dsc._backbones.timm_models import TimmBackbone
from dsc._replay.experiment.plan import DataConfig, RunConfig, ScenarioConfig
from dsc._replay.experiment.run import RunPlace, run
from dsc._replay.learners.base import Recipe
from dsc._replay.learners.cl_lora.transformer import transformer_trunk
from dsc.errors import UsageError
from tests.replay.class_pictures import make_pictures

NAME, SIDE, WIDTH, BLOCKS = "timm:vit_tiny_patch16_224", 16, 12, 4
CPU = torch.device("cpu")


def small(**changes: Any) -> TimmBackbone:
    """A vision transformer of a few thousand weights, drawn at random."""
    timm = pytest.importorskip("timm")
    options = {
        "img_size": SIDE,
        "patch_size": 4,
        "embed_dim": WIDTH,
        "num_heads": 2,
        "depth": BLOCKS,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_224", pretrained=False, **options | changes)
    model.pretrained_cfg = model.pretrained_cfg | {"input_size": (3, SIDE, SIDE)}
    return TimmBackbone(NAME, model)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("timm")
    monkeypatch.setitem(registry.BACKBONES, NAME, f"{__name__}:small")
    registry.load_backbone.cache_clear()
    yield
    registry.load_backbone.cache_clear()


def test_a_trunk_without_adapters_is_the_transformer() -> None:
    backbone = small()
    trunk = transformer_trunk(backbone, SIDE, CPU)
    pictures = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    prepared = trunk.prepare(pictures)
    tokens = trunk.early(prepared, {})
    found, expected = trunk.late(tokens, {}).float(), backbone.embed(prepared)
    assert float((found - expected).norm() / expected.norm()) < 0.02
    assert trunk.exit(tokens).shape == (3, WIDTH)


def test_queries_and_values_of_each_half_are_adapted_and_keys_are_not() -> None:
    trunk = transformer_trunk(small(), SIDE, CPU)
    for part in (trunk.early, trunk.late):
        assert len(part.sites) == 2 * (BLOCKS // 2)
        changed = part.weights([torch.ones(at.outputs, at.inputs) for at in part.sites])
        frozen = part.weights([torch.zeros(at.outputs, at.inputs) for at in part.sites])
        for name, weight in changed.items():
            moved = (weight != frozen[name]).all(1).reshape(3, WIDTH).all(1)
            assert moved.tolist() == [True, False, True]


def test_a_model_without_such_blocks_is_refused() -> None:
    with pytest.raises(UsageError, match=f"backbone {NAME}: adapters sit on"):
        transformer_trunk(small(depth=1), SIDE, CPU)


def test_a_run_on_a_transformer_learns_from_pixels(registered: None, tmp_path: Path) -> None:
    train = make_pictures(classes=4, per_class=8, side=SIDE)
    config = RunConfig(
        data=DataConfig(place="pictures"),
        scenario=ScenarioConfig(increment=2),
        learner="cl-lora",
        recipe=Recipe(epochs=2, batch=8, backbone=NAME, backbone_side=SIDE, rank=2),
    )
    row = run(config, train, train, RunPlace(tmp_path))
    assert row["last_accuracy"] > 25
