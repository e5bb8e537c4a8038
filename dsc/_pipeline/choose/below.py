"""The quality below a residual: the one at which both streams together are the smallest.

Too little below leaves all to the residual, too much is paid for twice, and the sum has one
valley. It is walked down from a start, and then looked for where a parabola through the three
lowest points has its bottom: four to six encodes of each piece.
"""

from collections.abc import Callable, Sequence

from dsc._codecs.base import Sample
from dsc._codecs.maps.levels import relative_error
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.quality_search import BEST
from dsc._schemas import Bound, BoundKind, Quality, Task, TaskKind

STRIDE = 14  # of the walk; the valley is some thirty qualities wide
START = 74


def cheapest_below(
    codecs: CodecSet, groups: Sequence[Sequence[Sample]], quality: Quality, task: Task
) -> Quality:
    """Find the quality of a bounded task at which a codec and its residual are the smallest."""
    name = task.name

    def size(value: int) -> int:
        coded = codecs.encode_groups(groups, quality.having({name: value}))
        return sum(len(data) for payloads in coded for data in payloads.values())

    start = first_quality(codecs.codec_name(name), task, quality.max_error[name])
    return quality.having({name: lowest(size, start)})


def first_quality(codec: str, task: Task, bound: Bound) -> int:
    """Return where to begin: where levels alone keep the bound, for what codes depth as levels."""
    is_levels = codec.startswith("jxl") and task.kind is TaskKind.DEPTH
    if is_levels and bound.kind is BoundKind.RELATIVE:
        within = (q for q in range(1, BEST + 1) if relative_error(q) <= bound.value)
        return next(within, BEST)
    return START


def lowest(size: Callable[[int], int], start: int, stride: int = STRIDE) -> int:
    """Return the quality, of those that are tried, at which a function with one valley is lowest.

    Of two that are equal, the lower one.
    """
    known: dict[int, int] = {}

    def at(quality: int) -> int:
        quality = min(max(quality, 1), BEST)
        known.setdefault(quality, size(quality) if quality not in known else 0)
        return quality

    best = at(start)
    up = at(best + stride)
    step = stride if known[up] < known[best] else -stride
    best = min(best, up, key=lambda q: (known[q], q))
    while (there := at(best + step)) != best and known[there] < known[best]:
        best = there
    bottom = _bottom(known, best)
    if bottom is not None:
        at(bottom)
    return min(known, key=lambda q: (known[q], q))


def _bottom(known: dict[int, int], best: int) -> int | None:
    """Return where a parabola through the lowest point and its neighbours is lowest."""
    below = max((q for q in known if q < best), default=None)
    above = min((q for q in known if q > best), default=None)
    if below is None or above is None:  # at the end of the scale
        other = below or above
        return None if other is None else (best + other) // 2
    left, right = best - below, above - best
    fall, rise = known[below] - known[best], known[above] - known[best]
    curvature = fall * right + rise * left
    if curvature <= 0:
        return None
    shift = (fall * right * right - rise * left * left) / (2 * curvature)
    return best + round(shift)
