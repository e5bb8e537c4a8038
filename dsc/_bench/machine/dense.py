"""Dense tasks: heads trained with uncompressed pictures, again with what was stored, or tuned.

The same for segmentation and detection, which differ in head, loss and measure. "Tuned" means that
the network learns, too: a copy of it, but for its first layer, trained on decoded pictures together
with the head that was retrained on them.
"""

import os
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dsc._bench.machine.datasets import DETECTION, SEGMENTATION
from dsc._bench.machine.detection import average_precision, centre_loss, detection_head
from dsc._bench.machine.heads import Loss, Schedule, seeded, train
from dsc._bench.machine.network import Network
from dsc._bench.machine.pictures import Array, PictureSet
from dsc._bench.machine.seen import Seen
from dsc._bench.machine.segmentation import mean_iou, segmentation_head, segmentation_loss

TUNING = Schedule(epochs=4, rate=2e-4)


@dataclass(frozen=True)
class DenseTask:
    """How heads of a task are made, trained and held."""

    head: Callable[[Network, PictureSet], nn.Module]
    loss: Callable[[Network, PictureSet], Loss]
    measure: Callable[[Network, PictureSet, Seen, Any], dict[str, float]]


DENSE = {
    SEGMENTATION: DenseTask(segmentation_head, segmentation_loss, mean_iou),
    DETECTION: DenseTask(detection_head, centre_loss, average_precision),
}


class DenseHeads:
    """Heads of one task on one set; those trained with uncompressed pictures are kept on disk.

    Parameters
    ----------
    task
        Of `DENSE`.
    reference
        What the network sees of uncompressed pictures.
    schedule
        How heads are trained.
    path_of
        Where the head of a seed that was trained with them is kept.
    """

    def __init__(
        self,
        task: str,
        network: Network,
        data: PictureSet,
        reference: Callable[[], Seen],
        schedule: Schedule,
        path_of: Callable[[int], Path],
    ) -> None:
        self._task = DENSE[task]
        self._network, self._data, self._reference = network, data, reference
        self._schedule, self._path_of = schedule, path_of

    def as_it_is(self, seen: Seen, seed: int) -> dict[str, float]:
        """Measure the head that was trained with uncompressed pictures."""
        path = self._path_of(seed)
        if path.is_file():
            head = self._task.head(self._network, self._data)
            head.load_state_dict(load_file(path))
            return self._held(seen, head.eval())
        head = self._trained(self._reference(), seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        save_file(head.state_dict(), part)
        part.replace(path)
        return self._held(seen, head)

    def retrained(self, seen: Seen, seed: int) -> dict[str, float]:
        """Measure a head that was trained with what was stored."""
        return self._held(seen, self._trained(seen, seed))

    def tuned(self, seen: Seen, decoded: Sequence[Array], seed: int) -> dict[str, float]:
        """Measure a network that learned from decoded pictures, with its head."""
        network = TunedNetwork(self._network)
        joint = nn.ModuleList([*network.parts, self._trained(seen, seed)])
        self._tune(network, joint, decoded, seed)
        own = replace(seen, values=network.maps(decoded, self._data.side))
        return self._task.measure(network, self._data, own, joint[-1])

    def _tune(
        self, network: "TunedNetwork", joint: nn.ModuleList, decoded: Sequence[Array], seed: int
    ) -> None:
        first, rest, head = joint
        side = self._data.side

        def answer(numbers: Tensor) -> Tensor:
            pictures = [decoded[int(at)] for at in numbers]
            fine = first(network.stem(pictures, side))
            return cast(Tensor, head(fine, rest(fine)))

        loss = self._task.loss(self._network, self._data)
        schedule = replace(TUNING, epochs=min(TUNING.epochs, self._schedule.epochs))
        train(joint, answer, loss, self._data.train, schedule, seed)

    def _held(self, seen: Seen, head: nn.Module) -> dict[str, float]:
        return self._task.measure(self._network, self._data, seen, head)

    def _trained(self, seen: Seen, seed: int) -> nn.Module:
        maps = seen.values[: self._data.train]
        pair = (np.asarray(maps, np.float32), self._network.deeper(maps))
        fine, deep = (torch.from_numpy(one) for one in pair)
        head = seeded(lambda: self._task.head(self._network, self._data), seed)
        loss = self._task.loss(self._network, self._data)
        train(head, lambda at: head(fine[at], deep[at]), loss, len(maps), self._schedule, seed)
        return head


class TunedNetwork(Network):
    """A copy of a network that may learn, but for its first layer."""

    def __init__(self, network: Network) -> None:
        super().__init__(network.backbone, network.layer.name)
        tail = network.backbone.tail
        spans = (self._stem, self.layer.name), (self.layer.name, self.deepest.name)
        self.parts = [deepcopy(tail(*span)).requires_grad_(True) for span in spans]

    @property
    def _stem(self) -> str:
        return self.backbone.layers[0].name

    def stem(self, pictures: Sequence[Array], side: int | None) -> Tensor:
        """Return what its first layer makes of pictures, without gradients."""
        return self.backbone.features(self.prepared(pictures, side), self._stem).clone()

    def maps(self, pictures: Sequence[Array], side: int | None) -> Array:
        """Return feature maps float16 (N, C, h, w) at its layer, of uint8 pictures."""
        with torch.inference_mode():
            found = [self.parts[0](self.stem([one], side)).half().numpy() for one in pictures]
        return np.concatenate(found)

    def deeper(self, maps: Array) -> Array:
        """Return feature maps float32 (N, C, h, w) of its deepest layer, from its layer's."""
        return self._through(self.parts[1], maps)
