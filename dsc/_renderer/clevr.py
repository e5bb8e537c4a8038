"""Renders scenes in the manner of CLEVR: cubes, spheres and cylinders on a wide, plain ground.

Counts, sizes, colours, materials, margins and the camera's place follow Johnson et al., "CLEVR: A
diagnostic dataset for compositional language and elementary visual reasoning" (CVPR 2017); some
objects also bear a pattern, which CLEVR's do not. Geometry and light are those of the indoor views
(`dsc._renderer.render`), so depth, normals and labels are exact. A view is a function of
(seed, index, size).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._renderer.render import Film, render_scene
from dsc._renderer.solids import Light, Material, Rng, Scene, Shape, Solid, Vector, pick
from dsc._renderer.trace import Camera, trace

CLEVR_CLASSES = ("void", "ground", "cube", "sphere", "cylinder")

_HALL_M = np.array([80.0, 80.0, 20.0])  # so wide that the camera sees nothing but its floor
_MIDDLE_M = np.array([11.5, 10.6, 0.0])  # of the objects; CLEVR's origin
_CAMERA_M = np.array([-7.36, -6.93, 5.35])
_TARGET_M = np.array([0.0, 0.0, 0.25])
_JITTER_M = 0.5
_TANGENT = 0.34  # of half the view: 19°
_LARGE_M, _SMALL_M = 0.7, 0.35
_REACH_M = 3.0  # objects stand in [-3, 3]²
_MARGIN_M = 0.25  # between objects, at least
_COLORS = (
    (87, 87, 87), (173, 35, 35), (42, 75, 215), (29, 105, 20),
    (129, 74, 25), (129, 38, 192), (41, 208, 208), (255, 238, 51),
)  # fmt: skip
_SHAPES: tuple[Shape, ...] = ("box", "sphere", "cylinder")
_FIRST_SOLID = CLEVR_CLASSES.index("cube")
_FIRST_LABEL = 100  # of solids, above the labels that the renderer gives floor and walls
_PATTERNS = ("noise", "stripes", "checker", "dots", "marble")


def render_clevr(
    index: int, size: int = 256, seed: int = 0, further: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Render one view.

    Parameters
    ----------
    index
        Number of the view; every index is another scene.
    size
        Height and width in pixels.
    seed
        Number of the whole set.
    further
        Maps that are wanted too, of `dsc._renderer.further.FURTHER`.

    Returns
    -------
    dict
        ``rgb``, ``depth_zbuffer`` (valid everywhere) and ``normal`` as `render_view` returns them;
        ``segment_semantic`` uint8 (H, W), see `CLEVR_CLASSES`.
    """
    scene, camera, rng = _drawn(index, seed)
    film = Film(
        exposure=rng.uniform(0.27, 0.33),
        tint=np.ones(3),
        vignette=0.0,
        noise=rng.uniform(0.004, 0.008),
        grain_seed=[seed, index, size, 1],
    )
    maps = render_scene(scene, camera, film, size, further)
    label = maps["segment_semantic"].astype(np.int16)
    maps["segment_semantic"] = np.maximum(label - _FIRST_LABEL + _FIRST_SOLID, 1).astype(np.uint8)
    return maps


def clevr_boxes(index: int, size: int = 256, seed: int = 0) -> NDArray[np.int64]:
    """Return the boxes around what is seen of each solid of a view.

    Parameters
    ----------
    index, size, seed
        As of `render_clevr`.

    Returns
    -------
    NDArray
        int64 (K, 5): left, top, right and bottom in pixels, the last two beyond the solid's last
        column and row; and its label, see `CLEVR_CLASSES`. Solids that are hidden have none.
    """
    scene, camera, _ = _drawn(index, seed)
    row, column = (a.ravel() for a in np.mgrid[:size, :size])
    x, y = (((a + 0.5) * (2 / size) - 1).astype(np.float32) for a in (column, row))
    _, owner = trace(scene, camera, x, y, camera.rays(x, y))
    boxes = []
    for number, solid in enumerate(scene.solids):
        seen = owner == number
        if seen.any():
            low = column[seen].min(), row[seen].min()
            high = column[seen].max() + 1, row[seen].max() + 1
            boxes.append([*low, *high, solid.label - _FIRST_LABEL + _FIRST_SOLID])
    return np.array(boxes, np.int64).reshape(-1, 5)


def _drawn(index: int, seed: int) -> tuple[Scene, Camera, Rng]:
    rng = np.random.Generator(np.random.PCG64([seed, index, 1]))
    scene = _scene(rng)
    return scene, _camera(rng), rng


def _scene(rng: Rng) -> Scene:
    gray = np.full(3, 0.55) * rng.uniform(0.9, 1.1)
    ground = Material(gray, gray * 0.94, "noise", period_m=0.6, seed=int(rng.integers(1 << 30)))
    solids = _place(rng)
    return Scene(
        room=_HALL_M,
        kind=0,
        surfaces=(ground,) * 6,
        pieces=[[solid] for solid in solids],
        lights=_lights(rng),
    )


def _place(rng: Rng) -> list[Solid]:
    """Put 3 to 10 solids on the ground, none in or close to another."""
    wanted, solids = int(rng.integers(3, 11)), list[Solid]()
    for _ in range(200):
        if len(solids) == wanted:
            break
        solid = _solid(rng)
        gaps = [
            np.hypot(*(solid.center - other.center)[:2]) - _radius(solid) - _radius(other)
            for other in solids
        ]
        if min(gaps, default=1.0) > _MARGIN_M:
            solids.append(solid)
    return solids


def _solid(rng: Rng) -> Solid:
    kind = int(rng.integers(3))
    radius = _LARGE_M if rng.random() < 0.5 else _SMALL_M
    if _SHAPES[kind] == "box":
        radius /= 2**0.5
    place = _MIDDLE_M + np.array([*rng.uniform(-_REACH_M, _REACH_M, 2), radius])
    yaw = float(rng.uniform(0, 2 * np.pi))
    half = np.full(3, radius)
    return Solid(_SHAPES[kind], place, half, yaw, _FIRST_LABEL + kind, _material(rng))


def _radius(solid: Solid) -> float:
    """Return the radius of the circle on the ground that holds the solid at any turn."""
    return float(solid.half[0]) * (2**0.5 if solid.shape == "box" else 1.0)


def _material(rng: Rng) -> Material:
    """Draw rubber (matte) or metal (strong highlights), now and then with a pattern."""
    color = (np.array(_COLORS[int(rng.integers(len(_COLORS)))]) / 255) ** 2.2
    second = (np.array(_COLORS[int(rng.integers(len(_COLORS)))]) / 255) ** 2.2
    pattern = pick(rng, _PATTERNS) if rng.random() < 0.25 else "plain"
    gloss = float(rng.uniform(0.75, 0.95)) if rng.random() < 0.5 else 0.1
    return Material(
        color.clip(0.02, 0.85),
        second.clip(0.02, 0.85),
        pattern,
        float(rng.uniform(0.15, 0.4)),
        gloss,
        int(rng.integers(1 << 30)),
    )


def _lights(rng: Rng) -> list[Light]:
    """Set CLEVR's key, fill and back lights, each moved a little."""
    places = ((-5.5, 3.0, 6.5, 0.5, 60.0), (3.0, -6.5, 5.5, 1.5, 32.0), (4.0, 5.0, 8.5, 2.5, 40.0))
    lights = []
    for x, y, z, half_m, power in places:
        position = _MIDDLE_M + np.array([x, y, z]) + rng.uniform(-1, 1, 3)
        spread = np.array([[half_m, 0, 0], [0, half_m, 0]])
        lights.append(Light(position, spread, np.full(3, power)))
    return lights


def _camera(rng: Rng) -> Camera:
    eye: Vector = _MIDDLE_M + _CAMERA_M + rng.uniform(-_JITTER_M, _JITTER_M, 3)
    forward = _MIDDLE_M + _TARGET_M - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return Camera(eye, np.stack([right, np.cross(forward, right), forward]), _TANGENT)
