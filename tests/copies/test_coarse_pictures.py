"""`av1-layered` as a user meets it: compressed, appended to, fetched coarse, streamed, exported."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._bench.server import serve
from dsc._copies.fetch import fetch
from dsc._storage.read.verify import verify_archive
from tests.cli.conftest import run_dsc

CODECS = "rgb=av1-layered,depth=av1-layered"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five views of 256×256 pixels, and two that were appended."""
    folder = tmp_path_factory.mktemp("layered") / "archive"
    call = ["compress", "taskonomy", "--views", "5", "--tasks", "rgb,depth,labels", "--codec"]
    done = run_dsc(*call, CODECS, "--out", folder)
    assert done.code == 0, done.err
    done = run_dsc("append", folder, "taskonomy", "--views", 7)
    assert done.code == 0, done.err
    return folder


def test_the_coarse_level_is_a_small_part_of_the_bytes(archive: Path) -> None:
    rows = {row["name"]: row for row in run_dsc("info", archive, "--json").json()["rows"]}
    for task in ("rgb", "depth_zbuffer"):
        coarse, whole = rows[task]["level_bytes"]
        assert coarse < 0.4 * whole  # most of that are the tars of so few samples


def test_coarse_samples_are_small_beside_whole_ones(archive: Path) -> None:
    whole = dsc.open(archive, "rgb,depth,labels")
    coarse = dsc.open(archive, "rgb,depth,labels", levels="rgb=1")
    everything = dsc.open(archive, "rgb,depth", levels=1)
    assert len(coarse) == len(whole) == 7
    for one, other, small in zip(whole, coarse, everything, strict=True):
        assert one["rgb"].shape == (256, 256, 3)
        assert other["rgb"].shape == small["rgb"].shape == (64, 64, 3)
        assert small["depth_zbuffer"].shape == (64, 64)
        assert np.array_equal(one["depth_zbuffer"], other["depth_zbuffer"], equal_nan=True)
        means = one["rgb"].reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
        assert np.abs(means - other["rgb"]).mean() < 12
        depth = one["depth_zbuffer"].reshape(64, 4, 64, 4)
        ratio = small["depth_zbuffer"] / np.nanmedian(depth, axis=(1, 3))
        assert abs(np.nanmedian(ratio) - 1) < 0.05  # metres, as ever


@pytest.mark.parametrize("output", ["numpy", "torch"])
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_of_the_coarse_size(archive: Path, output: str, workers: int) -> None:
    stream = dsc.stream(
        archive, "rgb,depth", levels=1, output=output, batch_size=3, workers=workers
    )
    batch = next(iter(stream))
    height_first = (3, 64, 64, 3) if output == "numpy" else (3, 3, 64, 64)
    assert tuple(batch["rgb"].shape) == height_first
    assert tuple(batch["depth_zbuffer"].shape) == (3, 64, 64)


def test_decoded_samples_are_cached_by_level(archive: Path) -> None:
    for levels, side in ((1, 64), (None, 256), (1, 64)):
        opened = dsc.open(archive, "rgb", levels=levels, cache_decoded="10MB")
        assert [one["rgb"].shape[0] for _ in range(2) for one in opened] == [side] * 14


def test_a_coarse_copy_is_fetched_verified_exported_and_refined(
    archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    with serve(archive) as (url, traffic):
        report = fetch(url, "rgb,depth", out, levels=1)
    assert report.streams == ("rgb.0", "depth_zbuffer.0")
    assert not [path for path in traffic.requests if "rgb.1" in path]
    assert verify_archive(out) == []
    done = run_dsc("export", out, "--out", tmp_path / "files")
    assert done.code == 0, done.err
    exported = sorted((tmp_path / "files").rglob("*rgb*.png"))
    assert len(exported) == 7
    assert imagecodecs.imread(str(exported[0])).shape == (64, 64, 3)
    fetch(archive, "rgb,depth", out)
    assert [one["rgb"].shape for one in dsc.open(out, "rgb")] == [(256, 256, 3)] * 7


def test_a_bound_is_one_more_level(tmp_path: Path) -> None:
    call = "compress taskonomy --views 2 --tasks depth --codec av1-layered --max-error depth=1%"
    done = run_dsc(*call.split(), "--out", tmp_path / "archive")
    assert done.code == 0, done.err
    shapes = [
        [one["depth_zbuffer"].shape for one in dsc.open(tmp_path / "archive", levels=level)]
        for level in (1, 2, 3)
    ]
    assert shapes == [[(64, 64)] * 2, [(256, 256)] * 2, [(256, 256)] * 2]
    (first, *_), (second, *_) = (
        dsc.open(tmp_path / "archive", levels=level, native=True) for level in (2, None)
    )
    assert not np.array_equal(first["depth_zbuffer"], second["depth_zbuffer"])


def test_damage_in_the_finer_level_leaves_the_coarse_one(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    fetch(archive, "rgb", out)
    for tar in (out / "rgb.1").glob("*.tar"):
        data = bytearray(tar.read_bytes())
        data[-2000] ^= 0xFF
        tar.write_bytes(data)
    assert verify_archive(out)
    assert [one["rgb"].shape for one in dsc.open(out, "rgb", levels=1)] == [(64, 64, 3)] * 7
    with pytest.raises(dsc.errors.DscError, match="rgb"):
        list(dsc.open(out, "rgb"))


def test_a_damaged_finer_level_gives_the_coarse_picture_where_that_is_wanted(
    archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    fetch(archive, "rgb", out)
    (tar, *_) = sorted((out / "rgb.1").glob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[600 + 40 + 200] ^= 0xFF  # in the first payload, behind the tar's head and the table
    tar.write_bytes(data)
    samples = list(dsc.open(out, "rgb", on_damage="coarser"))
    sides = [one["rgb"].shape[0] for one in samples]
    assert sides == [64, *[256] * 6]
    assert [one["__coarser__"] for one in samples] == [{"rgb": 1}, *[{}] * 6]
    (batch,) = dsc.stream(
        out, "rgb", on_damage="coarser", batch_size=7, output="numpy", mixed_sizes="list"
    )
    assert sorted(one.shape[0] for one in batch["rgb"]) == sorted(sides)
