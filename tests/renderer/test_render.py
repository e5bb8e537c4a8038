import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from dsc._renderer import render
from dsc._renderer.render import SCENE_CLASSES, SEMANTIC_CLASSES, render_view
from dsc._renderer.scene import choose_camera, make_scene
from dsc._renderer.trace import trace

VIEWS = range(20)
MAPS = ("rgb", "depth_zbuffer", "normal", "segment_semantic")


@cache
def view(index, size=64):
    return render_view(index, size)


def scene_and_camera(index):
    rng = np.random.Generator(np.random.PCG64([0, index]))
    scene = make_scene(rng)
    return scene, choose_camera(rng, scene)


def unit_normals(view):
    return (view["normal"].astype(np.float64) - 127.5) / 127.5


def with_missing():
    for index in range(200):
        scene, _ = scene_and_camera(index)
        if any(opening.is_hole for opening in scene.openings):
            found = render_view(index, 32)
            if (found["depth_zbuffer"] == 65535).any():
                return index
    raise AssertionError("no view of 200 has an open door or window in sight")


def test_same_bytes_each_time_and_in_each_process():
    ours = render_view(3, 48, seed=7)
    again = render_view(3, 48, seed=7)
    code = (
        "import sys; from dsc._renderer.render import render_view as r; v = r(3, 48, seed=7)"
        "; sys.stdout.buffer.write(b''.join(v[k].tobytes() for k in sorted(v)))"
    )
    theirs = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert all(np.array_equal(ours[name], again[name]) for name in ours)
    assert b"".join(ours[name].tobytes() for name in sorted(ours)) == theirs


def test_index_and_seed_each_give_another_view():
    first, other, seeded = view(3), view(4), render_view(3, 64, seed=1)
    for name in (*MAPS, "class_scene"):
        assert not np.array_equal(first[name], other[name])
        assert not np.array_equal(first[name], seeded[name])


@pytest.mark.parametrize("size", [32, 45, 64])
def test_encodings(size):
    found = view(1, size)
    assert {name: (array.dtype.name, array.shape) for name, array in found.items()} == {
        "rgb": ("uint8", (size, size, 3)),
        "depth_zbuffer": ("uint16", (size, size)),
        "normal": ("uint8", (size, size, 3)),
        "segment_semantic": ("uint8", (size, size)),
        "class_scene": ("float32", (len(SCENE_CLASSES),)),
    }
    assert len(SEMANTIC_CLASSES) == len(set(SEMANTIC_CLASSES)) <= 20
    assert found["segment_semantic"].max() < len(SEMANTIC_CLASSES)


def test_scene_vector_names_the_room():
    for index in VIEWS:
        vector = view(index)["class_scene"]
        assert vector.sum() == pytest.approx(1, abs=1e-6)
        assert (vector >= 0).all()
        assert vector.argmax() == scene_and_camera(index)[0].kind


def test_normals_are_unit_and_face_the_camera():
    for index in VIEWS:
        found = view(index)
        there = found["depth_zbuffer"] != 65535
        normal = unit_normals(found)[there]
        assert np.abs(np.linalg.norm(normal, axis=1) - 1).max() < np.sqrt(3) / 255 + 1e-9
        assert not (found["normal"][there] == 127).all(axis=-1).any()
        tangent = scene_and_camera(index)[1].tangent
        grid = ((np.arange(64) + 0.5) / 32 - 1) * tangent
        rays = np.stack([*np.meshgrid(grid, -grid), -np.ones((64, 64))], axis=-1)[there]
        facing = (rays * normal).sum(axis=1) / np.linalg.norm(rays, axis=1)
        assert facing.max() < np.sqrt(3) / 255 + 1e-6


def test_depth_and_normals_are_of_the_same_surfaces():
    angles = []
    for index in range(6):
        found, size = view(index, 128), 128
        depth = found["depth_zbuffer"] / 512
        there = found["depth_zbuffer"] != 65535
        grid = ((np.arange(size) + 0.5) * 2 / size - 1) * scene_and_camera(index)[1].tangent
        x, y = np.meshgrid(grid, -grid)
        points = np.stack([x * depth, y * depth, -depth], axis=-1)
        # over 8 pixels, so that the depth's step of 2 mm does not swamp the slope
        across, down = points[4:-4, 8:] - points[4:-4, :-8], points[8:, 4:-4] - points[:-8, 4:-4]
        derived = np.cross(down, across)
        derived /= np.linalg.norm(derived, axis=-1, keepdims=True)
        normal = unit_normals(found)[4:-4, 4:-4]
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 0.5)
        around = np.lib.stride_tricks.sliding_window_view(found["normal"], (9, 9), (0, 1))
        flat = (around == around[..., 4:5, 4:5]).all(axis=(2, 3, 4)) & there[4:-4, 4:-4]
        cosine = (derived * normal).sum(axis=-1)[flat]
        angles.append(np.degrees(np.arccos(cosine.clip(-1, 1))))
    assert sum(map(len, angles)) > 2000
    assert np.median(np.concatenate(angles)) < 1


def test_missing_pixels_are_missing_in_every_task():
    found = render_view(with_missing(), 64)
    missing = found["depth_zbuffer"] == 65535
    assert missing.any()
    assert np.array_equal(missing, (found["normal"] == 127).all(axis=-1))
    assert np.array_equal(missing, found["segment_semantic"] == 0)


def test_most_views_miss_nothing_and_none_is_empty():
    shares = [(view(index)["depth_zbuffer"] == 65535).mean() for index in VIEWS]
    assert np.median(shares) == 0
    assert max(shares) < 0.7


def test_scene_does_not_depend_on_the_size():
    for index in (0, 5, 9):
        small, large = view(index, 128), view(index, 256)
        agree = small["segment_semantic"] == large["segment_semantic"][::2, ::2]
        assert agree.mean() > 0.93
        assert np.array_equal(small["class_scene"], large["class_scene"])
        shrunk = large["rgb"].reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
        assert np.abs(shrunk - small["rgb"]).mean() < 8


def test_bands_leave_no_seam(monkeypatch):
    whole = render_view(5, 64)
    monkeypatch.setattr(render, "BAND_PIXELS", 64 * 10)
    banded = render_view(5, 64)
    assert all(np.array_equal(whole[name], banded[name]) for name in whole)


def test_depth_is_that_of_the_room_where_nothing_stands_before_it():
    scene, camera = scene_and_camera(2)
    x = y = np.linspace(-0.9, 0.9, 7, dtype=np.float32)
    rays = camera.rays(x, y)
    scene.pieces = []
    depth, owner = trace(scene, camera, x, y, rays)
    points = camera.eye[:, None] + rays.astype(np.float64) * depth
    assert (owner == -1).all()
    away = np.minimum(np.abs(points), np.abs(points - scene.room[:, None])).min(axis=0)
    assert away.max() < 1e-5
    assert ((points > -1e-5) & (points < scene.room[:, None] + 1e-5)).all()


def test_views_are_varied():
    means = np.stack([view(index)["rgb"].mean(axis=(0, 1)) for index in VIEWS])
    contrast = np.array([view(index)["rgb"].std() for index in VIEWS])
    labels = np.unique(np.concatenate([np.unique(view(i)["segment_semantic"]) for i in VIEWS]))
    assert (means.std(axis=0) > 10).all()
    assert contrast.min() > 15
    assert len(labels) >= 12
    assert len({int(view(index)["class_scene"].argmax()) for index in VIEWS}) >= 5


def test_a_band_of_one_face_alone_is_rendered():
    view = render_view(87, seed=1)  # its upper rows hold nothing but one wall
    assert view["rgb"].shape == (256, 256, 3)
