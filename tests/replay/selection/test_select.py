"""`select_codec`: what it packs, what it holds out, what it refuses, and that it can be trusted."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.kept import ExemplarCodec
from dsc._replay.learners.base import Recipe
from dsc._replay.learners.views.frozen import FrozenView
from dsc._replay.scenario.images import LabelledImages
from dsc._replay.selection import judge as judging
from dsc._replay.selection import select_codec
from dsc._replay.selection.candidates import (
    DEFAULT_CANDIDATES,
    EMBEDDING_CANDIDATES,
    PackedExemplars,
    pack,
)
from dsc._replay.selection.proxies import drift_score
from dsc.errors import UnknownCodecError, UsageError
from tests.replay.class_pictures import make_pictures
from tests.replay.tiny_backbone import TINY, WIDTH, register

PICTURES = make_pictures(classes=3, per_class=20, side=12)
QUICK = Recipe(network="resnet8-early", steps=6, batch=8, lr=0.05)
THREE = ("png", "webp:60", "jpeg-bare:10")


def select(**changes: Any) -> Any:
    options: dict[str, Any] = {
        "candidates": THREE, "recipe": QUICK, "rounds": 2, "proxy": "probe",
    } | changes  # fmt: skip
    images, labels = options.pop("images", PICTURES.images), options.pop("labels", PICTURES.labels)
    return select_codec(images, labels, options.pop("budget", "6kB"), **options)


@pytest.mark.parametrize("name", THREE)
def test_packed_exemplars_know_their_originals(name: str) -> None:
    codec, _, quality = name.partition(":")
    packed = pack(ExemplarCodec(codec, int(quality or 50)), PICTURES, 5_000, False, 1.0, seed=3)
    originals = PICTURES.images[packed.rows]
    assert len(set(packed.rows.tolist())) == len(packed) > 3
    assert (packed.targets == PICTURES.labels[packed.rows]).all()
    error = np.abs(originals.astype(int) - packed.images).mean(axis=(1, 2, 3))
    others = np.abs(np.roll(originals, 1, axis=0).astype(int) - packed.images).mean(axis=(1, 2, 3))
    assert (error == 0).all() if codec == "png" else (error < others).mean() > 0.9


def test_a_class_gets_the_bytes_that_the_whole_scenario_leaves_it(tmp_path: Path) -> None:
    found = select(budget=12_000, classes=6, proxy="drift")
    assert (found.classes, found.first_classes, found.first_budget) == (6, 3, 6_000)
    kept = judging.folds(PICTURES, 0) != 0
    for row in found.rows:
        with ReplayBuffer(
            tmp_path / f"{row.candidate.codec}.h5", 6_000, row.candidate.codec,
            quality=row.candidate.quality, policy="class-balanced",
        ) as buffer:  # fmt: skip
            buffer.add(PICTURES.images[kept], PICTURES.labels[kept])
            assert (row.exemplars, row.nbytes) == (len(buffer), buffer.nbytes)
        assert 0 < row.nbytes <= 6_000


def test_the_probe_tests_on_images_that_no_network_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[set[bytes]] = []
    held: list[set[bytes]] = []
    train, test = judging.trained, judging.tried

    def trained(exemplars: PackedExemplars, *rest: Any) -> Any:
        shown.append({image.tobytes() for image in exemplars.images})
        return train(exemplars, *rest)

    def tried(at: int, number: int, learner: Any, images: LabelledImages) -> Any:
        held.append({image.tobytes() for image in images.images})
        return test(at, number, learner, images)

    monkeypatch.setattr(judging, "trained", trained)
    monkeypatch.setattr(judging, "tried", tried)
    select(candidates=("png", "raw"), rounds=3, budget="40kB", seed=4)
    assert len(held) == 6
    assert len(shown) == 7  # and the network on the originals, which gives features alone
    assert shown[0].isdisjoint(held[0])
    assert all(seen.isdisjoint(out) for seen, out in zip(shown[1:], held, strict=True))
    assert len(set(map(frozenset, held))) == 3  # another fold each round
    assert all(len(out) == 12 for out in held)  # one image in five of each class


def test_the_probe_picks_what_teaches_and_not_what_is_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def packing(candidate: ExemplarCodec, data: LabelledImages, *rest: Any) -> PackedExemplars:
        packed = pack(candidate, data, *rest)
        if candidate.codec != "jpeg-bare":
            return packed
        noise = np.random.default_rng(0).integers(0, 255, packed.images.shape)
        return replace(packed, images=noise.astype(np.uint8))

    monkeypatch.setattr(judging, "pack", packing)
    recipe = Recipe(network="resnet8-early", steps=60, batch=16, lr=0.05)
    found = select(
        recipe=recipe, candidates=("webp:60", "jpeg-bare:10"), proxy=("probe", "drift"),
        budget="3kB",
    )  # fmt: skip
    webp, jpeg = found.rows
    assert jpeg.exemplars > webp.exemplars
    assert str(found.pick) == "webp:60"
    assert webp.ranks["probe"] == 1
    assert webp.accuracy > jpeg.accuracy + 20
    assert jpeg.drift > 0.1 > webp.drift


def test_equal_arguments_give_equal_selections() -> None:
    first, again, other = (select(seed=seed, proxy=("probe", "volume")) for seed in (1, 1, 2))
    assert first.rows == again.rows
    assert first.pick == again.pick
    assert first.rows != other.rows


def test_the_first_proxy_picks_and_each_says_its_cost() -> None:
    told: list[tuple[int, int]] = []
    found = select(
        proxy=("volume", "probe", "drift"), report=lambda done, total: told.append((done, total))
    )
    assert found.pick == found.picks["volume"]
    assert set(found.picks) == set(found.costs) == {"volume", "probe", "drift"}
    networks = 1 + 3 + 2  # the originals; all candidates; the best two
    assert told[-1] == (networks, networks)
    images = QUICK.steps * QUICK.batch
    assert found.costs["drift"].trained == found.costs["volume"].trained == images
    assert found.costs["probe"].trained == found.total.trained == networks * images
    assert found.total.wall_s > found.costs["drift"].wall_s > 0
    for row in found.rows:
        assert set(row.scores) == set(row.ranks) == set(found.picks)
    for name, pick in found.picks.items():
        best = max(found.rows, key=lambda row: row.scores[name])
        assert (best.candidate, best.ranks[name]) == (pick, 1)


def test_without_the_probe_one_network_is_trained() -> None:
    found = select(proxy="drift")
    assert found.total.trained == QUICK.steps * QUICK.batch
    assert all(row.accuracy is None and row.volume_ratio is None for row in found.rows)


def test_a_candidate_without_one_exemplar_a_class_is_shown_and_not_picked() -> None:
    found = select(budget=900, proxy=("drift", "probe"), candidates=("raw", "jpeg-bare:10"))
    raw, jpeg = found.rows
    assert not raw.fits
    assert raw.scores == raw.ranks == {}
    assert jpeg.fits
    assert str(found.pick) == "jpeg-bare:10"


def test_the_weights_of_a_codec_can_count(tmp_path: Path) -> None:
    codec = ExemplarCodec("independent", 20)
    with ReplayBuffer(tmp_path / "empty.h5", "1GB", codec.codec) as empty:
        weights = empty.nbytes_with_decoder - empty.nbytes
    assert weights > 1000
    whole = pack(codec, PICTURES, weights, False, 0.5, seed=0)
    assert len(whole) == len(PICTURES)
    assert whole.nbytes > 1_000
    assert 0 < pack(codec, PICTURES, weights + 2_000, True, 0.5, seed=0).nbytes <= 1_000
    assert not pack(codec, PICTURES, weights, True, 0.5, seed=0).fits


def test_labels_may_be_any_integers() -> None:
    plain, strange = select(proxy="drift"), select(proxy="drift", labels=PICTURES.labels * 7 - 3)
    assert plain.rows == strange.rows


def test_the_default_candidates_are_known_codecs() -> None:
    found = select(candidates=DEFAULT_CANDIDATES, proxy="drift")
    assert [str(row.candidate) for row in found.rows] == list(DEFAULT_CANDIDATES)


ON_FEATURES = QUICK.model_copy(update={"backbone": TINY, "backbone_side": 16, "steps": 60})


def test_embeddings_and_mixtures_are_judged_on_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    candidates = ("webp-bare:5", "embedding:30", "embedding:90", "embedding:90+50%webp-bare:5")
    found = select(
        recipe=ON_FEATURES, candidates=candidates, proxy=("probe", "drift", "volume"),
        budget="1kB", features=tmp_path,
    )  # fmt: skip
    small, coarse, fine, mixed = found.rows
    assert [str(row.candidate) for row in found.rows] == list(candidates)
    assert small.exemplars < mixed.exemplars < fine.exemplars < coarse.exemplars
    assert 0 < fine.drift < coarse.drift < 0.5
    assert fine.drift < mixed.drift
    assert all(row.nbytes <= 1_000 and row.accuracy > 0 for row in found.rows)
    assert list(tmp_path.iterdir())  # and another selection computes no features again
    again = select(
        recipe=ON_FEATURES, candidates=candidates, proxy=("probe", "drift", "volume"),
        budget="1kB", features=tmp_path,
    )  # fmt: skip
    assert again.rows == found.rows


def test_packed_embeddings_are_those_of_their_originals(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    with TemporaryDirectory() as folder:
        view = FrozenView(TINY, 16, Path(folder))
        kept = ExemplarCodec.parse("embedding:90+50%png")
        packed = pack(kept, PICTURES, 3_000, True, 0.5, 3, view)
        assert packed.images.shape == (len(packed), WIDTH)
        assert packed.nbytes <= 1_500
        originals = view.of(PICTURES.images[packed.rows])
    assert (PICTURES.labels[packed.rows] == packed.targets).all()
    np.testing.assert_allclose(packed.images, originals, atol=0.05 * np.abs(originals).max())


def test_a_ladder_of_both_is_the_default_on_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    found = select(recipe=ON_FEATURES, candidates=None, proxy="drift")
    assert [str(row.candidate) for row in found.rows] == list(EMBEDDING_CANDIDATES)
    for row in found.rows:
        assert not row.fits or row.scores["drift"] == drift_score(row.exemplars, row.drift, 2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"candidates": ("embedding:40",)}, "by which backbone.*--backbone"),
        ({"labels": PICTURES.labels * 0}, "1 class; a network that tells classes apart needs"),
        ({"images": PICTURES.images[::6], "labels": PICTURES.labels[::6]}, "held out"),
        ({"budget": 330, "candidates": ("raw", "png")}, "no candidate fits an exemplar of each"),
        ({"budget": 0}, "budget of 0 bytes"),
        ({"candidates": ("webp",)}, "at which quality.*webp:50"),
        ({"candidates": ("webp:0",)}, "quality of 1 to 100"),
        ({"candidates": ("webp:50", "webp:50")}, "named twice"),
        ({"candidates": ()}, "no candidates"),
        ({"proxy": "guess"}, "unknown proxy.*drift, probe, volume"),
        ({"proxy": ()}, "no proxy"),
        ({"classes": 2}, "classes=2, but the images given have 3"),
        ({"rounds": 0}, "rounds=0"),
        ({"device": "tpu"}, "no such device"),
        ({"images": PICTURES.images[:5]}, "5 images, 60 labels"),
        ({"images": PICTURES.images / 255}, "expected uint8"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_with_what_to_do(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        select(**changes)


def test_an_unknown_codec_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "pack", lambda *_: pytest.fail("it began"))
    with pytest.raises(UnknownCodecError, match="h266"):
        select(candidates=("webp:50", "h266:50"))
