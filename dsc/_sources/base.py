"""The source interface: a dataset as a list of samples whose files are read one at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

from numpy.typing import NDArray

from dsc._schemas import LeftOut, Origin, SourceReport, Task, TaskReport


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
        """Return the number of samples."""
        ...

    def key(self, index: int) -> str:
        """Return the key of a sample without reading it."""
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
        """Return the JSON from which `open_source` makes the same source again, anywhere."""
        ...


class ReportingSource(Source, Protocol):
    """A source that also says what it found; one that does not is asked by the functions below."""

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of samples by split, in the source's order; empty where it has none."""
        ...

    def report(self) -> SourceReport:
        """Say what was found, decided and left out."""
        ...

    def origin(self, index: int) -> Origin:
        """Say where a sample came from."""
        ...

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        """List which of these tasks a sample lacks, without reading it."""
        ...


def splits_of(source: Source) -> dict[str, int]:
    """Return the splits of any source; empty where it has none."""
    return dict(getattr(source, "splits", {}))


def report_of(source: Source) -> SourceReport:
    """Return the report of any source."""
    if hasattr(source, "report"):
        return cast(ReportingSource, source).report()
    n = len(source)
    tasks = {task.name: TaskReport(samples=n, why="the source's own") for task in source.tasks}
    return SourceReport(samples=n, complete=n, tasks=tasks)


def lacks_of(source: Source, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
    """List which of these tasks a sample of any source lacks, as far as the source can tell."""
    if not hasattr(source, "lacks"):
        return ()
    return tuple(cast(ReportingSource, source).lacks(index, tasks))


def origin_of(source: Source, index: int) -> Origin | None:
    """Say where a sample of any source came from; None where the source does not know."""
    if not hasattr(source, "origin"):
        return None
    return cast(ReportingSource, source).origin(index)


def left_out_of(source: Source) -> tuple[LeftOut, ...]:
    """List what any source leaves out."""
    return report_of(source).left_out if hasattr(source, "report") else ()


def check_files(source: Source, tasks: Sequence[str]) -> None:
    """Look at the heads of a source's files before work starts, where the source can.

    Raises
    ------
    SampleError
        Naming the first file that will not do.
    """
    if hasattr(source, "check"):
        source.check(tasks)
