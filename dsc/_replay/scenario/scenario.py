"""Class-incremental scenarios: classes come in increments, each seen once.

A scenario numbers the classes anew, in the order in which they come: after increment t the classes
0 ... ``seen[t] - 1`` have been seen. Everything is decided by the class order and the seed, so two
scenarios made alike are alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dsc._replay.scenario.images import Images, LabelledImages, Labels
from dsc.errors import UsageError


@dataclass(frozen=True, eq=False)
class Increment:
    """What a learner is given at once.

    Attributes
    ----------
    index
        Number of the increment, from 0.
    images
        (N, H, W, 3) uint8.
    labels
        (N,) int64, in the scenario's own numbers: `first` to `seen` - 1.
    rows
        (N,) int64, where the images are in the data set.
    first, seen
        Classes seen before this increment, and after it.
    """

    index: int
    images: Images
    labels: Labels
    rows: Labels
    first: int
    seen: int


class ClassIncremental:
    """Increments of `increment` new classes each.

    ``B0-10`` of the literature is ``increment=10`` with 100 classes; ``B50-10`` has
    ``initial_increment=50`` too.

    Parameters
    ----------
    images
        The data set.
    increment
        New classes an increment.
    initial_increment
        Classes of the first increment; None for `increment`.
    class_order
        Positions in ``images.classes`` (or names of classes), in the order in which they come;
        None: a permutation drawn by NumPy's legacy generator from `seed`. Seed 1993 so gives the
        order of iCaRL's and PyCIL's experiments.
    seed
        Of the order.

    Raises
    ------
    UsageError
        When the increments do not add up to the classes, the order is no permutation of them, or a
        class has no images.
    """

    def __init__(
        self,
        images: LabelledImages,
        increment: int,
        initial_increment: int | None = None,
        class_order: Sequence[int] | Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        classes = len(images.classes)
        self.data = images
        self.seen = _classes_seen(classes, increment, initial_increment)
        self.class_order = _order(images.classes, class_order, seed)
        self.increment, self.initial_increment, self.seed = increment, initial_increment, seed
        place = np.empty(classes, np.int64)
        place[list(self.class_order)] = np.arange(classes)
        self._labels: Labels = place[images.labels]
        counts = np.bincount(self._labels, minlength=classes)
        if not counts.all():
            empty = [images.classes[self.class_order[at]] for at in np.flatnonzero(counts == 0)]
            raise UsageError(f"no images of class {', '.join(empty[:5])}; leave it out")

    def over(self, images: LabelledImages) -> "ClassIncremental":
        """Return the same increments over other images of the same classes: the test set."""
        if images.classes != self.data.classes:
            raise UsageError("the test images do not have the classes of the training images")
        return ClassIncremental(
            images, self.increment, self.initial_increment, self.class_order, self.seed
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order in which they come."""
        return tuple(self.data.classes[at] for at in self.class_order)

    def __len__(self) -> int:
        return len(self.seen)

    def __getitem__(self, index: int) -> Increment:
        """Return increment `index`; its images are in the data set's order."""
        if not 0 <= index < len(self):
            raise IndexError(f"step {index} of {len(self)}")
        first = self.seen[index - 1] if index else 0
        rows = np.flatnonzero((self._labels >= first) & (self._labels < self.seen[index]))
        images, labels = self.data.images[rows], self._labels[rows]
        return Increment(index, images, labels, rows, first, self.seen[index])

    def __iter__(self) -> Iterator[Increment]:
        return (self[index] for index in range(len(self)))


def _classes_seen(classes: int, increment: int, initial: int | None) -> tuple[int, ...]:
    """Return the number of classes seen after each increment."""
    first = increment if initial is None else initial
    if increment < 1 or first < 1:
        raise UsageError(f"increment={increment}, initial_increment={initial}: at least 1 each")
    if first > classes or (classes - first) % increment:
        raise UsageError(
            f"{classes} classes are no first step of {first} and then steps of {increment}"
        )
    return tuple(range(first, classes + 1, increment))


def _order(
    classes: Sequence[str], order: Sequence[int] | Sequence[str] | None, seed: int
) -> tuple[int, ...]:
    if order is None:
        return tuple(int(at) for at in np.random.RandomState(seed).permutation(len(classes)))
    unknown = [name for name in order if isinstance(name, str) and name not in classes]
    if unknown:
        raise UsageError(f"class_order names {unknown[0]!r}, which is no class of the data")
    found = tuple(classes.index(one) if isinstance(one, str) else int(one) for one in order)
    if sorted(found) != list(range(len(classes))):
        raise UsageError(
            f"class_order must name each of the {len(classes)} classes once; it has {len(found)} "
            f"entries, {len(set(found))} of them different"
        )
    return found
