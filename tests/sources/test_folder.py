"""Folders of no published layout: which files are which task, and what their values mean."""

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dsc._schemas import TaskKind
from dsc._sources.meaning.decode import quantise_depth
from dsc._sources.meaning.names import kind_of_name
from dsc._sources.registry import open_source
from dsc.errors import SampleError, UsageError
from tests.places import DATA

RGB = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
GRAY = RGB[:, :, 0].copy()
DEPTH = (np.arange(48, dtype=np.uint16) * 100).reshape(6, 8)
ENCODE = {
    ".png": imagecodecs.png_encode,
    ".jpg": imagecodecs.jpeg8_encode,
    ".JPEG": imagecodecs.jpeg8_encode,
    ".webp": lambda array: imagecodecs.webp_encode(array, lossless=True),
    ".jxl": lambda array: imagecodecs.jpegxl_encode(array, lossless=True),
}


def put(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".tif":
        Image.fromarray(array).save(path, compression="tiff_lzw")
    else:
        path.write_bytes(ENCODE[path.suffix](array))
    return path


def kinds(source) -> dict[str, tuple[str, str, int]]:
    return {task.name: (task.kind.value, task.dtype, task.channels) for task in source.tasks}


def test_directories_are_tasks_matched_by_stem(tmp_path: Path) -> None:
    put(tmp_path / "rgb/seq-01/1.jpg", RGB)
    put(tmp_path / "rgb/seq-01/10.png", RGB)
    put(tmp_path / "depth/seq-01/10.png", DEPTH)
    put(tmp_path / "Semantic-40/seq-01/10.png", GRAY)
    put(tmp_path / "curvature/seq-01/1.webp", RGB)
    put(tmp_path / "preview.png", RGB)
    (tmp_path / "rgb/seq-01/10.txt").write_text("pose")
    source = open_source("folder", str(tmp_path))
    assert kinds(source) == {
        "rgb": ("image", "uint8", 3),
        "depth": ("depth", "uint16", 1),
        "semantic_40": ("label", "uint8", 1),
        "curvature": ("image", "uint8", 3),
        "rgb_txt": ("text", "uint8", 1),
    }
    assert [source.key(index) for index in range(len(source))] == ["seq-01__1", "seq-01__10"]
    sample = source.read(1, ["rgb", "depth", "semantic_40", "curvature"])
    assert set(sample.arrays) == {"rgb", "depth", "semantic_40"}
    np.testing.assert_array_equal(sample.arrays["rgb"], RGB)
    np.testing.assert_array_equal(sample.arrays["depth"], DEPTH)


def test_suffixes_are_tasks_and_color_is_rgb(tmp_path: Path) -> None:
    for scene in ("chess", "fire"):
        put(tmp_path / scene / "frame-000000.color.jpg", RGB)
        put(tmp_path / scene / "frame-000000.depth.png", DEPTH)
        (tmp_path / scene / "frame-000000.pose.txt").write_text("1 0 0 0")
    source = open_source("folder", str(tmp_path))
    assert kinds(source)["pose"] == ("vector", "float64", 4)
    assert list(kinds(source)) == ["rgb", "depth", "pose"]
    assert source.read(0, ["pose"]).arrays["pose"].tolist() == [1, 0, 0, 0]
    assert [source.key(index) for index in range(2)] == [
        "chess__frame-000000",
        "fire__frame-000000",
    ]
    assert source.tasks[1].invalid == (0, 65535)
    assert source.tasks[1].unit_m == 0.001


def test_flat_folder_of_photographs_is_rgb(tmp_path: Path) -> None:
    put(tmp_path / "b.JPEG", GRAY)
    put(tmp_path / "a.JPEG", RGB)
    source = open_source("folder", str(tmp_path))
    assert kinds(source) == {"rgb": ("image", "uint8", 3)}
    gray = source.read(1, ["rgb"]).arrays["rgb"]
    assert gray.shape == (6, 8, 3)
    assert (gray == gray[:, :, :1]).all()


@pytest.mark.parametrize("layout", [None, "classes"])
def test_class_folders_give_the_class(layout: str | None, tmp_path: Path) -> None:
    put(tmp_path / "n02/x.jpg", RGB)
    put(tmp_path / "n10/y.jpg", GRAY)
    source = open_source("folder", str(tmp_path), layout=layout)
    label = source.tasks[1]
    assert (label.name, label.kind, label.classes) == (
        "class_label",
        TaskKind.CLASS,
        ("n02", "n10"),
    )
    sample = source.read(1, ["rgb", "class_label"])
    assert sample.key == "n10__y"
    assert sample.arrays["class_label"] == 1
    assert sample.arrays["class_label"].shape == ()
    assert sample.arrays["rgb"].shape == (6, 8, 3)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jxl", ".tif", ".npy"])
def test_every_lossless_format_gives_the_pixels(suffix: str, tmp_path: Path) -> None:
    put(tmp_path / f"rgb/1{suffix}", RGB)
    source = open_source("folder", str(tmp_path))
    np.testing.assert_array_equal(source.read(0, ["rgb"]).arrays["rgb"], RGB)


def test_palette_label_map_gives_the_indexes(tmp_path: Path) -> None:
    for bits, top in ((8, 200), (4, 15), (2, 3), (1, 1)):
        labels = (np.arange(48).reshape(6, 8) % (top + 1)).astype(np.uint8)
        image = Image.fromarray(labels, "P")
        image.putpalette([(7 * value) % 256 for value in range(768)])
        buffer = io.BytesIO()
        image.save(buffer, "PNG", bits=bits, transparency=0)
        path = tmp_path / f"labels/{bits}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(buffer.getvalue())
    source = open_source("folder", str(tmp_path))
    assert kinds(source) == {"labels": ("label", "uint8", 1)}
    for index, (bits, top) in enumerate(((1, 1), (2, 3), (4, 15), (8, 200))):
        labels = np.arange(48).reshape(6, 8) % (top + 1)
        assert source.key(index) == str(bits)
        np.testing.assert_array_equal(source.read(index, ["labels"]).arrays["labels"], labels)


def test_truncated_file_of_any_format_is_reported(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for suffix in (".png", ".jpg", ".webp", ".jxl", ".npy"):
        path = put(tmp_path / f"rgb/{suffix[1:]}{suffix}", noise)
        put(tmp_path / "rgb/0.png", noise)
        source = open_source("folder", str(tmp_path))
        index = [source.key(i) for i in range(len(source))].index(suffix[1:])
        whole = path.read_bytes()
        for length in (0, 5, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:length])
            with pytest.raises(SampleError, match=f"{suffix[1:]}{suffix}"):
                source.read(index, ["rgb"])
        path.write_bytes(whole)


def test_eight_bit_depth_needs_its_scale(tmp_path: Path) -> None:
    put(tmp_path / "depth/1.png", GRAY)
    with pytest.raises(UsageError, match=r"depth/1\.png: uint8 depth.*--depth-unit"):
        open_source("folder", str(tmp_path))
    (task,) = open_source("folder", str(tmp_path), depth_unit="1/25.5").tasks
    assert task.unit_m == 1 / 25.5


def test_depth_unit_and_kind_can_be_stated_by_task(tmp_path: Path) -> None:
    put(tmp_path / "rgb/1.png", RGB)
    put(tmp_path / "range/1.png", DEPTH)
    put(tmp_path / "parts/1.png", GRAY)
    stated = {"range": "depth", "parts": "label"}
    source = open_source("folder", str(tmp_path), kinds=stated, depth_unit={"range": 0.01})
    assert kinds(source)["range"] == ("depth", "uint16", 1)
    assert kinds(source)["parts"] == ("label", "uint8", 1)
    assert next(task for task in source.tasks if task.name == "range").unit_m == 0.01
    with pytest.raises(UsageError, match=r"no task rnage.*range"):
        open_source("folder", str(tmp_path), kinds={"rnage": "depth"})
    with pytest.raises(UsageError, match="depht"):
        open_source("folder", str(tmp_path), kinds={"range": "depht"})


def test_directory_that_cannot_be_what_its_name_says_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "depth/1.png", RGB)
    with pytest.raises(UsageError, match=r"3 channels cannot be depth.*--kinds depth=image"):
        open_source("folder", str(tmp_path))
    assert kinds(open_source("folder", str(tmp_path), kinds={"depth": "image"}))


def test_alpha_and_second_file_of_one_stem_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "rgb/1.png", RGB)
    put(tmp_path / "rgb/2.png", np.dstack([RGB, GRAY]))
    with pytest.raises(UsageError, match=r"2\.png: 4 channels, the last is alpha.*--alpha drop"):
        open_source("folder", str(tmp_path))
    dropped = open_source("folder", str(tmp_path), alpha="drop")
    np.testing.assert_array_equal(dropped.read(1, ["rgb"]).arrays["rgb"], RGB)
    kept = open_source("folder", str(tmp_path), alpha="mask").read(1, ["rgb", "rgb_alpha"]).arrays
    np.testing.assert_array_equal(kept["rgb_alpha"], GRAY)
    put(tmp_path / "rgb/1.jpg", RGB)
    with pytest.raises(UsageError, match=r"rgb/1\.\w+ and rgb/1\.\w+ are both rgb of sample 1"):
        open_source("folder", str(tmp_path))


def test_float_depth_in_metres_is_exact_to_half_a_millimetre(tmp_path: Path) -> None:
    depth_m = np.random.default_rng(0).uniform(0.3, 60, (6, 8)).astype(np.float32)
    depth_m[0, :4] = np.nan, np.inf, 0, -1
    depth_m[0, 4] = 0.0001
    put(tmp_path / "depth/1.npy", depth_m)
    source = open_source("folder", str(tmp_path))
    (task,) = source.tasks
    back = task.to_physical(source.read(0, ["depth"]).arrays["depth"])
    assert np.isnan(back[0, :4]).all()
    assert back[0, 4] == np.float32(0.001)  # near, not missing
    assert np.abs(back[1:] - depth_m[1:]).max() < 0.00051


def test_depth_beyond_16_bits_is_refused_not_wrapped() -> None:
    with pytest.raises(SampleError, match=r"70 m does not fit.*--depth-unit"):
        quantise_depth(np.array([[1.0, 70.0]]), 0.001, "sample x")


def test_vectors_and_classes_come_from_npy(tmp_path: Path) -> None:
    put(tmp_path / "rgb/1.png", RGB)
    put(tmp_path / "embedding/1.npy", np.arange(5, dtype=np.float32))
    put(tmp_path / "target/1.npy", np.array(7))
    source = open_source("folder", str(tmp_path))
    assert kinds(source)["embedding"] == ("vector", "float32", 5)
    assert kinds(source)["target"] == ("class", "int64", 0)
    assert source.read(0, ["target"]).arrays["target"] == 7


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nyu_depths", "depth"),
        ("depth16", "depth"),
        ("normals", "normal"),
        ("SegmentationClass", "label"),
        ("mask_valid", "label"),
        ("color", "rgb"),
        ("left-rgb", "rgb"),
        ("images", "image"),
        ("albedo", None),
        ("classSegmentation", "label"),
        ("ground_truth", "label"),
        ("leftImg8bit", "rgb"),
        ("dispL", "disparity"),
    ],
)
def test_kind_is_told_from_the_name(name: str, kind: str | None) -> None:
    assert kind_of_name(name) == kind


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "sevenscenes").is_dir(), reason=f"no sevenscenes under {DATA}")
def test_real_seven_scenes_reads_as_metres_with_holes() -> None:
    source = open_source("folder", str(DATA / "sevenscenes"))
    assert (len(source), source.key(99)) == (100, "frame-000990")
    sample = source.read(0, ["rgb", "depth"])
    depth_m = source.tasks[1].to_physical(sample.arrays["depth"])
    assert depth_m.shape == (480, 640)
    assert 0.8 < np.nanmin(depth_m) < np.nanmax(depth_m) < 4
    assert 0.01 < np.isnan(depth_m).mean() < 0.4


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "kodak").is_dir(), reason=f"no kodak under {DATA}")
def test_real_kodak_is_24_photographs() -> None:
    source = open_source("folder", str(DATA / "kodak"))
    assert [source.key(index) for index in (0, 9, 23)] == ["01", "10", "24"]
    assert source.read(3, ["rgb"]).arrays["rgb"].shape == (768, 512, 3)


MAP = np.kron(np.eye(3, 4), np.ones((2, 2))).astype(np.uint8) * 255


def tasks_of(root: Path, **options: object) -> dict[str, tuple[str, int]]:
    """Return the kind of each task, and how many samples have it."""
    source = open_source("folder", str(root), **options)
    found = source.report().tasks
    return {task.name: (task.kind.value, found[task.name].samples) for task in source.tasks}


@pytest.mark.parametrize(
    ("paths", "tasks"),
    [
        # several tasks below a directory that is named like one
        ("images/rgb/{}.png images/depth/{}:d.png", {"rgb": "image", "depth": "depth"}),
        ("rgbd/color/{}.png rgbd/depth/{}:d.png", {"rgb": "image", "depth": "depth"}),
        # a task above two views
        ("frames/A/left/{}.png disparity/A/left/{}:d.png",
         {"frames": "image", "disparity": "disparity"}),
        ("left/{}.png dispL/{}:m.png", {"left": "image", "displ": "disparity"}),
        # pictures above the directory of the other task
        ("{}.png masks/{}:m.png", {"rgb": "image", "masks": "label"}),
        ("s/{}.png s/masks/{}:m.png", {"rgb": "image", "masks": "label"}),
        ("a{}.png masks/a{}_mask:m.png", {"rgb": "image", "masks": "label"}),
        ("train/input/{}.png train/target/{}.png", {"input": "image", "target": "label"}),
        # names without words, told by endings or by what lies beside them
        ("{}.jpg {}:m.png", {"rgb": "image", "png": "label"}),
        ("left/{}.jpg z/{}:m.png", {"left": "image", "z": "label"}),
        ("train/A/{}.png train/B/{}.png train/label/{}:m.png",
         {"a": "image", "b": "image", "label": "label"}),
        # a word before a number
        ("v1/f1_rgb_{}.png v1/f1_depth_{}:d.png", {"rgb": "image", "depth": "depth"}),
        ("s/frames/rgb/C/rgb_{}.png s/frames/classSegmentation/C/class_{}:m.png",
         {"rgb": "image", "classsegmentation": "label"}),
        ("fg/{}.png alpha/{}:d.png trimap/{}:m.png",
         {"fg": "image", "alpha": "image", "trimap": "label"}),
        ("images/{}.png ground_truth/{}:m.png", {"images": "image", "ground_truth": "label"}),
    ],
)  # fmt: skip
def test_tasks_are_found(paths: str, tasks: dict[str, str], tmp_path: Path) -> None:
    arrays = {"": RGB, "m": MAP, "d": GRAY.astype(np.uint16) * 30 + 1000}
    for path in paths.split():
        stem, _, rest = path.partition(":")
        what, dot, ending = rest.partition(".")
        for at in range(3):
            put(tmp_path / (stem + dot + ending).format(at), arrays[what])
    assert tasks_of(tmp_path) == {name: (kind, 3) for name, kind in tasks.items()}
    assert len(open_source("folder", str(tmp_path))) == 3


def test_masks_that_few_pictures_have_are_no_pictures(tmp_path: Path) -> None:
    for at in range(9):
        put(tmp_path / f"{at}.jpg", RGB)
    put(tmp_path / "3_mask.png", MAP)
    put(tmp_path / "3_mask_1.png", MAP)
    assert tasks_of(tmp_path) == {"rgb": ("image", 9), "mask": ("label", 2)}


def test_maps_that_look_like_a_class_stop_the_call(tmp_path: Path) -> None:
    for at in range(3):
        put(tmp_path / f"train/good/{at}.png", RGB)
        put(tmp_path / f"test/broken/{at}.png", RGB)
        put(tmp_path / f"ground_truth/broken/{at}_mask.png", MAP)
    with pytest.raises(UsageError, match=r"ground_truth is named like a task.*--ignore ground_tr"):
        open_source("folder", str(tmp_path))
    assert tasks_of(tmp_path, ignore="ground_truth")["rgb"] == ("image", 6)
    assert tasks_of(tmp_path, layout="classes")["class_label"][1] == 9


@pytest.mark.parametrize("jpeg", [True, False])
def test_classes_stay_classes(jpeg: bool, tmp_path: Path) -> None:
    for name in ("with_mask", "without_mask", "normal", "abnormal"):
        put(tmp_path / name / ("1.jpg" if jpeg else "1.png"), RGB)
    assert tasks_of(tmp_path)["class_label"] == ("class", 4)


def test_pictures_that_no_directory_of_a_task_holds_stop_the_call(tmp_path: Path) -> None:
    for at in range(3):
        put(tmp_path / f"images/{at}.jpg", RGB)
        put(tmp_path / f"{at}.png", MAP)
    left_out = open_source("folder", str(tmp_path)).report().left_out
    assert [(one.files, one.task) for one in left_out] == [(3, "rgb")]


def test_one_file_of_each_directory_is_looked_at(tmp_path: Path) -> None:
    """Maps of one class among many pictures make the pictures exact, never the maps lossy."""
    for name in "abcde":
        for at in range(20):
            put(tmp_path / name / f"{at}.png", MAP if name == "b" else RGB)
    (task,) = open_source("folder", str(tmp_path), tasks="rgb").tasks
    assert task.is_exact


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("depth.zip", "depth"),
        ("depth.h5", "depth"),
        ("masks.mat", "masks"),
        ("rgb/9.heic", "rgb_heic"),
        ("rgb/9.dng", "rgb_dng"),
        ("rgb.zip", ""),  # what was unpacked
        ("data.zip", ""),
        ("notes/depth.txt", ""),
    ],
)
def test_what_holds_a_task_beside_the_others_looks_like_it(
    path: str, task: str, tmp_path: Path
) -> None:
    put(tmp_path / "rgb/1.png", RGB)
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_bytes(b"?")
    source = open_source("folder", str(tmp_path))
    assert [(one.what, one.task) for one in source.report().left_out] == [(path, task)]


def test_a_pattern_that_ignores_nothing_is_said(tmp_path: Path) -> None:
    put(tmp_path / "rgb/1.png", RGB)
    put(tmp_path / "previews/1.png", GRAY)
    notes = open_source("folder", str(tmp_path), ignore="previws,previews").report().notes
    assert [note for note in notes if "--ignore" in note] == [
        "--ignore previws: nothing here is called that"
    ]


def test_twins_and_names_of_other_tasks_do_not_block_those_that_are_asked_for(
    tmp_path: Path,
) -> None:
    put(tmp_path / "rgb/1.png", RGB)
    put(tmp_path / "depth/1.png", DEPTH)
    put(tmp_path / "depth/1.npy", DEPTH)
    put(tmp_path / "深度/1.png", DEPTH)
    with pytest.raises(UsageError, match=r"depth/1\.(png|npy) and depth/1.* --tasks rgb"):
        open_source("folder", str(tmp_path))
    source = open_source("folder", str(tmp_path), tasks="rgb")
    assert [task.name for task in source.tasks] == ["rgb"]
    assert ("深度/1.png", "深度") in [(one.what, one.task) for one in source.report().left_out]
    assert "depth" in tasks_of(tmp_path, ignore="depth/*.npy,深度")


def test_splits_of_one_task_are_no_tasks(tmp_path: Path) -> None:
    for split in ("train", "test"):
        put(tmp_path / f"a/{split}_images/1.jpg", RGB)
        put(tmp_path / f"b/valid/{split}/1.jpg", RGB)
    source = open_source("folder", str(tmp_path / "a"))
    assert ([task.name for task in source.tasks], source.splits) == (
        ["images"],
        {"train": 1, "test": 1},
    )
    assert "valid" not in tasks_of(tmp_path / "b")
