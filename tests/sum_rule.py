"""A rule that is easy to see through, with which the way of derived tasks is tested."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from dsc._codecs.base import Array, Sample
from dsc._schemas import Task
from dsc.errors import BitstreamError

ID, PLAIN_ID = "sum@1", "plain_sum@1"
WHERE, PLAIN_WHERE = "tests.sum_rule:SumRule", "tests.sum_rule:PlainSumRule"


class SumRule:
    """A uint16 map that is ``factor`` times the sum of an image's channels, plus a number a sample.

    The number is the difference of the first pixel.
    """

    id: ClassVar[str] = ID
    own_count: ClassVar[int] = 1

    def __init__(self, name: str, factor: int) -> None:
        self.inputs, self.factor = (name,), factor

    @classmethod
    def find(cls, child: Task, parents: Sequence[Task], samples: Sequence[Sample]) -> Self | None:
        images = [task for task in parents if task.channels == 3 and task.dtype == "uint8"]
        for task in images if child.dtype == "uint16" and child.channels == 1 else ():
            rule = cls(task.name, 7)
            both = [one for one in samples if child.name in one and task.name in one]
            if both and all(rule._gives(one[child.name], one) for one in both):
                return rule
        return None

    def _gives(self, child: Array, inputs: Mapping[str, Array]) -> bool:
        return np.array_equal(child, self.derive(inputs, self.fit(child, inputs)))

    @classmethod
    def from_params(cls, child: Task, inputs: Sequence[Task], params: Mapping[str, int]) -> Self:
        return cls(inputs[0].name, params["factor"])

    def params(self) -> dict[str, int]:
        return {"factor": self.factor}

    def fit(self, child: Array, inputs: Mapping[str, Array]) -> tuple[int, ...]:
        return (max(int(child[0, 0]) - int(self._sum(inputs)[0, 0]), 0),)

    def derive(self, inputs: Mapping[str, Array], own: tuple[int, ...]) -> Array:
        if len(own) != self.own_count:
            raise BitstreamError(f"{len(own)} parameters")
        return (self._sum(inputs) + sum(own)).astype(np.uint16)

    def _sum(self, inputs: Mapping[str, Array]) -> Array:
        image = inputs[self.inputs[0]]
        if image.ndim != 3:
            raise BitstreamError(f"an image of shape {image.shape}")
        return self.factor * image.astype(np.uint16).sum(-1)


class PlainSumRule(SumRule):
    """The same without a number a sample: its payloads are empty."""

    id: ClassVar[str] = PLAIN_ID
    own_count: ClassVar[int] = 0

    def fit(self, child: Array, inputs: Mapping[str, Array]) -> tuple[int, ...]:
        """Return nothing."""
        return ()


def image(n: int) -> Array:
    """Draw an image (32, 48, 3) of flat squares."""
    rng = np.random.default_rng(n)
    return np.repeat(np.repeat(rng.integers(30, 220, (4, 6, 3)), 8, 0), 8, 1).astype(np.uint8)


def child(n: int) -> Array:
    """Return what follows from `image` by `PlainSumRule`."""
    return (7 * image(n).astype(np.uint16).sum(-1)).astype(np.uint16)
