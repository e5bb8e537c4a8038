"""What the name of a directory, file or dataset says: a kind of task, a split, or nothing.

Only words are looked at here, no values. `kind_of_name` reads ``depth_left`` as depth;
`is_task_word` tells a task's name from that of a class or a recording; `split_affix` takes the task
off a file's name, as in ``0001_depth.png``.
"""

import itertools
import re
from collections.abc import Iterable
from functools import lru_cache

from dsc._schemas.task import spelled
from dsc.errors import UsageError

_WORDS: dict[str, tuple[str, ...]] = {
    "label": (
        "label*", "seg*", "semantic*", "mask*", "instance*", "annotation*", "panoptic*", "trimap*",
        "parsing*", "gt*", "groundtruth*", "target*", "id", "ids", "labelids", "stuff*", "valid",
        "annot*", "anno", "annos", "ann", "anns", "truth", "superpix*", "silhouette*",
    ),
    "disparity": ("disp", "disps", "displ", "dispr", "dispgt", "disparit*"),
    "flow": ("flow", "flows", "optflow", "opticalflow", "sceneflow"),
    "depth": ("depth*", "zbuffer"),
    "normal": ("normal", "normals", "normalmap", "normalmaps", "nrm"),
    "rgb": ("rgb*", "color*", "colour*", "leftimg*", "rightimg*"),
    "image": (
        "image*", "img*", "im", "ims", "photo*", "frame", "frames", "input", "inputs", "gray*",
        "jpegimages",
    ),
}  # fmt: skip
_STRONG_LABELS = ("mask*", "label*", "seg*", "valid")  # of depth_mask, depth says what is masked
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_OF_DEPTH = (
    "inv", "inverse", "log", "relative", "rel", "norm", "normalized", "normalised", "confidence",
    "conf", "uncertainty", "std", "variance", "var", "error*", "err", "weight*", "prob*", "edge*",
    "grad*", "gradient*",
)  # fmt: skip  # beside depth: no distance in metres
_LIGHT = (
    "left", "right", "view*", "picture*", "pic", "pics", "diffuse", "texture*", "albedo",
    "shading", "reshading", "edge*", "keypoint*", "curvature*", "thermal", "infrared", "ir", "nir",
    "reflectance", "irradiance", "roughness", "specular",
)  # fmt: skip
_EMBEDDINGS = ("embedding*", "embed", "embeds")
_PICTURES = (
    *_LIGHT, *_EMBEDDINGS, "pose*", "camera*", "caption*", "intrinsic*", "extrinsic*",
    "confidence*", "matte*", "alpha*", "saliency", "velodyne*", "lidar*",
)  # fmt: skip
SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test", "dev": "dev",
}  # fmt: skip
_SPLIT = re.compile(r"(train|training|val|valid|validation|test|testing|dev)_?(\d{4})?")
_SEPARATORS = re.compile(r"([._-])")
_PREFIXED = re.compile(r"([A-Za-z]+(?:[._-][A-Za-z]+)*?)[._-]?(\d.*)")
_HAS_DIGIT = re.compile(r"\d")
MOST_TASKS = 64  # more names than this side by side are no tasks


def kind_of_name(name: str) -> str | None:
    """Guess the kind from any word of a name, e.g. depth of ``nyu_depths``."""
    words = _words(name)
    if any(_is(word, _STRONG_LABELS) for word in words):
        return "label"
    for kind, patterns in _WORDS.items():
        if kind != "label" and any(_is(word, patterns) for word in words):
            picture = kind in ("rgb", "image") and any(_is(word, _WORDS["label"]) for word in words)
            return "label" if picture else kind
    return "label" if any(_is(word, _WORDS["label"]) for word in words) else None


@lru_cache(maxsize=1 << 14)
def is_task_word(name: str) -> bool:
    """Tell whether a name is one that people give to a task, not to a class or a scene."""
    words = _words(name)
    return kind_of_name(name) is not None or any(_is(word, _PICTURES) for word in words)


@lru_cache(maxsize=1 << 14)
def task_name(name: str) -> str:
    """Spell a directory's or dataset's name as a task's; color and colour are ``rgb``.

    Raises
    ------
    UsageError
        When nothing that a task's name may hold is left of it.
    """
    found = spelled(name)
    if not found:
        raise UsageError(f"{name!r}: a task's name needs letters a to z or digits; rename it")
    return found


def is_about_depth(name: str) -> bool:
    """Tell whether a name says that its values are no distances but something about them."""
    return any(_is(word, _OF_DEPTH) for word in _words(name))


def split_affix(stem: str) -> tuple[str, str]:
    """Part a stem from the task that its end, or beginning, names: (base, words of the task).

    Numbers behind the word stay with the base: ``a1_depth_7`` is a1_7. The end's words hold no part
    that is a number; both are empty strings where nothing is found, but for the base, which then is
    the stem.
    """
    if stem.isdigit():
        return stem, ""
    parts = _SEPARATORS.split(stem)  # words at even places, separators between
    first = len(parts)
    while first > 2 and not parts[first - 1].isdigit():
        first -= 2
    start = next(
        (at for at in range(max(first + 1, 2), len(parts), 2) if is_task_word(parts[at])), 0
    )
    if first < len(parts) and start and any(parts[: start - 1]):
        return "".join(parts[: start - 1]), "".join(parts[start:])
    last = len(parts) - 1
    while last > 2 and parts[last].isdigit():
        last -= 2
    before = "".join(parts[: last - 1])
    if 2 <= last < len(parts) - 1 and _HAS_DIGIT.search(before) and is_task_word(parts[last]):
        return before + "".join(parts[last + 1 :]), parts[last]
    found = _PREFIXED.fullmatch(stem)
    if found and is_task_word(found[1]):
        return found[2], found[1]
    return stem, ""


@lru_cache(maxsize=1 << 14)
def name_of_split(name: str) -> str | None:
    """Return the split that a directory's name says, e.g. ``val`` of ``val2017``."""
    match = _SPLIT.fullmatch(name.lower())
    return SPLITS[match[1]] if match else None


def split_of(parts: Iterable[str]) -> str:
    """Return the split that directories name, ``""`` where none does.

    They stay part of a sample's group, because keys are unique over all splits.
    """
    return next((split for part in parts if (split := name_of_split(part))), "")


def is_about_light(name: str) -> bool:
    """Tell whether a name says that its values are light, or drawn from it."""
    return any(_is(word, _LIGHT) for word in _words(name))


def names_embedding(name: str) -> bool:
    """Tell whether a name says that its values are embeddings."""
    return any(_is(word, _EMBEDDINGS) for word in _words(name))


def _words(name: str) -> list[str]:
    """List the words of a name, and any two that follow each other as one: ``ground_truth``.

    A capital begins one: ``classSegmentation``.
    """
    words = re.findall(r"[a-z]+", _CAPITAL.sub("_", name).lower())
    return [*words, *map("".join, itertools.pairwise(words))]


def _is(word: str, patterns: tuple[str, ...]) -> bool:
    return any(
        word.startswith(pattern[:-1]) if pattern.endswith("*") else word == pattern
        for pattern in patterns
    )
