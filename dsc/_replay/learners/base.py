"""What every learner does: train on an increment with a buffer beside it, and tell classes apart.

A learner draws nothing from global generators: each epoch has its own, seeded by (seed, increment,
epoch). Its whole state is therefore what `state_dict` gives, and a run that was stopped between two
epochs goes on exactly as if it had not been. The buffer is any `ExemplarMemory`: a map-style data
set of (image, label) with labels and keys, as `ReplayBuffer` is.
"""

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dsc._replay.learners.batches import Pictures, augment, generator
from dsc._replay.learners.memory import ExemplarMemory, ReplayedExemplars
from dsc._replay.learners.network import ResNet
from dsc._replay.scenario.images import Images, Labels
from dsc._replay.scenario.scenario import Increment
from dsc._schemas.base import Schema

EVALUATION_BATCH = 256
Features = NDArray[np.float32]


class Recipe(Schema):
    """How a learner is trained; equal recipes on equal data give equal networks.

    Attributes
    ----------
    network
        ``resnet8``, ``resnet8-wide``, ``resnet8-early``, ``resnet18``, ``resnet20``, ``resnet32``.
    epochs, first_epochs
        Passes over the images of an increment, and of the first increment (None: the same).
    steps
        Steps of the optimiser for GDumb, which trains from the buffer alone.
    batch
        Images a step of the optimiser; learners that replay add as many exemplars.
    lr, momentum, weight_decay
        Of SGD; the rate falls to zero along a cosine, anew at each increment of the scenario.
    temperature
        Of distillation (iCaRL, WA).
    alpha, beta
        Weights of DER++'s two replay terms.
    cutmix
        Share of GDumb's batches whose images are mixed; 0.5 in its paper.
    """

    network: str = "resnet8"
    epochs: int = 10
    first_epochs: int | None = None
    steps: int = 400
    batch: int = 32
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    temperature: float = 2.0
    alpha: float = 0.3
    beta: float = 0.5
    cutmix: float = Field(default=0.0, ge=0, le=1)


@dataclass(frozen=True)
class ReplayBatch:
    """New images and exemplars of one step of the optimiser; uint8 (B, H, W, 3), int64 (B,)."""

    images: Tensor
    labels: Tensor
    old_images: Tensor
    old_labels: Tensor
    old_rows: Tensor


class Learner(ABC):
    """Trains a network increment by increment beside a buffer; a subclass says what the loss is.

    Parameters
    ----------
    classes
        Classes of the whole scenario.
    side
        Shorter side of the images in pixels.
    recipe
        How it is trained.
    seed
        Of weights, order and augmentation.
    device
        Where it is trained.
    """

    name: ClassVar[str]
    policy: ClassVar[str] = "class-balanced"
    """The buffer's policy, unless another is asked for."""
    fills_first: ClassVar[bool] = False
    """Whether the buffer takes an increment's images in before the increment is trained."""
    from_buffer_alone: ClassVar[bool] = False
    """Whether an increment's network depends on nothing but the buffer of that increment."""
    reserves: ClassVar[bool] = False
    """Whether it keeps anything of the exemplars beside the buffer."""
    replays: ClassVar[int] = 1
    """Exemplars drawn for each new image."""

    def __init__(
        self, classes: int, side: int, recipe: Recipe, seed: int, device: str = "cpu"
    ) -> None:
        self.classes, self.side = classes, side
        self.recipe, self.seed, self.device = recipe, seed, torch.device(device)
        self.network = self.new_network(seed)
        self.optimizer = self._sgd()
        self.teacher: ResNet | None = None
        self.increment_index = self.first = self.seen = 0

    def new_network(self, seed: int) -> ResNet:
        """Make an untrained network on the learner's device."""
        made = ResNet(self.recipe.network, self.classes, self.side, seed)
        placed: Any = made.to(self.device)
        placed.to(memory_format=torch.channels_last)
        return made

    def begin(self, increment: Increment, buffer: ExemplarMemory) -> None:
        """Set an increment and a buffer before the learner; its state stays as it is."""
        self.increment_index = increment.index
        self.first, self.seen = increment.first, increment.seen
        self.new = Pictures(increment.images, increment.labels, self.device)
        self.old = ReplayedExemplars(buffer, self.device)

    def start(self) -> None:
        """Change the state as an increment begins; not called where an increment goes on."""
        self.optimizer = self._sgd()

    def epochs(self) -> int:
        """Return the number of epochs of the increment that was begun."""
        first = self.recipe.first_epochs
        return self.recipe.epochs if self.increment_index or first is None else first

    def size(self) -> int:
        """Return the number of images that an epoch goes through."""
        return len(self.new)

    def epoch(self, number: int) -> float:
        """Train one epoch; return its mean loss."""
        self.network.train()
        draw = generator(self.seed, self.increment_index, number)
        batches = torch.split(torch.randperm(self.size(), generator=draw), self.recipe.batch)
        losses = []
        for at, rows in enumerate(batches):
            self.set_rate((number + at / len(batches)) / self.epochs())
            losses.append(self.descend(self.loss(self.draw(rows, draw))))
        return float(torch.stack(losses).mean())

    def draw(self, rows: Tensor, draw: torch.Generator) -> ReplayBatch:
        """Take the new images `rows`, and at random as many exemplars (`replays` times as many)."""
        count = len(rows) * self.replays if len(self.old) else 0
        return self.batch(
            rows, torch.randint(max(len(self.old), 1), (count,), generator=draw), draw
        )

    def batch(self, new: Tensor, old: Tensor, draw: torch.Generator) -> ReplayBatch:
        """Take new images and exemplars by row, and augment both."""
        images, labels = self.new.take(new)
        old_images, old_labels = self.old.take(old)
        return ReplayBatch(
            augment(images, draw), labels, augment(old_images, draw), old_labels, old
        )

    @abstractmethod
    def loss(self, batch: ReplayBatch) -> Tensor:
        """Return the loss of a batch."""

    def both(self, batch: ReplayBatch) -> tuple[Tensor, Tensor]:
        """Return the logits (B, seen) of the new images and of the exemplars, from one pass."""
        if not len(batch.old_labels):
            logits = self.logits(batch.images)
        elif not len(batch.labels):
            logits = self.logits(batch.old_images)
        else:
            logits = self.logits(torch.cat([batch.images, batch.old_images]))
        return logits[: len(batch.labels)], logits[len(batch.labels) :]

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (B, seen) of the classes seen so far."""
        logits: Tensor = self.network(images)[:, : self.seen]
        return logits

    def descend(self, loss: Tensor) -> Tensor:
        """Take one step of the optimiser; return the loss, detached."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def set_rate(self, part: float) -> None:
        """Set the learning rate at `part` (0 to 1) of an increment."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr * (1 + math.cos(math.pi * part)) / 2

    def end(self) -> None:  # noqa: B027 - most learners do nothing
        """Finish the training of an increment."""

    def remember(self, buffer: ExemplarMemory) -> None:  # noqa: B027 - most learners do nothing
        """Note what is to be kept of the exemplars, now that the buffer has the increment's."""

    def predict(self, images: Images) -> Labels:
        """Return the classes (N,) of images, among those seen."""
        found: Labels = self.evaluate(images, self.logits).argmax(1)
        return found

    def features(self, images: Images) -> Features:
        """Return features (N, D) of unit length, for herding and nearest means."""
        return self.evaluate(images, lambda x: F.normalize(self.network.features(x), dim=1))

    def evaluate(self, images: Images, function: Any) -> Features:
        """Apply `function` to images in batches, the network in evaluation mode."""
        self.network.eval()
        parts = []
        with torch.no_grad():
            for at in range(0, len(images), EVALUATION_BATCH):
                part = torch.from_numpy(images[at : at + EVALUATION_BATCH]).to(self.device)
                parts.append(function(part).float().cpu())
        joined: Features = torch.cat(parts).numpy()
        return joined

    def reserve(self, exemplar_bytes: float, budget: int) -> int:
        """Return what of a budget the learner takes for itself, beside the buffer's images."""
        return 0

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps of the exemplars beside the buffer; they count against the budget."""
        return 0

    def copy_as_teacher(self) -> ResNet:
        """Keep the network as it is, to distil from."""
        self.teacher = copy.deepcopy(self.network).eval().requires_grad_(False)
        return self.teacher

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes as it learns.

        Tensors, numbers, lists and dicts of them.
        """
        return {
            "network": self.network.state_dict(),
            "teacher": None if self.teacher is None else self.teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; `begin` follows, and `start` where an increment begins."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.teacher = None
        if state["teacher"] is not None:
            self.copy_as_teacher().load_state_dict(state["teacher"])

    def _sgd(self) -> torch.optim.Optimizer:
        recipe = self.recipe
        return torch.optim.SGD(
            self.network.parameters(),
            recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
