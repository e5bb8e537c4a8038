"""Draws a procedural indoor scene: room, openings, furniture, lights; and finds it a camera."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsc._renderer import furniture
from dsc._renderer.builder import Builder
from dsc._renderer.furniture import Maker
from dsc._renderer.room import Rect, draw_surfaces, fill_walls, trim, wall_place
from dsc._renderer.solids import (
    LABEL,
    SCENE_CLASSES,
    Light,
    Opening,
    Palette,
    Rng,
    Scene,
    Shape,
    Solid,
    draw_palette,
    glow,
    metal,
    pick,
    tint,
)
from dsc._renderer.trace import Camera, trace

# at the walls, and in the middle; a piece that comes twice is twice as likely
PIECES: dict[str, tuple[tuple[Maker, ...], tuple[Maker, ...]]] = {
    "living_room": (
        (furniture.sofa, furniture.sofa, furniture.shelf, furniture.cabinet, furniture.plant,
         furniture.floor_lamp),
        (furniture.coffee_table, furniture.sofa, furniture.stool, furniture.plant),
    ),
    "bedroom": (
        (furniture.bed, furniture.bed, furniture.nightstand, furniture.wardrobe, furniture.cabinet,
         furniture.floor_lamp),
        (furniture.stool, furniture.chair, furniture.clutter),
    ),
    "kitchen": (
        (furniture.counter, furniture.counter, furniture.counter, furniture.shelf, furniture.plant),
        (furniture.table, furniture.stool, furniture.stool, furniture.chair),
    ),
    "office": (
        (furniture.desk, furniture.desk, furniture.shelf, furniture.shelf, furniture.cabinet,
         furniture.plant),
        (furniture.desk, furniture.chair, furniture.clutter),
    ),
    "dining_room": (
        (furniture.cabinet, furniture.cabinet, furniture.plant, furniture.floor_lamp,
         furniture.chair),
        (furniture.table, furniture.table, furniture.chair),
    ),
    "bathroom": (
        (furniture.cabinet, furniture.counter, furniture.stool, furniture.plant, furniture.shelf),
        (furniture.stool, furniture.clutter),
    ),
    "corridor": (
        (furniture.cabinet, furniture.plant, furniture.chair, furniture.shelf,
         furniture.floor_lamp),
        (furniture.stool, furniture.clutter),
    ),
    "storage": (
        (furniture.shelf, furniture.shelf, furniture.wardrobe, furniture.clutter,
         furniture.clutter),
        (furniture.clutter, furniture.clutter, furniture.chair, furniture.table),
    ),
}  # fmt: skip
_MIDDLES = ("living_room", "bedroom", "office", "dining_room")


def make_scene(rng: Rng) -> Scene:
    """Draw a scene."""
    kind = int(rng.integers(len(SCENE_CLASSES)))
    name = SCENE_CLASSES[kind]
    wide = {"corridor": (1.5, 2.3), "bathroom": (2.0, 3.2)}.get(name, (2.9, 6.0))
    room = rng.uniform((wide[0], 3.0, 2.3), (wide[1], 7.0, 3.1))
    if rng.random() < 0.5:
        room[:2] = room[1::-1]
    palette = draw_palette(rng)
    scene = Scene(room, kind, draw_surfaces(rng, palette, name), outside=int(rng.integers(1 << 30)))
    scene.is_night = bool(rng.random() < 0.2)
    taken: list[Rect] = []
    fill_walls(rng, scene, palette, taken)
    trim(rng, scene, palette)
    _furnish(rng, scene, palette, PIECES[name], taken)
    _light(rng, scene)
    return scene


def choose_camera(rng: Rng, scene: Scene) -> Camera:
    """Draw a few cameras and keep that with most to see, judged by a handful of rays."""
    x, y = (a.ravel() for a in np.meshgrid(*[np.linspace(-0.9, 0.9, 12, dtype=np.float32)] * 2))
    best, best_score = None, -np.inf
    for _ in range(6):
        camera = _draw_camera(rng, scene)
        depth, owner = trace(scene, camera, x, y, camera.rays(x, y))
        blocked = float((depth < 0.9).mean())
        variety, room_ahead = min(len(np.unique(owner)), 14), float(np.median(depth))
        score = 1.5 * (variety + room_ahead) - 40 * max(blocked - 0.1, 0)
        if best is None or score > best_score:
            best, best_score = camera, score
        if blocked < 0.1 and rng.random() < 0.06:
            return camera  # some views are of an empty corner, as in any dataset
    return best if best is not None else _draw_camera(rng, scene)


def _draw_camera(rng: Rng, scene: Scene) -> Camera:
    room = scene.room
    eye = np.array([*rng.uniform(0.08, 0.92, 2) * room[:2], rng.uniform(1.0, 1.75)])
    eye[:2] = eye[:2].clip(0.25, room[:2] - 0.25)
    goal = room[:2] * rng.uniform(0.3, 0.7, 2) + rng.normal(0, 0.4, 2)
    yaw = np.arctan2(goal[0] - eye[0], goal[1] - eye[1]) + rng.normal(0, 0.25)
    pitch, roll = rng.normal(-0.2, 0.14), rng.normal(0, 0.015)
    axes = axes_of(float(yaw), float(pitch), float(roll))
    tangent = float(np.tan(np.radians(rng.uniform(50, 75)) / 2))
    return Camera(eye, axes, tangent)


def axes_of(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Return a camera's axes by its turn from +y to +x, its tilt upwards and its roll, radians."""
    forward = np.array([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.cos(yaw), -np.sin(yaw), 0.0])
    down = np.cross(forward, right)
    turned = right * np.cos(roll) + down * np.sin(roll)
    down = down * np.cos(roll) - right * np.sin(roll)
    return np.stack([turned, down, forward])


def _furnish(
    rng: Rng, scene: Scene, palette: Palette, choices: tuple[tuple[Maker, ...], tuple[Maker, ...]],
    taken: list[Rect],
) -> None:  # fmt: skip
    """Place furniture along the walls, then in the middle, each on free floor."""
    area = float(scene.room[0] * scene.room[1])
    amount = rng.choice([0.3, 0.9, 1.4, 2.0], p=[0.08, 0.27, 0.4, 0.25])
    counts = rng.poisson(amount * np.array([1.5 + area * 0.17, 0.4 + area * 0.07]))
    for makers, count, at_wall in zip(choices, counts, (True, False), strict=True):
        for number in range(int(count)):
            b = Builder(rng, palette)
            # the piece named first is what makes the room: a bedroom has a bed
            makers[int(rng.integers(len(makers))) if number else 0](b)
            local = _rect(b.parts)
            for _ in range(10):
                place = _place(rng, scene, local, at_wall)
                rect = _turned(local, *place)
                if _fits(scene, rect, taken):
                    taken.append(rect)
                    scene.pieces.append([part.moved(*place) for part in b.parts])
                    break
    if rng.random() < (0.6 if SCENE_CLASSES[scene.kind] in _MIDDLES else 0.25):
        b = Builder(rng, palette)
        furniture.rug(b)
        x, y = scene.room[:2] * rng.uniform(0.4, 0.6, 2)
        turn = float(pick(rng, [0, np.pi / 2]) + (rng.random() < 0.3) * rng.normal(0, 0.3))
        scene.pieces.append([part.moved(x, y, turn) for part in b.parts])


def _place(rng: Rng, scene: Scene, local: Rect, at_wall: bool) -> tuple[float, float, float]:
    """Draw where a piece that covers `local` might stand: x, y, yaw."""
    w, d, _ = scene.room
    if not at_wall:
        yaw = float(rng.integers(4) * np.pi / 2)
        if rng.random() < 0.6:
            yaw += float(rng.normal(0, 0.35))
        return float(w * rng.uniform(0.2, 0.8)), float(d * rng.uniform(0.2, 0.8)), yaw
    wall = int(rng.integers(4))
    length = float(d if wall < 2 else w)
    reach = max(-local[0], local[2]) + 0.03
    along = float(rng.uniform(min(reach, length / 2), max(length - reach, length / 2)))
    return wall_place(scene, wall, along, local[3] + 0.03)


def _rect(parts: Sequence[Solid]) -> Rect:
    centers = np.stack([part.center[:2] for part in parts])
    half = np.stack([part.half[:2] for part in parts])
    yaw = np.array([part.yaw for part in parts])
    cos, sin = np.abs(np.cos(yaw))[:, None], np.abs(np.sin(yaw))[:, None]
    reach = cos * half + sin * half[:, ::-1]
    low, high = (centers - reach).min(axis=0), (centers + reach).max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _turned(rect: Rect, x: float, y: float, yaw: float) -> Rect:
    """Return the upright rectangle around a rectangle turned about the origin and moved."""
    middle = np.array([rect[0] + rect[2], rect[1] + rect[3]]) / 2
    half = np.array([rect[2] - rect[0], rect[3] - rect[1]]) / 2
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    center, reach = turn @ middle + [x, y], np.abs(turn) @ half
    low, high = center - reach, center + reach
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _fits(scene: Scene, rect: Rect, taken: list[Rect]) -> bool:
    x0, y0, x1, y1 = rect
    inside = x0 > 0.01 and y0 > 0.01 and x1 < scene.room[0] - 0.01 and y1 < scene.room[1] - 0.01
    return inside and all(
        x1 + 0.05 < a or x0 - 0.05 > c or y1 + 0.05 < b or y0 - 0.05 > e for a, b, c, e in taken
    )


def _light(rng: Rng, scene: Scene) -> None:
    """Add lamps at the ceiling, windows as lights by day, and sometimes the sun."""
    w, d, h = scene.room
    windows = [o for o in scene.openings if o.label == LABEL["window"]]
    by_day = bool(windows) and not scene.is_night
    area = float(w * d)
    lamps = 1 + int(area > 18 and rng.random() < 0.5)
    if by_day and rng.random() < 0.45:
        lamps = 0
    warm = tint(0.1, rng.uniform(0.0, 0.4), 1.0)
    for lamp in range(lamps):
        spot = np.array([w * rng.uniform(0.35, 0.65), d * (lamp + rng.uniform(0.35, 0.65)) / lamps])
        drop = pick(rng, [0.0, 0.0, rng.uniform(0.4, 0.8)])
        _fixture(rng, scene, spot, drop, warm)
        spread = np.array([[0.16, 0.0, 0.0], [0.0, 0.16, 0.0]])
        power = warm * rng.uniform(0.8, 1.3) * (1.2 + 0.14 * area) / lamps
        scene.lights.append(Light(np.array([*spot, h - 0.22 - drop]), spread, power))
    if not by_day:
        return
    opening = windows[int(rng.integers(len(windows)))]
    scene.lights.append(_window_light(rng, scene, opening))
    if rng.random() < 0.5:
        inward = -scene.lights[-1].facing
        side = np.array([-inward[1], inward[0], 0.0]) * rng.normal(0, 0.5)
        sun = inward + side + np.array([0, 0, rng.uniform(0.35, 0.9)])
        scene.sun = sun / np.linalg.norm(sun)


def _window_light(rng: Rng, scene: Scene, opening: Opening) -> Light:
    (u0, v0), (u1, v1) = opening.low, opening.high
    axis, far = opening.wall // 2, opening.wall % 2
    position, across, facing = np.zeros(3), np.zeros(3), np.zeros(3)
    position[axis] = far * scene.room[axis] + (0.05 - 0.1 * far)
    position[1 - axis], position[2] = (u0 + u1) / 2, (v0 + v1) / 2
    across[1 - axis], facing[axis] = (u1 - u0) / 2, 1 - 2 * far
    area = (u1 - u0) * (v1 - v0)
    color = np.array([0.9, 1.0, 1.12]) * rng.uniform(3.0, 5.0) * (0.6 + 0.5 * area)
    return Light(position, np.stack([across, [0, 0, (v1 - v0) / 2]]), color, facing)


def _fixture(
    rng: Rng, scene: Scene, spot: NDArray[np.float64], drop: float, color: NDArray[np.float64]
) -> None:
    """Hang a lamp from the ceiling."""
    b = Builder(rng, draw_palette(rng))
    h, radius = float(scene.room[2]), float(rng.uniform(0.12, 0.24))
    x, y = float(spot[0]), float(spot[1])
    shine = glow(color, 2.5)
    if drop:
        b.put("lamp", metal(rng), (x, y, h - drop), (0.015, 0.015, drop), "cylinder",
              casts=False)  # fmt: skip
    is_globe = bool(drop) and rng.random() < 0.5
    high = 2 * radius if is_globe else 0.16 if drop else 0.06
    shape: Shape = "sphere" if is_globe else "cylinder"
    size = (2 * radius, 2 * radius, high)
    b.put("lamp", shine, (x, y, h - drop - high), size, shape, casts=False)
    scene.pieces.append(b.parts)
