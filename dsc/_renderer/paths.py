"""How cameras and things move: every place and turn is a smooth function of time.

Nothing is integrated from frame to frame, so that any moment is found without those before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from dsc._renderer.scene import axes_of, choose_camera
from dsc._renderer.solids import LABEL, Rng, Scene, Solid, Vector, draw_palette, paint, pick, tint
from dsc._renderer.trace import Camera, trace

CameraKind = Literal["orbit", "fixed", "walk"]
CAMERAS: tuple[str, ...] = get_args(CameraKind)
ROUND_S = 20.0  # an orbit
WALK_S = 40.0  # until a walk comes back to where it began
_CLEAR_M = 0.3  # between a camera and what stands in the room
_WALL_M = 0.4  # between a camera and the walls
_WALKS = 16  # that are drawn to take the best of
_PLACES = 60  # that are drawn to find a mover one
_TRIED = 10  # moments of a path at which it is seen what the camera sees
_MOMENTS = 96  # of a path that are looked at


@dataclass(frozen=True)
class Wave:
    """A number that changes with time: a mean, and sines of (amplitude, turns a second, phase)."""

    mean: float
    sines: tuple[tuple[float, float, float], ...] = ()

    def at(self, time_s: float) -> float:
        """Return the number at a time."""
        turns = ((size, rate * time_s + phase) for size, rate, phase in self.sines)
        return self.mean + sum(size * float(np.sin(2 * np.pi * turn)) for size, turn in turns)


@dataclass(frozen=True)
class Path:
    """A camera's way.

    Attributes
    ----------
    place
        Where it is, a wave an axis.
    turn
        Yaw, pitch and roll; where it looks at `target`, what comes on top of that.
    target
        Point (3,) that it looks at, or None.
    period_s
        When it comes back to where it was, but for its shaking.
    """

    place: tuple[Wave, Wave, Wave]
    turn: tuple[Wave, Wave, Wave]
    tangent: float
    target: Vector | None = None
    period_s: float = 1.0

    def eye(self, time_s: float) -> Vector:
        """Return where the camera is."""
        return np.array([wave.at(time_s) for wave in self.place])

    def camera(self, time_s: float) -> Camera:
        """Return the camera; its numbers are those of float32, as are those of its pose."""
        eye = self.eye(time_s)
        yaw, pitch, roll = (wave.at(time_s) for wave in self.turn)
        if self.target is not None:
            x, y, z = self.target - eye
            yaw += float(np.arctan2(x, y))
            pitch += float(np.arctan2(z, np.hypot(x, y)))
        axes = axes_of(yaw, pitch, roll)
        return Camera(_single(eye), _single(axes), self.tangent)


def _single(values: Vector) -> Vector:
    return values.astype(np.float32).astype(np.float64)


def draw_path(rng: Rng, scene: Scene, kind: CameraKind) -> Path:
    """Draw a camera's way through a room."""
    if kind == "fixed":
        return _still(choose_camera(rng, scene))
    draw = _draw_orbit if kind == "orbit" else _draw_walk
    paths = [draw(rng, scene) for _ in range(_WALKS)]
    return max(paths, key=lambda path: _worth(scene, path))


def clear(scene: Scene, path: Path) -> None:
    """Take out of the room what a camera would go through."""
    eyes = _along(path)
    scene.pieces = [piece for piece in scene.pieces if _gap(piece, eyes) > _CLEAR_M]


def _still(camera: Camera) -> Path:
    right, _, forward = camera.axes
    yaw = float(np.arctan2(forward[0], forward[1]))
    pitch = float(np.arcsin(forward[2]))
    level = axes_of(yaw, pitch, 0.0)
    roll = float(np.arctan2(right @ level[1], right @ level[0]))
    x, y, z = (Wave(float(place)) for place in camera.eye)
    return Path((x, y, z), (Wave(yaw), Wave(pitch), Wave(roll)), camera.tangent)


def _draw_orbit(rng: Rng, scene: Scene) -> Path:
    """Draw a way around the room's middle, which it looks at."""
    half = np.maximum(scene.room[:2] / 2 - rng.uniform(_WALL_M, 1.4), 0.25)
    start, rate = float(rng.random()), pick(rng, [-1, 1]) / ROUND_S
    middle = scene.room[:2] / 2
    height = float(rng.uniform(1.3, min(2.0, scene.room[2] - 0.4)))
    x = Wave(float(middle[0]), ((float(half[0]), rate, start),))
    y = Wave(float(middle[1]), ((float(half[1]), rate, start + 0.25),))
    target = np.array([*middle, rng.uniform(0.4, 0.9)])
    turn = (Wave(0.0), Wave(0.0), Wave(0.0))
    return Path((x, y, Wave(height)), turn, _tangent(rng), target, ROUND_S)


def _draw_walk(rng: Rng, scene: Scene) -> Path:
    """Draw the way of a camera in a hand: slow turns, steps, and a little shaking."""
    places = []
    for length in scene.room[:2]:
        reach = max(float(length) / 2 - _WALL_M, 0.1)
        sines = _slow(rng, (0.45, 0.3, 0.12), reach)
        places.append(Wave(float(length) / 2, (*sines, *_shake(rng, 0.004))))
    steps = (0.012, float(rng.uniform(1.6, 2.0)), float(rng.random()))
    height = Wave(float(rng.uniform(1.35, 1.65)), (*_slow(rng, (0.08, 0.05), 1.0), steps))
    yaw = Wave(float(rng.uniform(-np.pi, np.pi)), (*_slow(rng, (0.9, 0.5, 0.2), 1.0), *_sway(rng)))
    pitch = Wave(float(rng.normal(-0.22, 0.06)), (*_slow(rng, (0.1, 0.08), 1.0), *_sway(rng)))
    roll = Wave(0.0, (*_slow(rng, (0.02, 0.015), 1.0), *_sway(rng)))
    place = (places[0], places[1], height)
    return Path(place, (yaw, pitch, roll), _tangent(rng), None, WALK_S)


def _slow(rng: Rng, sizes: Sequence[float], scale: float) -> tuple[tuple[float, float, float], ...]:
    """Return sines that close after `WALK_S`, the first the slowest."""
    return tuple(
        (size * scale, number / WALK_S, float(rng.random())) for number, size in enumerate(sizes, 1)
    )


def _shake(rng: Rng, size: float) -> tuple[tuple[float, float, float], ...]:
    rates = rng.uniform((0.7, 1.5, 5.0), (1.2, 2.5, 8.0))
    return tuple(
        (size * part, float(rate), float(rng.random()))
        for part, rate in zip((1.0, 0.5, 0.1), rates, strict=True)
    )


def _sway(rng: Rng) -> tuple[tuple[float, float, float], ...]:
    return _shake(rng, 0.006)


def _tangent(rng: Rng) -> float:
    return float(np.tan(np.radians(rng.uniform(60, 70)) / 2))


def _along(path: Path) -> Vector:
    """Return where the camera is at moments of its way (T, 3)."""
    times = np.linspace(0, path.period_s, _MOMENTS, endpoint=False)
    return np.stack([path.eye(float(time)) for time in times])


def _gap(solids: Sequence[Solid], points: Vector) -> float:
    """Return the smallest distance from points (T, 3) to the boxes around solids."""
    center = np.stack([solid.center for solid in solids])
    half = np.stack([solid.half for solid in solids])
    yaw = np.array([solid.yaw for solid in solids])
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y, z = (points[:, None] - center).transpose(2, 0, 1)
    local = np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=-1)
    return float(np.linalg.norm(np.maximum(np.abs(local) - half, 0), axis=-1).min())


def _worth(scene: Scene, path: Path) -> float:
    """Tell how much a camera sees on its way, and how little it goes through."""
    eyes = _along(path)
    lost = sum(len(piece) for piece in scene.pieces if _gap(piece, eyes) <= _CLEAR_M)
    grid = np.linspace(-0.9, 0.9, 8, dtype=np.float32)
    x, y = (a.ravel() for a in np.meshgrid(grid, 0.75 * grid))
    scores = []
    for time in np.linspace(0, path.period_s, _TRIED, endpoint=False):
        camera = path.camera(float(time))
        depth, owner = trace(scene, camera, x, y, camera.rays(x, y))
        variety = min(len(np.unique(owner)), 14)
        scores.append(variety + min(float(np.median(depth)), 3.0) - 15 * (depth < 0.8).mean())
    return float(np.mean(scores) + np.min(scores) - 0.5 * lost)


@dataclass(frozen=True)
class Mover:
    """A solid and its way: where it is, a wave an axis, and how it is turned."""

    solid: Solid
    place: tuple[Wave, Wave, Wave]
    yaw: Wave

    def at(self, time_s: float) -> Solid:
        """Return the solid as it stands at a time."""
        center = np.array([wave.at(time_s) for wave in self.place])
        return replace(self.solid, center=center, yaw=self.yaw.at(time_s))


def draw_movers(rng: Rng, scene: Scene, camera: Camera, count: int) -> list[Mover]:
    """Draw things that move where the camera sees them, through nothing where there is room."""
    movers: list[Mover] = []
    for number in range(count):
        drawn = [_draw_mover(rng, scene, camera, number) for _ in range(_PLACES)]
        movers.append(max(drawn, key=lambda mover: _freedom(scene, camera, mover, movers)))
    return movers


def _draw_mover(rng: Rng, scene: Scene, camera: Camera, number: int) -> Mover:
    """Draw a ball or a box, on the floor or in the air."""
    ball = number % 2 == 0
    size = float(rng.uniform(0.1, 0.2))
    half = np.full(3, size) if ball else size * np.array([1.0, *rng.uniform(0.6, 1.2, 2)])
    ray = camera.rays(*rng.uniform(-0.7, 0.7, (2, 1)).astype(np.float32))[:, 0]
    middle = camera.eye + ray * rng.uniform(1.5, 4.0)
    flies = rng.random() < 0.5
    if not flies:
        middle[2] = half[2] + 0.002
    waves = []
    for axis in range(3):
        size_m = float(rng.uniform(0.2, 0.6)) * (1.0 if axis < 2 else 0.3 * flies)
        rates = rng.uniform((0.12, 0.3), (0.25, 0.45))
        parts = ((size_m, float(rates[0]), float(rng.random())),
                 (size_m * 0.2, float(rates[1]), float(rng.random())))  # fmt: skip
        waves.append(Wave(float(middle[axis]), parts if size_m else ()))
    yaw = Wave(0.0, ((1.5, float(rng.uniform(0.08, 0.2)), float(rng.random())),))
    color = tint(float(rng.random()), rng.uniform(0.5, 0.95), rng.uniform(0.5, 0.95))
    what = replace(paint(rng, draw_palette(rng)), color=color)
    label = LABEL["ball" if ball else "box"]
    solid = Solid("sphere" if ball else "box", middle, half, 0.0, label, what)
    return Mover(solid, (waves[0], waves[1], waves[2]), yaw)


def _freedom(scene: Scene, camera: Camera, mover: Mover, others: Sequence[Mover]) -> float:
    """Tell how far a mover stays from everything, in metres at most half; less if out of sight."""
    radius = float(np.linalg.norm(mover.solid.half[:2]))
    places = np.stack([mover.at(float(time)).center for time in np.linspace(0, 30, 40)])
    walls = np.minimum(places[:, :2], scene.room[:2] - places[:, :2]).min() - radius
    ceiling = min(float((scene.room[2] - places[:, 2]).min()), float(places[:, 2].min())) - radius
    flat = [piece for piece in scene.pieces if max(s.center[2] + s.half[2] for s in piece) > 0.03]
    gaps = [_gap(piece, places) - radius for piece in flat]
    gaps += [_gap([other.solid], places) - radius - 0.5 for other in others]
    near = float(np.linalg.norm(places - camera.eye, axis=1).min()) - radius - 0.8
    free = min(walls, near, *gaps, 0.5) if mover.solid.center[2] < 0.3 else min(
        walls, ceiling, near, *gaps, 0.5
    )  # fmt: skip
    seen = camera.axes @ (places - camera.eye).T
    ahead = np.maximum(seen[2], 0.1) * camera.tangent
    out = (np.abs(seen[0]) > 0.9 * ahead) | (np.abs(seen[1]) > 0.7 * ahead)
    out |= seen[2] < 0.5
    x, y = ((seen[k] / ahead).astype(np.float32) for k in (0, 1))
    depth, _ = trace(scene, camera, x, y, camera.rays(x, y))
    return float(free - (out | (depth < seen[2] - radius)).mean())
