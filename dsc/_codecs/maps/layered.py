"""What codecs share that code each task of a sample coarse first: two streams a task.

``TASK.0`` decodes by itself to a coarse map, and with ``TASK.1``, which requires it, comes the
whole one. The first begins with a head, little-endian::

    u8   tag            the codec's
    u16  height, width  of the whole map

The coarse map has the size that `dsc._codecs.maps.coarse.coarse_size` says.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar

from dsc._codecs.base import Array, Decoder
from dsc._codecs.canvas import Place
from dsc._codecs.maps.base import HEADER, NOT_DAMAGE, check_known, decode_each
from dsc._schemas import Effort, Stream, Task
from dsc._schemas.levels import PREFIXES
from dsc.errors import LIST_DAMAGE, BitstreamError


def coarse_stream(task: str) -> str:
    """Name the stream of the coarse map of a task."""
    return f"{task}.0"


def whole_stream(task: str) -> str:
    """Name the stream that makes a task's map whole."""
    return f"{task}.1"


class LayeredCodec(ABC):
    """A codec of maps that codes each task alone, coarse first.

    Parameters
    ----------
    tasks
        The tasks it codes.
    """

    id: ClassVar[str]
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT
    """What goes without saying in a configuration; see `dsc._codecs.maps.base.TaskCodec`."""
    decodes_alone: ClassVar[bool] = True

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        self._task = {task.name: task for task in self.tasks}
        self._coarse: frozenset[str] = frozenset()  # tasks that are decoded without ``TASK.1``

    @abstractmethod
    def decode_levels(
        self, task: Task, head: tuple[int, int, int], bodies: Sequence[bytes], place: Place
    ) -> Array:
        """Decode a map whose size has been checked; anything raised is damage.

        Parameters
        ----------
        head
            Tag, height and width, as the first stream says.
        bodies
            What follows in the first stream, and the second one; the first alone for the coarse
            map.
        """

    def own_config(self) -> dict[str, Any]:
        """Return the configuration without what all these codecs say."""
        return {"tasks": [task.model_dump(mode="json") for task in self.tasks]}

    def config(self) -> dict[str, Any]:
        """Return the configuration, which says that there are levels."""
        return {**self.own_config(), PREFIXES: True}

    def from_streams(self, names: Collection[str]) -> Decoder:
        """Return what decodes the coarse maps of tasks of which only that stream is named."""
        other = copy(self)
        other._coarse = frozenset(t.name for t in self.tasks if whole_stream(t.name) not in names)
        return other

    def streams(self) -> tuple[Stream, ...]:
        """Return two streams a task; the second requires the first."""
        return tuple(
            stream
            for name in self._task
            for stream in (
                Stream(name=coarse_stream(name), carries=(name,)),
                Stream(name=whole_stream(name), carries=(name,), requires=(coarse_stream(name),)),
            )
        )

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks` of samples one by one.

        Raises
        ------
        UnknownTaskError
            When the codec does not code one of the tasks.
        BitstreamError
            When a bitstream is damaged, or one that is required is not there.
        """
        check_known(self.id, self._task, tasks)
        return decode_each(self, streams, tasks, max_pixels)

    def has(self, name: str, streams: Mapping[str, bytes]) -> bool:
        """Tell whether a sample has a task."""
        own = coarse_stream(name), whole_stream(name)
        return any(streams.get(stream) is not None for stream in own)

    def decode_sample(
        self, name: str, streams: Mapping[str, bytes], max_pixels: int, place: Place
    ) -> Array:
        """Decode one task of one sample to where it is wanted, from any thread.

        Raises
        ------
        BitstreamError
            When a bitstream is damaged, or not there.
        """
        own = [coarse_stream(name), whole_stream(name)]
        wanted = own[:1] if name in self._coarse else own
        for stream in wanted:
            if not streams.get(stream):
                raise BitstreamError(f"stream {stream} is required and not here; {LIST_DAMAGE}")
        first, *rest = (bytes(streams[stream]) for stream in wanted)
        try:
            head = HEADER.unpack_from(first)
            if not 0 < head[1] * head[2] <= max_pixels:
                raise ValueError(f"{head[1]}×{head[2]} pixels, at most {max_pixels} are expected")
            return self.decode_levels(self._task[name], head, [first[HEADER.size :], *rest], place)
        except NOT_DAMAGE:
            raise
        except Exception as error:
            sizes = " and ".join(str(len(streams[stream])) for stream in wanted)
            raise BitstreamError(
                f"stream {', '.join(wanted)}: {sizes} bytes are no {self.id} bitstream of this "
                f"task: {error}; {LIST_DAMAGE}"
            ) from error
