"""Procedural textures: a material's colour at points of a surface, filtered to the pixel.

Every pattern is averaged over a pixel's footprint, exactly for hard edges (the integral of a
square wave) and by fading octaves for noise, so that distant tiles turn gray and do not shimmer.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._renderer.solids import Material, tint

Float = NDArray[
    np.floating[Any]
]  # float32 at run time; numpy's types lose it beside a Python float
_SIDE = 257  # one more than the period, so that the right and upper neighbours need no wrapping
_LATTICE = np.pad(
    np.random.Generator(np.random.PCG64(20210)).random((256, 256), np.float32), (0, 1), mode="wrap"
).ravel()


def albedo(material: Material, u: Float, v: Float, width_m: Float) -> Float:
    """Return linear colours.

    Parameters
    ----------
    u, v
        Surface coordinates (N,) in metres; for a painting from -1 to 1.
    width_m
        Width of the pixel on the surface (N,), in the same unit.

    Returns
    -------
    colours, float32 (3, N), 0 to 1.
    """
    if material.pattern == "painting":
        return _painting(u, v, width_m, material.seed)
    first = material.color.astype(np.float32)[:, None]
    if material.pattern == "plain":
        return np.repeat(first, len(u), axis=1)
    scale = np.float32(1 / material.period_m)
    mix, shade = _PATTERNS[material.pattern](u * scale, v * scale, width_m * scale, material.seed)
    second = material.second.astype(np.float32)[:, None]
    return np.asarray((first + (second - first) * mix) * shade, np.float32)


def value_noise(s: Float, t: Float, width: Float, seed: int, octaves: int = 3) -> Float:
    """Return smooth noise in [0, 1] with features of size 1; each octave halves size and weight."""
    total, norm = np.zeros_like(s), 0.0
    for octave in range(octaves):
        scale, weight = 2.0**octave, 0.5**octave
        norm += weight
        clear = np.clip(1.6 - 1.6 * scale * width, 0, 1)
        if not clear.any():
            continue
        bits = seed >> (octave * 3)
        x, y = s * scale + (bits & 255), t * scale + (bits * 7 & 255)
        total += (weight * clear) * (_smooth_lattice(x, y) - np.float32(0.5))
    return total / np.float32(norm) + np.float32(0.5)


def _smooth_lattice(x: Float, y: Float) -> Float:
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0
    fx *= fx * (3 - 2 * fx)
    fy *= fy * (3 - 2 * fy)
    at = (y0.astype(np.int32) & 255) * _SIDE + (x0.astype(np.int32) & 255)
    low = _LATTICE.take(at)
    low += fx * (_LATTICE.take(at + 1) - low)
    at += _SIDE
    high = _LATTICE.take(at)
    high += fx * (_LATTICE.take(at + 1) - high)
    low += fy * (high - low)
    return low


def _hash(i: Float, j: Float, seed: int) -> Float:
    """Return a number in [0, 1] for each cell."""
    row = (j.astype(np.int32) + (seed >> 3)) & 255
    found: Float = _LATTICE.take(row * _SIDE + ((i.astype(np.int32) + seed) & 255))
    return found


def _pulse(x: Float, duty: float, width: Float) -> Float:
    """Average, over `width`, the wave that is 1 in the first `duty` of each period and else 0."""
    width = np.maximum(width, np.float32(1e-3))
    low, high = x - width / 2, x + width / 2
    low0, high0 = np.floor(low), np.floor(high)
    risen = np.minimum(high - high0, duty) - np.minimum(low - low0, duty)
    return np.asarray(((high0 - low0) * duty + risen) / width, np.float32)


Pattern = tuple[Float, Float | float]  # how far to the second colour; what the whole is times


def _noise(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    return np.clip(value_noise(s, t, width, seed, 4) * 2 - 0.5, 0, 1), 1.0


def _plaster(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    fine = value_noise(s * 16, t * 16, width * 16, seed, 2)
    return 0.5 * value_noise(s, t, width, seed, 2), 0.94 + 0.12 * fine


def _wood(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    bend = value_noise(s * 1.5, t * 0.35, width, seed, 2)
    rings = np.abs(((s * 5 + 5 * bend) % 1) * 2 - 1)
    rings = 0.5 + (rings - 0.5) * np.clip(1.5 - 10 * width, 0, 1)
    fine = value_noise(s * 40, t * 2.5, width * 20, seed + 99, 2)
    return np.clip(0.55 * rings + 0.7 * fine - 0.2, 0, 1), 1.0


def _planks(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    row = np.floor(s)
    along = t / 7 + 5 * _hash(row, row, seed)
    tone = _hash(row, np.floor(along), seed + 5)
    gap = np.maximum(_pulse(s + 0.015, 0.03, width), _pulse(along, 0.004, width / 7))
    grain = value_noise(s * 9 + tone * 50, t * 0.8 + tone * 90, width * 5, seed, 3)
    return np.clip(0.75 * tone + 0.9 * grain - 0.4, 0, 1), 1 - 0.65 * gap


def _checker(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    a, b = _pulse(s / 2, 0.5, width / 2), _pulse(t / 2, 0.5, width / 2)
    return a + b - 2 * a * b, 1.0


def _tiles(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    tone = 0.35 * _hash(np.floor(s), np.floor(t), seed) + 0.15 * value_noise(s, t, width, seed, 3)
    line = np.maximum(_pulse(s + 0.02, 0.04, width), _pulse(t + 0.02, 0.04, width))
    return tone, 1 - (0.25 + 0.4 * (seed & 1)) * line


def _bricks(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    row = np.floor(t * 3)
    across = s + 0.5 * (row % 2)
    tone = _hash(np.floor(across), row, seed)
    rough = value_noise(s * 8, t * 8, width * 8, seed, 3)
    line = np.maximum(_pulse(across + 0.02, 0.04, width), _pulse(t * 3 + 0.05, 0.1, width * 3))
    return np.clip(0.6 * tone + 0.4 * rough, 0, 1), 1 - 0.4 * line


def _stripes(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    across = s if seed & 3 else (s + t) * 0.7071
    return _pulse(across, 0.25 + 0.5 * ((seed >> 4) & 7) / 7, width), 1.0


def _zigzag(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    return _pulse(s + np.abs(t % 2 - 1), 0.5, 1.4 * width), 1.0


def _dots(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    odd = np.floor(t) % 2 * 0.5 if seed & 1 else 0.0
    radius = np.hypot((s + odd) % 1 - 0.5, t % 1 - 0.5)
    return np.clip((0.3 - radius) / np.maximum(width, 1e-3) + 0.5, 0, 1), 1.0


def _damask(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    wave = np.cos(np.float32(2 * np.pi) * s) * np.cos(np.float32(2 * np.pi) * t)
    wave += 0.6 * np.cos(np.float32(6 * np.pi) * (s + t)) * np.cos(np.float32(6 * np.pi) * (s - t))
    return 0.5 + 0.5 * np.clip(wave * 3, -1, 1) * np.clip(1.5 - 4 * width, 0, 1), 1.0


def _fabric(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    turn = np.float32(2 * np.pi)
    weave = np.sin(turn * s) * np.sin(turn * t) * np.clip(1.3 - 1.3 * width, 0, 1)
    spots = value_noise(s / 6, t / 6, width / 6, seed, 3)
    return np.clip(0.8 * spots + 0.25 * weave - 0.1, 0, 1), 0.9 + 0.1 * weave


def _carpet(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    fine = value_noise(s, t, width, seed, 2)
    broad = value_noise(s / 20, t / 20, width / 20, seed, 2)
    return np.clip(0.4 + 1.4 * (fine - 0.5) + 0.6 * (broad - 0.5), 0, 1), 0.6 + 0.8 * fine


def _marble(s: Float, t: Float, width: Float, seed: int) -> Pattern:
    warp = value_noise(s * 0.8, t * 0.8, width * 0.8, seed, 4)
    vein = np.abs(np.sin(np.float32(np.pi) * (s * 0.6 + 3.5 * warp)))
    return np.clip(1 - vein * 2.2, 0, 1) * 0.8 + 0.2 * warp, 1.0


_PATTERNS = {
    "noise": _noise, "plaster": _plaster, "wood": _wood, "planks": _planks, "checker": _checker,
    "tiles": _tiles, "bricks": _bricks, "stripes": _stripes, "zigzag": _zigzag, "dots": _dots,
    "damask": _damask, "fabric": _fabric, "carpet": _carpet, "marble": _marble,
}  # fmt: skip


def _painting(u: Float, v: Float, width: Float, seed: int) -> Float:
    """Paint a picture over [-1, 1]²: a landscape, patches, swirls or rings; all with a mount."""
    hue = (seed & 1023) / 1023
    colors = np.array([
        tint((hue + step) % 1, 0.25 + 0.65 * ((seed >> (10 + k)) & 1), value)
        for k, (step, value) in enumerate(((0, 0.9), (0.08, 0.35), (0.45, 0.75), (0.55, 0.95)))
    ], np.float32)  # fmt: skip
    kind = (seed >> 14) & 3
    if kind == 0:
        hill = 0.9 * value_noise(u * 2.5 + 9, np.zeros_like(u), width, seed, 4) - 0.6
        sky = 0.5 + 0.4 * v + 0.5 * (value_noise(u * 2, v * 4, width, seed, 4) - 0.5)
        ground = np.clip((hill - v) * 2, 0, 1)
        edge = np.clip((v - hill) * 40 + 0.5, 0, 1)
        mixed = _mix(_mix(colors[1], colors[2], ground), _mix(colors[3], colors[0], sky), edge)
    elif kind == 1:
        cells = 2.0 + ((seed >> 16) & 3)
        shade = _hash(np.floor(u * cells), np.floor(v * cells + 0.3 * np.floor(u * cells)), seed)
        mixed = _mix(colors[0], colors[1], np.float32(1) * (shade > 0.4))
        mixed = _mix(mixed, colors[3], np.float32(1) * (shade > 0.7))
    elif kind == 2:
        swirl = value_noise(u * 2, v * 2, width, seed, 4)
        again = value_noise(u * 3 + 4 * swirl, v * 3, width * 3, seed + 7, 3)
        mixed = _mix(_mix(colors[1], colors[3], swirl), colors[2], np.clip(again * 3 - 1.2, 0, 1))
    else:
        rings = _pulse(np.hypot(u, v) * (1.0 + ((seed >> 16) & 3)), 0.5, width * 3)
        mixed = _mix(colors[0], colors[1], rings)
    if (seed >> 20) & 1:
        inside = np.clip((0.72 - np.maximum(np.abs(u), np.abs(v))) * 60, 0, 1)
        mixed = _mix(np.full(3, 0.8, np.float32), mixed, inside)
    return mixed


def _mix(first: Float, second: Float, weight: Float) -> Float:
    """Blend colours (3,) or (3, N) by weights (N,)."""
    a, b = (c[:, None] if c.ndim == 1 else c for c in (first, second))
    return np.asarray(a + (b - a) * np.clip(weight, 0, 1), np.float32)
