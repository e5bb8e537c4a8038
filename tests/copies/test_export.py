"""An export is a dataset that its own source layout reads back, value for value."""

import json
import shutil
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._copies.export.files import native_path
from dsc._copies.export.run import export
from dsc._copies.export.target import MARK
from dsc._jobs.archive.compress import compress
from dsc._schemas import Manifest, Task, TaskKind
from dsc._sources.registry import open_source
from dsc._sources.rendered.sample import write_sample
from dsc._storage.read.archive import Archive
from dsc.errors import (
    BitstreamError,
    CorruptPackError,
    PlanMismatchError,
    UnsafeArchiveError,
    UsageError,
)
from tests.archives import forge


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export") / "views"
    write_sample(root, 3, size=32)
    return root


@pytest.fixture(scope="module")
def archive(views: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three views; the second has no depth."""
    files = Path(shutil.copytree(views, tmp_path_factory.mktemp("export") / "files"))
    (files / "depth_zbuffer/procedural/point_1_view_0_domain_depth_zbuffer.png").unlink()
    out = tmp_path_factory.mktemp("export") / "archive"
    compress("taskonomy", out, root=files, codec="png")
    return out


def test_taskonomy_comes_back_under_its_own_names_with_its_own_values(
    views: Path, archive: Path, tmp_path: Path
) -> None:
    report = export(archive, None, tmp_path / "out")
    names = {str(p.relative_to(views)) for p in views.rglob("*") if p.is_file()}
    names -= {"depth_zbuffer/procedural/point_1_view_0_domain_depth_zbuffer.png"}
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")}
    assert {name for name in found if not name.startswith(".")} == names
    assert (report.written, report.kept) == (len(names), 0)
    assert report.missing["depth_zbuffer"] == 1
    original, exported = open_source("taskonomy", views), open_source("taskonomy", tmp_path / "out")
    tasks = [task.name for task in original.tasks]
    for index in range(3):
        first, second = original.read(index, tasks), exported.read(index, tasks)
        assert first.key == second.key
        for name, array in second.arrays.items():
            np.testing.assert_array_equal(array, first.arrays[name])


def test_16_bit_depth_stays_16_bit(archive: Path, tmp_path: Path) -> None:
    export(archive, "depth", tmp_path)
    path = tmp_path / "depth_zbuffer/procedural/point_0_view_0_domain_depth_zbuffer.png"
    assert imagecodecs.png_decode(path.read_bytes()).dtype == np.uint16
    assert not (tmp_path / "rgb").exists()


def test_nyuv2_frames_come_back_as_frames(tmp_path: Path) -> None:
    frames = tmp_path / "nyu"
    rng = np.random.default_rng(0)
    for name, shape in (("nyu_images", (12, 16, 3)), ("nyu_depths", (12, 16))):
        (frames / name).mkdir(parents=True)
        for frame in (4, 10):
            data = imagecodecs.png_encode(rng.integers(1, 255, shape).astype(np.uint8))
            (frames / name / f"{frame}.png").write_bytes(data)
    compress("nyuv2", tmp_path / "a", root=frames, codec="png")
    export(tmp_path / "a", None, tmp_path / "out")
    first, second = open_source("nyuv2", frames), open_source("nyuv2", tmp_path / "out")
    assert [second.key(i) for i in range(2)] == [first.key(i) for i in range(2)]
    for name in ("rgb", "depth"):
        np.testing.assert_array_equal(
            second.read(1, [name]).arrays[name], first.read(1, [name]).arrays[name]
        )


def test_folders_come_back_as_one_directory_a_task(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shape, dtype in (("rgb", (8, 9, 3), "uint8"), ("depth", (8, 9), "uint16")):
        (tmp_path / "in" / name).mkdir(parents=True)
        data = imagecodecs.png_encode(rng.integers(1, 255, shape).astype(dtype))
        (tmp_path / "in" / name / "0001.png").write_bytes(data)
    compress("folder", tmp_path / "a", root=tmp_path / "in", codec="png", depth_unit=0.002)
    export(tmp_path / "a", None, tmp_path / "out")
    assert (tmp_path / "out" / "depth" / "0001.png").is_file()
    mark = json.loads((tmp_path / "out" / MARK).read_text())
    assert mark["depth_unit_m"] == {"depth": 0.002}
    back = open_source("folder", tmp_path / "out", depth_unit=0.002)
    original = open_source("folder", tmp_path / "in", depth_unit=0.002)
    assert back.tasks == original.tasks
    np.testing.assert_array_equal(
        back.read(0, ["depth"]).arrays["depth"], original.read(0, ["depth"]).arrays["depth"]
    )


def manifest_of(source: str, *tasks: Task) -> Manifest:
    return Manifest(
        created_by="dsc test", plan_sha256="a" * 64, source=source, tasks=tasks, streams=(),
        codecs=(), quality={}, pack_size=1, shard_size=1, max_pixels=1, splits={}, totals={},
        source_bytes={}, files=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "task", "dtype", "key", "path"),
    [
        (
            "taskonomy",
            "rgb",
            "uint8",
            "a__b__point_1_view_2",
            "rgb/a/b/point_1_view_2_domain_rgb.png",
        ),
        ("sample", "rgb", "uint8", "point_1_view_0", "rgb/point_1_view_0_domain_rgb.png"),
        ("nyuv2", "label", "uint8", "nyu_000123", "nyu_labels40/123.png"),
        ("nyuv2", "depth", "uint16", "nyu_000123", "depth/nyu_000123.png"),
        ("hdf5", "label", "int32", "x__7", "label/x__7.npy"),
        ("folder", "image", "uint16", "seq__7", "image/seq__7.png"),
    ],
)
def test_paths_follow_the_source(source: str, task: str, dtype: str, key: str, path: str) -> None:
    made = Task.model_validate({"name": task, "kind": TaskKind.LABEL, "dtype": dtype})
    assert native_path(manifest_of(source, made), made, key) == path


def test_what_is_there_is_kept_and_an_interrupted_export_goes_on(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = export(archive, "rgb,normal", tmp_path / "whole").written
    part = export(archive, "rgb", tmp_path / "out").written
    kept = next((tmp_path / "out" / "rgb").rglob("*.png"))
    when = kept.stat().st_mtime_ns
    report = export(archive, "rgb,normal", tmp_path / "out")
    assert (report.written, report.kept) == (whole - part, part)
    assert kept.stat().st_mtime_ns == when
    # nothing is left to do, so nothing is decoded
    monkeypatch.setattr("dsc._pipeline.read.dataset.Dataset.batch", None)
    assert export(archive, "rgb,normal", tmp_path / "out").kept == whole


def test_files_of_another_archive_are_not_mixed_in(archive: Path, tmp_path: Path) -> None:
    compress("taskonomy", tmp_path / "b", sample=1, size=32, tasks="rgb", codec="png")
    export(archive, "rgb", tmp_path / "out")
    with pytest.raises(PlanMismatchError, match="--overwrite"):
        export(tmp_path / "b", "rgb", tmp_path / "out")
    assert export(tmp_path / "b", "rgb", tmp_path / "out", overwrite=True).written == 1


def test_damage_is_an_error_not_a_file(archive: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(archive, tmp_path / "broken"))
    tar = broken / Archive.open(broken).shards[0].streams["rgb"].path
    data = tar.read_bytes()
    tar.write_bytes(data[:700] + bytes([data[700] ^ 1]) + data[701:])
    with pytest.raises((CorruptPackError, BitstreamError), match=tar.name):
        export(broken, "rgb", tmp_path / "out")


def test_a_hostile_key_cannot_leave_the_directory(archive: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(archive, tmp_path / "broken"))
    keys = broken / Archive.open(broken).shards[0].keys.path
    text = keys.read_text()
    keys.write_text(text.replace("procedural__point_0", "..__..__point_0"))

    def new_size(records: list[dict]) -> None:  # type: ignore[type-arg]
        records[0]["keys"]["bytes"] = keys.stat().st_size

    forge(broken, shards=new_size)
    with pytest.raises(UnsafeArchiveError):
        export(broken, "rgb", tmp_path / "deep" / "out")
    assert not list(tmp_path.glob("point_*"))
    assert not list((tmp_path / "deep").glob("point_*"))


def test_any_fsspec_url_will_do(archive: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    try:
        report = export(archive, "rgb", "memory://exported")
        found = [path for path in memory.find("/exported") if path.endswith(".png")]
    finally:
        memory.rm("/exported", recursive=True)
    assert len(found) == report.written == len(dsc.open(archive))


def test_a_target_or_an_option_that_is_not_known_is_refused_before_anything_is_written(
    archive: Path, tmp_path: Path
) -> None:
    for options, words in (
        ({"to": "zip"}, "--to zip: known are files"),
        ({"pages": 3}, "--to files has no option --pages; it takes: --names"),
        ({"names": "own"}, "--names own: original or keys"),
    ):
        with pytest.raises(UsageError, match=words):
            export(archive, "rgb", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
