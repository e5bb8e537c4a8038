"""The network that restores a decoded picture: an integer correction of each of its pixels.

Pixels of s×s squares are channels, so that the layers run at 1/s of the resolution. Every block
adds to x what a 1×1 convolution makes of a rectified depthwise one. All results are integers that
are the same on every machine, in any batch and for any number of threads
(`dsc._coding.integer`): a restored picture is as certain as a decoded one.

How coarsely a picture was quantised goes in as one more plane, so that one network serves all
qualities, and scales the correction: a fine quantiser leaves little to restore, and below a
network's first one pictures stay as they are.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dsc._coding.integer import IntegerConv, clamp_through, round_half_up
from dsc._coding.weights_file import LIMIT

MIDDLE = 128  # pixels go in as their distance from it
MIDDLE_QUANTISER, QUANTISER_UNIT = 31, 2
SHIFT = 6
MOST = 255
MOST_FINE = 2047  # of the last layer, whose results are quarters of a gray level at full scale
FIRST_QUANTISER, LAST_QUANTISER = 33, 62
WHOLE = 64  # parts that the strength of a correction is given in
CHUNK_PIXELS = 1 << 16  # that go through the network at once; four times as many take twice as long


@dataclass(frozen=True)
class Shape:
    """Sizes of a network.

    Attributes
    ----------
    stride
        Side of the squares whose pixels are channels.
    width
        Channels of the layers.
    blocks
        How many there are.
    first_quantiser
        The finest one whose pictures are corrected.
    """

    stride: int
    width: int
    blocks: int
    first_quantiser: int = FIRST_QUANTISER


class RestorationNetwork(nn.Module):
    """From decoded pixels to corrections."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, pixels = shape.width, 3 * shape.stride**2
        self.entry = IntegerConv(pixels + 1, width, shift=SHIFT, low=-LIMIT)
        self.spread = nn.ModuleList(
            IntegerConv(width, width, kernel=3, shift=SHIFT) for _ in range(shape.blocks)
        )
        self.mix = nn.ModuleList(
            IntegerConv(width, width, shift=SHIFT, low=-2 * LIMIT, high=2 * LIMIT)
            for _ in range(shape.blocks)
        )
        self.correct = IntegerConv(width, pixels, shift=SHIFT, low=-MOST_FINE, high=MOST_FINE)
        with torch.no_grad():
            self.correct.weight.mul_(0.05)

    def forward(self, pixels: Tensor, quantiser: Tensor) -> Tensor:
        """Return corrections, integers, (B, 3, H, W) float32.

        Parameters
        ----------
        pixels
            (B, 3, H, W) float32, integers in [0, 255]; H and W are multiples of the stride.
        quantiser
            (B,) integers, 1 to 62.
        """
        x = self.entry(self.planes(pixels, quantiser))
        for spread, mix in zip(self.spread, self.mix, strict=True):
            x = clamp_through(x + mix(spread(x)), -LIMIT, LIMIT)
        return round_half_up(self.scaled(self.correct(x), quantiser))

    def planes(self, pixels: Tensor, quantiser: Tensor) -> Tensor:
        """Return what goes in: (B, 3 stride² + 1, H / stride, W / stride) integers within ±127."""
        x = F.pixel_unshuffle((pixels - MIDDLE).clamp(-LIMIT, LIMIT), self.shape.stride)
        plane = (quantiser.to(x.dtype) - MIDDLE_QUANTISER) * QUANTISER_UNIT
        return torch.cat([x, plane.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])], dim=1)

    def scaled(self, x: Tensor, quantiser: Tensor) -> Tensor:
        """Turn what the last layer gives into corrections, not yet rounded."""
        beyond = quantiser.to(x.dtype) - (self.shape.first_quantiser - 1)
        scale = beyond.clamp_min(0).view(-1, 1, 1, 1)
        return F.pixel_shuffle(x, self.shape.stride) * (scale * 2.0**-7)

    def layers(self) -> list[tuple[str, IntegerConv]]:
        """Return the layers by name, in a fixed order."""
        found = ((n, m) for n, m in self.named_modules() if isinstance(m, IntegerConv))
        return cast(list[tuple[str, IntegerConv]], sorted(found))


@torch.inference_mode()
def restore(
    network: RestorationNetwork,
    pictures: NDArray[np.uint8],
    quantisers: NDArray[np.uint8],
    strength: int = WHOLE,
) -> NDArray[np.uint8]:
    """Restore pictures of one size.

    Parameters
    ----------
    network
        Frozen.
    pictures
        (B, H, W, 3)
    quantisers
        (B,)
    strength
        Share of each correction that is made, in 64ths.
    """
    height, width = pictures.shape[1:3]
    chunk = max(1, CHUNK_PIXELS // (height * width))
    out = np.empty_like(pictures)
    for start in range(0, len(pictures), chunk):
        part = slice(start, start + chunk)
        pixels = torch.from_numpy(pictures[part]).permute(0, 3, 1, 2).float()
        stride = network.shape.stride
        padded = F.pad(pixels, (0, -width % stride, 0, -height % stride), mode="replicate")
        padded = padded.contiguous(memory_format=torch.channels_last)
        found = network(padded, torch.from_numpy(quantisers[part]))[..., :height, :width]
        if strength != WHOLE:
            found = round_half_up(found * (strength / WHOLE))
        restored = (pixels + found).clamp_(0, MOST).to(torch.uint8)
        out[part] = restored.permute(0, 2, 3, 1).numpy()
    return out
