"""Labelled images in memory: a folder, zip or tar of ``<class>/<file>``, or an archive of dsc.

All pictures of a set have one size and three channels; a gray file gives its value three times.
Classes are numbered as torchvision's ImageFolder numbers them: each directory at the top is one,
whatever lies below it, in the plain order of their names; its files follow in the order of
directory and name. So equal places give equal arrays. A single directory around all classes, as
zips have it, is passed through. Hidden files and what operating systems leave are passed over, by
the rule of all sources. A file that is damaged, or whose size differs, is an error that names it;
so is a class without a picture.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsc._files.passed_over import printable
from dsc._files.tree import FileTree
from dsc._pipeline.read.dataset import Dataset
from dsc._replay.scenario.class_folders import (
    SUFFIXES,
    TEST_NAMES,
    TRAIN_NAMES,
    find_part,
    list_classes,
    open_tree,
    refuse_unread,
)
from dsc._schemas import Task, TaskKind
from dsc._sources.meaning.decode import read_array
from dsc.errors import SampleError, UsageError

PICTURE = Task(name="image", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
HOLD_OUT_EVERY = 6
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


class MixedSizesError(SampleError):
    """Pictures of a set have sizes of their own, and no one size was asked for."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of one size with a class each.

    Attributes
    ----------
    images
        (N, H, W, 3) uint8.
    labels
        (N,) int64, positions in `classes`.
    keys
        N names, each once.
    classes
        Names of the classes.

    Raises
    ------
    UsageError
        When shapes or types do not fit, or a label is no class.
    """

    images: Images
    labels: Labels
    keys: tuple[str, ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        shape, count = self.images.shape, len(self.labels)
        if len(shape) != 4 or shape[3] != 3 or self.images.dtype != np.uint8:
            raise UsageError(
                f"images are {self.images.dtype} {shape}; expected uint8 (N, height, width, 3)"
            )
        if shape[0] != count or len(self.keys) != count:
            raise UsageError(f"{shape[0]} images, {count} labels and {len(self.keys)} keys")
        if count and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise UsageError(
                f"labels from {self.labels.min()} to {self.labels.max()}, but there are "
                f"{len(self.classes)} classes, numbered from 0"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "LabelledImages":
        """Return some of the images, in the order of `rows`."""
        keys = tuple(self.keys[row] for row in rows)
        return LabelledImages(self.images[rows], self.labels[rows], keys, self.classes)


def load_split(
    place: str | Path,
    test: str | Path | None = None,
    *,
    classes: int | Sequence[str] | None = None,
    per_class: int | None = None,
    size: int | None = None,
) -> tuple[LabelledImages, LabelledImages]:
    """Load training and test images.

    Parameters
    ----------
    place
        What `load_images` reads; or a folder, zip or tar that holds ``train`` and ``test`` (or
        ``val``), each a folder or, in a folder, a ``.zip`` or tar.
    test
        Where the test images are. None: beside the training images, as above; else every sixth
        image of a class of `place` is held out.
    classes
        As in `load_images`.
    per_class
        As in `load_images`, but of the training images alone.
    size
        As in `load_images`.

    Returns
    -------
    train, test
        With the same classes.

    Raises
    ------
    UsageError
        When a class of the one is missing from the other.
    """
    if test is None:
        tree = open_tree(place)
        beside = find_part(tree, TRAIN_NAMES), find_part(tree, TEST_NAMES)
        if beside[0] is None or beside[1] is None:
            whole = load_images(place, classes=classes, size=size)
            return hold_out(whole, per_class=per_class)
        train = _load(beside[0], classes, per_class, size)
        return train, _load(beside[1], train.classes, None, size)
    train = load_images(place, classes=classes, per_class=per_class, size=size)
    return train, load_images(test, classes=train.classes, size=size)


def hold_out(
    images: LabelledImages, every: int = HOLD_OUT_EVERY, per_class: int | None = None
) -> tuple[LabelledImages, LabelledImages]:
    """Split off every `every`-th image of each class for testing.

    Parameters
    ----------
    images
        All of them.
    every
        One image of so many is held out, and at least one of each class.
    per_class
        The most images of a class that are left to train on; None for all.

    Returns
    -------
    train, test
        Both with the classes of `images`.

    Raises
    ------
    UsageError
        When a class has fewer than two images.
    """
    train, test = [], []
    for label, name in enumerate(images.classes):
        rows = np.flatnonzero(images.labels == label)
        if len(rows) < 2:
            raise UsageError(f"class {name!r} has {len(rows)} image; one to test and one to train")
        held = np.arange(len(rows)) % every == min(every, len(rows)) - 1
        train.append(rows[~held][:per_class])
        test.append(rows[held])
    return images.take(np.concatenate(train)), images.take(np.concatenate(test))


def load_images(
    place: str | Path,
    *,
    classes: int | Sequence[str] | None = None,
    per_class: int | None = None,
    size: int | None = None,
) -> LabelledImages:
    """Load the images of a folder, a zip or an archive.

    Parameters
    ----------
    place
        A folder, zip or tar of ``<class>/<file>`` (PNG, JPEG, WebP, JPEG XL, TIFF), or the path or
        URL of an archive with one rgb task and one class task.
    classes
        How many classes, the first ones in order; or their names. None for all.
    per_class
        The most images of a class; None for all.
    size
        Side in pixels to which all are resized, to a square, by torch's antialiased bilinear
        filter; None keeps the files' size.

    Raises
    ------
    SourceNotFoundError
        When there is nothing of the kind.
    SampleError
        When a file is damaged; `MixedSizesError` when its size is not that of the others.
    UsageError
        When a class that was asked for has no images, a picture is of a format that dsc does not
        read, or ``train`` and ``test`` are where classes should be.
    """
    if per_class is not None and per_class < 1:
        raise UsageError(f"per_class={per_class}: at least 1 image of each class is needed")
    tree = open_tree(place)
    if tree is None:
        return _chosen(_from_archive(str(place), size), str(place), classes, per_class)
    return _load(tree, classes, per_class, size)


def _load(
    tree: FileTree, classes: int | Sequence[str] | None, per_class: int | None, size: int | None
) -> LabelledImages:
    """Read the files of the chosen classes."""
    by_class = list_classes(tree)
    chosen = _choose(tree.url, list(by_class), classes)
    empty = [name for name in chosen if not by_class[name]]
    if empty:
        raise UsageError(
            f"{tree.url}: no image of class {', '.join(empty[:5])}: no {', '.join(SUFFIXES)} below "
            "it; remove the directory, or name the classes that count"
        )
    files = [(name, at) for at, one in enumerate(chosen) for name in by_class[one][:per_class]]
    refuse_unread(tree, [name for name, _ in files])
    where = [tree.where(name) for name, _ in files]
    pictures = (_read(tree.read(files[at][0]), where[at], size) for at in range(len(files)))
    labels = np.array([label for _, label in files], np.int64)
    keys = tuple(printable(name) for name, _ in files)
    return LabelledImages(_stacked(pictures, where), labels, keys, chosen)


def _choose(
    place: str, there: Sequence[str], classes: int | Sequence[str] | None
) -> tuple[str, ...]:
    wanted = there[:classes] if isinstance(classes, int) else there if classes is None else classes
    if isinstance(classes, int) and not 0 < classes <= len(there):
        raise UsageError(f"{place}: {classes} classes were asked for, it has {len(there)}")
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UsageError(
            f"{place}: no image of class {', '.join(missing[:5])}; it has {', '.join(there[:5])}"
            f"{' ...' if len(there) > 5 else ''}"
        )
    return tuple(wanted)


def _read(data: bytes, where: str, size: int | None) -> Images:
    picture: Images = read_array(data, PICTURE, where)
    return picture if size is None else _resized(picture, size)


def _resized(picture: Images, size: int) -> Images:
    """Resize to a square by torch's antialiased bilinear filter, rounded to uint8."""
    if picture.shape[:2] == (size, size):
        return picture
    import torch
    from torch.nn.functional import interpolate

    plane = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    small = interpolate(plane, (size, size), mode="bilinear", antialias=True)
    rounded: Images = small[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    return rounded


def _stacked(pictures: Iterable[Images], where: Sequence[str]) -> Images:
    """Put pictures of one size into one array, one by one: a large set is held once."""
    found = np.empty((0, 0, 0, 3), np.uint8)
    for at, (picture, name) in enumerate(zip(pictures, where, strict=True)):
        if at == 0:
            found = np.empty((len(where), *picture.shape), np.uint8)
        if picture.shape != found.shape[1:]:
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (picture.shape, found.shape[1:])]
            raise MixedSizesError(
                f"{name}: {sizes[0]} pixels, {where[0]} has {sizes[1]}; resize all with size=64 "
                "(--image-size 64)"
            )
        found[at] = picture
    return found


def _from_archive(url: str, size: int | None) -> LabelledImages:
    """Read the one rgb task and the one class task of an archive."""
    tasks = Dataset.open(url).manifest.tasks
    rgb = [task.name for task in tasks if task.kind is TaskKind.IMAGE and task.channels == 3]
    target = [task for task in tasks if task.kind is TaskKind.CLASS]
    if len(rgb) != 1 or len(target) != 1:
        raise UsageError(
            f"{url}: {len(rgb)} rgb tasks and {len(target)} class tasks; one of each is needed "
            f"(it has {', '.join(task.name for task in tasks)})"
        )
    data = Dataset.open(url, [rgb[0], target[0].name], native=True)
    keys, values = tuple(data.keys()), []

    def pictures() -> Iterator[Images]:
        for key, sample in zip(keys, data, strict=True):
            picture, value = sample[rgb[0]], sample[target[0].name]
            if picture is None or value is None:
                raise SampleError(f"{url}: sample {key} has no {rgb[0]} or no {target[0].name}")
            values.append(int(value))
            yield picture if size is None else _resized(picture, size)

    images = _stacked(pictures(), [f"{url}: sample {key}" for key in keys])
    numbers = np.unique(values)
    names = target[0].classes
    classes = tuple(names[n] if n < len(names) else str(n) for n in numbers.tolist())
    labels = np.searchsorted(numbers, values).astype(np.int64)
    return LabelledImages(images, labels, keys, classes)


def _chosen(
    images: LabelledImages,
    place: str,
    classes: int | Sequence[str] | None,
    per_class: int | None,
) -> LabelledImages:
    wanted = _choose(place, images.classes, classes)
    rows = [
        np.flatnonzero(images.labels == images.classes.index(name))[:per_class] for name in wanted
    ]
    labels = np.repeat(np.arange(len(wanted)), [len(one) for one in rows]).astype(np.int64)
    found = images.take(np.concatenate(rows))
    return LabelledImages(found.images, labels, found.keys, wanted)
