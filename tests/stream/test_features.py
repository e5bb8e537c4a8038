"""Features for heads: what of an archive is streamed, and in which dtype."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import dsc
from dsc._backbones.registry import load_backbone, tail_of
from dsc._schemas import Extractor, Task
from dsc._sources import registry
from dsc._sources.base import SourceSample
from dsc.errors import UsageError
from tests.everything import same

N = 12


class Extracted:
    """Pictures, what a backbone computed of them, and a class."""

    name = "extracted"

    def __init__(self, extractor: Extractor) -> None:
        self.tasks = (
            Task(name="rgb", kind="image", dtype="uint8", channels=3),
            Task(
                name="block10", kind="feature", dtype="float16", channels=112, shape=(112, 3, 4),
                extractor=extractor,
            ),
            Task(name="scene", kind="class", dtype="int64", channels=0),
        )  # fmt: skip

    def __len__(self) -> int:
        return N

    def key(self, index: int) -> str:
        return f"sample_{index}"

    def read(self, index, tasks):
        rng = np.random.default_rng(index)
        made = {
            "rgb": rng.integers(0, 256, (48, 64, 3), np.uint8),
            "block10": rng.normal(size=(112, 3, 4)).astype(np.float16),
            "scene": np.array(index % 3),
        }
        found = {name: value for name, value in made.items() if name in tasks}
        return SourceSample(self.key(index), found, dict.fromkeys(found, 10))

    def describe(self):
        return {"name": self.name, "root": None, "options": {}, "fingerprint": "1"}


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    backbone = load_backbone("efficientnet-lite0")
    return Extractor(
        backbone=backbone.name,
        weights_sha256=backbone.weights_sha256,
        layer="block10",
        of="rgb",
        preprocessing=backbone.preprocessing,
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, extractor: Extractor) -> Path:
    out = tmp_path_factory.mktemp("extracted") / "archive"
    dsc.compress(Extracted(extractor), out, codec="rgb=png", shard_size=5, pack=2)
    return out


@pytest.mark.parametrize("workers", [0, 1])
def test_features_come_in_float32_and_without_their_pictures(url: Path, workers: int) -> None:
    stream = dsc.stream(url, batch_size=N, decode="features", workers=workers)
    batch = next(iter(stream))
    assert set(batch) == {"block10", "scene", "__index__"}
    assert (batch["block10"].shape, batch["block10"].dtype) == ((N, 112, 3, 4), torch.float32)
    half = next(iter(dsc.stream(url, "block10", N)))["block10"]
    assert half.dtype == torch.float16
    assert torch.equal(half.float(), batch["block10"])


def test_features_go_to_a_device(url: Path) -> None:
    batch = next(iter(dsc.stream(url, batch_size=4, decode="features", device="cpu")))
    assert (batch["block10"].shape, batch["block10"].dtype) == ((4, 112, 3, 4), torch.float32)


def test_pictures_that_are_named_come_too(url: Path) -> None:
    batch = next(iter(dsc.stream(url, "rgb,block10", 4, decode="features")))
    assert batch["rgb"].dtype == torch.uint8


def test_not_one_byte_of_the_pictures_is_read(url: Path, tmp_path: Path) -> None:
    without = shutil.copytree(url, tmp_path / "archive")
    shutil.rmtree(without / "rgb")
    assert len(list(dsc.stream(without, batch_size=4, decode="features"))) == N // 4


def test_transforms_and_numpy_get_float32(url: Path) -> None:
    seen = []

    def noted(sample):
        seen.append(sample["block10"].dtype)
        return sample

    batch = next(iter(dsc.stream(url, batch_size=4, decode="features", output="numpy",
                                 transform=noted)))  # fmt: skip
    assert batch["block10"].dtype == np.float32 == seen[0]


def test_features_of_several_sizes_are_a_list(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.SOURCES, "everything", "tests.everything:EverythingSource")
        dsc.compress("everything", tmp_path / "a", n=6, codec="png,block=plain,sized=plain")
    batch = next(iter(dsc.stream(tmp_path / "a", "block,sized", 6, decode="features")))
    assert batch["block"].dtype == torch.float32
    for index, one in enumerate(batch["sized"]):
        assert one.dtype == torch.float32
        assert same("sized", one.numpy(), index)


def test_what_has_no_features_is_refused(url: Path) -> None:
    with pytest.raises(UsageError, match=r"rgb, scene are no feature maps.*append --features"):
        dsc.stream(url, "rgb,scene", 4, decode="features")
    with pytest.raises(UsageError, match=r"native=True goes with decode='pixels'"):
        dsc.stream(url, batch_size=4, decode="features", native=True)


def test_the_tail_gives_the_answer_and_gradients(url: Path) -> None:
    task = next(task for task in dsc.open(url).tasks if task.name == "block10")
    tail = tail_of(task)
    features = next(iter(dsc.stream(url, batch_size=4, decode="features")))["block10"]
    features.requires_grad_()
    assert tail(features).shape == (4, 1000)
    tail(features).sum().backward()
    assert features.grad is not None
    assert tail_of(task, "block15")(features).shape == (4, 320, 2, 2)


def test_a_tail_of_other_weights_is_refused(extractor: Extractor) -> None:
    task = Extracted(extractor.model_copy(update={"weights_sha256": "0" * 64})).tasks[1]
    with pytest.raises(UsageError, match="its weights here have the hash"):
        tail_of(task)
    with pytest.raises(UsageError, match="does not say what network"):
        tail_of(task.model_copy(update={"extractor": None}))
