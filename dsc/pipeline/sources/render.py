"""Renders procedural indoor views with exact depth, normals and labels, in Taskonomy's encodings.

Every task comes from the same ray-surface intersections, so the geometry is exact; only RGB gets
light, shadow, lens blur and sensor noise. A view is a function of (seed, index, size); the scene
is a function of (seed, index) alone.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc.pipeline.sources.render_scene import (
    LABEL,
    SCENE_CLASSES,
    SEMANTIC_CLASSES,
    Material,
    Scene,
    Solid,
    make_scene,
)
from dsc.pipeline.sources.render_texture import albedo, value_noise

__all__ = ["SCENE_CLASSES", "SEMANTIC_CLASSES", "render_view"]

Float = NDArray[np.float32]
DEPTH_MISSING = 65535
DEPTH_UNIT_M = 1 / 512
_NEAR_M = 0.05
_ROOM, _HOLE = -1, -2  # owners of a pixel that are no solid
_SIDES = ((0, 0.0), (0, 1.0), (1, 0.0), (1, 1.0), (2, 0.0), (2, 1.0))  # axis and end of each face


def render_view(index: int, size: int = 256, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Render one view.

    Parameters
    ----------
    index
        Number of the view; every index is another scene.
    size
        Height and width in pixels.
    seed
        Number of the whole set.

    Returns
    -------
    dict
        ``rgb`` uint8 (H, W, 3); ``depth_zbuffer`` uint16 (H, W), 1/512 m a count, 65535 where a
        ray leaves through an opening; ``normal`` uint8 (H, W, 3), camera space (x right, y up,
        z towards the viewer), n = (v - 127.5) / 127.5, (127, 127, 127) where there is none;
        ``segment_semantic`` uint8 (H, W), see `SEMANTIC_CLASSES`; ``class_scene`` float32 (8,),
        probabilities over `SCENE_CLASSES`.
    """
    scene = make_scene(np.random.Generator(np.random.PCG64([seed, index])))
    rays = _rays(scene, size)
    depth, owner = _trace(scene, rays)
    points = scene.eye.astype(np.float32) + rays * depth[..., None]
    normal, label, color, gloss = _surfaces(scene, points, owner)
    rng = np.random.Generator(np.random.PCG64([seed, index, size]))
    rgb = _shade(scene, rays, points, normal, color, gloss, label, owner == _HOLE)
    missing = (owner == _HOLE) | (depth * 512 > DEPTH_MISSING - 1)
    encoded = np.rint(depth * 512).clip(1, DEPTH_MISSING - 1).astype(np.uint16)
    encoded[missing] = DEPTH_MISSING
    label[missing] = 0
    return {
        "rgb": _sensor(rgb, scene, rng),
        "depth_zbuffer": encoded,
        "normal": _encode_normal(scene, normal, missing),
        "segment_semantic": label,
        "class_scene": _scene_vector(scene.kind, rng),
    }


def _rays(scene: Scene, size: int) -> Float:
    """Give directions (H, W, 3) whose component along the camera's axis is 1: t is z-depth."""
    grid = ((np.arange(size) + 0.5) / size * 2 - 1) * scene.tangent
    right, down, forward = scene.axes
    rays = forward + grid[None, :, None] * right + grid[:, None, None] * down
    found: Float = rays.astype(np.float32)
    return found


def _trace(scene: Scene, rays: Float) -> tuple[Float, NDArray[np.int32]]:
    """Find the nearest surface: depth (H, W) and what owns it (a solid's number or the room)."""
    size = rays.shape[0]
    eye = scene.eye.astype(np.float32)
    with np.errstate(divide="ignore"):
        inverse = 1 / np.where(np.abs(rays) < 1e-7, np.float32(1e-7), rays)
    room = scene.room.astype(np.float32)
    depth = np.maximum((0 - eye) * inverse, (room - eye) * inverse).min(axis=-1)
    owner = np.full(depth.shape, _ROOM, np.int32)
    for number, solid in enumerate(scene.solids):
        y0, y1, x0, x1 = _screen_box(scene, solid, size)
        if y0 >= y1 or x0 >= x1:
            continue
        window = (slice(y0, y1), slice(x0, x1))
        t = _intersect(solid, scene.eye.astype(np.float32), rays[window])
        nearer = (t > _NEAR_M) & (t < depth[window])
        depth[window][nearer] = t[nearer]
        owner[window][nearer] = number
    _cut_holes(scene, rays, depth, owner)
    return depth, owner


def _screen_box(scene: Scene, solid: Solid, size: int) -> tuple[int, int, int, int]:
    """Bound a solid on the screen: rows and columns y0, y1, x0, x1."""
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    local = signs * solid.half
    cos, sin = np.cos(solid.yaw), np.sin(solid.yaw)
    corners = np.stack(
        [cos * local[:, 0] - sin * local[:, 1], sin * local[:, 0] + cos * local[:, 1], local[:, 2]],
        axis=1,
    )
    right, down, forward = ((corners + solid.center - scene.eye) @ scene.axes.T).T
    if forward.max() <= _NEAR_M:
        return 0, 0, 0, 0
    if forward.min() <= _NEAR_M:
        return 0, size, 0, size
    x = (right / forward / scene.tangent + 1) / 2 * size
    y = (down / forward / scene.tangent + 1) / 2 * size
    bounds = [y.min() - 1, y.max() + 2, x.min() - 1, x.max() + 2]
    y0, y1, x0, x1 = (int(np.clip(b, 0, size)) for b in bounds)
    return y0, y1, x0, x1


def _to_local(solid: Solid, vectors: Float) -> tuple[Float, Float, Float]:
    cos, sin = np.float32(np.cos(solid.yaw)), np.float32(np.sin(solid.yaw))
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return cos * x + sin * y, cos * y - sin * x, z


def _intersect(solid: Solid, origin: Float, rays: Float) -> Float:
    """Give the distance t along each ray to the solid's front, infinity where it misses."""
    ox, oy, oz = _to_local(solid, (origin - solid.center.astype(np.float32)).astype(np.float32))
    dx, dy, dz = _to_local(solid, rays)
    hx, hy, hz = solid.half.astype(np.float32)
    if solid.shape == "sphere":
        enter, leave = _quadratic(
            dx * dx + dy * dy + dz * dz,
            ox * dx + oy * dy + oz * dz,
            ox * ox + oy * oy + oz * oz - hx * hx,
        )
    else:
        enter, leave = _slab(oz, dz, hz)
        if solid.shape == "box":
            sides = [_slab(ox, dx, hx), _slab(oy, dy, hy)]
        else:
            flat = (dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy - hx * hx)
            sides = [_quadratic(*flat)]
        for low, high in sides:
            enter, leave = np.maximum(enter, low), np.minimum(leave, high)
    return np.where((enter < leave) & (leave > 0), enter, np.float32(np.inf))


def _slab(origin: Float, direction: Float, half: Float) -> tuple[Float, Float]:
    inverse = 1 / np.where(np.abs(direction) < 1e-7, np.float32(1e-7), direction)
    center, reach = -origin * inverse, half * np.abs(inverse)
    return center - reach, center + reach


def _quadratic(a: Float, b: Float, c: Float) -> tuple[Float, Float]:
    a = np.maximum(a, np.float32(1e-9))
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    missed = b * b < a * c
    return np.where(missed, np.float32(np.inf), (-b - root) / a), (-b + root) / a


def _wall_coordinates(scene: Scene, points: Float, wall: int) -> tuple[Float, Float]:
    return (points[..., 1], points[..., 2]) if wall < 2 else (points[..., 0], points[..., 2])


def _on_wall(scene: Scene, points: Float, wall: int) -> NDArray[np.bool_]:
    axis, end = wall // 2, (wall % 2) * scene.room[wall // 2]
    found: NDArray[np.bool_] = np.abs(points[..., axis] - end) < 1e-3
    return found


def _in_panel(
    scene: Scene, points: Float, wall: int, low: tuple[float, float], high: tuple[float, float]
) -> NDArray[np.bool_]:
    u, v = _wall_coordinates(scene, points, wall)
    inside = (u > low[0]) & (u < high[0]) & (v > low[1]) & (v < high[1])
    return inside & _on_wall(scene, points, wall)


def _cut_holes(scene: Scene, rays: Float, depth: Float, owner: NDArray[np.int32]) -> None:
    holes = [panel for panel in scene.panels if panel.hole]
    if holes:
        points = scene.eye.astype(np.float32) + rays * depth[..., None]
        for panel in holes:
            inside = _in_panel(scene, points, panel.wall, panel.low, panel.high)
            owner[inside & (owner == _ROOM)] = _HOLE


def _surfaces(
    scene: Scene, points: Float, owner: NDArray[np.int32]
) -> tuple[Float, NDArray[np.uint8], Float, Float]:
    """Give world normals (H, W, 3), labels, colours (H, W, 3) and gloss (H, W)."""
    shape = owner.shape
    flat, owners = points.reshape(-1, 3), owner.ravel()
    normal, color = np.zeros_like(flat), np.zeros_like(flat)
    label, gloss = np.zeros(len(flat), np.uint8), np.zeros(len(flat), np.float32)
    order = np.argsort(owners, kind="stable")
    numbers, starts = np.unique(owners[order], return_index=True)
    for number, at in zip(numbers, np.split(order, starts[1:]), strict=True):
        if number >= 0:
            solid = scene.solids[number]
            normal[at], u, v = _solid_surface(solid, flat[at])
            label[at], gloss[at] = solid.label, solid.material.gloss
            color[at] = albedo(solid.material, u, v)
        else:
            _room_surface(scene, flat, at, normal, label, color, gloss)
    return (
        normal.reshape(*shape, 3), label.reshape(shape), color.reshape(*shape, 3),
        gloss.reshape(shape),
    )  # fmt: skip


def _solid_surface(solid: Solid, points: Float) -> tuple[Float, Float, Float]:
    """Give world normals (N, 3) and surface coordinates in metres."""
    x, y, z = _to_local(solid, points - solid.center.astype(np.float32))
    hx, hy, hz = solid.half.astype(np.float32)
    local = np.zeros((len(x), 3), np.float32)
    if solid.shape == "sphere":
        local = np.stack([x, y, z], axis=1) / hx
        u, v = np.arctan2(y, x) * hx, z
    elif solid.shape == "cylinder":
        cap = np.abs(z) / hz > np.hypot(x, y) / hx
        local[:, 2] = np.where(cap, np.sign(z), 0)
        local[:, 0], local[:, 1] = np.where(cap, 0, x / hx), np.where(cap, 0, y / hx)
        u, v = np.where(cap, x, np.arctan2(y, x) * hx), np.where(cap, y, z)
    else:
        ratio = np.stack([np.abs(x) / hx, np.abs(y) / hy, np.abs(z) / hz], axis=1)
        axis = ratio.argmax(axis=1)
        signs = np.sign(np.stack([x, y, z], axis=1))
        local[np.arange(len(x)), axis] = signs[np.arange(len(x)), axis]
        u, v = np.where(axis == 0, y, x), np.where(axis == 2, y, z)
    local /= np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-6)
    cos, sin = np.float32(np.cos(solid.yaw)), np.float32(np.sin(solid.yaw))
    world = np.stack(
        [cos * local[:, 0] - sin * local[:, 1], sin * local[:, 0] + cos * local[:, 1], local[:, 2]],
        axis=1,
    )
    return world, u, v


def _room_surface(
    scene: Scene, flat: Float, at: NDArray[np.intp], normal: Float, label: NDArray[np.uint8],
    color: Float, gloss: Float,
) -> None:  # fmt: skip
    points = flat[at]
    ends = np.stack([np.abs(points[:, axis] - end * scene.room[axis]) for axis, end in _SIDES])
    face = ends.argmin(axis=0)
    for number, (axis, end) in enumerate(_SIDES):
        on = face == number
        if not on.any():
            continue
        here = at[on]
        normal[here, axis] = 1 - 2 * end
        name = ("floor", "ceiling")[int(end)] if axis == 2 else "wall"
        what = scene.surfaces[("wall", "floor", "ceiling").index(name)]
        others = [k for k in range(3) if k != axis]
        label[here], gloss[here] = LABEL[name], what.gloss
        color[here] = albedo(what, points[on, others[0]], points[on, others[1]])
    skirting = (points[:, 2] < 0.08) & (face < 4)
    color[at[skirting]] *= np.float32(0.6)
    for panel in scene.panels:
        inside = _in_panel(scene, points, panel.wall, panel.low, panel.high)
        if inside.any():
            u, v = _wall_coordinates(scene, points[inside], panel.wall)
            label[at[inside]] = panel.label
            color[at[inside]] = _panel_color(
                panel.label, panel.material, u, v, panel.low, panel.high
            )


def _panel_color(
    label: int, what: Material, u: Float, v: Float, low: tuple[float, float],
    high: tuple[float, float],
) -> Float:  # fmt: skip
    color = albedo(what, u, v)
    if label == LABEL["window"]:
        sky = np.array([0.75, 0.88, 1.0], np.float32) * (1.1 + 0.4 * (v - low[1]))[:, None]
        clouds = value_noise(u * 1.5, v * 3, what.seed, 4)[:, None]
        color = sky * (0.75 + 0.5 * clouds)
    edge = np.minimum(np.minimum(u - low[0], high[0] - u), np.minimum(v - low[1], high[1] - v))
    frame = what.second.astype(np.float32) * np.float32(0.6)
    return np.where((edge < 0.04)[:, None], frame, color).astype(np.float32)


def _shade(
    scene: Scene, rays: Float, points: Float, normal: Float, color: Float, gloss: Float,
    label: NDArray[np.uint8], hole: NDArray[np.bool_],
) -> Float:  # fmt: skip
    """Light the surfaces: ambient with dark corners, point lights with soft shadows, gloss."""
    corner = np.ones(label.shape, np.float32)
    for axis in range(3):
        for end in (0.0, scene.room[axis]):
            distance = np.abs(points[..., axis] - np.float32(end))
            on_it = np.abs(normal[..., axis]) > 0.9
            corner *= np.where(on_it, 1, 1 - 0.35 * np.exp(-distance / 0.3)).astype(np.float32)
    light = np.repeat((0.22 * corner)[..., None], 3, axis=2)
    shine = np.zeros_like(light)
    view = -rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    for lamp in scene.lights:
        toward = lamp.position.astype(np.float32) - points
        distance = np.linalg.norm(toward, axis=-1)
        direction = toward / distance[..., None]
        facing = np.maximum((normal * direction).sum(-1), 0)
        strength = _shadow(scene, points, normal, lamp.position) / (0.6 + distance**2)
        power = lamp.power.astype(np.float32)
        light += (facing * strength)[..., None] * power
        half = direction + view
        half /= np.maximum(np.linalg.norm(half, axis=-1, keepdims=True), 1e-6)
        peak = np.maximum((normal * half).sum(-1), 0) ** 40
        shine += (peak * strength * gloss)[..., None] * power
    rgb = color * light + shine
    window = label == LABEL["window"]
    rgb[window] = color[window]
    rgb[hole] = np.array([0.85, 0.92, 1.0], np.float32)
    return rgb


def _shadow(scene: Scene, points: Float, normal: Float, light: NDArray[np.float64]) -> Float:
    """Give how much of a light reaches each point, from half-resolution shadow rays, blurred."""
    start = points[::2, ::2] + np.float32(0.01) * normal[::2, ::2]
    toward = light.astype(np.float32) - start
    blocked = np.zeros(start.shape[:2], bool)
    for solid in scene.solids:
        center = solid.center.astype(np.float32) - start
        along = (center * toward).sum(-1) / (toward * toward).sum(-1)
        closest = center - along.clip(0, 1)[..., None] * toward
        reach = np.float32((solid.half**2).sum() * 1.001)
        near = ((closest * closest).sum(-1) < reach) & ~blocked
        if near.any():
            t = _intersect_from(solid, start[near], toward[near])
            blocked[near] = (t > 0) & (t < 1)
    lit = _blur(1 - blocked.astype(np.float32), np.float32(0.25))
    full = np.repeat(np.repeat(lit, 2, axis=0), 2, axis=1)
    return _blur(full[: points.shape[0], : points.shape[1]], np.float32(0.25))


def _intersect_from(solid: Solid, origins: Float, rays: Float) -> Float:
    """Like `_intersect`, with an origin a ray."""
    moved = Solid(solid.shape, np.zeros(3), solid.half, solid.yaw, solid.label, solid.material)
    return _intersect(moved, origins - solid.center.astype(np.float32), rays)


def _blur(x: Float, side: np.float32) -> Float:
    """Blur with the taps (side, 1 - 2 side, side) along rows and columns."""
    middle = 1 - 2 * side
    padded = np.pad(x, [(1, 1), (0, 0)] + [(0, 0)] * (x.ndim - 2), mode="edge")
    x = side * (padded[:-2] + padded[2:]) + middle * padded[1:-1]
    padded = np.pad(x, [(0, 0), (1, 1)] + [(0, 0)] * (x.ndim - 2), mode="edge")
    return side * (padded[:, :-2] + padded[:, 2:]) + middle * padded[:, 1:-1]


def _sensor(rgb: Float, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Expose, tone-map, blur by the lens, add noise, encode as sRGB-like 8 bits."""
    exposed = rgb * scene.exposure.astype(np.float32) * np.float32(1.6)
    mapped = exposed / (1 + np.float32(0.35) * exposed)
    encoded = np.maximum(_blur(mapped, np.float32(0.15)), 0) ** np.float32(1 / 2.2)
    level = np.float32(rng.uniform(0.003, 0.01))
    noise = rng.standard_normal(encoded.shape, np.float32) * level
    rounded: NDArray[np.uint8] = np.rint((encoded + noise) * 255).clip(0, 255).astype(np.uint8)
    return rounded


def _encode_normal(scene: Scene, normal: Float, missing: NDArray[np.bool_]) -> NDArray[np.uint8]:
    camera = normal @ scene.axes.T.astype(np.float32)
    camera = camera * np.array([1, -1, -1], np.float32)
    encoded: NDArray[np.uint8] = np.rint(camera * 127.5 + 127.5).clip(0, 255).astype(np.uint8)
    encoded[missing] = 127
    return encoded


def _scene_vector(kind: int, rng: np.random.Generator) -> Float:
    scores = rng.random(len(SCENE_CLASSES)) * 0.1
    scores[kind] += 1
    vector: Float = (scores / scores.sum()).astype(np.float32)
    return vector
