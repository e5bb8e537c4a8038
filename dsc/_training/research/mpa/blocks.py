"""Blocks whose perceptron has side paths, and stages of blocks that share one split."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from dsc._training.research.mpa.levels import LevelGain
from dsc._training.research.mpa.paths import EXPANSION, Mlp, SidePath, Split, side_path

KERNEL = 5  # of the depthwise convolution that stands for attention


@dataclass(frozen=True)
class Route:
    """Which side path is taken, and by how many.

    Attributes
    ----------
    path
        Name of the side path.
    position
        Level or slider, 1 to 8, (B,).
    fraction
        Part of the positions that stays on the main path, (B,).
    """

    path: str
    position: Tensor
    fraction: Tensor


@dataclass(frozen=True)
class Aside:
    """Which side path the blocks of a stage take, and where.

    Attributes
    ----------
    mask
        (B, H, W, 1): one where the main path is taken, zero where the side path is.
    """

    path: str
    mask: Tensor


class PathBlock(nn.Module):
    """A residual block: a depthwise convolution, then main and side paths.

    The depthwise convolution, which all paths share, stands where the paper has neighbourhood
    attention. Both branches are scaled by a vector a level, and start at zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixer = nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels)
        self.main = Mlp(channels, EXPANSION * channels)
        self.mixer_gain, self.gain = LevelGain(channels), LevelGain(channels)
        self.sides = nn.ModuleDict()
        for layer in (self.mixer, self.main.project):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, x: Tensor, level: Tensor, aside: Aside | None) -> Tensor:
        """Map (B, C, H, W) to the same shape at levels (B,)."""
        x = x + self.mixer(x) * self.mixer_gain(level)[..., None, None]
        tokens = x.permute(0, 2, 3, 1)
        main: Tensor = self.main(tokens)
        branch = main if aside is None else self._aggregate(tokens, main, aside)
        branch = branch * self.gain(level)[:, None, None]
        mixed: Tensor = x + branch.permute(0, 3, 1, 2)
        return mixed

    def _aggregate(self, tokens: Tensor, main: Tensor, aside: Aside) -> Tensor:
        side = cast(SidePath, self.sides[aside.path]).along(tokens, self.main)
        if aside.mask.requires_grad:
            return aside.mask * main + (1 - aside.mask) * side
        return torch.where(aside.mask.bool(), main, side)


class Stage(nn.Module):
    """Blocks at one resolution; a route's split is made once, before the first."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.channels = channels
        self.blocks = nn.ModuleList(PathBlock(channels) for _ in range(blocks))
        self.splits = nn.ModuleDict()

    def add_path(self, name: str, kind: str, fractions: Tensor) -> None:
        """Add a side path to every block, and the split that leads to it.

        Parameters
        ----------
        kind
            See `side_path`.
        fractions
            See `Split`.
        """
        # in the mode of the rest: a split in training mode would draw positions in evaluation
        self.splits[name] = Split(self.channels, fractions).train(self.training)
        for block in map(_as_block, self.blocks):
            block.sides[name] = side_path(kind, block.main).train(self.training)

    def path_modules(self, name: str) -> list[nn.Module]:
        """Return the modules of one path: its split, and its side path of every block."""
        return [self.splits[name], *(_as_block(block).sides[name] for block in self.blocks)]

    def forward(self, x: Tensor, level: Tensor, route: Route | None) -> tuple[Tensor, list[Tensor]]:
        """Map (B, C, H, W) to the same shape, and give the mask (B, H, W, 1) of the split.

        Without a route, and where the route's path is not, all goes the main way; there is no
        mask then.
        """
        aside = None
        if route is not None and route.path in self.splits:
            tokens = x.permute(0, 2, 3, 1)
            mask = self.splits[route.path](tokens, route.position, route.fraction)
            aside = Aside(route.path, mask)
        for block in self.blocks:
            x = block(x, level, aside)
        return x, [] if aside is None else [aside.mask]


def _as_block(module: nn.Module) -> PathBlock:
    return cast(PathBlock, module)
