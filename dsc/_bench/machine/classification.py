"""Classification: the frozen network's own answers, held to those to uncompressed pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dsc._bench.machine.network import Network
from dsc._bench.machine.pictures import UNKNOWN, Array
from dsc._bench.machine.seen import Seen


def answers(network: Network, seen: Seen) -> Array:
    """Return logarithms of the classifier's probabilities, float64 (N, classes)."""
    embeddings = network.embeddings(seen.values) if seen.has_maps else seen.values
    logits = network.logits(embeddings).astype(np.float64)
    top = logits.max(axis=1, keepdims=True)
    return np.asarray(logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))


def compare(reference: Array, found: Array, classes: Sequence[Any]) -> dict[str, float]:
    """Hold answers to those to uncompressed pictures.

    Parameters
    ----------
    reference, found
        Logarithms of probabilities (N, classes).
    classes
        The true class of each picture; `UNKNOWN` where it is not known. May be empty.

    Returns
    -------
    dict
        ``kl``: mean KL(reference ‖ found) in nats; ``agreement``: share of equal first answers;
        ``top1``: share of right ones, where any class is known.
    """
    divergence = (np.exp(reference) * (reference - found)).sum(axis=1)
    first = found.argmax(axis=1)
    values = {
        "kl": float(divergence.mean()),
        "agreement": float((first == reference.argmax(axis=1)).mean()),
    }
    truth = np.asarray(list(classes), np.int64)
    known = truth != UNKNOWN
    if known.any():
        values["top1"] = float((first[known] == truth[known]).mean())
    return values
