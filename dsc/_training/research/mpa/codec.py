"""A picture codec of eight levels of rate, to whose decoder paths can be added.

Analysis and synthesis have three stages, at 1/4, 1/8 and 1/16 of the picture's sides. The
encoder's first two have one cheap side path, which the low levels of rate take more of; the
decoder's last two get a side path for each task. The deepest stage and the hyperprior have none, as
in the paper. Rates are estimated as dsc's own networks estimate them: a hyper-latent, and from it
scales and means by integer layers.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._codecs.coding.integer import round_half_up
from dsc._codecs.learned.network.entropy import (
    MEAN_STEPS,
    HyperAnalysis,
    HyperPrior,
    HyperSynthesis,
    pad_hyper,
    quality_bucket,
    quantise_hyper,
)
from dsc._codecs.learned.network.klt import principal_directions, set_pointwise
from dsc._codecs.learned.network.layers import pointwise
from dsc._codecs.learned.network.rate import bits_of, gaussian_likelihood
from dsc._training.research.mpa.blocks import Route, Stage
from dsc._training.research.mpa.levels import (
    LEVELS,
    LevelGain,
    check_level,
    decoder_fraction,
    encoder_fraction,
)
from dsc._training.research.mpa.paths import begin_at
from dsc.errors import UnknownTaskError, UsageError

UNIT = 16  # sides of pictures are multiples of this
RATE_PATH = "rate"  # the encoder's side path
PEAK_SQUARED = 255.0**2
LAMBDAS = 0.0006, 0.055  # of the first and the last level, geometric between them
STEM = 4  # side of the blocks that a picture is cut into, pixels


def rate_lambda(level: Tensor) -> Tensor:
    """Return λ (B,), what 255² · MSE is worth in bits a pixel at levels (B,)."""
    low, high = LAMBDAS
    return low * (high / low) ** ((level - 1) / (LEVELS - 1))


@dataclass(frozen=True)
class CodecSpec:
    """Sizes of a codec.

    Attributes
    ----------
    widths, blocks
        Channels, and number of blocks, at 1/4, 1/8 and 1/16 of the picture's sides.
    latents
        Channels of the latent, at most those at 1/16.
    hyper_width, hyper_latents
        Channels inside the hyperprior, and of its latent.
    """

    widths: tuple[int, int, int] = (48, 64, 192)
    blocks: tuple[int, int, int] = (1, 2, 2)
    latents: int = 160
    hyper_width: int = 64
    hyper_latents: int = 32


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of pictures.

    Attributes
    ----------
    symbols, hyper
        What is written: residuals of the latent in quantiser steps (B, M, H/16, W/16), and the
        hyper-latent, integers.
    latent
        What the decoder has then, dequantised, (B, M, H/16, W/16).
    rate_bpp
        Estimated bits a pixel, (B,).
    masks
        Where the encoder's stages went the main way, each (B, h, w, 1).
    """

    symbols: Tensor
    hyper: Tensor
    latent: Tensor
    rate_bpp: Tensor
    masks: list[Tensor]


@dataclass(frozen=True)
class Decoded:
    """Pictures by one path.

    Attributes
    ----------
    planes
        (B, 3, H, W), about [-0.5, 0.5].
    masks
        Where the decoder's stages went the main way, each (B, h, w, 1); none on the main path.
    """

    planes: Tensor
    masks: list[Tensor]


class MultiPathCodec(nn.Module):
    """A codec of pictures (B, 3, H, W) with one bitstream and a decoder path a task."""

    def __init__(self, spec: CodecSpec | None = None) -> None:
        super().__init__()
        self.spec = spec = spec or CodecSpec()
        if spec.latents > spec.widths[-1]:
            raise UsageError(
                f"{spec.latents} latents: at most {spec.widths[-1]}, the width of the deepest stage"
            )
        self.analysis = Analysis(spec)
        self.synthesis = Synthesis(spec)
        # a step Δ costs -log2 Δ bits a coefficient and leaves λ 255² Δ² / 36: where both agree
        at = rate_lambda(torch.arange(1.0, LEVELS + 1))
        gains = (math.log(2) * PEAK_SQUARED / 18 * at).sqrt().tolist()
        self.gain = LevelGain(spec.latents, gains)
        self.inverse_gain = LevelGain(spec.latents, [1 / gain for gain in gains])
        self.hyper_analysis = HyperAnalysis(spec.latents, spec.hyper_width, spec.hyper_latents)
        self.hyper_synthesis = HyperSynthesis(spec.latents, spec.hyper_width, spec.hyper_latents, 0)
        self.prior = HyperPrior(spec.hyper_latents)
        self.tasks: dict[str, str] = {}

    def add_task(self, task: str, kind: str) -> None:
        """Add a decoder path.

        It starts from the main path: as that itself where `kind` is ``inverted`` or ``lora-R``,
        else near it (`dsc._training.research.mpa.paths.side_path`).

        Raises
        ------
        UsageError
            When there is a path of that name, or no such kind.
        """
        if task in self.tasks:
            raise UsageError(f"task {task!r}: there is a {self.tasks[task]} path of that name")
        for stage in self.synthesis.path_stages():
            stage.add_path(task, kind, begin_at(decoder_fraction))
        self.tasks[task] = kind

    def encode(self, planes: Tensor, level: Tensor) -> Encoded:
        """Encode pictures; in training mode, with noise in the rate.

        Parameters
        ----------
        planes
            (B, 3, H, W), H and W multiples of 16, about [-0.5, 0.5].
        level
            1 to 8, (B,).

        Raises
        ------
        UsageError
            When a level or a side is none.
        """
        check_level(level)
        height, width = planes.shape[-2:]
        if height % UNIT or width % UNIT:
            raise UsageError(f"{height}x{width} pixels: sides are multiples of {UNIT}")
        route = Route(RATE_PATH, level, encoder_fraction(level))
        y, masks = self.analysis(planes, level, route)
        scaled = y * self.gain(level)[..., None, None]
        quality = (1 + 99 / (LEVELS - 1) * (level - 1)).round()
        z = self.hyper_analysis(pad_hyper(scaled))
        hyper = quantise_hyper(z)
        noisy_z = z + torch.rand_like(z) - 0.5 if self.training else hyper
        size = (y.shape[-2], y.shape[-1])
        index, mean, _ = self.hyper_synthesis(hyper, quality, size, None, None)
        residual = scaled - mean / MEAN_STEPS
        symbols = round_half_up(residual)
        noisy = residual + torch.rand_like(residual) - 0.5 if self.training else symbols
        bits = bits_of(self.prior(noisy_z, quality_bucket(quality)))
        bits = bits + bits_of(gaussian_likelihood(noisy, index))
        latent = (symbols + mean / MEAN_STEPS) * self.inverse_gain(level)[..., None, None]
        return Encoded(symbols, hyper, latent, bits / (height * width), masks)

    def decode(
        self, latent: Tensor, level: Tensor, task: str | None = None, slider: Tensor | None = None
    ) -> Decoded:
        """Decode pictures.

        Parameters
        ----------
        latent
            `Encoded.latent`.
        level
            At which it was encoded, (B,).
        task
            Whose path; None for the main path, which people look at.
        slider
            1 (the main path alone) to 8 (the task's path alone), (B,); None for 8.

        Raises
        ------
        UnknownTaskError
            When the task has no path.
        UsageError
            When a level or a slider's position is none.
        """
        check_level(level)
        route = None
        if task is not None:
            if task not in self.tasks:
                raise UnknownTaskError(
                    f"no path for {task!r}; there are: {', '.join(self.tasks) or 'none'}"
                )
            slider = torch.full_like(level, LEVELS) if slider is None else slider
            check_level(slider, "slider")
            route = Route(task, slider, decoder_fraction(slider))
        planes, masks = self.synthesis(latent, level, route)
        return Decoded(planes, masks)

    def task_modules(self, task: str) -> Iterator[nn.Module]:
        """Yield the modules that are one task's alone: its side paths and its splits."""
        for stage in self.synthesis.path_stages():
            yield from stage.path_modules(task)

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the parameters that are one task's alone."""
        return [p for module in self.task_modules(task) for p in module.parameters()]

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of encoder, entropy model and main path: of no task alone."""
        own = {id(p) for task in self.tasks for p in self.task_parameters(task)}
        return [p for p in self.parameters() if id(p) not in own]

    def task_share(self, task: str) -> float:
        """Return a task's parameters as a part of those that all share."""
        own, shared = self.task_parameters(task), self.shared_parameters()
        return sum(p.numel() for p in own) / sum(p.numel() for p in shared)

    def digest(self, but: str | None = None) -> str:
        """Return a hash of all parameters and buffers, but for those of one task."""
        left_out: set[int] = set()
        if but is not None:
            left_out = {id(p) for p in self.task_parameters(but)}
        found = hashlib.sha256()
        for name, value in sorted([*self.named_parameters(), *self.named_buffers()]):
            if id(value) not in left_out:
                found.update(name.encode())
                found.update(value.detach().contiguous().numpy().tobytes())
        return found.hexdigest()

    @torch.no_grad()
    def initialise(self, planes: Tensor) -> None:
        """Start as the KLT of blocks of pictures (N, 3, H, W), stage after stage.

        The blocks' branches start at zero, so that an untrained codec is a linear transform codec.
        """
        x, layers = planes, self.analysis.downs
        for at, (down, up) in enumerate(zip(layers, reversed(self.synthesis.ups), strict=True)):
            x = F.pixel_unshuffle(x, STEM if at == 0 else 2)
            basis = principal_directions(x, cast(nn.Conv2d, down).out_channels)
            set_pointwise(down, basis)
            set_pointwise(up, basis.T)
            x = torch.einsum("oc,nchw->nohw", basis, x)
        eye = torch.eye(self.spec.latents, self.spec.widths[-1])
        set_pointwise(self.analysis.exit, eye)
        set_pointwise(self.synthesis.entry, eye.T)


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
            cast(Stage, stage).add_path(RATE_PATH, "bottleneck", begin_at(encoder_fraction))

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
