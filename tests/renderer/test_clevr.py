"""CLEVR-like views: the same every time, geometry that agrees with itself, and something to see."""

from functools import cache

import numpy as np
import pytest

from dsc._jobs.archive.compress import compress
from dsc._pipeline.read.dataset import Dataset
from dsc._renderer.clevr import CLEVR_CLASSES, _camera, _place, clevr_boxes, render_clevr
from dsc._sources.registry import open_source
from dsc.errors import UsageError

VIEWS = range(12)


@cache
def view(index: int, size: int = 64) -> dict[str, np.ndarray]:
    return render_clevr(index, size)


def depth_m(index: int) -> np.ndarray:
    return view(index)["depth_zbuffer"] / 512


def unit_normals(index: int) -> np.ndarray:
    return (view(index)["normal"].astype(np.float64) - 127.5) / 127.5


def test_a_view_depends_on_seed_and_index_alone() -> None:
    again, other = render_clevr(3, 64), render_clevr(3, 64, seed=1)
    for name, array in view(3).items():
        np.testing.assert_array_equal(array, again[name])
        assert not np.array_equal(array, other[name])
        assert not np.array_equal(array, view(4)[name])


def test_arrays_have_their_encodings_and_depth_is_valid_everywhere() -> None:
    for index in VIEWS:
        found = {name: (a.dtype.name, a.shape) for name, a in view(index).items()}
        assert found == {
            "rgb": ("uint8", (64, 64, 3)),
            "depth_zbuffer": ("uint16", (64, 64)),
            "normal": ("uint8", (64, 64, 3)),
            "segment_semantic": ("uint8", (64, 64)),
        }
        assert 3 < depth_m(index).min() < depth_m(index).max() < 120
        length = np.linalg.norm(unit_normals(index), axis=-1)
        assert np.abs(length - 1).max() < 0.02


def test_the_ground_is_one_plane_with_the_normal_that_it_shows() -> None:
    for index in VIEWS:
        ground = view(index)["segment_semantic"] == CLEVR_CLASSES.index("ground")
        normal = unit_normals(index)[ground]
        assert np.abs(normal - normal.mean(axis=0)).max() < 0.01, "walls are in sight"
        # a plane's inverse z-depth is linear in the place on the screen
        row, column = np.nonzero(ground)
        rays = np.stack([column + 0.5 - 32, 32 - (row + 0.5), np.full(len(row), -32 / 0.34)])
        height = (rays * normal.mean(axis=0)[:, None]).sum(axis=0) * depth_m(index)[ground]
        assert height.std() < 0.02 * abs(height.mean())


def test_normals_face_the_camera() -> None:
    for index in VIEWS:
        row, column = np.mgrid[:64, :64] + 0.5
        rays = np.stack([column - 32, 32 - row, np.full_like(row, -32 / 0.34)], axis=-1)
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        assert (rays * unit_normals(index)).sum(axis=-1).max() < 0.02


def test_objects_stand_apart_on_the_ground() -> None:
    for seed in range(30):
        solids = _place(np.random.default_rng(seed))
        assert 3 <= len(solids) <= 10
        for number, solid in enumerate(solids):
            assert solid.center[2] == pytest.approx(solid.half[2])
            for other in solids[:number]:
                apart = np.hypot(*(solid.center - other.center)[:2])
                assert apart > 0.25 + solid.half[0] + other.half[0]


def test_views_show_all_classes_and_differ_in_camera() -> None:
    shown = set()
    for index in VIEWS:
        labels = set(np.unique(view(index)["segment_semantic"]).tolist())
        assert 1 in labels, "no ground"
        assert len(labels) > 1, "no object in sight"
        shown |= labels
        assert view(index)["rgb"].std() > 15
    assert shown == {1, 2, 3, 4}
    eyes = [_camera(np.random.default_rng(seed)).eye for seed in range(20)]
    assert np.ptp(eyes, axis=0).min() > 0.5


def test_shadows_fall_and_metal_shines() -> None:
    darkest, brightest = [], []
    for index in VIEWS:
        ground = view(index)["segment_semantic"] == 1
        gray = view(index)["rgb"].mean(axis=-1)
        near = ground & (np.arange(64)[:, None] > 20)
        darkest.append(gray[near].min() / np.median(gray[near]))
        brightest.append(gray[~ground].max())
    assert min(darkest) < 0.6
    assert max(brightest) > 230


def test_it_is_a_source_that_compresses(tmp_path) -> None:
    compress("clevr", tmp_path / "a", sample=2, size=32, codec="png", tasks="rgb,depth")
    archive = Dataset.open(tmp_path / "a", native=True)
    given = open_source("clevr", n=2, size=32).read(1, ["rgb", "depth_zbuffer"]).arrays
    assert len(archive) == 2
    for name, array in given.items():
        np.testing.assert_array_equal(archive[1][name], array)


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 3, "size": 8}])
def test_counts_and_sizes_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        open_source("clevr", **options)


def test_boxes_are_those_of_what_is_seen() -> None:
    for index in range(4):
        labels = view(index, 96)["segment_semantic"]
        boxes = clevr_boxes(index, 96)
        first = CLEVR_CLASSES.index("cube")
        covered = np.zeros(labels.shape, bool)
        for left, top, right, bottom, label in boxes:
            inside = labels[top:bottom, left:right] == label
            # each side of a box touches its solid
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            covered[top:bottom, left:right] = True
        assert covered[labels >= first].all()
    assert clevr_boxes(0, 96, seed=1).tolist() != clevr_boxes(0, 96).tolist()
