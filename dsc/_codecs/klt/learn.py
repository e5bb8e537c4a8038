"""Learns a model from feature maps: a transform of channels, scales of coefficients, chances.

Errors are measured in a metric of channels and frequencies. By default it is that of the features
themselves; where the rest of a network is known, it may be one of how much an error matters there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.klt.blocks import LONGEST, bands, to_coefficients
from dsc._codecs.klt.model import MIDDLE, MOST_CHANNELS, WEIGHT_ONE, Model, parted
from dsc._codecs.klt.steps import OCTAVE, ONE
from dsc._codecs.klt.tables import OFFSET, count, frequencies, no_counts

EACH = 4  # positions a channel that are enough to know how channels go together
COUNTED_AT = (1, 15, 30, 45, 60, 75, 90)  # qualities
FLOOR = 1e-6  # of a component's mean square, to the largest

Floats = NDArray[np.float64]


def can_learn(features: Sequence[NDArray[Any]]) -> bool:
    """Tell whether feature maps (C, h, w) are enough to learn from."""
    positions = sum(one[0].size for one in features)
    channels = len(features[0]) if features else 0
    return 0 < channels <= MOST_CHANNELS and EACH * channels <= positions


def learn(
    features: Sequence[NDArray[Any]], metric: Floats | None = None, weights: Floats | None = None
) -> Model:
    """Learn a model.

    Parameters
    ----------
    features
        Feature maps (C, h, w), of any sizes.
    metric
        (C, C) positive definite: how much errors of channels matter; None for the identity.
    weights
        (8, 8) how much an error in each band of frequencies matters, as a factor of amplitudes;
        None for 1.
    """
    mean = _mean(features)
    root = np.eye(len(mean)) if metric is None else _root(metric)
    vectors, deviation = _components(features, mean, root)
    steps = np.ones((LONGEST, LONGEST)) if weights is None else weights.mean() / weights
    synthesis = np.linalg.solve(root, vectors) * deviation
    exponent = 14 - int(np.frexp(np.abs(synthesis).max())[1])
    stored = np.rint(np.ldexp(synthesis, exponent)).astype(np.int16, order="C")
    bare = Model(
        np.full((len(mean), LONGEST, LONGEST), MIDDLE, np.uint8),
        np.maximum(np.rint(steps * WEIGHT_ONE), 1).astype(np.uint16),
        stored,
        mean.astype(np.float32),
        exponent,
        frequencies(no_counts()),
    )
    coefficients = [coefficients_of(bare, one) for one in features]
    scales = _scales(coefficients)
    scaled = Model(scales, bare.weights, stored, bare.mean, exponent, bare.sizes)
    return Model(scales, bare.weights, stored, bare.mean, exponent, _sizes(scaled, coefficients))


def coefficients_of(model: Model, features: NDArray[Any]) -> Floats:
    """Return the coefficients (C, h, w) of feature maps, in units of the model."""
    planes = features.astype(np.float64)
    if model.is_learnt:
        mean = 0.0 if model.mean is None else model.mean[:, None, None].astype(np.float64)
        flat = model.analysis @ (planes - mean).reshape(len(planes), -1)
        planes = flat.reshape(planes.shape)
    return to_coefficients(planes) / weights_at(model, planes.shape[1:])


def weights_at(model: Model, size: Sequence[int]) -> Floats:
    """Return the weight of each coefficient (h, w)."""
    down, along = (bands(side) for side in size)
    return model.weights[down[:, None], along] / WEIGHT_ONE


def _mean(features: Sequence[NDArray[Any]]) -> Floats:
    sums = sum(one.astype(np.float64).sum((1, 2)) for one in features)
    return np.asarray(sums / sum(one[0].size for one in features))


def _root(metric: Floats) -> Floats:
    values, vectors = np.linalg.eigh(metric)
    found: Floats = (vectors * np.sqrt(values)) @ vectors.T
    return found


def _components(
    features: Sequence[NDArray[Any]], mean: Floats, root: Floats
) -> tuple[Floats, float]:
    """Return principal components (C, C), a column each, and the root mean square of all."""
    covariance = np.zeros((len(mean), len(mean)))
    for one in features:
        flat = root @ (one.astype(np.float64).reshape(len(mean), -1) - mean[:, None])
        covariance += flat @ flat.T
    covariance /= sum(one[0].size for one in features)
    values, vectors = np.linalg.eigh(covariance)
    # signs are no matter, but the same everywhere
    vectors = vectors[:, ::-1] * np.sign(vectors[:, ::-1].sum(axis=0) + np.finfo(float).tiny)
    return vectors, float(np.sqrt(max(values.mean(), np.finfo(float).tiny)))


def _scales(coefficients: Sequence[Floats]) -> NDArray[np.uint8]:
    """Return scales by component and bands; bands that no map has are as those beside."""
    channels = len(coefficients[0])
    power = np.zeros((channels, LONGEST, LONGEST))
    seen = np.zeros((LONGEST, LONGEST))
    for one in coefficients:
        down, along = (np.eye(LONGEST)[bands(side)] for side in one.shape[1:])
        power += down.T @ one**2 @ along
        seen += np.outer(down.sum(axis=0), along.sum(axis=0))
    there = seen > 0
    known = [np.flatnonzero(there.any(axis=axis)) for axis in (1, 0)]
    nearest = [own[np.abs(np.arange(LONGEST)[:, None] - own).argmin(axis=1)] for own in known]
    mean = power[:, nearest[0][:, None], nearest[1]] / seen[nearest[0][:, None], nearest[1]]
    mean = np.maximum(mean, FLOOR * mean.max())
    levels = np.rint(OCTAVE / 2 * np.log2(np.maximum(mean, np.finfo(float).tiny)))
    found: NDArray[np.uint8] = np.clip(levels + MIDDLE, 0, 255).astype(np.uint8)
    return found


def _sizes(model: Model, coefficients: Sequence[Floats]) -> NDArray[np.uint16]:
    """Count the sizes of coefficients by class, at several qualities."""
    counts = no_counts()
    for quality in COUNTED_AT:
        for one in coefficients:
            size = (one.shape[1], one.shape[2])
            tables, low_bits = parted(model.classes(size, quality, 0))
            width = model.steps(size, quality) / (ONE * weights_at(model, size))
            sizes = np.floor(np.abs(one) / width + OFFSET).astype(np.int64)
            coded = (tables >= 0) & (low_bits == 0)
            count(counts, sizes[coded], tables[coded])
    return frequencies(counts)
