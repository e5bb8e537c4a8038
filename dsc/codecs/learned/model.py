"""The shared-latent network: joint analysis, one latent and hyper-latent a stream, conditional.

Streams are ``shared`` and one a task. Each stream g has a latent y_g at 1/16 and a hyper-latent
z_g at 1/64 of the resolution. The entropy parameters of y_shared come from z_shared; those of a
task's y_t from (z_t, ŷ_shared), so that what is paid for a task is H(Y_t | Y_shared). Alvandian
and Bachmann ("Multi-Modal Multi-Task Data Compression") code all latents under one hyper-latent;
there, a subset of tasks needs all of it.

Rate is variable by gains (Cui et al., "Asymmetric gained deep image compression", CVPR 2021): y is
multiplied by a gain that depends on the quality before it is rounded, and divided after.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc.codecs.learned.integer import BIAS_UNIT, LIMIT, IntegerConv, clamp_through, round_half_up
from dsc.codecs.learned.layers import GatedBlock, TaskAnalysis, TaskSynthesis, pointwise

M = TypeVar("M", bound=nn.Module)

SHARED = "shared"
MEAN_STEPS = 16  # the mean of a latent is coded in sixteenths of a quantiser step
MEAN_LIMIT = 4095
SCALE_LEVELS = 64
SCALE_MIN, SCALE_MAX = 0.11, 128.0
Z_LIMIT = 31
Z_BUCKETS = 4  # quality ranges, each with its own tables for z
ANCHORS = 8  # qualities 1 .. 100 are interpolated between this many gain vectors


@dataclass(frozen=True)
class ModalitySpec:
    """Sizes of one modality's networks.

    Attributes
    ----------
    channels
        Channels of the network's input and output.
    width_8, latents
        Channels at 1/8, and at 1/16 (the latent's).
    blocks
        Residual blocks at 1/8 and at 1/16, in analysis and in synthesis.
    lambda_range
        λ at quality 1 and at quality 100, of λ · 255² · MSE.
    """

    channels: int
    width_8: int
    latents: int
    blocks: tuple[int, int]
    lambda_range: tuple[float, float]


@dataclass(frozen=True)
class ModelSpec:
    """Sizes of the whole network; JSON by `to_json` and `from_json`."""

    modalities: Mapping[str, ModalitySpec] = field(
        default_factory=lambda: {
            "rgb": ModalitySpec(3, 128, 192, (3, 2), (0.0012, 0.12)),
            "depth": ModalitySpec(1, 64, 64, (3, 2), (0.003, 3.0)),
            "normal": ModalitySpec(3, 96, 96, (3, 2), (0.004, 0.4)),
        }
    )
    shared_latents: int = 64
    joint_width: int = 128
    hyper_width: int = 64
    hyper_latents: int = 48

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON."""
        return {
            "modalities": {
                name: {
                    "channels": m.channels,
                    "width_8": m.width_8,
                    "latents": m.latents,
                    "blocks": list(m.blocks),
                    "lambda_range": list(m.lambda_range),
                }
                for name, m in self.modalities.items()
            },
            "shared_latents": self.shared_latents,
            "joint_width": self.joint_width,
            "hyper_width": self.hyper_width,
            "hyper_latents": self.hyper_latents,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ModelSpec":
        """Read what `to_json` gave."""
        modalities = {
            name: ModalitySpec(
                m["channels"], m["width_8"], m["latents"], tuple(m["blocks"]),
                tuple(m["lambda_range"]),
            )
            for name, m in value["modalities"].items()
        }  # fmt: skip
        rest = {key: int(number) for key, number in value.items() if key != "modalities"}
        return cls(modalities=modalities, **rest)


class Gain(nn.Module):
    """Gain vectors by quality, interpolated geometrically between anchors."""

    def __init__(self, channels: int, lambda_range: tuple[float, float], data_channels: int):
        super().__init__()
        quality = torch.linspace(0, 1, ANCHORS)
        lam = lambda_range[0] * (lambda_range[1] / lambda_range[0]) ** quality
        # high-resolution optimum of a uniform quantiser: step² / 12 = 0.72 c / (255² λ)
        step = (12 * 0.72 * data_channels / (255.0**2 * lam)).sqrt()
        self.log_gain = nn.Parameter((-step.log())[:, None].repeat(1, channels))

    def forward(self, quality: Tensor) -> Tensor:
        """Give gains (B, C, 1, 1) for qualities (B,) in [1, 100]."""
        position = (quality - 1) * ((ANCHORS - 1) / 99)
        low = position.floor().clamp(0, ANCHORS - 2).long()
        part = (position - low)[:, None]
        log_gain = self.log_gain[low] * (1 - part) + self.log_gain[low + 1] * part
        return log_gain.exp()[:, :, None, None]


class HyperAnalysis(nn.Module):
    """Latent (B, C, h, w) to hyper-latent (B, Cz, h/4, w/4); floating point, encoder only."""

    def __init__(self, latents: int, width: int, hyper_latents: int) -> None:
        super().__init__()
        self.entry = pointwise(latents, width)
        self.block = GatedBlock(width)
        self.down_1 = pointwise(width * 4, width)
        self.down_2 = pointwise(width * 4, hyper_latents)

    def forward(self, y: Tensor) -> Tensor:
        """Analyse y (in quantiser steps); asinh tames its range."""
        x = self.block(self.entry(torch.asinh(y)))
        x = F.silu(self.down_1(F.pixel_unshuffle(x, 2)))
        z: Tensor = self.down_2(F.pixel_unshuffle(x, 2))
        return z


class HyperSynthesis(nn.Module):
    """The integer network from (ẑ, quality[, ŷ_shared]) to scale indexes and means.

    Everything here is integers in float32; see `dsc.codecs.learned.integer`.
    """

    def __init__(self, latents: int, width: int, hyper_latents: int, context: int) -> None:
        super().__init__()
        self.latents = latents
        self.entry = IntegerConv(hyper_latents + 1, width, shift=8)
        self.up_1 = IntegerConv(width, width * 4, shift=8)
        self.smooth_1 = IntegerConv(width, width, kernel=3, shift=6)
        self.up_2 = IntegerConv(width, width * 4, shift=8)
        self.smooth_2 = IntegerConv(width, width, kernel=3, shift=6)
        self.context_spread: IntegerConv | None = None
        if context:
            self.context_spread = IntegerConv(context, context, kernel=3, shift=6, low=-LIMIT)
            self.context_mix = IntegerConv(context + 1, width, shift=8)
        self.mix = IntegerConv(width * (2 if context else 1), 2 * width, shift=8)
        self.scale = IntegerConv(2 * width, latents, shift=8, high=SCALE_LEVELS - 1)
        self.mean = IntegerConv(2 * width, latents, shift=6, low=-MEAN_LIMIT, high=MEAN_LIMIT)
        with torch.no_grad():
            self.scale.bias.fill_(20 / BIAS_UNIT)
            self.scale.weight.mul_(0.3)
            self.mean.weight.mul_(0.05)

    def forward(
        self,
        z: Tensor,
        quality: Tensor,
        size: tuple[int, int],
        context: Tensor | None,
        context_quality: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Give scale indexes [0, 63] and means [-4095, 4095], both (B, C, h, w) integers.

        Parameters
        ----------
        z
            ẑ, integers in [-31, 31], (B, Cz, ceil(h/4), ceil(w/4)).
        quality
            Integers 1 to 100, (B,).
        size
            (h, w) of y.
        context
            Integers in [-127, 127], (B, C_shared, h, w): ŷ_shared in quarters of a step.
        context_quality
            Quality of the shared stream, (B,).
        """
        x = self.entry(torch.cat([z * 4, _plane(quality, z)], dim=1))
        x = self.smooth_1(F.pixel_shuffle(self.up_1(x), 2))
        x = self.smooth_2(F.pixel_shuffle(self.up_2(x), 2))[..., : size[0], : size[1]]
        if self.context_spread is not None and context is not None and context_quality is not None:
            spread = self.context_spread(context)
            plane = _plane(context_quality, spread)
            x = torch.cat([x, self.context_mix(torch.cat([spread, plane], dim=1))], dim=1)
        x = self.mix(x)
        return self.scale(x), self.mean(x)


def _plane(quality: Tensor, like: Tensor) -> Tensor:
    batch, _, height, width = like.shape
    return quality.to(like.dtype).view(batch, 1, 1, 1).expand(batch, 1, height, width)


class HyperPrior(nn.Module):
    """Factorised prior of ẑ: a mixture of logistics a channel and quality bucket.

    Only training and export use it; the coder reads the integer tables made from it.
    """

    COMPONENTS = 3

    def __init__(self, hyper_latents: int) -> None:
        super().__init__()
        shape = (Z_BUCKETS, hyper_latents, self.COMPONENTS)
        self.weight = nn.Parameter(torch.zeros(shape))
        self.mean = nn.Parameter(torch.linspace(-1, 1, self.COMPONENTS).expand(shape).clone())
        self.log_scale = nn.Parameter(torch.zeros(shape))

    def forward(self, z: Tensor, bucket: Tensor) -> Tensor:
        """Give the likelihood of z (B, Cz, h, w); `bucket` (B,) indexes the quality."""
        weight = self.weight.softmax(-1)[bucket][:, :, None, None]
        mean = self.mean[bucket][:, :, None, None]
        inverse = (-self.log_scale.clamp(-4, 6)).exp()[bucket][:, :, None, None]
        upper = torch.sigmoid((z[..., None] + 0.5 - mean) * inverse)
        lower = torch.sigmoid((z[..., None] - 0.5 - mean) * inverse)
        return (weight * (upper - lower)).sum(-1).clamp_min(1e-9)


def quality_bucket(quality: Tensor) -> Tensor:
    """Give the bucket of z's tables for qualities 1 to 100."""
    return ((quality.long() - 1) * Z_BUCKETS // 100).clamp(0, Z_BUCKETS - 1)


def scale_table() -> Tensor:
    """Give the standard deviations, in quantiser steps, of the 64 scale indexes."""
    ratio = torch.tensor(SCALE_MAX / SCALE_MIN, dtype=torch.float64).log()
    return SCALE_MIN * torch.exp(torch.linspace(0, 1, SCALE_LEVELS, dtype=torch.float64) * ratio)


class StreamEntropy(nn.Module):
    """Everything about one stream's entropy model."""

    def __init__(self, spec: ModelSpec, latents: int, context: int) -> None:
        super().__init__()
        self.analysis = HyperAnalysis(latents, spec.hyper_width, spec.hyper_latents)
        self.synthesis = HyperSynthesis(latents, spec.hyper_width, spec.hyper_latents, context)
        self.prior = HyperPrior(spec.hyper_latents)


def _modules(members: dict[str, M]) -> Mapping[str, M]:
    """Register modules by name; typed as the mapping that a ModuleDict is."""
    return cast(Mapping[str, M], nn.ModuleDict(cast(dict[str, nn.Module], members)))


class SharedLatentModel(nn.Module):
    """Analysis, entropy models and synthesis of all modalities."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        sizes, shared, joint = spec.modalities, spec.shared_latents, spec.joint_width
        depth_like = sizes.get("depth") or next(iter(sizes.values()))
        self.analysis = _modules(
            {n: TaskAnalysis(m.channels, m.width_8, m.latents, m.blocks) for n, m in sizes.items()}
        )
        self.synthesis = _modules(
            {
                n: TaskSynthesis(shared + m.latents, m.channels, m.width_8, m.latents, m.blocks)
                for n, m in sizes.items()
            }
        )
        self.gain = _modules(
            {n: Gain(m.latents, m.lambda_range, m.channels) for n, m in sizes.items()}
            | {SHARED: Gain(shared, depth_like.lambda_range, depth_like.channels)}
        )
        self.entropy = _modules(
            {n: StreamEntropy(spec, m.latents, shared) for n, m in sizes.items()}
            | {SHARED: StreamEntropy(spec, shared, 0)}
        )
        # from a task's own features, and from the joint ones, to its latent
        self.private = _modules({n: pointwise(m.latents, m.latents) for n, m in sizes.items()})
        self.joint_private = _modules({n: pointwise(joint, m.latents) for n, m in sizes.items()})
        widest = sum(m.latents for m in spec.modalities.values())
        self.joint_entry = pointwise(widest + len(spec.modalities), spec.joint_width)
        self.joint_blocks = nn.Sequential(*(GatedBlock(spec.joint_width) for _ in range(2)))
        self.to_shared = pointwise(widest, spec.shared_latents)
        self.joint_shared = pointwise(spec.joint_width, spec.shared_latents)

    def analyse(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give the latents of all streams, not yet scaled by a gain.

        Parameters
        ----------
        inputs
            (B, c, H, W) by modality, H and W multiples of 16; any subset of modalities.

        Returns
        -------
        dict
            y by stream, ``shared`` first: (B, C, H/16, W/16).
        """
        own = {name: self.analysis[name](x).float() for name, x in inputs.items()}
        some = next(iter(own.values()))
        batch, _, height, width = some.shape
        parts, flags = [], []
        for name, m in self.spec.modalities.items():
            found = own.get(name)
            parts.append(
                some.new_zeros(batch, m.latents, height, width) if found is None else found
            )
            flags.append(some.new_full((batch, 1, height, width), float(found is not None)))
        features = torch.cat(parts, dim=1)
        joint = self.joint_blocks(self.joint_entry(torch.cat([features, *flags], dim=1)))
        latents = {SHARED: self.to_shared(features) + self.joint_shared(joint)}
        for name, x in own.items():
            latents[name] = self.private[name](x) + self.joint_private[name](joint)
        return {name: y.float() for name, y in latents.items()}

    def synthesise(self, task: str, y_shared: Tensor, y_task: Tensor) -> Tensor:
        """Give (B, c, H, W) of one modality from dequantised latents."""
        out: Tensor = self.synthesis[task](torch.cat([y_shared, y_task], dim=1))
        return out

    def quicken(self) -> None:
        """Run the synthesis of 8-bit tasks in bfloat16: 1.5 times as fast for 0.05 dB.

        Depth keeps float32: eight bits of mantissa would be a relative error of 0.4 %. So does the
        analysis of rgb, which would lose as much again; that of normals, after its stem, does not.
        """
        if "normal" in self.analysis:
            self.analysis["normal"].to(torch.bfloat16).stem.float()
        for name, network in self.synthesis.items():
            if name != "depth":
                network.to(torch.bfloat16)
        self.to(memory_format=torch.channels_last)

    def integer_modules(self) -> list[IntegerConv]:
        """List the layers of all integer networks."""
        return [m for m in self.modules() if isinstance(m, IntegerConv)]


def pad_hyper(y: Tensor) -> Tensor:
    """Pad a latent with zeros to multiples of 4 in height and width."""
    height, width = y.shape[-2:]
    return F.pad(y, (0, -width % 4, 0, -height % 4))


def context_of(symbols: Tensor, mean: Tensor) -> Tensor:
    """Give ŷ_shared as the integers that condition the other streams.

    ŷ = symbols + mean / 16 in quantiser steps; the context is floor(4 ŷ), clamped to ±127.
    """
    quarters = (symbols * MEAN_STEPS + mean) * 0.25
    floored = torch.floor(quarters.detach())
    through = quarters + (floored - quarters.detach()) if quarters.requires_grad else floored
    return clamp_through(through, -LIMIT, LIMIT)


def lambdas(spec: ModalitySpec, quality: Tensor) -> Tensor:
    """Give λ for qualities 1 to 100 (log-linear)."""
    low, high = spec.lambda_range
    return low * (high / low) ** ((quality - 1) / 99)


def quantise_hyper(z: Tensor) -> Tensor:
    """Round and clamp z to ẑ."""
    return clamp_through(round_half_up(z), -Z_LIMIT, Z_LIMIT)
