"""Procedural views as a source, and as files that the Taskonomy source reads back."""

from pathlib import Path

import numpy as np
import pytest

from dsc._schemas import TaskKind
from dsc._sources.registry import open_source
from dsc._sources.rendered.sample import write_sample
from dsc.errors import UsageError

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
