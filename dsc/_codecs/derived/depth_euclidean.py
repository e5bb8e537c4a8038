"""The rules `depth_euclidean` and `depth_zbuffer`: distance from the camera, and along its axis.

A point at depth z along the axis of a pinhole camera is z · sqrt(x² + y² + 1) away from it, where
(x, y, 1) is the ray of its pixel (`dsc._codecs.derived.camera`). The field of view is found for
each sample, so well that hardly a value is rounded otherwise, and so is how many counts of the
child one of the parent is, for the two may have other units. Of Omnidata's annotator, commit
96f5a09d864f; its maps come out within one count.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import ClassVar, Self

import numpy as np

from dsc._codecs.base import Array, Sample
from dsc._codecs.derived.camera import (
    MANTISSA,
    PART_BITS,
    TANGENT_BITS,
    Int64,
    longest,
    offsets,
    squares,
    view_of,
    widest,
)
from dsc._codecs.derived.evidence import (
    check_fit,
    check_own,
    complete,
    dtype_range,
    input_maps,
    is_count_map,
    most_frequent,
    read_param,
    share_within,
    thinned,
)
from dsc._codecs.derived.rule import Own
from dsc._schemas import Task, TaskKind

SCALE_BITS = 24
MOST_STRETCH = 32  # counts of distance for one of depth: more would leave rays no room
LEAST_STRETCH = Fraction(1, 4096)
LEAST_BITS, MOST_BITS = 20, 25  # of a ray's length
WITHIN, SHARE = 1, 0.99  # of a sample's pixels that have to be within a count
LOOKED_AT = 1 << 13  # pixels that a field of view is found by
SPREAD = 8  # counts between the least and the most of a map that is evidence


class _Distance(ABC):
    """What both ways have in common: `scale` counts of the child, in 2^-24, are one of the parent.

    Where the input has no value the child has `nothing`.
    """

    id: ClassVar[str]
    own_count = 2

    def __init__(self, child: Task, parent: Task, scale: int, nothing: int) -> None:
        self.inputs = (parent.name,)
        self._child, self._parent = child, parent
        self._scale, self._nothing = scale, nothing

    @classmethod
    def find(cls, child: Task, parents: Sequence[Task], samples: Sequence[Sample]) -> Self | None:
        """Find a map of depth that the child follows from, in the unit of either or the same."""
        for parent in parents:
            whole = complete(samples, child.name, parent.name) if _fits(child, parent) else []
            if not any(_varies(child, sample[child.name]) for sample in whole):
                continue
            for scale in _scales(child, parent):
                rule = cls(child, parent, scale, _nothing(child, parent, whole))
                if rule._is_possible and all(rule._holds(sample) for sample in whole):
                    return rule
        return None

    @classmethod
    def from_params(cls, child: Task, inputs: Sequence[Task], params: Mapping[str, int]) -> Self:
        """Make the rule that counts `scale` 2^-24 for one, and writes `nothing` for nothing."""
        check_fit(cls.id, len(inputs) == 1 and _fits(child, inputs[0]), child, inputs)
        scale = read_param(cls.id, params, "scale", 1, 1 << 2 * SCALE_BITS)
        nothing = read_param(cls.id, params, "nothing", 0, dtype_range(child))
        rule = cls(child, inputs[0], scale, nothing)
        check_fit(cls.id, rule._is_possible, child, inputs)
        return rule

    def params(self) -> dict[str, int]:
        """Return the scale in 2^-24, and the value that means nothing."""
        return {"scale": self._scale, "nothing": self._nothing}

    def fit(self, child: Array, inputs: Mapping[str, Array]) -> Own:
        """Find the field of view: whole 1/16384 rad, and a part in 2^-30; 0 where nothing tells it.

        Each pixel tells in which range the square of the tangent is, for both maps are rounded. The
        middle of where most ranges overlap is taken.

        Raises
        ------
        BitstreamError
            When the maps are not those of the tasks, or differ in size.
        """
        given = {**inputs, self._child.name: child}
        parent, child = input_maps(given, [self._parent, self._child])
        rows, columns = part = thinned(child.shape, LOOKED_AT)
        away = offsets(child.shape[0])[rows, None] ** 2 + offsets(child.shape[1])[columns] ** 2
        usable = ~(self._parent.invalid_mask(parent[part]) | self._child.invalid_mask(child[part]))
        usable &= (parent[part] > 0) & (child[part] > 0) & (away > 0)
        usable &= child[part] < dtype_range(self._child)
        if not usable.any():
            return (0, 0)
        low, high = self._stretched(child[part][usable].astype(np.float64), parent[part][usable])
        size = float(child.shape[1] ** 2) / away[usable]
        tangent = _most_common((low * low - 1) * size, (high * high - 1) * size)
        view = view_of(int(max(tangent, 0.0) * 2.0**TANGENT_BITS))
        view = min(view, widest(child.shape, 2 * LEAST_BITS, self._stretch))
        return view >> PART_BITS, view & ((1 << PART_BITS) - 1)

    def derive(self, inputs: Mapping[str, Array], own: Own) -> Array:
        """Return depth (H, W) in the child's counts."""
        check_own(own, self.own_count)
        (parent,) = input_maps(inputs, [self._parent])
        counts = self._counts(parent, (own[0] << PART_BITS) + own[1])
        found = np.minimum(counts, dtype_range(self._child)).astype(self._child.dtype)
        found[self._parent.invalid_mask(parent)] = self._nothing
        return found

    @property
    def _is_possible(self) -> bool:
        return LEAST_STRETCH <= self._stretch <= MOST_STRETCH

    def _holds(self, sample: Sample) -> bool:
        child = sample[self._child.name]
        derived = self.derive(sample, self.fit(child, sample))
        return share_within(derived, child, WITHIN) >= SHARE

    def _lengths(self, view: int, shape: Sequence[int]) -> tuple[Int64, int]:
        """Return the lengths of rays (H, W), times the stretch, and in how many bits."""
        most = longest(view, shape, self._stretch)
        fitting = (b for b in range(MOST_BITS, LEAST_BITS, -1) if most < 1 << (MANTISSA - 2 * b))
        bits = next(fitting, LEAST_BITS)
        rows, columns = squares(view, shape, 2 * bits, self._stretch)
        return np.rint(np.sqrt(rows[:, None] + columns)).astype(np.int64), bits

    @property
    @abstractmethod
    def _stretch(self) -> Fraction:
        """How many counts of distance one of depth is where the two are the same."""

    @abstractmethod
    def _stretched(self, child: Array, parent: Array) -> tuple[Array, Array]:
        """Return how long pixels' rays are at least and at most, child and parent being (n,)."""

    @abstractmethod
    def _counts(self, parent: Array, view: int) -> Int64:
        """Return the child's counts of pixels."""


class DepthEuclidean(_Distance):
    """Distance from the camera, of depth along its axis."""

    id: ClassVar[str] = "depth_euclidean@1"

    @property
    def _stretch(self) -> Fraction:
        return Fraction(self._scale, 1 << SCALE_BITS)

    def _stretched(self, child: Array, parent: Array) -> tuple[Array, Array]:
        near = parent * float(self._stretch)
        return (child - 0.5) / near, (child + 0.5) / near

    def _counts(self, parent: Array, view: int) -> Int64:
        lengths, bits = self._lengths(view, parent.shape)
        return (parent * lengths + (1 << bits - 1)) >> bits


class DepthZbuffer(_Distance):
    """Depth along the camera's axis, of distance from it."""

    id: ClassVar[str] = "depth_zbuffer@1"

    @property
    def _stretch(self) -> Fraction:
        return Fraction(1 << SCALE_BITS, self._scale)

    def _stretched(self, child: Array, parent: Array) -> tuple[Array, Array]:
        far = parent / float(self._stretch)
        return far / (child + 0.5), far / (child - 0.5)

    def _counts(self, parent: Array, view: int) -> Int64:
        lengths, bits = self._lengths(view, parent.shape)
        return np.rint((parent.astype(np.int64) << bits) / lengths).astype(np.int64)


def _most_common(low: Array, high: Array) -> float:
    """Return the middle of the first place where most of some ranges overlap."""
    ends = np.concatenate([low, high])
    order = np.argsort(ends, kind="stable")
    begun = np.cumsum(np.where(order < len(low), 1, -1))
    most = int(begun.argmax())
    after = min(most + 1, len(ends) - 1)
    return float(ends[order[most]] + ends[order[after]]) / 2


def _fits(child: Task, parent: Task) -> bool:
    return all(task.kind is TaskKind.DEPTH and is_count_map(task) for task in (child, parent))


def _varies(task: Task, array: Array) -> bool:
    valid = array[~task.invalid_mask(array)]
    return bool(valid.size) and int(valid.max()) - int(valid.min()) > SPREAD


def _scales(child: Task, parent: Task) -> Iterator[int]:
    """Yield what may be the scale: the ratio of the units that the tasks claim, and none at all."""
    claimed = Fraction(parent.unit_m or 1.0) / Fraction(child.unit_m or 1.0)
    scale = round(claimed * (1 << SCALE_BITS))
    yield from dict.fromkeys((max(scale, 1), 1 << SCALE_BITS))


def _nothing(child: Task, parent: Task, samples: Sequence[Sample]) -> int:
    values = [s[child.name][parent.invalid_mask(s[parent.name])] for s in samples]
    usual = [value for value in child.invalid if 0 <= value <= dtype_range(child)]
    return most_frequent(np.concatenate(values), usual[0] if usual else 0)
