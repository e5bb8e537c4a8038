"""Batches depend on seed and step only; bad samples are counted or named, never trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dsc._jobs.archive.compress import compress
from dsc._training.data.batches import HELD_OUT, Batch, TrainingData
from dsc._training.data.datasets import parse_data
from dsc._training.data.draw import draw_step
from dsc._training.data.samples import Planes, crop
from dsc.errors import ArchiveNotFoundError, SampleError, UnknownTaskError, UsageError
from tests.training.toy import save, toy_config, write_views


def data(place: Any, **values: Any) -> TrainingData:
    return TrainingData(toy_config(place, **values), loaders=0)


def same(a: Batch, b: Batch) -> bool:
    pairs = [(a.inputs, b.inputs), (a.valid, b.valid), (a.quality, b.quality)]
    equal = all(
        x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x) for x, y in pairs
    )
    return equal and a.wanted == b.wanted


def test_a_batch_is_the_same_whenever_it_is_asked_for(views: Path) -> None:
    one, other = data(views), data(views)
    later = [one.batch(step, 40) for step in range(8)]
    assert all(same(later[step], other.batch(step, 40)) for step in (7, 0, 3))


def test_a_cache_too_small_for_the_data_only_moves_the_window(tmp_path: Path) -> None:
    root = write_views(tmp_path, count=40, side=256)
    small = data(root, cache_mb=1, steps=2000)
    pool = small.pools[0]
    assert pool.window < len(pool.trained) // 4
    seen: dict[int, set[int]] = {}
    for step in (0, 400, 1990):
        small.batch(step, 2000)
        seen[step] = set(pool.samples.held.keys())
        assert pool.samples.held.cost <= 1e6
    assert seen[0] != seen[1990]
    again = data(root, cache_mb=1, steps=2000)
    assert same(again.batch(1990, 2000), small.batch(1990, 2000))


def test_held_out_samples_are_never_drawn(views: Path) -> None:
    found = data(views)
    for step in range(60):
        found.batch(step, 60)
    pool = found.pools[0]
    assert pool.held_out
    assert len(pool.held_out) <= HELD_OUT
    assert not set(pool.samples.held.keys()) & set(pool.held_out)
    assert set(pool.samples.held.keys()) == set(pool.trained)


def test_a_data_set_of_one_sample_serves_for_both(tmp_path: Path) -> None:
    found = data(write_views(tmp_path, count=1))
    assert found.pools[0].trained == found.pools[0].held_out == [0]
    found.batch(0, 4)


def test_one_task_is_enough(tmp_path: Path) -> None:
    found = data(write_views(tmp_path, count=3, depth=False))
    assert found.modalities == ("rgb",)
    assert found.batch(0, 4).wanted == ("rgb",)


def test_holes_have_no_weight_and_the_rest_has_one(tmp_path: Path) -> None:
    root = write_views(tmp_path, count=2)
    depth = np.full((96, 96), 1500, np.uint16)
    depth[:, :40] = 0
    for index in (0, 1):
        save(root, "depth", index, depth)
    config = toy_config(root, task_dropout=False, large_crops=False)
    batch = TrainingData(config, loaders=0).batch(0, 4)
    assert "rgb" not in batch.valid
    assert set(batch.valid["depth"].unique().tolist()) == {0.0, 1.0}
    assert torch.isfinite(batch.inputs["depth"]).all()


def test_a_sample_smaller_than_the_crop_is_padded_without_weight(tmp_path: Path) -> None:
    found = data(write_views(tmp_path, side=40), task_dropout=False, large_crops=False)
    batch = found.batch(0, 4)
    assert batch.inputs["rgb"].shape[-2:] == (64, 64)
    assert batch.valid["rgb"][:, :, :40, :40].min() == 1
    assert batch.valid["rgb"][:, :, 40:].max() == 0
    assert batch.valid["rgb"][:, :, :, 40:].max() == 0


@pytest.mark.parametrize("bad", ["empty", "tiny", "missing", "cut"])
def test_a_sample_that_cannot_be_trained_on_is_skipped_with_its_reason(
    tmp_path: Path, bad: str
) -> None:
    root = write_views(tmp_path, count=9)
    spoil(root, 3, bad)
    found = data(root, steps=80)
    for step in range(80):
        found.batch(step, 80)
    (where, why), *others = found.skipped.items()
    assert not others
    assert "0003" in where
    assert "0003" in why


@pytest.mark.parametrize("bad", ["empty", "tiny", "missing", "cut"])
def test_a_sample_that_cannot_be_trained_on_fails_by_name_where_asked(
    tmp_path: Path, bad: str
) -> None:
    root = write_views(tmp_path, count=9)
    spoil(root, 3, bad)
    found = data(root, steps=80, on_error="fail")
    with pytest.raises(SampleError, match="0003"):
        [found.batch(step, 80) for step in range(80)]


def spoil(root: Path, index: int, how: str) -> None:
    depth = root / "depth" / f"{index:04d}.png"
    if how == "empty":
        save(root, "depth", index, np.zeros((96, 96), np.uint16))
    elif how == "tiny":
        save(root, "depth", index, np.full((1, 1), 900, np.uint16))
        save(root, "rgb", index, np.zeros((1, 1, 3), np.uint8))
    elif how == "missing":
        depth.unlink()
    else:
        depth.write_bytes(depth.read_bytes()[:60])


def test_depth_that_is_not_a_number_is_a_hole(tmp_path: Path) -> None:
    root = write_views(tmp_path, count=3, depth=False)
    (root / "depth").mkdir()
    for index in range(3):
        depth = np.full((96, 96), 2.0, np.float32)
        depth[: 20 * (index + 1)] = np.nan
        np.save(root / "depth" / f"{index:04d}.npy", depth)
    found = data(root, task_dropout=False)
    batch = found.batch(0, 4)
    assert torch.isfinite(batch.inputs["depth"]).all()
    assert batch.valid["depth"].min() == 0


def test_data_without_a_usable_sample_are_refused_with_a_reason(tmp_path: Path) -> None:
    root = write_views(tmp_path, count=4)
    for index in range(4):
        spoil(root, index, "empty")
    with pytest.raises(SampleError, match="no pixel is valid"):
        data(root).batch(0, 4)


def test_a_constant_picture_can_be_trained_on(tmp_path: Path) -> None:
    root = write_views(tmp_path, count=2)
    for index in (0, 1):
        save(root, "rgb", index, np.full((96, 96, 3), 77, np.uint8))
        save(root, "depth", index, np.full((96, 96), 1234, np.uint16))
    batch = data(root, task_dropout=False).batch(0, 4)
    assert all(torch.isfinite(x).all() for x in batch.inputs.values())


def test_an_archive_gives_what_its_source_gives(views: Path, tmp_path: Path) -> None:
    compress("folder", tmp_path / "a", root=views, codec="png")
    assert parse_data(str(tmp_path / "a")).layout == "archive"
    one, other = data(views), data(tmp_path / "a")
    assert all(same(one.batch(step, 20), other.batch(step, 20)) for step in range(4))


def test_several_data_sets_are_drawn_by_their_shares(views: Path, tmp_path: Path) -> None:
    photos = write_views(tmp_path, count=3, depth=False)
    config = toy_config(views, data=(parse_data(f"{views},share=3"), parse_data(str(photos))))
    shares, modalities = [3.0, 1.0], [("rgb", "depth"), ("rgb",)]
    drawn = [draw_step(config, step, 400, shares, modalities).pool for step in range(400)]
    assert 0.18 < sum(drawn) / 400 < 0.32
    assert TrainingData(config, 0).modalities == ("rgb", "depth")


def test_normals_are_never_mirrored(views: Path) -> None:
    config = toy_config(views, batch=16)
    for step in range(40):
        draw = draw_step(config, step, 40, [1.0], [("rgb", "depth", "normal")])
        assert not (draw.flips.any() and "normal" in draw.inputs)
    assert any(draw_step(config, s, 40, [1.0], [("rgb", "depth")]).flips.any() for s in range(5))


def test_qualities_are_drawn_over_the_whole_range_or_fixed(views: Path) -> None:
    config = toy_config(views, batch=64)
    drawn = [draw_step(config, s, 40, [1.0], [("rgb",)]).quality["rgb"] for s in range(40)]
    values = np.concatenate(drawn)
    assert values.min() == 1
    assert values.max() == 100
    fixed = draw_step(toy_config(views, quality=42), 0, 40, [1.0], [("rgb", "depth")])
    assert {int(q) for quality in fixed.quality.values() for q in quality} == {42}


def test_half_resolution_crops_average_what_they_cover() -> None:
    rgb = np.zeros((3, 128, 128), np.uint8)
    rgb[:, ::2] = 100
    valid = np.ones((128, 128), bool)
    valid[5, 7] = False
    values, weights = crop(Planes({"rgb": rgb}, {"rgb": valid}), (0, 0), 64, half=True, flip=False)
    assert values["rgb"].shape == (3, 64, 64)
    assert np.allclose(values["rgb"], 50 / 255 - 0.5)
    assert weights["rgb"].sum() == 64 * 64 - 1


def test_a_flip_mirrors_values_and_holes_alike() -> None:
    rgb = np.arange(3 * 64 * 64, dtype=np.uint32).astype(np.uint8).reshape(3, 64, 64)
    planes = Planes({"rgb": rgb}, {"rgb": rgb[0] > 30})
    plain = crop(planes, (0, 0), 64, half=False, flip=False)
    flipped = crop(planes, (0, 0), 64, half=False, flip=True)
    for one, other in zip(plain, flipped, strict=True):
        assert np.array_equal(one["rgb"][:, :, ::-1], other["rgb"])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nyuv2:/nowhere/at/all", UsageError),
        ("archive:/nowhere/at/all", ArchiveNotFoundError),
        ("sample:many", UsageError),
        ("sample:4,colour=red", UsageError),
        ("sample:4,share=-1", UsageError),
        ("sample:4,share", UsageError),
        ("", UsageError),
    ],
)
def test_data_that_cannot_be_opened_are_a_usage_error(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        data(text)


def test_a_task_that_no_data_set_has_is_named(views: Path) -> None:
    with pytest.raises(UnknownTaskError, match="flow"):
        data(views, tasks=("rgb", "flow"))


def test_a_task_may_be_in_one_data_set_only(views: Path, tmp_path: Path) -> None:
    photos = write_views(tmp_path, count=3, depth=False)
    sets = (parse_data(str(views)), parse_data(str(photos)))
    found = TrainingData(toy_config(views, data=sets, tasks=("rgb", "depth")), 0)
    assert [pool.modalities for pool in found.pools] == [("rgb", "depth"), ("rgb",)]
