"""A race of candidates: tried on few pixels first, on more only while they may still win.

The first stage is a crop of one sample, or as many small samples as have its pixels; then come one
sample, two, four ... After each stage a candidate is out when it is beaten by the cheapest way to
code its tasks, even if what was measured of it is put at the lower end of what more samples may
show (`is_beaten`). The race is over when nothing is left that could be more than `CLOSE` cheaper,
or all samples were used, or the time is over: then the last whole stage counts.

Nothing goes by how fast a codec is, so the same question has the same answer, unless time is over.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dsc._pipeline.choose.candidates import CodecCandidate
from dsc._pipeline.choose.probe import Probe
from dsc._pipeline.choose.remembered import Budget, Memory, OutOfTimeError
from dsc._pipeline.choose.trial import Entry, References, Tried
from dsc._schemas.choice import Trial
from dsc.errors import BitstreamError, CodecError, UsageError

CLOSE = 0.01  # that a choice may be above the cheapest
SPREAD, WEIGHT = 0.06, 1.0  # of log bytes from sample to sample, and samples that that counts as
CROP_SPREAD = 0.1  # of log bytes between a crop and its sample
SIGMAS = 2.0
USUAL_SAMPLES, FEWEST = 2, 4  # that a choice of the usual codecs, or of others, rests on
NEAR = 0.05  # above the cheapest; those within are compared at the very smallest qualities
UNTRIED = "not tried, the time was over (--auto-minutes)"

TrialProgress = Callable[[int, int, float], None]
"""Called with (candidates tried, candidates to be tried as far as known, seconds left at most)."""


@dataclass
class Race:
    """Finds the candidates that together code all tasks in the fewest bytes.

    Parameters
    ----------
    probe
        What they are tried on.
    dataset
        Samples of the dataset: a codec file is held once for all of them.
    budget
        When the race has to end.
    report
        Is told how far it is.
    is_quick
        Whether crops are enough where they leave no doubt.
    """

    probe: Probe
    dataset: int
    candidates: Sequence[CodecCandidate]
    budget: Budget
    report: TrialProgress | None = None
    is_quick: bool = False
    memory: Memory = field(default_factory=Memory)
    refused: dict[str, str] = field(default_factory=dict)
    is_cut_short: bool = False
    stage: int = 0
    _last: dict[CodecCandidate, Entry] = field(default_factory=dict)
    _done: int = 0

    @cached_property
    def references(self) -> References:
        """The distortions that are equal."""
        return References(self.probe, self.memory)

    def run(self) -> list[Trial]:
        """Return the trials that together cover all tasks in the fewest bytes.

        Raises
        ------
        UsageError
            When there is a task that no candidate can code as asked.
        """
        live = [Tried(one, self.probe, self.references, self.memory) for one in self.candidates]
        entries: list[Entry] = []
        for stage in self.probe.stages:
            found, live = self._try_all(live, stage, bool(entries))
            if found is None:
                break
            entries, self.stage = found, stage
            live = self._left(live, entries)
            if self._is_over(entries, live):
                break
        entries = [entry for entry in entries if entry.candidate in self._last]  # none is refused
        best = self._best(entries)
        if best is None:
            raise self._nobody()
        best = self._settled(best, entries, live)
        return [entry.trial for entry in best]

    def trials(self) -> list[Trial]:
        """Return what was measured last of each, those of the same tasks together."""
        order = sorted(
            self._last.values(), key=lambda e: (len(e.trial.tasks), e.trial.tasks, self.cost(e))
        )
        return [entry.trial for entry in order]

    def _try_all(
        self, live: list[Tried], stage: int, may_stop: bool
    ) -> tuple[list[Entry] | None, list[Tried]]:
        """Measure on one stage; None when the time was over and an earlier stage can be had."""
        pieces, entries, kept = self.probe.pieces(stage), [], []
        for at, tried in enumerate(live):
            # the usual codecs are always measured: somebody has to code each task
            usual = tried.candidate.is_usual and not may_stop
            self.memory.budget = None if usual else self.budget
            try:
                entry = tried.measure(pieces, is_crop=not stage)
            except OutOfTimeError:
                self.is_cut_short = True
                if may_stop:
                    return None, live
                self.refused[named(tried.candidate)] = UNTRIED
                continue
            except (CodecError, BitstreamError) as error:
                self._refuse(tried.candidate, error)
                continue
            finally:
                self._tell(len(live) - at - 1)
            entries.append(entry)
            kept.append(tried)
        self._last |= {entry.candidate: entry for entry in entries}  # of whole stages only
        return entries, kept

    def _left(self, live: list[Tried], entries: list[Entry]) -> list[Tried]:
        """Return those that are not beaten, and the usual codecs, which others are held to."""
        kept = []
        for tried, entry in zip(live, entries, strict=True):
            best = self.cover(entries, entry.trial.tasks)
            if tried.candidate.is_usual or best is None or not self._is_beaten(entry, best):
                kept.append(tried)
        return kept

    def _is_beaten(self, entry: Entry, best: Sequence[Entry]) -> bool:
        own = self._piece_costs(entry)
        theirs = np.sum([self._piece_costs(one) for one in best], axis=0)
        there = (own > 0) & (theirs > 0)
        ratios = np.log(own[there] / theirs[there])
        return any(one is not entry for one in best) and is_beaten(ratios, entry.trial.is_crop)

    def _is_over(self, entries: Sequence[Entry], live: Sequence[Tried]) -> bool:
        """Tell whether a choice is clear: all that are left are usual, or as cheap as the best."""
        most = self.probe.spread.most
        best = self._best(entries)
        if best is None:
            return True
        chosen = {entry.candidate for entry in best}
        others = [entry for entry in entries if entry.candidate not in chosen]
        left = {tried.candidate for tried in live if not tried.candidate.is_usual}
        if not left - chosen and (self.is_quick or not left):
            return self.is_quick or self.stage >= min(USUAL_SAMPLES, most)
        if self.stage < min(USUAL_SAMPLES if self.is_quick else FEWEST, most):
            return False
        if self.is_quick:
            return True
        return all(self._is_close(one, entries) for one in others if one.candidate in left)

    def _is_close(self, entry: Entry, entries: Sequence[Entry], share: float = CLOSE) -> bool:
        best = self.cover(entries, entry.trial.tasks)
        return best is not None and self.cost(entry) <= (1 + share) * sum(map(self.cost, best))

    def _settled(self, best: list[Entry], entries: list[Entry], live: list[Tried]) -> list[Entry]:
        """Measure those that contend for the choice at the smallest qualities; choose anew."""
        pieces = self.probe.pieces(self.stage)
        found = {entry.candidate: entry for entry in entries}
        self.memory.budget = self.budget
        for tried in live:
            entry = found.get(tried.candidate)
            if entry is None or not entry.is_rough or not self._is_close(entry, entries, NEAR):
                continue
            try:
                entry = tried.measure(pieces, is_crop=not self.stage, exactly=True)
            except OutOfTimeError:
                self.is_cut_short = True
                break
            found[tried.candidate] = self._last[tried.candidate] = entry
        return self._best(list(found.values())) or best

    def _best(self, entries: Sequence[Entry]) -> list[Entry] | None:
        return self.cover(entries, [task.name for task in self.probe.tasks])

    def cover(self, entries: Sequence[Entry], tasks: Sequence[str]) -> list[Entry] | None:
        """Return the cheapest entries that cover each task once; a joint codec is used once."""
        return _cheapest_cover(sorted(entries, key=self.cost), frozenset(tasks), self.cost)

    def cost(self, entry: Entry) -> float:
        return float(self._piece_costs(entry).mean())

    def _piece_costs(self, entry: Entry) -> NDArray[np.float64]:
        """Return the bytes of each piece, with its share of the codec's file."""
        share = entry.trial.weights_bytes / self.dataset
        return entry.piece_bytes * entry.equal + share

    def _refuse(self, candidate: CodecCandidate, error: Exception) -> None:
        self._last.pop(candidate, None)
        self.refused[named(candidate)] = str(error).partition(";")[0]

    def _tell(self, more: int) -> None:
        self._done += 1
        if self.report is not None:
            self.report(self._done, self._done + more, self.budget.left_s)

    def _nobody(self) -> UsageError:
        why = "\n".join(f"  {name}: {text}" for name, text in self.refused.items())
        return UsageError(f"--codec auto: no codec does what is asked for every task:\n{why}")


def is_beaten(ratios: NDArray[np.float64], is_crop: bool) -> bool:
    """Tell whether a candidate is out: even what speaks for it most makes it hardly cheaper.

    Parameters
    ----------
    ratios
        By piece, the logarithm of its bytes to those of the best.
    is_crop
        Whether the pieces are crops, of which whole samples may differ.
    """
    count = len(ratios)
    if not count:
        return False
    mean = float(ratios.mean())
    squares = float(((ratios - mean) ** 2).sum()) + WEIGHT * SPREAD**2
    error = (squares / (count - 1 + WEIGHT) / count) ** 0.5
    if is_crop:
        error = float(np.hypot(error, CROP_SPREAD))
    return mean > 0 and mean - SIGMAS * error > -CLOSE


def named(candidate: CodecCandidate) -> str:
    """Name a candidate, for people."""
    return f"{' + '.join(candidate.names)} by {candidate.word}"


def _cheapest_cover(
    entries: Sequence[Entry],
    tasks: frozenset[str],
    cost: Callable[[Entry], float],
    used: frozenset[str] = frozenset(),
) -> list[Entry] | None:
    if not tasks:
        return []
    first = min(tasks)
    best: list[Entry] | None = None
    for entry in entries:
        own, word = frozenset(entry.trial.tasks), entry.candidate.word
        joint = entry.candidate.is_joint
        if first not in own or not own <= tasks or (joint and word in used):
            continue
        more = used | {word} if joint else used
        rest = _cheapest_cover(entries, tasks - own, cost, more)
        if rest is not None:
            found = [entry, *rest]
            if best is None or sum(map(cost, found)) < sum(map(cost, best)):
                best = found
    return best
