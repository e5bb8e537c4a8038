"""Renders procedural indoor views with exact depth, normals and labels, in Taskonomy's encodings.

Every task comes from the same ray-surface intersections, so the geometry is exact; only RGB gets
light, anti-aliasing and sensor noise. A view is a function of (seed, index, size); the scene and
its camera are functions of (seed, index) alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._renderer.further import Frame, further_maps
from dsc._renderer.light import shade, visibility
from dsc._renderer.scene import choose_camera, make_scene
from dsc._renderer.solids import SCENE_CLASSES, SEMANTIC_CLASSES, Scene
from dsc._renderer.surface import Surfaces, surfaces
from dsc._renderer.trace import Camera, Float, Index, trace

__all__ = ["SCENE_CLASSES", "SEMANTIC_CLASSES", "Film", "render_scene", "render_view"]

DEPTH_MISSING = 65535
DEPTH_UNIT_M = 1 / 512
BAND_PIXELS = 1 << 17  # rendered at once: what bounds the memory of a large view
_MARGIN = 7  # rows beyond a band that shadows are smoothed over and edges are found with
_NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
CORNERS = ((-0.125, -0.375), (0.375, -0.125), (-0.375, 0.125), (0.125, 0.375))


def render_view(
    index: int, size: int = 256, seed: int = 0, further: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Render one view.

    Parameters
    ----------
    index
        Number of the view; every index is another scene.
    size
        Height and width in pixels.
    seed
        Number of the whole set.
    further
        Maps that are wanted too, of `dsc._renderer.further.FURTHER`.

    Returns
    -------
    dict
        ``rgb`` uint8 (H, W, 3); ``depth_zbuffer`` uint16 (H, W), 1/512 m a count, 65535 where a
        ray leaves through an opening; ``normal`` uint8 (H, W, 3), camera space (x right, y up,
        z towards the viewer), n = (v - 127.5) / 127.5, (127, 127, 127) where there is none;
        ``segment_semantic`` uint8 (H, W), see `SEMANTIC_CLASSES`; ``class_scene`` float32 (8,),
        probabilities over `SCENE_CLASSES`.
    """
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    scene = make_scene(rng)
    camera = choose_camera(rng, scene)
    exposure, tint = rng.uniform(0.22, 0.36), rng.normal(1, 0.04, 3)
    vector = _scene_vector(rng, scene.kind)
    vignette = rng.uniform(0.1, 0.6) if rng.random() < 0.4 else 0.0
    film = Film(exposure, tint, vignette, rng.uniform(0.004, 0.01), [seed, index, size])
    return {**render_scene(scene, camera, film, size, further), "class_scene": vector}


@dataclass(frozen=True)
class Film:
    """How light becomes 8 bits.

    Attributes
    ----------
    exposure
        Brightness that the view's mean is brought near to.
    tint
        Gain of each channel (3,), about 1.
    vignette
        How much darker the corners are; 0 for none.
    noise
        Standard deviation of the noise at medium brightness, on a scale of 1.
    grain_seed
        Seed of the noise.
    """

    exposure: float
    tint: NDArray[np.float64]
    vignette: float
    noise: float
    grain_seed: list[int]


def render_scene(
    scene: Scene, camera: Camera, film: Film, size: int, further: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Render any scene; return `render_view`'s maps, with the labels that the solids carry."""
    rows = max(1, BAND_PIXELS // size)
    tops = range(0, size, rows)
    bands = [_band(scene, camera, size, top, min(top + rows, size)) for top in tops]
    radiance, depth, normal, label = (
        np.concatenate([getattr(band, name) for band in bands], axis=-2)
        for name in ("radiance", "depth", "normal", "label")
    )
    gain = choose_gain(film, radiance)
    linear = expose(radiance, gain)
    for band in bands:
        # the mean of a pixel is taken after exposure: one sample far beyond white would outshine
        # the other three
        linear[:, band.row, band.column] = expose(band.samples, gain).mean(axis=1)
    missing = ~(depth * 512 < DEPTH_MISSING - 0.5)
    counts = np.rint(np.where(missing, 1, depth) * 512).clip(1, None).astype(np.uint16)
    counts[missing], label[missing] = DEPTH_MISSING, 0
    rgb, directions = encode_rgb(film, linear), encode_normal(camera, normal, missing)
    frame = Frame(rgb, counts, directions, camera.tangent, DEPTH_UNIT_M, DEPTH_MISSING)
    return {
        "rgb": rgb,
        "depth_zbuffer": counts,
        "normal": directions,
        "segment_semantic": label,
        **further_maps(further, frame),
    }


@dataclass
class Band:
    """Some rows of a view: maps (3, H, W) or (H, W), and samples (3, 4, N) of the N edge pixels.

    `row` and `column` (N,) place the samples in the whole view.
    """

    radiance: Float
    depth: Float
    normal: Float
    label: NDArray[np.uint8]
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    samples: Float


def _band(scene: Scene, camera: Camera, size: int, top: int, bottom: int) -> Band:
    """Render the rows from `top` to before `bottom`."""
    first, last = max(top - _MARGIN, 0), min(bottom + _MARGIN, size)
    shape = (last - first, size)
    row, column = (a.ravel() for a in np.mgrid[first:last, 0:size])
    found, rays, depth = _look(scene, camera, size, row + 0.5, column + 0.5)
    seen = visibility(scene, found, shape, first)
    face = found.face.reshape(shape)
    radiance = shade(scene, found, rays, seen.reshape(len(seen), -1))
    depth[found.hole] = np.inf
    keep = slice(top - first, bottom - first)
    edge_row, edge_column = np.nonzero(edges(face))
    kept = (edge_row >= keep.start) & (edge_row < keep.stop)
    edge_row, edge_column = edge_row[kept] + first, edge_column[kept]
    return Band(
        radiance.reshape(3, *shape)[:, keep],
        depth.reshape(shape)[keep],
        found.normal.reshape(3, *shape)[:, keep],
        found.label.reshape(shape)[keep],
        edge_row,
        edge_column,
        _corners(scene, camera, first, edge_row, edge_column, face, seen),
    )


def _look(
    scene: Scene, camera: Camera, size: int, row: NDArray[np.float64], column: NDArray[np.float64]
) -> tuple[Surfaces, Float, Float]:
    """Trace rays through points of the image; return surfaces, rays and depth."""
    x = (column * (2 / size) - 1).astype(np.float32)
    y = (row * (2 / size) - 1).astype(np.float32)
    rays = camera.rays(x, y)
    depth, owner = trace(scene, camera, x, y, rays)
    return surfaces(scene, camera, rays, depth, owner, 2 * camera.tangent / size), rays, depth


def edges(face: Index) -> NDArray[np.bool_]:
    """Mark the pixels next to which another face begins."""
    found = np.zeros(face.shape, bool)
    across, along = face[:, 1:] != face[:, :-1], face[1:] != face[:-1]
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= along
    found[:-1] |= along
    return found


def _corners(
    scene: Scene, camera: Camera, first: int, row: NDArray[np.intp], column: NDArray[np.intp],
    face: Index, seen: Float,
) -> Float:  # fmt: skip
    """Return the radiance of four rays a pixel (3, 4, N), in the light that its neighbours have."""
    if not len(row):  # a band may hold nothing but one wall
        return np.zeros((3, 4, 0), np.float32)
    dy, dx = (np.repeat([corner[k] for corner in CORNERS], len(row)) for k in (0, 1))
    rows, columns = np.tile(row, 4), np.tile(column, 4)
    found, rays, _ = _look(scene, camera, face.shape[1], rows + 0.5 + dy, columns + 0.5 + dx)
    flat, lit = face.ravel(), (rows - first) * face.shape[1] + columns
    unmatched = np.flatnonzero(flat[lit] != found.face)
    for down, right in _NEIGHBOURS:
        y = (rows[unmatched] - first + down).clip(0, face.shape[0] - 1)
        x = (columns[unmatched] + right).clip(0, face.shape[1] - 1)
        there = y * face.shape[1] + x
        same = flat[there] == found.face[unmatched]
        lit[unmatched[same]] = there[same]
        unmatched = unmatched[~same]
    radiance = shade(scene, found, rays, seen.reshape(len(seen), -1)[:, lit])
    return radiance.reshape(3, 4, -1)


def choose_gain(film: Film, radiance: Float) -> Float:
    """Choose the gain of each channel, as a camera does, but not all the way: dark stays darker."""
    step = max(1, radiance.shape[-1] // 64)
    brightness = radiance[:, ::step, ::step].mean(axis=0) + np.float32(1e-3)
    key = float(np.exp(np.log(brightness).mean()))
    gain = film.exposure / key**0.85 * film.tint
    return np.asarray(gain, np.float32)


def expose(radiance: Float, gain: Float) -> Float:
    """Apply the gain (3,) and a film's curve (Narkowicz's fit of ACES); return (3, ...), 0 to 1."""
    x = radiance * gain.reshape(3, *[1] * (radiance.ndim - 1))
    # strong light loses its colour on film and sensor alike
    x += 0.15 * (x.mean(axis=0) - x)
    curved = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)
    return np.asarray(np.clip(curved, 0, 1))


def encode_rgb(film: Film, linear: Float) -> NDArray[np.uint8]:
    """Add vignette and signal-dependent noise; return 8 bits (H, W, 3)."""
    size = linear.shape[-1]
    if film.vignette:
        place = (np.arange(size) + 0.5) / size - 0.5
        fall = 1 - film.vignette * (place[:, None] ** 2 + place**2)
        linear = linear * fall.astype(np.float32)
    level = np.float32(film.noise)
    grain = np.random.Generator(np.random.PCG64(film.grain_seed))
    encoded = linear ** np.float32(1 / 2.2)
    noise = grain.standard_normal(encoded.shape, np.float32) * level * (1.4 - 0.8 * encoded)
    return np.asarray(np.rint((encoded + noise) * 255).clip(0, 255).transpose(1, 2, 0), np.uint8)


def encode_normal(camera: Camera, normal: Float, missing: NDArray[np.bool_]) -> NDArray[np.uint8]:
    right, down, forward = camera.axes.astype(np.float32)
    encoded = np.empty((*missing.shape, 3), np.uint8)
    for k, axis in enumerate((right, -down, -forward)):
        along = axis[0] * normal[0] + axis[1] * normal[1] + axis[2] * normal[2]
        encoded[..., k] = np.rint(along * 127.5 + 127.5).clip(0, 255)
    encoded[missing] = 127
    return encoded


def _scene_vector(rng: np.random.Generator, kind: int) -> Float:
    scores = rng.random(len(SCENE_CLASSES)) * 0.1
    scores[kind] += 1
    return np.asarray(scores / scores.sum(), np.float32)
