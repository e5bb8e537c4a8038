"""Procedural indoor scenes: a room, furniture made of solids, lights and a camera.

A scene is drawn from a random generator alone; it knows nothing of image sizes, so the same scene
can be rendered at any. Lengths are metres, z points up, the room is [0, w] × [0, d] × [0, h].
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Rng = np.random.Generator

SEMANTIC_CLASSES = (
    "void", "wall", "floor", "ceiling", "table", "chair", "sofa", "bed", "shelf", "cabinet",
    "lamp", "ball", "box", "picture", "window", "door", "vase", "book", "plant", "rug",
)  # fmt: skip
SCENE_CLASSES = (
    "living_room", "bedroom", "kitchen", "office", "dining_room", "bathroom", "corridor", "storage",
)  # fmt: skip
LABEL = {name: number for number, name in enumerate(SEMANTIC_CLASSES)}

PATTERNS = ("plain", "noise", "wood", "checker", "tiles", "stripes", "fabric", "plaster", "dots")


@dataclass(frozen=True)
class Material:
    """Colours in linear light (0 to 1), a pattern with its period in metres, and gloss 0 to 1."""

    color: Vector
    second: Vector
    pattern: str
    period_m: float
    gloss: float
    seed: int


@dataclass(frozen=True)
class Solid:
    """A box, sphere or upright cylinder.

    Attributes
    ----------
    half
        Half sizes of a box; (r, r, r) of a sphere; (r, r, half height) of a cylinder.
    yaw
        Turn about the vertical, radians.
    """

    shape: Literal["box", "sphere", "cylinder"]
    center: Vector
    half: Vector
    yaw: float
    label: int
    material: Material


@dataclass(frozen=True)
class Panel:
    """A rectangle on a wall: picture, window or door; `hole` lets rays out of the room."""

    wall: int  # 0: x = 0, 1: x = w, 2: y = 0, 3: y = d
    low: tuple[float, float]
    high: tuple[float, float]
    label: int
    material: Material
    hole: bool


@dataclass(frozen=True)
class Light:
    """A point light: position in metres, colour times power."""

    position: Vector
    power: Vector


@dataclass
class Scene:
    """Everything that is rendered."""

    room: Vector
    kind: int
    surfaces: tuple[Material, Material, Material]  # wall, floor, ceiling
    solids: list[Solid] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    eye: Vector = field(default_factory=lambda: np.zeros(3))
    axes: Vector = field(default_factory=lambda: np.eye(3))  # rows: right, down, forward
    tangent: float = 1.0  # of half the field of view
    exposure: Vector = field(default_factory=lambda: np.ones(3))


def make_scene(rng: Rng) -> Scene:
    """Draw a scene."""
    kind = int(rng.integers(len(SCENE_CLASSES)))
    narrow = SCENE_CLASSES[kind] == "corridor"
    room = np.array([
        rng.uniform(1.6, 2.4) if narrow else rng.uniform(3, 6.5),
        rng.uniform(4, 8),
        rng.uniform(2.3, 3.2),
    ])  # fmt: skip
    surfaces = (
        material(rng, ("plain", "plaster", "plaster", "stripes", "tiles"), light=0.75, period=0.6),
        material(rng, ("wood", "tiles", "checker", "fabric", "noise"), light=0.45, period=0.5),
        material(rng, ("plain", "plaster"), light=0.85, period=0.8),
    )
    scene = Scene(room, kind, surfaces)
    _camera(rng, scene)
    _panels(rng, scene)
    _furnish(rng, scene)
    for _ in range(int(rng.integers(1, 3))):
        color = np.array([1.0, rng.uniform(0.82, 1.0), rng.uniform(0.6, 1.05)])
        place = room * np.array([rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8), 0.0])
        place[2] = room[2] - rng.uniform(0.1, 0.5)
        scene.lights.append(Light(place, color * rng.uniform(2.5, 5.0)))
    scene.exposure = rng.uniform(0.75, 1.3) * rng.uniform(0.94, 1.06, 3)
    return scene


def material(
    rng: Rng, patterns: tuple[str, ...], light: float, period: float, gloss: float = 0.2
) -> Material:
    """Draw a material whose brightness lies around `light`."""
    hue = rng.random(3)
    saturation = rng.beta(1.4, 1.8)
    color = light * rng.uniform(0.6, 1.2) * ((1 - saturation) + saturation * hue / hue.max())
    second = np.clip(color * rng.uniform(0.35, 1.5) + rng.normal(0, 0.05, 3), 0.02, 1)
    pattern = str(rng.choice(patterns))
    shine = gloss * float(rng.random() < 0.5) * rng.random()
    return Material(
        color.clip(0.02, 1), second, pattern, period * rng.uniform(0.4, 1.6), shine,
        int(rng.integers(1 << 30)),
    )  # fmt: skip


def _any_material(rng: Rng) -> Material:
    return material(rng, PATTERNS, rng.uniform(0.25, 0.8), rng.uniform(0.05, 0.4), 0.6)


def _wood(rng: Rng) -> Material:
    return material(rng, ("wood", "wood", "plain", "noise"), rng.uniform(0.2, 0.7), 0.25, 0.5)


def _camera(rng: Rng, scene: Scene) -> None:
    width, depth, height = scene.room
    scene.eye = np.array([
        rng.uniform(0.25, 0.75) * width, rng.uniform(0.06, 0.25) * depth,
        min(rng.uniform(1.1, 1.8), height - 0.4),
    ])  # fmt: skip
    yaw, pitch, roll = rng.normal(0, 0.35), rng.normal(-0.18, 0.14), rng.normal(0, 0.02)
    forward = np.array([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.cos(yaw), -np.sin(yaw), 0.0])
    down = np.cross(forward, right)
    right, down = (
        right * np.cos(roll) + down * np.sin(roll), down * np.cos(roll) - right * np.sin(roll),
    )  # fmt: skip
    scene.axes = np.stack([right, down, forward])
    scene.tangent = float(np.tan(np.radians(rng.uniform(45, 75)) / 2))


def _panels(rng: Rng, scene: Scene) -> None:
    for wall in (0, 1, 3):
        length = scene.room[1] if wall < 2 else scene.room[0]
        at = rng.uniform(0.2, 0.6)
        while at < length - 0.8:
            name = str(rng.choice(["picture", "window", "door", "none"], p=[0.4, 0.2, 0.12, 0.28]))
            wide = {"picture": 0.7, "window": 1.2, "door": 0.9, "none": 0.8}[name]
            wide *= rng.uniform(0.7, 1.4)
            if at + wide > length - 0.1:
                break
            low, high = {
                "picture": (rng.uniform(1.1, 1.4), rng.uniform(1.6, 2.1)),
                "window": (rng.uniform(0.8, 1.1), rng.uniform(1.8, 2.2)),
                "door": (0.0, 2.05),
                "none": (0.0, 0.0),
            }[name]
            if name != "none":
                hole = name != "picture" and rng.random() < 0.25
                scene.panels.append(
                    Panel(wall, (at, low), (at + wide, high), LABEL[name], _any_material(rng), hole)
                )
            at += wide + rng.uniform(0.2, 1.2)


Maker = Callable[["Placer"], None]


@dataclass
class Placer:
    """Puts the parts of one piece of furniture at a place and turn of the room."""

    rng: Rng
    solids: list[Solid]
    x: float
    y: float
    yaw: float

    def put(
        self, shape: Literal["box", "sphere", "cylinder"], at: tuple[float, float, float],
        half: tuple[float, float, float], label: str, what: Material,
    ) -> None:  # fmt: skip
        """Add a solid; `at` is its centre in the piece's own frame."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        center = np.array([
            self.x + cos * at[0] - sin * at[1], self.y + sin * at[0] + cos * at[1], at[2],
        ])  # fmt: skip
        self.solids.append(
            Solid(shape, center, np.array(half, float), self.yaw, LABEL[label], what)
        )


def _table(p: Placer) -> None:
    top, height = _wood(p.rng), p.rng.uniform(0.5, 0.78)
    hx, hy = p.rng.uniform(0.35, 0.8), p.rng.uniform(0.3, 0.5)
    if p.rng.random() < 0.25:
        p.put("cylinder", (0, 0, height), (hy, hy, 0.025), "table", top)
        p.put("cylinder", (0, 0, height / 2), (0.05, 0.05, height / 2), "table", top)
    else:
        p.put("box", (0, 0, height), (hx, hy, 0.025), "table", top)
        for sx in (-1, 1):
            for sy in (-1, 1):
                at = (sx * (hx - 0.06), sy * (hy - 0.06), height / 2)
                p.put("box", at, (0.03, 0.03, height / 2), "table", top)
    for _ in range(int(p.rng.integers(0, 4))):
        place = (p.rng.uniform(-0.3, 0.3), p.rng.uniform(-0.25, 0.25))
        _small_thing(p, place, height + 0.025)


def _small_thing(p: Placer, at: tuple[float, float], z: float) -> None:
    what, size = _any_material(p.rng), p.rng.uniform(0.05, 0.13)
    draw = p.rng.random()
    if draw < 0.3:
        p.put("sphere", (*at, z + size), (size, size, size), "ball", what)
    elif draw < 0.55:
        tall = size * p.rng.uniform(1, 1.8)
        p.put("cylinder", (*at, z + tall), (size * 0.7, size * 0.7, tall), "vase", what)
    elif draw < 0.8:
        p.put("box", (*at, z + 0.02), (size * 1.2, size * 0.9, 0.02), "book", what)
    else:
        p.put("box", (*at, z + size), (size, size * 0.8, size), "box", what)


def _chair(p: Placer) -> None:
    what, seat = _any_material(p.rng), p.rng.uniform(0.4, 0.5)
    p.put("box", (0, 0, seat), (0.22, 0.22, 0.025), "chair", what)
    p.put("box", (0, 0.2, seat + 0.28), (0.22, 0.02, 0.25), "chair", what)
    for sx in (-0.19, 0.19):
        for sy in (-0.19, 0.19):
            p.put("cylinder", (sx, sy, seat / 2), (0.02, 0.02, seat / 2), "chair", what)


def _sofa(p: Placer) -> None:
    what = material(p.rng, ("fabric", "plain", "stripes", "noise"), p.rng.uniform(0.2, 0.7), 0.1)
    wide = p.rng.uniform(0.7, 1.1)
    p.put("box", (0, 0, 0.22), (wide, 0.4, 0.2), "sofa", what)
    p.put("box", (0, 0.36, 0.55), (wide, 0.1, 0.35), "sofa", what)
    for side in (-1, 1):
        p.put("box", (side * (wide + 0.08), 0, 0.32), (0.09, 0.42, 0.3), "sofa", what)
    for at in np.linspace(-wide * 0.6, wide * 0.6, int(p.rng.integers(1, 4))):
        p.put("box", (at, 0.15, 0.52), (0.19, 0.08, 0.15), "sofa", _any_material(p.rng))


def _bed(p: Placer) -> None:
    wide = p.rng.uniform(0.5, 0.9)
    p.put("box", (0, 0, 0.15), (wide, 1.0, 0.15), "bed", _wood(p.rng))
    p.put("box", (0, -0.05, 0.4), (wide * 0.97, 0.93, 0.11), "bed", _any_material(p.rng))
    p.put("box", (0, 1.0, 0.5), (wide, 0.04, 0.45), "bed", _wood(p.rng))
    p.put("box", (0, 0.7, 0.55), (wide * 0.6, 0.18, 0.06), "bed", _any_material(p.rng))


def _shelf(p: Placer) -> None:
    what, tall, wide = _wood(p.rng), p.rng.uniform(1.0, 2.0), p.rng.uniform(0.35, 0.7)
    for side in (-wide, wide):
        p.put("box", (side, 0, tall / 2), (0.02, 0.16, tall / 2), "shelf", what)
    p.put("box", (0, 0.15, tall / 2), (wide, 0.01, tall / 2), "shelf", what)
    for z in np.linspace(0.05, tall, int(p.rng.integers(3, 6))):
        p.put("box", (0, 0, z), (wide, 0.16, 0.015), "shelf", what)
        at = -wide + 0.06
        while at < wide - 0.1 and p.rng.random() < 0.75 and z < tall - 0.2:
            thick, high = p.rng.uniform(0.02, 0.06), p.rng.uniform(0.07, 0.13)
            p.put(
                "box", (at + thick, 0, z + high), (thick, 0.1, high), "book", _any_material(p.rng)
            )
            at += 2 * thick + 0.005


def _cabinet(p: Placer) -> None:
    what, tall = _wood(p.rng), p.rng.uniform(0.4, 1.0)
    hx, hy = p.rng.uniform(0.3, 0.7), p.rng.uniform(0.2, 0.35)
    p.put("box", (0, 0, tall), (hx, hy, tall), "cabinet", what)
    for at in np.linspace(-hx * 0.6, hx * 0.6, int(p.rng.integers(1, 4))):
        p.put("sphere", (at, -hy, tall * 1.2), (0.025, 0.025, 0.025), "cabinet", what)
    _small_thing(p, (0.1, 0.0), 2 * tall)


def _lamp(p: Placer) -> None:
    what, tall = _any_material(p.rng), p.rng.uniform(1.1, 1.6)
    p.put("cylinder", (0, 0, tall / 2), (0.02, 0.02, tall / 2), "lamp", what)
    p.put("cylinder", (0, 0, 0.02), (0.15, 0.15, 0.02), "lamp", what)
    p.put("cylinder", (0, 0, tall), (0.17, 0.17, 0.13), "lamp", _any_material(p.rng))


def _plant(p: Placer) -> None:
    p.put("cylinder", (0, 0, 0.17), (0.15, 0.15, 0.17), "plant", _any_material(p.rng))
    green = Material(
        np.array([0.1, 0.4, 0.1]), np.array([0.2, 0.55, 0.15]), "noise", 0.05, 0.1,
        int(p.rng.integers(1 << 30)),
    )  # fmt: skip
    for _ in range(int(p.rng.integers(3, 7))):
        size = p.rng.uniform(0.08, 0.2)
        at = (p.rng.normal(0, 0.12), p.rng.normal(0, 0.12), p.rng.uniform(0.4, 0.9))
        p.put("sphere", at, (size, size, size), "plant", green)


def _clutter(p: Placer) -> None:
    for _ in range(int(p.rng.integers(1, 5))):
        size = p.rng.uniform(0.1, 0.28)
        at = (p.rng.normal(0, 0.25), p.rng.normal(0, 0.25))
        if p.rng.random() < 0.4:
            p.put("sphere", (*at, size), (size, size, size), "ball", _any_material(p.rng))
        else:
            half = (size, size * p.rng.uniform(0.5, 1), size * p.rng.uniform(0.4, 1))
            p.put("box", (*at, half[2]), half, "box", _any_material(p.rng))


def _rug(p: Placer) -> None:
    what = material(p.rng, ("fabric", "stripes", "checker", "dots"), 0.5, 0.2)
    half = (p.rng.uniform(0.5, 1.1), p.rng.uniform(0.4, 0.8), 0.008)
    p.put("box", (0, 0, 0.008), half, "rug", what)


FURNITURE: dict[str, tuple[Maker, ...]] = {
    "living_room": (_sofa, _sofa, _table, _lamp, _shelf, _rug, _plant, _cabinet, _clutter),
    "bedroom": (_bed, _bed, _cabinet, _lamp, _rug, _chair, _shelf),
    "kitchen": (_cabinet, _cabinet, _cabinet, _table, _chair, _chair, _plant),
    "office": (_table, _table, _chair, _chair, _shelf, _shelf, _lamp, _clutter),
    "dining_room": (_table, _chair, _chair, _chair, _chair, _cabinet, _rug, _plant),
    "bathroom": (_cabinet, _cabinet, _rug, _plant, _clutter),
    "corridor": (_cabinet, _plant, _lamp, _rug, _clutter),
    "storage": (_clutter, _clutter, _clutter, _shelf, _shelf, _cabinet),
}


def _furnish(rng: Rng, scene: Scene) -> None:
    """Place furniture in front of the camera, apart from each other and from the eye."""
    choices = FURNITURE[SCENE_CLASSES[scene.kind]]
    taken: list[tuple[float, float]] = [(scene.eye[0], scene.eye[1])]
    for _ in range(int(rng.integers(3, 12))):
        maker = choices[int(rng.integers(len(choices)))]
        for _ in range(8):
            x = rng.uniform(0.4, scene.room[0] - 0.4)
            y = rng.uniform(scene.eye[1] + 0.9, max(scene.room[1] - 0.4, scene.eye[1] + 1.0))
            if all((x - a) ** 2 + (y - b) ** 2 > 0.75**2 for a, b in taken):
                yaw = rng.choice([0, np.pi / 2, -np.pi / 2, np.pi]) + rng.normal(0, 0.15)
                if rng.random() < 0.25:
                    yaw = rng.uniform(-np.pi, np.pi)
                maker(Placer(rng, scene.solids, x, y, float(yaw)))
                taken.append((x, y))
                break
