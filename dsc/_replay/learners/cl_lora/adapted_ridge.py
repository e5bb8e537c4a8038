"""Ridge regression on features that are adapted once: to the first task.

Panos et al., "First Session Adaptation: A Strong Replay-Free Baseline for Class-Incremental
Learning", ICCV 2023; McDonnell et al., "RanPAC", NeurIPS 2023, adapt as much and no more. The
adapters of CL-LoRA's first task, shared ones and its own, are trained and then stay as they are. So
features never change again, their sums add up over tasks, and all classes are compared with each
other, as cosines of different tasks' features are not. A picture goes through the network once.
"""

from dataclasses import replace
from typing import Any, ClassVar

from dsc._replay.learners.base import Recipe
from dsc._replay.learners.cl_lora.learner import ClLora
from dsc._replay.learners.memory import ExemplarMemory, NoExemplars
from dsc._replay.learners.ridge import Ridge
from dsc._replay.learners.views.base import Rows
from dsc._replay.scenario.images import Labels
from dsc._replay.scenario.scenario import Increment


class AdaptedRidge(ClLora):
    """CL-LoRA's adapters of the first task, and ridge regression on what they give."""

    name: ClassVar[str] = "adapted-ridge"
    distils: ClassVar[bool] = False

    def __init__(
        self, classes: int, side: int, recipe: Recipe, seed: int, device: str = "cpu"
    ) -> None:
        super().__init__(classes, side, recipe, seed, device)
        self.ridge = Ridge(classes, side, recipe, seed, device)

    def begin(self, increment: Increment, buffer: ExemplarMemory) -> None:
        """Set an increment before the learner."""
        super().begin(increment, buffer)
        self._increment = increment

    def start(self) -> None:
        """Begin the adapters of the first task; there are no others."""
        if not self.increment_index:
            super().start()

    def epochs(self) -> int:
        """Return the number of epochs of the first increment; 0 of those after it."""
        return 0 if self.increment_index else super().epochs()

    def end(self) -> None:
        """Add the increment's features to the sums."""
        if not self.increment_index:
            super().end()
        features = self._embedded(self._increment.images)
        self.ridge.begin(replace(self._increment, images=features), NoExemplars())
        self.ridge.epoch(0)

    def predict(self, images: Rows) -> Labels:
        """Return the class (N,) of the largest score."""
        return self.ridge.predict(self._embedded(images))

    @property
    def nbytes(self) -> int:
        """Bytes of adapters and sums."""
        return super().nbytes + self.ridge.nbytes

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes as it learns."""
        return super().state_dict() | {"ridge": self.ridge.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; `begin` follows, and `start` where an increment begins."""
        super().load_state_dict(state)
        self.ridge.load_state_dict(state["ridge"])

    def _embedded(self, images: Rows) -> Rows:
        """Return the embeddings (N, D), float32, by the first task's adapters."""
        return self.network.embed(images, self.network.tasks[0]).cpu().numpy()
