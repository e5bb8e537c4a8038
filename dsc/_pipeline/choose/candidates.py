"""Who takes part when codecs are chosen by trying: each codec with tasks that it can code together.

A candidate is a codec with one task, or for joint codecs every subset of those that it supports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from dsc._codecs.registry import distinct_codecs
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.codec_spec import (
    can_code,
    classical_codec,
    codec_id_of,
    default_codec,
    is_joint,
    takes,
)
from dsc._pipeline.choose.remembered import Memory
from dsc._schemas import Quality, Task, TaskKind
from dsc.errors import CodecError

# Those that encode quickly first, so that a search that ends early has seen most of them.
SLOW = (
    "normal-palette", "surfaces", "surfaces-scan", "independent", "shared-latent", "chained",
    "layered",
)  # fmt: skip
LOSSY = (TaskKind.IMAGE, TaskKind.DEPTH, TaskKind.NORMAL)


@dataclass(frozen=True)
class CodecCandidate:
    """A codec and the tasks that it is to code together.

    Attributes
    ----------
    word
        Registry id or codec file.
    bounded
        Names of those of its tasks whose error is to be bounded.
    """

    word: str
    tasks: tuple[Task, ...]
    bounded: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its tasks."""
        return tuple(task.name for task in self.tasks)

    @property
    def is_usual(self) -> bool:
        """Whether its one task is coded so where nobody chooses; others are compared with it."""
        (first, *others) = self.tasks
        return not others and self.word in (classical_codec(first), default_codec(first))

    @cached_property
    def is_joint(self) -> bool:
        """Whether its codec codes several tasks together."""
        return is_joint(self.word)

    def codecs(self, memory: Memory | None = None) -> CodecSet:
        """Make the codec.

        Raises
        ------
        CodecError
            When it cannot do what is wanted.
        """
        words = dict.fromkeys(self.names, self.word)
        if memory is None:
            return CodecSet.assigned(words, self.tasks, self.bounded)
        return CodecSet.assigned(words, self.tasks, self.bounded, make_codec=memory.make)


def list_candidates(
    tasks: Sequence[Task],
    quality: Quality,
    words: Sequence[str] | None = None,
    few: Mapping[str, Sequence[str]] | None = None,
) -> list[CodecCandidate]:
    """List every codec with every set of tasks that it can code together, the quick ones first.

    Parameters
    ----------
    words
        The codecs; None for all that are registered.
    few
        By name, tasks that only some codecs are tried on, each task alone.
    """
    few = {} if few is None else few
    rest = [task for task in tasks if task.name not in few]
    found = []
    for word in dict.fromkeys(distinct_codecs() if words is None else words):
        taken = takes(word, rest)
        most = len(taken) if is_joint(word) else 1
        groups = [group for size in range(1, most + 1) for group in combinations(taken, size)]
        found += [(word, group) for group in groups if len(group) == 1 or can_code(word, group)]
    alone = [(word, (task,)) for task in tasks for word in few.get(task.name, ())]
    found += [(word, group) for word, group in alone if can_code(word, group)]
    bounded = tuple(quality.max_error)
    candidates = [
        CodecCandidate(word, group, tuple(t.name for t in group if t.name in bounded))
        for word, group in found
    ]
    return sorted(filter(_can_be, candidates), key=_haste)


def is_lossy(task: Task) -> bool:
    """Tell whether a task may come back changed."""
    return task.kind in LOSSY and not task.is_exact


def _can_be(candidate: CodecCandidate) -> bool:
    try:
        candidate.codecs()
    except CodecError:
        return False
    return True


def _haste(candidate: CodecCandidate) -> tuple[bool, int, int]:
    """Order: the usual codecs, which say what is equal; the others; those that take their time.

    Of one codec the most tasks first: what they share is shared by all.
    """
    word = codec_id_of(candidate.word)
    slow = SLOW.index(word) + 1 if word in SLOW else 0
    return not candidate.is_usual, slow, -len(candidate.tasks)
