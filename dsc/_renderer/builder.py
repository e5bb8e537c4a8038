"""A builder for pieces of furniture, and the small things that stand on them.

A piece stands on z = 0 around the origin of its own frame; its back is towards +y.
"""

from dataclasses import dataclass, field

import numpy as np

from dsc._renderer.solids import (
    LABEL,
    Material,
    Palette,
    Rng,
    Shape,
    Solid,
    cloth,
    glow,
    metal,
    paint,
    pick,
    tint,
    wood,
)

Point = tuple[float, float, float]


@dataclass
class Builder:
    """Collects the solids of one piece."""

    rng: Rng
    palette: Palette
    parts: list[Solid] = field(default_factory=list)

    def put(
        self, label: str, what: Material, foot: Point, size: Point, shape: Shape = "box",
        yaw: float = 0.0, casts: bool = True,
    ) -> None:  # fmt: skip
        """Add a solid of full `size` whose underside's middle is at `foot`."""
        center = np.array([foot[0], foot[1], foot[2] + size[2] / 2])
        half = np.array(size) / 2
        self.parts.append(Solid(shape, center, half, yaw, LABEL[label], what, casts))

    def round(self, label: str, what: Material, foot: Point, radius: float, height: float) -> None:
        """Add a cylinder."""
        self.put(label, what, foot, (2 * radius, 2 * radius, height), "cylinder")

    def ball(self, label: str, what: Material, foot: Point, radius: float) -> None:
        """Add a sphere that touches `foot` from above."""
        self.put(label, what, foot, (2 * radius,) * 3, "sphere")

    def wood(self) -> Material:
        """Draw a wood."""
        return wood(self.rng, self.palette)

    def cloth(self) -> Material:
        """Draw a fabric."""
        return cloth(self.rng, self.palette)

    def paint(self) -> Material:
        """Draw a coloured surface."""
        return paint(self.rng, self.palette)

    def draw(self, low: float, high: float) -> float:
        """Draw a number."""
        return float(self.rng.uniform(low, high))

    def chance(self, p: float) -> bool:
        """Say yes with probability `p`."""
        return bool(self.rng.random() < p)

    def count(self, low: int, high: int) -> int:
        """Draw a number of things, both ends included."""
        return int(self.rng.integers(low, high + 1))


def legs(b: Builder, label: str, what: Material, x: float, y: float, height: float) -> None:
    """Set four legs under a top of half size x × y."""
    thick, is_round = b.draw(0.03, 0.06), b.chance(0.4)
    for sx in (-1, 1):
        for sy in (-1, 1):
            foot = (sx * (x - thick), sy * (y - thick), 0.0)
            b.put(label, what, foot, (thick, thick, height), "cylinder" if is_round else "box")


def things_on(b: Builder, x: float, y: float, z: float, most: int) -> None:
    """Put small things on a top of half size x × y, side by side."""
    count = b.count(0, most)
    for place in np.linspace(-x, x, count + 2)[1:-1]:
        thing(b, float(place), b.draw(-0.5, 0.5) * y, z)


def thing(b: Builder, x: float, y: float, z: float, tallest: float = 0.5) -> None:
    """Put one small thing at (x, y) on a top at height z, with room for `tallest` metres."""
    size, what = min(b.draw(0.045, 0.1), tallest / 4), b.paint()
    kinds = ["ball", "vase", "books", "box", "flowers", "lamp"]
    kind = pick(b.rng, kinds if tallest > 0.45 else kinds[:4])
    if kind == "ball":
        b.ball("ball", what, (x, y, z), size)
    elif kind == "books":
        for layer in range(b.count(1, 4)):
            wide, turn = b.draw(0.15, 0.24), b.draw(-0.5, 0.5)
            b.put("book", b.paint(), (x, y, z + 0.03 * layer), (wide, wide * 0.72, 0.03), yaw=turn)
    elif kind == "box":
        b.put("box", what, (x, y, z), (2 * size, 1.4 * size, 1.6 * size), yaw=b.draw(-0.8, 0.8))
    elif kind == "lamp":
        table_lamp(b, x, y, z)
    else:
        tall = size * b.draw(1.5, 3)
        b.round("vase", what, (x, y, z), size * 0.7, tall)
        if kind == "flowers":
            for _ in range(b.count(2, 4)):
                dx, dy = b.rng.normal(0, size * 0.6, 2)
                foot = (x + dx, y + dy, z + tall)
                b.ball("plant", leaf_material(b), foot, size * b.draw(0.5, 0.9))


def table_lamp(b: Builder, x: float, y: float, z: float) -> None:
    """Put a table lamp on a top."""
    b.round("lamp", b.paint(), (x, y, z), 0.06, 0.02)
    b.round("lamp", metal(b.rng), (x, y, z), 0.012, 0.3)
    lamp_shade(b, (x, y, z + 0.24), 0.11, 0.16)


def lamp_shade(b: Builder, foot: Point, radius: float, height: float) -> None:
    """Add a lamp's shade, lit or not."""
    size = (2 * radius, 2 * radius, height)
    if b.chance(0.5):
        what = glow(tint(0.09, b.draw(0.05, 0.4), 1.0), b.draw(1.0, 2.2))
        b.put("lamp", what, foot, size, "cylinder", casts=False)
    else:
        b.put("lamp", b.cloth(), foot, size, "cylinder")


def leaf_material(b: Builder) -> Material:
    """Draw leaves, or now and then flowers."""
    if b.chance(0.25):
        return b.paint()
    color = tint(b.draw(0.2, 0.38), b.draw(0.3, 0.7), b.draw(0.4, 0.75))
    return Material(color, color * 0.5, "noise", 0.04, 0.1, b.count(0, 1 << 20))
