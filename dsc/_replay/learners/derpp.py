"""DER++: exemplars are replayed with the logits that the network once gave them.

Buzzega et al., "Dark Experience for General Continual Learning: a Strong, Simple Baseline", NeurIPS
2020, equation 6. An exemplar's logits are those of its decoded picture at the end of its own
increment, one float16 for each class seen by then. They count against the budget: the buffer's
images get so much less. An exemplar whose logits no longer fit is replayed with its label alone.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dsc._replay.learners.gradient import NetworkLearner, ReplayBatch
from dsc._replay.learners.memory import ExemplarMemory, decode
from dsc._replay.scenario.scenario import Increment

BYTES_A_LOGIT = 2


class DarkReplay(NetworkLearner):
    """Cross-entropy of the new images, squared error to stored logits, cross-entropy of others."""

    name: ClassVar[str] = "derpp"
    reserves: ClassVar[bool] = True
    replays: ClassVar[int] = 2  # the two replay terms draw exemplars of their own

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept: dict[str, Tensor] = {}
        self._limit = 0

    def reserve(self, exemplar_bytes: float, budget: int) -> int:
        """Return the part of the budget that logits of all classes would take of each exemplar."""
        logits = BYTES_A_LOGIT * self.classes
        self._limit = int(budget * logits / (logits + exemplar_bytes))
        return self._limit

    @property
    def nbytes(self) -> int:
        """Bytes of all logits that are kept."""
        return BYTES_A_LOGIT * sum(len(logits) for logits in self._kept.values())

    def begin(self, increment: Increment, buffer: ExemplarMemory) -> None:
        """Set the stored logits beside the buffer's rows."""
        super().begin(increment, buffer)
        self._stored = torch.full((len(buffer), increment.seen), torch.nan)
        for row, key in enumerate(buffer.keys):
            if key in self._kept:
                logits = self._kept[key]
                self._stored[row, : len(logits)] = logits.float()

    def loss(self, batch: ReplayBatch) -> Tensor:
        """Return equation 6: the first half of the exemplars has the logits' term."""
        new, old = self.both(batch)
        loss = F.cross_entropy(new, batch.labels)
        half = len(old) // 2
        if not half:
            return loss
        stored = self._stored[batch.old_rows[:half]].to(old.device)
        known = ~stored.isnan()
        error = torch.where(known, old[:half] - stored.nan_to_num(), 0).square().sum()
        dark = error / known.sum().clamp(min=1)
        labelled = F.cross_entropy(old[half:], batch.old_labels[half:])
        return loss + self.recipe.alpha * dark + self.recipe.beta * labelled

    def remember(self, buffer: ExemplarMemory) -> None:
        """Forget the logits of exemplars that are gone; store those of new ones while they fit."""
        there = list(buffer.keys)
        self._kept = {key: self._kept[key] for key in there if key in self._kept}
        room = (self._limit - self.nbytes) // (BYTES_A_LOGIT * self.seen)
        fresh = [row for row, key in enumerate(there) if key not in self._kept]
        fresh = [fresh[at] for at in _spread(len(fresh), room)]
        if not fresh:
            return
        found = self.evaluate(decode(buffer, fresh), self.logits).astype(np.float16)
        for row, logits in zip(fresh, found, strict=True):
            self._kept[there[row]] = torch.from_numpy(logits.copy())

    def state_dict(self) -> dict[str, Any]:
        """Return the state, the logits by exemplar among it."""
        kept = {key: logits.clone() for key, logits in self._kept.items()}
        return super().state_dict() | {"logits": kept, "limit": self._limit}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        super().load_state_dict(state)
        self._kept, self._limit = dict(state["logits"]), state["limit"]


def _spread(count: int, room: int) -> list[int]:
    """Return at most `room` of `count` positions, evenly spread."""
    if room >= count:
        return list(range(count))
    return [at * count // room for at in range(max(room, 0))]
