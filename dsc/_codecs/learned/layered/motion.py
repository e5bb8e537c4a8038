"""Motion between two frames, block by block, and pictures and integers moved by it.

Motion is in half pixels: one vector (down, across) for each block of 16×16 pixels, which says where
in the frame before a block comes from. The encoder looks for it; whoever decodes is told.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 16
REACH = 24  # pixels
STILL = 0.012  # what a pixel of motion must save, of the mean absolute error of planes
HALF_REACH = 2 * REACH + 3  # most half pixels there are, after refinement


def find_motion(previous: Tensor, current: Tensor) -> Tensor:
    """Look for the motion from one frame to the next: whole pixels by blocks, then halves.

    Parameters
    ----------
    previous, current
        Planes (1, c, H, W) float32, H and W multiples of 32.

    Returns
    -------
    Tensor
        (1, 2, H / 16, W / 16) int32, half pixels, within ±`HALF_REACH`.
    """
    before, now = previous.mean(1, keepdim=True), current.mean(1, keepdim=True)
    found = 4 * _coarse_search(F.avg_pool2d(before, 2), F.avg_pool2d(now, 2), REACH // 2)
    for step in (2, 1):  # a pixel, half a pixel
        around = [(dy * step, dx * step) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        found = _refine(before, now, found, around)
    return found


def _coarse_search(before: Tensor, now: Tensor, reach: int) -> Tensor:
    """Return the best whole displacements of blocks at half resolution, (1, 2, h, w) int32."""
    height, width = now.shape[-2:]
    padded = F.pad(before, (reach,) * 4, mode="replicate")
    best: Tensor | None = None
    found = torch.zeros(1, 2, height * 2 // BLOCK, width * 2 // BLOCK, dtype=torch.int32)
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            top, left = reach + down, reach + across
            moved = padded[..., top : top + height, left : left + width]
            cost = _block_error(now, moved, BLOCK // 2) + STILL / 16 * (abs(down) + abs(across))
            if best is None:
                best = torch.full_like(cost, torch.inf)
            better = cost < best
            best = torch.where(better, cost, best)
            found[:, 0:1][better] = down
            found[:, 1:2][better] = across
    return found


def _refine(
    before: Tensor, now: Tensor, motion: Tensor, around: Iterable[tuple[int, int]]
) -> Tensor:
    """Return the best of some displacements around each vector, half pixels."""
    candidates = [motion + torch.tensor(one, dtype=torch.int32).view(1, 2, 1, 1) for one in around]
    costs = torch.cat([_block_error(now, warp(before, one), BLOCK) for one in candidates], dim=1)
    best = costs.argmin(dim=1, keepdim=True)[:, None].expand(-1, 1, 2, -1, -1)
    return torch.stack(candidates, dim=1).gather(1, best)[:, 0]


def _block_error(a: Tensor, b: Tensor, block: int) -> Tensor:
    """Return the mean absolute difference of each block, (1, 1, h, w)."""
    return F.avg_pool2d((a - b).abs(), block)


def warp(planes: Tensor, motion: Tensor) -> Tensor:
    """Move planes (B, c, H, W) by motion (B, 2, H / 16, W / 16); edges go on outside.

    Floating point: between pixels it interpolates.
    """
    height, width = planes.shape[-2:]
    moved = motion.to(planes.dtype).repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3) / 2
    rows = torch.arange(height, dtype=planes.dtype, device=planes.device)[:, None] + moved[:, 0]
    columns = torch.arange(width, dtype=planes.dtype, device=planes.device) + moved[:, 1]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    out: Tensor = F.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    return out


def shift(integers: Tensor, motion: Tensor, stride: int) -> Tensor:
    """Move integers of a latent (B, C, H / stride, W / stride) by the nearest whole positions.

    Nothing is interpolated: what comes out are integers that went in, the same on every machine.
    """
    height, width = integers.shape[-2:]
    halves = 2 * stride
    whole = torch.div(motion + stride, halves, rounding_mode="floor")  # halves round up
    if stride > BLOCK:
        whole = whole[:, :, :: stride // BLOCK, :: stride // BLOCK]
    else:
        each = BLOCK // stride
        whole = whole.repeat_interleave(each, 2).repeat_interleave(each, 3)
    device = integers.device
    rows = (torch.arange(height, device=device)[:, None] + whole[:, 0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=device) + whole[:, 1]).clamp(0, width - 1)
    places = (rows * width + columns).long().flatten(1)[:, None].expand(-1, integers.shape[1], -1)
    return integers.flatten(2).gather(2, places).view_as(integers)
