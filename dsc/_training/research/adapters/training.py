"""Teaches a student its teacher's answers, in few bits; everything that is shared stays frozen.

The loss of a sample of quality q is that of the codec itself (`dsc._training.models.feature`), with
the task's divergence in place of the classifier's:

    L = (divergence of answers + α · error of features) / √μ(q) + √μ(q) · bits a pixel

The teacher's answers are to features that were never coded.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dsc._training.average import WeightAverage
from dsc._training.divergence import DivergenceWatch
from dsc._training.models.feature import ERROR_WEIGHT, FeatureExamples, code_latent, price
from dsc._training.research.adapters.divergences import Divergence
from dsc._training.research.adapters.students import Student
from dsc._training.research.mpa.batches import Schedule, draw
from dsc._training.schedule import lr_share

GRADIENT_NORM = 1.0
MEASURED_AT_ONCE = 8
QUALITIES = 100


@dataclass(frozen=True)
class Costs:
    """What samples cost and lose, (B,) each, or the mean of many, ().

    Attributes
    ----------
    divergence
        Of the answers, in nats.
    error
        Squared error of features over their variance.
    rate_bpp
        Estimated bits a pixel of the picture.
    """

    divergence: Tensor
    error: Tensor
    rate_bpp: Tensor


def costs(
    student: Student,
    divergence: Divergence,
    features: Tensor,
    answers: Tensor,
    quality: Tensor,
    *,
    noisy: bool = False,
) -> Costs:
    """Code features and ask the task's network about what is decoded.

    Parameters
    ----------
    features
        (B, C, h, w).
    answers
        The teacher's, to these.
    quality
        Integers 1 to 100, (B,).
    noisy
        Whether gradients of bits are those of noise in rounding's place, as training wants them.
    """
    codec = student.codec
    latent, bits = code_latent(codec, features, quality, noisy=noisy)
    decoded = codec.synthesise(latent, quality.float())
    error = ((decoded - features) / codec.deviation).square().mean(dim=(1, 2, 3))
    pixels = features.shape[2] * features.shape[3] * codec.spec.stride**2
    return Costs(divergence(answers, student.task(decoded)), error, bits / pixels)


def train(
    student: Student, examples: FeatureExamples, divergence: Divergence, how: Schedule
) -> None:
    """Train what of a student learns, at all qualities; it ends as its average over the steps.

    The same examples, schedule and student give the same numbers on one thread; torch's random
    state is kept.
    """
    learned = student.parameters
    optimiser = torch.optim.Adam(learned, how.lr)
    average, watch = WeightAverage("ema", student.learning), DivergenceWatch()
    with torch.random.fork_rng(devices=[]):
        for step in range(how.steps):
            torch.manual_seed((how.seed << 32) + step + 1)
            optimiser.param_groups[0]["lr"] = how.lr * lr_share(step, how.steps)
            loss = _loss(student, examples, divergence, how, step)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(learned, GRADIENT_NORM)
            watch.check(step, float(loss.detach()), float(norm))
            optimiser.step()
            average.update(step + 1)
    student.learning.load_state_dict(average.network.state_dict())


def _loss(
    student: Student,
    examples: FeatureExamples,
    divergence: Divergence,
    how: Schedule,
    step: int,
) -> Tensor:
    chosen, _ = draw(len(examples), how, step)
    quality = torch.randint(1, QUALITIES + 1, (how.batch,))
    features, answers = examples.features[chosen].float(), examples.answers[chosen]
    found = costs(student, divergence, features, answers, quality, noisy=True)
    root = price(quality.float()).sqrt()
    each = (found.divergence + ERROR_WEIGHT * found.error) / root + root * found.rate_bpp
    return each.mean()


@torch.inference_mode()
def measure(
    student: Student, examples: FeatureExamples, divergence: Divergence, quality: int
) -> Costs:
    """Return the mean costs of examples at one quality, with rounded symbols."""
    both = (torch.split(x, MEASURED_AT_ONCE) for x in (examples.features, examples.answers))
    parts = [
        costs(student, divergence, some.float(), answers, torch.full((len(some),), quality))
        for some, answers in zip(*both, strict=True)
    ]
    joined = (torch.cat(values).mean() for values in zip(*map(_values, parts), strict=True))
    return Costs(*joined)


def _values(found: Costs) -> tuple[Tensor, Tensor, Tensor]:
    return found.divergence, found.error, found.rate_bpp
