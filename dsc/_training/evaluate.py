"""Measures a network on held-out samples: estimated rate by stream, distortion by task."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dsc._training.config import UNIT
from dsc._training.data.batches import Batch, Pool, TrainingData
from dsc._training.data.samples import crop

LARGEST = 512  # side of the square that is cut out of the middle of a sample


@dataclass(frozen=True)
class Figures:
    """Means over the held-out samples of one data set, all its tasks coded at one quality.

    Attributes
    ----------
    data
        The data set.
    quality
        1 to 100.
    samples
        How many samples.
    rate_bpp
        Estimated bits a pixel by stream.
    psnr_db
        Of the planes, by task; from the mean squared error over all samples.
    """

    data: str
    quality: int
    samples: int
    rate_bpp: dict[str, float]
    psnr_db: dict[str, float]

    def flat(self) -> dict[str, Any]:
        """Return column names and values."""
        values: dict[str, Any] = {"data": self.data, "quality": self.quality}
        values["bpp"] = sum(self.rate_bpp.values())
        values |= {f"bpp_{name}": rate for name, rate in self.rate_bpp.items()}
        return values | {f"db_{name}": value for name, value in self.psnr_db.items()}


def evaluate(
    network: Any,
    data: TrainingData,
    qualities: Sequence[int],
    device: torch.device,
    bfloat16: bool = False,
) -> list[Figures]:
    """Measure a network on what every data set holds out.

    Parameters
    ----------
    network
        See `dsc._codecs.learned.network.trainable.Network`; its mode is left as it was.
    qualities
        At which qualities.
    """
    was_training = network.training
    network.eval()
    try:
        return [
            _measure(network, pool, quality, device, bfloat16)
            for pool in data.pools
            for quality in qualities
        ]
    finally:
        network.train(was_training)


def held_out(pool: Pool, quality: int, most: int | None = None) -> list[Batch]:
    """Return the (first `most`) held-out samples of a data set, each as a batch of its own."""
    batches = []
    for index in pool.held_out[:most]:
        planes = pool.samples.get(index)
        if planes is None:
            continue
        side = min(LARGEST, max(UNIT, min(planes.size) // UNIT * UNIT))
        values, weights = crop(planes, (0.5, 0.5), side, half=False, flip=False)
        batches.append(
            Batch(
                {name: torch.from_numpy(x)[None] for name, x in values.items()},
                {name: torch.from_numpy(x)[None] for name, x in weights.items()},
                pool.modalities,
                {name: torch.tensor([quality]) for name in values},
            )
        )
    return batches


@torch.no_grad()
def _measure(
    network: Any, pool: Pool, quality: int, device: torch.device, bfloat16: bool
) -> Figures:
    torch.manual_seed(0)
    rates: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    batches = held_out(pool, quality)
    for batch in batches:
        there = batch.to(device)
        coded = network.code(there.inputs, there.valid, there.wanted, there.quality, bfloat16)
        for name, rate in coded.rate.items():
            rates.setdefault(name, []).append(float(rate))
        for name, error in coded.distortion.items():
            errors.setdefault(name, []).append(float(error))
    return Figures(
        pool.where,
        quality,
        len(batches),
        {name: _mean(values) for name, values in rates.items()},
        {name: psnr(_mean(values)) for name, values in errors.items()},
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def psnr(error: float) -> float:
    """Turn 255² MSE of planes into decibels."""
    return 10 * math.log10(255.0**2 / max(error, 1e-9)) if math.isfinite(error) else math.nan
