"""What a task is, told from its name and its values; what may be ids is never coded with loss."""

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dsc._schemas import Task, TaskKind
from dsc._schemas.task import EXACT_KINDS
from dsc._sources.registry import open_source
from dsc.errors import UsageError

RNG = np.random.default_rng(7)
SIZE = (24, 32)
PHOTO = np.clip(
    np.add.outer(np.arange(24) * 5, np.arange(32) * 3)[..., None] + RNG.integers(0, 40, (*SIZE, 3)),
    0,
    255,
).astype(np.uint8)
IDS = np.kron(RNG.permutation(12).reshape(3, 4), np.ones((8, 8), int)).astype(np.uint8)
MANY_IDS = np.kron(RNG.permutation(48).reshape(6, 8) * 5, np.ones((4, 4), int)).astype(np.uint8)
UNIT = RNG.normal(size=(*SIZE, 3))
UNIT /= np.linalg.norm(UNIT, axis=-1, keepdims=True)
NORMALS = np.rint(UNIT * 127.5 + 127.5).astype(np.uint8)
DEPTH = np.clip(900 + np.add.outer(np.arange(24) * 40, np.arange(32) * 20), 0, 9000)


def put(path: Path, array: np.ndarray, **palette: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif palette:
        image = Image.fromarray(array, "P")
        image.putpalette([(9 * value) % 256 for value in range(768)])
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        path.write_bytes(buffer.getvalue())
    else:
        encode = {".png": imagecodecs.png_encode, ".jpg": imagecodecs.jpeg8_encode}[path.suffix]
        path.write_bytes(encode(array))


def first_task(root: Path, name: str, array: np.ndarray, suffix: str = ".png", **options):
    put(root / name / f"1{suffix}", array)
    put(root / "rgb/1.png", PHOTO)
    source = open_source("folder", str(root), tasks=[name], **options)
    return source, source.tasks[0]


def only_task(root: Path, name: str, array: np.ndarray, suffix: str = ".png", **options):
    source, task = first_task(root, name, array, suffix, **options)
    assert source.tasks == (task,)
    return source, task


LABEL_NAMES = (
    "gt", "gtFine", "panoptic", "target", "trimap", "parsing", "ids", "mask", "labels", "instance",
    "seg", "annotations", "annots", "ann_dir", "image_gt", "depth_mask",
)  # fmt: skip


@pytest.mark.parametrize("name", LABEL_NAMES)
def test_names_of_id_maps_are_exact(name: str, tmp_path: Path) -> None:
    noise = RNG.integers(0, 256, SIZE).astype(np.uint8)
    source, task = only_task(tmp_path, name, noise)
    assert task.kind is TaskKind.LABEL
    assert task.is_exact
    np.testing.assert_array_equal(source.read(0, [task.name]).arrays[task.name], noise)


@pytest.mark.parametrize(
    ("array", "suffix"),
    [
        (IDS, ".png"),
        (MANY_IDS, ".png"),
        (np.dstack([IDS, IDS // 2, IDS * 0]), ".png"),
        (MANY_IDS.astype(np.uint16) * 1000, ".png"),
        (RNG.integers(0, 65536, SIZE).astype(np.uint16), ".png"),
        ((RNG.random(SIZE) > 0.9).astype(np.uint16) * 4000, ".png"),
        (RNG.integers(0, 1 << 20, SIZE).astype(np.int32), ".npy"),
        (RNG.integers(-5, 5, SIZE).astype(np.int16), ".npy"),
        (IDS > 3, ".npy"),
        (RNG.normal(size=(*SIZE, 5)).astype(np.float16), ".npy"),
        (RNG.normal(size=SIZE).astype(np.float64), ".npy"),
    ],
)
def test_what_may_be_ids_is_exact_whatever_its_name(
    array: np.ndarray, suffix: str, tmp_path: Path
) -> None:
    source, task = only_task(tmp_path, "things", array, suffix)
    assert task.is_exact, task
    np.testing.assert_array_equal(source.read(0, ["things"]).arrays["things"], array)


def test_a_palette_gives_indexes_where_no_picture_is_meant(tmp_path: Path) -> None:
    put(tmp_path / "things/1.png", IDS, palette=True)
    put(tmp_path / "rgb/1.png", IDS, palette=True)
    source = open_source("folder", str(tmp_path), kinds={"things": "label"})
    things, rgb = (source.read(0, [name]).arrays[name] for name in ("things", "rgb"))
    np.testing.assert_array_equal(things, IDS)
    assert rgb.shape == (*SIZE, 3)
    assert {task.name: task.is_exact for task in source.tasks} == {"rgb": True, "things": True}


def test_pictures_stay_pictures(tmp_path: Path) -> None:
    for name in ("rgb", "albedo", "left"):
        for suffix in (".png", ".jpg"):
            root = tmp_path / name / suffix[1:]
            put(root / name / f"1{suffix}", PHOTO)
            (task,) = open_source("folder", str(root)).tasks
            assert (task.kind, task.exact) == (TaskKind.IMAGE, False)


def test_pictures_in_a_folder_of_labels_are_exact_until_they_are_called_pictures(
    tmp_path: Path,
) -> None:
    source, task = only_task(tmp_path, "gt", PHOTO)
    assert task.is_exact
    assert "--kinds gt=image" in source.report().tasks["gt"].warnings[0]
    _, task = only_task(tmp_path, "gt", PHOTO, kinds={"gt": "image"})
    assert (task.kind, task.is_exact) == (TaskKind.IMAGE, False)


def test_a_name_alone_makes_no_normal_map(tmp_path: Path) -> None:
    _, task = only_task(tmp_path, "normalized", PHOTO)
    assert task.kind is TaskKind.IMAGE
    source, task = only_task(tmp_path, "normal", PHOTO)
    assert task.kind is TaskKind.IMAGE
    assert "unit vectors" in source.report().tasks["normal"].why
    _, task = only_task(tmp_path, "normals", NORMALS)
    assert task.kind is TaskKind.NORMAL


@pytest.mark.parametrize(
    ("nothing", "array"),
    [
        (0, NORMALS),
        (128, NORMALS),
        (127, NORMALS),
        (255, NORMALS),
        (np.nan, UNIT.astype(np.float32)),
        (0, UNIT.astype(np.float16)),
        (0.5, (UNIT * 0.5 + 0.5).astype(np.float32)),
    ],
)
def test_normals_without_direction_are_nan(
    nothing: float, array: np.ndarray, tmp_path: Path
) -> None:
    array = array.copy()
    array[4:9, 3:20] = nothing
    suffix = ".png" if array.dtype == np.uint8 else ".npy"
    source, task = only_task(tmp_path, "normals", array, suffix)
    found = task.to_physical(source.read(0, ["normals"]).arrays["normals"])
    assert np.isnan(found[4:9, 3:20]).all()
    valid = np.isfinite(found).all(-1)
    assert valid.sum() == 24 * 32 - 5 * 17
    cosine = (found * UNIT).sum(-1)[valid]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.8


def metres(root: Path, array: np.ndarray, suffix: str = ".npy", **options) -> np.ndarray:
    source, task = only_task(root, "depth", array, suffix, **options)
    assert task.kind is TaskKind.DEPTH
    return task.to_physical(source.read(0, ["depth"]).arrays["depth"])


TRUE_M = DEPTH / 1000
UNITS: list[tuple[np.ndarray, str, dict[str, object]]] = [
    (DEPTH.astype(np.uint16), ".png", {}),
    (DEPTH.astype(np.int32), ".npy", {"depth_unit": 0.001}),
    (DEPTH.astype(np.int64), ".npy", {"depth_unit": {"depth": "mm"}}),
    (DEPTH.astype(np.float32), ".npy", {}),
    (DEPTH.astype(np.float32), ".npy", {"file_unit": "mm"}),
    (DEPTH.astype(np.float64), ".npy", {"file_unit": {"depth": "mm"}}),
    (TRUE_M.astype(np.float32), ".npy", {}),
    (TRUE_M.astype(">f4"), ".npy", {}),
    (np.asfortranarray(TRUE_M), ".npy", {}),
    (TRUE_M.astype(np.float16)[..., None], ".npy", {}),
    ((TRUE_M * 100).astype(np.float32), ".npy", {"file_unit": "cm"}),
    ((TRUE_M * 5000).astype(np.uint16), ".png", {"depth_unit": "1/5000"}),
    ((1 / TRUE_M).astype(np.float32), ".npy", {"file_unit": "inverse"}),
    ((0.5 * 700 / TRUE_M).astype(np.float32), ".npy", {"file_unit": "disparity:0.5:700"}),
    (np.rint(0.5 * 700 / TRUE_M * 64).astype(np.uint16), ".png",
     {"file_unit": "depth=disparity:0.5:700:1/64"}),
    ((DEPTH << 3 | DEPTH >> 13).astype(np.uint16), ".png", {"file_unit": "rotated"}),
]  # fmt: skip


@pytest.mark.parametrize(("array", "suffix", "options"), UNITS)
def test_depth_comes_back_in_metres_whatever_its_unit(
    array: np.ndarray, suffix: str, options: dict[str, object], tmp_path: Path
) -> None:
    found = metres(tmp_path, array, suffix, **options)
    assert np.abs(found / TRUE_M - 1).max() < 0.002


def test_pictures_of_torch_have_their_channels_last(tmp_path: Path) -> None:
    flow = RNG.normal(size=(2, *SIZE)).astype(np.float32)
    put(tmp_path / "rgb/1.npy", PHOTO.transpose(2, 0, 1))
    put(tmp_path / "depth/1.npy", np.asfortranarray(TRUE_M[None]).astype(np.float32))
    put(tmp_path / "normals/1.npy", UNIT.transpose(2, 0, 1))
    put(tmp_path / "flow/1.npy", flow)
    source = open_source("folder", str(tmp_path))
    source.check([task.name for task in source.tasks])
    tasks = {task.name: task for task in source.tasks}
    arrays = source.read(0, list(tasks)).arrays
    np.testing.assert_array_equal(arrays["rgb"], PHOTO)
    np.testing.assert_array_equal(arrays["flow"], flow.transpose(1, 2, 0))
    assert np.abs(tasks["depth"].to_physical(arrays["depth"]) - TRUE_M).max() < 0.00051
    assert np.abs(tasks["normals"].to_physical(arrays["normals"]) - UNIT).max() < 0.01


def test_the_step_of_depth_is_not_its_unit(tmp_path: Path) -> None:
    """A coarse step makes depth coarse, never a thousand times too large."""
    found = metres(tmp_path, DEPTH.astype(np.float32), file_unit="mm", depth_unit=0.05)
    assert np.abs(found - TRUE_M).max() < 0.026


def test_depth_that_may_be_anything_asks(tmp_path: Path) -> None:
    odd = (DEPTH * 1.37).astype(np.float32)
    with pytest.raises(UsageError, match=r"depth/1\.npy.*--file-unit depth=mm"):
        only_task(tmp_path, "depth", odd, ".npy")
    assert np.nanmax(metres(tmp_path, odd, file_unit="mm")) < 9
    with pytest.raises(UsageError, match=r"int32 depth.*--depth-unit"):
        only_task(tmp_path, "depth", DEPTH.astype(np.int32), ".npy")
    with pytest.raises(UsageError, match=r"--file-unit furlong: expected m, cm, mm"):
        only_task(tmp_path, "depth", odd, ".npy", file_unit="furlong")


@pytest.mark.parametrize("nothing", [0, 65535])
def test_integer_depth_without_value(nothing: int, tmp_path: Path) -> None:
    array = DEPTH.astype(np.uint16)
    array[:4] = nothing
    assert np.isnan(metres(tmp_path, array, ".png")[:4]).all()


@pytest.mark.parametrize("nothing", [0, -1, np.nan, np.inf, -np.inf])
def test_float_depth_without_value(nothing: float, tmp_path: Path) -> None:
    array = TRUE_M.astype(np.float32)
    array[:4] = nothing
    found = metres(tmp_path, array)
    assert np.isnan(found[:4]).all()
    assert np.isfinite(found[4:]).all()


def test_stated_values_mean_nothing(tmp_path: Path) -> None:
    array = DEPTH.astype(np.uint16)
    array[:4] = 12345
    found = metres(tmp_path, array, ".png", invalid={"depth": [0, 12345]})
    assert np.isnan(found[:4]).all()


def test_a_stated_value_of_the_file_is_no_count_of_the_archive(tmp_path: Path) -> None:
    """Float depth where 9 stands for nothing: 9 is gone, and 0.009 m, whose count is 9, stays."""
    array = TRUE_M.astype(np.float32)
    array[:4], array[4] = 9, 0.009
    found = metres(tmp_path, array, invalid="depth=9")
    assert np.isnan(found[:4]).all()
    np.testing.assert_allclose(found[4], 0.009)


@pytest.mark.parametrize("far", [1e10, 65504.0, float(np.finfo(np.float32).max)])
def test_a_sky_of_one_far_value_can_be_stated_as_the_message_says(
    far: float, tmp_path: Path
) -> None:
    array = TRUE_M.astype(np.float32)
    array[:12] = far
    with pytest.raises(UsageError, match="--invalid depth=") as refused:
        only_task(tmp_path, "depth", array, ".npy")
    advice = str(refused.value).rpartition("--invalid ")[2]
    found = metres(tmp_path, array, invalid=advice)
    assert np.isnan(found[:12]).all()
    assert np.abs(found[12:] - TRUE_M[12:]).max() < 0.00051


@pytest.mark.parametrize("farthest", [66.0, 85.2727, 99.9])
def test_the_step_that_a_message_names_reaches_far_enough(farthest: float, tmp_path: Path) -> None:
    array = (TRUE_M * farthest / TRUE_M.max()).astype(np.float32)
    with pytest.raises(UsageError, match=r"--depth-unit [0-9.]+ or more") as refused:
        only_task(tmp_path, "depth", array, ".npy")
    step = str(refused.value).partition("--depth-unit ")[2].split()[0]
    found = metres(tmp_path, array, depth_unit=step)
    assert np.abs(found - array).max() <= float(step) / 2 + 1e-5


def test_depth_that_makes_no_room_draws_a_warning_with_likely_units(tmp_path: Path) -> None:
    """Values of 1/4096 m, read as millimetres, make a bedroom of 29 m."""
    array = np.clip(TRUE_M * 3 * 4096, 0, 65000).astype(np.uint16)
    source, _ = only_task(tmp_path, "depth", array)
    (warning,) = source.report().tasks["depth"].warnings
    assert "makes no room" in warning
    assert "1/4096" in warning
    source, _ = only_task(tmp_path, "depth", array, depth_unit="1/4096")
    assert not source.report().tasks["depth"].warnings
    source, _ = only_task(tmp_path, "depth", DEPTH.astype(np.uint16))
    assert not source.report().tasks["depth"].warnings


@pytest.mark.parametrize(
    "name",
    ["inverse_depth", "depth-inv", "log_depth", "relative_depth", "depth_confidence"],
)
@pytest.mark.parametrize(
    ("array", "suffix"),
    [((1 / TRUE_M).astype(np.float32), ".npy"), (DEPTH.astype(np.uint16), ".png")],
)
def test_what_is_said_of_depth_is_no_distance(
    name: str, array: np.ndarray, suffix: str, tmp_path: Path
) -> None:
    source, task = only_task(tmp_path, name, array, suffix)
    assert task.kind is TaskKind.ARRAY
    assert f"--kinds {task.name}=depth" in source.report().tasks[task.name].warnings[0]
    np.testing.assert_array_equal(source.read(0, [task.name]).arrays[task.name], array)
    _, task = only_task(tmp_path, name, array, suffix, kinds={name: "depth"})
    assert task.kind is TaskKind.DEPTH


def test_inverse_depth_whose_unit_is_stated_is_depth(tmp_path: Path) -> None:
    array = (1 / TRUE_M).astype(np.float32)
    source, task = only_task(tmp_path, "inv_depth", array, ".npy", file_unit="inv_depth=inverse")
    found = task.to_physical(source.read(0, ["inv_depth"]).arrays["inv_depth"])
    assert np.abs(found - TRUE_M).max() < 0.00051


@pytest.mark.parametrize("name", ["height", "alpha", "matte", "confidence", "parts"])
@pytest.mark.parametrize("copies", [1, 3])
def test_gray_that_nobody_calls_light_is_exact(name: str, copies: int, tmp_path: Path) -> None:
    gray = PHOTO[..., 0].copy()
    array = gray if copies == 1 else np.dstack([gray] * 3)
    source, task = only_task(tmp_path, name, array)
    assert (task.kind, task.is_exact) == (TaskKind.IMAGE, True)
    assert "may be ids" in source.report().tasks[name].why
    for light in ("left", "thermal", "gray"):
        assert not only_task(tmp_path / light, light, gray)[1].is_exact
    assert not only_task(tmp_path / "jpeg", name, PHOTO, ".jpg")[1].is_exact


@pytest.mark.parametrize(
    ("array", "suffix"),
    [((DEPTH / 1000).astype(np.float32), ".npy"), (DEPTH.astype(np.uint16), ".png")],
)
def test_depth_in_three_channels_alike_is_depth(
    array: np.ndarray, suffix: str, tmp_path: Path
) -> None:
    found = metres(tmp_path, np.repeat(array[..., None], 3, axis=2), suffix)
    assert np.abs(found - TRUE_M).max() < 0.00051
    odd = np.dstack([array, array, array + 1])
    put(tmp_path / f"depth/2{suffix}", odd)
    put(tmp_path / f"depth/3{suffix}", odd)
    with pytest.raises(UsageError, match="--kinds depth=array"):
        open_source("folder", str(tmp_path), tasks="depth")


def test_values_that_files_cannot_hold_are_refused(tmp_path: Path) -> None:
    for option in ("depth=-1", "depth=0+70000"):
        with pytest.raises(UsageError, match=r"--invalid depth=(-1|70000): .*uint16 values, 0 to"):
            only_task(tmp_path, "depth", DEPTH.astype(np.uint16), invalid=option)


def test_an_array_of_four_channels_keeps_them_all(tmp_path: Path) -> None:
    array = np.dstack([PHOTO, PHOTO[..., 0]])
    with pytest.raises(UsageError, match="--alpha drop"):
        only_task(tmp_path, "depth", array)
    source, _ = only_task(tmp_path, "depth", array, kinds={"depth": "array"})
    np.testing.assert_array_equal(source.read(0, ["depth"]).arrays["depth"], array)
    with pytest.raises(UsageError, match="--kinds depth=array"):
        only_task(tmp_path, "depth", PHOTO)


@pytest.mark.parametrize("alpha", ["drop", "mask"])
def test_gray_with_alpha_among_colours(alpha: str, tmp_path: Path) -> None:
    put(tmp_path / "images/1.png", np.dstack([PHOTO[..., 0], IDS]))
    put(tmp_path / "images/2.png", PHOTO)
    source = open_source("folder", str(tmp_path), alpha=alpha)
    assert source.tasks[0].channels == 3
    gray = source.read(0, ["images"]).arrays["images"]
    np.testing.assert_array_equal(gray[..., 1], PHOTO[..., 0])
    np.testing.assert_array_equal(source.read(1, ["images"]).arrays["images"], PHOTO)


def test_a_palette_with_a_transparent_entry_has_alpha_where_it_is_a_picture(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    picture = Image.fromarray(IDS, "P")
    picture.putpalette(list(range(36)))
    picture.save(tmp_path / "images/1.png", transparency=5)
    with pytest.raises(UsageError, match="--alpha drop"):
        open_source("folder", str(tmp_path))
    source = open_source("folder", str(tmp_path), alpha="mask")
    arrays = source.read(0, ["images", "images_alpha"]).arrays
    np.testing.assert_array_equal(arrays["images"][..., 0], IDS * 3)
    np.testing.assert_array_equal(arrays["images_alpha"], np.where(IDS == 5, 0, 255))
    (task,) = open_source("folder", str(tmp_path), kinds={"images": "label"}).tasks
    assert (task.kind, task.channels) == (TaskKind.LABEL, 1)


def test_normals_with_alpha_are_normals(tmp_path: Path) -> None:
    opaque = (IDS > 5) * np.uint8(255)
    array = np.dstack([NORMALS * (opaque > 0)[..., None], opaque]).astype(np.uint8)
    for alpha in ("drop", "mask"):
        source, task = first_task(tmp_path, "normals", array, alpha=alpha)
        assert task.kind is TaskKind.NORMAL
        found = task.to_physical(source.read(0, ["normals"]).arrays["normals"])
        np.testing.assert_array_equal(np.isnan(found).all(-1), opaque == 0)


@pytest.mark.parametrize("name", ["disp", "disparity", "dispL", "disp0GT", "flow", "optical_flow"])
def test_disparity_and_flow_are_exact(name: str, tmp_path: Path) -> None:
    array = RNG.integers(0, 9000, SIZE).astype(np.uint16)
    array[:5] = 0
    source, task = only_task(tmp_path, name, array)
    assert task.kind in EXACT_KINDS
    np.testing.assert_array_equal(source.read(0, [task.name]).arrays[task.name], array)
    if task.kind is TaskKind.DISPARITY:
        assert np.isnan(task.to_physical(array)[:5]).all()


@pytest.mark.parametrize("shape", [(4, 4), (3, 3), (3, 4), (1, 16), (12,)])
def test_matrices_are_vectors(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = RNG.normal(size=shape)
    source, task = only_task(tmp_path, "pose", array, ".npy")
    assert (task.kind, task.channels) == (TaskKind.VECTOR, array.size)
    np.testing.assert_array_equal(source.read(0, ["pose"]).arrays["pose"], array.ravel())


def test_only_what_is_asked_for_is_judged(tmp_path: Path) -> None:
    put(tmp_path / "rgb/1.png", PHOTO)
    put(tmp_path / "depth/1.npy", DEPTH.astype(np.int32))  # would ask for its unit
    put(tmp_path / "odd/1.npy", np.zeros((2, 2, 2, 2), complex))
    with pytest.raises(UsageError):
        open_source("folder", str(tmp_path))
    source = open_source("folder", str(tmp_path), tasks="rgb")
    assert [task.name for task in source.tasks] == ["rgb"]
    assert {one.what: one.reason for one in source.report().left_out} == {
        "task depth": "not in --tasks",
        "task odd": "not in --tasks",
    }
    source = open_source("folder", str(tmp_path), ignore="depth,odd")
    assert [task.name for task in source.tasks] == ["rgb"]


def test_names_of_tasks_are_found_under_their_own_spelling(tmp_path: Path) -> None:
    put(tmp_path / "color/1.png", PHOTO)
    put(tmp_path / "Semantic-40/1.png", IDS)
    for words, names in (("color", ["rgb"]), ("rgb,Semantic-40", ["rgb", "semantic_40"])):
        source = open_source("folder", str(tmp_path), tasks=words)
        assert sorted(task.name for task in source.tasks) == names


def test_exact_tasks_keep_their_json_short() -> None:
    task = Task(name="x", kind=TaskKind.IMAGE, dtype="uint8")
    assert "exact" not in task.model_dump(mode="json")
    assert task.model_copy(update={"exact": True}).model_dump(mode="json")["exact"]
