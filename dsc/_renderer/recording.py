"""Renders recordings: a camera that moves through a room, or stands still while things move.

A frame is a function of (seed, number of the recording, camera, frame): it needs no frame before
it. Patterns, shadows and their grain belong to surfaces, and exposure to the whole recording. So
what stands still before a camera that stands still is the same pixels in every frame, but where the
shadow of something that moves falls on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._renderer.further import Frame, further_maps
from dsc._renderer.light import shade
from dsc._renderer.lightmap import LightMap, with_movers
from dsc._renderer.paths import CameraKind, clear, draw_movers, draw_path
from dsc._renderer.render import (
    BAND_PIXELS,
    CORNERS,
    Film,
    choose_gain,
    edges,
    encode_normal,
    encode_rgb,
    expose,
)
from dsc._renderer.scene import make_scene
from dsc._renderer.solids import Rng, Scene, Solid
from dsc._renderer.surface import Surfaces, surfaces
from dsc._renderer.trace import Camera, Float, trace

FRAMES_PER_S = 30
DEPTH_UNIT_M = 0.001
MOVERS = {"orbit": 0, "fixed": 3, "walk": 0}
_ROOMS = 6  # that are drawn to find one with enough in it
_SOLIDS = 60  # that are enough
_TESTS = (32, 24, 3)  # width, height and number of the views that the exposure is chosen by
_MISSING_NORMAL = 127
_CAMERA_SEEDS = {"orbit": 0, "fixed": 1, "walk": 2}


@dataclass(frozen=True)
class View:
    """A camera's picture: how many pixels, and of what."""

    scene: Scene
    movers: list[Solid]
    camera: Camera
    width: int
    height: int


class Recording:
    """One recording, of which any frame can be rendered.

    Parameters
    ----------
    kind
        How the camera moves.
    number
        Every recording of a seed is of another room; cameras of one number are in the same.
    movers
        How many things move; None for three before a fixed camera, and else none.
    """

    def __init__(
        self, kind: CameraKind, number: int = 0, seed: int = 0, movers: int | None = None
    ) -> None:
        self._seeds = [seed, number, _CAMERA_SEEDS[kind]]
        self._scene = _furnished(np.random.Generator(np.random.PCG64([seed, number, 7])))
        rng = np.random.Generator(np.random.PCG64([*self._seeds, 8]))
        self._path = draw_path(rng, self._scene, kind)
        if kind != "fixed":
            clear(self._scene, self._path)
        count = MOVERS[kind] if movers is None else movers
        own = np.random.Generator(np.random.PCG64([*self._seeds, 10]))
        self._movers = draw_movers(own, self._scene, self._path.camera(0.0), count)
        self._light = LightMap(self._scene, self.movers(0))
        film = Film(rng.uniform(0.24, 0.34), rng.normal(1, 0.03, 3), 0.0, 0.0, [])
        self._film, self._gain = film, self._choose_gain(film)

    def camera(self, frame: int) -> Camera:
        """Return the camera of a frame."""
        return self._path.camera(frame / FRAMES_PER_S)

    def movers(self, frame: int) -> list[Solid]:
        """Return the things that move, as they stand in a frame."""
        return [mover.at(frame / FRAMES_PER_S) for mover in self._movers]

    def render(
        self,
        frame: int,
        width: int,
        height: int,
        noise: float = 0.0,
        further: Sequence[str] = (),
    ) -> dict[str, NDArray[Any]]:
        """Render a frame.

        Parameters
        ----------
        noise
            Standard deviation of the sensor's noise at medium brightness, in counts of 8 bits.
        further
            Maps that are wanted too, of `dsc._renderer.further.FURTHER`.

        Returns
        -------
        dict
            ``rgb`` uint8 (H, W, 3); ``depth`` uint16 (H, W), z in millimetres, 0 where a ray leaves
            through an opening; ``normal`` and ``label`` as `render_view` has them; ``pose`` float32
            (4, 4), camera to world, the camera's axes being right, down and forward; ``intrinsics``
            float32 (3, 3), of pixels whose centres are at whole numbers.
        """
        camera, movers = self.camera(frame), self.movers(frame)
        view = View(with_movers(self._scene, movers), movers, camera, width, height)
        rows = max(1, BAND_PIXELS // width)
        bands = [self._band(view, top, min(top + rows, height)) for top in range(0, height, rows)]
        linear, depth, normal, label = (
            np.concatenate([band[k] for band in bands], axis=-2) for k in range(4)
        )
        missing = ~(depth < 65.5)
        counts = np.rint(np.where(missing, 0, depth) / DEPTH_UNIT_M).astype(np.uint16)
        label[missing] = 0
        grain = [*self._seeds, frame, width, 9]
        film = Film(self._film.exposure, self._film.tint, 0.0, noise / 255, grain)
        rgb, directions = encode_rgb(film, linear), encode_normal(camera, normal, missing)
        seen = Frame(rgb, counts, directions, camera.tangent, DEPTH_UNIT_M, 0)
        return {
            "rgb": rgb,
            "depth": counts,
            "normal": directions,
            "label": label,
            "pose": pose_of(camera),
            "intrinsics": intrinsics_of(camera, width, height),
            **further_maps(further, seen),
        }

    def _choose_gain(self, film: Film) -> Float:
        """Choose one exposure for the whole recording, by a few small views."""
        width, height, count = _TESTS
        row, column = _pixels(0, height, width)
        seen = []
        for time in np.linspace(0, self._path.period_s, count, endpoint=False):
            view = View(self._scene, [], self._path.camera(float(time)), width, height)
            radiance, _, _ = self._look(view, row, column)
            seen.append(radiance.reshape(3, height, width))
        return choose_gain(film, np.concatenate(seen, axis=1))

    def _band(
        self, view: View, top: int, bottom: int
    ) -> tuple[Float, Float, Float, NDArray[np.uint8]]:
        """Render rows: exposed colour (3, H, W), depth (H, W), normals (3, H, W), labels (H, W)."""
        first, last = max(top - 1, 0), min(bottom + 1, view.height)
        shape = (last - first, view.width)
        row, column = _pixels(first, last, view.width)
        radiance, depth, found = self._look(view, row, column)
        linear = expose(radiance, self._gain)
        at = np.flatnonzero(edges(found.face.reshape(shape)))
        inside = (row[at] > top) & (row[at] < bottom)
        at = at[inside]
        if len(at):
            dy, dx = (np.array([[corner[k]] for corner in CORNERS]) for k in (0, 1))
            rows, columns = (row[at] + dy).ravel(), (column[at] + dx).ravel()
            samples, _, _ = self._look(view, rows, columns)
            exposed = expose(samples.reshape(3, len(CORNERS), -1), self._gain)
            linear[:, at] = exposed.mean(axis=1)
        keep = slice(top - first, bottom - first)
        return (
            linear.reshape(3, *shape)[:, keep],
            depth.reshape(shape)[keep],
            found.normal.reshape(3, *shape)[:, keep],
            found.label.reshape(shape)[keep],
        )

    def _look(
        self, view: View, row: NDArray[np.float64], column: NDArray[np.float64]
    ) -> tuple[Float, Float, Surfaces]:
        """Trace rays through points of the image; return radiance, depth and surfaces."""
        x = (column * 2 / view.width - 1).astype(np.float32)
        y = ((row * 2 - view.height) / view.width).astype(np.float32)
        rays = view.camera.rays(x, y)
        depth, owner = trace(view.scene, view.camera, x, y, rays)
        pixel = 2 * view.camera.tangent / view.width
        found = surfaces(view.scene, view.camera, rays, depth, owner, pixel)
        radiance = shade(view.scene, found, rays, self._light.look(found, view.movers))
        depth[found.hole] = np.inf
        return radiance, depth, found


def pose_of(camera: Camera) -> NDArray[np.float32]:
    """Return the matrix (4, 4) from the camera's axes (right, down, forward) to the world."""
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = camera.axes.T, camera.eye
    return pose


def intrinsics_of(camera: Camera, width: int, height: int) -> NDArray[np.float32]:
    """Return the matrix (3, 3) from the camera's axes to pixels, (0, 0) the first's centre."""
    focal = width / (2 * camera.tangent)
    center = (width - 1) / 2, (height - 1) / 2
    return np.array([[focal, 0, center[0]], [0, focal, center[1]], [0, 0, 1]], np.float32)


def _pixels(first: int, last: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rows and columns of the centres of pixels (N,)."""
    row, column = (a.ravel() + 0.5 for a in np.mgrid[first:last, 0:width])
    return row, column


def _furnished(rng: Rng) -> Scene:
    """Draw a room in which there is something to see."""
    best = make_scene(rng)
    for _ in range(_ROOMS - 1):
        if len(best.solids) >= _SOLIDS:
            break
        best = max(best, make_scene(rng), key=lambda scene: len(scene.solids))
    return best
