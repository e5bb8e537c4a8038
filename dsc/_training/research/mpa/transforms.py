"""The codec's two transforms: three stages each, of which some have side paths."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._codecs.learned.network.klt import principal_directions, set_pointwise
from dsc._codecs.learned.network.layers import pointwise
from dsc._training.research.mpa.blocks import Route, Stage
from dsc._training.research.mpa.levels import by_level, encoder_fraction
from dsc._training.research.mpa.spec import CodecSpec

RATE_PATH = "rate"  # the encoder's side path
STEM = 4  # side of the blocks that a picture is cut into, pixels


class Analysis(nn.Module):
    """Pictures to latents; the first two stages have a side path for low rates."""

    def __init__(self, spec: CodecSpec) -> None:
        super().__init__()
        inputs = (3 * STEM**2, *(4 * width for width in spec.widths[:-1]))
        self.downs = nn.ModuleList(
            pointwise(had, width) for had, width in zip(inputs, spec.widths, strict=True)
        )
        self.stages = nn.ModuleList(map(Stage, spec.widths, spec.blocks))
        self.exit = pointwise(spec.widths[-1], spec.latents)
        for stage in self.stages[:-1]:
            cast(Stage, stage).add_path(RATE_PATH, "bottleneck", by_level(encoder_fraction))

    def forward(self, x: Tensor, level: Tensor, route: Route) -> tuple[Tensor, list[Tensor]]:
        """Return the latent (B, M, H/16, W/16) of planes (B, 3, H, W), and the splits' masks."""
        x = x.contiguous(memory_format=torch.channels_last)
        masks: list[Tensor] = []
        for at, (down, stage) in enumerate(zip(self.downs, self.stages, strict=True)):
            x = down(F.pixel_unshuffle(x, STEM if at == 0 else 2))
            x, found = stage(x, level, route)
            masks += found
        return self.exit(x), masks


class Synthesis(nn.Module):
    """Latents to pictures; the last two stages take the paths that tasks add."""

    def __init__(self, spec: CodecSpec) -> None:
        super().__init__()
        widths = tuple(reversed(spec.widths))
        outputs = (*(4 * width for width in widths[1:]), 3 * STEM**2)
        self.entry = pointwise(spec.latents, widths[0])
        self.stages = nn.ModuleList(map(Stage, widths, reversed(spec.blocks)))
        self.ups = nn.ModuleList(
            pointwise(width, out) for width, out in zip(widths, outputs, strict=True)
        )

    def path_stages(self) -> list[Stage]:
        """Return the stages that have side paths."""
        return [cast(Stage, stage) for stage in self.stages[1:]]

    def forward(
        self, latent: Tensor, level: Tensor, route: Route | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return planes (B, 3, H, W) of a latent (B, M, H/16, W/16), and the splits' masks."""
        x = self.entry(latent.contiguous(memory_format=torch.channels_last))
        masks: list[Tensor] = []
        for stage, up in zip(self.stages, self.ups, strict=True):
            x, found = stage(x, level, route)
            masks += found
            x = F.pixel_shuffle(up(x), STEM if up is self.ups[-1] else 2)
        return x, masks


@torch.no_grad()
def initialise_klt(analysis: Analysis, synthesis: Synthesis, planes: Tensor) -> None:
    """Start both as the KLT of blocks of pictures (N, 3, H, W), stage after stage.

    The blocks' branches start at zero, so that untrained transforms are linear.
    """
    x = planes
    for at, (down, up) in enumerate(zip(analysis.downs, reversed(synthesis.ups), strict=True)):
        x = F.pixel_unshuffle(x, STEM if at == 0 else 2)
        basis = principal_directions(x, cast(nn.Conv2d, down).out_channels)
        set_pointwise(down, basis)
        set_pointwise(up, basis.T)
        x = torch.einsum("oc,nchw->nohw", basis, x)
    eye = torch.eye(analysis.exit.out_channels, analysis.exit.in_channels)
    set_pointwise(analysis.exit, eye)
    set_pointwise(synthesis.entry, eye.T)
