"""Holes as depth cameras leave them: shadows along the edges of depth, and ragged blobs.

A camera that projects a pattern sees none of it beside whatever stands in front: a strip as wide as
the step in disparity, on one side. Elsewhere the pattern is lost in blobs, on surfaces that are
dark, shiny or steep. Both have ragged rims. The share of invalid pixels is exact, and the same
depth, share and seed give the same holes.
"""

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Task
from dsc.errors import UsageError

EDGE = 0.04  # a step of depth between neighbours, as a share of the nearer one
SHADOW_PX_M = 43.0  # a Kinect's baseline, 0.075 m, times its focal length of 575 pixels
LONGEST = 40  # pixels
BLOB_PX, RIM_PX = 48, 6  # size of blobs, and of the steps in their rims
RIM, GRAIN = 0.09, 0.02  # how ragged rims are, in large and in single pixels

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]


def with_invalid(task: Task) -> Task:
    """Return a task of depth that has an invalid value: its own, or 0."""
    return task if task.invalid else task.model_copy(update={"invalid": (0,)})


def punch_holes(
    depth: NDArray[np.generic], task: Task, share: float, seed: int
) -> NDArray[np.generic]:
    """Return a copy of a depth map in which a share of all pixels is invalid.

    Parameters
    ----------
    depth
        (H, W), native integers.
    task
        What they mean; `with_invalid` has made sure that it has an invalid value.
    share
        Of all pixels, 0 to 1; pixels that were invalid before count. Where there are more of them,
        the map comes back as it is.
    seed
        Chooses blobs and rims.

    Raises
    ------
    UsageError
        When the share is no share.
    """
    if not 0 <= share < 1:
        raise UsageError(f"holes of {share}: a share of the pixels, 0 or more and below 1")
    missing = task.invalid_mask(depth)
    more = round(share * missing.size) - int(missing.sum())
    if more <= 0:
        return depth.copy()
    depth_m = np.where(missing, np.inf, depth.astype(np.float32) * (task.unit_m or 1.0))
    score = np.where(missing, -np.inf, hole_scores(depth_m, np.random.default_rng(seed)))
    chosen = np.argpartition(score.ravel(), -more)[-more:]
    punched = depth.copy()
    punched.reshape(-1)[chosen] = task.invalid[0]
    return punched


def hole_scores(depth_m: Float, rng: np.random.Generator) -> Float:
    """Say how soon each pixel is lost: shadows first, then blobs from their middles outward."""
    height, width = depth_m.shape
    blobs = _noise(height, width, BLOB_PX, rng) + RIM * _noise(height, width, RIM_PX, rng)
    blobs += GRAIN * rng.standard_normal((height, width), np.float32)
    ragged = rng.standard_normal((height, 1), np.float32) + blobs
    lost: Float = blobs + np.float32(10) * _shadows(depth_m, ragged)
    return lost


def _shadows(depth_m: Float, ragged: Float) -> Mask:
    """Mark the strip of background on the left of what stands in front, and a seam elsewhere."""
    with np.errstate(divide="ignore", invalid="ignore"):
        disparity_px = np.where(np.isfinite(depth_m), SHADOW_PX_M / np.maximum(depth_m, 0.1), 0)
        left, right = depth_m[:, :-1], depth_m[:, 1:]
        nearer = np.minimum(left, right)
        step = (np.abs(right - left) > EDGE * nearer) & np.isfinite(left) & np.isfinite(right)
    width_px = np.zeros(depth_m.shape, np.float32)
    jump = np.abs(np.diff(disparity_px, axis=1)) + ragged[:, :-1]
    width_px[:, :-1] = np.where(step & (right < left), jump, 0)
    shadow = np.zeros(depth_m.shape, bool)
    for back in range(min(LONGEST, depth_m.shape[1])):
        shadow[:, : depth_m.shape[1] - back] |= width_px[:, back:] > back
    shadow[:, :-1] |= step & (ragged[:, :-1] > 0)  # the seam at other edges, here and there
    return shadow


def _noise(height: int, width: int, cell: int, rng: np.random.Generator) -> Float:
    """Return smooth noise: values of a grid, and lines between them."""
    grid = rng.standard_normal((height // cell + 2, width // cell + 2), np.float32)
    rows = np.linspace(0, height / cell, height, endpoint=False, dtype=np.float32)
    columns = np.linspace(0, width / cell, width, endpoint=False, dtype=np.float32)
    at_row, at_column = rows.astype(int), columns.astype(int)
    down, along = (rows - at_row)[:, None], (columns - at_column)[None]
    above, below = grid[at_row], grid[at_row + 1]
    mixed = above * (1 - down) + below * down
    smooth: Float = mixed[:, at_column] * (1 - along) + mixed[:, at_column + 1] * along
    return smooth
