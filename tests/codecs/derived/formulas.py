"""The formulas of edges and keypoints in floats, as they were published: what rules come near to.

They share no line with the rules.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def gray(image: NDArray[np.uint8]) -> Floats:
    """Return gray values (H, W) from 0 to 1."""
    return image @ np.array([0.299, 0.587, 0.114]) / 255


def smoothed(values: Floats, sigma: float) -> Floats:
    """Smooth by a Gaussian that is cut off at 4 sigma, with zeros outside."""
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        shape = [(radius, radius) if axis == k else (0, 0) for k in (0, 1)]
        padded = np.pad(values, shape)
        length = values.shape[axis]
        values = sum(
            weight * np.take(padded, np.arange(k, k + length), axis)
            for k, weight in enumerate(weights)
        )
    return values


def edge_texture(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint16]:
    """Return the magnitudes of Sobel's gradient of the smoothed image, 0 at the border."""
    values = smoothed(gray(image), sigma) / smoothed(np.ones(image.shape[:2]), sigma)
    found = np.zeros(values.shape)
    if min(values.shape) >= 3:
        kernel = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]) / 4
        height, width = (length - 2 for length in values.shape)
        parts = [
            sum(
                turned[y, x] * values[y : y + height, x : x + width]
                for y in range(3)
                for x in range(3)
            )
            for turned in (kernel, kernel.T)
        ]
        found[1:-1, 1:-1] = np.sqrt((parts[0] ** 2 + parts[1] ** 2) / 2)
    return np.rint(found * 65535).astype(np.uint16)


def keypoints2d(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the largest determinant of the Hessian by boxes, over ten sigmas."""
    values = gray(image)
    above = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))  # sums of what is before a corner

    def box(down: int, right: int, rows: int, columns: int) -> Floats:
        """Sum the pixels after the one so far away, which is moved into the image."""
        (top, bottom), (left, end) = (
            (first + 1, np.minimum(first + 1 + length, size))
            for size, by, length in zip(values.shape, (down, right), (rows, columns), strict=True)
            for first in [np.clip(np.arange(size) + by, 0, size - 1)]
        )
        parts = [above[np.ix_(y, x)] for y in (bottom, top) for x in (end, left)]
        return parts[0] - parts[1] - parts[2] + parts[3]

    most = np.zeros(values.shape)
    for size in (int(3 * sigma) for sigma in np.linspace(1, 30, 10)):
        lobe, half = size // 3, (size - 1) // 2
        long = 2 * lobe - 1
        dxy = box(1, -lobe, lobe, lobe) + box(-lobe, 1, lobe, lobe)
        dxy -= box(-lobe, -lobe, lobe, lobe) + box(1, 1, lobe, lobe)
        dxx = box(1 - lobe, -half, long, size) - 3 * box(1 - lobe, -(lobe // 2), long, lobe)
        dyy = box(-half, 1 - lobe, size, long) - 3 * box(-(lobe // 2), 1 - lobe, lobe, long)
        most = np.maximum(most, (dxx * dyy - 0.81 * dxy**2) / size**4)
    return np.rint(most * 65535).astype(np.uint16)
