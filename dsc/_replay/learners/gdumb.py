"""GDumb: forget the stream; train a new network on the buffer alone, whenever one is asked for.

Prabhu, Torr and Dokania, "GDumb: A Simple Approach that Questions Our Progress in Continual
Learning", ECCV 2020. What it reaches depends on the buffer and nothing else, so it is the fairest
judge of one. Differences to the paper: a fixed number of optimiser steps for every buffer, so that
all have the same computation; shifts and mirroring, and CutMix only where the recipe says so.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from dsc._replay.learners.batches import cutmix, generator
from dsc._replay.learners.gradient import NetworkLearner, ReplayBatch

STEPS_AN_EPOCH = 50


class GDumb(NetworkLearner):
    """A new network, trained on the buffer alone, whenever one is asked for."""

    name: ClassVar[str] = "gdumb"
    fills_first: ClassVar[bool] = True
    from_buffer_alone: ClassVar[bool] = True

    def start(self) -> None:
        """Begin a new network."""
        self.network = self.new_network(self.seed)
        super().start()

    def epochs(self) -> int:
        """Return the number of rounds of at most 50 steps of the optimiser."""
        return -(-self.recipe.steps // STEPS_AN_EPOCH)

    def epoch(self, number: int) -> float:
        """Train one round; return its mean loss."""
        self.network.train()
        draw = generator(self.seed, self.increment_index, number)
        begin = number * STEPS_AN_EPOCH
        losses = []
        for at in range(begin, min(begin + STEPS_AN_EPOCH, self.recipe.steps)):
            self.set_rate(at / self.recipe.steps)
            rows = torch.randint(len(self.old), (self.recipe.batch,), generator=draw)
            batch = self.draw(rows, draw)
            share = self.recipe.cutmix
            mix = share > 0 and float(torch.rand((), generator=draw)) < share
            losses.append(self.descend(self.mixed(batch, draw) if mix else self.loss(batch)))
        return float(torch.stack(losses).mean())

    def draw(self, rows: Tensor, draw: torch.Generator) -> ReplayBatch:
        """Take exemplars alone."""
        return self.batch(rows[:0], rows, draw)

    def loss(self, batch: ReplayBatch) -> Tensor:
        """Return the cross-entropy of the exemplars over all classes seen."""
        return F.cross_entropy(self.both(batch)[1], batch.old_labels)

    def mixed(self, batch: ReplayBatch, draw: torch.Generator) -> Tensor:
        """Return the cross-entropy of mixed exemplars to both of their labels, by area."""
        images, order, kept = cutmix(batch.old_images, draw)
        logits = self.logits(images)
        other = batch.old_labels[order.to(batch.old_labels.device)]
        own = F.cross_entropy(logits, batch.old_labels)
        return kept * own + (1 - kept) * F.cross_entropy(logits, other)
