"""The two stages of training.

First all that tasks share: encoder, entropy model and main path. Then, one task after another, its
side paths and splits in the decoder, and nothing else. What is shared is in evaluation mode then
and has no gradients: bits, the main path and other tasks' paths are the same afterwards to the last
bit (`MultiPathCodec.digest`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from dsc._training.divergence import DivergenceWatch
from dsc._training.research.mpa.batches import Schedule, draw, to_planes
from dsc._training.research.mpa.codec import MultiPathCodec
from dsc._training.research.mpa.levels import (
    LEVELS,
    decoder_fraction,
    encoder_fraction,
    rate_lambda,
)
from dsc._training.research.mpa.losses import Term, weighed
from dsc._training.research.mpa.paths import ratio_loss
from dsc._training.schedule import lr_share

GRADIENT_NORM = 1.0
RATIO_WEIGHT = 10.0


def train_shared(
    codec: MultiPathCodec, pictures: Tensor, terms: Sequence[Term], how: Schedule
) -> None:
    """Train all that tasks share, at all levels of rate.

    Minimises rate + λ(level) · terms + 10 · ratio loss. The codec is in evaluation mode afterwards.

    Parameters
    ----------
    pictures
        (N, 3, H, W) uint8.
    terms
        Distortion, in units of 255² · MSE.
    """
    codec.train()
    with _steps(codec.shared_parameters(), how) as steps:
        for step, update in steps:
            chosen, mirrored = draw(len(pictures), how, step)
            planes = to_planes(pictures[chosen], mirrored)
            level = _drawn_levels(how.batch)
            encoded = codec.encode(planes, level)
            decoded = codec.decode(encoded.latent, level)
            distortion = weighed(terms, decoded.planes, planes)
            cost = encoded.rate_bpp + rate_lambda(level) * distortion
            ratio = ratio_loss(encoded.masks, encoder_fraction(level))
            update(cost.mean() + RATIO_WEIGHT * ratio)
    codec.eval()


def train_path(
    codec: MultiPathCodec, task: str, pictures: Tensor, terms: Sequence[Term], how: Schedule
) -> None:
    """Train one task's paths in the decoder, everything else frozen.

    Minimises the terms + 10 · ratio loss at all levels of rate and all positions of the slider. The
    codec is in evaluation mode afterwards.

    Parameters
    ----------
    task
        A task that was added (`MultiPathCodec.add_task`).
    pictures
        (N, 3, H, W) uint8.
    """
    own = codec.task_parameters(task)
    codec.eval().requires_grad_(requires_grad=False)
    for module in codec.task_modules(task):
        module.train().requires_grad_()
    with _steps(own, how) as steps:
        for step, update in steps:
            chosen, mirrored = draw(len(pictures), how, step)
            planes = to_planes(pictures[chosen], mirrored)
            level, slider = _drawn_levels(how.batch), _drawn_levels(how.batch)
            with torch.no_grad():
                latent = codec.encode(planes, level).latent
            decoded = codec.decode(latent, level, task, slider)
            ratio = ratio_loss(decoded.masks, decoder_fraction(slider))
            update(weighed(terms, decoded.planes, planes).mean() + RATIO_WEIGHT * ratio)
    codec.eval().requires_grad_()


def _drawn_levels(count: int) -> Tensor:
    return torch.randint(1, LEVELS + 1, (count,)).float()


class _Update:
    """One step of Adam, with clipped gradients, for a loss."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], how: Schedule) -> None:
        self._parameters, self._how, self._step = list(parameters), how, 0
        self._optimiser = torch.optim.Adam(self._parameters, lr=how.lr)
        self._watch = DivergenceWatch()

    def __call__(self, loss: Tensor) -> None:
        share = lr_share(self._step, self._how.steps)
        self._optimiser.param_groups[0]["lr"] = self._how.lr * share
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, GRADIENT_NORM)
        self._watch.check(self._step, float(loss.detach()), float(norm))
        self._optimiser.step()
        self._step += 1


@contextmanager
def _steps(
    parameters: Sequence[torch.nn.Parameter], how: Schedule
) -> Iterator[Iterator[tuple[int, _Update]]]:
    """Give the steps of a training, each with its own seed; torch's random state is kept."""
    update = _Update(parameters, how)

    def seeded() -> Iterator[tuple[int, _Update]]:
        for step in range(how.steps):
            torch.manual_seed((how.seed << 32) + step + 1)
            yield step, update

    with torch.random.fork_rng(devices=[]):
        yield seeded()
