"""Streams and the stream graph: which bitstreams are needed to decode which tasks."""

from collections.abc import Iterable, Sequence

from pydantic import Field

from dsc._schemas.base import Schema
from dsc.errors import UnknownTaskError


class Stream(Schema):
    """One bitstream of a sample.

    Attributes
    ----------
    name
        Directory, file and bitstream name, e.g. ``depth_zbuffer`` or ``shared``.
    carries
        The tasks that decoding this stream (with what it requires) gives.
    requires
        Streams that must be at hand to decode this one.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.]*$", max_length=64)
    carries: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()


def required_streams(streams: Sequence[Stream], tasks: Iterable[str]) -> tuple[str, ...]:
    """List the streams that must be read to decode `tasks`, in the graph's own order.

    Every stream that carries a wanted task is taken, then everything that it requires.

    Raises
    ------
    UnknownTaskError
        When no stream carries a wanted task.
    """
    by_name = {stream.name: stream for stream in streams}
    wanted: set[str] = set()
    for task in tasks:
        pending = [stream.name for stream in streams if task in stream.carries]
        if not pending:
            carried = sorted({name for stream in streams for name in stream.carries})
            raise UnknownTaskError(f"no stream carries task {task!r}; found: {', '.join(carried)}")
        while pending:
            name = pending.pop()
            if name not in wanted:
                wanted.add(name)
                pending.extend(by_name[name].requires)
    return tuple(stream.name for stream in streams if stream.name in wanted)
