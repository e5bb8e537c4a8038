"""Which file is which task of which sample, told from the names of directories and files alone.

A layout says of every file its `FilePlace`: its task, its group (the directories that say which
recording or scene it is from), the stem that the tasks of one sample share, its split and its
class. Published data sets are recognised by their own names first
(`dsc._sources.folder.published`); for others there are four general ones:

- ``directories``: some directory on the way names the task, at any level: ``rgb/seq/1.png`` with
  ``depth/seq/1.png``, or ``scene/color/1.jpg`` with ``scene/depth/1.png``. What a name has before
  or behind its stem may say the task once more: ``depth/depth_1.png``.
- ``split-directories``: the same, with the split in the name: ``train_images`` with
  ``train_masks``, ``train`` with ``train_labels``.
- ``suffixes``: the tasks lie side by side, and names end, or begin, with them:
  ``frame-1.color.jpg``, ``1_depth.png``, ``depth0001.png``. A name without one is ``rgb``: so is
  every picture of a tree whose names tell nothing.
- ``classes``: directories that are no task's name are classes, as ImageNet has them:
  ``n02123/cat.jpg``, ``train/cat/1.jpg``. Pictures above them (``test/1.jpg``) have no class.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache

from dsc._files.formats import can_read
from dsc._schemas.task import spelled
from dsc._sources.folder.layout import PICTURE, STRAY, FilePlace, Layout, Listing, SetAside
from dsc._sources.keys import natural_order
from dsc._sources.meaning.names import (
    MOST_TASKS,
    is_task_word,
    kind_of_name,
    name_of_split,
    split_affix,
    split_of,
    task_name,
)
from dsc.errors import UsageError

_SPLIT_FIRST = re.compile(r"(train|training|val|valid|validation|test|testing)[_-]?([a-z].*)")
_SPLIT_LAST = re.compile(r"([a-z].*?)[_-](train|training|val|valid|validation|test|testing)")
_ANNOTATED = ("annot", "annots", "y", "gt", "anno", "ann")
_RECORDING = re.compile(
    r"(?:scene|seq|sequence|video|vid|clip|run|session|drive|rec|recording|episode|ep|traj"
    r"|trajectory|take|shot|cam|camera|view|part|batch|chunk|room|office|log|bag)s?[-_. ]?\d.*"
    r"|\d{4}[-_]?\d\d[-_]?\d\d(?!\d{2}$).*|.*[a-z]_\d{4}[a-z]?",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"\d{3,}")
_SHORT = re.compile(r"[A-Za-z]\d?")
_OPPOSITE = re.compile(r"without|with|non|not|no|un|in")
_JPEG = (".jpg", ".jpeg")
STRAYS = 0.1  # share of files that may lie above the directories of classes
MAP_KINDS = ("label", "depth", "disparity", "flow")
STRONG = {
    "rgb", "rgbs", "color", "colors", "colour", "colours", "image", "images", "img", "imgs",
    "jpegimages", "leftimg", "depth", "depths", "depthmap", "depthmaps", "disp", "disparity",
    "disparities",
}  # fmt: skip  # words of tasks that are seldom names of classes


def tell_layout(listing: Listing, root: str, named: Iterable[str] = ()) -> Layout:
    """Recognise a layout of no published data set.

    `named` are the tasks that options speak of: directories of these names are tasks.

    Raises
    ------
    UsageError
        When nothing fits, or several do; the message shows what was found and what would work.
    """
    split = split_level(listing)
    if split is not None:
        return split_directories(listing, split)
    level = task_level(listing, named)
    if level is not None:
        return directories(listing, level)
    words = affix_words(listing)
    level = None if words else class_level(listing)
    if level is None:
        return suffixes(listing, words)
    return _by_unknown_names(listing, level, root)


def _by_unknown_names(listing: Listing, level: int, root: str) -> Layout:
    """Lay out by the directories of one level, whose names are no tasks'."""
    names = {parts[level] for parts in map(_parts, listing) if len(parts) > level}
    differ = _differ_in_ending(listing, level)
    if (len(names) == 1 and level == 0) or (differ and any(map(is_task_word, names))):
        return directories(listing, level)
    if all(map(_RECORDING.fullmatch, names)):
        return suffixes(listing)
    if differ or all(map(_NUMBERED.fullmatch, names)) or _own_words(listing):
        raise UsageError(_unclear(names, root))
    maps = _named_like_maps(listing)
    if maps is not None:
        raise UsageError(_unclear_maps(maps, names, root))
    return classes(listing)


def _differ_in_ending(listing: Listing, level: int) -> bool:
    """Tell whether directories of a level hold equal stems, and no ending is in two of them.

    Classes have no such pairs: ``x/1.jpg`` and ``y/1.png`` are a picture and something about it.
    """
    endings: dict[str, set[str]] = defaultdict(set)
    for directory, names in listing.items():
        parts = _parts(directory)
        if len(parts) > level:
            endings[parts[level]] |= {name.rpartition(".")[2].lower() for name in names}
    every = [ending for found in endings.values() for ending in found]
    return len(every) == len(set(every)) and _pairs(listing, level)


def _named_like_maps(listing: Listing) -> str | None:
    """Find a directory that is named like maps (ids, depth, disparity, flow) and holds no JPEG.

    Classes such as with_mask and without_mask are none.
    """
    for directory, names in sorted(listing.items()):
        for level, part in enumerate(_parts(directory)):
            named = kind_of_name(part) in MAP_KINDS
            if not named or name_of_split(part) or _are_opposites(_names_at(listing, level)):
                continue
            if not any(name.lower().endswith(_JPEG) for name in names):
                return part
    return None


def _unclear_maps(maps: str, names: Iterable[str], root: str) -> str:
    some = ", ".join(sorted(names, key=natural_order)[:4])
    return (
        f"{root}: {maps} is named like a task, but what lies beside it ({some}) like classes. Say "
        f"--ignore {maps} to leave it out, --layout classes if it is a class, --layout directories "
        "if all are tasks, or --layout suffixes if names of files such as 1_mask.png say the task"
    )


def _unclear(names: Iterable[str], root: str) -> str:
    some = ", ".join(sorted(names, key=natural_order)[:4])
    return (
        f"{root}: what are the directories {some}? Say --layout classes if each is a class, "
        "--layout directories if each is a task, or --layout suffixes if each holds samples of its "
        "own (names of files such as 1_depth.png then say the task)"
    )


def stated_layout(
    name: str, listing: Listing, known: Iterable[str] = (), named: Iterable[str] = ()
) -> Layout:
    """Return the general layout of that name; `known` are the names that the message lists.

    Raises
    ------
    UsageError
        When there is none, or the listing has nothing of the kind.
    """
    if name == "directories":
        level = task_level(listing, named)
        return directories(listing, _most_words(listing) if level is None else level)
    if name == "split-directories":
        level = split_level(listing)
        if level is None:
            raise UsageError(f"--layout {name}: no directories such as train_images, train_masks")
        return split_directories(listing, level)
    makers = {"suffixes": suffixes, "classes": classes}
    if name not in makers:
        raise UsageError(f"--layout {name}: known are {', '.join(known)}")
    return makers[name](listing)


def task_level(listing: Listing, named: Iterable[str] = ()) -> int | None:
    """Tell at which level of the directories (from 0, or from -1 at the end) tasks are named.

    There, all names are those of tasks; or some are those of pictures or depth, and files of equal
    stems lie below several names. Where several levels are like that (``images/rgb`` beside
    ``images/depth``), one with several names and one of pictures or depth among them comes first.
    None where no level is like that for at least half of the files.
    """
    total = sum(map(len, listing.values()))
    depths = _depths(listing)
    fitting = []
    own = frozenset(named)
    for level in range(-max(depths, default=0), max(depths, default=0)):
        names = _names_at(listing, level)
        known = sum(n for name, n in names.items() if _is_task(name, own))
        if 2 * sum(names.values()) >= total and _are_tasks(listing, level, names, own):
            clear = len(names) > 1 and _has_strong(names, own)
            fitting.append((not clear, -known, level < 0, abs(level), level))
    return min(fitting)[-1] if fitting else None


def _most_words(listing: Listing) -> int:
    """Return the level at which most files lie below names of tasks, the first where none do."""
    depth = max((len(_parts(directory)) for directory in listing), default=0)
    known = [
        sum(n for name, n in _names_at(listing, level).items() if is_task_word(name))
        for level in range(depth)
    ]
    return known.index(max(known)) if known else 0


def _parts(directory: str) -> list[str]:
    return directory.split("/") if directory else []


def _depths(listing: Listing) -> set[int]:
    return {len(_parts(directory)) for directory in listing}


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
    known = all(_is_task(name, named) for name in names)
    strong = _has_strong(names, named)
    short = [name for name in names if _SHORT.fullmatch(name) and not _is_task(name, named)]
    unknown = sum(not _is_task(name, named) for name in names)
    maps = any(kind_of_name(name) in MAP_KINDS for name in names)
    if 0 < len(short) == unknown < len(names) or (maps and 0 < 3 * unknown <= len(names)):
        strong = True  # A and B beside label; fg beside alpha and trimap
    if len(names) > MOST_TASKS or not (known or strong) or _are_opposites(names):
        return False
    if all(map(name_of_split, names)):
        return False  # valid beside nothing
    if known and (len(names) == 1 or strong):
        return True
    if known and {kind_of_name(name) for name in names} == {"label"} and _mostly_jpeg(listing):
        return False
    return _pairs(listing, level) or (known and bool(_affixes_by_task(listing, level)))


def _has_strong(names: Iterable[str], named: frozenset[str]) -> bool:
    return any(_is_strong(name) or spelled(name) in named for name in names)


def _is_strong(name: str) -> bool:
    return not STRONG.isdisjoint(re.findall(r"[a-z]+", name.lower()))


def _are_opposites(names: Iterable[str]) -> bool:
    """Tell whether names are classes such as with_mask and without_mask."""
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]
    bare = {_OPPOSITE.sub("", name, count=1) if _OPPOSITE.match(name) else name for name in plain}
    return 1 <= len(bare) < len(set(plain))


def _mostly_jpeg(listing: Listing) -> bool:
    """Tell whether most files are JPEG, which no map of ids is stored in."""
    names = [name for found in listing.values() for name in found]
    return 2 * sum(name.lower().endswith(_JPEG) for name in names) > len(names)


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

    Many pictures above that level are those of the tasks, where no directory holds such.
    What file names carry beside the stem is taken off only where samples have no two tasks without:
    words of tasks, or else what all names of a directory have in common (``im_1``, ``gt_1``).
    """
    whole = _pairs(listing, level)
    affixes = {} if whole else _affixes_by_task(listing, level)
    common = {} if whole or affixes else _common_affixes(listing, level)
    pictures = {kind_of_name(name) for name in _names_at(listing, level)} & {"rgb", "image"}
    total = sum(map(len, listing.values()))
    many = total - sum(_names_at(listing, level).values()) > STRAYS * total

    def above(parts: list[str], name: str) -> FilePlace | SetAside | None:
        if not many or not can_read(name):
            return None
        if pictures:
            return SetAside(STRAY, PICTURE)
        return FilePlace(PICTURE, "/".join(parts), name.rpartition(".")[0], split_of(parts))

    def place(directory: str, name: str) -> FilePlace | SetAside | None:
        parts = _parts(directory)
        if not -len(parts) <= level < len(parts):
            return above(parts, name)
        task = parts.pop(level)
        if not spelled(task):
            return SetAside("a task's name needs letters a to z or digits: rename it", task)
        stem = name.rpartition(".")[0] or name  # of a file without ending, all of it
        split, group = split_of(parts), "/".join(parts)
        words = affixes.get(task, set())
        if not words:
            before, behind = common.get(directory, (0, 0))
            return FilePlace(task_name(task), group, stem[before : len(stem) - behind], split)
        base, word = split_affix(stem)
        full = f"{task}_{word}" if len(words) > 1 else task
        return FilePlace(task_name(full), group, base, split)

    return Layout("directories", place, "directories with the names of tasks")


def split_level(listing: Listing) -> int | None:
    """Tell at which level directories name split and task at once; None where none does.

    There, all names are like that, or are the name of a split beside one that is.
    """
    for level in range(max((len(_parts(directory)) for directory in listing), default=0)):
        names = _names_at(listing, level)
        if sum(names.values()) < sum(map(len, listing.values())):
            return None
        found = [_split_and_task(name) for name in names]
        named = {split for split, task in found if task}
        if named and all(split for split, _ in found) and len(names) > 1:
            return level
        if len(names) > 1:
            return None
    return None


def _split_and_task(name: str) -> tuple[str, str]:
    """Part ``train_masks``, ``masks_train``, ``train``: (name of the split, words of the task)."""
    low = name.lower()
    if name_of_split(low):
        return low, ""
    for pattern, split, task in ((_SPLIT_FIRST, 1, 2), (_SPLIT_LAST, 2, 1)):
        match = pattern.fullmatch(low)
        if match and (is_task_word(match[task]) or match[task] in _ANNOTATED):
            return match[split], match[task]
    return "", ""


def split_directories(listing: Listing, level: int) -> Layout:
    """Lay out by directories that name split and task at once; see the module."""
    plain = any(not _split_and_task(name)[1] for name in _names_at(listing, level))

    @cache
    def parted(directory: str) -> str:
        parts = _parts(directory)
        split, task = _split_and_task(parts[level])
        if not task or (plain and kind_of_name(task) in ("rgb", "image")):
            task = PICTURE
        return "/".join([*parts[:level], split, task, *parts[level + 1 :]])

    inner = directories(_renamed(listing, parted), level + 1)
    return replace(
        inner,
        name="split-directories",
        place=lambda directory, name: inner.place(parted(directory), name),
        why="directories with the names of splits and tasks",
    )


def _renamed(listing: Listing, rename: Callable[[str], str]) -> Listing:
    found: dict[str, list[str]] = {}
    for directory, names in listing.items():
        found.setdefault(rename(directory), []).extend(names)
    return found


def suffixes(listing: Listing, words: frozenset[str] | None = None) -> Layout:
    """Lay out by the ends, or beginnings, of file names; see the module.

    `words` are those that names carry, where that is known.
    """
    words = affix_words(listing) if words is None else words
    own = _own_words(listing)

    def part(stem: str) -> tuple[str, str]:
        base, word = split_affix(stem)
        if word or not own:
            return base, word
        base, _, word = stem.partition(".")
        return (base, word) if word in own else (stem, "")

    def place(directory: str, name: str) -> FilePlace | None:
        stem = name.rpartition(".")[0]
        if not stem:
            return None
        ending = name.rpartition(".")[2].lower()
        base, word = part(stem) if every else (stem, ending if ending in endings else "")
        split = split_of(_parts(directory)) if "/" in directory else name_of_split(directory)
        return FilePlace(task_name(word) if word else PICTURE, directory, base, split or "")

    every = sorted(words | own)
    endings = set() if every else _endings_of_pairs(listing)
    return Layout("suffixes", place, f"names with {', '.join(every[:4])}" if every else "pictures")


def _endings_of_pairs(listing: Listing) -> set[str]:
    """List the endings that tell tasks: those of what lies beside a JPEG of the same stem.

    Empty where fewer than half of the stems have such a pair.
    """
    beside: dict[tuple[str, str], set[str]] = defaultdict(set)
    for directory, names in listing.items():
        for name in names:
            stem, _, ending = name.rpartition(".")
            beside[directory, stem].add(ending.lower())
    jpeg = {ending[1:] for ending in _JPEG}
    pairs = [found for found in beside.values() if found & jpeg and found - jpeg]
    return set().union(*pairs) - jpeg if 2 * len(pairs) >= len(beside) else set()


def classes(listing: Listing) -> Layout:
    """Lay out by directories that are classes; see the module."""
    level = class_level(listing) or 0

    def place(directory: str, name: str) -> FilePlace | SetAside:
        parts = _parts(directory)
        split = split_of(parts[:level])
        if len(parts) <= level and not split:
            return SetAside("lies above the directories of the classes")
        label = parts[level] if len(parts) > level else None
        return FilePlace(PICTURE, directory, name.rpartition(".")[0], split, label)

    return Layout("classes", place, "directories that are no names of tasks")


def class_level(listing: Listing) -> int | None:
    """Tell at which level classes are named: below splits and directories that hold all others.

    None where no level has several names, or more than `STRAYS` of the files lie above it in no
    split.
    """
    total = sum(map(len, listing.values()))
    level, below_split = 0, False
    while True:
        names = _names_at(listing, level)
        count = sum(names.values())
        if not count or (not below_split and total - count > STRAYS * total):
            return None
        if not below_split and all(map(name_of_split, names)):
            below_split = True
        elif len(names) > 1 or below_split or max(_depths(listing)) == 1:
            return level
        level += 1


def _affixes(listing: Listing) -> Iterator[tuple[str, str, str]]:
    for directory, names in listing.items():
        for name in names:
            base, word = split_affix(name.rpartition(".")[0])
            yield directory, base, word


def affix_words(listing: Listing) -> frozenset[str]:
    """List the words of tasks that names carry, where at least half of the files belong to them.

    That is, a file has one, or stands beside one that does. Where all words are those of pictures
    (``image_1``, ``IMG_2``), they tell something only if two of them stand side by side; and JPEG
    files that all say the same word are pictures.
    """
    words: set[str] = set()
    plain: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    named, several = 0, False
    for directory, base, word in _affixes(listing):
        if not word:
            plain[directory, base] += 1
            continue
        words.add(word)
        named += 1
        several |= first.setdefault((directory, base), word) != word
    if _has_maps_beside(listing):
        return frozenset(words)
    beside = sum(count for key, count in plain.items() if key in first) if first else 0
    total = named + plain.total()
    if not named or 2 * (named + beside) < total:
        return frozenset()
    kinds = {kind_of_name(word) for word in words}
    if several or beside:
        tells = True
    elif kinds <= {"label"} and named == total:
        tells = not _mostly_jpeg(listing)
    else:
        tells = not kinds <= {None, "rgb", "image"} or _are_dotted(listing, words)
    return frozenset(words) if tells else frozenset()


def _are_dotted(listing: Listing, words: Iterable[str]) -> bool:
    """Tell whether every name says one of these words between dots, as ``frame-1.color.png``."""
    ends = tuple(f".{word}" for word in words)
    return all(
        name.rpartition(".")[0].endswith(ends) for names in listing.values() for name in names
    )


def _has_maps_beside(listing: Listing) -> bool:
    """Tell whether a map that is no JPEG lies beside its picture: ``1_mask.png`` and ``1.jpg``."""
    return any(
        word and kind_of_name(word) in MAP_KINDS and base in stems
        for names in listing.values()
        if (stems := {name.rpartition(".")[0] for name in names})
        for name in names
        if not name.lower().endswith(_JPEG)
        for base, word in [split_affix(name.rpartition(".")[0])]
    )


def _own_words(listing: Listing) -> set[str]:
    """List the middle parts of names (b of ``a.b.png``) that are tasks nobody else has a name for.

    That is, most samples that have one have another file, too.
    """
    if not any(name.count(".") > 1 for names in listing.values() for name in names):
        return set()
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

    Empty where taking them off pairs no two files. Files above the level are of the task ``""``.
    """
    found: dict[str, set[str]] = defaultdict(set)
    tasks: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for directory, base, word in _affixes(listing):
        parts = _parts(directory)
        if -len(parts) <= level < len(parts) or len(parts) <= level:
            task = parts.pop(level) if level < len(parts) else ""
            found[task].add(word)
            tasks["/".join(parts), base].add((task, word))
    if all(len(several) < 2 for several in tasks.values()):
        return {}
    return {task: words for task, words in found.items() if "" not in words}


def _common_affixes(listing: Listing, level: int) -> dict[str, tuple[int, int]]:
    """Tell how many letters all names of a directory share at their beginning and end.

    Digits next to what differs are no part of that. Empty where taking them off pairs nothing.
    """
    found: dict[str, tuple[int, int]] = {}
    seen: dict[tuple[str, str], str] = {}
    pairs = False
    for directory, names in listing.items():
        parts = _parts(directory)
        if not -len(parts) <= level < len(parts):
            continue
        task = parts.pop(level)
        stems = [name.rpartition(".")[0] for name in names]
        before, behind = found[directory] = _common(stems)
        for stem in stems:
            base = "/".join(parts), stem[before : len(stem) - behind]
            pairs |= seen.setdefault(base, task) != task
    return found if pairs else {}


def _common(stems: list[str]) -> tuple[int, int]:
    if len(set(stems)) < 2:
        return 0, 0
    first, last = min(stems), max(stems)
    before = _shared(first, last).rstrip("0123456789")
    rest = [stem[len(before) :][::-1] for stem in stems]
    behind = _shared(min(rest), max(rest))[::-1].lstrip("0123456789")
    return len(before), len(behind)


def _shared(first: str, second: str) -> str:
    """Return the beginning that two texts share."""
    size = next((at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
    return first[: min(len(first), len(second)) if size is None else size]
