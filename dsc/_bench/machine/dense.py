"""Dense tasks: heads trained with uncompressed pictures, or again with what was stored.

The same for segmentation and detection, which differ in head, loss and measure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from dsc._bench.machine.datasets import DETECTION, SEGMENTATION
from dsc._bench.machine.detection import average_precision, train_detection
from dsc._bench.machine.heads import Schedule
from dsc._bench.machine.network import Network
from dsc._bench.machine.pictures import PictureSet
from dsc._bench.machine.seen import Seen
from dsc._bench.machine.segmentation import mean_iou, train_segmentation


@dataclass(frozen=True)
class DenseTask:
    """How heads of a task are trained and held."""

    train: Callable[[Network, PictureSet, Seen, Schedule, int], nn.Module]
    measure: Callable[[Network, PictureSet, Seen, Any], dict[str, float]]


DENSE = {
    SEGMENTATION: DenseTask(train_segmentation, mean_iou),
    DETECTION: DenseTask(train_detection, average_precision),
}


class DenseHeads:
    """Heads of one task on one set, one a seed, trained when they are needed.

    Parameters
    ----------
    reference
        What the network sees of uncompressed pictures.
    """

    def __init__(
        self,
        task: str,
        network: Network,
        data: PictureSet,
        reference: Callable[[], Seen],
        schedule: Schedule,
    ) -> None:
        self._task = DENSE[task]
        self._network, self._data, self._reference = network, data, reference
        self._schedule = schedule
        self._heads: dict[int, nn.Module] = {}

    def measure(self, seen: Seen, seeds: Sequence[int], retrain: bool) -> dict[str, Any]:
        """Return ``as_is`` and ``retrained``: what the task is measured by, a list over seeds."""
        found = {"as_is": [self._held(seen, self._head(seed)) for seed in seeds]}
        if retrain:
            found["retrained"] = [self._held(seen, self._trained(seen, seed)) for seed in seeds]
        return found

    def _held(self, seen: Seen, head: nn.Module) -> dict[str, float]:
        return self._task.measure(self._network, self._data, seen, head)

    def _head(self, seed: int) -> nn.Module:
        if seed not in self._heads:
            self._heads[seed] = self._trained(self._reference(), seed)
        return self._heads[seed]

    def _trained(self, seen: Seen, seed: int) -> nn.Module:
        return self._task.train(self._network, self._data, seen, self._schedule, seed)
