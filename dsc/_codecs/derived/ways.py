"""Tasks that follow in several ways: by one rule, with parameters that parts of a set do not share.

Sets are put together of others. Omnidata's edges have a Gaussian of 3 pixels in the scenes of
Taskonomy, and of half a pixel in those of HM3D. So a rule that does not hold on all samples with
the same parameters is looked for on some of them: each way is what holds together, and each sample
says which one is its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Self, overload

import numpy as np

from dsc._codecs.base import Array, Sample
from dsc._codecs.derived.evidence import check_own
from dsc._codecs.derived.rule import Own, Rule
from dsc._schemas import Task
from dsc.errors import BitstreamError, CodecError

MOST = 4  # ways
SCOUTED = 3  # samples of which one has to follow by itself, for others to be looked at
COVERED = 0.5  # of the samples that have the child: the least share that ways explain

Params = Mapping[str, int] | Sequence[Mapping[str, int]]
"""The parameters of a rule, or of each way."""


class Ways:
    """Rules of one id and the same inputs, of which each sample follows by one.

    Does what `Rule` says of a rule that is found. A sample's first own parameter is the place of
    its way, the next are those that its rule wants, and zeros fill up.

    Parameters
    ----------
    rules
        Two to `MOST`.

    Raises
    ------
    CodecError
        When they are fewer or more, or their ids or inputs differ.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        if not 2 <= len(rules) <= MOST or len({(rule.id, rule.inputs) for rule in rules}) > 1:
            raise CodecError(f"{len(rules)} ways of {sorted({rule.id for rule in rules})} are none")
        self.rules = tuple(rules)
        self.id, self.inputs = rules[0].id, rules[0].inputs
        self.own_count = 1 + max(rule.own_count for rule in rules)

    @classmethod
    def from_params(
        cls, rule: type[Rule], child: Task, inputs: Sequence[Task], params: Sequence[object]
    ) -> Self:
        """Make the ways of a rule that an archive describes.

        Raises
        ------
        CodecError
            When there are no such ways.
        """
        if not all(isinstance(one, Mapping) for one in params):
            raise CodecError(f"rule {rule.id}: {params!r} are no parameters of ways")
        return cls([rule.from_params(child, inputs, dict(one)) for one in params])  # type: ignore[call-overload]

    def params(self) -> list[dict[str, int]]:
        """Return the parameters of each way, for the archive's JSON."""
        return [rule.params() for rule in self.rules]

    def fit(self, child: Array, inputs: Mapping[str, Array]) -> Own:
        """Find a sample's way, the one that comes nearest, and the parameters that it wants."""
        found = [(rule, rule.fit(child, inputs)) for rule in self.rules]
        off = [_distance(child, rule.derive(inputs, own)) for rule, own in found]
        way = off.index(min(off))
        own = (way, *found[way][1])
        return own + (0,) * (self.own_count - len(own))

    def derive(self, inputs: Mapping[str, Array], own: Own) -> Array:
        """Compute the child by a sample's way; see `Rule.derive`."""
        check_own(own, self.own_count)
        if own[0] >= len(self.rules):
            raise BitstreamError(f"way {own[0]}, where there are {len(self.rules)}")
        rule = self.rules[own[0]]
        return rule.derive(inputs, own[1 : 1 + rule.own_count])


FoundRule = Rule | Ways
"""By what a task follows."""


class LookedAt(Sequence[Sample]):
    """Samples that know whether any of them was looked at: a rule for other tasks looks at none."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples, self.any = samples, False

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._samples)

    @overload
    def __getitem__(self, item: int) -> Sample: ...
    @overload
    def __getitem__(self, item: slice) -> Sequence[Sample]: ...
    def __getitem__(self, item: int | slice) -> Sample | Sequence[Sample]:
        """Return one sample, or several."""
        self.any = True
        return self._samples[item]


def find_ways(
    rule: type[Rule], child: Task, parents: Sequence[Task], samples: Sequence[Sample]
) -> FoundRule | None:
    """Find the ways in which a task follows by a rule that does not hold on all samples alike.

    Returns
    -------
    FoundRule | None
        A rule where one way is all there is, which other samples do not follow; None where fewer
        than half of the samples that have the child follow.
    """
    parts: list[tuple[Rule, list[Sample]]] = []
    seen = 0
    for sample in samples:
        if child.name not in sample:
            continue
        if seen == SCOUTED and not parts:
            return None
        seen += 1
        _put(rule, child, parents, parts, sample)
    parts.sort(key=lambda part: -len(part[1]))
    kept = [part for part in parts if part[0].inputs == parts[0][0].inputs][:MOST]
    if sum(len(own) for _, own in kept) < max(COVERED * seen, 1):
        return None
    rules = [found for found, _ in kept]
    return rules[0] if len(rules) == 1 else Ways(rules)


def _put(
    rule: type[Rule],
    child: Task,
    parents: Iterable[Task],
    parts: list[tuple[Rule, list[Sample]]],
    sample: Sample,
) -> None:
    """Add a sample to the first part that it follows together with, or to one of its own."""
    for place, (known, own) in enumerate(parts):
        inputs = [task for task in parents if task.name in known.inputs]
        found = rule.find(child, inputs, [*own, sample])
        if found is not None and found.inputs == known.inputs:
            parts[place] = (found, [*own, sample])
            return
    alone = rule.find(child, list(parents), [sample])
    if alone is not None:
        parts.append((alone, [sample]))


def _distance(child: Array, derived: Array) -> float:
    if child.shape != derived.shape:
        return float("inf")
    return float(np.abs(child.astype(np.float64) - derived.astype(np.float64)).mean())
