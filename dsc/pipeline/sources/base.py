"""The source interface: a dataset as a list of samples whose files are read one at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from dsc.schemas import Task


@dataclass(frozen=True)
class SourceSample:
    """One sample, read.

    Attributes
    ----------
    key
        Unique over the source; 7-bit letters, digits, ``_`` and ``-`` (no dot), at most 80.
    arrays
        Native array by task name; a task that the sample lacks is left out.
    source_bytes
        Bytes of the source's files by task (the raw array's bytes where it has no file of its own).
    """

    key: str
    arrays: Mapping[str, NDArray[Any]]
    source_bytes: Mapping[str, int]


class Source(Protocol):
    """A dataset layout, opened.

    A source is cheap to open (it lists files, it reads no pixels), can be pickled to a worker, and
    gives the same samples in the same order every time.
    """

    name: ClassVar[str]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task found, in the layout's order."""
        ...

    def __len__(self) -> int:
        """Give the number of samples."""
        ...

    def key(self, index: int) -> str:
        """Give the key of a sample without reading it."""
        ...

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read these tasks (full names) of one sample.

        Raises
        ------
        SampleError
            When a file is damaged, has a wrong dtype, or two tasks differ in height and width;
            the message names the sample and the file.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Give the JSON from which `open_source` makes the same source again, anywhere."""
        ...
