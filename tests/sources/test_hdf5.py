"""HDF5 files whose datasets have rows: what is a task, what its values mean, what is left out."""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pytest

from dsc._schemas import TaskKind
from dsc._sources.base import Source, left_out_of, origin_of, report_of, splits_of
from dsc._sources.registry import open_source, source_from_description
from dsc.errors import SampleError, SourceNotFoundError, UsageError

RNG = np.random.default_rng(0)
H, W = 18, 24
RGB = RNG.integers(0, 256, (3, H, W, 3), np.uint8)
DEPTH_M = RNG.uniform(1, 9, (3, H, W)).astype(np.float32)
LABEL = RNG.integers(0, 40, (3, H, W)).astype(np.int32)


def write(path: Path, **datasets: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


def kinds(source: Source) -> dict[str, tuple[str, str, int]]:
    return {task.name: (task.kind.value, task.dtype, task.channels) for task in source.tasks}


def first(source: Source, task: str, index: int = 0) -> np.ndarray:
    return source.read(index, [task]).arrays[task]


def left(source: Source) -> dict[str, tuple[str, str]]:
    return {one.what: (one.reason, one.task) for one in left_out_of(source)}


def jpeg(picture: np.ndarray) -> np.ndarray:
    return np.frombuffer(imagecodecs.jpeg8_encode(picture), np.uint8)


def png(picture: np.ndarray) -> np.ndarray:
    return np.frombuffer(imagecodecs.png_encode(picture), np.uint8)


def put_pictures(file: h5py.File, name: str, pictures: Sequence[np.ndarray]) -> None:
    dataset = file.create_dataset(name, (len(pictures),), h5py.vlen_dtype(np.uint8))
    for row, data in enumerate(pictures):
        dataset[row] = data


def test_datasets_are_tasks_by_name_and_shape(tmp_path: Path) -> None:
    path = write(
        tmp_path / "train.h5",
        rgb=RGB,
        depth=DEPTH_M,
        labels=LABEL,
        albedo=RGB.transpose(0, 3, 1, 2),
        mono=RGB[:, None, :, :, 0],
        y=np.array([4, 5, 6]),
        embedding=np.zeros((3, 5), np.float32),
    )
    source = open_source("hdf5", str(path))
    assert kinds(source) == {
        "rgb": ("image", "uint8", 3),
        "depth": ("depth", "uint16", 1),
        "labels": ("label", "int32", 1),
        "albedo": ("image", "uint8", 3),
        "mono": ("image", "uint8", 1),
        "y": ("class", "int64", 0),
        "embedding": ("vector", "float32", 5),
    }
    sample = source.read(1, list(kinds(source)))
    assert sample.key == "train_000001"
    np.testing.assert_array_equal(sample.arrays["rgb"], RGB[1])
    np.testing.assert_array_equal(sample.arrays["albedo"], RGB[1])
    np.testing.assert_array_equal(sample.arrays["mono"], RGB[1, :, :, 0])
    np.testing.assert_array_equal(sample.arrays["labels"], LABEL[1])
    np.testing.assert_allclose(sample.arrays["depth"] / 1000, DEPTH_M[1], atol=0.00051)
    assert sample.arrays["y"] == 5
    assert sample.source_bytes["depth"] == H * W * 4
    assert origin_of(source, 2).name == "train.h5#2"  # type: ignore[union-attr]
    assert splits_of(source) == {"train": 3}


def test_attributes_say_what_a_dataset_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", z=(DEPTH_M * 100).astype(np.uint16), parts=RGB[..., 0])
    with h5py.File(path, "a") as file:
        file["z"].attrs.update({"kind": "depth", "unit_m": 0.01, "invalid": [7, 9]})
        file["parts"].attrs.update({"kind": "label", "classes": ["wall", "floor"]})
    parts, depth = sorted(open_source("hdf5", str(path)).tasks, key=lambda task: task.name)
    assert (depth.kind, depth.unit_m, depth.invalid) == (TaskKind.DEPTH, 0.01, (7, 9))
    assert (parts.kind, parts.classes) == (TaskKind.LABEL, ("wall", "floor"))
    stated = open_source("hdf5", str(path), depth_unit="z=1/50", kinds={"parts": "image"}).tasks
    assert {task.name: task.unit_m or task.kind for task in stated} == {
        "z": 1 / 50,
        "parts": TaskKind.IMAGE,
    }


@pytest.mark.parametrize(
    "attribute",
    [{"kind": "dpeth"}, {"unit_m": "wide"}, {"invalid": "x"}, {"scale_factor": "0.1"}],
)
def test_attributes_that_make_no_sense_are_refused(
    attribute: dict[str, str], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.h5", z=RGB[..., 0], rgb=RGB)
    with h5py.File(path, "a") as file:
        file["z"].attrs.update(attribute)
    with pytest.raises(UsageError, match=r"a\.h5, dataset z: its attributes cannot be understood"):
        open_source("hdf5", str(path))
    assert list(kinds(open_source("hdf5", str(path), tasks="rgb"))) == ["rgb"]


def test_files_whose_attributes_differ_are_refused(tmp_path: Path) -> None:
    for name, unit in (("a", 0.001), ("b", 0.01)):
        path = write(tmp_path / f"{name}.h5", depth=(DEPTH_M * 100).astype(np.uint16))
        with h5py.File(path, "a") as file:
            file["depth"].attrs["unit_m"] = unit
    with pytest.raises(UsageError, match=r"attributes of .*a\.h5.*b\.h5, dataset depth differ"):
        open_source("hdf5", str(tmp_path))


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
    report = report_of(source)
    assert (report.samples, report.complete) == (6, 2)
    assert {name: task.samples for name, task in report.tasks.items()} == {"rgb": 6, "depth": 2}


def test_nested_datasets_get_the_groups_name(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["left/depth"] = (DEPTH_M * 1000).astype(np.uint16)
    (task,) = open_source("hdf5", str(path)).tasks
    assert (task.name, task.kind) == ("left_depth", TaskKind.DEPTH)


def test_only_what_is_asked_for_is_judged(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.h5",
        rgb=RGB,
        depth=DEPTH_M,
        pose=np.stack([np.eye(4)] * 3),
        strange=np.zeros((3, H, W), np.complex64),
        wide=np.zeros((3, H, W), np.longdouble),
        huge=np.full((3, H, W), 1e9, np.float32),
        later=np.zeros((5, H, W), np.uint8),
        video=np.zeros((3, 2, H, W, 3), np.uint8),
    )
    source = open_source("hdf5", str(path), tasks="rgb,depth")
    assert list(kinds(source)) == ["depth", "rgb"]
    np.testing.assert_array_equal(first(source, "rgb"), RGB[0])
    pose = open_source("hdf5", str(path), tasks=["pose"])
    np.testing.assert_array_equal(first(pose, "pose"), np.eye(4).ravel())
    assert len(open_source("hdf5", str(path), tasks="later")) == 5
    with pytest.raises(UsageError, match=r"dataset strange: complex numbers"):
        open_source("hdf5", str(path), tasks="strange,rgb")
    with pytest.raises(UsageError, match=r"video: \(2, 18, 24, 3\) a sample"):
        open_source("hdf5", str(path), tasks="video")
    with pytest.raises(UsageError, match=r"differ in their first axis.*later 5"):
        open_source("hdf5", str(path), tasks="rgb,later")


def test_everything_that_is_not_read_is_listed(tmp_path: Path) -> None:
    path = write(
        tmp_path / "data" / "a.h5",
        rgb=RGB,
        caption=["a", "b", "c"],
        author="me",
        table=np.zeros(3, [("x", "f4"), ("y", "f4")]),
        spectrum=np.zeros((3, 5), np.complex64),
        camera=np.eye(3),
        mean=np.zeros((H, W, 3), np.uint8),
        fps=30,
        nothing=np.zeros((0, 4)),
    )
    with h5py.File(path, "a") as file:
        file["empty"] = h5py.Empty("f4")
        file["type"] = np.dtype("f8")
        file["again"] = h5py.SoftLink("/rgb")
        file["refs"] = np.array([file["rgb"].ref] * 3, h5py.ref_dtype)
        file.create_dataset("points", (3,), h5py.vlen_dtype(np.float32))
    (tmp_path / "data" / "notes.txt").write_text("x")
    assert left(open_source("hdf5", str(tmp_path / "data"))) == {
        "notes.txt": ("no HDF5 file", ""),
        "a.h5: /caption": ("text", "caption"),
        "a.h5: /author": ("text", ""),
        "a.h5: /table": ("a table of x, y", "table"),
        "a.h5: /spectrum": ("complex numbers", "spectrum"),
        "a.h5: /refs": ("references to other datasets", "refs"),
        "a.h5: /points": ("rows of different lengths", "points"),
        "a.h5: /camera": ("one matrix, not one a sample", ""),
        "a.h5: /mean": ("its first axis is 18, there are 3 samples", ""),
        "a.h5: /fps": ("one value, not one a sample", ""),
        "a.h5: /nothing": ("empty", ""),
        "a.h5: /empty": ("empty", ""),
        "a.h5: /type": ("a named type, no values", ""),
        "a.h5: /again": ("another name of /rgb", ""),
    }


def test_tasks_can_be_ignored_by_name_and_by_path(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", rgb=RGB, preview=RGB, depth=DEPTH_M)
    write(tmp_path / "old.h5", rgb=RGB)
    source = open_source("hdf5", str(tmp_path), ignore=["*/preview", "depth", "old.h5"])
    assert list(kinds(source)) == ["rgb"]
    assert left(source) == {
        "old.h5": ("--ignore old.h5", ""),
        "a.h5: /preview": ("--ignore */preview", ""),
        "task depth": ("--ignore depth", ""),
    }


def test_maps_of_different_number_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", rgb=RGB, depth=np.concatenate([DEPTH_M, DEPTH_M]))
    with pytest.raises(UsageError, match=r"a\.h5: datasets differ.*rgb 3, depth 6"):
        open_source("hdf5", str(path))


def test_maps_of_different_size_are_refused_before_work(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", rgb=RGB, depth=DEPTH_M[:, ::2, ::2])
    with pytest.raises(UsageError, match=r"differ in size.*depth 12x9, rgb 24x18.*--tasks"):
        open_source("hdf5", str(path))
    assert open_source("hdf5", str(path), tasks="depth").tasks


def test_files_that_disagree_on_a_task_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", rgb=RGB)
    write(tmp_path / "b.h5", rgb=RGB.astype(np.uint16))
    with pytest.raises(UsageError, match=r"a\.h5, dataset rgb: uint8 values.*--ignore"):
        open_source("hdf5", str(tmp_path))


def test_two_datasets_that_are_one_task_are_refused_by_both_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", color=RGB, rgb=RGB)
    with pytest.raises(UsageError, match=r"dataset color.*/rgb are both task rgb.*--ignore"):
        open_source("hdf5", str(path))
    assert open_source("hdf5", str(path), ignore="*/color").tasks


def test_floating_point_pictures_are_kept_exactly(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", rgb=RGB / 255.0)
    source = open_source("hdf5", str(path))
    assert kinds(source) == {"rgb": ("array", "float64", 3)}
    np.testing.assert_array_equal(first(source, "rgb"), RGB[0] / 255)
    with pytest.raises(UsageError, match=r"float64 with 3 channels cannot be rgb"):
        open_source("hdf5", str(path), kinds={"rgb": "rgb"})


@pytest.mark.parametrize("twin", ["train.hdf5", "train.H5"])
def test_files_of_one_name_are_refused_by_both_names(twin: str, tmp_path: Path) -> None:
    write(tmp_path / "train.h5", rgb=RGB)
    write(tmp_path / twin, rgb=RGB)
    with pytest.raises(UsageError, match=r"train\..* and train\..* same keys.*--ignore"):
        open_source("hdf5", str(tmp_path))


def test_keys_of_similar_and_of_strange_names_are_unique(tmp_path: Path) -> None:
    names = ["a b.h5", "a-b.h5", "a__b.h5", "a/b.h5", "a_b.h5", "ä.h5"]
    for name in names:
        write(tmp_path / name, rgb=RGB)
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.h5")
    os.replace(write(tmp_path / "c.h5", rgb=RGB), strange)
    source = open_source("hdf5", str(tmp_path))
    keys = [source.key(index) for index in range(len(source))]
    assert len(set(keys)) == len(keys) == 21
    names = [origin_of(source, index).name for index in range(21)]  # type: ignore[union-attr]
    assert r"caf\xe9.h5#0" in names
    np.testing.assert_array_equal(first(source, "rgb", names.index(r"caf\xe9.h5#0")), RGB[0])


def test_a_dataset_whose_name_is_not_utf8_does_not_block_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", rgb=RGB)
    with h5py.File(path, "a") as file:
        file[b"d\xe9pth"] = DEPTH_M
    with pytest.raises(UsageError, match=r"d\\xe9pth: its name is not UTF-8"):
        open_source("hdf5", str(path))
    assert list(kinds(open_source("hdf5", str(path), tasks="rgb"))) == ["rgb"]


TYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">i4", ">u2"]


@pytest.mark.parametrize("dtype", TYPES)
def test_labels_of_every_type_come_back_exactly(dtype: str, tmp_path: Path) -> None:
    values = LABEL.astype(dtype)
    source = open_source("hdf5", str(write(tmp_path / "a.h5", seg=values)))
    assert source.tasks[0].kind is TaskKind.LABEL
    np.testing.assert_array_equal(first(source, "seg", 2), values[2])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_depth_of_every_floating_point_type(dtype: str, tmp_path: Path) -> None:
    values = DEPTH_M.astype(dtype)
    values[0, 0, :4] = [0, np.nan, np.inf, -1]
    source = open_source("hdf5", str(write(tmp_path / "a.h5", depth=values)))
    depth = first(source, "depth")
    assert (depth[0, :4] == 0).all()
    np.testing.assert_allclose(depth[1:] / 1000, values[0, 1:], atol=0.00051)


def test_depth_in_other_units_is_said_by_option(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", depth=DEPTH_M * 1000, near=1 / DEPTH_M)
    source = open_source("hdf5", str(path), tasks="depth", file_unit="mm")
    np.testing.assert_allclose(first(source, "depth") / 1000, DEPTH_M[0], atol=0.00051)
    source = open_source(
        "hdf5", str(path), tasks="near", kinds={"near": "depth"}, file_unit="near=inverse"
    )
    np.testing.assert_allclose(first(source, "near") / 1000, DEPTH_M[0], atol=0.00051)
    with pytest.raises(UsageError, match=r"no task dpth here; found: depth"):
        open_source("hdf5", str(path), tasks="depth", depth_unit="dpth=0.001")


def test_enumerations_name_classes_and_array_types_are_axes(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        names = h5py.enum_dtype({"floor": 1, "wall": 0}, basetype="u1")
        file.create_dataset("parts", data=LABEL % 2, dtype=names)
        pair = file.create_dataset("pairs", (3,), np.dtype(("f4", (H, W))))
        pair[...] = DEPTH_M
    source = open_source("hdf5", str(path))
    tasks = {task.name: task for task in source.tasks}
    assert tasks["parts"].kind is TaskKind.LABEL
    assert tasks["parts"].classes == ("wall", "floor")
    np.testing.assert_array_equal(first(source, "pairs", 1), DEPTH_M[1])


def test_channels_may_come_first_or_last(tmp_path: Path) -> None:
    flow = RNG.normal(size=(3, H, W, 2)).astype(np.float32)
    hot = RNG.integers(0, 2, (3, H, W, 13)).astype(np.uint8)
    datasets = {"rgb": RGB, "flow": flow, "hot": hot, "depth": DEPTH_M[..., None]}
    write(tmp_path / "last.h5", **datasets)
    write(tmp_path / "first.h5", **{k: np.moveaxis(v, -1, 1) for k, v in datasets.items()})
    last, ahead = (open_source("hdf5", str(tmp_path / f"{n}.h5")) for n in ("last", "first"))
    assert kinds(ahead) == kinds(last)
    assert {name: channels for name, (_, _, channels) in kinds(last).items()} == {
        "rgb": 3,
        "flow": 2,
        "hot": 13,
        "depth": 1,
    }
    for name in datasets:
        np.testing.assert_array_equal(first(ahead, name), first(last, name))
    np.testing.assert_array_equal(first(ahead, "hot"), hot[0])
    both = open_source("hdf5", str(tmp_path))  # first.h5 and last.h5 are one data set
    np.testing.assert_array_equal(first(both, "flow", 0), first(both, "flow", 3))


def test_alpha_is_refused_dropped_or_kept(tmp_path: Path) -> None:
    rgba = np.concatenate([RGB, RGB[..., :1]], axis=-1)
    path = write(tmp_path / "a.h5", rgba=rgba)
    with pytest.raises(UsageError, match=r"a\.h5, dataset rgba: 4 channels.*--alpha drop"):
        open_source("hdf5", str(path))
    np.testing.assert_array_equal(
        first(open_source("hdf5", str(path), alpha="drop"), "rgba"), RGB[0]
    )
    source = open_source("hdf5", str(path), alpha="mask")
    assert list(kinds(source)) == ["rgba", "rgba_alpha"]
    np.testing.assert_array_equal(first(source, "rgba_alpha"), RGB[0, ..., 0])
    assert report_of(source).complete == 3


def test_bytes_of_image_files_are_decoded(tmp_path: Path) -> None:
    files = [png(picture).tobytes() for picture in RGB]
    most = max(map(len, files)) + 5
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        put_pictures(file, "rgb", [jpeg(picture) for picture in RGB])
        put_pictures(file, "seg", [png(label.astype(np.uint8)) for label in LABEL])
        file["opaque"] = np.array([np.void(data.ljust(most, b"\0")) for data in files])
        file["fixed"] = np.array(files, f"S{most}")
        padded = [np.frombuffer(data.ljust(most, b"\0"), np.uint8) for data in files]
        file["padded"] = np.stack(padded)
        file["depth"] = DEPTH_M
    source = open_source("hdf5", str(path))
    sample = source.read(1, list(kinds(source)))
    for name in ("opaque", "fixed", "padded"):
        np.testing.assert_array_equal(sample.arrays[name], RGB[1])
    decoded = imagecodecs.jpeg8_decode(jpeg(RGB[1]).tobytes())
    np.testing.assert_array_equal(sample.arrays["rgb"], decoded)
    np.testing.assert_array_equal(sample.arrays["seg"], LABEL[1])
    assert sample.source_bytes["rgb"] == len(jpeg(RGB[1]))
    assert any("EXIF" in note for note in report_of(source).notes)


def test_orientation_of_pictures_in_datasets_is_applied(tmp_path: Path) -> None:
    import io

    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(RGB[0]).save(buffer, "JPEG", exif=exif)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        put_pictures(file, "rgb", [np.frombuffer(buffer.getvalue(), np.uint8)] * 2)
        file["seg"] = np.swapaxes(LABEL[:2], 1, 2)
    source = open_source("hdf5", str(tmp_path / "a.h5"))
    assert source.read(0, ["rgb", "seg"]).arrays["rgb"].shape == (W, H, 3)


def test_a_picture_that_is_cut_names_sample_file_and_dataset(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        put_pictures(file, "rgb", [png(RGB[0]), png(RGB[1])[:90], png(RGB[2])])
    source = open_source("hdf5", str(tmp_path / "a.h5"))
    with pytest.raises(SampleError, match=r"a_000001: .*a\.h5, dataset rgb, row 1.*damaged"):
        source.read(1, ["rgb"])


def matlab(file: h5py.File, name: str, value: np.ndarray, kind: str) -> None:
    """Write as MATLAB does: axes the other way round, at least two of them."""
    file[name] = value.T
    file[name].attrs["MATLAB_class"] = np.bytes_(kind)


def test_matlab_axes_are_restored(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    valid = (LABEL[..., None] > 9).transpose(1, 2, 3, 0)
    with h5py.File(path, "w") as file:
        matlab(file, "images", RGB.transpose(1, 2, 3, 0), "uint8")  # [H W 3 N]
        matlab(file, "depths", DEPTH_M.transpose(1, 2, 0), "single")
        matlab(file, "valid", valid[:, :, 0].astype(np.uint8), "logical")
        matlab(file, "number", np.array([[4], [5], [6]], np.int32), "int32")
        matlab(file, "flat", np.array([[4, 5, 6]], np.int32), "int32")
        matlab(file, "feature", np.arange(15.0).reshape(3, 5), "double")
        matlab(file, "title", np.arange(5, dtype=np.uint16)[None], "char")
        file["#refs#/a"] = np.zeros(3)
        matlab(file, "names", np.array([[file["#refs#/a"].ref]] * 3, h5py.ref_dtype), "cell")
        matlab(file, "none", np.zeros(2, np.uint64), "double")
        file["none"].attrs["MATLAB_empty"] = 1
    source = open_source("hdf5", str(path))
    sample = source.read(1, list(kinds(source)))
    np.testing.assert_array_equal(sample.arrays["images"], RGB[1])
    np.testing.assert_allclose(sample.arrays["depths"] / 1000, DEPTH_M[1], atol=0.00051)
    np.testing.assert_array_equal(sample.arrays["valid"], LABEL[1] > 9)
    np.testing.assert_array_equal(sample.arrays["feature"], np.arange(5, 10))
    assert (sample.arrays["number"], sample.arrays["flat"]) == (5, 5)
    assert kinds(source)["number"] == ("class", "int32", 0)
    assert left(source) == {
        "a.mat: /#refs#": ("MATLAB's own, which cell arrays refer to", ""),
        "a.mat: /names": ("a cell array of MATLAB", ""),
        "a.mat: /title": ("a char array of MATLAB", ""),
        "a.mat: /none": ("empty", ""),
    }


def test_an_old_mat_file_is_named_and_left_out_of_a_directory(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", rgb=RGB)
    (tmp_path / "splits.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    assert "7.3" in left(open_source("hdf5", str(tmp_path)))["splits.mat"][0]
    with pytest.raises(UsageError, match=r"splits\.mat: not an HDF5 file.*-v7\.3"):
        open_source("hdf5", str(tmp_path / "splits.mat"))


@pytest.mark.parametrize("content", [b"", b"not hdf5", b"\x89HDF\r\n\x1a\n" + bytes(900)])
def test_a_file_that_is_no_hdf5_is_named(content: bytes, tmp_path: Path) -> None:
    write(tmp_path / "a.h5", rgb=RGB)
    (tmp_path / "b.h5").write_bytes(content)
    with pytest.raises(UsageError, match=r"b\.h5: not an? .*HDF5 file.*--ignore 'b\.h5'"):
        open_source("hdf5", str(tmp_path))
    assert len(open_source("hdf5", str(tmp_path), ignore="b.h5")) == 3


def test_a_directory_of_other_files_is_no_data(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", author="me")
    with pytest.raises(SourceNotFoundError, match=r"no sample.*left out: a\.h5: /author: text"):
        open_source("hdf5", str(tmp_path))


def test_a_filter_that_is_missing_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("depth", data=DEPTH_M, chunks=True, compression="lzf")
        file["rgb"] = RGB
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: number != h5py.h5z.FILTER_LZF)
    with pytest.raises(UsageError, match=r"dataset depth: .*LZF.*`pip install hdf5plugin`"):
        open_source("hdf5", str(path))
    assert list(kinds(open_source("hdf5", str(path), tasks="rgb"))) == ["rgb"]


def test_filters_of_hdf5plugin_are_loaded_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dsc._sources.hdf5.reading import load_filters

    (tmp_path / "hdf5plugin.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hdf5plugin", raising=False)
    load_filters.cache_clear()
    open_source("hdf5", str(write(tmp_path / "a.h5", rgb=RGB)))
    assert sys.modules.pop("hdf5plugin").__file__ == str(tmp_path / "hdf5plugin.py")
    load_filters.cache_clear()


def test_splits_come_from_files_directories_and_groups(tmp_path: Path) -> None:
    for name in ("val", "train"):
        write(tmp_path / "files" / f"{name}.h5", rgb=RGB)
        write(tmp_path / "directories" / name / "1.h5", rgb=RGB)
        with h5py.File(tmp_path / "groups.h5", "a") as file:
            file[f"{name}/rgb"] = RGB
    for root in ("files", "directories", "groups.h5"):
        source = open_source("hdf5", str(tmp_path / root))
        assert list(splits_of(source).items()) == [("train", 3), ("val", 3)], root
        chosen = open_source("hdf5", str(tmp_path / root), split="val")
        assert [chosen.key(0), chosen.key(2)] == [source.key(3), source.key(5)]
        with pytest.raises(UsageError, match=r"--split test: found are train, val"):
            open_source("hdf5", str(tmp_path / root), split="test")
    one = open_source("hdf5", str(tmp_path / "groups.h5"))
    assert (one.key(0), origin_of(one, 0).name) == (  # type: ignore[union-attr]
        "groups__train_000000",
        "groups.h5: /train#0",
    )


def test_statistics_beside_groups_of_splits_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["train/rgb"], file["val/rgb"], file["mean"] = RGB, RGB, np.zeros(3)
    source = open_source("hdf5", str(path))
    assert (splits_of(source), list(kinds(source))) == ({"train": 3, "val": 3}, ["rgb"])
    assert left(source) == {"a.h5: /mean": ("beside the groups that hold samples", "")}


def test_files_that_hold_one_task_each_are_joined(tmp_path: Path) -> None:
    write(tmp_path / "rgb.h5", data=RGB)
    write(tmp_path / "depth.h5", data=DEPTH_M)
    source = open_source("hdf5", str(tmp_path))
    assert (len(source), report_of(source).complete) == (3, 3)
    np.testing.assert_array_equal(first(source, "rgb"), RGB[0])
    write(tmp_path / "depth.h5", data=DEPTH_M[:2])
    with pytest.raises(UsageError, match=r"different numbers of samples: depth\.h5 2, rgb\.h5 3"):
        open_source("hdf5", str(tmp_path))


def test_groups_and_files_with_the_same_keys_are_refused_by_both_names(tmp_path: Path) -> None:
    write(tmp_path / "data" / "val.h5", rgb=RGB)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["val/rgb"], file["train/rgb"] = RGB, RGB
    with pytest.raises(
        UsageError, match=r"data\.h5: /val.*data/val\.h5|data/val\.h5.*data\.h5: /val"
    ):
        open_source("hdf5", str(tmp_path))


def test_points_a_sample_are_a_vector_where_that_is_said(tmp_path: Path) -> None:
    points = RNG.normal(size=(3, 17, 2)).astype(np.float32)
    path = write(tmp_path / "a.h5", rgb=RGB, points=points)
    with pytest.raises(UsageError, match=r"points 2x17, rgb 24x18.*--kinds NAME=vector"):
        open_source("hdf5", str(path))
    source = open_source("hdf5", str(path), kinds={"points": "vector"})
    np.testing.assert_array_equal(first(source, "points", 2), points[2].ravel())


def test_a_file_that_is_being_written_is_said_to_be(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", rgb=RGB)
    code = "import sys, h5py; f = h5py.File(sys.argv[1], 'a', locking=True); print(''); input()"
    writer = subprocess.Popen(
        [sys.executable, "-u", "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    try:
        with pytest.raises(UsageError, match=r"a\.h5: another program is writing to it"):
            open_source("hdf5", str(path))
    finally:
        writer.communicate(b"\n")


def test_many_files_stay_within_the_open_limit(tmp_path: Path) -> None:
    for number in range(40):
        write(tmp_path / f"{number}.h5", rgb=np.full((1, H, W, 3), number, np.uint8))
    source = open_source("hdf5", str(tmp_path))
    for index in (*range(40), 0, 39):
        assert (source.read(index, ["rgb"]).arrays["rgb"] == index).all()


def test_damaged_row_names_sample_file_and_dataset(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("rgb", data=RGB, chunks=(1, H, W, 3), compression="gzip")
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


def test_options_come_back_with_the_description(tmp_path: Path) -> None:
    rgba = np.concatenate([RGB, RGB[..., :1]], axis=-1)
    write(tmp_path / "train.h5", rgba=rgba, z=DEPTH_M * 1000, other=LABEL)
    write(tmp_path / "val.h5", rgba=rgba, z=DEPTH_M * 1000)
    source = open_source(
        "hdf5", str(tmp_path), kinds={"z": "depth"}, file_unit="z=mm", alpha="mask",
        tasks="rgba,z", split="train", layout="rows", ignore="*/x", depth_unit="z=0.002",
    )  # fmt: skip
    again = source_from_description(pickle.loads(pickle.dumps(source.describe())))
    assert (again.describe(), again.tasks, len(again)) == (source.describe(), source.tasks, 3)
    np.testing.assert_array_equal(first(again, "z"), first(source, "z"))
