"""Finds which tasks follow from others, by trying rules on samples of the data.

Names of tasks are no evidence: a rule is taken where it gives the values. What it takes are tasks
that the archive stores itself and decodes to the same integers everywhere; what was asked for by
name, or has a target or a bound, is stored.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import overload

from dsc._codecs.base import INPUTS, Sample
from dsc._codecs.derived.codec import DerivedCodec
from dsc._codecs.derived.rules import find_rule, rule_of
from dsc._codecs.derived.ways import FoundRule
from dsc._codecs.registry import LOSSLESS, NETWORKS, OF_GROUPS
from dsc._pipeline.choose.codec_spec import FILE_SUFFIX, is_joint
from dsc._schemas import CodecRecord, Stream, Task, TaskKind
from dsc._sources.base import Source, read_sample
from dsc.errors import SampleError, UsageError

LOOKED_AT = 8  # samples, in the middles of equal parts of the source

ReadFirst = Callable[[int], Sample]
"""Gives the arrays of a sample by its index, before there is a plan; none where it is broken."""


class Derive(StrEnum):
    """Whether tasks are derived from others."""

    AUTO = "auto"
    NEVER = "never"

    @classmethod
    def parse(cls, text: "str | Derive | None") -> "Derive":
        """Read the option ``--derive``; None is `AUTO`.

        Raises
        ------
        UsageError
            When it is neither.
        """
        try:
            return cls.AUTO if text is None else cls(text)
        except ValueError:
            raise UsageError(f"--derive {text}: say auto or never") from None


@dataclass(frozen=True)
class Known:
    """Tasks of an archive that new tasks may follow from.

    Attributes
    ----------
    tasks
        Those that decode to the same integers everywhere, for each sample alone.
    streams
        The archive's stream graph.
    source
        Gives samples with the new tasks and these: as the source has them, and else as the archive
        decodes them.
    """

    tasks: tuple[Task, ...]
    streams: tuple[Stream, ...]
    source: Source


def find_rules(
    source: Source,
    tasks: Sequence[Task],
    words: Mapping[str, str],
    promised: Collection[str],
    known: Known | None = None,
    read: ReadFirst | None = None,
    begun: Iterable[CodecRecord] | None = None,
) -> dict[str, FoundRule]:
    """Find by which rules tasks follow from others.

    Parameters
    ----------
    source
        Gives the samples; they are read as rules look at them.
    tasks
        Those that are coded, in order.
    words
        The codec of each, as it would be if it were stored.
    promised
        Names of tasks for which a codec, a target or a bound was asked: they are stored.
    known
        Tasks that are there already, in an archive that gets these.
    read
        Reads samples of all tasks, unless there are some already.
    begun
        The codecs of an earlier call that this one goes on with: their rules are taken, and no
        sample is looked at.

    Returns
    -------
    dict of str to FoundRule
        By name of a task that follows.
    """
    maps = [task for task in tasks if task.is_map]
    children = [t for t in maps if t.name not in promised and _is_alone(words[t.name])]
    parents = [task for task in maps if decodes_alike(task, words[task.name])]
    if known is not None:
        source, parents, read = known.source, [*parents, *known.tasks], None
    if not any(child.name != parent.name for child in children for parent in parents):
        return {}
    if begun is not None:
        return _rules_of(begun, children, parents)
    names = list(dict.fromkeys(task.name for task in (*children, *parents)))
    return _found(children, parents, Samples(len(source), read or reader(source, names)))


def find_unlike(
    source: Source,
    tasks: Sequence[Task],
    words: Mapping[str, str],
    promised: Collection[str],
    rules: Mapping[str, FoundRule],
    read: ReadFirst | None = None,
) -> dict[str, str]:
    """Say which tasks would follow if those that they follow from decoded alike everywhere.

    Parameters
    ----------
    source, tasks, words, promised, read
        As `find_rules` takes them.
    rules
        What it found.

    Returns
    -------
    dict of str to str
        Why a task is stored that a rule gives, by its name.
    """
    maps = [task for task in tasks if task.is_map]
    unlike = {task.name for task in maps if not decodes_alike(task, words[task.name])}
    used = {name for rule in rules.values() for name in rule.inputs}
    children = [
        task
        for task in maps
        if task.name not in {*promised, *rules, *used} and _is_alone(words[task.name])
    ]
    if not unlike or not children:
        return {}
    stored = [task for task in maps if task.name not in rules]
    samples = Samples(len(source), read or reader(source, [task.name for task in maps]))
    told = {}
    for child in children:
        rule = find_rule(child, stored, samples)
        held = [name for name in rule.inputs if name in unlike] if rule is not None else []
        if rule is not None and held:
            told[child.name] = (
                f"{_would_follow(rule)}: {held[0]} by {words[held[0]]} does not decode the same on "
                "every machine"
            )
    return told


def saves_too_little(rule: FoundRule) -> str:
    """Say why a task is stored that a rule gives for nearly as many bytes."""
    return f"{_would_follow(rule)}: that saves too few bytes here"


def _would_follow(rule: FoundRule) -> str:
    name = rule.id.partition("@")[0]
    return f"would follow from {', '.join(rule.inputs)} by {name}, and is stored"


def _found(
    children: Sequence[Task], parents: Sequence[Task], samples: Sequence[Sample]
) -> dict[str, FoundRule]:
    """Find rules that hold together, for as many tasks as there are."""
    tasks = {child.name: child for child in children}
    found = {name: find_rule(child, parents, samples) for name, child in tasks.items()}
    known = {name: rule for name, rule in found.items() if rule is not None}
    rules = _chosen(known)
    for name in [name for name in known if name not in rules]:
        if not any(other in rules for other in known[name].inputs):
            stored = [task for task in parents if task.name not in (name, *rules)]
            users = [child for child, rule in rules.items() if name in rule.inputs]
            again = {child: find_rule(tasks[child], stored, samples) for child in users}
            if all(again.values()):  # from others than this one, which then follows as well
                rules |= {child: rule for child, rule in again.items() if rule is not None}
                rules[name] = known[name]
    return {name: rules[name] for name in known if name in rules}


def _rules_of(
    records: Iterable[CodecRecord], children: Sequence[Task], parents: Sequence[Task]
) -> dict[str, FoundRule]:
    """Return the rules by which codecs were made for these tasks."""
    named, usable = {task.name: task for task in children}, {task.name for task in parents}
    rules: dict[str, FoundRule] = {}
    for record in records:
        child = named.get(record.streams[0]) if record.id == DerivedCodec.id else None
        if child is not None and usable.issuperset(record.config[INPUTS]):
            inputs = [Task.model_validate(task) for task in record.config["input_tasks"]]
            rule, params = record.config["rule"], record.config["params"]
            rules[child.name] = rule_of(rule, child, inputs, params)
    return rules


def _chosen(found: Mapping[str, FoundRule]) -> dict[str, FoundRule]:
    """Choose among rules those that hold together: what others follow from is stored.

    Where two tasks follow from one another, the one that fewer others follow from is derived, and
    of two that are even the later one.
    """
    uses = Counter(name for rule in found.values() for name in rule.inputs)
    rules: dict[str, FoundRule] = {}
    for child in sorted([*found][::-1], key=lambda name: uses[name]):
        stored = not any(child in rule.inputs for rule in rules.values())
        if stored and not any(name in rules for name in found[child].inputs):
            rules[child] = found[child]
    return {name: rules[name] for name in found if name in rules}


def decodes_alike(task: Task, word: str) -> bool:
    """Tell whether a codec gives the same integers on every machine, for each sample alone."""
    if word.endswith(FILE_SUFFIX) or word in (*NETWORKS, *OF_GROUPS, DerivedCodec.id):
        return False
    return word in LOSSLESS or word != "jxl" or task.kind is TaskKind.DEPTH


def _is_alone(word: str) -> bool:
    """Tell whether a codec codes each task of each sample by itself."""
    return not word.endswith(FILE_SUFFIX) and word not in OF_GROUPS and not is_joint(word)


def reader(source: Source, names: Sequence[str]) -> ReadFirst:
    """Read tasks of a source; what cannot be read is told of when it is encoded."""

    def read(index: int) -> Sample:
        try:
            return read_sample(source, index, names).arrays
        except SampleError:
            return {}

    return read


class Samples(Sequence[Sample]):
    """Samples spread over a source, each read when it is first looked at."""

    def __init__(self, size: int, read: ReadFirst, most: int = LOOKED_AT) -> None:
        self._size, self._count = size, min(most, size)
        self._read, self._there = read, dict[int, Sample]()

    def __len__(self) -> int:
        """Return how many there are."""
        return self._count

    @overload
    def __getitem__(self, item: int) -> Sample: ...
    @overload
    def __getitem__(self, item: slice) -> Sequence[Sample]: ...
    def __getitem__(self, item: int | slice) -> Sample | Sequence[Sample]:
        """Return one sample, or several."""
        if isinstance(item, slice):
            return [self[part] for part in range(*item.indices(self._count))]
        part = range(self._count)[item]
        if part not in self._there:
            self._there[part] = self._read((2 * part + 1) * self._size // (2 * self._count))
        return self._there[part]
