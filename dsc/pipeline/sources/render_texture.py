"""Procedural textures: a material's colour at points of a surface."""

import numpy as np
from numpy.typing import NDArray

from dsc.pipeline.sources.render_scene import Material

Float = NDArray[np.float32]
_LATTICE = np.random.Generator(np.random.PCG64(20210)).random((256, 256)).astype(np.float32)


def albedo(material: Material, u: Float, v: Float) -> Float:
    """Give the colour (N, 3) in linear light at surface coordinates u, v (N,) in metres."""
    s, t = u / np.float32(material.period_m), v / np.float32(material.period_m)
    mix = _PATTERNS[material.pattern](s, t, material.seed)[:, None]
    first, second = material.color.astype(np.float32), material.second.astype(np.float32)
    mixed: Float = first + (second - first) * mix
    return mixed


def value_noise(s: Float, t: Float, seed: int, octaves: int = 3) -> Float:
    """Give smooth noise in [0, 1] from a fixed lattice; each octave halves size and weight."""
    total, weight, norm = np.zeros_like(s), np.float32(1), np.float32(0)
    for octave in range(octaves):
        shift = (seed >> (octave * 3)) & 255
        x, y = s * np.float32(2**octave) + shift, t * np.float32(2**octave) + (shift * 7 & 255)
        x0, y0 = np.floor(x), np.floor(y)
        fx, fy = x - x0, y - y0
        fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
        i, j = x0.astype(np.int32) & 255, y0.astype(np.int32) & 255
        i1, j1 = (i + 1) & 255, (j + 1) & 255
        low = _LATTICE[j, i] * (1 - fx) + _LATTICE[j, i1] * fx
        high = _LATTICE[j1, i] * (1 - fx) + _LATTICE[j1, i1] * fx
        total += weight * (low * (1 - fy) + high * fy)
        norm += weight
        weight *= np.float32(0.5)
    noise: Float = total / norm
    return noise


def _plain(s: Float, t: Float, seed: int) -> Float:
    return np.zeros_like(s)


def _noise(s: Float, t: Float, seed: int) -> Float:
    return value_noise(s * 3, t * 3, seed, 4)


def _wood(s: Float, t: Float, seed: int) -> Float:
    rings = s * 4 + 1.5 * value_noise(s, t * 0.3, seed, 2)
    grain = value_noise(s * 24, t * 1.5, seed + 99, 2)
    plank = _LATTICE[np.floor(s * 1.5).astype(np.int32) & 255, seed & 255]
    mixed: Float = 0.45 * (rings - np.floor(rings)) + 0.35 * grain + 0.4 * plank - 0.1
    return mixed.clip(0, 1)


def _checker(s: Float, t: Float, seed: int) -> Float:
    odd: Float = ((np.floor(s) + np.floor(t)) % 2).astype(np.float32)
    return odd


def _tiles(s: Float, t: Float, seed: int) -> Float:
    i, j = np.floor(s), np.floor(t)
    edge = np.minimum(np.minimum(s - i, i + 1 - s), np.minimum(t - j, j + 1 - t))
    tone = _LATTICE[i.astype(np.int32) & 255, (j.astype(np.int32) + seed) & 255] * 0.3
    return np.where(edge < 0.03, np.float32(1), tone)


def _stripes(s: Float, t: Float, seed: int) -> Float:
    wave = s if seed & 1 else s * 0.7 + t * 0.7
    return (wave * 2 % 1 < 0.3 + 0.4 * (seed & 7) / 7).astype(np.float32)


def _fabric(s: Float, t: Float, seed: int) -> Float:
    weave = np.sin(s * 40) * np.sin(t * 40)
    mixed: Float = 0.3 + 0.2 * weave + 0.4 * value_noise(s * 4, t * 4, seed, 3)
    return mixed.clip(0, 1)


def _plaster(s: Float, t: Float, seed: int) -> Float:
    return 0.25 * value_noise(s * 6, t * 6, seed, 4) + 0.15 * value_noise(s * 0.5, t * 0.5, seed, 1)


def _dots(s: Float, t: Float, seed: int) -> Float:
    x, y = s * 2 - np.floor(s * 2) - 0.5, t * 2 - np.floor(t * 2) - 0.5
    inside: Float = (x * x + y * y < 0.08).astype(np.float32)
    return inside


_PATTERNS = {
    "plain": _plain,
    "noise": _noise,
    "wood": _wood,
    "checker": _checker,
    "tiles": _tiles,
    "stripes": _stripes,
    "fabric": _fabric,
    "plaster": _plaster,
    "dots": _dots,
}
