"""Several transforms, one after the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import numpy as np

from dsc._schemas.sample import Sample
from dsc._transforms.meaning import Meaning
from dsc._transforms.randomness import drawing
from dsc.errors import UsageError


@dataclass(frozen=True)
class Compose:
    """Several transforms, one after the other; with one, a transform for `dsc.stream`.

    Parameters
    ----------
    transforms
        Those of `dsc.transforms`, or functions of ``(sample)`` or ``(sample, rng)`` that return a
        dict. All draw from the one generator of the sample.
    meaning
        Of what the sample's tasks do not say, for those that have none of their own.
    """

    transforms: Sequence[Callable[..., Mapping[str, Any]]]
    meaning: Meaning | None = None

    def __post_init__(self) -> None:
        for transform in self.transforms:
            if not callable(transform):
                raise UsageError(f"Compose: {transform!r} is no transform")
            drawing(transform)
        members = tuple(_with_meaning(one, self.meaning) for one in self.transforms)
        object.__setattr__(self, "transforms", members)

    def __call__(self, sample: Mapping[str, Any], rng: np.random.Generator) -> Sample:
        """Return the transformed sample.

        Raises
        ------
        UsageError
            When a transform gives no dict, or refuses the sample.
        """
        whole = sample
        for transform in self.transforms:
            given: object = drawing(transform)(Sample.like(sample, whole), rng)
            if not isinstance(given, Mapping):
                raise UsageError(
                    f"Compose: {transform!r} gave {type(given).__name__}: it must return a dict of "
                    "arrays by name, such as sample | {'rgb': cropped}"
                )
            sample = given
        return Sample.like(sample, whole)


def _with_meaning(transform: Any, meaning: Meaning | None) -> Any:
    """Return a transform that knows what a name means."""
    knows = is_dataclass(transform) and hasattr(transform, "meaning")
    if meaning is None or not knows or transform.meaning is not None:
        return transform
    return replace(transform, meaning=meaning)
