"""Rates: how many frames of recordings are wanted, by the layers that their streams are.

The streams of a lane are layers in time: with each one there are four times as many frames. So a
reader that wants every fourth or every sixteenth frame reads the first streams, and nothing else.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from dsc._schemas.group import BESIDE
from dsc._schemas.levels import frame_layers
from dsc._schemas.stream import CodecRecord, Stream, carrying_streams, required_streams
from dsc.errors import UsageError

STEP = 4  # frames with a layer, for each one without it

Rate = str | float | Fraction


def parse_rate(rate: Rate, option: str) -> int:
    """Read a rate, ``1/16`` or 0.25, as how many frames there are for each one wanted.

    Raises
    ------
    UsageError
        When it is no part of the whole.
    """
    try:
        found = Fraction(rate)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        found = Fraction(0)
    if found.numerator != 1:
        raise UsageError(f"{option} {rate}: a part of the frames, as 1/4 or 1/16; 1 for all")
    return found.denominator


def layers_of(records: Iterable[CodecRecord]) -> dict[str, int]:
    """Return, of each stream that is a layer, how many frames there are for one in it or below."""
    return {
        name: STEP ** (len(lane) - 1 - number)
        for record in records
        for lane in (*frame_layers(record), *frame_layers(record, BESIDE))
        for number, name in enumerate(lane)
    }


def rate_here(streams: Sequence[Stream], records: Sequence[CodecRecord], task: str) -> int:
    """Return how many frames there are for each one that is here; 1 where all are."""
    layers = layers_of(records)
    found = [layers[name] for name in carrying_streams(streams, task) if name in layers]
    return min(found, default=1)


def streams_at(
    streams: Sequence[Stream],
    records: Sequence[CodecRecord],
    tasks: Sequence[str],
    rate: int,
    option: str,
) -> tuple[str, ...]:
    """List the streams that must be read for a part of the frames of tasks, in the graph's order.

    Of a task that is not in layers, all of them.

    Raises
    ------
    UsageError
        When the layers do not give this rate, or none of the tasks is in layers.
    """
    if rate == 1:  # all that is here
        return required_streams(streams, tasks)
    layers, found = layers_of(records), set[str]()
    rates = set[int]()
    for task in tasks:
        carrying = [name for name in carrying_streams(streams, task) if name in layers]
        here = min((layers[name] for name in carrying), default=1)
        if carrying and rate < here:
            raise UsageError(f"{option} 1/{rate}: of {task} every {here}th frame is here, no more")
        rates |= {layers[name] for name in carrying}
        found |= {name for name in carrying if layers[name] < rate}
    if rate not in rates:
        given = ", ".join(f"1/{one}" if one > 1 else "1" for one in sorted(rates))
        if not rates - {1}:
            raise UsageError(
                f"{option} 1/{rate}: {', '.join(tasks)} is not coded as recordings are, in layers; "
                "read it whole"
            )
        raise UsageError(f"{option} 1/{rate}: the rates there are: {given}")
    return tuple(name for name in required_streams(streams, tasks) if name not in found)
