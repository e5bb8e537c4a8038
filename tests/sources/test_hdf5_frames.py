"""HDF5 where a file or a group is a sample: told from names and shapes, stated, or asked for."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pytest

from dsc._sources.base import left_out_of, origin_of, report_of, splits_of
from dsc._sources.registry import Source, open_source, source_from_description
from dsc.errors import UsageError

RNG = np.random.default_rng(0)
H, W = 18, 24


def rgb() -> np.ndarray:
    return RNG.integers(0, 256, (H, W, 3), np.uint8)


def depth_m() -> np.ndarray:
    return RNG.uniform(1, 9, (H, W)).astype(np.float32)


def unit_vectors() -> np.ndarray:
    vectors = RNG.normal(size=(H, W, 3))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float16)


def write(path: Path, **datasets: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "a") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


def keys(source: Source) -> list[str]:
    return [source.key(index) for index in range(len(source))]


def names(source: Source) -> set[str]:
    return {task.name for task in source.tasks}


def test_one_dataset_a_file_is_named_by_the_file(tmp_path: Path) -> None:
    frames = [depth_m() for _ in range(3)]
    for number, frame in enumerate(frames):
        write(tmp_path / f"frame.{number:04d}.depth_meters.hdf5", dataset=frame)
    for options in ({}, {"kinds": {"dataset": "depth"}}, {"tasks": "dataset"}):
        source = open_source("hdf5", str(tmp_path), **options)
        assert len(source) == 3
        (task,) = source.tasks
        assert (task.name, task.kind.value) == ("depth_meters", "depth")
        depth = source.read(2, ["depth_meters"]).arrays["depth_meters"]
        np.testing.assert_allclose(depth / 1000, frames[2], atol=0.00051)
        origin = origin_of(source, 0)
        assert origin is not None
        assert origin.name == "frame.0000.depth_meters.hdf5"
        assert origin.files == {"depth_meters": "frame.0000.depth_meters.hdf5"}


def make_hypersim(root: Path) -> None:
    """Write a camera's frames as Hypersim has them: two directories, one dataset a file."""
    for number in range(2):
        for part, task, values in (
            ("final", "color", rgb().astype(np.float16) / 255),
            ("geometry", "depth_meters", depth_m().astype(np.float16)),
            ("geometry", "normal_cam", unit_vectors()),
            ("geometry", "position", unit_vectors()),
            ("geometry", "render_entity_id", RNG.integers(-1, 9, (H, W)).astype(np.int32)),
            ("geometry", "semantic", RNG.integers(-1, 9, (H, W)).astype(np.int16)),
        ):
            directory = root / "ai_001_001" / "images" / f"scene_cam_00_{part}_hdf5"
            write(directory / f"frame.{number:04d}.{task}.hdf5", dataset=values)


def test_hypersim_frames_are_samples_of_all_their_tasks(tmp_path: Path) -> None:
    make_hypersim(tmp_path)
    source = open_source("hdf5", str(tmp_path))
    assert {task.name: task.kind.value for task in source.tasks} == {
        "rgb": "array",
        "depth_meters": "depth",
        "normal_cam": "normal",
        "position": "array",
        "render_entity_id": "label",
        "semantic": "label",
    }
    assert (len(source), report_of(source).complete) == (2, 2)
    origin = origin_of(source, 1)
    assert origin is not None
    assert origin.name == "ai_001_001/images/scene_cam_00/frame.0001"
    assert origin.files["rgb"].endswith("scene_cam_00_final_hdf5/frame.0001.color.hdf5")
    with pytest.raises(UsageError, match=r"dataset is the dataset of tasks .*depth_meters"):
        open_source("hdf5", str(tmp_path), kinds={"dataset": "depth"})
    some = open_source("hdf5", str(tmp_path), tasks="depth_meters,normal_cam")
    assert {one.what: one.files for one in left_out_of(some)} == {
        "task rgb": 2,
        "task position": 2,
        "task render_entity_id": 2,
        "task semantic": 2,
    }


def test_pictures_beside_the_frames_look_like_a_task(tmp_path: Path) -> None:
    make_hypersim(tmp_path)
    previews = tmp_path / "ai_001_001" / "images" / "scene_cam_00_final_preview"
    previews.mkdir()
    for number in range(2):
        (previews / f"frame.{number:04d}.tonemap.jpg").write_bytes(imagecodecs.jpeg8_encode(rgb()))
    (tmp_path / "readme.txt").write_text("x")
    (tmp_path / "cover.jpg").write_bytes(imagecodecs.jpeg8_encode(rgb()))
    left = left_out_of(open_source("hdf5", str(tmp_path)))
    found = {one.what: (one.files, one.task) for one in left}
    assert found == {
        "readme.txt": (1, ""),
        "cover.jpg": (1, ""),
        "ai_001_001/images/scene_cam_00_final_preview/*.jpg": (2, "tonemap"),
    }


@pytest.mark.parametrize("planes", [1, None])
@pytest.mark.parametrize("first", [True, False])
def test_several_datasets_a_file(first: bool, planes: int | None, tmp_path: Path) -> None:
    pictures, depths = [rgb() for _ in range(3)], [depth_m() for _ in range(3)]
    for number, (picture, depth) in enumerate(zip(pictures, depths, strict=True)):
        write(
            tmp_path / ("val" if number == 2 else "train") / f"{number:05d}.h5",
            rgb=picture.transpose(2, 0, 1) if first else picture,
            depth=depth if planes is None else depth[None] if first else depth[..., None],
            label=number,
            pose=np.eye(4) * number,
            note="text",
        )
    source = open_source("hdf5", str(tmp_path))
    assert keys(source) == ["train__00000", "train__00001", "val__00002"]
    assert splits_of(source) == {"train": 2, "val": 1}
    sample = source.read(1, sorted(names(source)))
    np.testing.assert_array_equal(sample.arrays["rgb"], pictures[1])
    np.testing.assert_allclose(sample.arrays["depth"] / 1000, depths[1], atol=0.00051)
    assert sample.arrays["label"] == 1
    np.testing.assert_array_equal(sample.arrays["pose"], np.eye(4).ravel())
    assert [(one.what, one.files, one.reason) for one in left_out_of(source)] == [
        ("*: /note", 3, "text")
    ]
    assert origin_of(source, 2).name == "val/00002.h5"  # type: ignore[union-attr]


def test_one_file_alone_may_be_a_sample(tmp_path: Path) -> None:
    picture = rgb()
    path = write(tmp_path / "one.h5", rgb=picture, depth=depth_m())
    source = open_source("hdf5", str(path))
    assert keys(source) == ["one"]
    np.testing.assert_array_equal(source.read(0, ["rgb"]).arrays["rgb"], picture)


def test_pictures_of_different_size_are_samples(tmp_path: Path) -> None:
    for number in range(1, 4):
        size = (H + number, W + number)
        write(tmp_path / f"{number}.h5", image=np.zeros((*size, 3), np.uint8), mask=np.ones(size))
    source = open_source("hdf5", str(tmp_path))
    assert len(source) == 3
    assert source.read(2, ["image"]).arrays["image"].shape == (H + 3, W + 3, 3)


def test_a_matrix_that_may_be_either_is_asked_about(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.h5", dataset=depth_m())
    for root in (tmp_path, tmp_path / "0.h5"):
        with pytest.raises(UsageError, match=r"0\.h5: /dataset.*--layout rows.*--layout frames"):
            open_source("hdf5", str(root))
    assert len(open_source("hdf5", str(tmp_path), layout="frames")) == 3
    assert len(open_source("hdf5", str(tmp_path), layout="rows")) == 3 * H
    assert len(open_source("hdf5", str(tmp_path), kinds={"dataset": "depth"})) == 3
    with pytest.raises(UsageError, match=r"--layout frame: known are rows, frames, groups"):
        open_source("hdf5", str(tmp_path), layout="frame")


def test_what_is_not_asked_for_still_tells_the_layout(tmp_path: Path) -> None:
    for number in range(2):
        write(
            tmp_path / f"{number}.h5", rgb=rgb().transpose(2, 0, 1), depth=depth_m(), box=[1.0] * 5
        )
    for root in (tmp_path, tmp_path / "0.h5"):
        for tasks in ("rgb", "box", "rgb,depth"):
            source = open_source("hdf5", str(root), tasks=tasks)
            assert len(source) == (2 if root == tmp_path else 1)


def test_slices_beside_their_labels(tmp_path: Path) -> None:
    for number in range(3):
        labels = RNG.integers(0, 4, (H, W)).astype(np.float32)
        write(tmp_path / f"case1_slice{number}.h5", image=depth_m(), label=labels)
    source = open_source("hdf5", str(tmp_path))
    assert keys(source) == [f"case1_slice{number}" for number in range(3)]
    with h5py.File(tmp_path / "case1_slice1.h5") as file:
        label = source.read(1, ["label"]).arrays["label"]
        np.testing.assert_array_equal(label, file["label"][()])


def test_rows_of_numbers_beside_a_class_are_rows(tmp_path: Path) -> None:
    write(tmp_path / "mnist.h5", images=np.zeros((30, 784), np.uint8), labels=np.arange(30))
    source = open_source("hdf5", str(tmp_path))
    assert {task.name: (task.kind.value, task.channels) for task in source.tasks} == {
        "images": ("vector", 784),
        "labels": ("class", 0),
    }


def test_clouds_of_points_are_no_maps(tmp_path: Path) -> None:
    for number, count in enumerate((40, 40, 30)):
        write(
            tmp_path / f"ply_data_train{number}.h5",
            data=np.zeros((count, 64, 3), np.float32),
            normal=np.zeros((count, 64, 3), np.float32),
            label=np.zeros((count, 1), np.uint8),
        )
    for root in (tmp_path, tmp_path / "ply_data_train0.h5"):
        with pytest.raises(UsageError, match=r"--layout rows"):
            open_source("hdf5", str(root))
    for path in tmp_path.iterdir():
        with h5py.File(path, "a") as file:
            del file["label"]
    with pytest.raises(UsageError, match=r"--layout rows"):
        open_source("hdf5", str(tmp_path))


def test_rows_of_different_number_are_no_frames(tmp_path: Path) -> None:
    for number in (3, 5):
        write(tmp_path / f"{number}.h5", features=np.zeros((number * 20, 30), np.float32))
    assert len(open_source("hdf5", str(tmp_path))) == 160
    write(tmp_path / "more" / "a.h5", x=np.zeros((20, 17, 3)), keypoints=np.zeros((20, 17, 3)))
    write(tmp_path / "more" / "b.h5", x=np.zeros((30, 17, 3)), keypoints=np.zeros((30, 17, 3)))
    assert len(open_source("hdf5", str(tmp_path / "more"), layout="rows")) == 50


def make_groups(path: Path) -> list[np.ndarray]:
    path.parent.mkdir(exist_ok=True)
    pictures = [rgb() for _ in range(4)]
    with h5py.File(path, "w") as file:
        for number, picture in enumerate(pictures):
            group = file.create_group(f"scene_{'ab'[number // 2]}/{number:04d}")
            group["rgb"], group["depth"] = picture, depth_m()
            group["pose"], group["caption"] = np.eye(4), "text"
        file["about"] = "me"
        file["fps"] = 30
    return pictures


def test_stated_groups_need_no_numbers(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("kitchen", "office"):
            file[f"{name}/rgb"], file[f"{name}/depth"] = rgb(), depth_m()
        file["fps"] = 30
    source = open_source("hdf5", str(tmp_path), layout="groups")
    assert keys(source) == ["a__kitchen", "a__office"]
    assert [one.what for one in left_out_of(source)] == ["a.h5: /fps"]


@pytest.mark.parametrize("layout", [None, "groups"])
def test_groups_are_samples(layout: str | None, tmp_path: Path) -> None:
    pictures = make_groups(tmp_path / "a.h5")
    source = open_source("hdf5", str(tmp_path / "a.h5"), layout=layout)
    assert keys(source) == [f"a__scene_{'ab'[n // 2]}__{n:04d}" for n in range(4)]
    np.testing.assert_array_equal(source.read(3, ["rgb"]).arrays["rgb"], pictures[3])
    origin = origin_of(source, 3)
    assert origin is not None
    assert (origin.name, origin.files["rgb"]) == ("a.h5: /scene_b/0003", "a.h5")
    listed = {one.what: one.files for one in left_out_of(source)}
    assert listed["a.h5: /*/caption"] == 4
    assert {"a.h5: /about", "a.h5: /fps"} <= {*listed}


def test_groups_of_tasks_with_numbered_datasets(tmp_path: Path) -> None:
    pictures = [rgb() for _ in range(3)]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, picture in enumerate(pictures):
            file[f"images/{number}"] = np.frombuffer(imagecodecs.png_encode(picture), np.uint8)
            file[f"depth/{number}"] = depth_m()
    source = open_source("hdf5", str(tmp_path))
    assert keys(source) == ["a__0", "a__1", "a__2"]
    np.testing.assert_array_equal(source.read(1, ["images"]).arrays["images"], pictures[1])
    assert report_of(source).complete == 3


def test_numbered_groups_with_rows_are_recordings(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for number, length in enumerate((3, 5)):
            group = file.create_group(f"data/demo_{number}")
            group["obs/image"] = RNG.integers(0, 256, (length, H, W, 3), np.uint8)
            group["actions"] = np.arange(length * 7.0).reshape(length, 7)
    source = open_source("hdf5", str(tmp_path))
    assert (len(source), source.key(3)) == (8, "a__data__demo_1_000000")
    assert names(source) == {"obs_image", "actions"}
    np.testing.assert_array_equal(source.read(4, ["actions"]).arrays["actions"], np.arange(7, 14))


def test_too_many_names_are_no_tasks(tmp_path: Path) -> None:
    names_of_pictures = {f"{a}{b}": rgb() for a in "abcdefghi" for b in "abcdefghi"}
    path = write(tmp_path / "a.h5", **names_of_pictures)
    with pytest.raises(UsageError, match=r"a\.h5: 81 datasets of different names.*images/0001"):
        open_source("hdf5", str(path))
    assert len(open_source("hdf5", str(path), tasks="aa,bb").tasks) == 2


def test_cameras_are_no_samples(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for camera in ("cam0", "cam1", "left", "right"):
            file[f"{camera}/rgb"] = RNG.integers(0, 256, (5, H, W, 3), np.uint8)
    source = open_source("hdf5", str(tmp_path))
    assert (len(source), len(source.tasks)) == (5, 4)


def test_two_files_of_one_sample_and_task_are_refused_by_both_names(tmp_path: Path) -> None:
    for name in ("0001.h5", "0001.hdf5"):
        write(tmp_path / name, rgb=rgb(), depth=depth_m())
    with pytest.raises(UsageError, match=r"0001\.h5//.* and 0001\.hdf5//.* are both"):
        open_source("hdf5", str(tmp_path))


def test_single_matlab_matrices(tmp_path: Path) -> None:
    pictures, depths = [rgb() for _ in range(2)], [depth_m() for _ in range(2)]
    for number in range(2):
        path = write(
            tmp_path / f"{number}.mat", rgb=pictures[number].T, depth=depths[number].T, k=np.eye(3)
        )
        with h5py.File(path, "a") as file:
            file["time"] = [[number + 0.5]]
            for name, kind in (("rgb", "uint8"), ("depth", "single"), ("k", "double")):
                file[name].attrs["MATLAB_class"] = np.bytes_(kind)
            file["time"].attrs["MATLAB_class"] = np.bytes_("double")
    source = open_source("hdf5", str(tmp_path))
    sample = source.read(1, ["rgb", "depth", "time"])
    np.testing.assert_array_equal(sample.arrays["rgb"], pictures[1])
    np.testing.assert_allclose(sample.arrays["depth"] / 1000, depths[1], atol=0.00051)
    assert sample.arrays["time"] == 1.5


def test_each_file_is_opened_once_and_a_few_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        write(tmp_path / f"{number}.h5", rgb=rgb(), depth=depth_m())
    opened = []
    real = h5py.File

    def count(path: str, *more: str) -> h5py.File:
        opened.append(path)
        return real(path, *more)

    monkeypatch.setattr(h5py, "File", count)
    open_source("hdf5", str(tmp_path))
    assert len(opened) <= 40 + 10


MAKERS: dict[str, Callable[[Path], Any]] = {
    "hypersim": make_hypersim,
    "groups": lambda root: make_groups(root / "a.h5"),
    "frames": lambda root: [write(root / f"{n}.h5", rgb=rgb(), depth=depth_m()) for n in range(3)],
}


@pytest.mark.parametrize("name", MAKERS)
def test_sources_reopen_and_travel(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    source = open_source("hdf5", str(tmp_path))
    tasks = sorted(names(source))
    before = source.read(1, tasks)
    for again in (pickle.loads(pickle.dumps(source)), source_from_description(source.describe())):
        assert (keys(again), again.tasks) == (keys(source), source.tasks)
        after = again.read(1, tasks)
        assert after.source_bytes == before.source_bytes
        for task in tasks:
            np.testing.assert_array_equal(after.arrays[task], before.arrays[task])
    MAKERS[name](tmp_path / "more")
    with pytest.raises(UsageError, match="not what it was"):
        source_from_description(source.describe())


DATASETS: dict[str, Callable[[int], Any]] = {
    "rgb": lambda n: RNG.integers(0, 256, (n, H, W, 3), np.uint8),
    "depth": lambda n: RNG.uniform(1, 9, (n, H, W)),
    "label": np.arange,
    "pose": lambda n: np.zeros((n, 4, 4)),
    "intrinsics": lambda n: np.eye(3),
    "names": lambda n: ["x"] * n,
    "fps": lambda n: 30,
    "other": lambda n: np.zeros((n + 1, 3)),
    "table": lambda n: np.zeros(n, [("x", "f4")]),
    "meta/author": lambda n: "me",
    "meta/mean": lambda n: np.zeros(3),
    "empty": lambda n: np.zeros((0, 3)),
    "clip": lambda n: np.zeros((n, 2, H, W, 3), np.uint8),
}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("group", ["", "train/", "0001/", "scene/0001/"])
def test_all_that_is_there_is_read_or_listed(seed: int, group: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    chosen = ["rgb", *rng.choice(list(DATASETS)[1:], 6, replace=False)]
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name in chosen:
            home = group if name == "rgb" or rng.random() < 0.8 else ""
            file[f"{home}{name}"] = DATASETS[name](4)
    source = open_source("hdf5", str(path))
    counted = len(source.tasks) + sum(one.files for one in left_out_of(source))
    assert counted == len(chosen), (names(source), left_out_of(source))
    for index in range(len(source)):
        assert source.read(index, sorted(names(source))).arrays
