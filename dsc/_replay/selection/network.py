"""Trains the small networks of a selection, exactly as GDumb trains its own.

The first network sees the originals: its features say what compression does to an image.
"""

import numpy as np

from dsc._replay.learners.base import Recipe
from dsc._replay.learners.gdumb import GDumb
from dsc._replay.learners.memory import ExemplarMemory
from dsc._replay.scenario.images import LabelledImages
from dsc._replay.scenario.scenario import Increment
from dsc._replay.selection.candidates import CodecCandidate, PackedExemplars

DEFAULT_RECIPE = Recipe(network="resnet8-early", steps=150, batch=32, lr=0.1)


def trained(
    exemplars: ExemplarMemory, data: LabelledImages, recipe: Recipe, seed: int, device: str
) -> GDumb:
    """Train a network on exemplars alone.

    Parameters
    ----------
    data
        The images they were taken from: it tells classes and sizes.
    """
    side = min(data.images.shape[1:3])
    learner = GDumb(len(data.classes), side, recipe, seed, device)
    none = np.zeros(0, np.int64)
    increment = Increment(0, data.images[:0], none, none, 0, len(data.classes))
    learner.begin(increment, exemplars)
    learner.start()
    for number in range(learner.epochs()):
        learner.epoch(number)
    return learner


def originals(data: LabelledImages) -> PackedExemplars:
    """Return all images as exemplars that cost nothing."""
    rows = np.arange(len(data))
    return PackedExemplars(CodecCandidate("raw", 50), data.images, data.labels, rows, 0, True)
