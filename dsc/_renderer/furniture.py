"""Furniture composed of boxes, spheres and cylinders, each piece in a frame of its own."""

from collections.abc import Callable

import numpy as np

from dsc._renderer.builder import (
    Builder,
    lamp_shade,
    leaf_material,
    legs,
    table_lamp,
    thing,
    things_on,
)
from dsc._renderer.solids import Material, metal, tint

Maker = Callable[[Builder], None]


def _chair_at(b: Builder, x: float, y: float, yaw: float, what: Material, seat: Material) -> None:
    c = Builder(b.rng, b.palette)
    high, wide = 0.45, 0.42
    c.put("chair", seat, (0, 0, high - 0.04), (wide, wide, 0.05))
    legs(c, "chair", what, wide / 2, wide / 2, high - 0.04)
    if b.chance(0.5):
        c.put("chair", seat, (0, wide / 2 - 0.02, high + 0.06), (wide, 0.035, 0.42))
    else:
        for side in (-1, 1):
            c.put("chair", what, (side * 0.19, wide / 2 - 0.02, high), (0.035, 0.035, 0.48))
        for z in (0.12, 0.26, 0.4):
            c.put("chair", what, (0, wide / 2 - 0.02, high + z), (wide - 0.04, 0.025, 0.06))
    b.parts.extend(part.moved(x, y, yaw) for part in c.parts)


def chair(b: Builder) -> None:
    """Build a chair."""
    _chair_at(b, 0, 0, 0, b.wood(), b.cloth())


def table(b: Builder) -> None:
    """Build a dining table, round or not, with chairs about it."""
    what, x, y = b.wood(), b.draw(0.5, 0.95), b.draw(0.38, 0.5)
    frame, seat = b.wood(), b.cloth()
    if b.chance(0.3):
        x = y = b.draw(0.45, 0.65)
        b.round("table", what, (0, 0, 0.71), x, 0.035)
        b.round("table", what, (0, 0, 0.02), 0.06, 0.69)
        b.round("table", what, (0, 0, 0), 0.28, 0.025)
    else:
        b.put("table", what, (0, 0, 0.71), (2 * x, 2 * y, 0.04))
        legs(b, "table", what, x, y, 0.71)
    things_on(b, x * 0.8, y * 0.7, 0.75, 4)
    for place in np.linspace(-x, x, 2 + (2 if x > 0.7 else 1))[1:-1]:
        for side in (-1, 1):
            if b.chance(0.85):
                out, turn = y + b.draw(-0.05, 0.35), b.rng.normal(0, 0.2)
                _chair_at(b, place, side * out, (0 if side > 0 else np.pi) + turn, frame, seat)


def coffee_table(b: Builder) -> None:
    """Build a low table."""
    what, x, y, high = b.wood(), b.draw(0.35, 0.65), b.draw(0.25, 0.4), b.draw(0.32, 0.45)
    b.put("table", what, (0, 0, high), (2 * x, 2 * y, 0.04))
    if b.chance(0.4):
        b.put("table", what, (0, 0, high * 0.35), (2 * x - 0.08, 2 * y - 0.08, 0.02))
    legs(b, "table", b.wood(), x, y, high)
    things_on(b, x, y * 0.6, high + 0.04, 3)


def desk(b: Builder) -> None:
    """Build a desk with drawers, a screen, and a chair before it."""
    what, x, y = b.wood(), b.draw(0.55, 0.85), b.draw(0.28, 0.38)
    b.put("table", what, (0, 0, 0.71), (2 * x, 2 * y, 0.035))
    b.put("table", what, (-x + 0.02, 0, 0), (0.035, 2 * y, 0.71))
    b.put("table", what, (x - 0.2, 0, 0.1), (0.38, 2 * y - 0.04, 0.61))
    for z in (0.13, 0.33, 0.53):
        b.put("table", what, (x - 0.2, -y + 0.01, z), (0.34, 0.02, 0.17), casts=False)
        b.put("table", metal(b.rng), (x - 0.2, -y - 0.01, z + 0.08), (0.1, 0.02, 0.015))
    dark = Material(np.full(3, 0.015), np.full(3, 0.015), gloss=0.8)
    b.put("box", dark, (0, 0.1, 0.86), (0.55, 0.03, 0.33))
    b.put("box", dark, (0, 0.1, 0.745), (0.06, 0.04, 0.14))
    b.put("box", dark, (0, -0.1, 0.745), (0.4, 0.14, 0.015), casts=False)
    thing(b, -x * 0.75, 0.0, 0.745)
    turn = np.pi + b.rng.normal(0, 0.4)
    _chair_at(b, -0.1, -y - b.draw(0.15, 0.4), turn, metal(b.rng), b.cloth())


def sofa(b: Builder) -> None:
    """Build a sofa or armchair with cushions."""
    what, seats = b.cloth(), b.count(1, 3)
    x, arm = 0.34 * seats, b.draw(0.1, 0.2)
    high = b.draw(0.36, 0.44)
    b.put("sofa", what, (0, 0, 0.08), (2 * x, 0.8, high - 0.2))
    b.put("sofa", what, (0, 0.34, 0.08), (2 * x, 0.2, b.draw(0.6, 0.8)))
    for side in (-1, 1):
        b.put("sofa", what, (side * (x + arm / 2), 0.02, 0.05), (arm, 0.84, b.draw(0.48, 0.6)))
    for k in range(seats):
        place = -x + 0.34 + 0.68 * k
        b.put("sofa", what, (place, -0.08, high - 0.12), (0.66, 0.66, 0.13))
        b.put("sofa", what, (place, 0.19, high + 0.02), (0.63, 0.13, 0.34))
        if b.chance(0.5):
            foot = (place + b.draw(-0.12, 0.12), 0.03, high + 0.01)
            b.put("sofa", b.cloth(), foot, (0.38, 0.12, 0.36), yaw=b.draw(-0.4, 0.4))


def bed(b: Builder) -> None:
    """Build a bed, its head at the wall."""
    frame, sheet, wide = b.wood(), b.cloth(), b.draw(0.9, 1.7)
    white = Material(np.full(3, 0.75), np.full(3, 0.6), "fabric", 0.03, 0.0, 5)
    b.put("bed", frame, (0, 0, 0.08), (wide, 2.0, 0.2))
    b.put("bed", frame, (0, 1.0, 0), (wide + 0.06, 0.05, b.draw(0.7, 1.1)))
    b.put("bed", white, (0, 0, 0.28), (wide - 0.04, 1.92, 0.18))
    b.put("bed", sheet, (0, -0.3, 0.26), (wide + 0.03, 1.35, 0.23))
    for side in (-1, 1) if wide > 1.25 else (0,):
        foot = (side * wide / 4, 0.7, 0.46)
        b.put("bed", b.cloth(), foot, (min(0.6, wide - 0.2), 0.38, 0.12), yaw=b.rng.normal(0, 0.08))
    if b.chance(0.5):
        b.put("bed", b.cloth(), (0, -0.7, 0.27), (wide + 0.05, 0.5, 0.235))


def nightstand(b: Builder) -> None:
    """Build a small chest with a lamp."""
    what, high = b.wood(), b.draw(0.42, 0.6)
    b.put("cabinet", what, (0, 0, 0), (0.44, 0.4, high))
    for z in (0.08, 0.5):
        b.put("cabinet", what, (0, -0.2, z * high), (0.39, 0.02, 0.38 * high))
        b.ball("cabinet", metal(b.rng), (0, -0.22, (z + 0.17) * high), 0.015)
    table_lamp(b, -0.08, 0.05, high)


def shelf(b: Builder) -> None:
    """Build a bookcase."""
    what, high, wide, deep = b.wood(), b.draw(0.9, 2.1), b.draw(0.35, 0.65), 0.28
    for side in (-wide, wide):
        b.put("shelf", what, (side, 0, 0), (0.03, deep, high))
    b.put("shelf", what, (0, deep / 2 - 0.01, 0), (2 * wide, 0.015, high))
    levels = max(3, round(high / b.draw(0.33, 0.45)) + 1)
    step = (high - 0.08) / (levels - 1)
    for level in range(levels):
        z = 0.05 + level * step
        b.put("shelf", what, (0, 0, z), (2 * wide, deep, 0.025))
        if level < levels - 1:
            _fill(b, wide, z + 0.025, step - 0.03)


def _fill(b: Builder, wide: float, z: float, room: float) -> None:
    """Stand books and things on one board."""
    if b.chance(0.15):
        return
    at, end = -wide + 0.03, wide - 0.05
    stop = b.draw(-wide * 0.3, end)
    while at < stop:
        # a book of this scene may be a short row of one series, which saves solids
        thick, high = b.draw(0.03, 0.11), b.draw(0.6, 0.93) * room
        if at + thick > end:
            break
        b.put("book", b.paint(), (at + thick / 2, 0.02, z), (thick, 0.19, high), casts=False)
        at += thick + 0.002
    if at < end - 0.2 and room > 0.25:
        thing(b, (at + end) / 2, 0, z, tallest=room)


def cabinet(b: Builder) -> None:
    """Build a sideboard with drawers or doors."""
    what, front = b.wood(), b.wood()
    x, deep, high = b.draw(0.4, 0.85), b.draw(0.36, 0.48), b.draw(0.55, 0.95)
    b.put("cabinet", what, (0, 0, 0.07), (2 * x, deep, high - 0.07))
    b.put("cabinet", what, (0, 0.02, 0), (2 * x - 0.1, deep - 0.1, 0.07))
    _fronts(b, front if b.chance(0.4) else what, x, -deep / 2, 0.1, high - 0.13)
    things_on(b, x * 0.9, deep * 0.3, high, 3)


def wardrobe(b: Builder) -> None:
    """Build a wardrobe with tall doors."""
    what, x, high = b.wood(), b.draw(0.45, 0.8), b.draw(1.8, 2.15)
    b.put("cabinet", what, (0, 0, 0), (2 * x, 0.55, high))
    _fronts(b, what, x, -0.275, 0.06, high - 0.1, rows=1)


def counter(b: Builder) -> None:
    """Build a row of kitchen cabinets with a worktop, some with wall cabinets above."""
    what, top, x = b.wood(), b.paint(), b.draw(0.7, 1.4)
    b.put("cabinet", what, (0, 0, 0.1), (2 * x, 0.56, 0.76))
    b.put("cabinet", what, (0, 0.03, 0), (2 * x, 0.5, 0.1))
    b.put("cabinet", top, (0, -0.01, 0.86), (2 * x + 0.02, 0.62, 0.04))
    _fronts(b, what, x, -0.28, 0.12, 0.7)
    things_on(b, x * 0.9, 0.15, 0.9, 4)
    if b.chance(0.6):
        b.put("cabinet", what, (0, 0.12, 1.42), (2 * x, 0.32, 0.65))
        _fronts(b, what, x, -0.04, 1.44, 0.61, rows=1)


def _fronts(
    b: Builder, what: Material, x: float, y: float, z: float, high: float, rows: int = 0
) -> None:
    """Set drawer or door fronts with handles on a body of half width x."""
    columns, rows = max(1, round(2 * x / b.draw(0.4, 0.6))), rows or b.count(1, 3)
    wide, tall, handle = 2 * x / columns, high / rows, metal(b.rng)
    for column in range(columns):
        for row in range(rows):
            foot = (-x + wide * (column + 0.5), y, z + tall * row)
            b.put("cabinet", what, foot, (wide - 0.02, 0.03, tall - 0.02), casts=False)
            size = (0.1, 0.02, 0.015) if rows > 1 else (0.015, 0.02, 0.12)
            side = 0.0 if rows > 1 else (wide / 2 - 0.05) * (1 - 2 * (column % 2))
            at = (foot[0] + side, y - 0.025, foot[2] + tall * 0.5)
            b.put("cabinet", handle, at, size, casts=False)


def floor_lamp(b: Builder) -> None:
    """Build a lamp on a pole."""
    pole, high = metal(b.rng), b.draw(1.3, 1.65)
    b.round("lamp", pole, (0, 0, 0), b.draw(0.1, 0.16), 0.025)
    b.round("lamp", pole, (0, 0, 0), 0.013, high)
    lamp_shade(b, (0, 0, high - 0.1), b.draw(0.13, 0.22), b.draw(0.18, 0.3))


def plant(b: Builder) -> None:
    """Build a plant in a pot."""
    radius, high, leaf = b.draw(0.1, 0.17), b.draw(0.2, 0.36), leaf_material(b)
    b.round("vase", b.paint(), (0, 0, 0), radius, high)
    top = high + b.draw(0.1, 0.7)
    b.round("plant", Material(np.full(3, 0.08), np.full(3, 0.05)), (0, 0, high), 0.015, top - high)
    for _ in range(b.count(4, 9)):
        x, y = b.rng.normal(0, 0.12, 2)
        b.ball("plant", leaf, (x, y, top + b.draw(-0.15, 0.25)), b.draw(0.07, 0.17))


def clutter(b: Builder) -> None:
    """Build a heap of boxes and balls."""
    cardboard = Material(tint(0.085, 0.45, 0.75), tint(0.085, 0.5, 0.6), "fabric", 0.05, 0, 3)
    at = 0.0
    for _ in range(b.count(1, 3)):
        size = b.draw(0.2, 0.5)
        y, high, what = b.draw(-0.15, 0.15), size * b.draw(0.5, 1), cardboard
        if b.chance(0.35):
            what = b.paint()
        b.put("box", what, (at, y, 0), (size, size * 0.8, high), yaw=b.draw(-0.3, 0.3))
        if b.chance(0.4):
            b.put("box", cardboard, (at, y, high), (size * 0.6, size * 0.55, high * 0.6),
                  yaw=b.draw(-0.8, 0.8))  # fmt: skip
        at += size * 0.9
    for _ in range(b.count(0, 2)):
        b.ball("ball", b.paint(), (b.draw(0, at), b.draw(-0.6, -0.4), 0), b.draw(0.08, 0.2))


def stool(b: Builder) -> None:
    """Build a stool or pouf."""
    radius, high = b.draw(0.17, 0.3), b.draw(0.32, 0.5)
    if b.chance(0.5):
        b.round("chair", b.cloth(), (0, 0, 0.02), radius, high)
    else:
        b.round("chair", b.wood(), (0, 0, high - 0.04), radius, 0.045)
        legs(b, "chair", b.wood(), radius * 0.75, radius * 0.75, high - 0.04)


def rug(b: Builder) -> None:
    """Build a rug, flat or round, with a border."""
    x, y = b.draw(1.1, 2.4), b.draw(0.9, 1.6)
    if b.chance(0.25):
        b.round("rug", b.cloth(), (0, 0, 0), y / 2, 0.012)
        return
    b.put("rug", b.cloth(), (0, 0, 0), (x, y, 0.01), casts=False)
    if b.chance(0.6):
        b.put("rug", b.cloth(), (0, 0, 0), (x - 0.2, y - 0.2, 0.013), casts=False)
