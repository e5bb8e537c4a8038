"""The network of CL-LoRA: a trunk, the adapters that tasks share, and what is kept of each task."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsc._replay.learners.cl_lora.low_rank import LowRankAdapters
from dsc._replay.learners.cl_lora.task import TaskAdapters
from dsc._replay.learners.cl_lora.trunk import Trunk
from dsc._replay.learners.views.base import Rows

AT_ONCE = 128
"""Pictures that are computed together where nothing is trained."""


class AdaptedNetwork(nn.Module):
    """Embeds pictures by the adapters of a task, and scores the classes of all tasks.

    Parameters
    ----------
    trunk
        What adapters sit on.
    shared
        The adapters of its early part.
    """

    def __init__(self, trunk: Trunk, shared: LowRankAdapters) -> None:
        super().__init__()
        self.trunk, self.shared = trunk, shared
        self.tasks: list[TaskAdapters] = []

    @torch.no_grad()
    def exits(self, rows: Rows) -> Tensor:
        """Return the early exits (N, E), float32, of what the learner is shown."""
        weights = self.trunk.early.weights(self.shared.changes())
        parts = [
            self.trunk.exit(self.trunk.early(self.trunk.prepare(part), weights)).float()
            for part in _parts(rows)
        ]
        return torch.cat(parts)

    def embed(self, rows: Rows, task: TaskAdapters) -> Tensor:
        """Return the embeddings (N, D), float32, by the adapters of a task."""
        return self.embed_all(rows, [task])[0]

    @torch.no_grad()
    def embed_all(self, rows: Rows, tasks: Sequence[TaskAdapters]) -> list[Tensor]:
        """Return the embeddings (N, D), float32, by the adapters of each of some tasks.

        The early part is computed once.
        """
        early, late = self.trunk.early, self.trunk.late
        shared = early.weights(self.shared.changes())
        own = [late.weights(task.changes()) for task in tasks]
        found: list[list[Tensor]] = [[] for _ in tasks]
        for part in _parts(rows):
            x = early(self.trunk.prepare(part), shared)
            for embeddings, weights in zip(found, own, strict=True):
                embeddings.append(late(x, weights).float())
        return [torch.cat(embeddings) for embeddings in found]

    def scores(self, rows: Rows) -> Tensor:
        """Return the scores (N, classes): cosines to each task's means, by its own adapters."""
        embedded = self.embed_all(rows, self.tasks)
        return torch.cat(
            [
                F.normalize(features, dim=1) @ F.normalize(task.means, dim=1).T
                for features, task in zip(embedded, self.tasks, strict=True)
            ],
            dim=1,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all that it keeps beside the frozen network."""
        adapters = {self.shared, *(task.adapters for task in self.tasks)}  # each once
        own = sum(task.weights.nbytes + task.means.nbytes for task in self.tasks)
        return own + sum(one.nbytes for one in adapters)


def _parts(rows: Rows) -> list[Rows]:
    return [rows[at : at + AT_ONCE] for at in range(0, len(rows), AT_ONCE)]
