"""The published formulas in plain floating point, and made-up views that they are applied to."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dsc._codecs.base import Array
from dsc._schemas import Task, TaskKind

HOLE = 65535
DEPTH = Task(
    name="depth_zbuffer", kind=TaskKind.DEPTH, dtype="uint16", unit_m=1 / 512, invalid=(HOLE,)
)
EUCLIDEAN = DEPTH.model_copy(update={"name": "depth_euclidean"})
MASK = Task(name="mask_valid", kind=TaskKind.LABEL, dtype="uint8")
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
OCCLUSION = Task(name="edge_occlusion", kind=TaskKind.IMAGE, dtype="uint16")
RESHADING = Task(name="reshading", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
SIZES = ((1, 1), (1, 7), (5, 1), (2, 2), (3, 3), (17, 31), (48, 64), (120, 90))

Float = NDArray[np.float64]


def rays(shape: tuple[int, int], view_rad: float) -> Float:
    """Return the rays (H, W, 3) through pixels' centres: x right, y down, z 1."""
    height, width = shape
    focal = width / (2 * np.tan(view_rad / 2))
    x = (np.arange(width) + 0.5 - width / 2) / focal
    y = (np.arange(height) + 0.5 - height / 2) / focal
    across, down = np.meshgrid(x, y)
    return np.stack([across, down, np.ones(shape)], axis=-1)


def made_up_view(
    shape: tuple[int, int], seed: int, view_rad: float = 1.1, holes: bool = True
) -> dict[str, Array]:
    """Return depth (H, W) and normals (H, W, 3), camera x right, y up, z to the viewer.

    A few planes before one another, each of one normal; holes that are ragged.
    """
    rng = np.random.default_rng(seed)
    height, width = shape
    toward = rays(shape, view_rad)
    depth, normal = np.full(shape, np.inf), np.zeros((*shape, 3))
    for _ in range(12):
        facing = rng.normal(size=3) * (1, 1, 0.6)
        facing /= np.linalg.norm(facing)
        along = toward @ facing
        distance = rng.uniform(1, 4)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(along < -0.05, -distance / along, np.inf)
        top, left = rng.integers(0, height), rng.integers(0, width)
        near = np.zeros(shape, bool)
        near[top // 2 : top + height // 3 + 1, left // 2 : left + width // 3 + 1] = True
        near &= z < np.minimum(depth, 30)
        depth[near], normal[near] = z[near], facing
    bare = ~np.isfinite(depth)
    depth[bare] = 5.0
    normal[bare] = (0, 0, -1)
    counts = np.rint(depth * 512).astype(np.uint16)
    coded = np.rint(normal * (1, -1, -1) * 127.5 + 127.5).clip(0, 255).astype(np.uint8)
    if holes:
        gone = rng.random(shape) < 0.02
        gone |= np.roll(gone, 1, 1)
        counts[gone], coded[gone] = HOLE, 127
    return {"depth_zbuffer": counts, "normal": coded}


def euclidean(depth: Array, view_rad: float, ratio: float = 1.0, hole: int = HOLE) -> Array:
    """Return the distance of each pixel from the camera, `ratio` counts for one of depth."""
    length = np.linalg.norm(rays(depth.shape, view_rad), axis=-1)
    found = np.rint(depth * length * ratio).clip(0, 65535).astype(np.uint16)
    found[depth == HOLE] = hole
    return found


def mask_valid(depth: Array) -> Array:
    return np.where(depth == HOLE, 0, 255).astype(np.uint8)


def occlusion(depth: Array, limit: int = 65036, top: int = 65535) -> Array:
    """Return edges of depth, by SciPy's convolutions."""
    root = np.sqrt(depth.astype(np.float64)) / 256
    sobel = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]) / 4
    down, along = (ndimage.convolve(root, kernel) for kernel in (sobel, sobel.T))
    near = ndimage.binary_erosion(depth < limit, np.ones((3, 3)), border_value=0)
    found: Array = np.rint(np.sqrt((down**2 + along**2) / 2) * near * top)
    return found.clip(0, top).astype(np.uint16 if top > 255 else np.uint8)


def reshading(
    normal: Array, depth: Array, view_rad: float, gain: float = 408.0, reach_m2: float = 8.0
) -> Array:
    """Return what a lamp at the camera lights (H, W, 3); normals x right, y up, z to the viewer."""
    toward = rays(depth.shape, view_rad)
    length = np.linalg.norm(toward, axis=-1)
    facing = (normal / 127.5 - 1) * (1, -1, -1)
    facing /= np.linalg.norm(facing, axis=-1, keepdims=True)
    cosine = -(facing * toward).sum(axis=-1) / length
    squared_m2 = (depth / 512 * length) ** 2
    level = gain * cosine * reach_m2 / (reach_m2 + squared_m2)
    level[depth == HOLE] = 0
    return np.repeat(np.rint(level.clip(0, 255)).astype(np.uint8)[..., None], 3, axis=2)
