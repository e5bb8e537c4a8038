"""Trains the network of `av1-small-restored` on photographs reduced to small pictures.

Photographs are reduced to sides of 33 to 140 pixels, and every other one is kept as JPEG, as data
sets of small pictures do. Crops of those are coded by `av1-small` at random qualities, and the
network learns to undo it. For most of the training the layers compute in
floating point, then in the very integers that they run with, with straight-through gradients
(Ballé et al., "Integer networks for data compression with latent-variable models", ICLR 2019). The
same photographs, steps and seed give the same network on the same machine.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dsc._codecs.classical.av1_small import Av1SmallCodec
from dsc._codecs.restored.codec import quantiser_of
from dsc._codecs.restored.network import FIRST_QUANTISER, RestorationNetwork, Shape
from dsc._coding.integer import BIAS_UNIT, IntegerConv, round_half_up
from dsc._coding.weights_file import LIMIT
from dsc._schemas import Quality, Task, TaskKind

SHAPE = Shape(stride=2, width=32, blocks=6)
SIDES = (33, 140)  # of reduced photographs, the shorter one
JPEG_LEVELS = (75, 96)
LOW_QUALITY, HIGH_QUALITY = 14, 64
BATCH = {32: 32, 64: 8}  # by side of the crops
EVERY_LARGE = 4  # of so many batches one is of 64-pixel crops
FLOAT_SHARE = 0.85
LEARNING_RATE = 3e-3
LEAST_ERROR = 4.0  # squared; errors are weighed by what is usual at their quantiser
RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Examples:
    """Crops of one size.

    Attributes
    ----------
    wanted, decoded
        (n, H, W, 3) uint8: before and after `av1-small`.
    quantiser
        (n,) uint8
    """

    wanted: Tensor
    decoded: Tensor
    quantiser: Tensor

    def usual_error(self) -> Tensor:
        """Return the mean squared error by quantiser, (64,)."""
        error = (self.wanted.float() - self.decoded.float()).square().mean(dim=(1, 2, 3))
        index = self.quantiser.long()
        total = torch.zeros(64).index_add_(0, index, error)
        return total / torch.bincount(index, minlength=64).clamp_min(1)


def reduce_photographs(
    photographs: Sequence[Pictures], each: int, rng: np.random.Generator
) -> list[Pictures]:
    """Reduce each photograph (H, W, 3) several times, to random sizes, by random filters."""
    reduced = []
    for photograph in photographs:
        planes = torch.from_numpy(photograph).permute(2, 0, 1)[None].float()
        shorter = min(photograph.shape[:2])
        for _ in range(each):
            low, high = np.log(SIDES[0]), np.log(min(shorter, SIDES[1]))
            factor = float(np.exp(rng.uniform(low, high))) / shorter
            stretch = rng.uniform(0.85, 1.15)  # of the width
            size = [
                max(SIDES[0], round(side * factor * by))
                for side, by in zip(photograph.shape[:2], (1, stretch), strict=True)
            ]
            mode = ("bilinear", "bicubic", "area")[rng.integers(3)]
            smooth = {} if mode == "area" else {"antialias": True}
            small = F.interpolate(planes, size, mode=mode, **smooth)
            pixels = small[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
            reduced.append(np.ascontiguousarray(pixels.numpy()))
            if rng.random() < 0.5:
                reduced[-1] = _as_jpeg(reduced[-1], int(rng.integers(*JPEG_LEVELS)))
    return reduced


def _as_jpeg(picture: Pictures, level: int) -> Pictures:
    import imagecodecs

    coded = imagecodecs.jpeg8_encode(picture, level=level, subsampling="420")
    found: Pictures = imagecodecs.jpeg8_decode(coded)
    return found


def make_examples(
    pictures: Sequence[Pictures], side: int, count: int, rng: np.random.Generator
) -> Examples:
    """Code `count` random crops of `side` pixels; low qualities more often than high ones."""
    codec = Av1SmallCodec([RGB])
    large = [picture for picture in pictures if min(picture.shape[:2]) >= side]
    wanted: list[Pictures] = []
    decoded: list[Pictures] = []
    quantisers: list[int] = []
    while len(wanted) < count:
        picture = large[rng.integers(len(large))]
        top, left = (int(rng.integers(full - side + 1)) for full in picture.shape[:2])
        crop = picture[top : top + side, left : left + side]
        crop = np.ascontiguousarray(crop[:, :: rng.choice((-1, 1))])
        quality = LOW_QUALITY + (HIGH_QUALITY - LOW_QUALITY) * rng.random() ** 1.3
        (streams,) = codec.encode_batch([{"rgb": crop}], Quality(default=round(quality)))
        if (quantiser := quantiser_of(streams["rgb"])) >= FIRST_QUANTISER:
            (found,) = codec.decode_batch([streams], ["rgb"], side * side)
            wanted.append(crop)
            decoded.append(found["rgb"])
            quantisers.append(quantiser)
    arrays = np.stack(wanted), np.stack(decoded), np.array(quantisers, np.uint8)
    return Examples(*(torch.from_numpy(array) for array in arrays))


def train(
    examples: Mapping[int, Examples],
    steps: int,
    seed: int = 0,
    log: Callable[[str], None] = lambda _: None,
    shape: Shape = SHAPE,
) -> RestorationNetwork:
    """Train a network.

    Parameters
    ----------
    examples
        By side: 32 and 64.
    steps
        Updates.
    log
        Told, now and then, how much of the squared error is left.
    """
    torch.manual_seed(seed)
    network = RestorationNetwork(shape).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, betas=(0.9, 0.98))
    left = 1.0
    for step, (wanted, decoded, quantiser, weight) in enumerate(_batches(examples, steps, seed)):
        rounded = step >= FLOAT_SHARE * steps
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _schedule(step, steps)
        restored = decoded + corrections(network, decoded, quantiser, rounded=rounded)
        error = (restored - wanted).square().mean(dim=(1, 2, 3))
        loss = (error * weight).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        before = (decoded - wanted).square().mean(dim=(1, 2, 3)) * weight
        left += 0.005 * (float(loss.detach()) / float(before.mean()) - left)
        if step % 200 == 199:
            log(f"step {step + 1}: {-10 * math.log10(left):.3f} dB")
    return network


def corrections(
    network: RestorationNetwork, pixels: Tensor, quantiser: Tensor, *, rounded: bool
) -> Tensor:
    """Return what the network gives, exactly so if `rounded`, with gradients that end at a limit.

    `IntegerConv` lets a gradient pass from outside where it points back inside. Behind rectifiers
    that undid three quarters of what the network had learned.
    """
    bound = float(LIMIT)
    x = _linear(network.entry, network.planes(pixels, quantiser), rounded)
    x = F.hardtanh(x, -bound, bound)
    for spread, mix in zip(network.spread, network.mix, strict=True):
        rectified = F.hardtanh(_linear(spread, x, rounded), 0.0, bound)
        x = F.hardtanh(x + _linear(mix, rectified, rounded), -bound, bound)
    x = network.scaled(_linear(network.correct, x, rounded), quantiser)
    return round_half_up(x) if rounded else x


def _linear(layer: nn.Module, x: Tensor, rounded: bool) -> Tensor:
    """Convolve without limits or rectifier."""
    conv = cast(IntegerConv, layer)
    groups = x.shape[1] if conv.depthwise else 1
    if not rounded:
        bias = conv.bias * BIAS_UNIT
        return F.conv2d(x, conv.weight, bias, padding=conv.kernel // 2, groups=groups)
    weight, bias = conv.weight_int(), conv.bias_int()
    sums = F.conv2d(x, weight, bias, padding=conv.kernel // 2, groups=groups)
    return round_half_up(sums * 2.0**-conv.shift)


def _schedule(step: int, steps: int) -> float:
    """Return the learning rate's share: a short rise, then a cosine to a hundredth."""
    return min(1.0, (step + 1) / 200) * (0.505 + 0.495 * math.cos(math.pi * step / steps))


def _batches(
    examples: Mapping[int, Examples], steps: int, seed: int
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield wanted and decoded pixels (B, 3, H, W), quantisers and weights (B,)."""
    rng = np.random.default_rng(seed)
    usual = {side: some.usual_error() for side, some in examples.items()}
    for step in range(steps):
        side = 64 if step % EVERY_LARGE == EVERY_LARGE - 1 else 32
        some = examples[side]
        chosen = torch.from_numpy(rng.integers(0, len(some.wanted), BATCH[side]))
        turn = bool(rng.random() < 0.5)  # up and left mean nothing to the network
        wanted, decoded = (
            x[chosen].permute(0, 3, 2, 1) if turn else x[chosen].permute(0, 3, 1, 2)
            for x in (some.wanted, some.decoded)
        )
        quantiser = some.quantiser[chosen]
        weight = 1 / usual[side][quantiser.long()].clamp_min(LEAST_ERROR)
        yield wanted.float(), decoded.float(), quantiser, weight
