"""Which file is which task of which sample, told from the names of directories and files alone.

A *layout* gives every file a `Place`: its task, its group (the directories that say which
recording or scene it is from), the stem that the tasks of one sample share, its split and its
class. Published data sets are recognised by their own names first
(`dsc.pipeline.sources.published`); for others there are three general ones:

- ``directories``: some directory on the way names the task, at any level: ``rgb/seq/1.png`` with
  ``depth/seq/1.png``, or ``scene/color/1.jpg`` with ``scene/depth/1.png``. What a name has before
  or behind its stem may say the task once more: ``depth/depth_1.png``.
- ``suffixes``: the tasks lie side by side, and names end, or begin, with them:
  ``frame-1.color.jpg``, ``1_depth.png``, ``depth0001.png``. A name without one is ``rgb``.
- ``classes``: directories that are no task's name are classes, as ImageNet has them:
  ``n02123/cat.jpg``, ``train/cat/1.jpg``.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from dsc.errors import UsageError
from dsc.pipeline.sources.kinds import Stated, is_task_word, kind_of_name, task_name
from dsc.pipeline.sources.table import natural_order
from dsc.schemas.task import spelled

Listing = Mapping[str, list[str]]  # names of the files that can be read, by directory
SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test", "dev": "dev",
}  # fmt: skip
_SPLIT = re.compile(r"(train|training|val|valid|validation|test|testing|dev)_?(\d{4})?")
_SEPARATORS = re.compile(r"([._-])")
_PREFIXED = re.compile(r"([A-Za-z]+(?:[._-][A-Za-z]+)*?)[._-]?(\d.*)")
MOST_TASKS = 64
PICTURE = "rgb"
STRONG = {"rgb", "image", "depth", "disparity"}  # kinds whose names are seldom those of classes


@dataclass(frozen=True)
class Place:
    """Where a file belongs.

    Attributes
    ----------
    task
        Name of its task.
    group, stem
        What tells its sample from all others, and is the same for all its tasks.
    split
        Split of the data set, empty where there is none.
    label
        Name of the sample's class, where the directories say it.
    """

    task: str
    group: str
    stem: str
    split: str = ""
    label: str | None = None


Placer = Callable[[str, str], Place | None]


@dataclass(frozen=True)
class Layout:
    """How a data set's files are laid out.

    Attributes
    ----------
    name
        What ``--layout`` calls it.
    place
        Gives a file's place, from its directory and name; None for what is no task's.
    why
        What it was recognised by, for people.
    known
        What the layout itself says of its tasks.
    pair
        Joins samples whose tasks' stems differ, where the names cannot: see `published`.
    """

    name: str
    place: Placer
    why: str = ""
    known: Mapping[str, Stated] = field(default_factory=dict)
    pair: Callable[[list[tuple[Place, str]]], Iterable[tuple[Place, str]]] | None = None


def tell_layout(listing: Listing, root: str, named: Iterable[str] = ()) -> Layout:
    """Recognise a layout of no published data set.

    `named` are the tasks that options speak of: directories of these names are tasks.

    Raises
    ------
    UsageError
        When nothing fits; the message shows what was found and what would work.
    """
    level = task_level(listing, named)
    if level is not None:
        return directories(listing, level)
    if _has_affixes(listing) or "" in listing:
        return suffixes(listing)
    if class_level(listing) is not None:
        return classes(listing)
    if len({directory.split("/")[0] for directory in listing}) == 1:
        return directories(listing, 0)
    some = ", ".join(sorted(listing, key=natural_order)[:4])
    raise UsageError(
        f"{root}: what are the directories {some}? Say --layout classes if each is a class, "
        "--layout directories if each is a task, or --layout suffixes if the files' names say it"
    )


def stated_layout(name: str, listing: Listing, known: Iterable[str] = ()) -> Layout:
    """Give the general layout of that name; `known` are the names that the message lists.

    Raises
    ------
    UsageError
        When there is none.
    """
    if name == "directories":
        level = task_level(listing)
        return directories(listing, 0 if level is None else level)
    makers = {"suffixes": suffixes, "classes": classes}
    if name not in makers:
        raise UsageError(f"--layout {name}: known are {', '.join(known)}")
    return makers[name](listing)


def task_level(listing: Listing, named: Iterable[str] = ()) -> int | None:
    """Tell at which level of the directories (from 0, or from -1 at the end) tasks are named.

    There, all names are those of tasks; or some are those of pictures or depth, and files of equal
    stems lie below several names. None where no level is like that for at least half of the files.
    """
    total = sum(map(len, listing.values()))
    depths = {len(_parts(directory)) for directory in listing}
    fitting = []
    own = frozenset(named)
    for level in range(-max(depths, default=0), max(depths, default=0)):
        names = _names_at(listing, level)
        known = sum(n for name, n in names.items() if _is_task(name, own))
        if 2 * sum(names.values()) >= total and _are_tasks(listing, level, names, own):
            fitting.append((-known, level < 0, abs(level), level))
    return min(fitting)[-1] if fitting else None


def _parts(directory: str) -> list[str]:
    return directory.split("/") if directory else []


def _names_at(listing: Listing, level: int) -> dict[str, int]:
    """Count the files below each name at a level."""
    names: Counter[str] = Counter()
    for directory, found in listing.items():
        parts = _parts(directory)
        if -len(parts) <= level < len(parts):
            names[parts[level]] += len(found)
    return names


def _is_task(name: str, named: frozenset[str]) -> bool:
    return is_task_word(name) or spelled(name) in named


def _are_tasks(
    listing: Listing, level: int, names: Mapping[str, int], named: frozenset[str]
) -> bool:
    kinds = {kind_of_name(name) for name in names}
    known = all(_is_task(name, named) for name in names)
    if any(spelled(name) in named for name in names):
        kinds.add("image")
    if known and (len(names) == 1 or kinds & {*STRONG, "normal"}):
        return True
    return len(names) <= MOST_TASKS and (known or bool(kinds & STRONG)) and _pairs(listing, level)


def _pairs(listing: Listing, level: int) -> bool:
    """Tell whether some stem lies below several names of a level, all else being equal."""
    seen: dict[tuple[str, str], str] = {}
    for directory, names in listing.items():
        parts = _parts(directory)
        if not -len(parts) <= level < len(parts):
            continue
        task = parts.pop(level)
        for name in names:
            if seen.setdefault(("/".join(parts), name.rpartition(".")[0]), task) != task:
                return True
    return False


def directories(listing: Listing, level: int) -> Layout:
    """Lay out by a level of directories; see the module.

    What file names carry beside the stem is taken off only where samples have no two tasks without.
    """
    affixes = {} if _pairs(listing, level) else _affixes_by_task(listing, level)

    def place(directory: str, name: str) -> Place | None:
        parts = _parts(directory)
        if not -len(parts) <= level < len(parts):
            return None
        task = parts.pop(level)
        stem, split, group = name.rpartition(".")[0], split_of(parts), "/".join(parts)
        words = affixes.get(task, set())
        if not words:
            return Place(task_name(task), group, stem, split)
        base, word = split_affix(stem)
        return Place(task_name(f"{task}_{word}" if len(words) > 1 else task), group, base, split)

    return Layout("directories", place, "directories with the names of tasks")


def suffixes(listing: Listing) -> Layout:
    """Lay out by the ends, or beginnings, of file names; see the module."""
    own = _own_words(listing)

    def part(stem: str) -> tuple[str, str]:
        base, word = split_affix(stem)
        if word:
            return base, word
        base, _, word = stem.partition(".")
        return (base, word) if word in own else (stem, "")

    def place(directory: str, name: str) -> Place | None:
        stem = name.rpartition(".")[0]
        if not stem:
            return None
        base, word = part(stem) if named else (stem, "")
        return Place(task_name(word or PICTURE), directory, base, split_of(_parts(directory)))

    named = _has_affixes(listing) or bool(own)
    words = sorted({word for _, _, word in _affixes(listing) if word} | own) if named else []
    return Layout("suffixes", place, f"names with {', '.join(words[:4])}" if words else "pictures")


def classes(listing: Listing) -> Layout:
    """Lay out by directories that are classes; see the module."""
    level = class_level(listing) or 0

    def place(directory: str, name: str) -> Place | None:
        parts = _parts(directory)
        if len(parts) <= level:
            return None
        stem = name.rpartition(".")[0]
        return Place(PICTURE, directory, stem, split_of(parts[:level]), parts[level])

    return Layout("classes", place, "directories that are no names of tasks")


def split_affix(stem: str) -> tuple[str, str]:
    """Part a stem from the task that its end, or beginning, names: (base, words of the task).

    The end's words hold no part that is a number; both are empty strings where nothing is found,
    but for the base, which then is the stem.
    """
    parts = _SEPARATORS.split(stem)  # words at even places, separators between
    first = len(parts)
    while first > 2 and not parts[first - 1].isdigit():
        first -= 2
    start = next(
        (at for at in range(max(first + 1, 2), len(parts), 2) if is_task_word(parts[at])), 0
    )
    if first < len(parts) and start:
        return "".join(parts[: start - 1]), "".join(parts[start:])
    found = _PREFIXED.fullmatch(stem)
    if found and is_task_word(found[1]):
        return found[2], found[1]
    return stem, ""


def name_of_split(name: str) -> str | None:
    """Give the split that a directory's name says, e.g. ``val`` of ``val2017``."""
    match = _SPLIT.fullmatch(name.lower())
    return SPLITS[match[1]] if match else None


def split_of(parts: Iterable[str]) -> str:
    """Give the split that directories name, ``""`` where none does.

    They stay part of a sample's group, because keys are unique over all splits.
    """
    return next((split for part in parts if (split := name_of_split(part))), "")


def class_level(listing: Listing) -> int | None:
    """Tell at which level classes are named: below splits and directories that hold all others.

    None where no level has several names, or files lie above it.
    """
    level, below_split = 0, False
    while listing and all(len(_parts(directory)) > level for directory in listing):
        names = {_parts(directory)[level] for directory in listing}
        if all(map(name_of_split, names)) and not below_split:
            below_split = True
        elif len(names) > 1 or below_split:
            return level
        level += 1
    return None


def _affixes(listing: Listing) -> Iterator[tuple[str, str, str]]:
    for directory, names in listing.items():
        for name in names:
            base, word = split_affix(name.rpartition(".")[0])
            yield directory, base, word


def _has_affixes(listing: Listing) -> bool:
    """Tell whether at least half of the files name a task, or stand beside one that does.

    Where all are called ``image_1`` and the like, that tells nothing.
    """
    named: Counter[tuple[str, str]] = Counter()
    whole: Counter[tuple[str, str]] = Counter()
    words = set()
    for directory, base, word in _affixes(listing):
        (named if word else whole)[directory, base] += 1
        words.add(word)
    if len(words) == 1 and kind_of_name(next(iter(words))) in (None, "rgb", "image"):
        return False
    count = sum(named.values()) + sum(n for key, n in whole.items() if key in named)
    return 2 * count >= sum(named.values()) + sum(whole.values()) and bool(named)


def _own_words(listing: Listing) -> set[str]:
    """List the middle parts of names (b of ``a.b.png``) that are tasks nobody else has a name for.

    That is, most samples that have one have another file, too.
    """
    words: dict[tuple[str, str], set[str]] = defaultdict(set)
    for directory, names in listing.items():
        for name in names:
            base, _, word = name.rpartition(".")[0].partition(".")
            words[directory, base].add(word)
    alone: Counter[str] = Counter()
    paired: Counter[str] = Counter()
    for found in words.values():
        for word in found:
            (paired if len(found) > 1 else alone)[word] += 1
    fitting = {
        word
        for word, count in paired.items()
        if re.search("[A-Za-z]", word) and count >= alone[word]
    }
    return fitting if len(fitting) <= MOST_TASKS else set()


def _affixes_by_task(listing: Listing, level: int) -> dict[str, set[str]]:
    """List, by task directory, the words that all of its files' names carry beside their stem.

    Empty where taking them off pairs no two files.
    """
    found: dict[str, set[str]] = defaultdict(set)
    tasks: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for directory, base, word in _affixes(listing):
        parts = _parts(directory)
        if -len(parts) <= level < len(parts):
            task = parts.pop(level)
            found[task].add(word)
            tasks["/".join(parts), base].add((task, word))
    if all(len(several) < 2 for several in tasks.values()):
        return {}
    return {task: words for task, words in found.items() if "" not in words}


def with_known(layout: Layout, known: Mapping[str, Stated]) -> Layout:
    """Give the layout that also knows this of its tasks."""
    return replace(layout, known={**layout.known, **known})
