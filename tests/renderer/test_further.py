"""Maps that follow from what was rendered: values worked out by hand, and properties."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from dsc._renderer import further
from dsc._renderer.clevr import render_clevr
from dsc._renderer.further import (
    FURTHER,
    Frame,
    depth_euclidean,
    edge_occlusion,
    edge_texture,
    keypoints2d,
    mask_valid,
    reshading,
)
from dsc._renderer.recording import Recording
from dsc._renderer.render import render_view
from dsc._renderer.scene import choose_camera, make_scene

HIGH, WIDE = 40, 48
USUAL = {"rgb", "depth_zbuffer", "normal", "segment_semantic", "class_scene"}


def frame(**given: Any) -> Frame:
    """A gray wall, 2 m before the camera, that faces it."""
    wall: dict[str, Any] = {
        "rgb": np.full((HIGH, WIDE, 3), 90, np.uint8),
        "depth": np.full((HIGH, WIDE), 1024, np.uint16),
        "normal": np.full((HIGH, WIDE, 3), (127, 127, 255), np.uint8),
        "tangent": 0.75,
        "unit_m": 1 / 512,
        "missing": 65535,
    }
    return Frame(**{**wall, **given})


def tangent(index: int) -> float:
    rng = np.random.Generator(np.random.PCG64([0, index]))
    return choose_camera(rng, make_scene(rng)).tangent


def test_a_wall_has_no_edges_and_no_keypoints() -> None:
    for make in (edge_texture, edge_occlusion):
        found = make(frame())
        assert (found.dtype, found.shape) == (np.uint16, (HIGH, WIDE))
        assert found.max() == 0
    found = keypoints2d(frame(rgb=np.full((100, 110, 3), 90, np.uint8)))
    assert (found.dtype, found.shape) == (np.uint16, (100, 110))
    inside = found[46:-46, 46:-46]  # nearer to the border, boxes are cut
    # a side of 41 pixels is no three of 13: of a flat wall two columns are left of the boxes
    assert (inside == inside[0, 0]).all()
    assert 0 < inside[0, 0] < 20
    assert keypoints2d(frame(rgb=np.zeros((HIGH, WIDE, 3), np.uint8))).max() == 0


def test_depth_along_the_ray() -> None:
    found = depth_euclidean(frame())
    # the middle of the first pixel: 23.5 pixels left and 19.5 up, at a focal length of 24 / 0.75
    assert found[0, 0] == round(1024 * np.sqrt(1 + (23.5 / 32) ** 2 + (19.5 / 32) ** 2))
    assert (found >= 1024).all()
    np.testing.assert_array_equal(found, found[::-1, ::-1])


@pytest.mark.parametrize("missing", [0, 65535])
def test_where_depth_is_missing(missing: int) -> None:
    depth = np.full((HIGH, WIDE), 1024, np.uint16)
    depth[10:20, 30:] = missing
    depth[:3] = 60_000
    hole = depth == missing
    holed = frame(depth=depth, missing=missing)
    np.testing.assert_array_equal(mask_valid(holed), np.where(hole, 0, 255))
    assert mask_valid(holed).dtype == np.uint8
    np.testing.assert_array_equal(depth_euclidean(holed) == missing, hole)
    assert (reshading(holed)[hole] == 0).all()
    edges = edge_occlusion(holed)
    assert edges[9:21, 29:].max() == 0  # the hole and a pixel around it
    assert edges[3, 20] > 0


def test_a_step_in_depth() -> None:
    depth = np.full((HIGH, WIDE), 1024, np.uint16)
    depth[:, 24:] = 4096
    found = edge_occlusion(frame(depth=depth))
    # sqrt(1024) = 32 and sqrt(4096) = 64: 32 / 256 in both columns that see the step
    step = round(32 / 256 / np.sqrt(2) * 65535)
    assert (found[1:-1, 23:25] == step).all()
    found[1:-1, 23:25] = 0
    assert found.max() == 0


def test_a_step_in_brightness_is_spread_by_the_blur() -> None:
    rgb = np.zeros((HIGH, WIDE, 3), np.uint8)
    rgb[:, 24:] = 255
    found = edge_texture(frame(rgb=rgb)).astype(int)
    taps = np.exp(-0.5 * (np.arange(-12, 13) / 3) ** 2)
    taps /= taps.sum()
    # the blurred step rises by taps 11 and 12 from column 22 to 24, by those two mirrored after it
    assert found[20, 23] == round((taps[12] + taps[11]) / np.sqrt(2) * 65535)
    assert found[20, 23] == found[20, 24]
    np.testing.assert_array_equal(found[1:-1], np.broadcast_to(found[20], (HIGH - 2, WIDE)))
    assert found[0].max() == found[:, 0].max() == 0
    red = np.zeros_like(rgb)
    red[:, 24:, 0] = 255
    of_red = edge_texture(frame(rgb=red)).astype(int)
    assert abs(of_red - found * 0.299).max() <= 1


def test_the_determinant_of_boxes_is_that_of_the_sums_written_out() -> None:
    rng = np.random.default_rng(3)
    gray = rng.random((30, 34))
    sums = gray.cumsum(axis=0).cumsum(axis=1)

    def box(row: int, column: int, height: int, width: int) -> float:
        row, column = min(max(row, 0), 29), min(max(column, 0), 33)
        last, end = min(row + height, 29), min(column + width, 33)
        return float(gray[row + 1 : last + 1, column + 1 : end + 1].sum())

    for size in (3, 12, 41):
        found = further._determinant(sums, np.arange(30), size)
        third, half = size // 3, (size - 1) // 2
        for r, c in ((0, 0), (4, 33), (15, 17), (29, 2), (29, 33)):
            wide, long = third, 2 * third - 1
            xx = box(r - third + 1, c - half, long, size)
            xx -= 3 * box(r - third + 1, c - third // 2, long, wide)
            yy = box(r - half, c - third + 1, size, long)
            yy -= 3 * box(r - third // 2, c - third + 1, wide, long)
            xy = box(r + 1, c - third, wide, wide) + box(r - third, c + 1, wide, wide)
            xy -= box(r - third, c - third, wide, wide) + box(r + 1, c + 1, wide, wide)
            expected = (xx * yy - 0.81 * xy * xy) / size**4
            assert found[r, c] == pytest.approx(expected, abs=1e-12)


def test_keypoints_are_blobs_and_do_not_depend_on_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = np.zeros((HIGH, WIDE, 3), np.uint8)
    rgb[18:22, 21:25] = 255
    found = keypoints2d(frame(rgb=rgb))
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 17 <= row <= 22
    assert 20 <= column <= 25
    monkeypatch.setattr(further, "_BAND_PIXELS", 7 * WIDE)
    np.testing.assert_array_equal(keypoints2d(frame(rgb=rgb)), found)


def test_reshading_is_light_from_the_camera() -> None:
    found = reshading(frame())
    assert (found.dtype, found.shape) == (np.uint8, (HIGH, WIDE, 3))
    assert (found == found[..., :1]).all()
    x, y = 0.5 / 32, 0.5 / 32  # of the pixel below and right of the middle
    stretch = np.sqrt(1 + x * x + y * y)
    normal = (np.array([127, 127, 255]) - 127.5) / 127.5
    cosine = normal @ (-x, y, 1) / stretch
    farther = reshading(frame(depth=np.full((HIGH, WIDE), 2048, np.uint16)))
    assert farther[20, 24, 0] == round(255 * 1.6 * cosine * 8 / (8 + (4 * stretch) ** 2)) == 136
    sideways = np.full((HIGH, WIDE, 3), (255, 127, 127), np.uint8)  # towards the right
    lit = reshading(frame(normal=sideways))[..., 0]
    assert lit[:, 26:].max() == 0  # a face that looks right is seen from its right
    assert lit[20, 0] > 100
    upwards = np.full((HIGH, WIDE, 3), (127, 255, 127), np.uint8)
    lit = reshading(frame(normal=upwards))[..., 0]
    assert lit[:18].max() == 0
    assert lit[-1, 24] > 100
    assert found[20, 24, 0] == 255  # 272 at two metres, cut


@pytest.mark.parametrize("index", [3, 8])
def test_views_have_further_maps_of_their_own_camera(index: int) -> None:
    view = render_view(index, 64, further=tuple(FURTHER))
    plain = render_view(index, 64)
    assert set(plain) == USUAL
    assert set(view) == USUAL | set(FURTHER)
    seen = Frame(view["rgb"], view["depth_zbuffer"], view["normal"], tangent(index), 1 / 512, 65535)
    for name, make in FURTHER.items():
        np.testing.assert_array_equal(view[name], make(seen))
    for name in USUAL:
        np.testing.assert_array_equal(view[name], plain[name])
    known = view["mask_valid"] == 255
    assert (view["depth_euclidean"][known] >= view["depth_zbuffer"][known]).all()
    # what a lamp at the camera shines on is seen from there, so that hardly anything is black
    assert (view["reshading"][known] > 0).mean() > 0.98


def test_only_what_is_asked_for_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for name, make in FURTHER.items():

        def noted(seen: Frame, name: str = name, make: Any = make) -> Any:
            made.append(name)
            return make(seen)

        monkeypatch.setitem(FURTHER, name, noted)
    render_view(1, 32)
    assert made == []
    found = render_view(1, 32, further=["mask_valid"])
    assert made == ["mask_valid"]
    assert set(found) == USUAL | {"mask_valid"}
    render_clevr(1, 32, further=["edge_texture"])
    Recording("walk").render(0, 32, 24, further=["reshading"])
    assert made == ["mask_valid", "edge_texture", "reshading"]


def test_clevr_and_recordings_have_them_too() -> None:
    scene = render_clevr(2, 48, further=tuple(FURTHER))
    assert scene["keypoints2d"].max() > 0
    assert scene["edge_occlusion"].max() > 0
    shot = Recording("orbit").render(3, 64, 48, further=tuple(FURTHER))
    focal = float(shot["intrinsics"][0, 0])
    right, down = 63.5 - 32, 47.5 - 24
    along = shot["depth"][47, 63] * np.sqrt(1 + (right / focal) ** 2 + (down / focal) ** 2)
    assert abs(shot["depth_euclidean"][47, 63] - along) <= 0.501
    np.testing.assert_array_equal(shot["mask_valid"] == 255, shot["depth"] != 0)
    assert shot["reshading"].shape == (48, 64, 3)


def test_the_same_bytes_in_each_process() -> None:
    ours = render_view(3, 48, seed=7, further=tuple(FURTHER))
    code = (
        "import sys; from dsc._renderer.further import FURTHER\n"
        "from dsc._renderer.render import render_view as r; v = r(3, 48, 7, tuple(FURTHER))\n"
        "sys.stdout.buffer.write(b''.join(v[k].tobytes() for k in sorted(v)))"
    )
    theirs = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert b"".join(ours[name].tobytes() for name in sorted(ours)) == theirs
