"""Further maps of a rendered frame, made of its picture, depth and normals as a data set's are.

Formulas and constants are those that Taskonomy's and Omnidata's published maps follow (Zamir et
al., "Taskonomy", CVPR 2018; Eftekhar et al., "Omnidata", ICCV 2021), in 64-bit floats, from values
that are rounded already. What recomputes such maps when an archive is read is other code, in
integers, and shares nothing with this.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

SIGMA = 3.0  # of edge_texture's blur, in pixels: that of Taskonomy's own files
GAIN = 1.6  # of reshading's lamp
REACH_M2 = 8.0  # the square of the distance at which the lamp has half its light
_FARTHEST = 65036  # counts of depth that have no edges any more
_BLOB_SIGMAS = np.linspace(1, 30, 10)
_BAND_PIXELS = 1 << 15  # of which blobs are sought at once: arrays that stay in the cache
_TOP = 65535


@dataclass(frozen=True)
class Frame:
    """What was rendered of a frame.

    Attributes
    ----------
    rgb
        uint8 (H, W, 3).
    depth
        uint16 (H, W), counts of `unit_m` metres along the camera's axis.
    normal
        uint8 (H, W, 3): right, up, towards the viewer; n = (v - 127.5) / 127.5.
    tangent
        That of half the angle that the frame's width is seen under.
    unit_m
        Metres a count of depth.
    missing
        The count that means no depth.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    normal: NDArray[np.uint8]
    tangent: float
    unit_m: float
    missing: int

    @cached_property
    def gray(self) -> Float:
        """Brightness (H, W), 0 to 1; not rounded."""
        return np.asarray(self.rgb @ np.array([0.299, 0.587, 0.114]) / 255)

    @cached_property
    def has_depth(self) -> NDArray[np.bool_]:
        """Where depth is known (H, W)."""
        return np.asarray(self.depth != self.missing)

    @cached_property
    def slopes(self) -> tuple[Float, Float]:
        """Metres to the right (1, W) and down (H, 1) for each metre along the axis."""
        height, width = self.depth.shape
        pixel = 2 * self.tangent / width
        across = (np.arange(width) + 0.5 - width / 2) * pixel
        down = (np.arange(height) + 0.5 - height / 2) * pixel
        return across[None], down[:, None]

    @cached_property
    def stretch(self) -> Float:
        """Metres along each pixel's ray for each metre along the axis (H, W)."""
        across, down = self.slopes
        return np.asarray(np.sqrt(1 + across**2 + down**2))


def depth_euclidean(frame: Frame) -> NDArray[np.uint16]:
    """Measure depth along the ray of each pixel: z · sqrt(1 + x² + y²), in the unit of z."""
    low, high = (0, _TOP - 1) if frame.missing == _TOP else (1, _TOP)
    along = np.rint(frame.depth * frame.stretch).clip(low, high)
    return np.where(frame.has_depth, along, frame.missing).astype(np.uint16)


def mask_valid(frame: Frame) -> NDArray[np.uint8]:
    """Mark with 255 where depth is known."""
    return np.where(frame.has_depth, 255, 0).astype(np.uint8)


def edge_occlusion(frame: Frame) -> NDArray[np.uint16]:
    """Find steps of depth: Sobel's magnitude of sqrt(z) / 256, 0 beside what has no depth."""
    near = frame.has_depth & (frame.depth < _FARTHEST)
    strength = _sobel(np.sqrt(frame.depth.astype(np.float64)) / 256)
    strength[~_eroded(near)] = 0
    return _as_counts(strength)


def edge_texture(frame: Frame) -> NDArray[np.uint16]:
    """Find steps of brightness: Sobel's magnitude of blurred gray."""
    height, width = frame.gray.shape
    weight = _blurred(np.ones((height, 1))) * _blurred(np.ones((width, 1))).T
    return _as_counts(_sobel(_blurred(_blurred(frame.gray).T).T / weight))


def keypoints2d(frame: Frame) -> NDArray[np.uint16]:
    """Find blobs and corners: the largest of SURF's determinants of Hessians of ten sizes.

    Bay et al., "SURF: Speeded Up Robust Features" (ECCV 2006): second derivatives by boxes, whose
    sums an integral image gives; at the border they are those of scikit-image.
    """
    height, width = frame.gray.shape
    sums = frame.gray.cumsum(axis=0).cumsum(axis=1)
    band = max(1, _BAND_PIXELS // width)
    found = np.empty((height, width), np.uint16)
    for top in range(0, height, band):
        rows = np.arange(top, min(top + band, height))
        strongest = np.zeros((len(rows), width))
        for sigma in _BLOB_SIGMAS:
            np.maximum(strongest, _determinant(sums, rows, int(3 * sigma)), out=strongest)
        found[rows] = _as_counts(strongest)
    return found


def reshading(frame: Frame) -> NDArray[np.uint8]:
    """Light what is seen by a lamp at the camera: 255 · gain · cos θ · K / (K + d²), gray.

    Black where there is no depth; d is the distance in metres, θ the angle to the normal.
    """
    across, down = frame.slopes
    right, up, towards = ((frame.normal[..., k] - 127.5) / 127.5 for k in range(3))
    cosine = (towards + down * up - across * right) / frame.stretch
    squared_m2 = (frame.depth * frame.unit_m * frame.stretch) ** 2
    light = 255 * GAIN * cosine * (REACH_M2 / (REACH_M2 + squared_m2))
    light[~frame.has_depth] = 0
    gray = np.rint(light.clip(0, 255)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


FURTHER: dict[str, Callable[[Frame], NDArray[Any]]] = {
    make.__name__: make
    for make in (
        depth_euclidean,
        reshading,
        edge_texture,
        edge_occlusion,
        keypoints2d,
        mask_valid,
    )
}
"""What makes each further map, by the name of its task; each costs only where it is asked for."""


def further_maps(names: Sequence[str], frame: Frame) -> dict[str, NDArray[Any]]:
    """Make some of `FURTHER`'s maps."""
    return {name: FURTHER[name](frame) for name in names}


def _as_counts(strength: Float) -> NDArray[np.uint16]:
    return np.asarray(np.rint(strength.clip(0, 1) * _TOP), np.uint16)


def _blurred(image: Float) -> Float:
    """Blur columns by a Gaussian of `SIGMA`, cut at four of it; outside of the image is nothing."""
    radius = int(4 * SIGMA + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / SIGMA) ** 2)
    taps /= taps.sum()
    padded = np.pad(image, ((radius, radius), (0, 0)))
    found, part = np.zeros(image.shape), np.empty(image.shape)
    for first, tap in enumerate(taps):
        found += np.multiply(padded[first : first + len(image)], tap, out=part)
    return found


def _sobel(image: Float) -> Float:
    """Return sqrt((gx² + gy²) / 2) by Sobel's kernels over 4; 0 at the border."""
    found = np.zeros(image.shape)
    along, down = image[:, 2:] - image[:, :-2], image[2:] - image[:-2]
    gx = (along[:-2] + 2 * along[1:-1] + along[2:]) / 4
    gy = (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 4
    found[1:-1, 1:-1] = np.sqrt((gx * gx + gy * gy) / 2)
    return found


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep what is set together with its eight neighbours."""
    found = np.zeros_like(mask)
    rows = mask[:-2] & mask[1:-1] & mask[2:]
    found[1:-1, 1:-1] = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
    return found


def _determinant(sums: Float, rows: NDArray[np.intp], size: int) -> Float:
    """Return the determinant of one size's Hessian in some rows of an integral image (N, W)."""
    columns = np.arange(sums.shape[1])

    def box(row: int, column: int, height: int, width: int) -> Float:
        """Sum the box that begins so many rows and columns from each pixel.

        One that would begin before the image is moved in, one that would end behind it is cut.
        """
        top, left = (rows + row).clip(0), (columns + column).clip(0)
        strip = sums.take(top + height, 0, mode="clip") - sums.take(top, 0, mode="clip")
        ends = strip.take(left + width, 1, mode="clip")
        ends -= strip.take(left, 1, mode="clip")
        return np.asarray(np.maximum(ends, 0, out=ends))

    third, half = size // 3, (size - 1) // 2
    long, middle = 2 * third - 1, third // 2
    dxx = box(1 - third, -half, long, size) - 3 * box(1 - third, -middle, long, third)
    dyy = box(-half, 1 - third, size, long) - 3 * box(-middle, 1 - third, third, long)
    dxy = box(1, -third, third, third) + box(-third, 1, third, third)
    dxy -= box(-third, -third, third, third) + box(1, 1, third, third)
    return np.asarray((dxx * dyy - 0.81 * dxy * dxy) / float(size) ** 4)
