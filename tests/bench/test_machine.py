"""What machines lose: answers, heads and boxes are held as papers define it; rates are real."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dsc._backbones.base import Layer
from dsc._backbones.registry import load_backbone
from dsc._bench.machine import datasets
from dsc._bench.machine.carriers import ANCHOR, Uncompressed
from dsc._bench.machine.classification import compare
from dsc._bench.machine.contenders import carriers_of
from dsc._bench.machine.datasets import class_numbers, nyu_table, own_set, scenes
from dsc._bench.machine.dense import DenseHeads
from dsc._bench.machine.detection import boxes_of, overlap, precision_of, targets
from dsc._bench.machine.heads import RIDGES, Ridge, Schedule, seeded, train
from dsc._bench.machine.network import PIXELS, Network
from dsc._bench.machine.operations import mmac_of, network_mmac, reader_mmac
from dsc._bench.machine.options import parse_codecs
from dsc._bench.machine.pictures import (
    IGNORED,
    UNKNOWN,
    PictureSet,
    as_seen,
    resized,
    resized_labels,
)
from dsc._bench.machine.probes import measure_probe
from dsc._bench.machine.seen import SeenCache, look
from dsc._bench.machine.segmentation import confusion, scores_of
from dsc._bench.machine.tables import bpp_at_kl, equal_table
from dsc._bench.rate_distortion.candidates import parse_candidates
from dsc._schemas import Preprocessing
from dsc._schemas.extractor import EMBEDDING
from dsc._sources.registry import open_source
from dsc.errors import UsageError
from tests.places import DATA


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(load_backbone("efficientnet-lite0"))


def pictures(count: int = 4, size: int = 64) -> PictureSet:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, size // 8, size // 8, 3), np.uint8)
    smooth = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return PictureSet("noise", "Noise", tuple(smooth), train=count // 2)


def test_a_picture_is_coded_as_large_as_the_network_sees_it_and_never_enlarged() -> None:
    sized = Preprocessing(side=64, crop=0.875, mean=(127.0,) * 3, std=(128.0,) * 3)
    large = np.full((100, 150, 3), 9, np.uint8)
    assert as_seen(large, sized).shape == (64, 64, 3)
    assert as_seen(large, sized).max() == 9
    small = np.full((40, 50), 9, np.uint8)
    assert as_seen(small, sized).shape == (40, 50, 3)


def test_labels_are_resized_without_mixing() -> None:
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert resized_labels(labels, 2, 2).tolist() == [[5, 7], [13, 15]]
    assert resized_labels(labels, 8, 8)[::2, ::2].tolist() == labels.tolist()
    assert resized(np.zeros((20, 30, 3), np.uint8), 10, 12).shape == (10, 12, 3)


def test_the_network_gives_one_answer_from_pixels_and_from_features(network: Network) -> None:
    data = pictures()
    maps = network.maps(data.pictures, 64)
    assert maps.shape == (4, network.layer.channels, 4, 4)
    x = network.prepared(data.pictures, 64)
    assert np.allclose(network.embeddings(maps), network.backbone.embed(x).numpy(), atol=0.02)
    assert network.deeper(maps).shape == (4, network.deepest.channels, 2, 2)
    with pytest.raises(UsageError, match="--layer block99"):
        Network(network.backbone, "block99")


def test_small_pictures_are_enlarged_behind_the_codec(network: Network) -> None:
    assert network.prepared(pictures(1, 32).pictures, 64).shape == (1, 3, 64, 64)
    assert network.prepared(pictures(1, 64).pictures, None).shape == (1, 3, 64, 64)


def test_what_was_seen_counts_real_bytes_and_is_kept(network: Network, tmp_path: Path) -> None:
    data = pictures()
    raw, png = carriers_of(parse_candidates("png"), network)
    cache = SeenCache(tmp_path, network)
    whole, coded = cache.get(raw, 100, data), cache.get(png, 100, data)
    assert whole.payload_bytes.tolist() == [64 * 64 * 3] * 4
    assert 0 < coded.payload_bytes.max() < 64 * 64 * 3
    assert np.array_equal(whole.values, coded.values)  # png loses nothing
    again = SeenCache(tmp_path, network).get(png, 100, data)
    assert vars(again).keys() == vars(coded).keys()
    assert again.read_s == coded.read_s  # read from the disk, not measured again
    other = PictureSet("other", "", data.pictures[:3])
    assert cache.identity(png, 100, other) != cache.identity(png, 100, data)


def test_codecs_that_code_no_single_pictures_are_refused(network: Network) -> None:
    for name, message in (
        ("av1-seq", "groups of frames"),
        ("label-context", "codes neither pictures"),
    ):
        with pytest.raises(UsageError, match=message):
            carriers_of(parse_candidates(name), network)


def test_embeddings_are_stored_in_place_of_pictures(network: Network, tmp_path: Path) -> None:
    (_, carrier) = carriers_of(parse_candidates("embedding"), network)
    data = pictures(40, 32)
    assert carrier.enters == EMBEDDING
    cache = SeenCache(tmp_path, network)
    raw, coarse, fine = (
        cache.get(one, quality, data)
        for one, quality in ((Uncompressed(), 100), (carrier, 10), (carrier, 100))
    )
    assert not fine.has_maps
    assert coarse.payload_bytes.mean() < fine.payload_bytes.mean() < 4 * 1280
    exact = network.embeddings(raw.values)
    errors = [np.abs(one.values - exact).mean() for one in (fine, coarse)]
    assert 0 < errors[0] < errors[1] < exact.std()


def test_what_is_learnt_is_learnt_from_what_trains_alone(network: Network) -> None:
    data = pictures(40, 32)
    turned = (*data.pictures[: data.train], *(255 - one for one in data.pictures[data.train :]))
    carriers = [carriers_of(parse_candidates("embedding"), network)[1] for _ in range(2)]
    sizes = [
        carrier.shared_bytes(one)
        for carrier, one in zip(carriers, (data, replace(data, pictures=turned)), strict=True)
    ]
    assert sizes[0] == sizes[1] > 0
    first, second = (one.code(replace(data, pictures=turned), 50).payload_bytes for one in carriers)
    assert first == second


def test_a_codec_may_have_qualities_of_its_own() -> None:
    codecs, own = parse_codecs("av1:30:60, mine=jpeg:5,webp")
    assert [codec.name for codec in codecs] == ["av1", "mine", "webp"]
    assert own == {"av1": (30, 60), "mine": (5,)}
    with pytest.raises(UsageError, match="1 to 100"):
        parse_codecs("av1:0")


def test_feature_maps_are_stored_in_place_of_pictures(network: Network, tmp_path: Path) -> None:
    (_, carrier) = carriers_of(parse_candidates("feature-klt"), network)
    data = pictures(4)
    cache = SeenCache(tmp_path, network)
    raw, coarse, fine = (
        cache.get(one, quality, data)
        for one, quality in ((Uncompressed(), 100), (carrier, 30), (carrier, 100))
    )
    assert (fine.at, fine.values.shape) == ("block10", raw.values.shape)
    assert coarse.payload_bytes.mean() < fine.payload_bytes.mean()
    errors = [
        np.square(one.values.astype(np.float32) - raw.values).mean() for one in (fine, coarse)
    ]
    assert 0 < errors[0] < errors[1]


def test_kl_is_of_the_reference_and_unknown_classes_do_not_count() -> None:
    reference = np.log(np.array([[0.5, 0.5], [0.9, 0.1]]))
    found = np.log(np.array([[0.25, 0.75], [0.9, 0.1]]))
    values = compare(reference, found, [UNKNOWN, 0])
    expected = 0.5 * (0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert values["kl"] == pytest.approx(expected)
    assert values["agreement"] == 0.5
    assert values["top1"] == 1.0
    assert "top1" not in compare(reference, found, [])


def test_a_class_is_known_by_the_name_of_the_file() -> None:
    pytest.importorskip("torchvision", reason="pip install 'dsc[transforms]'")
    keys = ["n01484850_great_white_shark", "fish__goldfish", "img_0001", "n02012849_crane"]
    assert class_numbers(keys) == [2, 1, UNKNOWN, UNKNOWN]


def test_ridge_tells_classes_apart_and_a_probe_has_both_heads() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 3
    clean = np.eye(3)[truth] + rng.normal(0, 0.05, (60, 3))
    head = Ridge(clean[:30], truth[:30], 3)
    assert (head.classes(clean[30:]) == truth[30:]).all()
    turned = clean[:, [1, 2, 0]]  # stored so that only a head that was trained with it can read it
    data = PictureSet("p", "", (), tuple(truth), ("a", "b", "c"), 30)
    found = measure_probe(data, clean, turned)
    assert found == {"as_is": 0.0, "retrained": 1.0}


def test_ridge_takes_the_penalty_that_tells_left_out_samples_best() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 60)
    noisy = rng.normal(0, 1, (60, 40)) + 0.5 * truth[:, None]

    def error(weight: float) -> float:
        found = 0.0
        level = np.square(noisy - noisy.mean(0)).sum() / 40
        for out in range(60):
            kept = np.delete(np.arange(60), out)
            x, y = noisy[kept], np.eye(2)[truth[kept]]
            gram = (x - x.mean(0)).T @ (x - x.mean(0)) + weight * level * np.eye(40)
            slope = np.linalg.solve(gram, (x - x.mean(0)).T @ (y - y.mean(0)))
            answer = (noisy[out] - x.mean(0)) @ slope + y.mean(0)
            found += np.square(np.eye(2)[truth[out]] - answer).sum()
        return found

    best = min(RIDGES, key=error)
    assert RIDGES[0] < best < RIDGES[-1]
    new = rng.normal(0, 1, (500, 40)) + 0.5 * rng.integers(0, 2, 500)[:, None]
    chosen, fixed = Ridge(noisy, truth, 2), Ridge(noisy, truth, 2, (best,))
    assert np.array_equal(chosen.classes(new), fixed.classes(new))
    assert not np.array_equal(chosen.classes(new), Ridge(noisy, truth, 2, (0.01,)).classes(new))


def test_a_head_is_a_function_of_data_and_seed() -> None:
    x = torch.linspace(-1, 1, 16)[:, None]

    def trained(seed: int) -> torch.Tensor:
        def loss(found: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
            return (found - x[at] ** 2).square().mean()

        head = seeded(lambda: torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Dropout()), seed)
        train(head, lambda at: head(x[at]), loss, len(x), Schedule(epochs=2), seed)
        assert not head.training
        return head(x).detach()

    before = torch.random.get_rng_state()
    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_tuned_network_is_a_copy_and_sees_what_it_learned(
    network: Network, tmp_path: Path
) -> None:
    data = pictures(8)
    labels = tuple(np.full((64, 64), at % 2, np.uint8) for at in range(8))
    data = replace(data, truth=labels, classes=("even", "odd"))
    seen = look(network, Uncompressed().code(data, 100), PIXELS, None)

    def path_of(seed: int) -> Path:
        return tmp_path / f"{seed}.safetensors"

    before = {key: one.clone() for key, one in state_of(network).items()}
    heads = DenseHeads("segmentation", network, data, lambda: seen, Schedule(epochs=3), path_of)
    plain, tuned = heads.as_it_is(seen, 0), heads.tuned(seen, data.pictures, 0)
    assert tuned != plain
    assert heads.as_it_is(seen, 0) == plain  # from the disk
    assert heads.retrained(seen, 0) == plain  # the same data, the same seed
    assert all(torch.equal(one, before[key]) for key, one in state_of(network).items())
    assert not any(
        one.requires_grad for one in network.backbone.tail("stem", "block15").parameters()
    )


def state_of(network: Network) -> dict[str, torch.Tensor]:
    return network.backbone.tail("stem", "block15").state_dict()


def test_miou_is_of_all_pixels_and_leaves_out_what_is_ignored_or_nowhere() -> None:
    truth = np.array([[0, 0, 1], [IGNORED, 1, 1]], np.uint8)
    found = np.array([[0, 1, 1], [0, 1, 1]])
    counts = confusion(truth, found, 3)
    assert counts.tolist() == [[1, 1, 0], [0, 3, 0], [0, 0, 0]]
    assert scores_of(counts) == {"miou": pytest.approx((1 / 2 + 3 / 4) / 2), "pixel_accuracy": 0.8}


def test_boxes_come_back_from_the_maps_that_a_head_is_to_answer() -> None:
    boxes = np.array([[10, 12, 30, 44, 0], [40, 8, 56, 20, 2]])
    wanted = torch.from_numpy(targets(boxes, 3, (8, 8), 8))
    heat = wanted.clone()
    heat[:3] = torch.logit(wanted[:3].clamp(1e-4, 1 - 1e-4))
    found = boxes_of(heat, 3, 8)
    assert found[:2, :5].round().tolist() == boxes.tolist()
    assert (found[2:, 5] < 0.5).all()


def test_overlap_and_average_precision_are_as_defined() -> None:
    assert overlap(np.array([0, 0, 2, 2]), np.array([[1, 0, 3, 2], [5, 5, 6, 6]])).tolist() == [
        pytest.approx(1 / 3),
        0.0,
    ]
    truth = [np.array([[0, 0, 4, 4, 1], [8, 8, 12, 12, 1]])]
    good, twice, wrong = [0, 0, 4, 4, 1, 0.9], [0, 0, 4, 5, 1, 0.8], [20, 20, 24, 24, 1, 0.7]
    last = [8, 8, 12, 12, 1, 0.6]
    assert precision_of([np.array([good, last])], truth, 1) == 1.0
    # the second hit comes fourth: half of the recall at precision 2 / 4
    found = [np.array([good, twice, wrong, last])]
    assert precision_of(found, truth, 1) == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert precision_of(found, truth, 0) is None


def test_scenes_have_the_boxes_of_what_is_seen() -> None:
    data = scenes(2, 1, 96)
    assert data.train == 2
    assert data.classes == ("cube", "sphere", "cylinder")
    for boxes in data.truth:
        assert len(boxes) > 1
        assert set(boxes[:, 4]) <= {0, 1, 2}
        assert (boxes[:, 2:4] - boxes[:, :2]).min() >= datasets.LEAST_BOX_PX


def test_operations_are_those_of_the_network(network: Network) -> None:
    a, b = torch.ones(10, 20), torch.ones(20, 30)
    assert mmac_of(lambda: a @ b) == pytest.approx(10 * 20 * 30 / 1e6)
    parts = network_mmac(network, np.zeros((224, 224, 3), np.uint8), 224)
    assert sum(parts.values()) == pytest.approx(385, abs=3)  # table of the paper's repository
    assert parts["front"] == pytest.approx(243, abs=3)
    assert reader_mmac(parts, EMBEDDING, "block10") == parts["classifier"] == 1.28
    assert reader_mmac(parts, PIXELS, "block10") == pytest.approx(sum(parts.values()))
    assert reader_mmac(parts, "block10", "block10") < 150


def test_rates_at_equal_kl_lie_between_points_and_nowhere_else() -> None:
    def row(name: str, factor: float) -> dict[str, object]:
        points = [
            {"bpp": factor * rate, "metrics": {"kl": kl}} for rate, kl in ((0.1, 1.0), (0.4, 0.01))
        ]
        return {"name": name, "points": points}

    assert bpp_at_kl(row("a", 1)["points"], 0.1) == pytest.approx(0.2)  # type: ignore[arg-type]
    assert bpp_at_kl(row("a", 1)["points"], 2.0) is None  # type: ignore[arg-type]
    table = equal_table({"task": "classification", "rows": [row(ANCHOR, 1), row("half", 0.5)]})
    assert "| half | 0.0500 (0.50) |" in table
    assert "1 | 0.5 | 0.1 | 0.02 |" in table


def test_the_thirteen_classes_of_nyuv2() -> None:
    table = nyu_table(("wall", "door", "desk", "otherprop", "toilet", "blinds"))
    names = [*datasets.NYU_CLASSES]
    found = [names[at] if at != IGNORED else "ignored" for at in table]
    assert found == ["wall", "wall", "table", "ignored", "objects", "window"]


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "natural").is_dir(), reason="no staged data: DSC_TEST_DATA")
def test_staged_sets_are_read_as_they_are_described() -> None:
    backbone = load_backbone("efficientnet-lite0")
    photographs = datasets.photographs(DATA / "natural", backbone, 6)
    assert photographs.train == 3
    assert UNKNOWN not in photographs.truth
    assert photographs.source_bpp is not None
    assert photographs.pictures[0].shape == (224, 224, 3)
    frames = datasets.nyuv2(DATA / "nyuv2", 2)
    assert (frames.train, len(frames.pictures)) == (2, 4)
    assert frames.truth[0].shape == frames.pictures[0].shape[:2] == (256, 352)
    assert set(np.unique(frames.truth[0])) <= {*range(13), IGNORED}
    tiny = datasets.tiny(DATA / "tiny_imagenet40", 8)
    assert tiny.pictures[0].shape == (64, 64, 3)
    assert len(tiny.classes) == 40


def test_own_pictures_are_classified_and_probed_by_their_folders(tmp_path: Path) -> None:
    import imagecodecs

    for at, picture in enumerate(pictures(6).pictures):
        path = tmp_path / ("cat", "dog")[at % 2] / f"{at}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(imagecodecs.png_encode(picture))
    backbone = load_backbone("efficientnet-lite0")
    source = open_source("folder", str(tmp_path))
    probed = own_set("probes", source, backbone, None)
    assert probed.classes == ("cat", "dog")
    assert sorted(probed.truth) == [0, 0, 0, 1, 1, 1]
    assert own_set("classification", source, backbone, 4).truth == ()
    with pytest.raises(UsageError, match="no labels to segment by"):
        own_set("segmentation", source, backbone, None)


def test_a_layer_is_of_the_backbone() -> None:
    network = Network(load_backbone("efficientnet-lite0"))
    assert network.layer == Layer("block10", 112, 16)
    assert Uncompressed().qualities([3, 4]) == (100,)
