"""A scale hyperprior with several inputs, groups of latents, and a synthesis transform a task.

One analysis transform codes the concatenated inputs into one latent y, whose channels are split
into groups; one hyper-latent z over all of them gives their scales (Ballé et al. 2018, "Variational
image compression with a scale hyperprior"). Each task's synthesis transform sees the groups that
the layout names.

Rates are estimated: with additive uniform noise in training, from the rounded values in evaluation.
Both come from compressai's densities, so the quantiles of its entropy bottleneck, which only its
range coder needs, are not trained, and there is no auxiliary loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.layers import GDN
from compressai.models.utils import conv, deconv
from torch import Tensor, nn


@dataclass(frozen=True)
class HyperpriorLayout:
    """One scale hyperprior: what it codes, into which groups, and who sees them.

    Attributes
    ----------
    inputs
        Modalities that the analysis transform sees, in order.
    groups
        Channels of the latent by stream.
    sees
        Streams that the synthesis transform of each task is given.
    hyper
        The stream that pays for z.
    """

    inputs: tuple[str, ...]
    groups: Mapping[str, int]
    sees: Mapping[str, tuple[str, ...]]
    hyper: str


class HyperpriorCodec(nn.Module):
    """One scale hyperprior with a layout.

    Parameters
    ----------
    channels
        Channels of the planes by modality.
    width
        Channels inside analysis and synthesis, N of the paper of Ballé et al.
    hyper_width
        Channels inside the hyperprior and of z.
    """

    def __init__(
        self, layout: HyperpriorLayout, channels: Mapping[str, int], width: int, hyper_width: int
    ) -> None:
        super().__init__()
        self.layout = layout
        latents = sum(layout.groups.values())
        self.analysis = _analysis(sum(channels[name] for name in layout.inputs), width, latents)
        self.synthesis = nn.ModuleDict(
            {
                task: _synthesis(sum(layout.groups[name] for name in seen), width, channels[task])
                for task, seen in layout.sees.items()
            }
        )
        self.hyper_analysis = _hyper_analysis(latents, hyper_width)
        self.hyper_synthesis = _hyper_synthesis(hyper_width, latents)
        self.bottleneck = EntropyBottleneck(hyper_width)
        self.bottleneck.quantiles.requires_grad_(False)
        self.conditional = GaussianConditional(None)

    def forward(
        self, inputs: Mapping[str, Tensor], wanted: Sequence[str], bfloat16: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return bits a sample (B,) by stream, and planes by wanted task.

        The synthesis transforms see rounded latents, with straight-through gradients.
        """
        x = torch.cat([inputs[name] for name in self.layout.inputs], dim=1)
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            y = self.analysis(x)
            z = self.hyper_analysis(y.abs())
        y, z = y.float(), z.float()
        _, z_likelihood = self.bottleneck(z)
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            scales = self.hyper_synthesis(_round(z))
        _, y_likelihood = self.conditional(y, scales.float())
        sizes = list(self.layout.groups.values())
        bits = {
            name: _bits(part)
            for name, part in zip(
                self.layout.groups, torch.split(y_likelihood, sizes, dim=1), strict=True
            )
        }
        hyper = self.layout.hyper
        bits[hyper] = _bits(z_likelihood) + bits.get(hyper, torch.zeros(len(x), device=x.device))
        groups = dict(zip(self.layout.groups, torch.split(_round(y), sizes, dim=1), strict=True))
        planes = {}
        for task in wanted:
            seen = torch.cat([groups[name] for name in self.layout.sees[task]], dim=1)
            with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bfloat16):
                planes[task] = self.synthesis[task](seen)
            planes[task] = planes[task].float()
        return bits, planes


def _analysis(inputs: int, width: int, latents: int) -> nn.Sequential:
    return nn.Sequential(
        conv(inputs, width), GDN(width), conv(width, width), GDN(width),
        conv(width, width), GDN(width), conv(width, latents),
    )  # fmt: skip


def _synthesis(latents: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        deconv(latents, width), GDN(width, inverse=True), deconv(width, width),
        GDN(width, inverse=True), deconv(width, width), GDN(width, inverse=True),
        deconv(width, outputs),
    )  # fmt: skip


def _hyper_analysis(latents: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        conv(latents, width, stride=1, kernel_size=3), nn.ReLU(), conv(width, width), nn.ReLU(),
        conv(width, width),
    )  # fmt: skip


def _hyper_synthesis(width: int, latents: int) -> nn.Sequential:
    return nn.Sequential(
        deconv(width, width), nn.ReLU(), deconv(width, width), nn.ReLU(),
        conv(width, latents, stride=1, kernel_size=3), nn.ReLU(),
    )  # fmt: skip


def _round(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


def _bits(likelihood: Tensor) -> Tensor:
    return -torch.log2(likelihood).sum(dim=(1, 2, 3))
