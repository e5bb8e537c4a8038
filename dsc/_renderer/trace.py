"""Where rays meet a scene: exact intersections with the room and its solids, and their normals.

Points and directions are arrays (3, N), one contiguous row a coordinate. A primary ray's component
along the camera's axis is 1, so that its parameter t is z-depth in metres.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._renderer.solids import Scene, Solid, Vector

Float = NDArray[
    np.floating[Any]
]  # float32 at run time; numpy's types lose it beside a Python float
Index = NDArray[np.int32]
ROOM = -1  # owner of what no solid owns
NEAR_M = 0.05
_CHUNK = 8192  # shadow rays at once: their arrays stay in the cache, and far pieces drop out
_TINY = np.float32(1e-12)  # added to directions, so that none is exactly zero
_SIGNS = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
_EDGES = np.array([(i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit])


@dataclass(frozen=True)
class Camera:
    """A pinhole: rows of `axes` are right, down, forward; `tangent` is that of half its view."""

    eye: Vector
    axes: Vector
    tangent: float

    def rays(self, x: Float, y: Float) -> Float:
        """Return directions (3, N) through screen points, each from -1 to 1, y down."""
        right, down, forward = self.axes.astype(np.float32)
        a, b = x * np.float32(self.tangent), y * np.float32(self.tangent)
        return np.stack([right[k] * a + down[k] * b + forward[k] for k in range(3)])


def trace(scene: Scene, camera: Camera, x: Float, y: Float, rays: Float) -> tuple[Float, Index]:
    """Find what the camera sees.

    Parameters
    ----------
    x, y
        Screen points (N,) of the rays, from -1 to 1.
    rays
        Their directions (3, N), from `Camera.rays`.

    Returns
    -------
    depth
        float32 (N,), metres along the camera's axis.
    owner
        int32 (N,), number of the solid, or `ROOM`.
    """
    eye = camera.eye.astype(np.float32)
    depth = _room_exits(scene, eye, rays).min(axis=0)
    owner = np.full(len(depth), ROOM, np.int32)
    all_bounds = _screen_bounds(scene.solids, camera)
    first = 0
    for piece in scene.pieces:
        bounds = all_bounds[first : first + len(piece)]
        low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
        near = np.flatnonzero((x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1]))
        for number, (solid, (x0, y0, x1, y1)) in enumerate(
            zip(piece, bounds, strict=True) if len(near) else (), first
        ):
            px, py = x[near], y[near]
            at = near[(px >= x0) & (px <= x1) & (py >= y0) & (py <= y1)]
            if len(at):
                t = intersect(solid, eye[:, None], rays.take(at, axis=1))
                closer = (t > NEAR_M) & (t < depth[at])
                at = at[closer]
                depth[at], owner[at] = t[closer], number
        first += len(piece)
    return depth, owner


def first_hit(scene: Scene, start: Float, toward: Float, stop: bool) -> Float:
    """Return the part of each segment (0 to 1] that is free of solids that cast shadows.

    With `stop`, any hit will do: the answer is 1 or just less than 1.
    """
    casting = [[solid for solid in piece if solid.casts] for piece in scene.pieces]
    casting = [solids for solids in casting if solids]
    spheres = [_sphere_around(solids) for solids in casting]
    free = np.ones(start.shape[1], np.float32)
    for begin in range(0, len(free), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        free[part] = _first_hit(casting, spheres, start[:, part], toward[:, part], stop)
    return free


def _first_hit(
    casting: list[list[Solid]], spheres: list[tuple[Float, float]], start: Float, toward: Float,
    stop: bool,
) -> Float:  # fmt: skip
    free = np.ones(start.shape[1], np.float32)
    squared = dot(toward, toward)
    end = start + toward
    low = np.minimum(start.min(axis=1), end.min(axis=1))
    high = np.maximum(start.max(axis=1), end.max(axis=1))
    for solids, (center, radius) in zip(casting, spheres, strict=True):
        outside = np.maximum(np.maximum(low - center, center - high), 0)
        if float(outside @ outside) > radius * radius:
            continue
        offset = center[:, None] - start
        along = dot(offset, toward)
        along /= squared
        np.clip(along, 0, 1, out=along)
        offset -= along * toward
        at = np.flatnonzero(dot(offset, offset) < np.float32(radius * radius))
        for solid in solids:
            if stop:
                at = at[free[at] == 1]
            if not len(at):
                break
            t = intersect(solid, start.take(at, axis=1), toward.take(at, axis=1))
            hit = (t > 0) & (t < free[at])
            free[at[hit]] = t[hit]
    return free


def dot(a: Float, b: Float) -> Float:
    """Multiply vectors (3, N) into (N,)."""
    total: Float = a[0] * b[0]
    total += a[1] * b[1]
    total += a[2] * b[2]
    return total


def intersect(solid: Solid, origin: Float, rays: Float) -> Float:
    """Return where each ray enters the solid (N,).

    Infinity where it misses, negative from inside.
    """
    o, d = _localize(solid, origin - solid.center.astype(np.float32)[:, None], rays)
    half = [np.float32(h) for h in solid.half]
    if solid.shape == "sphere":
        enter, leave = _quadratic(dot(d, d), dot(o, d), dot(o, o) - half[0] * half[0])
    else:
        enter, leave = _slab(o[2], d[2], half[2])
        if solid.shape == "box":
            sides = [_slab(o[k], d[k], half[k]) for k in (0, 1)]
        else:
            sides = [_round_side(o, d, half[0])]
        for low, high in sides:
            np.maximum(enter, low, out=enter)
            np.minimum(leave, high, out=leave)
    enter[enter >= leave] = np.inf
    return enter


def solid_normals(
    solid: Solid, eye: Vector, rays: Float, depth: Float
) -> tuple[Float, Index, Float]:
    """Say where on a solid primary rays arrive.

    Returns
    -------
    normals
        float32 (3, N), in the world.
    face
        int32 (N,): axis of a box's face; 0 is a round side, 2 an end of a cylinder.
    local
        float32 (3, N), the point in the solid's own frame.
    """
    origin = (eye - solid.center).astype(np.float32)[:, None]
    o, d = _localize(solid, origin, rays)
    local = o + d * depth
    normals = np.zeros_like(local)
    face = np.zeros(len(depth), np.int32)
    if solid.shape == "sphere":
        normals = local / np.sqrt(dot(local, local))
    else:
        half = [np.float32(h) for h in solid.half]
        count = 3 if solid.shape == "box" else 2
        sides = [_slab(o[k], d[k], half[k])[0] for k in ((0, 1, 2) if count == 3 else (2,))]
        if count == 2:
            sides.insert(0, _round_side(o, d, half[0])[0])
        # the face is the one that is entered last, so that its normal always faces the eye
        face = np.argmax(np.stack(sides), axis=0).astype(np.int32)
        if count == 2:
            face *= 2
            normals[:2] = np.where(face == 0, local[:2] / np.hypot(local[0], local[1]), 0)
        for axis in (0, 1, 2) if count == 3 else (2,):
            normals[axis][face == axis] = -np.sign(d[axis][face == axis])
    if solid.yaw:
        cos, sin = np.float32(np.cos(solid.yaw)), np.float32(np.sin(solid.yaw))
        nx, ny = normals[0], normals[1]
        normals = np.stack([cos * nx - sin * ny, sin * nx + cos * ny, normals[2]])
    return normals, face, local


def room_normals(scene: Scene, eye: Vector, rays: Float) -> tuple[Float, Index]:
    """Return normals (3, N) of the room and the side, 0 to 5: x = 0, x = w, y = 0 and so on."""
    axis = _room_exits(scene, eye.astype(np.float32), rays).argmin(axis=0)
    columns = np.arange(rays.shape[1])
    ahead = rays[axis, columns] > 0
    normals = np.zeros_like(rays)
    normals[axis, columns] = np.where(ahead, np.float32(-1), np.float32(1))
    return normals, (2 * axis + ahead).astype(np.int32)


def _room_exits(scene: Scene, eye: Float, rays: Float) -> Float:
    exits = np.empty_like(rays)
    for k in range(3):
        inverse = 1 / (rays[k] + _TINY)
        np.maximum(-eye[k] * inverse, (np.float32(scene.room[k]) - eye[k]) * inverse, out=exits[k])
    return exits


def _screen_bounds(solids: list[Solid], camera: Camera) -> Vector:
    """Bound solids on the screen (S, 4): x0, y0, x1, y1; an empty box where one lies behind."""
    if not solids:
        return np.zeros((0, 4))
    half = np.stack([solid.half for solid in solids])
    yaw = np.array([[solid.yaw] for solid in solids])
    local = _SIGNS * half[:, None]
    cos, sin = np.cos(yaw), np.sin(yaw)
    corners = np.stack(
        [cos * local[..., 0] - sin * local[..., 1], sin * local[..., 0] + cos * local[..., 1],
         local[..., 2]], axis=-1,
    )  # fmt: skip
    center = np.stack([solid.center for solid in solids])
    seen = (corners + (center - camera.eye)[:, None]) @ camera.axes.T
    # a box through the plane of the eye is cut there: its cut edges take the place of its corners
    a, b = seen[:, _EDGES[:, 0]], seen[:, _EDGES[:, 1]]
    cut = (a[..., 2] > NEAR_M) != (b[..., 2] > NEAR_M)
    rise = np.where(cut, b[..., 2] - a[..., 2], 1.0)
    crossing = a + (b - a) * ((NEAR_M - a[..., 2]) / rise)[..., None]
    points = np.concatenate([seen, crossing], axis=1)
    counts = np.concatenate([seen[..., 2] > NEAR_M, cut], axis=1)
    ahead = np.where(counts, points[..., 2], 1.0)[..., None]
    flat = points[..., :2] / (ahead * camera.tangent)
    low = np.where(counts[..., None], flat, np.inf).min(axis=1)
    high = np.where(counts[..., None], flat, -np.inf).max(axis=1)
    return np.concatenate([low - 1e-4, high + 1e-4], axis=1)


def _sphere_around(solids: list[Solid]) -> tuple[Float, float]:
    centers = np.stack([solid.center for solid in solids])
    reach = np.array([_reach(solid) for solid in solids])
    center = (centers.min(axis=0) + centers.max(axis=0)) / 2
    radius = (np.linalg.norm(centers - center, axis=1) + reach).max()
    return center.astype(np.float32), float(radius)


def _reach(solid: Solid) -> float:
    if solid.shape == "sphere":
        return float(solid.half[0])
    part = solid.half if solid.shape == "box" else solid.half[1:]
    return float(np.linalg.norm(part))


def _localize(solid: Solid, origin: Float, rays: Float) -> tuple[Float, Float]:
    if not solid.yaw:
        return origin, rays
    cos, sin = np.float32(np.cos(solid.yaw)), np.float32(np.sin(solid.yaw))
    turned = [np.stack([cos * a[0] + sin * a[1], cos * a[1] - sin * a[0], a[2]])
              for a in (origin, rays)]  # fmt: skip
    return turned[0], turned[1]


def _slab(origin: Float, direction: Float, half: np.float32) -> tuple[Float, Float]:
    inverse = 1 / (direction + _TINY)
    middle, reach = -origin * inverse, half * np.abs(inverse)
    return middle - reach, middle + reach


def _round_side(o: Float, d: Float, radius: np.float32) -> tuple[Float, Float]:
    return _quadratic(
        d[0] * d[0] + d[1] * d[1], o[0] * d[0] + o[1] * d[1],
        o[0] * o[0] + o[1] * o[1] - radius * radius,
    )  # fmt: skip


def _quadratic(a: Float, b: Float, c: Float) -> tuple[Float, Float]:
    inverse = 1 / np.maximum(a, np.float32(1e-9))
    inside = b * b - a * c
    root = np.sqrt(np.maximum(inside, 0)) * inverse
    middle = -b * inverse
    enter = middle - root
    enter[inside < 0] = np.inf
    return enter, middle + root
