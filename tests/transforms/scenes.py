"""A sample whose camera can be checked: rays of its pixels, axes as normals, and the rest."""

from typing import Any

import numpy as np

from dsc._schemas import Task, TaskKind
from dsc._schemas.sample import Sample
from dsc._transforms.meaning import Meaning

TASKS = {
    task.name: task
    for task in (
        Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3),
        Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,)),
        Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,)),
        Task(name="along_x", kind=TaskKind.NORMAL, dtype="uint8", channels=3),
        Task(name="along_y", kind=TaskKind.NORMAL, dtype="uint8", channels=3),
        Task(name="segment", kind=TaskKind.LABEL, dtype="uint8", invalid=(9,)),
        Task(name="disparity", kind=TaskKind.DISPARITY, dtype="uint16", invalid=(0,)),
        Task(name="flow", kind=TaskKind.FLOW, dtype="float32", channels=2),
        Task(name="intrinsics", kind=TaskKind.VECTOR, dtype="float64", channels=9),
        Task(name="class", kind=TaskKind.CLASS, dtype="int64", channels=0),
    )
}
MEANING = Meaning(kinds={"ray": "image", "place": "array"}, normals_y="down")


def scene(h: int = 40, w: int = 56, seed: int = 0, center: float = 0.0, f: float = 50.0) -> Sample:
    """Return a sample of physical values, with a ray (x / z, y / z) and a place a pixel."""
    rng = np.random.default_rng(seed)
    camera = np.array([[f, 0, w / 2 - 3], [0, f * 1.25, h / 2 + 2], [0, 0, 1]])
    y, x = np.mgrid[:h, :w] + center
    rays = np.stack([x, y, np.ones((h, w))], axis=-1) @ np.linalg.inv(camera).T
    normal = rng.normal(size=(h, w, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    depth = rng.uniform(1, 5, (h, w)).astype(np.float32)
    depth[rng.random((h, w)) < 0.1] = np.nan
    normal[np.isnan(depth)] = np.nan
    values = {
        "rgb": rng.integers(0, 256, (h, w, 3), np.uint8),
        "depth": depth,
        "normal": normal,
        "along_x": np.broadcast_to(np.float32([1, 0, 0]), (h, w, 3)).copy(),
        "along_y": np.broadcast_to(np.float32([0, 1, 0]), (h, w, 3)).copy(),
        "segment": rng.integers(0, 8, (h, w), np.uint8),
        "disparity": rng.uniform(1, 9, (h, w)).astype(np.float32),
        "flow": rng.normal(size=(h, w, 2)).astype(np.float32),
        "intrinsics": camera,
        "class": np.int64(3),
        "ray": rays.astype(np.float32),
        "place": np.stack(np.mgrid[:h, :w], axis=-1).astype(np.int32),
        "caption": "a room",
        "__index__": 7,
    }
    return Sample.of(values, TASKS)


def turn_of(sample: Any) -> np.ndarray:
    """Return Q (2, 2), as the axes among the normals say."""
    seen = ~np.isnan(sample["along_x"][..., 0])
    if not seen.any():  # a crop of what was added
        return np.eye(2)
    axes = [sample[name][seen][0][:2] for name in ("along_x", "along_y")]
    return np.stack(axes, axis=-1)


def check_camera(sample: Any, center: float = 0.0, off: float = 1e-3, border: int = 3) -> None:
    """Check that intrinsics and axes are those of the rays that pixels show."""
    h, w = sample["ray"].shape[:2]
    turn = np.eye(3)
    turn[:2, :2] = turn_of(sample)
    assert np.linalg.det(turn) in (1, -1) or abs(abs(np.linalg.det(turn)) - 1) < 1e-5
    camera = sample["intrinsics"]
    assert camera[1, 0] == 0
    assert (np.diag(camera) > 0).all()
    found = sample["ray"] @ (camera @ turn).T
    y, x = np.mgrid[:h, :w] + center
    inside = (slice(border, h - border), slice(border, w - border))
    seen = well_inside(sample)[inside]
    assert seen.any()
    wanted = np.stack([x, y], axis=-1)
    assert np.abs(found[..., :2] - wanted)[inside][seen].max() < off


def well_inside(sample: Any, h: int = 40, w: int = 56) -> np.ndarray:
    """Tell which pixels show what is not mixed with what lies beside the old picture."""
    y, x = sample["place"][..., 0], sample["place"][..., 1]
    seen: np.ndarray = ~np.isnan(sample["along_x"][..., 0])
    return seen & (y > 1) & (y < h - 2) & (x > 1) & (x < w - 2)


def check_together(sample: Any, old: Any) -> None:
    """Check that every map shows the same pixel of the old sample, or nothing."""
    place = sample["place"]
    y, x = place[..., 0], place[..., 1]
    turn = turn_of(sample)
    nothing = (sample["segment"] == 9) if (sample["segment"] == 9).any() else np.zeros_like(y, bool)
    np.testing.assert_array_equal(sample["segment"][~nothing], old["segment"][y, x][~nothing])
    np.testing.assert_array_equal(sample["depth"][~nothing], old["depth"][y, x][~nothing])
    assert np.isnan(sample["depth"][nothing]).all()
    assert np.isnan(sample["normal"][nothing]).all()
    wanted = old["normal"][y, x].copy()
    wanted[..., :2] = wanted[..., :2] @ turn.T.astype(np.float32)
    np.testing.assert_allclose(sample["normal"][~nothing], wanted[~nothing], atol=1e-6)
    assert sample["caption"] == "a room"
    assert sample["class"] == 3
    assert sample.tasks is TASKS
