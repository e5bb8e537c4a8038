"""How a network's streams are called in an archive, and the tasks that they carry."""

from collections.abc import Mapping
from dataclasses import dataclass

from dsc._schemas import Task
from dsc.errors import BitstreamError


@dataclass(frozen=True)
class Naming:
    """See the module.

    Attributes
    ----------
    names
        Name in the archive by stream of the network, for those that it has.
    tasks
        Task by name in the archive.
    """

    names: Mapping[str, str]
    tasks: Mapping[str, Task]

    def stream_of(self, task: str) -> str:
        """Return the network's stream that carries a task of the archive."""
        return next(stream for stream, name in self.names.items() if name == task)

    def name_of(self, stream: str) -> str:
        """Return an archive's name of one of the network's streams."""
        if stream not in self.names:
            raise BitstreamError(f"a stream requires {stream}, which no task here is")
        return self.names[stream]
