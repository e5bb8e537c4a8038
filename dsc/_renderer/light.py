"""Light on surfaces: soft shadows, ambient occlusion, highlights.

Lights are areas. A shadow ray looks at one of eight points of its light, chosen by the pixel's
place in a 4 × 4 tile, and only every other pixel sends any; the mean over the tile, within a
surface, is a soft shadow for half a ray a pixel.
"""

import numpy as np
from numpy.typing import NDArray

from dsc._renderer.solids import LABEL, Light, Scene
from dsc._renderer.surface import Surfaces, in_opening
from dsc._renderer.trace import Float, Index, dot, first_hit

SLOTS = 8
_OCCLUSION_M = 0.8  # how far ambient occlusion reaches
_LIFT_M = np.float32(2e-3)  # shadow rays start this far above their surface
# eight rooks: no two share a row or a column of the light
_SAMPLES = np.stack([np.arange(8), [0, 4, 2, 6, 1, 5, 3, 7]], axis=1) / 4 - 0.875


def visibility(scene: Scene, found: Surfaces, shape: tuple[int, int], top: int) -> Float:
    """Return what reaches each point of an image, 0 to 1: of the surroundings, each light, the sun.

    Parameters
    ----------
    shape
        Height and width; `found` holds their product of points.
    top
        The image's row that is the first here, by which tiles are told.

    Returns
    -------
    float32 (K, H, W).
    """
    face = found.face.reshape(shape)
    row, column = np.mgrid[top : top + shape[0], 0 : shape[1]]
    sends = (row + column) % 2 == 0
    sends |= ~_any_like_it(face)
    at = np.flatnonzero(sends)
    slot = (2 * (row % 4) + column % 4 // 2).ravel()[at]
    normal = found.normal.take(at, axis=1)
    start = found.points.take(at, axis=1) + _LIFT_M * normal
    rows = [_openness(scene, start, normal, slot)]
    for light in scene.lights:
        toward = _at_light(light, slot) - start
        rows.append(_unblocked(scene, start, toward, dot(normal, toward) > 0))
    if scene.sun is not None:
        rows.append(_sunlit(scene, start, normal, slot))
    seen = np.zeros((len(rows), face.size), np.float32)
    seen[:, at] = np.stack(rows)
    return _smooth(seen.reshape(-1, *shape), sends.astype(np.float32), face)


def visibility_at(scene: Scene, points: Float, normal: Float) -> Float:
    """Return what reaches points (3, N) of surfaces, as `visibility` does, by each of its samples.

    Returns
    -------
    float32 (N, K, `SLOTS`); nothing in it depends on which other points are asked about.
    """
    count = points.shape[1]
    slot = np.tile(np.arange(SLOTS), count)
    facing = np.repeat(normal, SLOTS, axis=1)
    start = np.repeat(points, SLOTS, axis=1) + _LIFT_M * facing
    rows = [_openness(scene, start, facing, slot)]
    for light in scene.lights:
        toward = _at_light(light, slot) - start
        rows.append(_unblocked(scene, start, toward, dot(facing, toward) > 0))
    if scene.sun is not None:
        rows.append(_sunlit(scene, start, facing, slot))
    return np.stack(rows, axis=1).reshape(count, SLOTS, len(rows)).transpose(0, 2, 1)


def shade(scene: Scene, found: Surfaces, rays: Float, seen: Float) -> Float:
    """Return the radiance (3, N) that the camera receives, from what `visibility` found."""
    light = _ambient(scene, found.normal) * (0.25 + 0.75 * seen[0])
    shine = np.zeros_like(light)
    view = -rays / np.sqrt(dot(rays, rays))
    for row, lamp in enumerate(scene.lights, 1):
        toward = lamp.position.astype(np.float32)[:, None] - found.points
        squared = dot(toward, toward)
        toward /= np.sqrt(squared)
        strength = seen[row] / (squared + np.float32(0.15))
        if lamp.facing.any():
            facing = lamp.facing.astype(np.float32)[:, None]
            strength *= np.maximum(-dot(toward, np.broadcast_to(facing, toward.shape)), 0)
        _add_light(light, shine, found, view, toward, strength, lamp.power)
    if scene.sun is not None:
        toward = np.repeat(scene.sun.astype(np.float32)[:, None], light.shape[1], axis=1)
        _add_light(light, shine, found, view, toward, seen[-1], np.array([9.0, 8.2, 6.6]))
    return np.asarray(found.color * light + shine + found.radiance)


def _add_light(
    light: Float, shine: Float, found: Surfaces, view: Float, toward: Float, strength: Float,
    power: NDArray[np.float64],
) -> None:  # fmt: skip
    """Add one light: matte part to `light`, highlights to `shine` where a surface has gloss."""
    strength = strength * np.maximum(dot(found.normal, toward), 0)
    at = np.flatnonzero((found.gloss > 0) & (strength > 0))
    half = toward[:, at] + view[:, at]
    gloss = found.gloss[at]
    cosine = np.maximum(dot(found.normal[:, at], half), 0) / np.sqrt(dot(half, half))
    sharp = 10 + 90 * gloss
    peak = cosine**sharp * (gloss * 0.012 * sharp) * strength[at]
    for k in range(3):
        light[k] += strength * np.float32(power[k])
        shine[k][at] += peak * np.float32(power[k])


def _ambient(scene: Scene, normal: Float) -> Float:
    """Return light from all around: a colour for each side of the room, mixed by the normal."""
    colors = np.stack([(what.color + what.second) / 2 for what in scene.surfaces])
    power = sum((light.power for light in scene.lights), np.zeros(3))
    spread = float(np.prod(scene.room)) ** (2 / 3)
    sides = (colors + colors.mean(axis=0)) * power / spread * 0.55
    total = np.zeros_like(normal)
    for axis in range(3):
        weight = normal[axis] * normal[axis]
        # a surface that looks up sees the ceiling
        toward = np.where(normal[axis] > 0, weight, 0), np.where(normal[axis] > 0, 0, weight)
        for k in range(3):
            total[k] += np.float32(sides[2 * axis + 1, k]) * toward[0]
            total[k] += np.float32(sides[2 * axis, k]) * toward[1]
    return total


def _openness(scene: Scene, start: Float, normal: Float, slot: NDArray[np.intp]) -> Float:
    """Return how far one ray of a cosine-weighted eight gets, up to `_OCCLUSION_M`."""
    number = np.arange(SLOTS)
    height = 1 - (2 * number + 1) / SLOTS
    angle = number * (np.pi * (3 - 5**0.5))
    ring = np.sqrt(1 - height**2)
    ball = np.stack([ring * np.cos(angle), ring * np.sin(angle), height]).astype(np.float32)
    toward = normal + np.float32(0.98) * ball.take((slot * 3) % SLOTS, axis=1)
    toward *= np.float32(_OCCLUSION_M) / np.sqrt(dot(toward, toward))
    free = first_hit(scene, start, toward, stop=False)
    for k in range(3):
        ends = np.where(toward[k] > 0, np.float32(scene.room[k]) - start[k], -start[k])
        np.minimum(free, np.maximum(ends / (toward[k] + np.float32(1e-9)), 0), out=free)
    return free


def _at_light(light: Light, slot: NDArray[np.intp]) -> Float:
    places = light.position + _SAMPLES @ light.spread
    return places.astype(np.float32).T.take(slot, axis=1)


def _unblocked(scene: Scene, start: Float, toward: Float, facing: NDArray[np.bool_]) -> Float:
    """Return 1 where a segment is free, 0 where it is blocked or starts away from its goal."""
    seen = np.zeros(start.shape[1], np.float32)
    at = np.flatnonzero(facing)
    seen[at] = first_hit(scene, start.take(at, axis=1), toward.take(at, axis=1), stop=True) == 1
    return seen


def _sunlit(scene: Scene, start: Float, normal: Float, slot: NDArray[np.intp]) -> Float:
    """Return 1 where the sun shines in through a window."""
    sun = np.zeros(3) if scene.sun is None else scene.sun
    blur = np.array([[0.012, 0.0, 0.0], [0.0, 0.008, 0.008]])
    toward = (sun + _SAMPLES @ blur).astype(np.float32).T.take(slot, axis=1)
    reach = np.full(start.shape[1], np.inf, np.float32)
    for k in range(3):
        ends = np.where(toward[k] > 0, np.float32(scene.room[k]) - start[k], -start[k])
        np.minimum(reach, ends / (toward[k] + np.float32(1e-9)), out=reach)
    landed = start + toward * reach
    through = np.zeros(start.shape[1], bool)
    for opening in scene.openings:
        axis, end = opening.wall // 2, (opening.wall % 2) * scene.room[opening.wall // 2]
        side = np.where(np.abs(landed[axis] - end) < 1e-3, opening.wall, -1)
        if opening.label == LABEL["window"]:
            through |= in_opening(opening, landed, side.astype(np.int32))
    return _unblocked(scene, start, toward * reach, through & (dot(normal, toward) > 0))


def _any_like_it(face: Index) -> NDArray[np.bool_]:
    """Mark the pixels of which a neighbour, up, down, left or right, shows the same face."""
    found = np.zeros(face.shape, bool)
    across, along = face[:, 1:] == face[:, :-1], face[1:] == face[:-1]
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= along
    found[:-1] |= along
    return found


def _smooth(seen: Float, weight: Float, face: Index) -> Float:
    """Average (K, H, W) by weight (H, W) over the tile around each pixel, twice, within faces."""
    for steps in ((-2, -1, 1), (-1, 1, 2)):
        total = seen * weight
        for axis in (0, 1):
            sums, weights = total.copy(), weight.copy()
            for step in steps:
                there, here = _shifted(face, step, axis)
                same = (face[there] == face[here]).astype(np.float32)
                sums[(slice(None), *here)] += same * total[(slice(None), *there)]
                weights[here] += same * weight[there]
            total, weight = sums, weights
        seen, weight = total / weight, np.ones_like(weight)
    return seen


def _shifted(array: Index, step: int, axis: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the slices of a map's neighbours at `step`, and of those that have one."""
    there = [slice(None), slice(None)]
    here = [slice(None), slice(None)]
    there[axis] = slice(max(step, 0), array.shape[axis] + min(step, 0))
    here[axis] = slice(max(-step, 0), array.shape[axis] - max(step, 0))
    return (there[0], there[1]), (here[0], here[1])
