"""How HDF5 files hold samples: decided from the names and shapes of their datasets alone.

- ``rows``: the first axis counts the samples: ``rgb`` (N, H, W, 3) and ``depth`` (N, H, W).
- ``frames``: one file a sample: ``0001.h5`` with ``rgb`` (H, W, 3) and ``depth`` (H, W). Where each
  file holds one dataset, file names and directories say what it is, as they do for pictures:
  ``frame.0000.depth_meters.hdf5`` with ``dataset`` (H, W), ``depth/0001.h5`` with ``data``.
- ``groups``: one group a sample, ``/0001/rgb`` with ``/0001/depth``, or a group a task,
  ``/rgb/0001`` with ``/depth/0001``.

Numbered groups whose datasets have rows (``/demo_0/obs/image``) are recordings: rows of one group
after the other. Groups named train, val or test are splits.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dsc._files.directories import join_path
from dsc._sources.hdf5.inventory import DatasetItem
from dsc._sources.hdf5.names import NameWords, generic
from dsc._sources.meaning.evidence import MATRIX
from dsc._sources.meaning.names import (
    MOST_TASKS,
    is_task_word,
    name_of_split,
    split_affix,
)
from dsc.errors import UsageError

LAYOUTS = ("rows", "frames", "groups")
CHANNELS = (1, 2, 3, 4)
PICTURE_KINDS = ("rgb", "image", "normal")
FLAT_KINDS = ("depth", "disparity")  # kinds with one channel
MAP_KINDS = (*PICTURE_KINDS, *FLAT_KINDS, "label", "flow")
STRONG, WEAK = 3, 1
LEAST_MAP = 16  # pixels along the shorter side, from which a matrix may be a map
_CAMERAS = ("cam", "view", "eye", "sensor", "stereo", "level", "layer")

KindOf = Callable[[str, DatasetItem], str | None]  # kind of a file's dataset, as far as known


@dataclass(frozen=True)
class SampleUnit:
    """A file, or a group of one, that holds a sample or rows of samples.

    Attributes
    ----------
    file, group
        Where it is.
    items
        What it holds; paths are those in the file.
    split
        The split that its group names.
    numbered
        Whether it is one of several groups that are alike.
    """

    file: str
    group: str
    items: tuple[DatasetItem, ...]
    split: str = ""
    numbered: bool = False

    def inner(self, item: DatasetItem) -> str:
        """Return an item's path below the group."""
        return item.path[len(self.group) + 1 :] if self.group else item.path


def part_into_units(
    file: str, items: Sequence[DatasetItem], group: str = "", split: str = ""
) -> list[SampleUnit]:
    """Part a file's datasets into units, by groups that are splits or are numbered."""
    held = [item for item in items if not item.no_task]
    level = len(group.split("/")) if group else 0
    deep = [item for item in held if item.path.count("/") > level]
    names = dict.fromkeys(item.path.split("/")[level] for item in deep)
    maps_beside = any(len(item.shape) > 2 or item.files for item in held if item not in deep)
    if not split and names and not maps_beside and all(map(name_of_split, names)):
        return [
            unit
            for name, below in _below(items, level).items()
            if name in names
            for unit in part_into_units(
                file, below, join_path(group, name), name_of_split(name) or ""
            )
        ]
    found = _numbered_groups(held, level)
    if not found:
        return [SampleUnit(file, group, tuple(items), split)]
    units = []
    for name in found:
        below = [item for item in items if item.path.startswith(f"{name}/")]
        for unit in part_into_units(file, below, name, split):
            units.append(SampleUnit(file, unit.group, unit.items, unit.split, numbered=True))
    return units


def _below(items: Sequence[DatasetItem], level: int) -> dict[str, list[DatasetItem]]:
    found: dict[str, list[DatasetItem]] = defaultdict(list)
    for item in items:
        parts = item.path.split("/")
        if len(parts) > level + 1:
            found[parts[level]].append(item)
    return found


def _numbered_groups(held: Sequence[DatasetItem], level: int) -> list[str]:
    """List the outermost groups that are numbered and hold datasets of equal names.

    `level` is where to begin. Empty where there are none, or most datasets lie elsewhere.
    """
    for at in range(level, max((item.path.count("/") for item in held), default=0)):
        groups: dict[str, set[str]] = defaultdict(set)
        count = 0
        for item in held:
            parts = item.path.split("/")
            if len(parts) > at + 1:
                groups["/".join(parts[: at + 1])].add("/".join(parts[at + 1 :]))
                count += 1
        if 2 * count < len(held):
            break
        if all(_is_numbered(name.rpartition("/")[2]) for name in groups) and _alike(groups):
            return list(groups)
    return []


def _is_numbered(name: str) -> bool:
    word = re.sub(r"\d+", "", name).strip("._-")
    camera = any(word.lower().startswith(camera) for camera in _CAMERAS)
    return any(map(str.isdigit, name)) and not (word and (camera or is_task_word(word)))


def _alike(groups: dict[str, set[str]]) -> bool:
    """Tell whether most groups share a dataset's name (or group's, one level below)."""
    shared = Counter(name for names in groups.values() for name in names)
    first = Counter(
        name for names in groups.values() for name in {name.split("/")[0] for name in names}
    )
    most = max((*shared.values(), *first.values()), default=0)
    if len(groups) == 1:  # one group: numbered, with a dataset of a task's name
        return any(is_task_word(name) for names in groups.values() for name in names)
    return 2 * most > len(groups) or _nested_numbers(groups)


def _nested_numbers(groups: dict[str, set[str]]) -> bool:
    return all(any(_is_numbered(name.split("/")[0]) for name in names) for names in groups.values())


@dataclass(frozen=True)
class ToldLayout:
    """Which of `LAYOUTS` it is, and why, in words for people."""

    name: str
    why: str


def tell(units: Sequence[SampleUnit], kind_of: KindOf, where: str) -> ToldLayout:
    """Tell whether the first axis counts samples, or each unit is one.

    Parameters
    ----------
    units
        What there is; those that are alike are looked at once.
    kind_of
        Returns the kind of a dataset, None where it is not known.
    where
        The root, for messages.

    Raises
    ------
    UsageError
        When it cannot be told; the message shows the spellings that would.
    """
    numbered = any(unit.numbered for unit in units)
    own = "groups" if numbered else "frames"
    rows, frames = 0, 0
    example = ""
    for unit in _different(units):
        votes = _votes(unit, kind_of)
        rows = max(rows, *(-vote for vote, _ in votes), 0)
        frames = max(frames, *(vote for vote, _ in votes), 0)
        example = example or next((_spell(unit, item) for _, item in votes), "")
    several = _extents(units)
    if several == "rows":
        rows = STRONG
    elif several == "frames" and frames:
        frames += WEAK
    if numbered and rows < STRONG:
        frames = max(frames, STRONG)
    if rows > frames:
        return ToldLayout("rows", "the first axis of datasets counts samples")
    if frames > rows and (frames >= STRONG or len(units) > 1):
        what = "group" if numbered else "file"
        return ToldLayout(own, f"each {what} is a sample, its datasets have no axis of samples")
    sure = several != "frames" and not any(_is_unsaid(unit, kind_of) for unit in units[:1])
    if not rows and not frames and sure:
        return ToldLayout("rows", "the first axis of datasets counts samples")
    raise UsageError(
        f"{where}: {example}: is its first axis the samples, or is each "
        f"{'group' if numbered else 'file'} one sample? Say --layout rows or --layout {own}; "
        "--kinds NAME=depth (or image, label, vector, ...) may tell it, too"
    )


def _is_unsaid(unit: SampleUnit, kind_of: KindOf) -> bool:
    """Tell whether a unit is one matrix as large as a map, whose name says nothing."""
    held = [item for item in unit.items if not item.no_task]
    return (
        len(held) == 1
        and len(held[0].shape) == 2
        and min(held[0].shape) >= LEAST_MAP
        and generic(unit.inner(held[0]))
        and kind_of(unit.file, held[0]) is None
    )


def _spell(unit: SampleUnit, item: DatasetItem) -> str:
    return f"{unit.file}: /{item.path} has shape {item.whole}"


def _different(units: Iterable[SampleUnit]) -> Iterator[SampleUnit]:
    """Yield one of each kind of units that have equal datasets (and equal words in their names)."""
    seen = set()
    for unit in units:
        words = re.sub(r"\d+", "", unit.file)
        look = (words, tuple((unit.inner(i), i.shape, i.dtype, i.no_task) for i in unit.items))
        if look not in seen:
            seen.add(look)
            yield unit


def _extents(units: Sequence[SampleUnit]) -> str:
    """Compare the shapes of equal datasets of several units.

    Only the first axis differs: that is rows. All are equal, or height and width differ: frames.
    """
    shapes: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    for unit in units:
        for item in unit.items:
            if not item.no_task and len(item.shape) > 1:
                shapes[unit.inner(item)].add(item.shape)
    several = [found for found in shapes.values() if len(found) > 1]
    if len(units) < 2:
        return ""
    if several and all(len({shape[1:] for shape in found}) == 1 for found in several):
        return "rows"
    return "frames"


def _votes(unit: SampleUnit, kind_of: KindOf) -> list[tuple[int, DatasetItem]]:
    """Judge every dataset: above 0 it looks like one sample, below 0 like rows of samples.

    The larger the number the surer: `WEAK` is a guess, `STRONG` is sure.
    """
    items = [item for item in unit.items if not item.no_task and not item.problem]
    firsts: dict[int, list[int]] = defaultdict(list)
    for item in items:
        if item.shape:
            firsts[item.shape[0]].append(1 if _is_column(item) else len(item.shape))
    votes = [(_vote(unit, item, kind_of(unit.file, item), firsts), item) for item in items]
    if _planes(items):
        votes.append((STRONG, items[0]))
    rows = {item.shape[0] for vote, item in votes if vote <= -STRONG}
    if rows:  # a mean image beside rows is no sample
        votes = [
            (vote, item)
            for vote, item in votes
            if vote < 0 or not item.shape or item.shape[0] in rows
        ]
    return votes


def _planes(items: Sequence[DatasetItem]) -> bool:
    """Tell whether (3, H, W) stands beside (1, H, W) or (H, W): planes of one picture."""
    found: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for item in items:
        if len(item.shape) in (2, 3) and min(item.shape[-2:]) > MATRIX and not item.matlab:
            planes = item.shape[0] if len(item.shape) == 3 else 1
            found[item.shape[-2:]].add(planes if planes in CHANNELS else 0)
    return any(len(planes) > 1 and 0 not in planes for planes in found.values())


def _vote(
    unit: SampleUnit, item: DatasetItem, kind: str | None, firsts: Mapping[int, list[int]]
) -> int:
    shape = item.shape
    if item.files:
        samples = shape[: len(shape) - (item.files == "axis")]
        return 0 if samples == (1,) else -STRONG if samples else STRONG
    if _is_column(item):
        shared = len(firsts[shape[0]]) > 1 and shape[0] > 1 and not unit.numbered
        return -(STRONG if kind == "label" else WEAK) if shared else 0
    if len(shape) == 2:
        return _vote_flat(item, kind, firsts)
    if len(shape) == 3:
        return _vote_deep(item, kind)
    return -STRONG if len(shape) > 3 else 0


def _is_column(item: DatasetItem) -> bool:
    return len(item.shape) == 1 or (len(item.shape) == 2 and item.shape[1] == 1)


def _vote_flat(item: DatasetItem, kind: str | None, firsts: Mapping[int, list[int]]) -> int:
    height, width = item.shape
    if max(height, width) <= MATRIX or min(height, width) == 1:
        return 0
    if kind in (*FLAT_KINDS, "normal", "flow", "rgb"):
        return STRONG
    alone = all(axes == 2 for axes in firsts[height])
    return WEAK if kind in MAP_KINDS and min(height, width) >= LEAST_MAP and alone else 0


def _vote_deep(item: DatasetItem, kind: str | None) -> int:
    if item.matlab:
        flat = kind in FLAT_KINDS or item.shape[0] != 3
        return -STRONG if flat else STRONG if kind in PICTURE_KINDS else WEAK
    first, height, last = item.shape
    if first == 1:
        return 0
    matrices = height <= MATRIX and last <= MATRIX
    if matrices or (kind in FLAT_KINDS and last > 1) or not {first, last} & {*CHANNELS}:
        return -STRONG
    if last in CHANNELS:
        return STRONG if kind in MAP_KINDS or item.dtype == "uint8" else WEAK
    return WEAK if kind in (*PICTURE_KINDS, "flow") else -WEAK if kind == "label" else 0


def tasks_first(unit: SampleUnit, kind_of: KindOf) -> dict[str, NameWords]:
    """Read the names of numbered datasets, whose group or a word names the task, by path.

    Empty where most are not like that, or where they have rows.
    """
    found = {}
    held = [item for item in unit.items if not item.no_task]
    if len(held) < 2 or any(len(item.shape) > 3 for item in held):
        return {}
    for item in held:
        group, _, base = item.path.rpartition("/")
        above, _, word = group.rpartition("/")
        stem, affix = split_affix(base)
        if affix and any(map(str.isdigit, stem)):
            found[item.path] = NameWords(group, stem, affix)
        elif _is_numbered(base) and is_task_word(word):
            found[item.path] = NameWords(above, base, word)
    tasks = {one.task for one in found.values()}
    fits = 2 * len(found) > len(held) and len(found) > len(tasks) and len(tasks) <= MOST_TASKS
    if not fits:
        return {}
    votes = [vote for vote, item in _votes(unit, kind_of) if item.path in found]
    return found if max(votes) >= STRONG > -min(votes) else {}
