"""Taskonomy's published layouts, encodings and their odd corners."""

import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsc._files.tree import FileTree
from dsc._schemas import TaskKind
from dsc._sources.registry import open_source
from dsc._sources.taskonomy import DOMAINS, list_views
from dsc.errors import SampleError, UsageError
from tests.places import DATA

SIZE = (6, 8)
RGB = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(*SIZE, 3)
DEPTH = (np.arange(48, dtype=np.uint16) * 500).reshape(SIZE)


def put(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        path.write_bytes(imagecodecs.png_encode(array))
    return path


def content_of(domain: str) -> np.ndarray:
    task = DOMAINS[domain]
    if task.kind is TaskKind.VECTOR:
        return np.linspace(0, 1, 1000, dtype=np.float64)
    shape = SIZE if task.channels == 1 else (*SIZE, 3)
    top = np.iinfo(task.dtype).max
    return np.random.default_rng(0).integers(0, top, shape, task.dtype)


def file_name(domain: str, point: int = 0, view: int = 3) -> str:
    suffix = "npy" if domain.startswith("class_") else "png"
    return f"point_{point}_view_{view}_domain_{domain}.{suffix}"


@pytest.mark.parametrize(
    ("layout", "key"),
    [
        ("{d}/allensville", "allensville__point_0_view_3"),
        ("allensville_{d}", "allensville__point_0_view_3"),
        ("allensville_{d}/{d}", "allensville__point_0_view_3"),
        ("allensville/{d}", "allensville__point_0_view_3"),
        ("hm3d/{d}/00000-kfPV7w3FaU5", "hm3d__00000-kfPV7w3FaU5__point_0_view_3"),
        ("{d}/replica/apartment_0", "replica__apartment_0__point_0_view_3"),
        ("train/{d}/replica/apartment_0", "train__replica__apartment_0__point_0_view_3"),
        ("{d}", "point_0_view_3"),
        (".", "point_0_view_3"),
    ],
)
def test_every_published_layout_gives_the_view_all_its_domains(
    layout: str, key: str, tmp_path: Path
) -> None:
    for domain in DOMAINS:
        put(tmp_path / layout.format(d=domain) / file_name(domain), content_of(domain))
    source = open_source("taskonomy", str(tmp_path))
    assert len(source) == 1
    assert source.key(0) == key
    assert [task.name for task in source.tasks] == list(DOMAINS)
    sample = source.read(0, list(DOMAINS))
    for domain in DOMAINS:
        np.testing.assert_array_equal(sample.arrays[domain], content_of(domain))
    path = tmp_path / layout.format(d="rgb") / file_name("rgb")
    assert sample.source_bytes["rgb"] == path.stat().st_size


def test_valid_mask_named_after_depth_is_the_mask(tmp_path: Path) -> None:
    mask = np.full(SIZE, 255, np.uint8)
    put(tmp_path / "mask_valid/replica/a" / file_name("depth_zbuffer"), mask)
    put(tmp_path / "depth_zbuffer/replica/a" / file_name("depth_zbuffer"), DEPTH)
    sample = open_source("taskonomy", str(tmp_path)).read(0, ["mask_valid", "depth_zbuffer"])
    np.testing.assert_array_equal(sample.arrays["mask_valid"], mask)
    np.testing.assert_array_equal(sample.arrays["depth_zbuffer"], DEPTH)


def test_published_file_names_of_semantics_and_scenes_are_known(tmp_path: Path) -> None:
    put(tmp_path / "segment_semantic/a/point_0_view_0_domain_segmentsemantic.png", DEPTH)
    put(tmp_path / "a_class_scene/point_0_view_0_domain_class_places.npy", np.zeros(365))
    put(tmp_path / "a_class_object/class_object/point_0_view_0_domain_class_object.npy", np.ones(9))
    source = open_source("taskonomy", str(tmp_path))
    assert [source.key(index) for index in range(len(source))] == ["a__point_0_view_0"]
    sample = source.read(0, ["segment_semantic", "class_scene", "class_object"])
    assert {name: array.shape for name, array in sample.arrays.items()} == {
        "segment_semantic": SIZE,
        "class_scene": (365,),
        "class_object": (9,),
    }


def test_colour_coded_semantics_keep_three_channels(tmp_path: Path) -> None:
    put(tmp_path / "semantic" / file_name("semantic"), RGB)
    source = open_source("taskonomy", str(tmp_path))
    assert [(task.kind, task.channels) for task in source.tasks] == [(TaskKind.LABEL, 3)]
    np.testing.assert_array_equal(source.read(0, ["semantic"]).arrays["semantic"], RGB)


def test_camera_files_and_unknown_domains_are_ignored_and_told(tmp_path: Path) -> None:
    put(tmp_path / "rgb" / file_name("rgb"), RGB)
    put(tmp_path / "fragments" / file_name("fragments"), RGB)
    (tmp_path / "rgb" / "point_7_view_0_domain_rgb.json").write_text("{}")
    (tmp_path / "point_info").mkdir()
    (tmp_path / "point_info" / "point_0_view_3_domain_fixatedpose.json").write_text("{}")
    source = open_source("taskonomy", str(tmp_path))
    assert [task.name for task in source.tasks] == ["rgb"]
    assert len(source) == 1
    notes = " ".join(f"{one.what} {one.reason}" for one in source.left_out)
    assert "fragments" in notes
    assert "camera" in notes


def test_views_come_in_natural_order(tmp_path: Path) -> None:
    for building, point, view in (("b10", 1, 0), ("b2", 10, 0), ("b2", 9, 11), ("b2", 9, 2)):
        put(tmp_path / "rgb" / building / file_name("rgb", point, view), RGB)
    source = open_source("taskonomy", str(tmp_path))
    assert [source.key(index) for index in range(4)] == [
        "b2__point_9_view_2",
        "b2__point_9_view_11",
        "b2__point_10_view_0",
        "b10__point_1_view_0",
    ]


def test_depth_is_in_counts_of_a_512th_of_a_metre(tmp_path: Path) -> None:
    depth = DEPTH.copy()
    depth[0, 0], depth[0, 1] = 65535, 1024
    put(tmp_path / "depth_zbuffer" / file_name("depth_zbuffer"), depth)
    source = open_source("taskonomy", str(tmp_path))
    (task,) = source.tasks
    metres = task.to_physical(source.read(0, [task.name]).arrays[task.name])
    assert np.isnan(metres[0, 0])
    assert metres[0, 1] == 2.0


@pytest.mark.parametrize("unit", [1 / 4096, "1/4096", {"hm3d": 1 / 4096}, "hm3d=1/4096"])
def test_stated_depth_unit_leaves_the_counts_alone(unit: object, tmp_path: Path) -> None:
    put(tmp_path / "depth_zbuffer/hm3d/a" / file_name("depth_zbuffer"), DEPTH)
    source = open_source("taskonomy", str(tmp_path), depth_unit=unit)
    (task,) = source.tasks
    assert task.unit_m == 1 / 4096
    np.testing.assert_array_equal(source.read(0, [task.name]).arrays[task.name], DEPTH)


def test_components_of_different_units_meet_in_the_coarsest(tmp_path: Path) -> None:
    depth = np.array([[0, 4, 8, 4096], [8191, 40000, 65534, 65535]], np.uint16)
    for component in ("hm3d", "replica"):
        put(tmp_path / component / "depth_zbuffer" / file_name("depth_zbuffer"), depth)
    source = open_source("taskonomy", str(tmp_path), depth_unit={"hm3d": "1/4096"})
    (task,) = source.tasks
    assert task.unit_m == 1 / 512
    hm3d, replica = (source.read(index, [task.name]).arrays[task.name] for index in range(2))
    np.testing.assert_array_equal(replica, depth)
    assert hm3d[1, 3] == 65535
    valid = depth != 65535
    error_m = np.abs(hm3d[valid] / 512 - depth[valid] / 4096)
    assert error_m.max() <= 0.5 / 512


def test_unit_for_a_component_that_is_not_there_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "hm3d/depth_zbuffer" / file_name("depth_zbuffer"), DEPTH)
    with pytest.raises(UsageError, match=r"h3md.*found: hm3d"):
        open_source("taskonomy", str(tmp_path), depth_unit="h3md=1/4096")


@pytest.mark.parametrize("unit", ["fine", 0, -1, "1/0", "inf"])
def test_depth_unit_that_is_no_length_is_refused(unit: object, tmp_path: Path) -> None:
    put(tmp_path / "depth_zbuffer" / file_name("depth_zbuffer"), DEPTH)
    with pytest.raises(UsageError, match="1/512"):
        open_source("taskonomy", str(tmp_path), depth_unit=unit)


def test_mixed_sizes_name_the_sample_and_each_size(tmp_path: Path) -> None:
    put(tmp_path / "rgb" / file_name("rgb"), RGB)
    put(tmp_path / "depth_zbuffer" / file_name("depth_zbuffer"), DEPTH[:3])
    source = open_source("taskonomy", str(tmp_path))
    with pytest.raises(SampleError, match=r"point_0_view_3.*rgb 8x6.*depth_zbuffer 8x3"):
        source.read(0, ["rgb", "depth_zbuffer"])
    assert source.read(0, ["rgb"]).arrays


def test_truncated_png_is_reported_at_any_length(tmp_path: Path) -> None:
    path = put(tmp_path / "rgb" / file_name("rgb"), RGB)
    whole = path.read_bytes()
    source = open_source("taskonomy", str(tmp_path))
    for length in (*range(0, len(whole), 7), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(SampleError, match=f"point_0_view_3: .*{re.escape(path.name)}"):
            source.read(0, ["rgb"])


def test_first_file_damaged_does_not_stop_opening(tmp_path: Path) -> None:
    put(tmp_path / "semantic" / file_name("semantic", 0), RGB).write_bytes(b"\x89PNG")
    put(tmp_path / "semantic" / file_name("semantic", 1), RGB)
    source = open_source("taskonomy", str(tmp_path))
    assert source.tasks[0].channels == 3
    with pytest.raises(SampleError, match="point_0"):
        source.read(0, ["semantic"])


def test_file_that_vanished_is_a_sample_error(tmp_path: Path) -> None:
    path = put(tmp_path / "rgb" / file_name("rgb"), RGB)
    source = open_source("taskonomy", str(tmp_path))
    path.unlink()
    with pytest.raises(SampleError, match="gone since"):
        source.read(0, ["rgb"])


@pytest.mark.parametrize(
    ("domain", "array", "message"),
    [
        ("rgb", np.zeros((6, 8, 4), np.uint8), r"4 channels \(alpha, or CMYK\).*convert"),
        ("rgb", np.zeros((6, 8, 3), np.uint16), "uint16 values, task rgb holds uint8"),
        ("depth_zbuffer", np.zeros((6, 8), np.uint8), "uint8 values, task depth_zbuffer"),
        ("normal", np.zeros((6, 8), np.uint8), "1 channels, task normal has 3"),
    ],
)
def test_wrong_content_says_what_was_found(
    domain: str, array: np.ndarray, message: str, tmp_path: Path
) -> None:
    put(tmp_path / domain / file_name(domain), array)
    source = open_source("taskonomy", str(tmp_path))
    with pytest.raises(SampleError, match=message):
        source.read(0, [domain])


def test_pickled_objects_in_npy_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "class_scene" / file_name("class_scene")
    path.parent.mkdir()
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(SampleError, match="plain numbers"):
        open_source("taskonomy", str(tmp_path))


def test_vector_of_another_length_is_a_sample_error(tmp_path: Path) -> None:
    put(tmp_path / "class_scene" / file_name("class_scene", 0), np.zeros((1, 365)))
    put(tmp_path / "class_scene" / file_name("class_scene", 1), np.zeros(364))
    source = open_source("taskonomy", str(tmp_path))
    assert source.read(0, ["class_scene"]).arrays["class_scene"].shape == (365,)
    with pytest.raises(SampleError, match=r"\(364,\).*\(365,\)"):
        source.read(1, ["class_scene"])


def test_two_files_for_one_task_of_a_view_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "rgb/a" / file_name("rgb"), RGB)
    put(tmp_path / "a_rgb" / file_name("rgb"), RGB)
    with pytest.raises(UsageError, match=r"a_rgb/.* and rgb/a/.* are both rgb of sample a__point"):
        open_source("taskonomy", str(tmp_path))


def test_linked_directories_are_followed_and_loops_end(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / file_name("rgb"), RGB)
    root = tmp_path / "root"
    root.mkdir()
    (root / "rgb").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(root)
    assert len(open_source("taskonomy", str(root))) == 1


def test_remote_root_reads_the_same_as_local(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    local = put(tmp_path / "hm3d/rgb/a" / file_name("rgb"), RGB)
    put(tmp_path / "hm3d/depth_zbuffer/a" / file_name("depth_zbuffer"), DEPTH)
    fsspec.filesystem("memory").put(str(tmp_path), "/views", recursive=True)
    here = open_source("taskonomy", str(tmp_path))
    there = open_source("taskonomy", "memory://views")
    assert there.describe()["fingerprint"] == here.describe()["fingerprint"]
    sample = there.read(0, ["rgb"])
    np.testing.assert_array_equal(sample.arrays["rgb"], RGB)
    assert sample.source_bytes["rgb"] == local.stat().st_size


class ListedTree(FileTree):
    """A tree whose listing is made up."""

    def __init__(self, files: list[tuple[str, str]]) -> None:
        super().__init__("/made/up")
        self.files = files

    def walk(self, left_out=None):  # type: ignore[no-untyped-def]
        for directory, name in self.files:
            yield directory, [name]


NAMES = st.one_of(
    st.text("a_-.", min_size=1, max_size=4),  # few letters, so that names nearly collide
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1),
)
BUILDINGS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), max_size=3)


@given(
    st.lists(
        st.tuples(BUILDINGS, st.integers(0, 10**9 - 1), st.integers(0, 99)),
        min_size=1,
        unique_by=lambda view: ("/".join(view[0]), view[1], view[2]),
    ),
    st.randoms(),
)
def test_any_building_names_give_unique_plain_keys_in_any_listing_order(views, random) -> None:
    files = []
    for building, point, view in views:
        directory = "/".join((*building, "rgb"))
        files.append((directory, f"point_{point}_view_{view}_domain_rgb.png"))
    table, _ = list_views(ListedTree(files))
    keys = [table.key(row) for row in range(len(table))]
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", key) for key in keys)
    kept = {"/".join((*building, f"{p}_{v}")) for building, p, v in views}
    assert len(set(keys)) == len(keys) == len(kept)
    random.shuffle(files)
    assert list_views(ListedTree(files))[0].digest() == table.digest()
    paths = {table.path(row, "rgb") for row in range(len(table))}
    assert paths == {f"{directory}/{name}" for directory, name in files}


@pytest.mark.data
@pytest.mark.skipif(
    not (DATA / "taskonomy_native").is_dir(), reason=f"no taskonomy_native under {DATA}"
)
def test_real_views_read_in_their_own_encoding() -> None:
    source = open_source("taskonomy", str(DATA / "taskonomy_native"))
    assert [source.key(index) for index in range(len(source))] == [
        "3dcc__point_0_view_0",
        "3dcc__point_2_view_9",
    ]
    assert [task.name for task in source.tasks] == ["rgb", "depth_euclidean", "reshading"]
    sample = source.read(0, ["rgb", "depth_euclidean", "reshading"])
    assert all(array.shape[:2] == (512, 512) for array in sample.arrays.values())
    depth_m = source.tasks[1].to_physical(sample.arrays["depth_euclidean"])
    assert 0.5 < np.nanmin(depth_m) < np.nanmax(depth_m) < 30
    first = next((DATA / "taskonomy_native").rglob("point_0_view_0_domain_rgb.png"))
    assert sample.source_bytes["rgb"] == first.stat().st_size


def test_normals_without_direction_have_none(tmp_path: Path) -> None:
    normal = np.full((*SIZE, 3), (128, 128, 255), np.uint8)
    normal[:2], normal[2], normal[3] = 128, 0, 127
    put(tmp_path / "normal/a" / file_name("normal"), normal)
    source = open_source("taskonomy", str(tmp_path))
    (task,) = source.tasks
    found = task.to_physical(source.read(0, ["normal"]).arrays["normal"])
    assert np.isnan(found[:4]).all()
    assert np.isfinite(found[4:]).all()
