"""Runs: frames of a group that have one size, which alone can be predicted from one another."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from dsc._codecs.base import Array
from dsc._codecs.sequence.video import CodedFrame


def encode_by_runs(
    frames: Mapping[int, Array],
    encode: Callable[[dict[int, Array]], Mapping[int, CodedFrame]],
) -> dict[int, CodedFrame]:
    """Encode frames of a group run by run; a run is decoded after those before it.

    Parameters
    ----------
    frames
        Arrays by place in the group.
    encode
        Encodes the frames of one run, by place, ordered from 0.
    """
    coded: dict[int, CodedFrame] = {}
    for run in runs_of(frames):
        first = len(coded)
        for place, frame in encode(run).items():
            coded[place] = replace(frame, order=first + frame.order)
    return coded


def runs_of(frames: Mapping[int, Array]) -> Iterator[dict[int, Array]]:
    """Yield frames of one size that follow one another."""
    run: dict[int, Array] = {}
    for place in sorted(frames):
        if run and next(iter(run.values())).shape != frames[place].shape:
            yield run
            run = {}
        run[place] = frames[place]
    if run:
        yield run
