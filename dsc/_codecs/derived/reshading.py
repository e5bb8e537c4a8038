"""The rule `reshading`: normals in the light of a lamp at the camera.

A pixel's level is gain · cos θ · K / (K + d²), cut at 0 and 255: θ lies between the normal and the
way to the camera, d is the distance, and K the square of the one at which half the light is left.
Of Omnidata's annotator, commit 96f5a09d864f, whose lamp is Blender's: gain 255 · 1.6 and K 8 m²;
nine tenths of the pixels of its maps come out within two levels. Gain, K, the directions of the
normals' axes and what depth measures are found (`dsc._codecs.derived.lamp`), the field of view for
each sample.

All numbers are integers that a double holds, below 2^53; a square root or a quotient of two of them
is rounded once, and then to an integer.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._codecs.base import Array, Sample
from dsc._codecs.derived.camera import MANTISSA, PART_BITS, SLOPE_BITS, slopes, squares, widest
from dsc._codecs.derived.evidence import (
    check_fit,
    check_own,
    complete,
    input_maps,
    is_count_map,
    most_frequent,
    read_param,
    share_within,
    thinned,
)
from dsc._codecs.derived.lamp import MOST_GAIN, MOST_REACH, Lamp, find_lamps
from dsc._codecs.derived.rule import Own
from dsc._schemas import Task, TaskKind

LENGTH_BITS = 24  # of the squares of rays' lengths
AWAY_BITS = 16  # of squared distances
SQUARE_BITS = MANTISSA - 4  # so that rays are no longer than four
RADIAN = 1 << 14  # of fields of view
WITHIN, SHARE = 2, 0.8  # levels, and the share of a sample's pixels that have to be within them
BETTER = 0.005  # how much more of the pixels another lamp or other inputs have to explain
LOOKED_AT = 1 << 12  # pixels that a field of view is found by
VIEWS = range(RADIAN // 4, 5 * RADIAN // 2, RADIAN // 8)  # that are tried first
WORST = 8  # levels that a pixel's error counts for, at most

Float = NDArray[np.float64]


class Rays(NamedTuple):
    """Rays of a map: y of rows (H,) and x of columns (W,), and squares that add to their lengths'.

    Integers as doubles: y and x in 2^-20, squares in 2^-24.
    """

    down: Float
    across: Float
    rows: Float
    columns: Float

    @classmethod
    def of_view(cls, view: int, shape: Sequence[int]) -> Self:
        """Look through a map (H, W); the field of view is in 1/16384 rad.

        Raises
        ------
        BitstreamError
            When the field of view is none, or too wide for the map.
        """
        view <<= PART_BITS
        lost = SQUARE_BITS - LENGTH_BITS
        lengths = ((a + (1 << lost - 1)) >> lost for a in squares(view, shape, SQUARE_BITS))
        return cls(*(np.asarray(a, np.float64) for a in (*slopes(view, shape), *lengths)))

    def part(self, rows: slice, columns: slice) -> Self:
        """Return the rays of some rows and columns."""
        parts = (self.down[rows], self.across[columns], self.rows[rows], self.columns[columns])
        return type(self)(*map(np.ascontiguousarray, parts))


class Reshading:
    """A gray map of normals in the light of a lamp; `nothing` where an input has no value."""

    id: ClassVar[str] = "reshading@1"
    own_count = 1

    def __init__(self, child: Task, inputs: Sequence[Task], lamp: Lamp, nothing: int) -> None:
        self.inputs = tuple(task.name for task in inputs)
        self._child, self._tasks = child, tuple(inputs)
        self._lamp, self._nothing = lamp, nothing

    @classmethod
    def find(cls, child: Task, parents: Sequence[Task], samples: Sequence[Sample]) -> Self | None:
        """Find the normals and the depth that explain most of the child, and their lamp."""
        best, least = None, 0.0
        pairs = ((normal, depth) for normal in parents for depth in parents)
        for inputs in (pair for pair in pairs if _fits(child, pair)):
            whole = complete(samples, child.name, *(task.name for task in inputs))
            for rule in cls._candidates(child, inputs, whole):
                near = rule._shares(whole[0])
                if sum(near) > least and all(rule._shares(s)[0] >= SHARE for s in whole):
                    best, least = rule, sum(near) + BETTER
        return best

    @classmethod
    def from_params(cls, child: Task, inputs: Sequence[Task], params: Mapping[str, int]) -> Self:
        """Make the rule of a lamp: its gain in 1/64 of a level, its reach K in counts of depth²."""
        check_fit(cls.id, _fits(child, inputs), child, inputs)
        signs = [read_param(cls.id, params, name, -1, 1) for name in ("across", "down", "toward")]
        check_fit(cls.id, all(signs), child, inputs)
        lamp = Lamp(
            (signs[0], signs[1], signs[2]),
            bool(read_param(cls.id, params, "by_axis", 0, 1)),
            bool(read_param(cls.id, params, "as_unit", 0, 1)),
            read_param(cls.id, params, "gain", 1, MOST_GAIN),
            read_param(cls.id, params, "reach", 1, MOST_REACH),
        )
        return cls(child, inputs, lamp, read_param(cls.id, params, "nothing", 0, 255))

    def params(self) -> dict[str, int]:
        """Return the lamp, and the value that means nothing."""
        across, down, toward = self._lamp.signs
        return {
            "across": across,
            "down": down,
            "toward": toward,
            "by_axis": int(self._lamp.by_axis),
            "as_unit": int(self._lamp.as_unit),
            "gain": self._lamp.gain,
            "reach": self._lamp.reach,
            "nothing": self._nothing,
        }

    def fit(self, child: Array, inputs: Mapping[str, Array]) -> Own:
        """Find the field of view in 1/16384 rad; 0 where nothing tells it.

        Raises
        ------
        BitstreamError
            When the maps are not those of the tasks, or differ in size.
        """
        given = {**inputs, self._child.name: child}
        normal, depth, child = input_maps(given, (*self._tasks, self._child))
        shape = depth.shape
        part = thinned(shape, LOOKED_AT)
        normal, depth = (np.ascontiguousarray(array[part]) for array in (normal, depth))
        usable = ~self._missing(normal, depth)
        wanted = _gray(child)[part][usable].astype(np.int32)
        most = widest(shape, SQUARE_BITS) >> PART_BITS

        def error(view: int) -> tuple[int, int]:
            levels = shade(self._lamp, normal, depth, Rays.of_view(view, shape).part(*part))
            return int(np.abs(levels[usable] - wanted).clip(max=WORST).sum()), view

        if not wanted.size:
            return (0,)
        best = min(error(view) for view in {min(view, most) for view in VIEWS})
        step = VIEWS.step // 2
        while step:
            near = (max(best[1] - step, 0), min(best[1] + step, most))
            best = min(best, *(error(view) for view in near))
            step //= 2
        return (best[1],)

    def derive(self, inputs: Mapping[str, Array], own: Own) -> Array:
        """Return the levels (H, W), or (H, W, 3) with three times the same."""
        check_own(own, self.own_count)
        normal, depth = input_maps(inputs, self._tasks)
        levels = shade(self._lamp, normal, depth, Rays.of_view(own[0], depth.shape))
        levels[self._missing(normal, depth)] = self._nothing
        return levels if self._child.channels == 1 else np.repeat(levels[..., None], 3, axis=2)

    @classmethod
    def _candidates(
        cls, child: Task, inputs: tuple[Task, Task], samples: Sequence[Sample]
    ) -> list[Self]:
        """Return rules of the lamps that samples hint at."""
        gone = [_missing(inputs, *(s[task.name] for task in inputs)) for s in samples]
        views = [
            (s[inputs[0].name], s[inputs[1].name], _gray(s[child.name]), ~missing)
            for s, missing in zip(samples, gone, strict=True)
        ]
        dark = [level[~valid] for *_, level, valid in views]
        nothing = most_frequent(np.concatenate(dark), 0) if dark else 0
        return [cls(child, inputs, lamp, nothing) for lamp in find_lamps(views, inputs[1].unit_m)]

    def _shares(self, sample: Sample) -> list[float]:
        """Return the shares of pixels that are within two levels, one, and none."""
        child = sample[self._child.name]
        derived = self.derive(sample, self.fit(child, sample))
        return [share_within(derived, child, most) for most in (WITHIN, 1, 0)]

    def _missing(self, normal: Array, depth: Array) -> NDArray[np.bool_]:
        return _missing(self._tasks, normal, depth)


def shade(lamp: Lamp, normal: Array, depth: Array, rays: Rays) -> NDArray[np.uint8]:
    """Return the levels (H, W) of normals (H, W, 3) uint8 at depth (H, W), valid or not."""
    across, down, toward = lamp.signs
    depth = depth.astype(np.uint16, copy=False)
    signed = (down * rays.down, across * rays.across, rays.rows, rays.columns)
    forward, reach = float(toward << SLOPE_BITS), float(lamp.reach << AWAY_BITS)
    if _kernels.in_use():
        levels = np.empty(depth.shape, np.uint8)
        _kernels.compiled.geometry_shade(
            normal, depth, *signed, forward, reach, float(lamp.gain), lamp.by_axis, lamp.as_unit,
            levels,
        )  # fmt: skip
        return levels
    vector = 2.0 * normal - 255
    length = rays.rows[:, None] + rays.columns
    facing = vector[..., 0] * signed[1] + vector[..., 1] * signed[0][:, None]
    facing += vector[..., 2] * forward
    squared = (vector * vector).sum(axis=2) if lamp.as_unit else 255.0 * 255
    norm = np.rint(np.sqrt(squared * length))
    cosine = np.rint(facing * 2.0**10 / norm)
    counts = depth.astype(np.float64)
    shorter = np.floor((length + 2.0**7) * 2.0**-8)
    away = counts * counts * (shorter if lamp.by_axis else 2.0**AWAY_BITS)
    left = np.rint(reach * 2.0**18 / (reach + away))
    level = np.floor((lamp.gain * cosine * left + 2.0**41) * 2.0**-42)
    return level.clip(0, 255).astype(np.uint8)


def _fits(child: Task, inputs: Sequence[Task]) -> bool:
    if len(inputs) != 2:
        return False
    normal, depth = inputs
    gray = child.kind is TaskKind.IMAGE and child.dtype == "uint8" and child.channels in (1, 3)
    vectors = normal.kind is TaskKind.NORMAL and (normal.dtype, normal.channels) == ("uint8", 3)
    return gray and vectors and depth.kind is TaskKind.DEPTH and is_count_map(depth)


def _missing(tasks: Sequence[Task], normal: Array, depth: Array) -> NDArray[np.bool_]:
    return tasks[0].invalid_mask(normal) | tasks[1].invalid_mask(depth)


def _gray(child: Array) -> Array:
    return child[..., 0] if child.ndim == 3 else child
