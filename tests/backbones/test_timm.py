"""Models of timm are backbones, with weights of their own or from a file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dsc._backbones.base import Backbone
from dsc._backbones.extract import extract, make_extractor
from dsc._backbones.pictures import prepare
from dsc._backbones.registry import load_backbone
from dsc._backbones.timm_models import WEIGHTS
from dsc._schemas import EMBEDDING
from dsc.errors import MissingPackageError, UsageError


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with weights, drawn at random, of two models."""
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    for name in ("resnet18", "vit_tiny_patch16_224"):
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False)
        save_file(model.state_dict(), tmp_path / f"{name}.safetensors")
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    load_backbone.cache_clear()
    return tmp_path


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (80, 96, 3), np.uint8)


def test_a_convolutional_model_gives_embeddings_and_layers(weights: Path) -> None:
    found = load_backbone("timm:resnet18")
    assert isinstance(found, Backbone)
    assert [layer.name for layer in found.layers] == [
        "act1",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
    ]
    assert found.preprocessing.mean == pytest.approx((123.675, 116.28, 103.53))
    vector = extract(make_extractor("timm:resnet18", "rgb", side=64), picture())
    assert vector.shape == (found.embedding_size,) == (512,)
    maps = extract(make_extractor("timm:resnet18", "rgb", "layer3", "own"), picture())
    assert maps.shape == (256, 96 // 16, 96 // 16)
    assert found.tail(EMBEDDING, "logits")(torch.from_numpy(vector)[None]).shape == (1, 1000)
    prepared = prepare(
        [picture()], make_extractor("timm:resnet18", "rgb", side=64).preprocessing, 32
    )
    assert torch.equal(found.tail("input", EMBEDDING)(prepared)[0], torch.from_numpy(vector))
    with pytest.raises(UsageError, match="to embedding, or on to logits only, not from layer3"):
        found.tail("layer3", "logits")
    with pytest.raises(UsageError, match="no feature maps 'top'; it has act1"):
        found.features(torch.zeros(1, 3, 64, 64), "top")


def test_a_transformer_takes_pictures_of_its_size_alone(weights: Path) -> None:
    name = "timm:vit_tiny_patch16_224"
    assert extract(make_extractor(name, "rgb"), picture()).shape == (192,)
    assert extract(make_extractor(name, "rgb", "blocks.5"), picture()).shape == (192, 14, 14)
    with pytest.raises(UsageError, match="224 x 224 alone, not 96 x 80; leave --side out"):
        extract(make_extractor(name, "rgb", side="own"), picture())


def test_weights_are_known_by_their_values_not_by_their_file(weights: Path) -> None:
    before = load_backbone("timm:resnet18").weights_sha256
    state = torch.nn.Module.state_dict(load_backbone("timm:resnet18").model)  # type: ignore[attr-defined]
    (weights / "resnet18.safetensors").unlink()
    torch.save(state, weights / "resnet18.pth")
    load_backbone.cache_clear()
    assert load_backbone("timm:resnet18").weights_sha256 == before
    torch.save(state | {"fc.bias": state["fc.bias"] + 1}, weights / "resnet18.pth")
    load_backbone.cache_clear()
    assert load_backbone("timm:resnet18").weights_sha256 != before


@pytest.mark.parametrize("name", ["resnet1800", "hf_hub:some/one", "../resnet18", "/x/resnet18"])
def test_names_that_are_no_models_are_refused(weights: Path, name: str) -> None:
    with pytest.raises(UsageError, match="has no model"):
        load_backbone(f"timm:{name}")


def test_weights_that_cannot_be_had_say_where_to_put_them(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (weights / "resnet18.safetensors").write_bytes(b"no weights")
    with pytest.raises(UsageError, match=r"put them into a directory as resnet18\.safetensors"):
        load_backbone("timm:resnet18")


def test_without_timm_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    load_backbone.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'dsc\[timm\]'"):
        load_backbone("timm:resnet18")
