"""What a selection returns: the pick, what was found out about each candidate, and the cost."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from dsc._replay.buffer.kept import ExemplarCodec


@dataclass(frozen=True)
class Cost:
    """What a part of a selection costs; all are sums.

    Attributes
    ----------
    wall_s, cpu_s
        Seconds on the clock, and of all threads of this process.
    encoded
        Images that were encoded, at least: what could not stay is mostly not encoded.
    forward
        Images that went through a network to be looked at.
    trained
        Images that went through a network in training, forward and backward.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    encoded: int = 0
    forward: int = 0
    trained: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            self.encoded + other.encoded,
            self.forward + other.forward,
            self.trained + other.trained,
        )


class Meter:
    """Adds up what each stage costs."""

    def __init__(self) -> None:
        self.stages: dict[str, Cost] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block for a stage."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._add(name, Cost(time.perf_counter() - wall, time.process_time() - cpu))

    def count(self, name: str, *, encoded: int = 0, forward: int = 0, trained: int = 0) -> None:
        """Count images for a stage."""
        self._add(name, Cost(encoded=encoded, forward=forward, trained=trained))

    def total(self, names: tuple[str, ...]) -> Cost:
        """Return the sum over some stages."""
        return sum((self.stages.get(name, Cost()) for name in names), Cost())

    def _add(self, name: str, cost: Cost) -> None:
        self.stages[name] = self.stages.get(name, Cost()) + cost


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

    candidate: ExemplarCodec
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

    pick: ExemplarCodec
    picks: Mapping[str, ExemplarCodec]
    budget: int
    classes: int
    first_classes: int
    first_budget: int
    rows: tuple[ScoredCandidate, ...]
    costs: Mapping[str, Cost]
    total: Cost
