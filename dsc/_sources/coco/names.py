"""What the path of an annotation file says: ``annotations/instances_val2017.json``."""

import re
from collections.abc import Iterable

from dsc._schemas.task import spelled
from dsc._sources.meaning.names import SPLITS

UNNAMED = "annotations"
_WORDS = "|".join((*SPLITS, "test-dev", "minival", "unlabeled"))
_SPLIT = re.compile(rf"({_WORDS})(\d{{4}})?", re.IGNORECASE)
_ENDING = re.compile(r"\.json$", re.IGNORECASE)


def base_and_group(path: str) -> tuple[str, str]:
    """Part a path into what the file holds and the images that it is of: instances, val2017.

    The group is empty where no word is that of a split. Where the file's name has none, its
    directory may say it, as in ``valid/_annotations.coco.json``.
    """
    *directories, name = path.split("/")
    stem = _ENDING.sub("", name).removesuffix(".coco").strip("_")
    words = stem.split("_")
    at = next((n for n, word in enumerate(words) if _SPLIT.fullmatch(word)), None)
    if at is None:
        split = next((part for part in reversed(directories) if _SPLIT.fullmatch(part)), "")
        return spelled(stem) or UNNAMED, split
    if at == 0:
        return spelled("_".join(words[1:])) or UNNAMED, words[0]
    return spelled("_".join(words[:at])) or UNNAMED, "_".join(words[at:])


def split_names(groups: Iterable[str]) -> dict[str, str]:
    """Name the split of each group: ``val`` of ``val2017``, where no other is that, too.

    A group without a name has no split.
    """
    plain = {group: _plain(group) for group in groups}
    found = list(plain.values())
    return {
        group: split if found.count(split) == 1 else spelled(group)
        for group, split in plain.items()
    }


def _plain(group: str) -> str:
    match = _SPLIT.fullmatch(group)
    if match is None:
        return spelled(group)
    word = match[1].lower()
    return SPLITS.get(word) or spelled(word)
