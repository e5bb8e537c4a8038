"""Finds the lamp that a shaded map was lit by, from normals, depth and the map.

For each way that the normals' axes may point, for depth along the axis and from the camera, and for
some fields of view, the light of a pixel is level / cos θ = gain · K / (K + d²): its inverse is
linear in d², and two medians give gain and K. The best is then improved step by step. Whatever is
added up are integers, and every other operation is rounded as IEEE says, so that all machines find
the same lamp.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._codecs.derived.camera import PART_BITS, TANGENT_BITS, offsets, tangent_squared
from dsc._codecs.derived.evidence import middle, thinned

GAIN_BITS = 6
USUAL_GAIN = 408 << GAIN_BITS  # 255 · 1.6
USUAL_REACH_M2 = 8.0
MOST_GAIN, MOST_REACH = (1 << 16) - 1, 1 << 36
RADIAN = 1 << 14  # of fields of view
ROUGHLY, FINELY = 1 << 10, 1 << 12  # pixels that are looked at
FEWEST = 64  # pixels that tell something
DARKEST, BRIGHTEST = 4, 250  # levels that tell the light
TRIED = range(RADIAN // 4, 5 * RADIAN // 2, RADIAN // 6)  # fields of view
WIDEST = TRIED[-1]
FAR_OFF = 8.0  # levels that the median pixel may be away from the best rough guess
SAME = 2  # levels about the middle that make a map flat where most pixels are there
MOST_SAMPLES = 4
WORST = 8.0  # levels that a pixel's error counts for, at most

Float = NDArray[np.float64]
View = tuple[Array, Array, Array, NDArray[np.bool_]]
"""Normals (H, W, 3), depth, levels and where there are any (H, W) of a sample."""


class Lamp(NamedTuple):
    """A lamp at the camera.

    Attributes
    ----------
    signs
        1 or -1 for each axis of the normals: what it adds to facing the camera on the right, below
        and in the middle of a map.
    by_axis
        Whether depth is along the camera's axis, and not from the camera.
    as_unit
        Whether normals are made unit vectors before, which 8 bits do not quite leave them.
    gain
        Levels in 1/64, of a surface that faces the lamp from nearby.
    reach
        Counts of depth, squared, at which half of the light is left.
    """

    signs: tuple[int, int, int]
    by_axis: bool
    as_unit: bool
    gain: int
    reach: int


@dataclass(frozen=True)
class _Guess:
    """A lamp in numbers that are not rounded yet, and the field of view of a sample."""

    signs: tuple[int, int, int]
    by_axis: bool
    view: int
    reach: float


@dataclass(frozen=True)
class _Pixels:
    """Some pixels of a sample (n,): unit normals (3, n), depth², levels, and where they are."""

    normal: Float
    squared: Float
    level: Float
    across: Float
    down: Float

    @classmethod
    def of(cls, view: View, most: int) -> "_Pixels":
        """Take at most `most` pixels whose level is neither cut nor dark."""
        normal, depth, level, valid = view
        height, width = depth.shape
        rows, columns = part = thinned(depth.shape, most)
        kept = valid[part] & (level[part] >= DARKEST) & (level[part] <= BRIGHTEST)
        vector = (2.0 * normal[part][kept] - 255).T
        vector /= np.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])
        across = np.broadcast_to(offsets(width)[columns] / width, kept.shape)[kept]
        down = np.broadcast_to((offsets(height)[rows] / width)[:, None], kept.shape)[kept]
        counts = depth[part][kept].astype(np.float64)
        return cls(vector, counts * counts, level[part][kept].astype(np.float64), across, down)

    def __len__(self) -> int:
        return len(self.level)

    def light(self, signs: tuple[int, int, int], by_axis: bool, view: int) -> tuple[Float, Float]:
        """Return cos θ and the squared distance of each pixel."""
        tangent = np.sqrt(tangent_squared(view << PART_BITS) / 2.0**TANGENT_BITS)
        x, y = self.across * tangent, self.down * tangent
        length = x * x + y * y + 1
        facing = self.normal[0] * x * signs[0] + self.normal[1] * y * signs[1]
        facing = (facing + self.normal[2] * signs[2]) / np.sqrt(length)
        return facing, self.squared * length if by_axis else self.squared

    def gain(self, guess: _Guess) -> tuple[float, Float]:
        """Return the gain of the median pixel, and what it is multiplied by at each pixel."""
        facing, away = self.light(guess.signs, guess.by_axis, guess.view)
        share = np.maximum(facing, 1e-3) * (guess.reach / (guess.reach + away))
        return middle(self.level / share), share

    def error(self, guess: _Guess) -> int:
        """Return the sum of the errors of all pixels in 1/16 of a level."""
        gain, share = self.gain(guess)
        off = np.abs(gain * share - self.level)
        return int(np.rint(np.minimum(off, WORST) * 16).astype(np.int64).sum())


def find_lamps(views: Sequence[View], unit_m: float | None) -> Iterator[Lamp]:
    """Yield lamps that may have lit all samples, the usual one first; none where none explains one.

    Parameters
    ----------
    views
        Of each sample.
    unit_m
        Metres that a count of depth claims to be.
    """
    telling = [view for view in views if _tells(view)][:MOST_SAMPLES]
    if not telling:
        return
    guess = _rough(_Pixels.of(telling[0], ROUGHLY))
    if guess is None:
        return
    pixels = [_Pixels.of(view, FINELY) for view in telling]
    guesses = [_best_view(some, guess, guess.reach) for some in pixels]
    found = [_improved(some, one) for some, one in zip(pixels, guesses, strict=True)]
    usual = USUAL_REACH_M2 / (unit_m or 1.0) ** 2
    reach = middle(np.array([one.reach for one in found]))
    for k, wanted in enumerate((usual, usual, reach)):
        fixed = [_best_view(some, one, wanted) for some, one in zip(pixels, found, strict=True)]
        gains = [some.gain(one)[0] for some, one in zip(pixels, fixed, strict=True)]
        gain = round(middle(np.array(gains)) * (1 << GAIN_BITS)) if k else USUAL_GAIN
        if 1 <= gain <= MOST_GAIN and 1 <= wanted <= MOST_REACH:
            for as_unit in (True, False):
                yield Lamp(guess.signs, guess.by_axis, as_unit, gain, round(wanted))


def _tells(view: View) -> bool:
    level, valid = view[2], view[3]
    if not level.size:
        return False
    flat = np.abs(level - middle(level.ravel().astype(np.float64))) <= SAME
    usable = valid & (level >= DARKEST) & (level <= BRIGHTEST)
    return bool(np.count_nonzero(flat) < 0.8 * level.size and np.count_nonzero(usable) >= FEWEST)


def _rough(pixels: _Pixels) -> _Guess | None:
    """Return the best of all signs, both kinds of depth and some views; None where all are bad."""
    if len(pixels) < FEWEST // 4:
        return None
    toward = 1 if middle(pixels.normal[2]) > 0 else -1
    best, least = None, FAR_OFF
    for across, down, by_axis, view in product((1, -1), (1, -1), (True, False), TRIED):
        signs = (across, down, toward)
        facing, away = pixels.light(signs, by_axis, view)
        reach = _reach(facing, away, pixels.level)
        if reach is None:
            continue
        guess = _Guess(signs, by_axis, view, reach)
        gain, share = pixels.gain(guess)
        off = middle(np.abs(gain * share - pixels.level))
        if off < least:
            best, least = guess, off
    return best


def _reach(facing: Float, away: Float, level: Float) -> float | None:
    """Return K by the medians of the nearer and the farther pixels; None where none can be."""
    lit = facing > 0.05
    if np.count_nonzero(lit) < len(lit) // 2 or not lit.any():
        return None
    inverse, away = facing[lit] / level[lit], away[lit]
    near = away <= middle(away)
    if near.all():
        return None
    dark = middle(inverse[~near]) - middle(inverse[near])
    apart = middle(away[~near]) - middle(away[near])
    if dark <= 0 or apart <= 0:
        return float(MOST_REACH)
    slope = dark / apart
    rest = middle(inverse[near]) - slope * middle(away[near])
    return min(rest / slope, float(MOST_REACH)) if rest > 0 else None


def _best_view(pixels: _Pixels, guess: _Guess, reach: float) -> _Guess:
    """Return a guess with the view that fits best, the lamp being as it is."""
    tried = (_Guess(guess.signs, guess.by_axis, view, reach) for view in (*TRIED, guess.view))
    best = min(tried, key=pixels.error)
    return _improved(pixels, best, only_view=True)


def _improved(pixels: _Pixels, guess: _Guess, only_view: bool = False) -> _Guess:
    """Return a guess with view and reach moved as long as it gets better, by ever smaller steps."""
    least, step = pixels.error(guess), 512
    while step:
        part = 1 + step / 1024
        ways = [(step, 1.0), (-step, 1.0)] + ([] if only_view else [(0, part), (0, 1 / part)])
        moved = [
            _Guess(guess.signs, guess.by_axis, min(max(guess.view + turn, 1), WIDEST), reach)
            for turn, reach in ((turn, guess.reach * by) for turn, by in ways)
        ]
        errors = [pixels.error(other) for other in moved]
        if min(errors) < least:
            least, guess = min(errors), moved[errors.index(min(errors))]
        else:
            step //= 2
    return guess
