"""Building blocks of the transforms: depthwise and 1×1 convolutions at 1/8 and 1/16 resolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    """Make a 1×1 convolution."""
    return nn.Conv2d(inputs, outputs, 1)


class GatedBlock(nn.Module):
    """A residual block: depthwise 3×3, then a gated pair of 1×1 convolutions.

    ``x + W2(a * sigmoid(b))`` with ``a, b = W1(depthwise(x))``: the block of recent fast codecs
    (DCVC-RT, Jia et al. 2025) without its normalisation. W2 starts at zero, so that a network of
    such blocks starts as the linear transform around them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.expand = pointwise(channels, 2 * channels)
        self.project = pointwise(channels, channels)
        for parameter in self.project.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        gated: Tensor = self.project(F.glu(self.expand(self.depthwise(x)), dim=1))
        return x + gated


class TaskAnalysis(nn.Module):
    """One task's own analysis: (B, c, H, W) to features (B, width_16, H/16, W/16)."""

    def __init__(self, channels: int, width_8: int, width_16: int, blocks: tuple[int, int]) -> None:
        super().__init__()
        self.stem = pointwise(channels * 64, width_8)
        self.blocks_8 = nn.Sequential(*(GatedBlock(width_8) for _ in range(blocks[0])))
        self.down = pointwise(width_8 * 4, width_16)
        self.blocks_16 = nn.Sequential(*(GatedBlock(width_16) for _ in range(blocks[1])))

    def forward(self, x: Tensor) -> Tensor:
        """Analyse (B, c, H, W), H and W multiples of 16."""
        x = self.stem(F.pixel_unshuffle(x, 8)).to(self.down.weight.dtype)
        x = self.blocks_8(x)
        features: Tensor = self.blocks_16(self.down(F.pixel_unshuffle(x, 2)))
        return features


class TaskSynthesis(nn.Module):
    """One task's synthesis: latents (B, y_s + y_t, H/16, W/16) to (B, c, H, W)."""

    def __init__(
        self,
        latents: int,
        channels: int,
        width_8: int,
        width_16: int,
        blocks: tuple[int, int],
    ) -> None:
        super().__init__()
        self.entry = pointwise(latents, width_16)
        self.blocks_16 = nn.Sequential(*(GatedBlock(width_16) for _ in range(blocks[1])))
        self.up = pointwise(width_16, width_8 * 4)
        self.blocks_8 = nn.Sequential(*(GatedBlock(width_8) for _ in range(blocks[0])))
        self.exit = pointwise(width_8, channels * 64)

    def forward(self, y: Tensor) -> Tensor:
        """Synthesise from the dequantised latents, in the weights' dtype; gives float32."""
        y = y.to(self.entry.weight.dtype, memory_format=torch.channels_last)
        x = self.up(self.blocks_16(self.entry(y)))
        x = self.exit(self.blocks_8(F.pixel_shuffle(x, 2)))
        return F.pixel_shuffle(x.float(), 8)
