"""Learners that keep sums over a frozen backbone's features, and solve for a classifier.

There is no gradient, no exemplar and nothing that is forgotten: a sum does not depend on the order
of its terms, so whichever classes came first, the end is the same up to rounding. All sums are
float64, and each increment is added in one epoch.
"""

import math
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from dsc._replay.learners.base import Features, Learner, Recipe, require_frozen_backbone
from dsc._replay.learners.memory import ExemplarMemory
from dsc._replay.learners.views.base import Rows
from dsc._replay.scenario.images import Labels
from dsc._replay.scenario.scenario import Increment

AT_ONCE = 1024
"""Rows whose features are computed together."""


class ClosedFormLearner(Learner):
    """Sums features class by class; a subclass says what else, and solves for the classifier."""

    exemplar_free: ClassVar[bool] = True

    def __init__(
        self, classes: int, side: int, recipe: Recipe, seed: int, device: str = "cpu"
    ) -> None:
        super().__init__(classes, side, recipe, seed, device)
        self.sums: dict[str, Tensor] = {}
        self._classifier: Tensor | None = None

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Refuse a recipe whose features change, or have learnt nothing."""
        because = "sums features that must not change"
        require_frozen_backbone(cls.name, recipe, "works on the features of", because)

    def begin(self, increment: Increment, buffer: ExemplarMemory) -> None:
        """Set an increment before the learner."""
        self.increment_index = increment.index
        self.first, self.seen = increment.first, increment.seen
        self._rows, self._labels = increment.images, torch.from_numpy(increment.labels)

    def start(self) -> None:
        """Change nothing: sums are added to in the epoch."""

    def epochs(self) -> int:
        """Return 1: each row is added once."""
        return 1

    def epoch(self, number: int) -> float:
        """Add the increment's rows to the sums; there is no loss, and NaN stands for it."""
        for at in range(0, len(self._rows), AT_ONCE):
            some = slice(at, at + AT_ONCE)
            self.add(self.expand(self._rows[some]), self._labels[some].to(self.device))
        self._classifier = None
        return math.nan

    def expand(self, rows: Rows) -> Tensor:
        """Return the features (B, D) float64 that sums are made of."""
        return torch.from_numpy(rows).to(self.device, torch.float64)

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Add features (B, D) to the sums of their classes, (classes, D) and (classes,)."""
        member = F.one_hot(labels, self.classes).to(torch.float64)
        self.add_to("classes", member.T @ features)
        self.add_to("counts", member.sum(0))

    def add_to(self, name: str, term: Tensor) -> None:
        """Add a term to a sum."""
        self.sums[name] = self.sums[name] + term if name in self.sums else term

    @abstractmethod
    def solve(self) -> Tensor:
        """Return the classifier (D + 1, seen) of the sums as they are, its last row the offsets."""

    def scores(self, rows: Rows) -> Tensor:
        """Return the scores (N, seen) of rows."""
        if self._classifier is None:
            self._classifier = self.solve()
        weights, offsets = self._classifier[:-1], self._classifier[-1]
        parts = [rows[at : at + AT_ONCE] for at in range(0, len(rows), AT_ONCE)]
        return torch.cat([self.expand(part) @ weights + offsets for part in parts])

    def predict(self, images: Rows) -> Labels:
        """Return the class (N,) of the largest score."""
        found: Labels = self.scores(images).argmax(1).cpu().numpy()
        return found

    def features(self, images: Rows) -> Features:
        """Return the backbone's features (N, D) at unit length."""
        found: Features = F.normalize(torch.from_numpy(images).float(), dim=1).numpy()
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of all sums."""
        return sum(one.nbytes for one in self.sums.values())

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        return {"sums": dict(self.sums)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.sums, self._classifier = dict(state["sums"]), None
