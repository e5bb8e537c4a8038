"""The shell of a room: materials of its sides, trim, and what hangs on or opens its walls."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dsc._renderer.builder import Builder
from dsc._renderer.solids import (
    LABEL,
    Material,
    Opening,
    Palette,
    Rng,
    Scene,
    Solid,
    metal,
    pick,
    tint,
    wood,
)

Rect = tuple[float, float, float, float]  # x0, y0, x1, y1 on the floor


def draw_surfaces(rng: Rng, palette: Palette, name: str) -> tuple[Material, ...]:
    """Draw the materials of four walls, floor and ceiling."""
    light = tint(rng.random(), rng.beta(1.2, 6) * 0.7, rng.uniform(0.68, 0.97))
    if rng.random() < 0.08:
        light = palette.accents[0].clip(0.05, 0.8)
    patterns = ["plain", "plaster", "plaster", "plaster", "stripes", "damask", "bricks", "dots"]
    tiled = name in ("bathroom", "kitchen") and rng.random() < 0.6
    wall = _surface(rng, light, "tiles" if tiled else pick(rng, patterns), 0.25)
    other = wall
    if rng.random() < 0.25:
        accent = (0.8 * palette.accents[1] + 0.08).clip(0.03, 0.8)
        other = _surface(rng, accent, pick(rng, patterns), 0.3)
    stone = tint(rng.uniform(0.02, 0.15), rng.uniform(0, 0.3), rng.uniform(0.3, 0.9))
    plank = palette.wood if rng.random() < 0.5 else tint(0.07, rng.uniform(0.2, 0.6), 0.6)
    floors = {
        "planks": (plank, 0.14), "tiles": (stone, 0.45), "checker": (stone, 0.35),
        "carpet": (palette.accents[2], 0.03), "marble": (stone, 0.7), "noise": (stone, 0.2),
    }  # fmt: skip
    share = [0.1, 0.5, 0.2, 0.0, 0.15, 0.05] if tiled else [0.5, 0.15, 0.08, 0.17, 0.05, 0.05]
    pattern = str(rng.choice(list(floors), p=share))
    floor = _surface(rng, floors[pattern][0].clip(0.02, 0.8), pattern, floors[pattern][1])
    gloss = 0.0 if pattern == "carpet" else pick(rng, [0.0, 0.15, 0.35])
    white = tint(rng.random(), rng.uniform(0, 0.06), rng.uniform(0.85, 0.98))
    ceiling = _surface(rng, white, pick(rng, ["plain", "plaster"]), 0.4)
    sides = [wall] * 4
    sides[int(rng.integers(4))] = other
    return (*sides, replace(floor, gloss=gloss), ceiling)


def _surface(rng: Rng, color: NDArray[np.float64], pattern: str, period_m: float) -> Material:
    contrast = rng.uniform(0.1, 0.75) if pattern in ("checker", "planks", "marble") else (
        rng.uniform(0.05, 0.4)
    )  # fmt: skip
    second = color * (1 - contrast) + rng.normal(0, 0.015, 3)
    period = float(period_m * rng.uniform(0.6, 1.5))
    return Material(color, second.clip(0.01, 0.9), pattern, period, seed=int(rng.integers(1 << 30)))


def trim(rng: Rng, scene: Scene, palette: Palette) -> None:
    """Add skirting boards, and sometimes a cornice and a pillar in a corner."""
    w, d, h = scene.room
    white = _surface(rng, tint(0.1, 0.05, rng.uniform(0.5, 0.97)), "plain", 1.0)
    boards = [(0.0, rng.uniform(0.06, 0.13), 0.025)] if rng.random() < 0.85 else []
    if rng.random() < 0.3:
        size = rng.uniform(0.05, 0.1)
        boards.append((h - size, size, size))
    for z, high, thick in boards:
        for wall in range(4):
            for low, end in _free_spans(scene, wall, z):
                b = Builder(rng, palette)
                board = (end - low, thick / 2, high)
                b.put("wall", white, (0, -thick / 4, z), board, casts=False)
                scene.pieces.append(_onto_wall(scene, wall, b.parts, (low + end) / 2))
    b = Builder(rng, palette)
    if rng.random() < 0.15:
        size, x, y = rng.uniform(0.3, 0.7), pick(rng, [0.0, w]), pick(rng, [0.0, d])
        b.put("wall", scene.surfaces[0], (x, y, 0), (size, size, h))
    scene.pieces.extend([part] for part in b.parts)


def _free_spans(scene: Scene, wall: int, z: float) -> list[tuple[float, float]]:
    """Return the spans of a wall that no opening interrupts at height z."""
    length = float(scene.room[1] if wall < 2 else scene.room[0])
    here = [o for o in scene.openings if o.wall == wall and o.low[1] <= z < o.high[1]]
    gaps = [(o.low[0], o.high[0]) for o in here]
    ends = [0.0, *(end for gap in sorted(gaps) for end in gap), length]
    return list(zip(ends[::2], ends[1::2], strict=True))


def fill_walls(rng: Rng, scene: Scene, palette: Palette, taken: list[Rect]) -> None:
    """Put windows, doors and pictures on the walls, side by side."""
    frame = wood(rng, palette)
    doors = 0
    for wall in rng.permutation(4):
        length = float(scene.room[1] if wall < 2 else scene.room[0])
        at = rng.uniform(0.25, 0.9)
        has_windows = rng.random() < 0.45
        while at < length - 0.6:
            draw = rng.random()
            name = "none" if draw < 0.35 else "picture"
            if has_windows and draw < 0.6:
                name = "window"
            elif doors < 2 and draw > 0.8:
                name = "door"
            wide = rng.uniform(*{"window": (0.8, 1.8), "door": (0.8, 0.95)}.get(name, (0.35, 1.0)))
            if at + wide > length - 0.15:
                break
            doors += name == "door"
            _hang(rng, scene, palette, frame, name, int(wall), at, at + wide, taken)
            at += wide + rng.uniform(0.25, 1.4)


def _hang(
    rng: Rng, scene: Scene, palette: Palette, frame: Material, name: str, wall: int, low: float,
    high: float, taken: list[Rect],
) -> None:  # fmt: skip
    """Put one thing on a wall from `low` to `high`."""
    b = Builder(rng, palette)
    wide, x = high - low, (low + high) / 2
    bottom, top = {
        "window": (rng.uniform(0.7, 1.0), rng.uniform(1.9, 2.2)), "door": (0.0, 2.05)
    }.get(name, (rng.uniform(1.15, 1.4), rng.uniform(1.6, 2.1)))  # fmt: skip
    if name == "picture":
        art = Material(np.ones(3), np.ones(3), "painting", 1.0, 0.1, int(rng.integers(1 << 30)))
        edge = rng.uniform(0.0, 0.05)
        b.put("picture", art, (0, -0.012, bottom), (wide, 0.024, top - bottom), casts=False)
        if edge > 0.01:
            _frame(b, "picture", b.wood(), wide, bottom, top, edge)
    elif name in ("window", "door"):
        is_hole = bool(rng.random() < (0.08 if name == "window" else 0.15))
        if name == "window" or is_hole:
            corners = (low, bottom), (high, top)
            scene.openings.append(Opening(wall, *corners, LABEL[name], is_hole))
        else:
            b.put("door", frame, (0, -0.015, 0.005), (wide, 0.03, top), casts=False)
            for z in (0.2, 1.15):
                b.put("door", frame, (0, -0.025, z), (wide * 0.62, 0.03, 0.75), casts=False)
            b.ball("door", metal(rng), (wide * 0.42, -0.07, 1.0), 0.03)
        _frame(b, name, frame, wide, bottom, top, rng.uniform(0.05, 0.08))
        if name == "window" and not is_hole:
            for k in range(1, int(rng.integers(1, 4))):
                b.put(name, frame, (wide * (k / 2 - 0.5) if k < 2 else wide * 0.25, -0.015, bottom),
                      (0.035, 0.03, top - bottom), casts=False)  # fmt: skip
            b.put(name, frame, (0, -0.06, bottom - 0.04), (wide + 0.2, 0.14, 0.035))
        if name == "door":
            taken.append(_at_wall(scene, wall, x, wide + 0.2, 0.9))
    if b.parts:
        scene.pieces.append(_onto_wall(scene, wall, b.parts, x))


def _frame(
    b: Builder, label: str, what: Material, wide: float, bottom: float, top: float, edge: float
) -> None:
    """Put four bars around a rectangle."""
    for side in (-1, 1):
        foot = (side * (wide / 2 + edge / 2), -0.02, bottom)
        b.put(label, what, foot, (edge, 0.04, top - bottom), casts=False)
    for z in (bottom - edge, top):
        if z > 0:
            b.put(label, what, (0, -0.02, z), (wide + 2 * edge, 0.04, edge), casts=False)


def wall_place(scene: Scene, wall: int, along: float, out: float) -> tuple[float, float, float]:
    """Return x, y and yaw that turn a piece's back to a wall, `out` metres from its origin."""
    w, d = float(scene.room[0]), float(scene.room[1])
    return (
        (out, along, np.pi / 2), (w - out, along, -np.pi / 2), (along, out, np.pi),
        (along, d - out, 0.0),
    )[wall]  # fmt: skip


def _onto_wall(scene: Scene, wall: int, parts: Sequence[Solid], along: float) -> list[Solid]:
    place = wall_place(scene, wall, along, 0.0)
    return [part.moved(*place) for part in parts]


def _at_wall(scene: Scene, wall: int, along: float, wide: float, deep: float) -> Rect:
    w, d, _ = scene.room
    low, high = along - wide / 2, along + wide / 2
    return ((0, low, deep, high), (w - deep, low, w, high), (low, 0, high, deep),
            (low, d - deep, high, d))[wall]  # fmt: skip
