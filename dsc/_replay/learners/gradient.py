"""Learners that train a network by gradient descent: on new images, and on exemplars beside them.

The network is one trained from scratch on pixels, a linear head on a frozen backbone's features, or
a backbone that is trained with its head; a learner need not know which (`pretrained.make_network`).
"""

import copy
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from dsc._replay.learners.base import Features, Learner, Recipe
from dsc._replay.learners.batches import Pictures, augment, generator
from dsc._replay.learners.memory import ExemplarMemory, ReplayedExemplars
from dsc._replay.learners.network import Classifier
from dsc._replay.learners.pretrained import make_network
from dsc._replay.learners.views.base import Rows
from dsc._replay.scenario.images import Labels
from dsc._replay.scenario.scenario import Increment
from dsc.errors import UsageError

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class ReplayBatch:
    """New images and exemplars of one step of the optimiser: (B, ...), int64 (B,)."""

    images: Tensor
    labels: Tensor
    old_images: Tensor
    old_labels: Tensor
    old_rows: Tensor


class NetworkLearner(Learner):
    """Trains a network increment by increment beside a buffer; a subclass says what the loss is."""

    replays: ClassVar[int] = 1
    """Exemplars drawn for each new image."""

    def __init__(
        self, classes: int, side: int, recipe: Recipe, seed: int, device: str = "cpu"
    ) -> None:
        super().__init__(classes, side, recipe, seed, device)
        self.network = self.new_network(seed)
        self.optimizer = self._sgd()
        self.teacher: Classifier | None = None

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Refuse what goes with pixels alone where there are none."""
        super().check(recipe)
        if recipe.frozen_backbone and recipe.cutmix:
            raise UsageError(
                f"--cutmix {recipe.cutmix:g} mixes pictures, and a frozen backbone's features are "
                "none: leave it out, or --tune full"
            )

    def new_network(self, seed: int) -> Classifier:
        """Make a network on the learner's device, its head untrained."""
        made = make_network(self.recipe, self.classes, self.side, seed)
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
            self.augment(images, draw), labels, self.augment(old_images, draw), old_labels, old
        )

    def augment(self, images: Tensor, draw: torch.Generator) -> Tensor:
        """Shift and mirror pictures; features of a frozen backbone stay as they are."""
        return images if self.recipe.frozen_backbone else augment(images, draw)

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

    def predict(self, images: Rows) -> Labels:
        """Return the classes (N,) of images, among those seen."""
        found: Labels = self.evaluate(images, self.logits).argmax(1)
        return found

    def features(self, images: Rows) -> Features:
        """Return features (N, D) of unit length, for herding and nearest means."""
        return self.evaluate(images, lambda x: F.normalize(self.network.features(x), dim=1))

    def evaluate(self, images: Rows, function: Any) -> Features:
        """Apply `function` to images in batches, the network in evaluation mode."""
        self.network.eval()
        parts = []
        with torch.no_grad():
            for at in range(0, len(images), EVALUATION_BATCH):
                part = torch.from_numpy(images[at : at + EVALUATION_BATCH]).to(self.device)
                parts.append(function(part).float().cpu())
        joined: Features = torch.cat(parts).numpy()
        return joined

    def copy_as_teacher(self) -> Classifier:
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
