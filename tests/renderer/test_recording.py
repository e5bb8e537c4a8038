"""Rendered recordings: exact geometry from frame to frame, and frames that need no others."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dsc._renderer import paths, recording
from dsc._renderer.recording import Recording
from dsc._renderer.solids import LABEL

Frame = Mapping[str, NDArray[Any]]
WIDTH, HEIGHT = 96, 72


@cache
def made(kind: Any, number: int = 0) -> Recording:
    return Recording(kind, number)


@cache
def frame_of(kind: str, frame: int, number: int = 0) -> Frame:
    return made(kind, number).render(frame, WIDTH, HEIGHT)


def in_world(frame: Frame) -> NDArray[np.float64]:
    """Return the points of a frame's pixels, (H, W, 3) in the world."""
    depth = frame["depth"] * 0.001
    row, column = np.mgrid[: depth.shape[0], : depth.shape[1]]
    pixels = np.stack([column, row, np.ones_like(row)], axis=-1).astype(np.float64)
    rays = pixels @ np.linalg.inv(frame["intrinsics"].astype(np.float64)).T
    pose = frame["pose"].astype(np.float64)
    points: NDArray[np.float64] = (rays * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]
    return points


def dilated(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    around = np.lib.stride_tricks.sliding_window_view(np.pad(mask, by), (2 * by + 1,) * 2)
    grown: NDArray[np.bool_] = around.any(axis=(2, 3))
    return grown


@pytest.mark.parametrize("kind", paths.CAMERAS)
def test_maps_and_their_encodings(kind: str) -> None:
    frame = frame_of(kind, 3)
    assert {name: (a.dtype.name, a.shape) for name, a in frame.items()} == {
        "rgb": ("uint8", (HEIGHT, WIDTH, 3)),
        "depth": ("uint16", (HEIGHT, WIDTH)),
        "normal": ("uint8", (HEIGHT, WIDTH, 3)),
        "label": ("uint8", (HEIGHT, WIDTH)),
        "pose": ("float32", (4, 4)),
        "intrinsics": ("float32", (3, 3)),
    }
    turn = frame["pose"][:3, :3].astype(np.float64)
    assert np.abs(turn @ turn.T - np.eye(3)).max() < 1e-6
    assert np.linalg.det(turn) == pytest.approx(1)
    assert 20 < frame["rgb"].mean() < 235


@pytest.mark.parametrize("kind", paths.CAMERAS)
def test_a_frame_is_the_same_in_any_order_and_process(kind: str) -> None:
    names = ("rgb", "depth", "normal", "label", "pose")
    forward = Recording(kind)  # type: ignore[arg-type]
    shown = [forward.render(frame, 48, 36) for frame in (0, 1, 40)]
    code = (
        "import sys; from dsc._renderer.recording import Recording\n"
        f"f = Recording({kind!r}).render(40, 48, 36)\n"
        f"sys.stdout.buffer.write(b''.join(f[name].tobytes() for name in {names!r}))"
    )
    theirs = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert b"".join(shown[2][name].tobytes() for name in names) == theirs
    again = forward.render(0, 48, 36)
    assert all(np.array_equal(shown[0][name], again[name]) for name in again)
    assert any(not np.array_equal(shown[0][name], shown[1][name]) for name in names)


@pytest.mark.parametrize(("kind", "apart"), [("walk", 12), ("orbit", 8)])
def test_depth_pose_and_intrinsics_take_pixels_from_frame_to_frame(kind: str, apart: int) -> None:
    for start in (0, 150):
        first, second = frame_of(kind, start), frame_of(kind, start + apart)
        pose = second["pose"].astype(np.float64)
        local = (in_world(first) - pose[:3, 3]) @ pose[:3, :3]
        there = (first["depth"] > 0) & (local[..., 2] > 0.1)
        seen = local[there] @ second["intrinsics"].T.astype(np.float64)
        place = np.rint(seen[:, :2] / seen[:, 2:]).astype(int)
        inside = ((place >= 0) & (place < [WIDTH, HEIGHT])).all(axis=1)
        column, row = place[inside].T
        expected, found = seen[inside, 2], second["depth"][row, column] * 0.001
        measured = found > 0
        off = (expected - found)[measured] / found[measured]
        assert measured.sum() > 0.4 * there.sum()
        # half a pixel off, a slanted surface is a little nearer or further; edges hide and show
        assert (np.abs(off) < 0.03).mean() > 0.85
        assert (off < -0.05).mean() < 0.04
        same = np.abs(off) < 0.01
        colors = first["rgb"][there][inside][measured][same].astype(float)
        again = second["rgb"][row, column][measured][same].astype(float)
        assert np.median(np.abs(colors - again)) <= 3
        assert np.corrcoef(colors.ravel(), again.ravel())[0, 1] > 0.85
        labels = first["label"][there][inside][measured][same]
        assert (labels == second["label"][row, column][measured][same]).mean() > 0.97


@pytest.mark.parametrize("kind", paths.CAMERAS)
def test_depth_and_normals_are_of_the_same_surfaces(kind: str) -> None:
    angles = []
    for start in (5, 200):
        frame = made(kind).render(start, 192, 144)
        depth = frame["depth"] * 0.001
        points = (in_world(frame) - frame["pose"][:3, 3]) @ frame["pose"][:3, :3]
        across, down = points[4:-4, 8:] - points[4:-4, :-8], points[8:, 4:-4] - points[:-8, 4:-4]
        derived = np.cross(across, down)
        derived /= np.linalg.norm(derived, axis=-1, keepdims=True) + 1e-12
        # right, up, towards the viewer: the camera's axes with two of them turned over
        normal = (frame["normal"][4:-4, 4:-4] - 127.5) / 127.5 * [1, -1, -1]
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 0.5)
        around = np.lib.stride_tricks.sliding_window_view(frame["normal"], (9, 9), (0, 1))
        flat = (around == around[..., 4:5, 4:5]).all(axis=(2, 3, 4)) & (depth > 0)[4:-4, 4:-4]
        cosine = np.abs((derived * normal).sum(axis=-1)[flat])
        angles.append(np.degrees(np.arccos(cosine.clip(-1, 1))))
    assert sum(map(len, angles)) > 2000
    assert np.median(np.concatenate(angles)) < 1


def test_labels_and_depth_follow_what_moves() -> None:
    seen = 0
    for number in range(3):
        shot = made("fixed", number)
        for start in (0, 45, 90):
            frame, camera = frame_of("fixed", start, number), shot.camera(start)
            for solid in shot.movers(start):
                local = camera.axes @ (solid.center - camera.eye)
                x, y, z = frame["intrinsics"].astype(np.float64) @ local
                column, row = round(x / z), round(y / z)
                if not (local[2] > 0.3 and 0 <= column < WIDTH and 0 <= row < HEIGHT):
                    continue
                depth = float(frame["depth"][row, column]) * 0.001
                before = local[2] - depth
                if 0 < before < float(np.linalg.norm(solid.half)):
                    assert frame["label"][row, column] == solid.label
                    if solid.label == LABEL["ball"]:
                        assert before == pytest.approx(solid.half[0], rel=0.3)
                    seen += 1
    assert seen >= 12


def test_what_stands_still_before_a_still_camera_is_the_same_pixels() -> None:
    empty = Recording("fixed", movers=0)
    assert np.array_equal(
        empty.render(0, WIDTH, HEIGHT)["rgb"], empty.render(77, WIDTH, HEIGHT)["rgb"]
    )
    still, moved = empty.render(0, WIDTH, HEIGHT), made("fixed")
    covered = []
    for start in (0, 60):
        frame = frame_of("fixed", start)
        over = frame["depth"] != still["depth"]
        covered.append(over)
        assert 0.001 < over.mean() < 0.3
        for name in ("normal", "label"):
            assert np.array_equal(frame[name][~over], still[name][~over])
        # beside the movers' edges and shadows, nothing changes by a single count
        apart = (frame["rgb"] != still["rgb"]).any(axis=-1) & ~dilated(over, 1)
        assert apart.mean() < 0.25
        assert np.abs(frame["rgb"].astype(int) - still["rgb"])[apart].mean() < 12
    assert not np.array_equal(covered[0], covered[1])
    assert len(moved.movers(0)) == 3


def test_without_shadows_a_still_background_is_the_same_to_the_count() -> None:
    shot = Recording("fixed", 1)
    shot._movers = [replace(m, solid=replace(m.solid, casts=False)) for m in shot._movers]
    still = Recording("fixed", 1, movers=0).render(0, WIDTH, HEIGHT)
    for start in (10, 50):
        frame = shot.render(start, WIDTH, HEIGHT)
        away = ~dilated(frame["depth"] != still["depth"], 1)
        assert away.mean() > 0.5
        assert np.array_equal(frame["rgb"][away], still["rgb"][away])


def test_noise_is_asked_for_and_belongs_to_the_frame() -> None:
    shot, clean = made("walk"), frame_of("walk", 0)
    noisy, again, next_ = (shot.render(frame, WIDTH, HEIGHT, noise=5.0) for frame in (0, 0, 1))
    assert np.array_equal(noisy["rgb"], again["rgb"])
    difference = noisy["rgb"].astype(int) - clean["rgb"]
    inner = (clean["rgb"] > 60) & (clean["rgb"] < 200)
    assert 3 < difference[inner].std() < 7
    other = next_["rgb"].astype(int) - frame_of("walk", 1)["rgb"]
    assert abs(np.corrcoef(difference.ravel(), other.ravel())[0, 1]) < 0.1
    assert np.array_equal(noisy["depth"], clean["depth"])


def test_bands_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frame_of("orbit", 30)
    monkeypatch.setattr(recording, "BAND_PIXELS", WIDTH * 10)
    banded = made("orbit").render(30, WIDTH, HEIGHT)
    assert all(np.array_equal(whole[name], banded[name]) for name in whole)


def test_a_frame_does_not_depend_on_its_size() -> None:
    large = made("walk").render(20, 2 * WIDTH, 2 * HEIGHT)
    small = frame_of("walk", 20)
    assert (small["label"] == large["label"][::2, ::2]).mean() > 0.93
    shrunk = large["rgb"].reshape(HEIGHT, 2, WIDTH, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small["rgb"]).mean() < 6
    assert np.array_equal(large["pose"], small["pose"])


@pytest.mark.parametrize("kind", ["walk", "orbit"])
def test_cameras_go_through_nothing_and_move_as_hands_do(kind: str) -> None:
    for number in range(3):
        shot = made(kind, number)
        cameras = [shot.camera(frame) for frame in range(0, 1200, 3)]
        eyes = np.stack([camera.eye for camera in cameras])
        room = shot._scene.room
        assert (eyes > 0.2).all()
        assert (eyes < room - 0.2).all()
        for piece in shot._scene.pieces:
            assert paths._gap(piece, eyes) > 0.15
        steps = np.linalg.norm(np.diff(eyes, axis=0), axis=1) * 10  # metres a second
        assert 0.02 < np.median(steps) < 1.2
        forward = np.stack([camera.axes[2] for camera in cameras])
        turns = np.degrees(np.arccos((forward[1:] * forward[:-1]).sum(axis=1).clip(-1, 1))) * 10
        assert np.median(turns) < 45
        assert turns.max() < 150


def test_numbers_and_seeds_each_give_another_room() -> None:
    first = frame_of("walk", 0)["rgb"]
    assert not np.array_equal(first, frame_of("walk", 0, 1)["rgb"])
    seeded = Recording("walk", seed=1).render(0, WIDTH, HEIGHT)["rgb"]
    assert not np.array_equal(first, seeded)
