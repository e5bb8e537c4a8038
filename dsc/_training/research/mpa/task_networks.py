"""Small networks that look at decoded pictures: classes, label maps, features.

They are trained on uncompressed pictures and then frozen, as the task networks of the paper are.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._training.research.mpa.batches import Schedule, draw, to_planes
from dsc._training.schedule import lr_share

WEIGHT_DECAY = 5e-4
SMOOTHING = 0.1  # of the labels, so that answers stay soft
IGNORED = 255  # label of positions that do not count
INPUT_SCALE = 4.0  # planes in [-0.5, 0.5] to a deviation of about one


class TaskNetwork(nn.Module):
    """Convolutions at 1/2, 1/4 and 1/8 of the picture's sides, and a head.

    Parameters
    ----------
    classes
        Number of classes.
    dense
        Whether it labels pixels; else it labels pictures.
    widths
        Channels at 1/2, 1/4, 1/8, and once more there.
    """

    def __init__(
        self, classes: int, *, dense: bool = False, widths: Sequence[int] = (16, 32, 64, 64)
    ) -> None:
        super().__init__()
        self.dense = dense
        strides = (2, 2, 2, 1)
        inputs = (3, *widths[:-1])
        self.layers = nn.ModuleList(
            _convolution(had, width, stride)
            for had, width, stride in zip(inputs, widths, strides, strict=True)
        )
        self.head = nn.Conv2d(sum(widths) if dense else widths[-1], classes, 1)

    def features(self, planes: Tensor) -> list[Tensor]:
        """Return what each convolution gives, the finest first."""
        x = INPUT_SCALE * planes.contiguous(memory_format=torch.channels_last)
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return found

    def forward(self, planes: Tensor) -> Tensor:
        """Return logits (B, classes), or (B, classes, H, W) of a dense one."""
        maps = self.features(planes)
        if not self.dense:
            pooled: Tensor = self.head(maps[-1].mean(dim=(2, 3), keepdim=True)).flatten(1)
            return pooled
        size = maps[0].shape[-2:]
        joined = torch.cat([F.interpolate(x, size, mode="bilinear") for x in maps], dim=1)
        return F.interpolate(self.head(joined), planes.shape[-2:], mode="bilinear")


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def fit(network: TaskNetwork, pictures: Tensor, labels: Tensor, how: Schedule) -> None:
    """Train a task network on pictures, mirrored at random, with smoothed labels.

    Parameters
    ----------
    pictures
        (N, 3, H, W) uint8.
    labels
        (N,) or, of a dense network, (N, H, W); 255 does not count.
    """
    optimiser = torch.optim.AdamW(network.parameters(), lr=how.lr, weight_decay=WEIGHT_DECAY)
    network.train()
    for step in range(how.steps):
        optimiser.param_groups[0]["lr"] = how.lr * lr_share(step, how.steps)
        chosen, mirrored = draw(len(pictures), how, step)
        wanted = labels[chosen].long()
        planes = to_planes(pictures[chosen], mirrored)
        if network.dense:
            wanted = torch.where(mirrored[:, None, None], wanted.flip(-1), wanted)
        loss = F.cross_entropy(
            network(planes), wanted, ignore_index=IGNORED, label_smoothing=SMOOTHING
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    network.eval()
