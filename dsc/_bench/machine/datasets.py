"""The sets that machines are shown: staged ones by folder, rendered ones, or a user's own.

`TASKS` says what each task needs to be known of a picture. A user's own data come through any
source: its first image task, and a class or labels where the source has them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dsc._backbones.base import Backbone
from dsc._bench.machine.pictures import (
    IGNORED,
    UNKNOWN,
    Array,
    PictureSet,
    as_seen,
    joined,
    resized,
    resized_labels,
)
from dsc._extras import needing
from dsc._renderer.clevr import CLEVR_CLASSES, clevr_boxes, render_clevr
from dsc._renderer.render import SCENE_CLASSES, render_view
from dsc._schemas import Task, TaskKind
from dsc._schemas.extractor import Preprocessing
from dsc._sources.base import Source, read_sample
from dsc._sources.registry import open_source
from dsc.errors import MissingPackageError, UsageError

CLASSIFICATION, PROBES = "classification", "probes"
SEGMENTATION, DETECTION = "segmentation", "detection"
TASKS = (CLASSIFICATION, PROBES, SEGMENTATION, DETECTION)
PHOTOGRAPHS, NYUV2, TINY = "natural", "nyuv2", "tiny_imagenet40"
PROBE_SIDE = 128  # small pictures of known classes are enlarged to this
TINY_A_CLASS = (30, 15)  # pictures of each class that train, and that are measured
NYU_BORDER, NYU_WIDTH, NYU_HEIGHT = 10, 352, 256
LONGEST_PX, MULTIPLE = 352, 32  # of a user's labelled pictures
SCENES, SCENE_PX = (300, 100), 256
QUICK, QUICK_PX = (40, 24), 128
LEAST_BOX_PX = 6

# Couprie et al., "Indoor semantic segmentation using depth information" (ICLR 2013): 13 classes.
# Those of the 40 (Gupta et al., CVPR 2013) that are not named are objects.
NYU_CLASSES = {
    "bed": ("bed",),
    "books": ("books",),
    "ceiling": ("ceiling",),
    "chair": ("chair",),
    "floor": ("floor", "floor mat"),
    "furniture": (
        "cabinet", "bookshelf", "counter", "shelves", "dresser", "refridgerator", "night stand",
        "otherfurniture",
    ),
    "objects": (),
    "picture": ("picture",),
    "sofa": ("sofa",),
    "table": ("table", "desk"),
    "tv": ("television",),
    "wall": ("wall", "door"),
    "window": ("window", "blinds", "curtain"),
}  # fmt: skip
_TWICE = ("cardigan", "crane", "maillot")  # a dog and a bird, too; two swimsuits
NYU_UNLABELLED = "otherprop"  # the staged labels have unlabelled pixels in this class, too


def sets_of(
    task: str, data: Path, backbone: Backbone, samples: int | None, quick: bool
) -> Iterator[PictureSet]:
    """Yield the sets of a task that are there; rendered ones always are."""
    if quick:
        yield _quick(task)
    elif task == CLASSIFICATION and (data / PHOTOGRAPHS).is_dir():
        yield photographs(data / PHOTOGRAPHS, backbone, samples)
    elif task == PROBES and (data / TINY).is_dir():
        yield tiny(data / TINY, samples)
    elif task == SEGMENTATION and (data / NYUV2).is_dir():
        yield nyuv2(data / NYUV2, samples)
    elif task == DETECTION:
        yield scenes(*_scenes_of(samples), SCENE_PX)


def own_set(task: str, source: Source, backbone: Backbone, samples: int | None) -> PictureSet:
    """Make a task's set of a user's own data, every other sample of it for training.

    Raises
    ------
    UsageError
        When the source does not have what the task needs.
    """
    image = _task_of(source, TaskKind.IMAGE)
    if image is None or task == DETECTION:
        lacking = "pictures" if image is None else "boxes that this reads; leave detection out"
        raise UsageError(f"source {source.name} has no {lacking}")
    if task == CLASSIFICATION:
        return _classified(source, image, backbone, samples)
    if task == PROBES:
        return _probed(source, image, backbone, samples)
    label = _task_of(source, TaskKind.LABEL)
    if label is None:
        raise UsageError(f"source {source.name} has no labels to segment by")
    return _labelled(source, image, label, samples)


def photographs(folder: Path, backbone: Backbone, samples: int | None) -> PictureSet:
    """Open photographs whose file names end in an ImageNet class; those at odd places train."""
    return _classified(
        open_source("folder", str(folder)), None, backbone, samples, PHOTOGRAPHS, "Photographs"
    )


def tiny(folder: Path, samples: int | None) -> PictureSet:
    """Open Tiny-ImageNet's 40 classes: pictures that are coded at 64 pixels."""
    train, test = (
        _by_class(open_source("folder", str(folder / f"{split}.zip")), count)
        for split, count in zip(("train", "val"), TINY_A_CLASS, strict=True)
    )
    chosen = [train, test] if samples is None else [_spread(one, samples) for one in (train, test)]
    return replace(
        joined(chosen[:1], chosen[1:]), name=TINY, title="Tiny-ImageNet, 40 classes",
        side=PROBE_SIDE,
    )  # fmt: skip


def nyuv2(folder: Path, samples: int | None) -> PictureSet:
    """Open NYUv2's frames without their borders, with labels of 13 classes."""
    parts = [
        _nyu_split(open_source("nyuv2", str(folder), split=split), samples)
        for split in ("train", "test")
    ]
    return joined(parts[:1], parts[1:])


def _nyu_split(source: Source, samples: int | None) -> PictureSet:
    image, label = _task_of(source, TaskKind.IMAGE), _task_of(source, TaskKind.LABEL)
    if image is None or label is None:
        raise UsageError("NYUv2 without pictures or labels")
    table = nyu_table(label.classes)
    pictures, labels, rates = [], [], []
    cut = slice(NYU_BORDER, -NYU_BORDER)
    for index in _evenly(len(source), samples):
        sample = read_sample(source, index, [image.name, label.name])
        picture = sample.arrays[image.name]
        rates.append((sample.source_bytes.get(image.name, 0), picture.shape[0] * picture.shape[1]))
        pictures.append(resized(picture[cut, cut], NYU_HEIGHT, NYU_WIDTH))
        labels.append(
            resized_labels(table[sample.arrays[label.name][cut, cut]], NYU_HEIGHT, NYU_WIDTH)
        )
    return PictureSet(
        NYUV2, "NYUv2, 13 classes", tuple(pictures), tuple(labels), tuple(NYU_CLASSES),
        source_bpp=_bpp(rates),
    )  # fmt: skip


def nyu_table(classes: Sequence[str]) -> Array:
    """Return what of the 13 classes each of the 40 is, uint8 (40,); `IGNORED` for unlabelled."""
    places = {one: at for at, members in enumerate(NYU_CLASSES.values()) for one in members}
    objects = list(NYU_CLASSES).index("objects")
    found = [places.get(name, objects) for name in classes]
    return np.array(
        [IGNORED if n == NYU_UNLABELLED else at for n, at in zip(classes, found, strict=True)],
        np.uint8,
    )


def scenes(train: int, test: int, size: int) -> PictureSet:
    """Render scenes of solids with the exact boxes of what is seen of them."""
    pictures = tuple(render_clevr(index, size)["rgb"] for index in range(train + test))
    boxes = []
    for index in range(train + test):
        found = clevr_boxes(index, size)
        large = (found[:, 2:4] - found[:, :2]).min(axis=1) >= LEAST_BOX_PX
        boxes.append(found[large] - np.array([0, 0, 0, 0, CLEVR_CLASSES.index("cube")]))
    names = CLEVR_CLASSES[CLEVR_CLASSES.index("cube") :]
    return PictureSet("scenes", "Rendered scenes", pictures, tuple(boxes), names, train)


def _scenes_of(samples: int | None) -> tuple[int, int]:
    train, test = SCENES
    return (train, test) if samples is None else (min(train, samples), min(test, samples))


def _quick(task: str) -> PictureSet:
    """Render 64 small pictures with what a task needs to know of them."""
    train, test = QUICK
    if task == PROBES:
        views = [render_view(index, QUICK_PX) for index in range(train + test)]
        kinds = tuple(int(view["class_scene"].argmax()) for view in views)
        rooms = tuple(view["rgb"] for view in views)
        return PictureSet("views", "Rendered rooms", rooms, kinds, SCENE_CLASSES, train)
    found = scenes(train, test, QUICK_PX)
    if task == SEGMENTATION:
        views = [render_clevr(index, QUICK_PX) for index in range(train + test)]
        labels = tuple(view["segment_semantic"] for view in views)
        return replace(found, truth=labels, classes=CLEVR_CLASSES)
    return replace(found, truth=(), classes=()) if task == CLASSIFICATION else found


def _classified(
    source: Source,
    image: Task | None,
    backbone: Backbone,
    samples: int | None,
    name: str = "own",
    title: str = "",
) -> PictureSet:
    """Make a set of pictures; those at odd places train, those at even ones are measured."""
    task = image or source.tasks[0]
    chosen = _evenly(len(source), samples)
    order = [*chosen[1::2], *chosen[::2]]
    pictures, rate = _read(source, order, task, backbone.preprocessing)
    numbers = class_numbers([source.key(index) for index in order])
    train = len(chosen[1::2])
    known = numbers if any(number != UNKNOWN for number in numbers) else []
    return PictureSet(
        name, title or f"source {source.name}", pictures, tuple(known), (), train,
        backbone.preprocessing.side, rate,
    )  # fmt: skip


def _probed(source: Source, image: Task, backbone: Backbone, samples: int | None) -> PictureSet:
    if _task_of(source, TaskKind.CLASS) is None:
        raise UsageError(
            f"source {source.name} has no classes to probe; put pictures into a folder a class"
        )
    found = _by_class(source, None, image, backbone.preprocessing)
    chosen = found if samples is None else _spread(found, samples)
    order = [*range(1, len(chosen.pictures), 2), *range(0, len(chosen.pictures), 2)]
    return replace(
        chosen,
        pictures=tuple(chosen.pictures[at] for at in order),
        truth=tuple(chosen.truth[at] for at in order),
        train=len(order) // 2,
        side=backbone.preprocessing.side,
    )


def _labelled(source: Source, image: Task, label: Task, samples: int | None) -> PictureSet:
    chosen = _evenly(len(source), samples)
    order = [*chosen[1::2], *chosen[::2]]
    pictures, labels, rates = [], [], []
    for index in order:
        sample = read_sample(source, index, [image.name, label.name])
        picture, values = sample.arrays[image.name], sample.arrays[label.name]
        size = _fitting(*picture.shape[:2])
        rates.append((sample.source_bytes.get(image.name, 0), picture.shape[0] * picture.shape[1]))
        pictures.append(resized(picture, *size))
        hidden = np.isin(values, label.invalid) if label.invalid else np.zeros(values.shape, bool)
        labels.append(resized_labels(np.where(hidden, IGNORED, values).astype(np.uint8), *size))
    most = 1 + max(int(one[one != IGNORED].max(initial=0)) for one in labels)
    names = label.classes or tuple(str(number) for number in range(most))
    return PictureSet(
        "own", f"source {source.name}", tuple(pictures), tuple(labels), tuple(names),
        len(chosen[1::2]), source_bpp=_bpp(rates),
    )  # fmt: skip


def _fitting(height: int, width: int) -> tuple[int, int]:
    """Return a size of whole strides, with the longer side at most `LONGEST_PX`."""
    scale = min(1.0, LONGEST_PX / max(height, width))
    return tuple(max(MULTIPLE, round(s * scale / MULTIPLE) * MULTIPLE) for s in (height, width))  # type: ignore[return-value]


def _by_class(
    source: Source,
    count: int | None,
    image: Task | None = None,
    sized: Preprocessing | None = None,
) -> PictureSet:
    """Read pictures of known classes, a few of each where `count` says so."""
    label = _task_of(source, TaskKind.CLASS)
    if label is None:
        raise UsageError(f"source {source.name} has no classes")
    task = image or source.tasks[0]
    taken: dict[int, list[int]] = {}
    for index in range(len(source)):
        number = int(read_sample(source, index, [label.name]).arrays[label.name])
        taken.setdefault(number, []).append(index)
    order = sorted(index for members in taken.values() for index in members[:count])
    number_of = {index: number for number, members in taken.items() for index in members}
    pictures, rate = _read(source, order, task, sized)
    names = label.classes or tuple(str(number) for number in sorted(taken))
    truth = tuple(number_of[index] for index in order)
    return PictureSet("own", f"source {source.name}", pictures, truth, tuple(names), 0, None, rate)


def _read(
    source: Source, order: Sequence[int], task: Task, sized: Preprocessing | None
) -> tuple[tuple[Array, ...], float | None]:
    pictures, rates = [], []
    for index in order:
        sample = read_sample(source, index, [task.name])
        if task.name not in sample.arrays:
            raise UsageError(f"source {source.name}, sample {sample.key}: no picture {task.name}")
        picture = sample.arrays[task.name]
        rates.append((sample.source_bytes.get(task.name, 0), picture.shape[0] * picture.shape[1]))
        pictures.append(picture if sized is None else as_seen(picture, sized))
    return tuple(pictures), _bpp(rates)


def _bpp(rates: Sequence[tuple[int, int]]) -> float | None:
    total = sum(size for size, _ in rates)
    return 8 * total / sum(pixels for _, pixels in rates) if total else None


def _evenly(count: int, samples: int | None) -> list[int]:
    if not count:
        raise UsageError("no samples")
    wanted = count if samples is None else min(samples, count)
    return [int(at) for at in np.linspace(0, count - 1, wanted).round()]


def _spread(data: PictureSet, samples: int) -> PictureSet:
    at = _evenly(len(data.pictures), samples)
    pictures, truth = (tuple(values[i] for i in at) for values in (data.pictures, data.truth))
    return replace(data, pictures=pictures, truth=truth)


def _task_of(source: Source, kind: TaskKind) -> Task | None:
    return next((task for task in source.tasks if task.kind is kind), None)


def class_numbers(keys: Sequence[str]) -> list[int]:
    """Return ImageNet's number of the class that each key is named by; `UNKNOWN` where none is.

    A key names a class by its words, behind a WordNet number or not, as in
    ``n01484850_great_white_shark``. Names that ImageNet has twice (`_TWICE`) are unknown.
    """
    try:
        numbers = _imagenet()
    except MissingPackageError:
        return [UNKNOWN] * len(keys)
    return [numbers.get(_words(key), UNKNOWN) for key in keys]


def _words(key: str) -> str:
    return re.sub(r"^n\d{8}_", "", key.rpartition("__")[2]).replace("_", " ").lower()


def _imagenet() -> dict[str, int]:
    with needing("torchvision", "names of ImageNet's classes"):
        from torchvision.models import EfficientNet_B0_Weights
    names: list[Any] = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
    plain = [str(name).lower() for name in names]
    return {name: at for at, name in enumerate(plain) if name not in _TWICE}
