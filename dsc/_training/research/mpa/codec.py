"""A picture codec of eight levels of rate, to whose decoder paths can be added.

Analysis and synthesis have three stages, at 1/4, 1/8 and 1/16 of the picture's sides. The
encoder's first two have one cheap side path, which the low levels of rate take more of; the
decoder's last two get a side path for each task. The deepest stage and the hyperprior have none, as
in the paper.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dsc._training.research.mpa.blocks import Route
from dsc._training.research.mpa.entropy import LatentModel
from dsc._training.research.mpa.levels import (
    LEVELS,
    by_level,
    check_level,
    decoder_fraction,
    encoder_fraction,
)
from dsc._training.research.mpa.spec import CodecSpec
from dsc._training.research.mpa.transforms import RATE_PATH, Analysis, Synthesis, initialise_klt
from dsc.errors import UnknownTaskError, UsageError

UNIT = 16  # sides of pictures are multiples of this


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
        self.analysis = Analysis(spec)
        self.synthesis = Synthesis(spec)
        self.entropy = LatentModel(spec)
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
            stage.add_path(task, kind, by_level(decoder_fraction))
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
        coded = self.entropy(y, level)
        rate_bpp = coded.bits / (height * width)
        return Encoded(coded.symbols, coded.hyper, coded.latent, rate_bpp, masks)

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
                found.update(value.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def initialise(self, planes: Tensor) -> None:
        """Start as a linear transform codec, the KLT of blocks of pictures (N, 3, H, W)."""
        initialise_klt(self.analysis, self.synthesis, planes)
