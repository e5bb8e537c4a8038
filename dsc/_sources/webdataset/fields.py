"""From endings to tasks: what each is called, and what family of files it is.

| endings | family |
| --- | --- |
| those of pictures that dsc reads (`jpg`, `png`, `webp`, `tiff`, `exr` ...) | picture |
| `npy` | numbers |
| `cls`, `cls2`, `class`, `index`, `inx`, `id`, `count` | one whole number |
| `txt`, `text`, `transcript`, `caption` and other text | text |
| `json`, `jsn`, `geojson` | json |
| every other | bytes; pickles too, which are never loaded |

A task is called as what stands before the last dot: ``depth`` of ``depth.png``; by its ending
where there is nothing (``json``, ``cls``), and a picture then is ``image``. Endings that share a
name are one task where no sample has two of them (``jpg`` of some, ``png`` of others), and else
each is called by the whole of it: ``seg_png``, ``seg_json``.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dsc._schemas.task import spelled
from dsc._sources.meaning.endings import Family, family_of

LONGEST = 48  # letters of a task's name


@dataclass(frozen=True)
class Field:
    """What becomes a task.

    Attributes
    ----------
    name
        Of the task.
    family
        What its files are.
    endings
        In small letters, those that it has; a sample has one of them at most.
    """

    name: str
    family: Family
    endings: tuple[str, ...]


def fields_of(endings: Sequence[str], orders: Collection[Sequence[str]]) -> list[Field]:
    """Make fields of endings.

    Parameters
    ----------
    endings
        In small letters.
    orders
        The endings that samples have together.

    Returns
    -------
    fields
        With different names, in the order in which samples have them, as far as they agree.
    """
    wanted: dict[str, list[str]] = {}
    for ending in in_order(endings, orders):
        wanted.setdefault(_short_name(ending), []).append(ending)
    found: list[Field] = []
    taken = set(wanted)
    for name, own in wanted.items():
        families = {family_of(ending) for ending in own}
        together = any(len(set(own) & set(order)) > 1 for order in orders)
        if len(families) == 1 and not together and name:
            found.append(Field(name, families.pop(), tuple(own)))
            continue
        taken.discard(name)  # json beside json.bin keeps its name
        for ending in own:
            full = _free(spelled(ending), ending, taken)
            taken.add(full)
            found.append(Field(full, family_of(ending), (ending,)))
    return found


def in_order(endings: Sequence[str], orders: Collection[Sequence[str]]) -> list[str]:
    """Sort endings so that most samples have them in this order: each behind what it follows."""
    behind: Mapping[str, set[str]] = {ending: set() for ending in endings}
    for order in orders:
        for at, ending in enumerate(order):
            behind[ending].update(order[:at])
    left, found = sorted(endings), []
    while left:
        free = [one for one in left if not behind[one] & set(left) - {one}]
        least = min(left, key=lambda one: len(behind[one] & set(left)))  # orders that disagree
        found.append(free[0] if free else least)
        left.remove(found[-1])
    return found


def _short_name(ending: str) -> str:
    before, _, last = ending.rpartition(".")
    if before:
        return spelled(before)
    return "image" if family_of(last) is Family.PICTURE else spelled(last)


def _free(name: str, ending: str, taken: Collection[str]) -> str:
    """Return a name that no other field has; where it would not be one, with a hash."""
    if name and name not in taken:
        return name
    digest = hashlib.sha256(ending.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{name[: LONGEST - 9]}_{digest}".lstrip("_")
