"""A short probe: networks trained on a candidate's exemplars, tested on training images held out.

It is the only proxy that measures the goal itself. Rounds differ in network, fold held out and
choice of exemplars. The first has all candidates, a later one the best third of those before it,
and all comparisons are made within a round, so that the luck of one favours nobody.

What is judged is the loss on held-out images: a short run tells candidates apart by it far more
clearly than by accuracy. Even so, the noise of a few short runs is larger than what sets the best
apart. So with enough candidates the score is ``a + b (log N - beta D)``, of exemplars N and drift D
of their features, with ``a``, ``b`` and ``beta`` fitted to -log(loss) of all trials: what the drift
proxy must be told, the probe measures, and no candidate wins by its luck.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dsc._replay.learners.gdumb import GDumb
from dsc._replay.scenario.images import LabelledImages

KEPT = 3
"""Of so many candidates, one goes on to the next round."""
NEAR = 8
"""Candidates with fewer than the most exemplars over this are too far away to be fitted."""
FIT_FROM = 6
"""Fewest candidates near enough that are fitted; of fewer, each is judged by its own trials."""


@dataclass(frozen=True)
class Trial:
    """What one network of a candidate did with images held out.

    Attributes
    ----------
    candidate
        Its number.
    round
        From 0.
    loss
        Mean cross-entropy in nats.
    accuracy
        In percent.
    """

    candidate: int
    round: int
    loss: float
    accuracy: float


def tried(candidate: int, number: int, learner: GDumb, held: LabelledImages) -> Trial:
    """Test a network on images held out."""
    logits = learner.evaluate(held.images, learner.logits).astype(np.float64)
    top = logits.max(axis=1)
    log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    loss = float((log_sum - logits[np.arange(len(held)), held.labels]).mean())
    accuracy = 100 * float((logits.argmax(axis=1) == held.labels).mean())
    return Trial(candidate, number, loss, accuracy)


def survivors(scores: Mapping[int, float]) -> list[int]:
    """Return the candidates that go on: the best third, at least two where there are two."""
    best = sorted(scores, key=lambda one: -scores[one])
    return sorted(best[: max(2, len(best) // KEPT)])


def probe_scores(
    trials: Sequence[Trial], exemplars: Mapping[int, int], drifts: Mapping[int, float]
) -> dict[int, float]:
    """Return each candidate's score: -log of the loss expected of it in the first round.

    Parameters
    ----------
    trials
        All so far; the first round has every candidate once.
    exemplars, drifts
        By candidate; see `dsc._replay.selection.drift`.
    """
    own = {one: float(np.mean(values)) for one, values in _by_round(trials).items()}
    most = max(exemplars[one] for one in own)
    near = [one for one in own if exemplars[one] * NEAR >= most]
    if len(near) < FIT_FROM:
        return own
    gained = {one: values for one, values in _by_round(trials).items() if one in near}
    fitted = _fitted(gained, exemplars, drifts)
    lowest = min(fitted.values())
    return {one: fitted.get(one, min(value, lowest)) for one, value in own.items()}


def _by_round(trials: Sequence[Trial]) -> dict[int, list[float]]:
    """Return -log(loss) of each candidate's trials, each less what its round gave to all in it."""
    value = {(one.candidate, one.round): -np.log(max(one.loss, 1e-9)) for one in trials}
    found: dict[int, list[float]] = {}
    for number in sorted({one.round for one in trials}):
        of = [one.candidate for one in trials if one.round == number]
        luck = np.mean([value[one, number] - value[one, 0] for one in of])
        for one in of:
            found.setdefault(one, []).append(float(value[one, number] - luck))
    return found


def _fitted(
    gained: Mapping[int, Sequence[float]],
    exemplars: Mapping[int, int],
    drifts: Mapping[int, float],
) -> dict[int, float]:
    """Fit by least squares, a trial a row: more exemplars never harm, and drift never helps."""
    count = [len(values) for values in gained.values()]
    target = np.array([value for values in gained.values() for value in values])
    size = np.array([np.log(exemplars[one]) for one in gained])
    drift = np.array([drifts[one] for one in gained])
    columns = [np.ones_like(size), size, drift]
    for signed in (columns, columns[:2], [columns[0], drift], columns[:1]):
        matrix = np.stack(signed, axis=1)
        weights = np.linalg.lstsq(np.repeat(matrix, count, axis=0), target, rcond=None)[0]
        harm = [weight < 0 if column is size else weight > 0
                for column, weight in zip(signed[1:], weights[1:], strict=True)]  # fmt: skip
        if not any(harm):
            break
    return dict(zip(gained, (matrix @ weights).tolist(), strict=True))
