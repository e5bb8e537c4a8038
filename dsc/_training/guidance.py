"""A teacher's guidance: a larger network that is frozen, whose picture and features are imitated.

In the manner of "Theoretical bound-guided hierarchical VAE for neural image codecs" (Zhang et al.,
arXiv 2403.18535): the teacher is a network with a continuous posterior
(`dsc._training.research.bound`), which bounds what the student can reach. Student and teacher see
the same planes and qualities. To R + D is added

    β λ D(x̂_T, x̂_S) + α Σ_l mean((A_T - A_S)²),   A = F̂ F̂ᵀ,

with the decoder's features of scale l as rows, one a position, of length 1. Affinities compare
positions, so widths may differ. α is such that the second term is 5 % of the loss over the first
steps; both fade to nothing over the last third, as R + D is what counts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dsc._codecs.learned.network.differentiable import distortion_of
from dsc._codecs.learned.network.trainable import Coded
from dsc._training.config import BOUND, LAYERED, TrainConfig
from dsc._training.data.batches import Batch
from dsc._training.networks import load_weights, make_network
from dsc._training.objective import Losses
from dsc.errors import UsageError

BETA = 0.25
AFFINITY_SHARE = 0.05  # of R + D
MEASURED = 100  # steps over which α is found
POSITIONS = 1024  # of an affinity matrix; finer features are pooled
SMALLEST = 1e-12


class Guidance:
    """What a teacher adds to the losses of a run.

    Parameters
    ----------
    teacher
        A checkpoint of the teacher (`dsc._training.checkpoint.load`); its averaged weights count.
    student
        The network that is trained.
    tasks
        All tasks of the run.

    Raises
    ------
    UsageError
        When the teacher cannot guide this student.
    """

    def __init__(
        self,
        teacher: Mapping[str, Any],
        student: Any,
        tasks: Sequence[str],
        device: torch.device,
    ) -> None:
        kind = TrainConfig.from_json(teacher["config"], "--teacher").kind
        if kind not in (BOUND, LAYERED):
            raise UsageError(
                f"--teacher: a {kind} has no scales to guide by; train one with dsc train {BOUND}"
            )
        network = make_network(kind, tuple(teacher["modalities"]), spec=teacher["spec"])
        load_weights(network, teacher["average"] or teacher["network"])
        _check(network, student, tasks)
        network.requires_grad_(False).eval()
        self.teacher: Any = network.to(device, memory_format=torch.channels_last)
        self.begin()

    def begin(self) -> None:
        """Forget what was measured, as a run begins."""
        self._loss = self._affinity = 0.0
        self._steps = 0

    def __call__(
        self, batch: Batch, coded: Coded, losses: Losses, config: TrainConfig, share: float
    ) -> Tensor:
        """Return what is added to the loss of a step.

        Parameters
        ----------
        batch
            What was coded.
        coded, losses
            What the student made of it, and its losses.
        share
            The part of the guidance that is left (`dsc._training.schedule.guidance_share`).
        """
        with torch.no_grad():
            known: Coded = self.teacher.code(
                batch.inputs, batch.valid, batch.wanted, batch.quality, config.bfloat16
            )
        imitation = coded.planes[batch.wanted[0]].new_zeros(())
        affinity = imitation
        for task in batch.wanted:
            missed = distortion_of(coded.planes[task], known.planes[task], batch.valid.get(task))
            weight = config.weights.get(task, 1.0) * self.teacher.weight(task, batch.quality[task])
            imitation = imitation + (weight * missed).mean()
            affinity = affinity + affinity_loss(coded.features[task], known.features[task])
        if self._steps < MEASURED:
            self._loss += float(losses.total.detach())
            self._affinity += float(affinity.detach())
            self._steps += 1
        alpha = AFFINITY_SHARE * self._loss / max(self._affinity, SMALLEST)
        return share * (BETA * imitation + alpha * affinity)

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint must hold."""
        return {"loss": self._loss, "affinity": self._affinity, "steps": self._steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self._loss, self._affinity = state["loss"], state["affinity"]
        self._steps = state["steps"]


def affinity_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Return Σ_l mean((A_T - A_S)²) of features (B, C, h, w) by scale; widths may differ."""
    found = [
        (affinities(ours) - affinities(theirs)).square().mean()
        for ours, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(found).sum()


def affinities(features: Tensor) -> Tensor:
    """Return the cosines of all pairs of positions, (B, N, N), N at most `POSITIONS`.

    Parameters
    ----------
    features
        (B, C, h, w).
    """
    x = features.float()
    while x.shape[2] * x.shape[3] > POSITIONS:
        x = F.avg_pool2d(x, 2, ceil_mode=True)
    rows = F.normalize(x.flatten(2).transpose(1, 2), dim=2)
    return rows @ rows.transpose(1, 2)


def _check(teacher: Any, student: Any, tasks: Sequence[str]) -> None:
    """Refuse a teacher that does not code what the student codes, as it does."""
    lacking = [task for task in tasks if task not in teacher.channels]
    if lacking:
        raise UsageError(
            f"--teacher: it codes {', '.join(teacher.channels)}, and the run trains "
            f"{', '.join(lacking)} too; leave that out with --tasks, or train a teacher of all"
        )
    ends = torch.tensor([1, 100])
    for task in tasks:
        sizes = (teacher.channels[task], student.channels[task])
        if sizes[0] != sizes[1]:
            raise UsageError(f"--teacher: its {task} has {sizes[0]} channels, here {sizes[1]}")
        own, asked = (network.weight(task, ends).tolist() for network in (teacher, student))
        if own != asked:
            raise UsageError(
                f"--teacher: at quality 1 and 100 its λ of {task} is {own[0]:.4g} and "
                f"{own[1]:.4g}, here {asked[0]:.4g} and {asked[1]:.4g}; a teacher must have the "
                "student's range"
            )
