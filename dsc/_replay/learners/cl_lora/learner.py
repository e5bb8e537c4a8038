"""CL-LoRA as a learner.

A picture goes through the early part of the trunk, whose adapters all tasks share and go on
training, and then through the late part by the adapters of each task. A task's classes are scored
by its own adapters alone: the cosine to their mean features, which no later task changes.

Where the authors' code takes two steps of its optimiser a batch, one for distillation and one for
cross-entropy, the two gradients are added here. Adam stands for their SGD: folded batch norms
leave layers whose gradients differ by orders of magnitude. It adapts its steps to the gradients of
each number, and would undo the reassignment of one of the two taken alone.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsc._replay.learners.base import Features, Learner, Recipe, require_frozen_backbone
from dsc._replay.learners.batches import generator
from dsc._replay.learners.cl_lora.distillation import EarlyExitTeacher, early_exit_teacher
from dsc._replay.learners.cl_lora.losses import block_orthogonality, class_means, cosine_logits
from dsc._replay.learners.cl_lora.low_rank import LowRankAdapters
from dsc._replay.learners.cl_lora.network import AdaptedNetwork
from dsc._replay.learners.cl_lora.task import TaskAdapters, draw_block_weights
from dsc._replay.learners.cl_lora.trunks import make_trunk, shown_layer
from dsc._replay.learners.memory import ExemplarMemory
from dsc._replay.learners.views.base import Rows
from dsc._replay.scenario.images import Labels
from dsc._replay.scenario.scenario import Increment
from dsc.errors import UsageError

LOGIT_SCALE = 16.0
"""What cosines are multiplied by as a task begins; learnt from then on."""
ORTHOGONALITY = 1e-4
"""Weight of the block weights' orthogonality, as in the authors' code."""
_DRAWS_OF_ADAPTERS = 1 << 20  # apart from the numbers of epochs, for which the seed draws too


class CosineHead(nn.Module):
    """The classifier that a task's adapters are trained with: cosines times a learnt scale.

    Parameters
    ----------
    directions
        (classes, D), where they start.
    """

    def __init__(self, directions: Tensor) -> None:
        super().__init__()
        self.directions = nn.Parameter(directions)
        self.scale = nn.Parameter(torch.tensor(LOGIT_SCALE, device=directions.device))

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (B, classes) of features (B, D)."""
        return cosine_logits(features, self.directions, self.scale)


@dataclass(frozen=True, eq=False)
class Training:
    """What is there only while a task is learnt."""

    head: CosineHead
    optimizer: torch.optim.Optimizer
    teacher: EarlyExitTeacher | None


class ClLora(Learner):
    """Shared adapters that are held to what they were, and adapters of each task."""

    name: ClassVar[str] = "cl-lora"
    exemplar_free: ClassVar[bool] = True
    distils: ClassVar[bool] = True
    """Whether the shared adapters are held to what they were before a task."""

    def __init__(
        self, classes: int, side: int, recipe: Recipe, seed: int, device: str = "cpu"
    ) -> None:
        super().__init__(classes, side, recipe, seed, device)
        self.check(recipe)
        trunk = make_trunk(str(recipe.backbone), recipe.backbone_side, self.device)
        shared = LowRankAdapters(
            trunk.early.sites, recipe.rank, self._draw(0), trains_down=False
        ).to(self.device)
        self.network = AdaptedNetwork(trunk, shared)
        self.training: Training | None = None

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Refuse a recipe without a backbone, or one that trains all of it."""
        require_frozen_backbone(cls.name, recipe, "puts adapters on", "trains adapters alone")
        if {"shared", "specific"} <= set(recipe.without):
            raise UsageError(f"learner {cls.name} without shared and specific adapters has none")

    @classmethod
    def shown_layer(cls, recipe: Recipe) -> str | None:
        """Return the layer whose feature maps it is shown; None of a network adapted throughout."""
        return shown_layer(str(recipe.backbone))

    def begin(self, increment: Increment, buffer: ExemplarMemory) -> None:
        """Set an increment before the learner; its state stays as it is."""
        self.increment_index = increment.index
        self.first, self.seen = increment.first, increment.seen
        self._rows = increment.images
        self._labels = torch.from_numpy(increment.labels - increment.first).to(self.device)

    def start(self) -> None:
        """Begin the adapters of a task, and note what the shared ones are to be held to."""
        task = self.new_task(self.increment_index, self.first, self.seen - self.first)
        self.network.tasks.append(task)
        means = class_means(self.network.embed(self._rows, task), self._labels)
        self.training = self._train(CosineHead(means), self._teacher())

    def new_task(self, index: int, first: int, classes: int) -> TaskAdapters:
        """Make what increment `index` is learnt by; its classes are `first` and those after it."""
        adapters = self.new_adapters(index)
        weights = None
        if not self._lacks("block-weights", "specific"):
            weights = draw_block_weights(len(adapters.sites), self._draw(1, index))
        made = TaskAdapters(adapters, first, classes, self.network.trunk.feature_size, weights)
        return made.to(self.device)

    def new_adapters(self, index: int) -> LowRankAdapters:
        """Make adapters of the late part for increment `index`."""
        sites, draw = self.network.trunk.late.sites, self._draw(2, index)
        return LowRankAdapters(sites, self.recipe.rank, draw, trains_down=True)

    def epochs(self) -> int:
        """Return the number of epochs of the increment that was begun."""
        first = self.recipe.first_epochs
        return self.recipe.epochs if self.increment_index or first is None else first

    def epoch(self, number: int) -> float:
        """Train one epoch; return its mean loss, without that of the distillation."""
        draw = generator(self.seed, self.increment_index, number)
        batches = torch.split(torch.randperm(len(self._rows), generator=draw), self.recipe.batch)
        training = self.training
        if training is None:
            raise RuntimeError("an epoch of an increment that was not started")
        losses = []
        for at, rows in enumerate(batches):
            part = (number + at / len(batches)) / self.epochs()
            for group in training.optimizer.param_groups:
                group["lr"] = self.recipe.adapter_lr * (1 + math.cos(math.pi * part)) / 2
            losses.append(self._step(training, rows))
        return float(torch.stack(losses).mean())

    def end(self) -> None:
        """Keep the mean features of the task's classes; let go of what trained it."""
        task = self.network.tasks[-1]
        task.means = class_means(self.network.embed(self._rows, task), self._labels)
        self.training = None

    def predict(self, images: Rows) -> Labels:
        """Return the classes (N,) of the largest scores."""
        found: Labels = self.network.scores(images).argmax(1).cpu().numpy()
        return found

    def features(self, images: Rows) -> Features:
        """Return the embeddings (N, D) by the latest task's adapters, of unit length."""
        embedded = self.network.embed(images, self.network.tasks[-1])
        found: Features = F.normalize(embedded, dim=1).cpu().numpy()
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of all adapters, block weights and means."""
        return self.network.nbytes

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes as it learns."""
        tasks = [
            {"first": one.first, "classes": one.classes, "values": one.state_dict()}
            for one in self.network.tasks
        ]
        return {
            "shared": self.network.shared.state_dict(),
            "tasks": tasks,
            "training": None if self.training is None else _state(self.training),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; `begin` follows, and `start` where an increment begins."""
        self.network.shared.load_state_dict(state["shared"])
        self.network.tasks = []
        for index, saved in enumerate(state["tasks"]):
            task = self.new_task(index, saved["first"], saved["classes"])
            task.load_state_dict(saved["values"])
            self.network.tasks.append(task)
        training, self.training = state["training"], None
        if training is not None:
            head = CosineHead(training["head"]["directions"])
            head.load_state_dict(training["head"])
            teacher = training["teacher"]
            self.training = self._train(head, teacher and EarlyExitTeacher(**teacher))
            self.training.optimizer.load_state_dict(training["optimizer"])

    def _train(self, head: CosineHead, teacher: EarlyExitTeacher | None) -> Training:
        """Return what trains the latest task, and whatever of the shared adapters changes."""
        trained = [*self._trained(), *head.parameters()]
        return Training(head, torch.optim.Adam(trained, self.recipe.adapter_lr), teacher)

    def _trained(self) -> list[nn.Parameter]:
        """Return the adapters that the latest task changes, and its block weights."""
        found: list[nn.Parameter] = []
        if not self._lacks("shared"):
            found += self.network.shared.up
        if not self._lacks("specific"):
            found += self.network.tasks[-1].parameters()
        return found

    def _teacher(self) -> EarlyExitTeacher | None:
        """Return what the shared adapters are to be held to; None where there is nothing."""
        if not self.increment_index or not self.distils or self._lacks("shared", "distillation"):
            return None
        return early_exit_teacher(
            self.network.exits(self._rows),
            self._labels,
            list(self.network.shared.up),
            reassigns=not self._lacks("reassignment"),
        )

    def _step(self, training: Training, rows: Tensor) -> Tensor:
        """Take one step of the optimiser; return the loss, without that of the distillation."""
        trunk, shared, task = self.network.trunk, self.network.shared, self.network.tasks[-1]
        shown = trunk.prepare(self._rows[rows.numpy()])
        early = trunk.early(shown, trunk.early.weights(shared.changes()))
        embedded = trunk.late(early, trunk.late.weights(task.changes()))
        loss = F.cross_entropy(training.head(embedded.float()), self._labels[rows])
        if not self._lacks("orthogonality", "block-weights", "specific"):
            earlier = [one.weights.detach() for one in self.network.tasks[:-1]]
            loss = loss + ORTHOGONALITY * block_orthogonality(task.weights, earlier)
        training.optimizer.zero_grad()
        loss.backward(retain_graph=training.teacher is not None)  # type: ignore[no-untyped-call]
        if training.teacher is not None:
            training.teacher.add_gradient(trunk.exit(early).float(), rows, list(shared.up))
        training.optimizer.step()
        return loss.detach()

    def _lacks(self, *parts: str) -> bool:
        """Tell whether the recipe leaves one of some parts out."""
        return any(part in self.recipe.without for part in parts)

    def _draw(self, *numbers: int) -> torch.Generator:
        return generator(self.seed, _DRAWS_OF_ADAPTERS, *numbers)


def _state(training: Training) -> dict[str, Any]:
    return {
        "head": training.head.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "teacher": None if training.teacher is None else asdict(training.teacher),
    }
