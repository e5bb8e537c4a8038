"""Segmentation: a small dense head on frozen features, held by mean intersection over union.

Heads are trained with uncompressed pictures ("as they are") and with what was stored ("retrained").
"""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dsc._bench.machine.heads import WIDTH, Loss, Trunk
from dsc._bench.machine.network import Network
from dsc._bench.machine.pictures import IGNORED, Array, PictureSet
from dsc._bench.machine.seen import Seen

FINER = 4  # the loss is taken at a quarter of the labels' resolution


class SegmentationHead(nn.Module):
    """From two feature maps to scores of classes, (B, classes, h, w) of the finer map."""

    def __init__(self, channels: int, deeper: int, classes: int) -> None:
        super().__init__()
        self.trunk = Trunk(channels, deeper)
        self.scores = nn.Conv2d(WIDTH, classes, 1)

    def forward(self, fine: Tensor, deep: Tensor) -> Tensor:
        """Score the classes of each place."""
        return cast(Tensor, self.scores(self.trunk(fine, deep)))


def segmentation_head(network: Network, data: PictureSet) -> SegmentationHead:
    """Make a head of a network's layer for the classes of a set."""
    channels, deeper = network.layer.channels, network.deepest.channels
    return SegmentationHead(channels, deeper, len(data.classes))


def segmentation_loss(network: Network, data: PictureSet) -> Loss:
    """Return the cross entropy of pixels, of what a head answers to training pictures."""
    labels = torch.from_numpy(np.stack(data.truth[: data.train])).long()[:, ::FINER, ::FINER]

    def loss(scores: Tensor, numbers: Tensor) -> Tensor:
        wanted = labels[numbers]
        larger = functional.interpolate(scores, wanted.shape[1:], mode="bilinear")
        return functional.cross_entropy(larger, wanted, ignore_index=IGNORED)

    return loss


def mean_iou(
    network: Network, data: PictureSet, seen: Seen, head: SegmentationHead
) -> dict[str, float]:
    """Return ``miou`` and ``pixel_accuracy`` on the pictures that are measured.

    Intersections and unions are of all pixels of all pictures; a class that is nowhere does not
    count.
    """
    counts = np.zeros((len(data.classes),) * 2, np.int64)
    maps = seen.values[data.train :]
    deep = network.deeper(maps)
    with torch.inference_mode():
        for one, deeper, truth in zip(maps, deep, data.measured_truth(), strict=True):
            fine = torch.from_numpy(np.asarray(one[None], np.float32))
            scores = head(fine, torch.from_numpy(deeper[None]))
            larger = functional.interpolate(scores, truth.shape, mode="bilinear")
            counts += confusion(truth, larger[0].argmax(0).numpy(), len(data.classes))
    return scores_of(counts)


def confusion(truth: Array, found: Array, classes: int) -> Array:
    """Count pixels by true class and found class, int64 (classes, classes)."""
    counted = truth != IGNORED
    pairs = truth[counted].astype(np.int64) * classes + found[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def scores_of(counts: Array) -> dict[str, float]:
    """Return ``miou`` and ``pixel_accuracy`` of a confusion matrix."""
    hits = np.diag(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    there = union > 0
    return {
        "miou": float((hits[there] / union[there]).mean()),
        "pixel_accuracy": float(hits.sum() / max(counts.sum(), 1)),
    }
