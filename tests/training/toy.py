"""A toy network and toy data: the promises of the loop are checked without a real codec."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import imagecodecs
import numpy as np
import torch
from torch import Tensor, nn

from dsc._codecs.learned.network.trainable import Coded
from dsc._training.config import TrainConfig
from dsc._training.data.datasets import parse_data

CHANNELS = {"rgb": 3, "depth": 1, "normal": 3}


class ToyNetwork(nn.Module):
    """8×8 patches to four numbers and back; depth first, rgb requires it, as a chain."""

    kind: ClassVar[str] = "toy"

    def __init__(self, modalities: Sequence[str]) -> None:
        super().__init__()
        self.channels = {name: CHANNELS[name] for name in modalities}
        sizes = {name: c * 64 for name, c in self.channels.items()}
        self.down = nn.ModuleDict({n: nn.Conv2d(c, 4, 1) for n, c in sizes.items()})
        self.up = nn.ModuleDict({n: nn.Conv2d(4, c, 1) for n, c in sizes.items()})
        self.log_scale = nn.ParameterDict({n: nn.Parameter(torch.zeros(4)) for n in sizes})

    def required(self, tasks: Sequence[str]) -> tuple[str, ...]:
        chained = "rgb" in tasks and "depth" in self.channels
        wanted = {*tasks, "depth"} if chained else set(tasks)
        return tuple(n for n in ("depth", "normal", "rgb") if n in wanted)

    def code(
        self,
        inputs: Mapping[str, Tensor],
        valid: Mapping[str, Tensor],
        wanted: Sequence[str],
        quality: Mapping[str, Tensor],
        bfloat16: bool = False,
    ) -> Coded:
        rate, distortion, planes = {}, {}, {}
        for name in self.required(wanted):
            if name not in inputs:
                continue
            x = inputs[name]
            y = self.down[name](nn.functional.pixel_unshuffle(x, 8)) * 20
            y = y + (torch.rand_like(y) - 0.5 if self.training else y.round() - y)
            scale = self.log_scale[name].exp()[None, :, None, None]
            bits = (1 + (y / scale) ** 2).log2() + scale.log2() + 1.5
            rate[name] = bits.clamp_min(0).sum(dim=(1, 2, 3)) / x[0, 0].numel()
            planes[name] = nn.functional.pixel_shuffle(self.up[name](y / 20), 8)
            error = (planes[name] - x) ** 2 * valid.get(name, torch.ones(()))
            distortion[name] = 255.0**2 * error.mean(dim=(1, 2, 3))
        keep = [name for name in wanted if name in planes]
        return Coded(rate, {n: distortion[n] for n in keep}, {n: planes[n] for n in keep})

    def weight(self, task: str, quality: Tensor) -> Tensor:
        return 1e-3 * 100 ** (quality.float() / 100)

    def initialise(self, planes: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, x in planes.items():
                rows = nn.functional.pixel_unshuffle(x, 8).permute(0, 2, 3, 1).flatten(0, 2)
                _, _, basis = torch.linalg.svd(rows[:512], full_matrices=False)
                self.down[name].weight.copy_(basis[:4, :, None, None])
                self.up[name].weight.copy_(basis[:4].T[:, :, None, None])
                self.down[name].bias.zero_()
                self.up[name].bias.zero_()

    def spec_json(self) -> dict[str, Any]:
        return {"modalities": list(self.channels)}


class ExplodingNetwork(ToyNetwork):
    """Codes well for some steps, then gives a loss that is not a number."""

    fuse: ClassVar[int] = 30

    def __init__(self, modalities: Sequence[str]) -> None:
        super().__init__(modalities)
        self.register_buffer("burnt", torch.zeros(()))

    def code(self, *given: Any, **named: Any) -> Coded:
        coded = super().code(*given, **named)
        self.burnt += self.training
        if self.burnt < self.fuse:
            return coded
        return Coded(
            {name: rate * float("nan") for name, rate in coded.rate.items()},
            coded.distortion,
            coded.planes,
        )


def network(modalities: Sequence[str], size: str, spec: Mapping[str, Any] | None) -> ToyNetwork:
    return ToyNetwork(spec["modalities"] if spec else modalities)


def exploding(modalities: Sequence[str], size: str, spec: Mapping[str, Any] | None) -> ToyNetwork:
    return ExplodingNetwork(spec["modalities"] if spec else modalities)


def write_views(root: Path, count: int = 12, side: int = 96, depth: bool = True) -> Path:
    """Write smooth coloured views ``rgb/0000.png`` and ``depth/0000.png`` in millimetres."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[0:side, 0:side] / side
    for name in ("rgb", "depth") if depth else ("rgb",):
        (root / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        a, b = rng.uniform(2, 9, 2)
        wave = np.sin(a * x + i) * np.cos(b * y)
        picture = 128 + 90 * np.stack([wave, -wave, wave * x], axis=2)
        save(root, "rgb", i, picture.astype(np.uint8))
        if depth:
            save(root, "depth", i, (2000 + 900 * wave).astype(np.uint16))
    return root


def save(root: Path, task: str, index: int, array: Any) -> None:
    (root / task / f"{index:04d}.png").write_bytes(imagecodecs.png_encode(array))


def toy_config(root: Path | str, **values: Any) -> TrainConfig:
    """Return a configuration of a quick run on a folder, or on any ``--data`` text."""
    given: dict[str, Any] = {
        "kind": "toy",
        "data": (parse_data(str(root)),),
        "steps": 40,
        "batch": 2,
        "crop": 64,
    }
    return TrainConfig.make(**{**given, **values})
