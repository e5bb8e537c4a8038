"""What a procedural scene is made of: solids, openings, lights, and the materials on them.

Lengths are metres and z points up; the room is [0, w] × [0, d] × [0, h]. Colours are linear light.
Nothing here knows of image sizes: a scene can be rendered at any.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Vector = NDArray[np.float64]
Rng = np.random.Generator
Shape = Literal["box", "sphere", "cylinder"]

SEMANTIC_CLASSES = (
    "void", "wall", "floor", "ceiling", "table", "chair", "sofa", "bed", "shelf", "cabinet",
    "lamp", "ball", "box", "picture", "window", "door", "vase", "book", "plant", "rug",
)  # fmt: skip
SCENE_CLASSES = (
    "living_room", "bedroom", "kitchen", "office", "dining_room", "bathroom", "corridor", "storage",
)  # fmt: skip
LABEL = {name: number for number, name in enumerate(SEMANTIC_CLASSES)}

_WOODS = (
    (0.72, 0.53, 0.34), (0.80, 0.64, 0.45), (0.45, 0.30, 0.19), (0.56, 0.31, 0.19),
    (0.24, 0.18, 0.15), (0.90, 0.89, 0.86), (0.58, 0.54, 0.49), (0.85, 0.70, 0.48),
)  # fmt: skip
_CLOTH = ("fabric", "fabric", "fabric", "carpet", "plain", "stripes", "checker", "zigzag", "dots")


@dataclass(frozen=True)
class Material:
    """A surface: two colours, the pattern between them and its period, gloss, glow.

    Attributes
    ----------
    period_m
        Size of the pattern's main feature.
    gloss
        Strength of the highlights, 0 to 1.
    seed
        Chooses among a pattern's variants.
    emission
        Radiance that the surface sends out by itself, as a multiple of its colour.
    """

    color: Vector
    second: Vector
    pattern: str = "plain"
    period_m: float = 1.0
    gloss: float = 0.0
    seed: int = 0
    emission: float = 0.0


@dataclass(frozen=True)
class Solid:
    """A box, sphere or upright cylinder.

    Attributes
    ----------
    half
        Half sizes of a box; (r, r, r) of a sphere; (r, r, half height) of a cylinder.
    yaw
        Turn about the vertical, radians.
    casts
        Whether it throws shadows; what glows or clings to a wall does not.
    """

    shape: Shape
    center: Vector
    half: Vector
    yaw: float
    label: int
    material: Material
    casts: bool = True

    def moved(self, x: float, y: float, yaw: float) -> "Solid":
        """Turn about the origin's vertical by `yaw`, then move by (x, y)."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        a, b, z = self.center
        center = np.array([cos * a - sin * b + x, sin * a + cos * b + y, z])
        turn, half = self.yaw + yaw, self.half
        quarters = round(turn / (np.pi / 2))
        if abs(turn - quarters * np.pi / 2) < 1e-9:
            # an upright box along the walls needs no turning of rays
            turn, half = 0.0, half[[1, 0, 2]] if quarters % 2 else half
        return replace(self, center=center, half=half, yaw=float(turn))


@dataclass(frozen=True)
class Opening:
    """A rectangle of a wall that is no wall: window glass, or a hole through which rays leave.

    Attributes
    ----------
    wall
        Side of the room: 0 is x = 0, 1 is x = w, 2 is y = 0, 3 is y = d.
    low, high
        Corners: metres along the wall, then up.
    """

    wall: int
    low: tuple[float, float]
    high: tuple[float, float]
    label: int
    is_hole: bool


@dataclass(frozen=True)
class Light:
    """A small parallelogram of light.

    Attributes
    ----------
    spread
        Half edges (2, 3) of the parallelogram about `position`.
    power
        Colour (3,) times power.
    facing
        Direction into which it shines with a cosine, zeros for all directions alike.
    """

    position: Vector
    spread: Vector
    power: Vector
    facing: Vector = field(default_factory=lambda: np.zeros(3))


@dataclass
class Scene:
    """Everything that is rendered, but for the camera.

    Attributes
    ----------
    room
        Width, depth and height (3,).
    surfaces
        Materials of x = 0, x = w, y = 0, y = d, floor, ceiling.
    pieces
        Solids by piece of furniture; each piece is bounded as a whole when rays are traced.
    sun
        Direction towards the sun (3,), or None; it shines through windows.
    """

    room: Vector
    kind: int
    surfaces: tuple[Material, ...]
    pieces: list[list[Solid]] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    sun: Vector | None = None
    outside: int = 0  # seed of what is seen through the windows
    is_night: bool = False

    @property
    def solids(self) -> list[Solid]:
        """All solids, in the order in which a pixel's owner counts them."""
        return [solid for piece in self.pieces for solid in piece]


@dataclass(frozen=True)
class Palette:
    """Colours that the things of one room share, linear light."""

    wood: Vector
    accents: Vector  # (n, 3)


def pick(rng: Rng, options: Sequence[T]) -> T:
    """Draw one of some options, as `numpy.random.Generator.choice` does.

    That one makes an array of a list first, in which NumPy can lose a Ctrl-C.
    """
    return options[int(rng.integers(len(options)))]


def tint(hue: float, saturation: float, value: float) -> Vector:
    """Return the linear colour of an HSV colour, each from 0 to 1."""
    sector = (np.array([5.0, 3.0, 1.0]) + hue * 6) % 6
    encoded = value * (1 - saturation * np.clip(np.minimum(sector, 4 - sector), 0, 1))
    return np.asarray(encoded**2.2)


def draw_palette(rng: Rng) -> Palette:
    """Draw a room's colours: mostly subdued, now and then loud."""
    loud = rng.random() < 0.12
    first = rng.random()
    hues = [first, first + rng.normal(0, 0.06), first + pick(rng, [0.33, 0.5, 0.67]), rng.random()]
    accents = []
    for hue in hues:
        saturation = rng.uniform(0.5, 0.9) if loud else 0.9 * rng.beta(1.6, 3)
        accents.append(tint(hue % 1, saturation, rng.uniform(0.3, 0.92)))
    accents.append(tint(first % 1, 0.03, rng.uniform(0.12, 0.95)))
    wood = np.array(_WOODS[int(rng.integers(len(_WOODS)))]) ** 2.2
    return Palette(wood * rng.uniform(0.8, 1.1), np.array(accents))


def wood(rng: Rng, palette: Palette) -> Material:
    """Draw a wood near the room's own, sometimes painted."""
    base = palette.wood
    if rng.random() < 0.2:
        base = np.array(_WOODS[int(rng.integers(len(_WOODS)))]) ** 2.2
    base = (base * rng.uniform(0.8, 1.2)).clip(0.01, 0.85)
    pattern = "plain" if rng.random() < 0.15 else "wood"
    return _material(rng, base, base * rng.uniform(0.35, 0.7), pattern, (0.2, 0.5), 0.5)


def cloth(rng: Rng, palette: Palette) -> Material:
    """Draw a woven or printed fabric."""
    first, other = palette.accents[rng.choice(len(palette.accents), 2, replace=False)]
    second = first * rng.uniform(0.4, 1.5) if rng.random() < 0.5 else other
    pattern = pick(rng, _CLOTH)
    period = (0.015, 0.06) if pattern in ("fabric", "carpet") else (0.04, 0.25)
    return _material(rng, first, second, pattern, period, 0.0)


def paint(rng: Rng, palette: Palette, gloss: float = 0.6) -> Material:
    """Draw a coloured, mostly plain surface: ceramics, boxes, books, lacquer."""
    first, other = palette.accents[rng.choice(len(palette.accents), 2, replace=False)]
    if rng.random() < 0.3:
        first = tint(rng.random(), rng.beta(2, 2), rng.uniform(0.3, 0.9))
    pattern = pick(rng, ["plain", "plain", "plain", "noise", "stripes", "marble", "dots"])
    return _material(rng, first, other, pattern, (0.04, 0.2), gloss)


def metal(rng: Rng) -> Material:
    """Draw a gray or brass surface with strong highlights."""
    color = np.array([1.0, 1.0, 1.0]) if rng.random() < 0.7 else np.array([1.0, 0.78, 0.4])
    color = color * rng.uniform(0.04, 0.5)
    return Material(color, color, gloss=0.9)


def glow(color: Vector, strength: float) -> Material:
    """Make a lamp's shade."""
    return Material(color, color, emission=strength)


def _material(
    rng: Rng, first: Vector, second: Vector, pattern: str, period: tuple[float, float], gloss: float
) -> Material:
    return Material(
        first.clip(0.008, 0.88),
        second.clip(0.008, 0.88),
        pattern,
        float(rng.uniform(*period)),
        gloss * float(rng.random()),
        int(rng.integers(1 << 30)),
    )
