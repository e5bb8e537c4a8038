"""Detection: boxes from a heat-map of centres, on scenes whose boxes are exact.

Head and loss: Zhou et al., "Objects as Points" (2019), sections 3 and 4: a heat-map of centres a
class with penalty-reduced focal loss, offset and size by L1. Average precision at an overlap of
one half, all points of the curve (Everingham et al., "The PASCAL Visual Object Classes Challenge: A
Retrospective", IJCV 2015).
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dsc._bench.machine.heads import WIDTH, Loss, Trunk
from dsc._bench.machine.network import Network
from dsc._bench.machine.pictures import Array, PictureSet
from dsc._bench.machine.seen import Seen

OVERLAP = 0.5
MOST = 40  # boxes a picture that are kept
BEYOND_CLASSES = 4  # channels behind the heat-maps: offset x, y; logarithm of width, height
_BOXES_WEIGHT = 0.5
_RARE = -2.2  # bias of heat-maps: one place in ten is a centre


class DetectionHead(nn.Module):
    """From two feature maps to heat-maps and boxes, at half the finer map's stride."""

    def __init__(self, channels: int, deeper: int, classes: int) -> None:
        super().__init__()
        self.trunk = Trunk(channels, deeper, upsampled=True)
        self.out = nn.Conv2d(WIDTH, classes + BEYOND_CLASSES, 1)
        nn.init.constant_(cast(Tensor, self.out.bias)[:classes], _RARE)

    def forward(self, fine: Tensor, deep: Tensor) -> Tensor:
        """Return (B, classes + `BEYOND_CLASSES`, 2 h, 2 w)."""
        return cast(Tensor, self.out(self.trunk(fine, deep)))


def detection_head(network: Network, data: PictureSet) -> DetectionHead:
    """Make a head of a network's layer for the classes of a set."""
    return DetectionHead(network.layer.channels, network.deepest.channels, len(data.classes))


def centre_loss(network: Network, data: PictureSet) -> Loss:
    """Return `detection_loss` of what a head answers to training pictures."""
    stride, classes = network.layer.stride // 2, len(data.classes)
    height, width = (-(-side // stride) for side in data.pictures[0].shape[:2])
    drawn = [targets(boxes, classes, (height, width), stride) for boxes in data.truth[: data.train]]
    wanted = torch.from_numpy(np.stack(drawn))
    return lambda found, numbers: detection_loss(found, wanted[numbers], classes)


def targets(boxes: Array, classes: int, size: tuple[int, int], stride: int) -> Array:
    """Draw what a head is to answer, float32 (classes + `BEYOND_CLASSES`, h, w).

    A centre is 1 in its class's heat-map, with a Gaussian of a sixth of the box's size about it;
    offsets in cells and logarithms of sizes in cells stand at centres alone.
    """
    found = np.zeros((classes + BEYOND_CLASSES, *size), np.float32)
    rows, columns = np.mgrid[: size[0], : size[1]]
    for left, top, right, bottom, kind in np.asarray(boxes):
        x, y = (left + right) / 2 / stride, (top + bottom) / 2 / stride
        wide, high = (right - left) / stride, (bottom - top) / stride
        column, row = min(int(x), size[1] - 1), min(int(y), size[0] - 1)
        across, down = max(wide / 6, 0.5), max(high / 6, 0.5)
        squares = ((columns - column) / across) ** 2 + ((rows - row) / down) ** 2
        found[kind] = np.maximum(found[kind], np.exp(-squares / 2))
        found[classes:, row, column] = (x - column, y - row, np.log(wide), np.log(high))
    return found


def detection_loss(found: Tensor, wanted: Tensor, classes: int) -> Tensor:
    """Return the focal loss of heat-maps and the L1 of boxes, a box."""
    logits, heat = found[:, :classes], wanted[:, :classes]
    chance = logits.sigmoid()
    centres = heat == 1
    hits = functional.logsigmoid(logits) * (1 - chance) ** 2
    misses = functional.logsigmoid(-logits) * chance**2 * (1 - heat) ** 4
    count = centres.sum().clamp(min=1)
    focal = -torch.where(centres, hits, misses).sum() / count
    places = centres.any(dim=1, keepdim=True)
    apart = (found[:, classes:] - wanted[:, classes:]).abs() * places
    return focal + _BOXES_WEIGHT * apart.sum() / count


def average_precision(
    network: Network, data: PictureSet, seen: Seen, head: DetectionHead
) -> dict[str, float]:
    """Return ``ap50``, the mean over classes, on the pictures that are measured."""
    maps = seen.values[data.train :]
    deep = network.deeper(maps)
    found = []
    with torch.inference_mode():
        for one, deeper in zip(maps, deep, strict=True):
            fine = torch.from_numpy(np.asarray(one[None], np.float32))
            answer = head(fine, torch.from_numpy(deeper[None]))[0]
            found.append(boxes_of(answer, len(data.classes), network.layer.stride // 2))
    truth = data.measured_truth()
    values = [precision_of(found, truth, kind) for kind in range(len(data.classes))]
    return {"ap50": float(np.mean([value for value in values if value is not None]))}


def boxes_of(answer: Tensor, classes: int, stride: int) -> Array:
    """Return the boxes of one picture, float64 (K, 6): corners, class, score; best first."""
    heat = answer[:classes].sigmoid()
    peaks = heat * (functional.max_pool2d(heat[None], 3, 1, 1)[0] == heat)
    scores, places = peaks.flatten().topk(min(MOST, peaks.numel()))
    kind, row, column = np.unravel_index(places.numpy(), tuple(heat.shape))
    offset_x, offset_y, wide, high = answer[classes:, row, column].double().numpy()
    half = np.exp(np.clip(np.stack([wide, high]), -5, 5)) / 2
    centre = np.stack([column + offset_x, row + offset_y])
    corners = stride * np.concatenate([centre - half, centre + half])
    return np.concatenate([corners, kind[None], scores.double().numpy()[None]]).T


def precision_of(found: Sequence[Array], truth: Sequence[Array], kind: int) -> float | None:
    """Return the average precision of a class over pictures; None where it is nowhere."""
    wanted = [boxes[boxes[:, 4] == kind][:, :4] for boxes in truth]
    total = sum(len(boxes) for boxes in wanted)
    if not total:
        return None
    answers = [
        (score, picture, box)
        for picture, boxes in enumerate(found)
        for *box, label, score in boxes
        if label == kind
    ]
    taken = [np.zeros(len(boxes), bool) for boxes in wanted]
    right = []
    for _, picture, box in sorted(answers, key=lambda one: -one[0]):
        right.append(_claims(np.array(box), wanted[picture], taken[picture]))
    return _area(np.array(right, np.float64), total)


def _claims(box: Array, wanted: Array, taken: Array) -> bool:
    """Tell whether a box finds the one that it overlaps most, which it then takes."""
    if not len(wanted):
        return False
    overlaps = overlap(box, wanted)
    best = int(overlaps.argmax())
    if overlaps[best] < OVERLAP or taken[best]:
        return False
    taken[best] = True
    return True


def overlap(box: Array, others: Array) -> Array:
    """Return intersection over union of a box (4,) with others (K, 4)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return np.asarray(common / (areas - common))


def _area(right: Array, total: int) -> float:
    """Return the area under precision over recall, precision made to fall."""
    hits = right.cumsum()
    recall = hits / total
    precision = hits / (np.arange(len(right)) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * falling).sum())
