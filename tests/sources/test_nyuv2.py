"""NYU Depth v2 as a folder of files and as the official .mat, which is HDF5 with MATLAB's axes."""

from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import pytest

from dsc._sources.registry import open_source, source_from_description
from dsc.errors import SampleError, SourceNotFoundError, UsageError
from tests.places import DATA

HEIGHT, WIDTH, FRAMES = 6, 8, 4
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)
DEPTH_M = RNG.uniform(0.7, 10, (FRAMES, HEIGHT, WIDTH)).astype(np.float32)
LABELS = RNG.integers(0, 895, (FRAMES, HEIGHT, WIDTH), np.uint16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for directory in ("nyu_images", "nyu_depths", "nyu_labels40"):
        (tmp_path / directory).mkdir()
    for frame in range(FRAMES):
        (tmp_path / f"nyu_images/{frame}.jpg").write_bytes(imagecodecs.jpeg8_encode(RGB[frame]))
        for directory, values in (("nyu_depths", DEPTH_M * 25.5), ("nyu_labels40", LABELS % 3)):
            png = imagecodecs.png_encode(values[frame].astype(np.uint8))
            (tmp_path / directory / f"{frame}.png").write_bytes(png)
    (tmp_path / "train.txt").write_text("3\n0\n77\n")
    (tmp_path / "classes40.txt").write_text("0\twall\n1\tfloor\n2\tother prop\n")
    return tmp_path


@pytest.fixture
def mat(tmp_path: Path) -> Path:
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = RGB.transpose(0, 3, 2, 1)
        file["depths"] = DEPTH_M.transpose(0, 2, 1)
        file["labels"] = LABELS.transpose(0, 2, 1)
        names = file.create_dataset("names", (1, 2), h5py.ref_dtype)
        for place, word in enumerate(("book", "bottle")):
            cell = file.create_dataset(f"#refs#/{place}", data=np.array([list(map(ord, word))]).T)
            names[0, place] = cell.ref
    return path


def test_folder_has_the_three_tasks_with_their_units(folder: Path) -> None:
    source = open_source("nyuv2", str(folder))
    rgb, depth, label = source.tasks
    assert (rgb.name, depth.name, label.name) == ("rgb", "depth", "label")
    assert (depth.dtype, depth.unit_m, depth.invalid) == ("uint8", 1 / 25.5, ())
    assert label.classes == ("wall", "floor", "other prop")
    assert [source.key(index) for index in range(FRAMES)] == [
        f"nyu_{frame:06d}" for frame in range(FRAMES)
    ]
    sample = source.read(2, ["depth", "label"])
    np.testing.assert_allclose(depth.to_physical(sample.arrays["depth"]), DEPTH_M[2], atol=0.04)
    np.testing.assert_array_equal(sample.arrays["label"], LABELS[2] % 3)


def test_split_is_read_from_its_list(folder: Path) -> None:
    source = open_source("nyuv2", str(folder), split="train")
    assert [source.key(index) for index in range(len(source))] == ["nyu_000000", "nyu_000003"]
    np.testing.assert_array_equal(source.read(1, ["label"]).arrays["label"], LABELS[3] % 3)
    assert source_from_description(source.describe()).describe() == source.describe()
    with pytest.raises(UsageError, match=r"test\.txt is missing"):
        open_source("nyuv2", str(folder), split="test")
    with pytest.raises(UsageError, match="train, test, all"):
        open_source("nyuv2", str(folder), split="val")
    (folder / "train.txt").write_text("77\n")
    with pytest.raises(SourceNotFoundError, match="split train"):
        open_source("nyuv2", str(folder), split="train")


def test_mat_axes_are_turned_to_rows_and_columns(mat: Path) -> None:
    for root in (mat, mat.parent):
        source = open_source("nyuv2", str(root))
        assert len(source) == FRAMES
        for frame in range(FRAMES):
            sample = source.read(frame, ["rgb", "depth", "label"])
            np.testing.assert_array_equal(sample.arrays["rgb"], RGB[frame])
            np.testing.assert_array_equal(sample.arrays["label"], LABELS[frame])
            assert sample.key == f"nyu_{frame:06d}"
        assert sample.source_bytes == {"rgb": 144, "depth": 192, "label": 96}


def test_mat_depth_is_exact_to_half_a_millimetre(mat: Path) -> None:
    source = open_source("nyuv2", str(mat))
    depth = source.tasks[1]
    assert (depth.dtype, depth.unit_m, depth.invalid) == ("uint16", 0.001, (0,))
    back = depth.to_physical(source.read(0, ["depth"]).arrays["depth"])
    assert np.abs(back - DEPTH_M[0]).max() < 0.00051
    finer = open_source("nyuv2", str(mat), depth_unit="1/5000").tasks[1]
    assert finer.unit_m == 1 / 5000


def test_mat_class_names_are_matlab_cells(mat: Path) -> None:
    assert open_source("nyuv2", str(mat)).tasks[2].classes == ("unlabelled", "book", "bottle")


def test_mat_split_needs_its_list_beside_it(mat: Path) -> None:
    with pytest.raises(UsageError, match=r"train\.txt is missing"):
        open_source("nyuv2", str(mat), split="train")
    (mat.parent / "train.txt").write_text("1\n3\n")
    source = open_source("nyuv2", str(mat), split="train")
    assert [source.key(index) for index in range(len(source))] == ["nyu_000001", "nyu_000003"]
    np.testing.assert_array_equal(source.read(1, ["rgb"]).arrays["rgb"], RGB[3])
    assert source_from_description(source.describe()).describe() == source.describe()


def test_damaged_or_foreign_mat_is_refused(mat: Path) -> None:
    whole = mat.read_bytes()
    mat.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"nyu_depth_v2_labeled\.mat: not a whole HDF5"):
        open_source("nyuv2", str(mat))
    with h5py.File(mat, "w") as file:
        file["depths"] = DEPTH_M.astype(np.float64)
    with pytest.raises(UsageError, match="official file has"):
        open_source("nyuv2", str(mat))
    with h5py.File(mat, "w") as file:
        file["other"] = DEPTH_M
    with pytest.raises(UsageError, match="is this nyu_depth_v2_labeled"):
        open_source("nyuv2", str(mat))


def test_frames_of_mixed_size_are_refused(folder: Path) -> None:
    png = imagecodecs.png_encode(np.zeros((3, 3), np.uint8))
    (folder / "nyu_labels40/1.png").write_bytes(png)
    source = open_source("nyuv2", str(folder))
    with pytest.raises(SampleError, match=r"nyu_000001.*rgb 8x6, label 3x3"):
        source.read(1, ["rgb", "label"])


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "nyuv2").is_dir(), reason=f"no nyuv2 under {DATA}")
def test_real_nyuv2_splits_and_values() -> None:
    root = str(DATA / "nyuv2")
    assert [len(open_source("nyuv2", root, split=split)) for split in ("all", "train", "test")] == [
        500,
        330,
        170,
    ]
    source = open_source("nyuv2", root, split="test")
    rgb, depth, label = source.tasks
    assert len(label.classes) == 40
    sample = source.read(0, [task.name for task in source.tasks])
    assert sample.arrays["rgb"].shape == (480, 640, 3)
    depth_m = depth.to_physical(sample.arrays["depth"])
    assert 0.69 < depth_m.min() < depth_m.max() <= 10
    assert sample.arrays["label"].max() < 40
    assert rgb.channels == 3


def test_labels_in_a_directory_of_another_name_look_like_a_task(folder: Path) -> None:
    (folder / "nyu_labels40").rename(folder / "nyu_labels")
    left_out = open_source("nyuv2", str(folder)).report().left_out
    assert ("nyu_labels/*.png", "nyu_labels") in [(one.what, one.task) for one in left_out]
