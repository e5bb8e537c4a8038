"""Trains the branches of `layered-seq`, which see the frame before, beside a still network.

The still network is not changed, so a key frame is coded as `layered` codes it. Crops of a few
frames in a row: the first is a key, the others are coded after it, at one quality. What a frame
leaves for the next is taken as it is, without a gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dsc._codecs.learned.layered.differentiable import LayeredNetwork
from dsc._codecs.learned.layered.motion import BLOCK, find_motion
from dsc._codecs.learned.layered.spec import UNIT
from dsc._codecs.learned.layered.temporal import Past, TemporalModel
from dsc._codecs.learned.network.differentiable import distortion_of
from dsc._training.schedule import lr_share

SIDE, BATCH, FRAMES = 128, 4, 3
LEARNING_RATE, GRADIENT_NORM = 1e-3, 1.0
LOG_EVERY = 50
PARTS = ("priors", "carries")  # integers, and features

Frames = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Footage:
    """Frames in a row, and the motion between them.

    Attributes
    ----------
    planes
        (T, c, H, W) float32 in [-0.5, 0.5], H and W multiples of 32.
    motion
        (T, 2, H / 16, W / 16) int32, half pixels; zeros for the first frame.
    """

    planes: Tensor
    motion: Tensor

    @classmethod
    def of(cls, frames: Frames) -> "Footage":
        """Cut frames (H, W, 3) to multiples of 32 and look for the motion between them."""
        height, width = (side // UNIT * UNIT for side in frames[0].shape[:2])
        pixels = np.stack([frame[:height, :width] for frame in frames]).transpose(0, 3, 1, 2)
        planes = torch.from_numpy(pixels.astype(np.float32) / 255 - np.float32(0.5))
        motion = torch.zeros(len(frames), 2, height // BLOCK, width // BLOCK, dtype=torch.int32)
        for at in range(1, len(frames)):
            motion[at] = find_motion(planes[at - 1 : at], planes[at : at + 1])[0]
        return cls(planes, motion)

    def halved(self) -> "Footage":
        """Return the clip at half the resolution."""
        small = F.avg_pool2d(self.planes, 2)
        pixels = ((small + 0.5) * 255).round().clamp(0, 255).to(torch.uint8)
        return Footage.of(list(pixels.permute(0, 2, 3, 1).numpy()))


def train(
    network: LayeredNetwork,
    clips: Sequence[Footage],
    steps: int,
    seed: int = 0,
    log: Callable[[str], None] = lambda _: None,
    modality: str = "rgb",
    parts: Sequence[str] = PARTS,
) -> TemporalModel:
    """Train the branches for one modality of a still network, which stays as it is.

    Parameters
    ----------
    steps
        Updates.
    log
        Told, now and then, what frames after the first cost beside key frames: R + λD.
    parts
        Which branches learn, of `PARTS`; the others stay silent.
    """
    torch.manual_seed(seed)
    network = network.eval().requires_grad_(False)
    model = TemporalModel(network.spec)
    branch = model.modalities[modality]
    learning = [p for part in parts for p in branch.get_submodule(part).parameters()]
    optimiser = torch.optim.Adam(learning, LEARNING_RATE)
    network.train()  # noise for the rate
    losses, stills = 0.0, 0.0
    for step, (planes, motion) in enumerate(batches(clips, steps, seed)):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * lr_share(step, steps)
        quality = torch.randint(1, 101, (len(planes),))
        weight = network.weight(modality, quality)
        with torch.no_grad():
            coded = network.code_layers(modality, planes[:, 0], quality)
        loss = torch.zeros(())
        for at in range(1, planes.shape[1]):
            past = Past(tuple(one.detached() for one in coded.scales), motion[:, at])
            coded = network.code_layers(
                modality, planes[:, at], quality, temporal=branch, past=past
            )
            loss = loss + _loss(coded.bits, coded.planes, planes[:, at], weight)
        with torch.no_grad():
            still = network.code_layers(modality, planes[:, -1], quality)
            stills += float(_loss(still.bits, still.planes, planes[:, -1], weight))
        loss = loss / (planes.shape[1] - 1)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learning, GRADIENT_NORM)
        optimiser.step()
        losses += float(loss.detach())
        if step % LOG_EVERY == LOG_EVERY - 1:
            log(f"step {step + 1}: {losses / stills:.4f} of key frames")
            losses, stills = 0.0, 0.0
    network.eval()
    return model


def _loss(bits: Sequence[Tensor], planes: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return R + λ · 255² · MSE, the mean over samples."""
    rate = torch.stack(list(bits)).sum(0) / target[0, 0].numel()
    return (rate + weight * distortion_of(planes, target, None)).mean()


def batches(clips: Sequence[Footage], steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield crops (B, `FRAMES`, c, `SIDE`, `SIDE`) and their motion, of random clips and times."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        cut = [_crop(clips[int(rng.integers(len(clips)))], rng) for _ in range(BATCH)]
        yield torch.stack([planes for planes, _ in cut]), torch.stack([m for _, m in cut])


def _crop(clip: Footage, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    start = int(rng.integers(len(clip.planes) - FRAMES + 1))
    top, left = (int(rng.integers((side - SIDE) // BLOCK + 1)) for side in clip.planes.shape[2:])
    rows, columns = slice(top * BLOCK, top * BLOCK + SIDE), slice(left * BLOCK, left * BLOCK + SIDE)
    each = SIDE // BLOCK
    return (
        clip.planes[start : start + FRAMES, :, rows, columns],
        clip.motion[start : start + FRAMES, :, top : top + each, left : left + each],
    )
