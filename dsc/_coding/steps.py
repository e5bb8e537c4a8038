"""Coding a latent in steps: which elements each step codes, and the integer network between them.

The channels of a latent are cut into `steps` groups and its positions into as many phases: the
four of each 2×2 square, or the two colours of a checkerboard. Step s codes phase p of group s XOR
p. After the first step, every position knows some of its channels, and of every channel some
neighbours (Li et al., "Neural video compression with diverse contexts", CVPR 2023, section 3.3; two
steps: DCVC-RT, CVPR 2025).

What is known goes in as the deviation from the mean that ẑ predicted, in quarters of a quantiser
step, zero where nothing is known yet; what comes out is added to that mean and to the scale index.
A network whose last layers are zero thus codes as it would without steps.
"""

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor, nn

from dsc._coding.integer import IntegerConv
from dsc._coding.weights_file import LIMIT

SCALE_TURN = 63  # a correction may lead from any scale index to any other
MEAN_TURN = 4095
PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # (y, x) within each 2×2 square


def group_of(steps: int, step: int, phase: tuple[int, int]) -> int:
    """Return the group of channels that `step` codes at positions of a phase."""
    y, x = phase
    return step ^ (2 * y + x if steps == 4 else y ^ x)


def group_rows(channels: int, steps: int, group: int) -> slice:
    """Return the channels of a group."""
    return slice(channels * group // steps, channels * (group + 1) // steps)


@lru_cache(maxsize=64)
def step_elements(steps: int, channels: int, height: int, width: int) -> tuple[Tensor, ...]:
    """Return the flat indexes of what each step codes, ascending.

    They are indexes into (height, width, channels); of a single step, simply all.
    """
    step = torch.zeros(height, width, channels, dtype=torch.uint8)
    for number in range(1, steps):
        for y, x in PHASES:
            rows = group_rows(channels, steps, group_of(steps, number, (y, x)))
            step[y::2, x::2, rows] = number
    flat = step.view(-1)
    return tuple((flat == number).nonzero().view(-1) for number in range(steps))


def take_step(x: Tensor, steps: int, step: int) -> Tensor:
    """Return the elements of (B, h, w, C) that `step` codes, (B, h, w, C / steps), in order."""
    batch, height, width, channels = x.shape
    out = x.new_empty(batch, height, width, channels // steps)
    for y, x0 in PHASES:
        rows = group_rows(channels, steps, group_of(steps, step, (y, x0)))
        out[:, y::2, x0::2] = x[:, y::2, x0::2, rows]
    return out


def put_step(x: Tensor, steps: int, step: int, own: Tensor) -> None:
    """Write the elements of (B, h, w, C) that `step` codes: the inverse of `take_step`."""
    for y, x0 in PHASES:
        rows = group_rows(x.shape[-1], steps, group_of(steps, step, (y, x0)))
        x[:, y::2, x0::2, rows] = own[:, y::2, x0::2]


def step_mask(steps: int, step: int, like: Tensor) -> Tensor:
    """Return 1 where `step` codes, 0 elsewhere, as (1, C, h, w) of the dtype of `like`."""
    _, channels, height, width = like.shape
    mask = like.new_zeros(height * width * channels)
    mask[step_elements(steps, channels, height, width)[step].to(like.device)] = 1
    return mask.view(1, height, width, channels).permute(0, 3, 1, 2)


class StepNetwork(nn.Module):
    """The integer network of one step after the first: from what is known to corrections.

    Parameters
    ----------
    latents
        Channels of the latent, a multiple of the number of steps.
    width
        Channels of the hyper-synthesis, whose last features have twice as many.
    """

    def __init__(self, latents: int, width: int) -> None:
        super().__init__()
        self.spread = IntegerConv(2 * latents, 2 * latents, kernel=5, shift=6, low=-LIMIT)
        self.gather = IntegerConv(2 * latents, width, shift=8)
        self.mix = IntegerConv(3 * width, 2 * width, shift=8)
        self.scale = IntegerConv(2 * width, latents, shift=8, low=-SCALE_TURN, high=SCALE_TURN)
        self.mean = IntegerConv(2 * width, latents, shift=6, low=-MEAN_TURN, high=MEAN_TURN)
        with torch.no_grad():
            self.scale.weight.zero_()
            self.mean.weight.zero_()

    def forward(
        self, features: Tensor, known: Tensor, steps: int, step: int
    ) -> tuple[Tensor, Tensor]:
        """Return corrections of scale indexes and means, zero where `step` does not code.

        Parameters
        ----------
        features
            Last features of the hyper-synthesis, (B, 2 width, h, w), integers in [0, 127].
        known
            (B, C, h, w), integers in [-127, 127]: what earlier steps coded, zero elsewhere.

        Returns
        -------
        scale, mean
            Integers (B, C, h, w).
        """
        scale, mean = torch.zeros_like(known), torch.zeros_like(known)
        for (y, x), rows, *found in self._by_phase(features, known, steps, step):
            scale[:, rows, y::2, x::2], mean[:, rows, y::2, x::2] = found
        return scale, mean

    def own(self, features: Tensor, known: Tensor, steps: int, step: int) -> tuple[Tensor, Tensor]:
        """Return what `forward` gives where `step` codes, in the order of `take_step`."""
        batch, channels, height, width = known.shape
        shape = (batch, height, width, channels // steps)
        scale, mean = known.new_empty(shape), known.new_empty(shape)
        for (y, x), _, *found in self._by_phase(features, known, steps, step):
            scale[:, y::2, x::2], mean[:, y::2, x::2] = (p.permute(0, 2, 3, 1) for p in found)
        return scale, mean

    def _by_phase(
        self, features: Tensor, known: Tensor, steps: int, step: int
    ) -> Iterator[tuple[tuple[int, int], slice, Tensor, Tensor]]:
        """Yield each phase, the channels that `step` codes there, and their corrections."""
        spread = self.spread(torch.cat([known, known.abs()], dim=1))
        mixed = self.mix(torch.cat([features, self.gather(spread)], dim=1))
        for y, x in PHASES:
            part = mixed[:, :, y::2, x::2].contiguous()
            if part.numel():
                rows = group_rows(known.shape[1], steps, group_of(steps, step, (y, x)))
                yield (y, x), rows, self.scale(part, rows), self.mean(part, rows)
