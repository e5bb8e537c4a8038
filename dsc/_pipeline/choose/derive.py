"""Finds which tasks follow from others, by trying rules on samples of the data.

Names of tasks are no evidence: a rule is taken where it gives the values. What it takes are tasks
that the archive stores itself and decodes to the same integers everywhere; what was asked for by
name, or has a target or a bound, is stored.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

from dsc._codecs.base import Sample
from dsc._codecs.derived.rule import Rule
from dsc._codecs.derived.rules import find_rule
from dsc._codecs.registry import LOSSLESS, NETWORKS, OF_GROUPS
from dsc._pipeline.choose.codec_spec import FILE_SUFFIX
from dsc._schemas import Task, TaskKind
from dsc._sources.base import Source, read_sample
from dsc.errors import SampleError, UsageError

LOOKED_AT = 8  # samples, in the middles of equal parts of the source


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


def find_rules(
    source: Source,
    tasks: Sequence[Task],
    words: Mapping[str, str],
    promised: Collection[str],
) -> dict[str, Rule]:
    """Find by which rules tasks follow from others.

    Parameters
    ----------
    source
        Gives the samples.
    tasks
        Those that are coded, in order.
    words
        The codec of each, as it would be if it were stored.
    promised
        Names of tasks for which a codec, a target or a bound was asked: they are stored.

    Returns
    -------
    dict of str to Rule
        By name of a task that follows.
    """
    children = [task for task in tasks if task.is_map and task.name not in promised]
    parents = [task for task in tasks if task.is_map and decodes_alike(task, words[task.name])]
    if not children or not parents or len(tasks) < 2:
        return {}
    names = list(dict.fromkeys(task.name for task in (*children, *parents)))
    samples = _some(source, names)
    found = {child.name: find_rule(child, parents, samples) for child in children}
    return _chosen({name: rule for name, rule in found.items() if rule is not None})


def _chosen(found: Mapping[str, Rule]) -> dict[str, Rule]:
    """Choose among rules those that hold together: what others follow from is stored.

    Where two tasks follow from one another, the one that fewer others follow from is derived.
    """
    uses = Counter(name for rule in found.values() for name in rule.inputs)
    rules: dict[str, Rule] = {}
    for child in sorted(found, key=lambda name: uses[name]):
        stored = not any(child in rule.inputs for rule in rules.values())
        if stored and not any(name in rules for name in found[child].inputs):
            rules[child] = found[child]
    return {name: rules[name] for name in found if name in rules}


def decodes_alike(task: Task, word: str) -> bool:
    """Tell whether a codec gives the same integers on every machine, for each sample alone."""
    if word.endswith(FILE_SUFFIX) or word in (*NETWORKS, *OF_GROUPS):
        return False
    return word in LOSSLESS or word != "jxl" or task.kind is TaskKind.DEPTH


def _some(source: Source, names: Sequence[str]) -> list[Sample]:
    """Read samples spread over the source; those that cannot be read are told of later."""
    count = min(LOOKED_AT, len(source))
    found: list[Sample] = []
    for part in range(count):
        index = (2 * part + 1) * len(source) // (2 * count)
        try:
            found.append(read_sample(source, index, list(names)).arrays)
        except SampleError:
            continue
    return found
