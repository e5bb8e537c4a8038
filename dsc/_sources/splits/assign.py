"""Which split each sample is of, by the rules that were stated."""

import fnmatch
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._files.passed_over import printable
from dsc._schemas import Task, resolve_task
from dsc._schemas.task import spelled
from dsc._sources.base import SequenceSource, Source, name_of, place_of, read_sample, splits_of
from dsc._sources.keys import split_rank
from dsc._sources.meaning.names import name_of_split
from dsc._sources.sequences.places import cut_sequences
from dsc._sources.splits.lists import Line, read_lists, samples_of
from dsc._sources.splits.rules import DROP, LONGEST, SplitRules
from dsc.errors import UsageError

NONE = -1
MOST_SPLITS = 1000


def assign(source: Source, rules: SplitRules) -> dict[str, NDArray[np.int64]]:
    """Return the samples of each split, in the source's order.

    Raises
    ------
    UsageError
        When a list names what is not there, a sample is in two splits, or samples are in none and
        nothing says what becomes of them.
    """
    if not rules.files and not rules.way:
        found = _own(source)
    elif rules.files:
        found = _by_lists(source, rules)
    else:
        found = _numbered(source, rules)
    return _chosen(found, rules)


def cut_recordings(source: Source, found: Mapping[str, NDArray[np.int64]]) -> dict[str, str]:
    """Find the recordings whose frames are in several splits; of each, what is where, in words."""
    if not isinstance(source, SequenceSource):
        return {}
    numbers: dict[str, int] = {}
    sequence, split = np.full(len(source), NONE), np.full(len(source), NONE)
    for at, indices in enumerate(found.values()):
        split[indices] = at
    for index in range(len(source)):
        place = source.place(index)
        if place is not None:
            sequence[index] = numbers.setdefault(place.sequence, len(numbers))
    names, splits = list(numbers), list(found)
    return {
        names[number]: " and ".join(
            f"{printable(name_of(source, index))} in {splits[split[index]]}" for index in pair
        )
        for number, pair in cut_sequences(sequence, split).items()
    }


def _own(source: Source) -> dict[str, NDArray[np.int64]]:
    """Return the splits that the source itself has."""
    sizes = splits_of(source)
    ends = list(accumulate(sizes.values(), initial=0))
    return {
        split: np.arange(start, stop)
        for split, start, stop in zip(sizes, ends, ends[1:], strict=False)
    }


def _by_lists(source: Source, rules: SplitRules) -> dict[str, NDArray[np.int64]]:
    names = list(rules.files)
    numbers = np.full(len(source), NONE, np.int64)
    said: dict[int, Line] = {}
    for line, indices in samples_of(source, read_lists(rules.files)):
        number = names.index(line.split)
        for index in indices:
            if numbers[index] not in (NONE, number):
                raise UsageError(
                    f"sample {printable(name_of(source, index))} is in two splits: "
                    f"{said[index].where} has it in {said[index].split}, {line.where} in "
                    f"{line.split}; take it out of one list"
                )
            numbers[index] = number
            said[index] = line
    return _parted(source, numbers, names, rules)


def _numbered(source: Source, rules: SplitRules) -> dict[str, NDArray[np.int64]]:
    values = {
        "hash": _hashed, "hash-folder": _hashed, "folder": _by_folder, "name": _by_name,
        "task": _by_task,
    }[rules.way](source, rules)  # fmt: skip
    names: dict[str, int] = {name: at for at, name in enumerate(rules.names)}
    numbers = np.full(len(source), NONE, np.int64)
    for index, split in enumerate(values):
        if split is not None:
            numbers[index] = names.setdefault(split, len(names))
            if len(names) > MOST_SPLITS:
                raise UsageError(
                    f"--split-by {rules.way}:{rules.argument}: more than {MOST_SPLITS} splits, "
                    f"such as {split}; that tells samples apart, not splits"
                )
    stated = bool(rules.names)
    order = list(names) if stated else sorted(names, key=_usual_order)
    ranks = np.array([order.index(name) for name in names] or [0], np.int64)
    numbers = np.where(numbers == NONE, NONE, ranks[numbers])
    return _parted(source, numbers, order, rules)


def _usual_order(split: str) -> tuple[int, str]:
    return split_rank(split), split


def _hashed(source: Source, rules: SplitRules) -> Iterator[str | None]:
    ends = dict(zip(rules.shares or {}, accumulate((rules.shares or {}).values()), strict=True))
    for index in range(len(source)):
        place = None if rules.cuts else place_of(source, index)
        text = source.key(index) if place is None else place.sequence
        if rules.way == "hash-folder":
            text = name_of(source, index).rpartition("/")[0]
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        drawn = int.from_bytes(digest[:6], "big") / (1 << 48)
        last = next(reversed(ends))
        whole = ends[last] > 1 - 1e-9  # 0.7 + 0.2 + 0.1 is not 1 in floating point
        yield next((s for s, end in ends.items() if drawn < end), last if whole else None)


def _by_folder(source: Source, rules: SplitRules) -> Iterator[str | None]:
    level = int(rules.argument)
    for index in range(len(source)):
        parts = name_of(source, index).split("/")[:-1]
        at = level - 1 if level > 0 else len(parts) + level
        yield _spelled(parts[at], source, index) if 0 <= at < len(parts) else None


def _by_name(source: Source, rules: SplitRules) -> Iterator[str | None]:
    patterns = rules.patterns or {}
    for index in range(len(source)):
        names = (name_of(source, index), source.key(index))
        yield next(
            (
                split
                for split, own in patterns.items()
                if any(fnmatch.fnmatchcase(name, one) for one in own for name in names)
            ),
            None,
        )


def _by_task(source: Source, rules: SplitRules) -> Iterator[str | None]:
    tasks = {task.name: task for task in source.tasks}
    name = resolve_task(rules.argument, list(tasks))
    task = tasks[name]
    if task.is_map:
        raise UsageError(f"--split-by task:{name}: it holds maps, which name no split")
    for index in range(len(source)):
        value = read_sample(source, index, [name]).arrays.get(name)
        yield None if value is None else _spelled(_text(task, value), source, index)


def _text(task: Task, value: Any) -> str:
    found = task.to_physical(value)
    if isinstance(found, str):
        return found.strip()
    number = np.asarray(found)
    if number.size != 1 or number.dtype.kind not in "biu":
        raise UsageError(
            f"--split-by task:{task.name}: {task.kind.value} values name no split; a class, a "
            "whole number or a text does"
        )
    at = int(number.item())
    return task.classes[at] if 0 <= at < len(task.classes) else str(at)


def _spelled(text: str, source: Source, index: int) -> str:
    """Spell what a sample says as the name of a split."""
    found = name_of_split(text) or spelled(text)
    if not found or len(found) > LONGEST:
        raise UsageError(
            f"sample {printable(name_of(source, index))}: {printable(text)!r} cannot be the name "
            "of a split"
        )
    return found


def _parted(
    source: Source, numbers: NDArray[np.int64], names: Sequence[str], rules: SplitRules
) -> dict[str, NDArray[np.int64]]:
    """Return the samples by split; those that are in none go where the rules say."""
    found = {name: np.flatnonzero(numbers == at) for at, name in enumerate(names)}
    lost = np.flatnonzero(numbers == NONE)
    if len(lost) and rules.rest is None:
        some = ", ".join(printable(name_of(source, int(index))) for index in lost[:3])
        raise UsageError(
            f"{len(lost)} of {len(source)} samples are in no split, such as {some}; say "
            "--split-rest NAME to put them in one, or --split-rest drop to leave them out"
        )
    if len(lost) and rules.rest not in (None, DROP):
        name = str(rules.rest)
        found[name] = np.union1d(found.get(name, lost[:0]), lost)
    return {name: indices for name, indices in found.items() if len(indices)}


def _chosen(
    found: Mapping[str, NDArray[np.int64]], rules: SplitRules
) -> dict[str, NDArray[np.int64]]:
    if rules.chosen is None:
        return dict(found)
    if not found:
        raise UsageError(
            f"--split {','.join(rules.chosen)}: nothing here says of which split a sample is; "
            "--split-file or --split-by does"
        )
    for name in rules.chosen:
        if name not in found:
            there = ", ".join(split or "-" for split in found)
            raise UsageError(f"--split {name}: the splits here are {there}")
    return {name: found[name] for name in rules.chosen}
