"""Predicts a task's planes from the decoded planes of the tasks that it requires.

What can be told from depth is not paid for again: a stream codes the difference between its planes
and their prediction. Normals are such planes; they follow from the gradients of the logarithm of
depth (`dsc._codecs.learned.layers.guide_planes`) but for the edges that lossy depth has blurred,
and these are what is left to code. The prediction is floating point and is added to what synthesis
gives, so it never reaches the entropy coder.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from dsc._codecs.learned.layers import GatedBlock, pointwise, silent, unshuffle


class PlanePrediction(nn.Module):
    """From `guide_planes` to planes: blocks at 1/4, with a look around at 1/16 between them.

    It starts at zero, so that an untrained chain codes the planes themselves.

    Parameters
    ----------
    guides
        Channels of the guide planes.
    channels
        Channels of the planes that are predicted.
    width, blocks
        Channels, and blocks before and after the look around, at 1/4; twice the channels at 1/16.
    """

    def __init__(self, guides: int, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.entry = pointwise(guides * 16, width)
        self.near = nn.Sequential(*(GatedBlock(width) for _ in range(blocks)))
        self.down = pointwise(width * 16, 2 * width)
        self.around = nn.Sequential(*(GatedBlock(2 * width) for _ in range(blocks)))
        self.up = silent(pointwise(2 * width, width * 16))
        self.late = nn.Sequential(*(GatedBlock(width) for _ in range(blocks)))
        self.exit = silent(pointwise(width, channels * 16))

    def forward(self, guides: Tensor) -> Tensor:
        """Map (B, guides, H, W), H and W multiples of 16, to planes (B, channels, H, W) float32."""
        x = self.near(self.entry(unshuffle(guides.to(self.entry.weight.dtype), 4)))
        x = x + F.pixel_shuffle(self.up(self.around(self.down(F.pixel_unshuffle(x, 4)))), 4)
        return F.pixel_shuffle(self.exit(self.late(x)).float(), 4)
