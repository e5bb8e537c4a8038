"""Feature volume (MRDC, Wang et al., ICLR 2022): exemplars as diverse as their originals.

The volume that features of unit length span is taken from the coding rate ``v = 1/2 logdet(I + d /
(N e^2) F^T F)``, which is defined for more exemplars than features, and never leaves the range of
floats as a determinant does. ``R = exp(v_q - v*_q)``, v the mean over classes, compares a
candidate's exemplars with the same images before compression. MRDC's rule takes the candidate with
the most exemplars among those with ``|R - 1| < epsilon``.

On CIFAR-100 and Tiny-ImageNet the ratio told next to nothing that the number of exemplars did not:
rank correlations of 0.84, 0.95 and 0.48 with the accuracy reached, where the number alone had 0.91,
0.95 and 0.48 (docs/replay_select.md).
"""

import numpy as np
from numpy.typing import NDArray

from dsc._replay.learners.base import Features
from dsc._replay.scenario.images import Labels

DEFAULT_EPSILON = 0.5
DISTORTION = 0.5
"""e of the coding rate: what lies closer than this counts as one, on the unit sphere."""


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
