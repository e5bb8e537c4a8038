"""The rule `mask_valid`: a map of two values that says where another map has any.

Taskonomy's and Omnidata's mask_valid is 255 where depth was measured and 0 elsewhere. The two
values are found, and which map has what the mask says.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from dsc._codecs.base import Array, Sample
from dsc._codecs.derived.evidence import (
    check_fit,
    check_own,
    complete,
    dtype_range,
    input_maps,
    is_count_map,
    read_param,
)
from dsc._codecs.derived.rule import Own
from dsc._schemas import Task, TaskKind

MEASURED = (TaskKind.DEPTH, TaskKind.DISPARITY, TaskKind.NORMAL)


class MaskValid:
    """One value where the input has a measurement, another where it has none."""

    id: ClassVar[str] = "mask_valid@1"
    own_count = 0

    def __init__(self, child: Task, measured: Task, there: int, nothing: int) -> None:
        self.inputs = (measured.name,)
        self._child, self._measured = child, measured
        self._there, self._nothing = there, nothing

    @classmethod
    def find(cls, child: Task, parents: Sequence[Task], samples: Sequence[Sample]) -> Self | None:
        """Find a map whose invalid pixels are those of one of the child's two values."""
        for kind in MEASURED:
            for parent in parents:
                if parent.kind is kind and _fits(child, parent):
                    found = _values(child.name, parent, complete(samples, child.name, parent.name))
                    if found is not None:
                        return cls(child, parent, *found)
        return None

    @classmethod
    def from_params(cls, child: Task, inputs: Sequence[Task], params: Mapping[str, int]) -> Self:
        """Make the rule that writes `there` and `nothing`."""
        fits = len(inputs) == 1 and inputs[0].kind in MEASURED and _fits(child, inputs[0])
        check_fit(cls.id, fits, child, inputs)
        most = dtype_range(child)
        values = (read_param(cls.id, params, name, 0, most) for name in ("there", "nothing"))
        return cls(child, inputs[0], *values)

    def params(self) -> dict[str, int]:
        """Return the two values."""
        return {"there": self._there, "nothing": self._nothing}

    def fit(self, child: Array, inputs: Mapping[str, Array]) -> Own:
        """Return nothing: samples have no parameters of their own."""
        del child, inputs
        return ()

    def derive(self, inputs: Mapping[str, Array], own: Own) -> Array:
        """Return the mask (H, W)."""
        check_own(own, self.own_count)
        (measured,) = input_maps(inputs, [self._measured])
        invalid = self._measured.invalid_mask(measured)
        return np.where(invalid, self._nothing, self._there).astype(self._child.dtype)


def _fits(child: Task, measured: Task) -> bool:
    return is_count_map(child) and bool(measured.invalid)


def _values(name: str, measured: Task, samples: Sequence[Sample]) -> tuple[int, int] | None:
    """Return the values where there is a measurement and where there is none.

    None where that is not so, or no sample has pixels of both kinds.
    """
    there, nothing, tells = set[int](), set[int](), False
    for sample in samples:
        mask = sample[name]
        least, most = int(mask.min()), int(mask.max())
        if not np.isin(mask, (least, most)).all():
            return None
        invalid = measured.invalid_mask(sample[measured.name])
        tells |= bool(invalid.any()) and not invalid.all()
        there.update(value for value in (least, most) if (mask[~invalid] == value).any())
        nothing.update(value for value in (least, most) if (mask[invalid] == value).any())
    if not tells or len(there) != 1 or len(nothing) != 1 or there == nothing:
        return None
    return there.pop(), nothing.pop()
