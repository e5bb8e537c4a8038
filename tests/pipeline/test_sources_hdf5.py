"""HDF5 files: one dataset a task, first axis the samples."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from dsc.errors import SampleError, UsageError
from dsc.pipeline.sources import open_source
from dsc.schemas import TaskKind

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (3, 6, 8, 3), np.uint8)
DEPTH_M = RNG.uniform(1, 9, (3, 6, 8)).astype(np.float32)


def write(path: Path, **datasets: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


def test_datasets_are_tasks_by_name_and_shape(tmp_path: Path) -> None:
    path = write(
        tmp_path / "train.h5",
        rgb=RGB,
        depth=DEPTH_M,
        labels=np.arange(144, dtype=np.int32).reshape(3, 6, 8),
        albedo=RGB.transpose(0, 3, 1, 2),
        mono=RGB[:, None, :, :, 0],
        y=np.array([4, 5, 6]),
        embedding=np.zeros((3, 5), np.float32),
        words=np.array([b"a", b"b", b"c"]),
    )
    source = open_source("hdf5", str(path))
    found = {task.name: (task.kind.value, task.dtype, task.channels) for task in source.tasks}
    assert found == {
        "rgb": ("image", "uint8", 3),
        "depth": ("depth", "uint16", 1),
        "labels": ("label", "int32", 1),
        "albedo": ("image", "uint8", 3),
        "mono": ("image", "uint8", 1),
        "y": ("class", "int64", 0),
        "embedding": ("vector", "float32", 5),
    }
    sample = source.read(1, list(found))
    assert sample.key == "train_000001"
    np.testing.assert_array_equal(sample.arrays["rgb"], RGB[1])
    np.testing.assert_array_equal(sample.arrays["albedo"], RGB[1])
    np.testing.assert_array_equal(sample.arrays["mono"], RGB[1, :, :, 0])
    np.testing.assert_allclose(sample.arrays["depth"] / 1000, DEPTH_M[1], atol=0.00051)
    assert sample.arrays["y"] == 5
    assert sample.source_bytes["depth"] == 6 * 8 * 4


def test_attributes_say_what_a_dataset_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", z=(DEPTH_M * 100).astype(np.uint16), parts=RGB[..., 0])
    with h5py.File(path, "a") as file:
        file["z"].attrs.update({"kind": "depth", "unit_m": 0.01, "invalid": [7, 9]})
        file["parts"].attrs.update({"kind": "label", "classes": ["wall", "floor"]})
    parts, depth = sorted(open_source("hdf5", str(path)).tasks, key=lambda task: task.name)
    assert (depth.kind, depth.unit_m, depth.invalid) == (TaskKind.DEPTH, 0.01, (7, 9))
    assert (parts.kind, parts.classes) == (TaskKind.LABEL, ("wall", "floor"))


def test_files_of_a_directory_follow_in_natural_order(tmp_path: Path) -> None:
    write(tmp_path / "part10.h5", rgb=RGB)
    write(tmp_path / "part9.h5", rgb=RGB[:2], depth=DEPTH_M[:2])
    write(tmp_path / "below" / "part1.hdf5", rgb=RGB[:1])
    source = open_source("hdf5", str(tmp_path))
    assert [source.key(index) for index in range(len(source))] == [
        "below__part1_000000",
        "part9_000000",
        "part9_000001",
        "part10_000000",
        "part10_000001",
        "part10_000002",
    ]
    assert set(source.read(1, ["rgb", "depth"]).arrays) == {"rgb", "depth"}
    assert set(source.read(3, ["rgb", "depth"]).arrays) == {"rgb"}


def test_nested_datasets_get_the_groups_name(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["left/depth"] = (DEPTH_M * 1000).astype(np.uint16)
    (task,) = open_source("hdf5", str(path)).tasks
    assert (task.name, task.kind) == ("left_depth", TaskKind.DEPTH)


def test_datasets_of_different_length_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", rgb=RGB, camera=np.zeros((4, 4)))
    with pytest.raises(UsageError, match=r"a\.h5: datasets differ.*camera 4, rgb 3"):
        open_source("hdf5", str(path))


def test_files_that_disagree_on_a_task_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", rgb=RGB)
    write(tmp_path / "b.h5", rgb=RGB.astype(np.uint16))
    with pytest.raises(UsageError, match=r"b\.h5, dataset rgb.*differs"):
        open_source("hdf5", str(tmp_path))


def test_float_images_are_refused_with_advice(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", rgb=RGB / 255.0)
    with pytest.raises(UsageError, match=r"float64 with 3 channels cannot be rgb.*convert"):
        open_source("hdf5", str(path))


def test_many_files_stay_within_the_open_limit(tmp_path: Path) -> None:
    for number in range(40):
        write(tmp_path / f"{number}.h5", rgb=np.full((1, 6, 8, 3), number, np.uint8))
    source = open_source("hdf5", str(tmp_path))
    for index in (*range(40), 0, 39):
        assert (source.read(index, ["rgb"]).arrays["rgb"] == index).all()


def test_damaged_row_names_sample_file_and_dataset(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("rgb", data=RGB, chunks=(1, 6, 8, 3), compression="gzip")
    with h5py.File(path) as file:
        chunk = file["rgb"].id.get_chunk_info(2)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + 20] = bytes(20)
    path.write_bytes(data)
    source = open_source("hdf5", str(path))
    assert source.read(1, ["rgb"]).arrays
    with pytest.raises(SampleError, match=r"a_000002: .*a\.h5, dataset rgb, row 2"):
        source.read(2, ["rgb"])


def test_remote_file_reads_the_same(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    path = write(tmp_path / "a.h5", rgb=RGB)
    fsspec.filesystem("memory").put(str(path), "/hdf5/a.h5")
    for root in ("memory://hdf5/a.h5", "memory://hdf5"):
        source = open_source("hdf5", root)
        np.testing.assert_array_equal(source.read(2, ["rgb"]).arrays["rgb"], RGB[2])
