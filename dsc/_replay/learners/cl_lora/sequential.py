"""Sequential LoRA: one set of adapters that each task goes on training, with nothing to protect it.

The control that forgetting is measured against. All else is as in CL-LoRA: sites, rank, training,
and classes told by the cosine to the mean features that they had at their task's end.
"""

from typing import ClassVar

from dsc._replay.learners.cl_lora.learner import ClLora
from dsc._replay.learners.cl_lora.task import TaskAdapters


class SequentialLora(ClLora):
    """All adapters are shared by all tasks, and none is held to what it was."""

    name: ClassVar[str] = "sequential-lora"
    distils: ClassVar[bool] = False

    def new_task(self, index: int, first: int, classes: int) -> TaskAdapters:
        """Give an increment the adapters of the one before."""
        adapters = self.network.tasks[-1].adapters if index else self.new_adapters(index)
        made = TaskAdapters(adapters, first, classes, self.network.trunk.feature_size)
        return made.to(self.device)
