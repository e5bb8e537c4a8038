"""Where a sample stands in a recording: its sequence, the number of its frame, its time."""

from typing import NamedTuple


class SequencePlace(NamedTuple):
    """A sample's place in a recording.

    The frames of a sequence are samples that follow one another, with rising numbers; numbers may
    leave gaps, as recordings do that lost frames.

    Attributes
    ----------
    sequence
        Name of the recording, unique in the archive: ``seq-01``, ``scene0000_00``.
    frame
        Number of the frame in it, 0 to 2^53.
    time_ns
        When it was taken, in integer nanoseconds, from whatever start the source counts; None where
        the source does not know. Samples are never looked up by it.
    """

    sequence: str
    frame: int
    time_ns: int | None = None
