"""Building blocks of the transforms: depthwise and 1×1 convolutions at 1/16, 1/8 and 1/4."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPES = (8.0, 512.0)  # edges saturate the first; tan of a surface's tilt is about the second


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    """Make a 1×1 convolution."""
    return nn.Conv2d(inputs, outputs, 1)


def silent(layer: nn.Conv2d) -> nn.Conv2d:
    """Make a layer start at zero, so that it adds nothing until it has learned something."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


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
        self.project = silent(pointwise(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        gated: Tensor = self.project(F.glu(self.expand(self.depthwise(x)), dim=1))
        return x + gated


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(GatedBlock(width) for _ in range(count)))


class TaskAnalysis(nn.Module):
    """One task's own analysis: (B, c, H, W) to features (B, width_16, H/16, W/16).

    Parameters
    ----------
    channels
        c.
    width_8, width_16, blocks
        Channels, and residual blocks, at 1/8 and at 1/16.
    given
        Channels of the latents of required streams, which it sees at 1/16; 0 for none.
    guides
        Channels of `guide_planes`, which it sees at 1/8; 0 for none.
    """

    def __init__(
        self,
        channels: int,
        width_8: int,
        width_16: int,
        blocks: tuple[int, int],
        given: int = 0,
        guides: int = 0,
    ) -> None:
        super().__init__()
        self.stem = pointwise(channels * 64, width_8)
        self.blocks_8 = _blocks(width_8, blocks[0])
        self.down = pointwise(width_8 * 4, width_16)
        self.blocks_16 = _blocks(width_16, blocks[1])
        if given:
            self.given = silent(pointwise(given, width_16))
        if guides:
            self.guide = silent(pointwise(guides * 64, width_8))

    def forward(
        self, x: Tensor, given: Tensor | None = None, guides: Tensor | None = None
    ) -> Tensor:
        """Analyse (B, c, H, W), H and W multiples of 16."""
        x = self.stem(F.pixel_unshuffle(x, 8))
        if guides is not None:
            x = x + self.guide(unshuffle(guides, 8))
        x = self.blocks_8(x.to(self.down.weight.dtype))
        x = self.down(F.pixel_unshuffle(x, 2))
        if given is not None:
            x = x + self.given(given.to(x.dtype))
        features: Tensor = self.blocks_16(x)
        return features


class TaskSynthesis(nn.Module):
    """One task's synthesis: latents of its stream and those it requires to (B, c, H, W).

    Parameters
    ----------
    latents
        Channels of all those latents.
    channels
        c.
    width_8, width_16, blocks
        As in `TaskAnalysis`.
    guides
        Channels of `guide_planes`, which it sees at 1/8; 0 for none.
    refine
        Channels and blocks of the refinement at 1/4; (0, 0) for none.
    """

    def __init__(
        self,
        latents: int,
        channels: int,
        width_8: int,
        width_16: int,
        blocks: tuple[int, int],
        guides: int = 0,
        refine: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.entry = pointwise(latents, width_16)
        self.blocks_16 = _blocks(width_16, blocks[1])
        self.up = pointwise(width_16, width_8 * 4)
        self.blocks_8 = _blocks(width_8, blocks[0])
        self.exit = pointwise(width_8, channels * 64)
        if guides:
            self.guide = silent(pointwise(guides * 64, width_8))
        self.refine = Refinement(channels, *refine) if refine[1] else None

    def forward(self, y: Tensor, guides: Tensor | None = None) -> Tensor:
        """Synthesise from the dequantised latents, in the weights' dtype; gives float32.

        Parameters
        ----------
        y
            (B, latents, H/16, W/16).
        guides
            (B, guides, H, W).
        """
        dtype = self.entry.weight.dtype
        y = y.to(dtype, memory_format=torch.channels_last)
        x = F.pixel_shuffle(self.up(self.blocks_16(self.entry(y))), 2)
        if guides is not None:
            x = x + self.guide(unshuffle(guides.to(dtype), 8))
        x = self.exit(self.blocks_8(x))
        if self.refine is None:
            return F.pixel_shuffle(x.float(), 8)
        return self.refine(F.pixel_shuffle(x, 2))  # type: ignore[no-any-return]


class Refinement(nn.Module):
    """A residual stage at 1/4 that mends the seams of the 8×8 patches synthesis is made of."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.entry = pointwise(channels * 16, width)
        self.blocks = _blocks(width, blocks)
        self.exit = silent(pointwise(width, channels * 16))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 16 c, H/4, W/4), planes unshuffled by 4, to planes (B, c, H, W) float32."""
        x = x + self.exit(self.blocks(self.entry(x)))
        return F.pixel_shuffle(x.float(), 4)


def unshuffle(x: Tensor, factor: int) -> Tensor:
    """Do what `pixel_unshuffle` does, into channels_last, which the next convolution wants."""
    batch, channels, height, width = x.shape
    cut = x.reshape(batch, channels, height // factor, factor, width // factor, factor)
    rows = cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, height // factor, width // factor, -1)
    return rows.permute(0, 3, 1, 2)


def guide_channels(channels: int) -> int:
    """Return the channels of `guide_planes` for planes of `channels`."""
    return channels * (1 + 2 * len(SLOPES))


def guide_planes(planes: Tensor) -> Tensor:
    """Return decoded planes and their squashed gradients, as guidance for another task.

    Half the logarithm of depth has a gradient of tan(tilt) / (2 f), f the focal length in pixels:
    scaled by some 2 f and squashed, ``s g / sqrt(1 + s² |g|²)``, it is the normal of the surface.

    Parameters
    ----------
    planes
        (B, c, H, W) float32.

    Returns
    -------
    Tensor
        (B, `guide_channels`, H, W).
    """
    padded = F.pad(planes, (1, 1, 1, 1), mode="replicate")
    across = 0.5 * (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2])
    down = 0.5 * (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1])
    steep = across * across + down * down
    found = [planes]
    for slope in SLOPES:
        factor = slope * torch.rsqrt(1 + slope**2 * steep)
        found += [across * factor, down * factor]
    return torch.cat(found, dim=1)


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
