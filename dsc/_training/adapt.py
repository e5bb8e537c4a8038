"""Trains the encoder of a codec on arrays in memory, its decoder and entropy model frozen.

What `dsc train --freeze-decoder` does on data sets, for a few hundred steps inside somebody else's
program: nothing is written, and torch's random state is left as it was. A result depends on the
codec, the samples, the options and the machine (device, number of threads), and on nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsc._codecs.base import AdaptableCodec
from dsc._codecs.learned.planes import modality_of, to_planes
from dsc._schemas import Task
from dsc._training.data.samples import Planes, crop
from dsc._training.divergence import DivergenceWatch
from dsc._training.loop import GRADIENT_NORM
from dsc._training.objective import weigh
from dsc._training.schedule import lr_share
from dsc.errors import UsageError

C = TypeVar("C", bound=AdaptableCodec)


@dataclass(frozen=True)
class Adaptation:
    """How an encoder is trained.

    Attributes
    ----------
    steps
        Length of the run.
    batch
        Crops a step.
    crop
        Largest side of a crop, pixels.
    lr
        Peak learning rate of Adam; warmed up, then a cosine to 2 % of it.
    quality
        1 to 100, or (lowest, highest): then a new one is drawn for every crop.
    seed
        Of crops, qualities and the noise that stands for quantisation.
    flip
        Whether half of the crops are mirrored.
    bfloat16
        Whether transforms run in bfloat16: several times as fast on CPUs and GPUs that have it.
    device
        Where it trains.
    """

    steps: int
    batch: int = 16
    crop: int = 128
    lr: float = 3e-4
    quality: int | tuple[int, int] = (1, 100)
    seed: int = 0
    flip: bool = True
    bfloat16: bool = False
    device: str = "cpu"


def adapt(codec: C, samples: Sequence[Planes], how: Adaptation) -> C:
    """Return the codec with an encoder trained on some samples, from the encoder it has.

    Raises
    ------
    CodecError
        When the codec has no encoder at hand.
    UsageError
        When there is no sample.
    DivergedError
        When the loss left all bounds; a lower learning rate helps.
    """
    if not samples:
        raise UsageError("an encoder needs at least one sample to learn from")
    network = codec.encoder_network().to(how.device, memory_format=torch.channels_last)
    network.train()
    devices = [] if torch.device(how.device).type == "cpu" else [how.device]
    with torch.random.fork_rng(devices=devices):
        _train(network, samples, how)
    card = {"adapted": json.dumps({"samples": len(samples), **how.__dict__}, sort_keys=True)}
    return codec.with_encoder(network, card)


def as_planes(
    tasks: Sequence[Task],
    sample: Mapping[str, NDArray[Any]],
    weights: NDArray[Any] | None = None,
) -> Planes:
    """Turn a sample of native arrays into planes by modality.

    Parameters
    ----------
    weights
        (H, W), factors of the squared error of every task, scaled to a mean of 1 here; None for
        equal ones.
    """
    values: dict[str, NDArray[Any]] = {}
    valid: dict[str, NDArray[Any]] = {}
    for task in tasks:
        if task.name not in sample:
            continue
        modality = modality_of(task) or task.name
        planes, holes, _ = to_planes(task, sample[task.name])
        values[modality] = planes
        weight = np.ones(planes.shape[1:], np.float32)
        if weights is not None:
            weight = weights.astype(np.float32) / max(float(weights.mean()), 1e-9)
        if holes is not None:
            weight = weight * ~holes
        if weights is not None or holes is not None:
            valid[modality] = weight
    return Planes(values, valid)


def _train(network: Any, samples: Sequence[Planes], how: Adaptation) -> None:
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=how.lr)
    unit = network.unit
    largest = -(-max(max(one.size) for one in samples) // unit) * unit
    side = min(max(how.crop // unit, 1) * unit, largest)
    watch = DivergenceWatch()
    for step in range(how.steps):
        optimiser.param_groups[0]["lr"] = how.lr * lr_share(step, how.steps)
        inputs, valid, quality = _batch(samples, how, side, step)
        torch.manual_seed((how.seed << 32) + step + 1)
        coded = network.code(inputs, valid, list(inputs), quality, how.bfloat16)
        loss = weigh(coded, network, quality, {}).total
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM)
        watch.check(step, float(loss.detach()), float(norm))
        optimiser.step()


def _batch(
    samples: Sequence[Planes], how: Adaptation, side: int, step: int
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Draw the crops of a step, all with the tasks of the first one: inputs, weights, qualities."""
    rng = np.random.default_rng([how.seed, step])
    low, high = how.quality if isinstance(how.quality, tuple) else (how.quality, how.quality)
    quality = torch.from_numpy(rng.integers(low, high + 1, how.batch)).to(how.device)
    chosen = rng.integers(len(samples), size=how.batch).tolist()
    places, flips = rng.random((how.batch, 2)), rng.random(how.batch) < 0.5
    names = samples[chosen[0]].values.keys()
    values: dict[str, list[Tensor]] = {name: [] for name in names}
    weights: dict[str, list[Tensor]] = {name: [] for name in names}
    for index, place, flip in zip(chosen, places, flips, strict=True):
        if samples[index].values.keys() != names:
            continue
        mirrored = bool(flip) and how.flip and "normal" not in names  # its normals point elsewhere
        at = (float(place[0]), float(place[1]))
        found, weight = crop(samples[index], at, side, half=False, flip=mirrored)
        for name, value in found.items():
            values[name].append(torch.from_numpy(value))
            blank = np.ones((1, side, side), np.float32)
            weights[name].append(torch.from_numpy(weight.get(name, blank)))
    layout = torch.channels_last
    inputs = {n: torch.stack(v).to(how.device, memory_format=layout) for n, v in values.items()}
    valid = {n: torch.stack(w).to(how.device) for n, w in weights.items()}
    count = len(next(iter(inputs.values())))
    return inputs, valid, dict.fromkeys(names, quality[:count])
