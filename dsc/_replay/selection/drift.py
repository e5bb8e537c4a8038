"""Feature drift: how far compression moves an image's features, against how many more fit.

``score = log N - beta * D`` with the mean drift ``D = mean ||f(x) - f(x_q)||^2 / ||f(x)||^2`` over
exemplars and features ``f`` before the head of a network trained on originals. ``beta`` says how
many e-folds of exemplars a drift of one is worth; no value of it is right for all data (see
docs/replay_select.md), and at 0 the score is the number of exemplars.
"""

import numpy as np

from dsc._replay.learners.base import Features

DEFAULT_BETA = 20.0
SAMPLE = 256
"""Exemplars that are compared."""


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
