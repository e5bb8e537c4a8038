"""Trains a machine path: a network that corrects decoded AV1 pictures for a frozen task network.

What people see of a bitstream stays as it is; a machine path is a second reconstruction of the same
bits (Zhang et al., "All-in-one image coding for joint human-machine vision with multi-path
aggregation", NeurIPS 2024). Its loss is what the task network makes of the corrected picture beside
what it makes of the picture that was never coded: the divergence of its answers, and the relative
error of its features. No label is used. For most of the training the layers compute in floating
point, then in the very integers that they run with.

The same pictures, steps and seed give the same network on the same machine.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dsc._backbones.base import Backbone
from dsc._codecs.classical.av1 import Av1Codec
from dsc._codecs.machine.quantiser import quantiser_of
from dsc._codecs.restored.network import RestorationNetwork, Shape
from dsc._schemas import Quality, Task, TaskKind
from dsc._training.models.restored import corrections

SHAPE = Shape(stride=8, width=96, blocks=6, first_quantiser=12)
SIDE, GRID = 160, 16  # of crops out of what is coded, and of where they begin
QUALITIES = (1, 75)
BATCH = 8
WARM_UP, FLOAT_SHARE = 0.1, 0.8
LEARNING_RATE = 6e-4
EVERY, FOLLOWING = 50, 0.02  # steps between reports, and how fast a report follows the loss
LEAST_LOSS = 0.5  # below it a smaller loss is worth less: most is lost where pictures are coarse
RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class CodedPictures:
    """Pictures before and after `av1`.

    Attributes
    ----------
    wanted, decoded
        (n, side, side, 3) uint8
    quantiser
        (n,) uint8
    """

    wanted: Pictures
    decoded: Pictures
    quantiser: NDArray[np.uint8]

    def part(self, chosen: slice) -> "CodedPictures":
        """Return some of them."""
        return CodedPictures(self.wanted[chosen], self.decoded[chosen], self.quantiser[chosen])


@dataclass(frozen=True)
class TaskAnswer:
    """What a task network makes of pictures.

    Attributes
    ----------
    logits
        (B, K), or (B, K, h, w) where it answers place by place.
    features
        (B, ...) each, of layers on the way.
    """

    logits: Tensor
    features: tuple[Tensor, ...]


Teacher = Callable[[Tensor], TaskAnswer]
"""A frozen task network: pictures (B, 3, H, W), 0 to 255, to an answer; gradients pass."""


class TaskNetwork:
    """A backbone with what answers behind it, as a `Teacher`.

    Parameters
    ----------
    backbone
        Frozen.
    layers
        Where its features are taken, in order.
    answer
        Makes logits of these features, one argument each.
    """

    def __init__(
        self, backbone: Backbone, layers: Sequence[str], answer: Callable[..., Tensor]
    ) -> None:
        places = pairwise(("input", *layers))
        self._stages = [backbone.tail(start, end) for start, end in places]
        self._answer = answer
        scale = backbone.preprocessing
        self._mean, self._std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (scale.mean, scale.std)
        )

    def __call__(self, pictures: Tensor) -> TaskAnswer:
        """Look at pictures (B, 3, H, W), 0 to 255, in bfloat16: its error is small beside AV1's."""
        x = ((pictures - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
        features = []
        with torch.autocast("cpu", torch.bfloat16):
            for stage in self._stages:
                x = stage(x)
                features.append(x)
            logits = self._answer(*features)
        return TaskAnswer(logits.float(), tuple(feature.float() for feature in features))


@dataclass(frozen=True)
class Terms:
    """Weights of the terms of the loss.

    Attributes
    ----------
    answer
        Of the divergence of the answers, in nats.
    features
        Of the features' squared error beside their squares.
    pixels
        Of the squared error beside that of the decoded picture.
    """

    answer: float = 1.0
    features: float = 1.0
    pixels: float = 0.02


def make_examples(pictures: Sequence[Pictures], each: int, seed: int) -> CodedPictures:
    """Code every picture (side, side, 3) a number of times, at random qualities."""
    rng = np.random.default_rng(seed)
    codec = Av1Codec([RGB])
    chosen = [picture for picture in pictures for _ in range(each)]
    decoded, quantisers = [], []
    for picture in chosen:
        quality = Quality(default=int(rng.integers(QUALITIES[0], QUALITIES[1] + 1)))
        (streams,) = codec.encode_batch([{RGB.name: picture}], quality)
        pixels = picture.shape[0] * picture.shape[1]
        (found,) = codec.decode_batch([streams], [RGB.name], pixels)
        decoded.append(found[RGB.name])
        quantisers.append(quantiser_of(codec, streams[RGB.name]))
    return CodedPictures(np.stack(chosen), np.stack(decoded), np.array(quantisers, np.uint8))


@dataclass
class State:
    """How far a training has come; a training goes on from one as if it had not stopped.

    Attributes
    ----------
    step
        Steps done.
    network
        What has been learned.
    optimizer
        Its moments.
    loss
        Mean of the last ones, about: of their logarithms.
    """

    step: int
    network: RestorationNetwork
    optimizer: torch.optim.Adam
    loss: float = 0.0

    @classmethod
    def first(cls, shape: Shape, seed: int) -> "State":
        """Begin with random weights."""
        torch.manual_seed(seed)
        network = RestorationNetwork(shape).to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, betas=(0.9, 0.98))
        return cls(0, network, optimizer)

    def pack(self) -> dict[str, object]:
        """Return what `torch.save` keeps of it."""
        return {
            "step": self.step,
            "loss": self.loss,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def take(self, packed: dict[str, object]) -> None:
        """Go on from what `pack` gave."""
        self.network.load_state_dict(packed["network"])  # type: ignore[arg-type]
        self.optimizer.load_state_dict(packed["optimizer"])  # type: ignore[arg-type]
        self.step, self.loss = packed["step"], packed["loss"]  # type: ignore[assignment]


def train(
    examples: CodedPictures,
    teacher: Teacher,
    steps: int,
    seed: int = 0,
    *,
    terms: Terms | None = None,
    state: State | None = None,
    until: int | None = None,
    log: Callable[[State], None] = lambda _: None,
) -> RestorationNetwork:
    """Train a network, or go on.

    Parameters
    ----------
    examples
        Of sides of 160 pixels or more, out of which crops are cut.
    teacher
        Whose error is made small.
    steps
        Updates, with those that are done.
    state
        Where to go on; it is brought up to date.
    until
        The step to stop at, to go on another time.
    log
        Told, every 50 steps, how far it has come.
    """
    state, terms = state or State.first(SHAPE, seed), terms or Terms()
    for step in range(state.step, steps if until is None else until):
        wanted, decoded, quantiser = _batch(examples, step, seed)
        for group in state.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _schedule(step, steps)
        rounded = step >= FLOAT_SHARE * steps
        found = corrections(state.network, decoded, quantiser, rounded=rounded)
        restored = (decoded + found).clamp(0, 255)
        with torch.no_grad():
            truth = teacher(wanted)
        loss = loss_of(terms, truth, teacher(restored))
        loss = loss + terms.pixels * _pixel_error(restored, decoded, wanted)
        weighed = (loss + LEAST_LOSS).log().mean()  # so that every quality counts alike
        state.optimizer.zero_grad()
        weighed.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
        state.optimizer.step()
        state.step = step + 1
        state.loss += FOLLOWING * (float(weighed.detach()) - state.loss)
        if state.step % EVERY == 0:
            log(state)
    return state.network


def loss_of(terms: Terms, truth: TaskAnswer, found: TaskAnswer) -> Tensor:
    """Return what a task network's error costs of each picture, (B,)."""
    loss = terms.answer * divergence(truth.logits, found.logits)
    for wanted, feature in zip(truth.features, found.features, strict=True):
        error = (wanted - feature).square().flatten(1).mean(1)
        loss = loss + terms.features * error / wanted.square().flatten(1).mean(1)
    return loss


def divergence(truth: Tensor, found: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of answers (B, K, ...) in nats, (B,)."""
    p, q = F.log_softmax(truth, 1), F.log_softmax(found, 1)
    return (p.exp() * (p - q)).sum(1).reshape(len(p), -1).mean(1)


def _pixel_error(found: Tensor, decoded: Tensor, wanted: Tensor) -> Tensor:
    """Return the squared error beside that of the decoded picture, (B,)."""
    before = (decoded - wanted).square().flatten(1).mean(1).clamp_min(1.0)
    return (found - wanted).square().flatten(1).mean(1) / before


def _schedule(step: int, steps: int) -> float:
    """Return the learning rate's share: a short rise, then a cosine to a hundredth."""
    rise = min(1.0, (step + 1) / (WARM_UP * steps))
    return rise * (0.505 + 0.495 * math.cos(math.pi * step / steps))


def _batch(examples: CodedPictures, step: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cut the crops of a step: wanted and decoded pixels (B, 3, H, W), quantisers (B,)."""
    rng = np.random.default_rng([seed, step])
    count, side = examples.wanted.shape[:2]
    chosen = rng.integers(0, count, BATCH)
    pairs: list[NDArray[np.uint8]] = []
    for number in chosen:
        top, left = GRID * rng.integers(0, (side - SIDE) // GRID + 1, 2)
        flip = slice(None, None, -1 if rng.random() < 0.5 else 1)
        pairs += [
            some[number, top : top + SIDE, left : left + SIDE][:, flip]
            for some in (examples.wanted, examples.decoded)
        ]
    stacked = torch.from_numpy(np.stack(pairs)).permute(0, 3, 1, 2).float()
    return stacked[0::2], stacked[1::2], torch.from_numpy(examples.quantiser[chosen])
