"""The proxies of a selection: what is measured of a candidate, and the score that follows.

*Feature drift*: how far compression moves an image's features, against how many more fit.
``score = log N - beta * D`` with the mean drift ``D = mean ||f(x) - f(x_q)||^2 / ||f(x)||^2`` over
exemplars and features ``f`` before the head of a network trained on originals. ``beta`` says how
many e-folds of exemplars a drift of one is worth; no value of it is right for all data (see
docs/replay_select.md), and at 0 the score is the number of exemplars.

*Feature volume* (MRDC, Wang et al., ICLR 2022): exemplars as diverse as their originals. The volume
that features of unit length span is taken from the coding rate ``v = 1/2 logdet(I + d / (N e^2) F^T
F)``, which is defined for more exemplars than features, and never leaves the range of floats as a
determinant does. ``R = exp(v_q - v*_q)``, v the mean over classes, compares a candidate's exemplars
with the same images before compression. MRDC's rule takes the candidate with the most exemplars
among those with ``|R - 1| < epsilon``. On CIFAR-100 and Tiny-ImageNet the ratio told next to
nothing that the number of exemplars did not: rank correlations of 0.84, 0.95 and 0.48 with the
accuracy reached, where the number alone had 0.91, 0.95 and 0.48 (docs/replay_select.md).

*A short probe*: networks trained on a candidate's exemplars, tested on training images held out.
It is the only proxy that measures the goal itself. Rounds differ in network, fold held out and
choice of exemplars. The first has all candidates, a later one the best third of those before it,
and all comparisons are made within a round, so that the luck of one favours nobody. What is judged
is the loss on held-out images: a short run tells candidates apart by it far more clearly than by
accuracy. Even so, the noise of a few short runs is larger than what sets the best apart. So with
enough candidates the score is ``a + b (log N - beta D)``, of exemplars N and drift D of their
features, with ``a``, ``b`` and ``beta`` fitted to -log(loss) of all trials: what the drift proxy
must be told, the probe measures, and no candidate wins by its luck.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._replay.learners.base import Features
from dsc._replay.learners.gdumb import GDumb
from dsc._replay.learners.views.base import Rows
from dsc._replay.scenario.images import Labels

DEFAULT_BETA = 20.0
FROZEN_BETA = 2.0
"""Of a head on a frozen backbone, which needs examples more than it needs them exact."""
DRIFT_SAMPLE = 256
"""Exemplars whose features are compared."""
DEFAULT_EPSILON = 0.5
DISTORTION = 0.5
"""e of the coding rate: what lies closer than this counts as one, on the unit sphere."""
KEPT = 3
"""Of so many candidates, one goes on to the next round."""
NEAR = 8
"""Candidates with fewer than the most exemplars over this are too far away to be fitted."""
FIT_FROM = 6
"""Fewest candidates near enough that are fitted; of fewer, each is judged by its own trials."""


def drift(originals: Features, decoded: Features) -> float:
    """Return the mean relative squared distance D of features, at least 0.

    Parameters
    ----------
    originals, decoded
        (N, D) features of the same N images.
    """
    moved = ((originals - decoded) ** 2).sum(axis=1, dtype=np.float64)
    length = (originals**2).sum(axis=1, dtype=np.float64)
    return float((moved / np.maximum(length, 1e-12)).mean())


def drift_score(exemplars: int, moved: float, beta: float = DEFAULT_BETA) -> float:
    """Return ``log N - beta * D``, in nats."""
    return float(np.log(exemplars) - beta * moved)


def volume_ratio(originals: Features, decoded: Features, labels: Labels) -> float:
    """Return R of exemplars, 1 where compression changes nothing.

    Parameters
    ----------
    originals, decoded
        (N, D) features of the same N images.
    labels
        (N,).
    """
    classes = [labels == label for label in np.unique(labels)]
    differences = [coding_rate(decoded[of]) - coding_rate(originals[of]) for of in classes]
    return float(np.exp(np.mean(differences)))


def coding_rate(features: Features, distortion: float = DISTORTION) -> float:
    """Return 1/2 logdet(I + d / (N e^2) F^T F) in nats, of features scaled to unit length."""
    unit: NDArray[np.float64] = np.asarray(features, np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    count, size = unit.shape
    gram = unit.T @ unit if count > size else unit @ unit.T  # equal determinants, the smaller one
    scale = size / (count * distortion**2)
    return float(np.linalg.slogdet(np.eye(len(gram)) + scale * gram)[1] / 2)


def volume_score(exemplars: int, ratio: float, epsilon: float = DEFAULT_EPSILON) -> float:
    """Rank as MRDC's rule does: within epsilon by log N; beyond, below all those, by |R - 1|."""
    apart = abs(ratio - 1)
    return float(np.log(exemplars)) if apart < epsilon else -apart


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


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """What a learner is shown of pictures: rows (N, ...), and labels (N,)."""

    images: Rows
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Labels) -> "LabelledRows":
        """Return some of them."""
        return LabelledRows(self.images[rows], self.labels[rows])


def tried(candidate: int, number: int, learner: GDumb, held: LabelledRows) -> Trial:
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
        By candidate; see `drift`.
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
