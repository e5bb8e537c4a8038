"""GDumb: forget the stream; train a new network on the buffer alone, whenever one is asked for.

Prabhu, Torr and Dokania, "GDumb: A Simple Approach that Questions Our Progress in Continual
Learning", ECCV 2020. What it reaches depends on the buffer and nothing else, so it is the fairest
judge of one. Differences to the paper: a fixed number of optimiser steps for every buffer, so that
all have the same computation; shifts and mirroring in place of CutMix.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from dsc.replay.learners.base import Batch, Learner
from dsc.replay.learners.batches import generator

STEPS_AN_EPOCH = 50


class GDumb(Learner):
    """See the module."""

    name: ClassVar[str] = "gdumb"
    fills_first: ClassVar[bool] = True
    from_buffer_alone: ClassVar[bool] = True

    def start(self) -> None:
        """Begin a new network."""
        self.network = self.new_network(self.seed)
        super().start()

    def epochs(self) -> int:
        """Give the number of rounds of at most 50 steps of the optimiser."""
        return -(-self.recipe.steps // STEPS_AN_EPOCH)

    def epoch(self, number: int) -> float:
        """Train one round; give its mean loss."""
        self.network.train()
        draw = generator(self.seed, self.step_index, number)
        begin = number * STEPS_AN_EPOCH
        losses = []
        for at in range(begin, min(begin + STEPS_AN_EPOCH, self.recipe.steps)):
            self.set_rate(at / self.recipe.steps)
            rows = torch.randint(len(self.old), (self.recipe.batch,), generator=draw)
            losses.append(self.descend(self.loss(self.draw(rows, draw))))
        return float(torch.stack(losses).mean())

    def draw(self, rows: Tensor, draw: torch.Generator) -> Batch:
        """Take exemplars alone."""
        return self.batch(rows[:0], rows, draw)

    def loss(self, batch: Batch) -> Tensor:
        """Give the cross-entropy of the exemplars over all classes seen."""
        return F.cross_entropy(self.both(batch)[1], batch.old_labels)
