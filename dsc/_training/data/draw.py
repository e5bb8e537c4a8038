"""What a step trains: drawn from (seed, step) alone, so that any step can be drawn at any time.

A run that is killed and resumed, or that prepares its batches in several threads, therefore sees
what an uninterrupted one sees. Task dropout makes every subset of the tasks pay for itself: a step
codes all tasks, one of them, or any subset, and is charged for the streams that these require.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._training.config import TrainConfig

ALL, ONE = 0.35, 0.5  # how often a step codes all of its tasks, and one of them
FEWER_INPUTS = 0.35  # how often the encoder does not see all tasks either
HALF = 0.5  # how often a batch is at half resolution
LARGE_FROM, LARGE = 0.6, 0.3  # large crops: from this part of the run on, this often
LARGE_FACTOR = 2


@dataclass(frozen=True)
class Draw:
    """One step.

    Attributes
    ----------
    pool
        Number of the data set.
    samples
        (B,) in [0, 1): which samples.
    places
        (B, 2) in [0, 1): where the crops lie.
    flips
        (B,) bool.
    half
        Whether the crops are at half resolution.
    side
        Side of the crops in pixels.
    inputs, wanted
        Modalities that the encoder sees, and those of them that are coded and charged.
    quality
        (B,) 1 to 100 by modality.
    """

    pool: int
    samples: NDArray[np.float64]
    places: NDArray[np.float64]
    flips: NDArray[np.bool_]
    half: bool
    side: int
    inputs: tuple[str, ...]
    wanted: tuple[str, ...]
    quality: dict[str, NDArray[np.int64]]


def draw_step(
    config: TrainConfig,
    step: int,
    steps: int,
    shares: Sequence[float],
    modalities: Sequence[Sequence[str]],
) -> Draw:
    """Draw a step.

    Parameters
    ----------
    step, steps
        Its number from 0, and that of all steps.
    shares
        Weight of each data set.
    modalities
        What each data set has.
    """
    rng = np.random.default_rng([config.seed, step])
    pool = int(rng.choice(len(shares), p=np.array(shares) / sum(shares)))
    late = config.large_crops and step >= LARGE_FROM * steps
    large = rng.random() < LARGE and late
    batch = max(1, config.batch // LARGE_FACTOR**2) if large else config.batch
    half = bool(rng.random() < HALF)
    inputs = wanted = tuple(modalities[pool])
    if config.task_dropout:
        if rng.random() < FEWER_INPUTS:
            inputs = _choose(rng, inputs)
        wanted = _choose(rng, inputs)
    common, apart = rng.integers(1, 101, batch), bool(rng.random() < 0.5)
    quality = {}
    for name in inputs:
        own = rng.integers(1, 101, batch)
        drawn = own if apart else common
        quality[name] = drawn if config.quality is None else np.full(batch, config.quality)
    flips = rng.random(batch) < 0.5
    if "normal" in inputs:  # a mirrored picture's normals point elsewhere
        flips[:] = False
    return Draw(
        pool,
        rng.random(batch),
        rng.random((batch, 2)),
        flips,
        half,
        config.crop * LARGE_FACTOR if large else config.crop,
        inputs,
        wanted,
        quality,
    )


def _choose(rng: np.random.Generator, names: tuple[str, ...]) -> tuple[str, ...]:
    """Choose all of them, one of them, or any subset."""
    draw = rng.random()
    if draw < ALL or len(names) == 1:
        return names
    one = (names[int(rng.integers(len(names)))],)
    if draw < ALL + ONE:
        return one
    return tuple(name for name in names if rng.random() < 0.5) or one
