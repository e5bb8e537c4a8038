"""iCaRL: exemplars by herding, distillation, and classification by the nearest mean of exemplars.

Rebuffi et al., "iCaRL: Incremental Classifier and Representation Learning", CVPR 2017. The losses
are softmax cross-entropy and distillation at a temperature, as in the later literature's
implementations, where the paper has sigmoids.
"""

from typing import Any, ClassVar

import numpy as np
import torch

from dsc._replay.learners.base import Features
from dsc._replay.learners.joint import JointLearner
from dsc._replay.learners.memory import ExemplarMemory, decode
from dsc._replay.learners.views.base import Rows
from dsc._replay.scenario.images import Labels


class ICarl(JointLearner):
    """Distillation, and classes told by the nearest mean of exemplars."""

    name: ClassVar[str] = "icarl"
    policy: ClassVar[str] = "herding"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._means: Features = np.zeros((0, self.network.feature_size), np.float32)

    def remember(self, buffer: ExemplarMemory) -> None:
        """Compute each class's mean from its exemplars, as they decode."""
        labels = np.asarray(buffer.targets)
        means = np.full((self.seen, self.network.feature_size), np.nan, np.float32)
        for label in range(self.seen):
            rows = np.flatnonzero(labels == label).tolist()
            if rows:  # a class without exemplars has no mean and is never predicted
                mean = self.features(decode(buffer, rows)).mean(0)
                means[label] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        self._means = means

    def predict(self, images: Rows) -> Labels:
        """Return the class whose mean is nearest in the space of unit features."""
        # of unit vectors, the nearest has the largest product
        near = self.features(images) @ np.nan_to_num(self._means).T
        near[:, np.isnan(self._means).any(1)] = -np.inf
        found: Labels = near.argmax(1)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the state, the means among it."""
        return super().state_dict() | {"means": torch.from_numpy(self._means.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        super().load_state_dict(state)
        self._means = state["means"].numpy().copy()
