"""Feature maps: what a task of them is, and what is done with one through the archive."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import dsc
from dsc._pipeline.metrics import cosine_distance, measure, rel_sq_error
from dsc._schemas import Metric, Target, Task
from dsc._schemas.sample import Sample
from dsc._sources.registry import open_source
from dsc.errors import SampleError, UsageError
from dsc.transforms import CenterCrop, ColorJitter, Compose, HorizontalFlip, Meaning, generator
from tests.cli.conftest import run_dsc

FEATURE = Task(name="feature", kind="feature", dtype="float16", channels=6, shape=(6, 4, 5))
RNG = np.random.default_rng(3)


def features(*shape: int, dtype: str = "float16") -> NDArray[np.floating]:
    return RNG.normal(size=shape or (6, 4, 5)).astype(dtype)


def folder(root: Path, arrays: list[NDArray[np.floating]]) -> Path:
    for name, array in enumerate(arrays):
        (root / "feature").mkdir(parents=True, exist_ok=True)
        np.save(root / "feature" / f"{name}.npy", array)
    return root


def compress(root: Path, out: Path) -> None:
    """Compress feature maps as files, losing nothing."""
    words = ("folder", "--root", root, "--kinds", "feature=feature", "--exact")
    ran = run_dsc("compress", *words, "--out", out)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dtype": "float64"}, "float16 or float32, not float64"),
        ({"dtype": "int8"}, "float16 or float32, not int8"),
        ({"channels": 5}, r"the shape \(5, h, w\), not \(6, 4, 5\)"),
        ({"shape": (6, 4)}, r"the shape \(6, h, w\)"),
        ({"shape": ()}, "have a shape"),
    ],
)
def test_a_task_of_feature_maps_is_checked(changed, message):
    with pytest.raises(ValueError, match=message):
        Task.model_validate(FEATURE.model_dump() | changed)


def test_feature_maps_are_no_pixels_but_have_a_size():
    sized = FEATURE.model_copy(update={"shape": (6, -1, -1)})
    assert not FEATURE.is_map
    assert FEATURE.is_spatial
    assert FEATURE.may_lose
    assert (FEATURE.varies, sized.varies) == (False, True)
    assert FEATURE.pixels((6, 4, 5)) == 20
    assert (FEATURE.most_values(1000), sized.most_values(1000)) == (120, 6000)


def test_errors_are_told_relative_to_the_features():
    original = features()
    louder = (original * np.float16(1.5)).astype(np.float16)
    assert measure(FEATURE, original, louder)["rel_sq_error"] == pytest.approx(0.25, rel=1e-2)
    assert measure(FEATURE, original, louder)["cosine_distance"] < 1e-6
    assert cosine_distance(original, -original) == pytest.approx(2)
    nothing = np.zeros_like(original)
    assert (rel_sq_error(nothing, nothing), cosine_distance(nothing, nothing)) == (0, 0)
    assert (rel_sq_error(nothing, original), cosine_distance(nothing, original)) == (np.inf, 1)


@pytest.mark.parametrize("scale", [2.0**600, 2.0**-600])
def test_errors_of_numbers_whose_squares_float64_does_not_hold_are_measured(scale: float) -> None:
    truth, found = np.random.default_rng(3).normal(size=(2, 64))
    assert rel_sq_error(scale * truth, scale * found) == rel_sq_error(truth, found) > 0
    assert cosine_distance(scale * truth, scale * found) == cosine_distance(truth, found) > 0


def test_targets_are_relative_or_a_cosine():
    found = Target.parse("feature=0.05rel", [FEATURE])["feature"]
    assert (found.metric, found.value, str(found)) == (Metric.RELATIVE, 0.05, "0.05 rel")
    found = Target.parse("feature=0.01cos", [FEATURE])["feature"]
    assert (found.metric, found.is_met(0.009), found.is_met(0.011)) == (Metric.COSINE, True, False)


@pytest.mark.parametrize("transform", [HorizontalFlip(1.0), CenterCrop(8)])
def test_moving_the_picture_of_a_feature_map_is_refused(transform):
    sample = Sample.of(
        {"rgb": np.zeros((16, 20, 3), np.uint8), "feature": features()},
        {"rgb": Task(name="rgb", kind="image", dtype="uint8", channels=3), "feature": FEATURE},
    )
    with pytest.raises(UsageError, match=r"feature is a feature map of the whole picture.*leave"):
        Compose([transform])(sample, generator(0, 0, 0))
    left = Compose([transform], meaning=Meaning(leave=["feature"]))(sample, generator(0, 0, 0))
    assert left["feature"] is sample["feature"]
    Compose([ColorJitter(0.3)])(sample, generator(0, 0, 0))  # moves nothing


def test_files_become_feature_maps_and_come_back(tmp_path):
    arrays = [features(6, 4, 5), features(6, 3, 5), features(6, 4, 5)]
    root = folder(tmp_path / "in", arrays)
    out = tmp_path / "out"
    compress(root, out)
    archive = dsc.open(out)
    assert archive.tasks[0].shape == (6, -1, 5)
    assert archive.manifest.max_pixels == 20
    for number, array in enumerate(arrays):
        assert np.array_equal(archive[number]["feature"], array)
    assert run_dsc("verify", out).code == 0
    assert run_dsc("export", out, "--to", "files", "--out", tmp_path / "files").code == 0
    assert np.array_equal(np.load(tmp_path / "files" / "feature" / "1.npy"), arrays[1])
    batch = next(iter(dsc.stream(out, batch_size=3)))
    assert [tuple(one.shape) for one in batch["feature"]] == [(6, 4, 5), (6, 3, 5), (6, 4, 5)]


def test_features_of_one_size_are_a_tensor(tmp_path):
    arrays = [features(6, 4, 5, dtype="float32") for _ in range(4)]
    root = folder(tmp_path / "in", arrays)
    compress(root, tmp_path / "out")
    batch = next(iter(dsc.stream(tmp_path / "out", batch_size=4)))
    assert batch["feature"].dtype == torch.float32
    assert batch["feature"].is_contiguous()
    assert np.array_equal(batch["feature"].numpy(), np.stack(arrays))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([np.zeros((3, 4), np.float32)], r"float32 \(3, 4\); feature maps are"),
        ([np.zeros((2, 3, 4), np.float64)], r"float64 \(2, 3, 4\); feature maps are"),
        (
            [features(2, 3, 4), features(3, 3, 4)],
            r"\(-1, 3, 4\), -1 where files differ; .*of one C",
        ),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, message):
    root = folder(tmp_path, arrays)
    with pytest.raises(UsageError, match=message):
        open_source("folder", str(root), kinds={"feature": "feature"})


def test_a_later_file_of_other_channels_is_named(tmp_path):
    root = folder(tmp_path, [features(2, 3, 4), features(2, 3, 4)])
    source = open_source("folder", str(root), kinds={"feature": "feature"})
    np.save(root / "feature" / "1.npy", features(5, 3, 4))
    with pytest.raises(SampleError, match=r"1\.npy: not the feature.*\(5, 3, 4\), expected"):
        source.read(1, ["feature"])


def test_features_are_coded_with_loss_until_a_target_holds(tmp_path):
    rng = np.random.default_rng(0)
    waves = np.cos(np.linspace(0, 3, 12))[:, None] * np.cos(np.linspace(0, 2, 9))
    arrays = [
        (rng.normal(size=(6, 1, 1)) * waves + rng.normal(0, 0.1, (6, 12, 9))).astype(np.float16)
        for _ in range(24)
    ]
    root, out = folder(tmp_path / "in", arrays), tmp_path / "out"
    words = ("folder", "--root", root, "--kinds", "feature=feature", "--target", "feature=0.05rel")
    ran = run_dsc("compress", *words, "--out", out)
    assert ran.code == 0, ran.err
    archive = dsc.open(out)
    assert archive.manifest.codecs[0].id == "feature-klt"
    errors = [rel_sq_error(one, archive[k]["feature"]) for k, one in enumerate(arrays)]
    assert 0.02 < max(errors) <= 0.05
    assert run_dsc("verify", out).code == 0
    assert "feature-klt" in run_dsc("info", out).out
    batch = next(iter(dsc.stream(out, batch_size=24)))["feature"]
    assert (batch.shape, batch.dtype) == ((24, 6, 12, 9), torch.float16)


def test_what_is_not_finite_names_sample_and_value(tmp_path):
    arrays = [features() for _ in range(3)]
    arrays[1][2, 3, 4] = np.inf
    root = folder(tmp_path / "in", arrays)
    words = ("folder", "--root", root, "--kinds", "feature=feature", "--out", tmp_path / "out")
    ran = run_dsc("compress", *words)
    assert ran.code != 0
    assert "channel 2, row 3, column 4 is inf" in " ".join(ran.err.split())
    assert "sample 1" in " ".join(ran.err.split())
