"""Processor time, in turns: what else a machine does hardly touches it, and ratios even less.

Whatever is compared is measured in one process, one after the other, round after round. A figure is
the median of its rounds; a ratio is the median of the ratios within rounds.
"""

import resource
import statistics
import time
from collections.abc import Callable, Sequence

LEAST_S = 0.02  # a turn is repeated until it took this long


def processor_s() -> float:
    """Return seconds of processor time of this process, all its threads, and ended children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def seconds_of(call: Callable[[], object], least_s: float = 0.0) -> float:
    """Return the processor time of a call, the mean of as many as take `least_s` seconds."""
    count, start = 0, processor_s()
    while True:
        call()
        count += 1
        took = processor_s() - start
        if took >= least_s:
            return max(took, 1e-9) / count


def spread(values: Sequence[float]) -> float:
    """Return how far values lie apart: half of largest less smallest, as a share of the median."""
    return (max(values) - min(values)) / 2 / statistics.median(values)


def ratio(values: Sequence[float], base: Sequence[float]) -> float | None:
    """Return the median of the ratios within rounds; None where there is no round of both."""
    pairs = list(zip(values, base, strict=False))
    return statistics.median(value / other for value, other in pairs) if pairs else None
