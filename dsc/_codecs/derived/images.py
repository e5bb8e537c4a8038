"""What rules about filters of an image share: its gray values, and whether a map is a filter's.

Filters come from a source's own program, in floats. Ours are of integers, so a map that a source
made is not always ours to the count: `agrees` says what is near enough to be the same filter.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Sample
from dsc._codecs.derived.evidence import complete, share_within
from dsc._schemas import Task, TaskKind

GRAY = (299, 587, 114)  # Rec. ITU-R BT.601-7, 2.5.1, in thousandths
WHITE = 255 * sum(GRAY)  # the largest gray value

AGREE = 0.99  # share of pixels within a count, in every sample
AGREE_WHERE_ANYTHING_IS = 0.95  # likewise, of pixels where one of the two maps has anything
EVIDENT = 0.01  # share of pixels that are not flat in a sample that says something

Pair = tuple[NDArray[np.uint8], NDArray[np.uint16]]
"""An image (H, W, 3) and a map (H, W)."""

Place = tuple[slice, slice]
"""A window of a map."""


def gray_of(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the gray values (H, W) of an image (H, W, 3): thousandths of a level, 0 to `WHITE`."""
    gray = np.zeros(image.shape[:2], np.int64)
    for channel, weight in enumerate(GRAY):
        gray += image[..., channel].astype(np.int64) * weight  # NumPy 1 would multiply in 16 bits
    return gray


def is_image(task: Task) -> bool:
    """Tell whether a task is colour images of 8 bits."""
    return task.kind is TaskKind.IMAGE and task.dtype == "uint8" and task.channels == 3


def is_filtered(task: Task) -> bool:
    """Tell whether a task can be what a filter of 16 bits gives."""
    return task.is_map and task.dtype == "uint16" and task.channels == 1


def makes(child: Task, inputs: Sequence[Task]) -> bool:
    """Tell whether a filter of one image can make a task from these."""
    return is_filtered(child) and len(inputs) == 1 and is_image(inputs[0])


def pairs_of(child: Task, parent: Task, samples: Sequence[Sample]) -> list[Pair]:
    """List image and child of the samples that have both; none where any are not of their tasks."""
    whole = complete(samples, child.name, parent.name)
    pairs = [(sample[parent.name], sample[child.name]) for sample in whole]
    fit = all(
        image.dtype == np.uint8
        and found.dtype == np.uint16
        and (image.shape[2:], found.ndim) == ((3,), 2)
        and found.size
        for image, found in pairs
    )
    return pairs if fit else []


def agrees(found: NDArray[np.uint16], derived: NDArray[np.uint16]) -> bool:
    """Tell whether a map of a sample is what was derived, but for rounding."""
    anything = np.maximum(found, derived) > 1
    if not anything.any():
        return True
    return (
        share_within(found, derived, 1) >= AGREE
        and share_within(found[anything], derived[anything], 1) >= AGREE_WHERE_ANYTHING_IS
    )


def is_evident(image: NDArray[np.uint8], found: NDArray[np.uint16]) -> bool:
    """Tell whether an image and its map say something: filters of flat images are all alike."""
    uneven = (image != image[0, 0]).any(axis=2)
    return bool(uneven.mean() >= EVIDENT and (found > 1).mean() >= EVIDENT)


def busiest(found: NDArray[np.uint16], side: int) -> Place:
    """Choose the window, of at most `side` pixels each way, in which a map has the most.

    Windows lie side by side; the last of a row or column ends at the map's edge.
    """
    places = [
        (slice(y, y + side), slice(x, x + side))
        for y in _starts(found.shape[0], side)
        for x in _starts(found.shape[1], side)
    ]
    return max(places, key=lambda place: int(found[place].sum(dtype=np.uint64)))


def inside(place: Place, shape: tuple[int, ...], margin: int) -> Place:
    """Return the part of a window, as seen from its corner, that a filter has right.

    It is all but `margin` pixels where the window is cut out of a map of this shape.
    """
    rows, columns = (
        slice(margin if cut.start else 0, end - cut.start - (margin if end < length else 0))
        for cut, length in zip(place, shape, strict=True)
        for end in [min(cut.stop, length)]
    )
    return rows, columns


def _starts(length: int, side: int) -> list[int]:
    last = max(0, length - side)
    return [*range(0, last, side), last]
