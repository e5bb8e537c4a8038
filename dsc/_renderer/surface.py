"""What rays hit: normals, colours and labels of the solids, the room and what lies outside."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._renderer.solids import LABEL, Opening, Scene, Solid
from dsc._renderer.texture import albedo, value_noise
from dsc._renderer.trace import (
    ROOM,
    Camera,
    Float,
    Index,
    dot,
    room_normals,
    solid_normals,
)


@dataclass
class Surfaces:
    """What rays hit: all arrays are (N,) or (3, N).

    Attributes
    ----------
    face
        Number that differs between any two faces.
    radiance
        Light that the surface sends out by itself.
    """

    points: Float
    normal: Float
    color: Float
    radiance: Float
    gloss: Float
    label: NDArray[np.uint8]
    face: Index
    hole: NDArray[np.bool_]


def surfaces(
    scene: Scene, camera: Camera, rays: Float, depth: Float, owner: Index, pixel: float
) -> Surfaces:
    """Describe the surfaces that primary rays hit; `pixel` is a pixel's width at 1 m depth."""
    count = len(depth)
    found = Surfaces(
        points=camera.eye.astype(np.float32)[:, None] + rays * depth,
        normal=np.zeros((3, count), np.float32),
        color=np.zeros((3, count), np.float32),
        radiance=np.zeros((3, count), np.float32),
        gloss=np.zeros(count, np.float32),
        label=np.zeros(count, np.uint8),
        face=np.zeros(count, np.int32),
        hole=np.zeros(count, bool),
    )
    order = np.argsort(owner.astype(np.int16), kind="stable")
    starts = np.flatnonzero(np.diff(owner[order], prepend=-9))
    solids = scene.solids
    for at in np.split(order, starts[1:]):
        number = int(owner[at[0]])
        if number == ROOM:
            _room(scene, camera, rays, depth, at, pixel, found)
        else:
            _solid(solids[number], number, camera, rays, depth, at, pixel, found)
    return found


def _solid(
    solid: Solid, number: int, camera: Camera, rays: Float, depth: Float, at: NDArray[np.intp],
    pixel: float, found: Surfaces,
) -> None:  # fmt: skip
    normal, face, local = solid_normals(solid, camera.eye, rays[:, at], depth[at])
    what = solid.material
    color = albedo(what, *_coordinates(solid, face, local), _width(depth, rays, normal, at, pixel)
                   / (solid.half[2] if what.pattern == "painting" else 1))  # fmt: skip
    found.normal[:, at], found.face[at] = normal, 8 * number + 8 + face
    if what.emission:
        # a lamp's shade is brightest where it is seen face on
        found.radiance[:, at] = color * np.float32(what.emission)
    else:
        found.color[:, at] = color
    found.gloss[at], found.label[at] = what.gloss, solid.label


def _coordinates(solid: Solid, face: Index, local: Float) -> tuple[Float, Float]:
    """Return texture coordinates, the second along the longer side, as wood's grain runs."""
    x, y, z = local
    hx, hy, hz = solid.half.astype(np.float32)
    if solid.material.pattern == "painting":
        return np.where(face == 0, y / hy, x / hx).astype(np.float32), z / hz
    if solid.shape != "box":
        around = np.arctan2(y, x) * hx
        return np.where(face == 2, x, around).astype(np.float32), np.where(face == 2, y, z)
    u, v = np.where(face == 0, y, x), np.where(face == 2, y, z)
    extent_u, extent_v = np.where(face == 0, hy, hx), np.where(face == 2, hy, hz)
    flip = extent_u > extent_v
    return np.where(flip, v, u), np.where(flip, u, v)


def _width(depth: Float, rays: Float, normal: Float, at: NDArray[np.intp], pixel: float) -> Float:
    """Return a pixel's width on the surface.

    Along the slope it is longer, which is half counted.
    """
    slope = np.maximum(-dot(rays[:, at], normal), 0.08)
    return np.asarray(np.float32(pixel) * depth[at] / np.sqrt(slope), np.float32)


def _room(
    scene: Scene, camera: Camera, rays: Float, depth: Float, at: NDArray[np.intp], pixel: float,
    found: Surfaces,
) -> None:  # fmt: skip
    normal, side = room_normals(scene, camera.eye, rays[:, at])
    points = found.points[:, at]
    found.normal[:, at], found.face[at] = normal, side
    width = _width(depth, rays, normal, at, pixel)
    for number in range(6):
        on = np.flatnonzero(side == number)
        if not len(on):
            continue
        what = scene.surfaces[number]
        u, v = _plane(points[:, on], number)
        found.color[:, at[on]] = albedo(what, u, v, width[on])
        found.gloss[at[on]] = what.gloss
        found.label[at[on]] = LABEL[("wall", "wall", "wall", "wall", "floor", "ceiling")[number]]
    for opening in scene.openings:
        on = at[in_opening(opening, points, side)]
        _open(scene, opening, rays[:, on], on, found)


def _plane(points: Float, side: int) -> tuple[Float, Float]:
    first, second = ((1, 2), (0, 2), (0, 1))[side // 2]
    return points[first], points[second]


def in_opening(opening: Opening, points: Float, side: Index) -> NDArray[np.bool_]:
    """Mark the points (3, N) on the sides (N,) of the room that lie in an opening."""
    u, v = _plane(points, opening.wall)
    inside = (u > opening.low[0]) & (u < opening.high[0])
    inside &= (v > opening.low[1]) & (v < opening.high[1]) & (side == opening.wall)
    return np.asarray(inside)


def _open(
    scene: Scene, opening: Opening, rays: Float, on: NDArray[np.intp], found: Surfaces
) -> None:
    found.label[on], found.hole[on] = opening.label, opening.is_hole
    found.face[on] = -1 - opening.wall
    found.color[:, on], found.gloss[on] = 0.01, 0.1
    if opening.label == LABEL["window"]:
        found.radiance[:, on] = _outdoors(rays, scene.outside, scene.is_night)
    else:
        up = np.clip(0.5 + rays[2] / np.sqrt(dot(rays, rays)), 0.1, 1)
        hall = scene.surfaces[opening.wall].color.astype(np.float32)
        found.radiance[:, on] = hall[:, None] * (0.25 + 0.35 * up)


def _outdoors(rays: Float, seed: int, is_night: bool) -> Float:
    """Paint sky, clouds, trees or houses, and ground, by direction."""
    flat = np.hypot(rays[0], rays[1])
    up, around = rays[2] / flat, np.arctan2(rays[1], rays[0]).astype(np.float32)
    width = np.full_like(up, 0.01)
    clouds = np.clip(value_noise(around * 3, up * 9, width * 9, seed, 5) * 3 - 1.1, 0, 1)
    blue = np.array([0.45, 0.72, 1.2], np.float32)[:, None] * (1.5 - 0.6 * np.clip(up, 0, 1))
    sky = blue + (np.float32(1.5) - blue) * clouds
    ragged = 0.5 * value_noise(around * 5, np.zeros_like(up), width * 5, seed + 3, 6) - 0.1
    leaves = value_noise(around * 14, up * 14, width * 14, seed + 5, 4)
    green = np.array([0.10, 0.17, 0.05], np.float32)[:, None] * (6 * leaves**3)
    grass = np.array([0.30, 0.34, 0.18], np.float32)[:, None] * (0.8 + 0.4 * leaves)
    scene = np.where(up > ragged - 0.05, sky, np.where(up > -0.12, green, grass))
    return np.asarray(scene * np.float32(0.02 if is_night else 1.3), np.float32)
