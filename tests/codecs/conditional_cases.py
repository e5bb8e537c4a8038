"""Untrained conditional networks of all three kinds, and quick views, for tests."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from dsc._codecs.learned.codec import (
    ChainedCodec,
    ConditionalCodec,
    IndependentCodec,
    SharedLatentCodec,
)
from dsc._codecs.learned.network.differentiable import ConditionalNetwork
from dsc._codecs.learned.planes import to_planes
from dsc._coding.integer import BIAS_UNIT
from dsc._schemas import Task, TaskKind
from dsc._training.networks import make_network

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
DEPTH = Task(
    name="depth_zbuffer", kind=TaskKind.DEPTH, dtype="uint16", unit_m=1 / 512, invalid=(65535,)
)
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
TASKS = (RGB, DEPTH, NORMAL)
NAMES = tuple(task.name for task in TASKS)
MODALITY = {"rgb": RGB, "depth": DEPTH, "normal": NORMAL}
CODECS: dict[str, type[ConditionalCodec]] = {
    "independent": IndependentCodec,
    "shared-latent": SharedLatentCodec,
    "chained": ChainedCodec,
}
LIMIT = 1 << 22


def make_view(seed: int, size: int) -> dict[str, np.ndarray]:
    """Two tilted surfaces with an edge between them, shaded; quick to make."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    front = x * rng.uniform(0.5, 1.5) + y * rng.uniform(-1, 1) > rng.uniform(0.3, 0.6)
    tilt = rng.uniform(-0.5, 0.5, (2, 2))[:, :, None, None] + np.zeros((2, 2, size, size))
    slope = np.where(front, tilt[0], tilt[1])
    depth = np.where(front, 2.0, 4.0) * (1 + slope[0] * (x - 0.5) + slope[1] * (y - 0.5))
    normal = np.stack([slope[0], slope[1], np.ones_like(x)])
    normal /= np.linalg.norm(normal, axis=0)
    waves = sum(
        rng.uniform(5, 30) * np.sin(rng.uniform(2, 60) * x + rng.uniform(2, 60) * y)
        for _ in range(6)
    )
    shade = 60 + 120 * normal[2] + 20 * front + waves + rng.normal(0, 3, (size, size))
    rgb = np.stack([shade, shade * 0.8 + 10, shade * 0.6 + 30], axis=-1)
    return {
        "rgb": rgb.clip(0, 255).astype(np.uint8),
        "depth_zbuffer": (depth * 512).astype(np.uint16),
        "normal": (normal.transpose(1, 2, 0) * 127.5 + 127.5).astype(np.uint8),
    }


def as_planes(view: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(to_planes(task, view[task.name])[0])[None]
        for name, task in MODALITY.items()
    }


def view_planes(count: int) -> dict[str, Tensor]:
    views = [as_planes(make_view(seed, 64)) for seed in range(count)]
    return {name: torch.cat([view[name] for view in views]) for name in MODALITY}


def network_of(kind: str, planes: Mapping[str, Tensor]) -> ConditionalNetwork:
    """A network with its KLT start that speaks."""
    torch.manual_seed(0)
    network: ConditionalNetwork = make_network(kind, size="tiny")
    network.initialise(planes)
    speak(network)
    return network


def speak(network: ConditionalNetwork) -> None:
    """Widen the scales and give every silent layer small weights."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("synthesis.scale.bias"):
                parameter.fill_(45 / BIAS_UNIT)  # untrained, most symbols would be escapes
            elif not parameter.any() and name.endswith("weight"):
                loud = (".steps.", ".guide.", ".given.", "prediction.")
                is_loud = any(part in name for part in loud)
                parameter.normal_(std=0.05 if is_loud else 0.003)


def all_quality(value: int, count: int) -> dict[str, Tensor]:
    return {name: torch.full((count,), value) for name in MODALITY}
