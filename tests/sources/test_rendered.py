"""Procedural views as a source, and as files that the Taskonomy source reads back."""

import json
from pathlib import Path

import numpy as np
import pytest

import dsc
from dsc._schemas import TaskKind
from dsc._sources.registry import open_source, source_from_description
from dsc._sources.rendered.further import FURTHER_TASKS
from dsc._sources.rendered.sample import write_sample
from dsc.errors import UnknownTaskError, UsageError
from tests.cli.conftest import run_dsc

EIGHT = "rgb,depth,normals,depth_euclidean,reshading,edge_texture,keypoints2d,edge_occlusion"
NAMES = ("rgb", "depth_zbuffer", "normal", "segment_semantic", "class_scene")


def test_views_are_in_taskonomys_encodings() -> None:
    source = open_source("sample", n=2, size=48)
    tasks = {task.name: task for task in source.tasks}
    assert tuple(tasks) == NAMES
    sample = source.read(1, NAMES)
    assert sample.key == "point_1_view_0"
    for name in NAMES[:4]:
        assert sample.arrays[name].shape[:2] == (48, 48)
    depth, normal = tasks["depth_zbuffer"], tasks["normal"]
    assert (depth.unit_m, depth.invalid) == (1 / 512, (65535,))
    depth_m = depth.to_physical(sample.arrays["depth_zbuffer"])
    assert 0.05 < np.nanmin(depth_m) < np.nanmax(depth_m) < 60
    raw = sample.arrays["normal"].astype(float) / 127.5 - 1
    length = np.linalg.norm(raw, axis=-1)[~normal.invalid_mask(sample.arrays["normal"])]
    assert np.abs(length - 1).max() < 0.02
    semantic = tasks["segment_semantic"]
    assert sample.arrays["segment_semantic"].max() < len(semantic.classes)
    assert tasks["class_scene"].kind is TaskKind.VECTOR
    assert sample.arrays["class_scene"].shape == (len(tasks["class_scene"].classes),)


def test_a_view_does_not_depend_on_how_many_are_asked_for() -> None:
    few, many = open_source("sample", n=2, size=32), open_source("sample", n=1000, size=32)
    other = open_source("sample", n=2, size=32, seed=1)
    name = "depth_zbuffer"
    view = few.read(1, [name]).arrays[name]
    np.testing.assert_array_equal(view, many.read(1, [name]).arrays[name])
    assert not np.array_equal(view, other.read(1, [name]).arrays[name])
    assert not np.array_equal(view, few.read(0, [name]).arrays[name])


@pytest.mark.parametrize("workers", [1, 2])
def test_written_views_read_back_as_taskonomy_with_the_stated_bytes(
    workers: int, tmp_path: Path
) -> None:
    write_sample(tmp_path, 3, size=32, seed=4, workers=workers)
    rendered = open_source("sample", n=3, size=32, seed=4)
    written = open_source("taskonomy", str(tmp_path))
    assert [task.name for task in written.tasks] == list(NAMES)
    assert [written.key(index) for index in range(len(written))] == [
        f"procedural__point_{index}_view_0" for index in range(3)
    ]
    for index in range(3):
        one, two = rendered.read(index, NAMES), written.read(index, NAMES)
        assert one.source_bytes == two.source_bytes
        for name in NAMES:
            np.testing.assert_array_equal(one.arrays[name], two.arrays[name])
    assert (tmp_path / "rgb/procedural/point_0_view_0_domain_rgb.png").is_file()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 3, "size": 8}, {"n": 3, "size": 10**6}])
def test_counts_and_sizes_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        open_source("sample", **options)


def test_further_tasks_are_there_where_they_are_named() -> None:
    plain = open_source("sample", n=2, size=32)
    assert [task.name for task in plain.tasks] == list(NAMES)
    assert "tasks" not in plain.describe()["options"]
    for words in ("rgb,depth", ["normals"], ""):
        assert open_source("sample", n=2, size=32, tasks=words).describe() == plain.describe()
    source = open_source("sample", n=2, size=32, tasks="keypoints2d, Edge-Texture ,depth")
    assert {task.name for task in source.tasks} == {*NAMES, "edge_texture", "keypoints2d"}
    again = source_from_description(json.loads(json.dumps(source.describe())))
    assert again.tasks == source.tasks
    found = again.read(1, ["edge_texture"]).arrays
    assert list(found) == ["edge_texture"]
    assert found["edge_texture"].dtype == np.uint16
    np.testing.assert_array_equal(
        source.read(1, ["rgb"]).arrays["rgb"], plain.read(1, ["rgb"]).arrays["rgb"]
    )
    with pytest.raises(UnknownTaskError, match="edge_texture"):
        plain.read(0, ["edge_texture"])


@pytest.mark.parametrize("name", ["sample", "clevr"])
def test_written_further_tasks_read_back_as_taskonomys(name: str, tmp_path: Path) -> None:
    names = ("rgb", *FURTHER_TASKS)
    rendered = open_source(name, n=2, size=48, tasks=names)
    kinds = {task.name: (task.kind, task.dtype, task.channels) for task in rendered.tasks}
    assert kinds["edge_texture"] == (TaskKind.IMAGE, "uint16", 1)
    assert kinds["depth_euclidean"] == (TaskKind.DEPTH, "uint16", 1)
    assert kinds["mask_valid"] == (TaskKind.LABEL, "uint8", 1)
    if name == "clevr":
        assert set(rendered.read(0, FURTHER_TASKS).arrays) == set(FURTHER_TASKS)
        return
    write_sample(tmp_path, 2, size=48, tasks=names)
    written = open_source("taskonomy", str(tmp_path))
    own = {task.name: task for task in rendered.tasks}
    assert [task.name for task in written.tasks] == [n for n in own if n in names]
    for task in written.tasks:
        assert task == own[task.name]
    one, two = rendered.read(1, names), written.read(1, names)
    assert one.source_bytes == two.source_bytes
    for task_name in names:
        np.testing.assert_array_equal(one.arrays[task_name], two.arrays[task_name])


def test_no_view_is_written_of_a_task_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(UnknownTaskError, match=r"'smell'.*mask_valid.*segment_semantic"):
        write_sample(tmp_path / "a", 1, size=32, tasks="rgb,smell")
    assert not (tmp_path / "a").exists()


def test_the_command_line_renders_further_tasks(tmp_path: Path) -> None:
    out = str(tmp_path / "a")
    words = ["--views", "4", "--size", "32", "--codec", "png", "--out", out]
    ran = run_dsc("compress", "taskonomy", "--tasks", "rgb,edge_texture", *words)
    assert ran.code == 0, ran.err
    archive = dsc.open(out, native=True)
    assert [task.name for task in archive.tasks] == ["rgb", "edge_texture"]
    source = open_source("sample", n=9, size=32, tasks="edge_texture,mask_valid")
    np.testing.assert_array_equal(
        archive[3]["edge_texture"], source.read(3, ["edge_texture"]).arrays["edge_texture"]
    )
    ran = run_dsc("compress", "taskonomy", "--tasks", "rgb,smell", *words[:-1], out + "b")
    assert ran.code != 0
    assert "'smell'" in ran.err
    assert "keypoints2d" in ran.err


def test_an_archive_of_further_tasks_grows_by_views_and_by_tasks(tmp_path: Path) -> None:
    out = tmp_path / "a"
    dsc.compress("taskonomy", out, sample=2, size=32, codec="png", tasks="rgb,edge_texture")
    dsc.append(out, "taskonomy", sample=3, size=32)
    dsc.append(out, "taskonomy", sample=3, size=32, tasks="keypoints2d", codec="png")
    found, source = (
        dsc.open(out, native=True),
        open_source("sample", n=3, size=32, tasks="edge_texture,keypoints2d"),
    )
    assert len(found) == 3
    for name, array in source.read(2, ["rgb", "edge_texture", "keypoints2d"]).arrays.items():
        np.testing.assert_array_equal(found[2][name], array)


def test_eight_tasks_of_a_view(tmp_path: Path) -> None:
    dsc.compress("taskonomy", tmp_path / "a", sample=1, size=32, tasks=EIGHT, effort="fast")
    assert len(dsc.open(tmp_path / "a").tasks) == 8
