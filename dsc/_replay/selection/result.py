"""What a selection gives back: the pick, and all that was found out about each candidate."""

from collections.abc import Mapping
from dataclasses import dataclass

from dsc._replay.selection.candidates import CodecCandidate
from dsc._replay.selection.cost import Cost


@dataclass(frozen=True)
class ScoredCandidate:
    """A candidate and what was found out about it.

    Attributes
    ----------
    exemplars, nbytes
        Of the first increment's classes in their part of the budget; `nbytes` counts the index.
    fits
        Whether each class has an exemplar; else there are no scores.
    drift, volume_ratio, accuracy
        As the proxies found them; None for those not asked for. The accuracy is the probe's, in
        percent of the images held out, among the first increment's classes.
    scores
        By proxy; the higher, the better.
    ranks
        By proxy, from 1.
    """

    candidate: CodecCandidate
    exemplars: int
    nbytes: int
    fits: bool
    drift: float | None
    volume_ratio: float | None
    accuracy: float | None
    scores: Mapping[str, float]
    ranks: Mapping[str, int]


@dataclass(frozen=True)
class CodecSelection:
    """What was selected.

    Attributes
    ----------
    pick
        The best candidate by the first proxy.
    picks
        The best one by each proxy.
    budget, classes
        Bytes and classes of the whole scenario.
    first_classes, first_budget
        Classes that were given, and their part of the budget.
    rows
        All candidates, in the order given.
    costs
        By proxy, what it costs by itself; stages that several need count for each.
    total
        What this selection cost.
    """

    pick: CodecCandidate
    picks: Mapping[str, CodecCandidate]
    budget: int
    classes: int
    first_classes: int
    first_budget: int
    rows: tuple[ScoredCandidate, ...]
    costs: Mapping[str, Cost]
    total: Cost
