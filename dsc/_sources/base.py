"""What a source is: a dataset as a list of samples that are read one at a time.

`Source` is what every source must do. What only some can do, such as telling splits or accounting
for what they leave out, is a protocol each: `SplitSource`, `ReportingSource`, `TracedSource`,
`IncompleteSource`, `SequenceSource`, `RecordedSource`, `CodedSource`, `CheckedSource`. The
functions below ask any source and say what holds of one without the ability.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import LeftOut, Origin, SequencePlace, SourceReport, Task, TaskReport
from dsc._schemas.coded_frame import CodedFrame
from dsc.errors import SampleError, UnknownTaskError


@dataclass(frozen=True)
class SourceSample:
    """One sample, read.

    Attributes
    ----------
    key
        Unique over the source; 7-bit letters, digits, ``_`` and ``-`` (no dot), at most 80.
    arrays
        Native array by task name; a task that the sample lacks is left out, or None. Of a task
        that is no map, whatever `Task.to_native` takes: a str, a dict, a number. What was read from
        a JPEG file may know it (`dsc.sources.with_file`), so that the file can be kept.
    source_bytes
        Bytes of the source's files by task (the raw array's bytes where it has no file of its own).
    """

    key: str
    arrays: Mapping[str, Any]
    source_bytes: Mapping[str, int]


class Source(Protocol):
    """A dataset, opened.

    A source is cheap to open (it lists files and reads a few at most), can be pickled to a worker,
    and has the same samples in the same order every time that it is opened.

    Attributes
    ----------
    name
        What `dsc.sources.open_source` opens it by.
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
        """Read these tasks (full names) of one sample; one that it lacks is left out.

        Raises
        ------
        UnknownTaskError
            When the source has no such task.
        SampleError
            When a file is damaged, has a wrong dtype, or two tasks differ in height and width;
            the message names the sample and the file.
        OSError
            When the file system or network fails: the sample may be whole, so it is tried again.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Return the JSON from which the same source is opened again, by another process too.

        ``name``; ``root`` (None where there is none); ``options``, as `open_source` takes them; and
        ``fingerprint``, a text that differs as soon as tasks, samples or their order do.
        """
        ...


@runtime_checkable
class SplitSource(Protocol):
    """An ability of a source: its samples are parted into splits such as train and val."""

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of samples by split, in the source's order of samples.

        The samples of a split follow one another. ``""`` stands for samples of no split; empty
        where the source has no splits at all.
        """
        ...


@runtime_checkable
class ReportingSource(Protocol):
    """An ability of a source: it accounts for what it found, decided and left out."""

    def report(self) -> SourceReport:
        """Return the account, which `dsc compress` shows and the archive keeps.

        It costs no look at any file: what was decided, was decided when the source was opened.
        """
        ...


@runtime_checkable
class TracedSource(Protocol):
    """An ability of a source: it knows where each of its samples lies."""

    def origin(self, index: int) -> Origin | None:
        """Return a sample's name and files as the data set has them, without reading it.

        Messages name the sample by it, and the archive keeps it. None where it is not known.
        """
        ...


@runtime_checkable
class IncompleteSource(Protocol):
    """An ability of a source: some of its samples lack some tasks, and it knows which."""

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        """Return those of these tasks (full names) that a sample lacks, without reading it."""
        ...


@runtime_checkable
class SequenceSource(Protocol):
    """An ability of a source: its samples are frames of recordings.

    The frames of a sequence follow one another in the source's order, with rising numbers, and none
    of them is of another split.
    """

    def place(self, index: int) -> SequencePlace | None:
        """Return a sample's sequence, frame and time without reading it; None if it has none."""
        ...


@runtime_checkable
class RecordedSource(Protocol):
    """An ability of a source: it knows which of its samples are frames of recordings, by names.

    When its data are compressed, the frames of a recording are put into the order of their numbers.
    """

    @property
    def sequence_rule(self) -> str | None:
        """What a name says of the sample's place, as ``--sequence-by`` takes it; None: nothing."""
        ...

    def frame_times(self, index: int) -> Mapping[int, int] | None:
        """Read the times of the recording that a sample is of: nanoseconds by frame number.

        None where files beside the frames say none.
        """
        ...


@runtime_checkable
class CodedSource(Protocol):
    """An ability of a source: frames of its videos may stay as they are coded."""

    def coded(self, index: int, task: str) -> CodedFrame | None:
        """Return a frame as its video has it, with all that is decoded before it; None: no task.

        Raises
        ------
        SampleError
            When the task is no video, or the structure of the video does not allow it; the message
            says what can be done.
        """
        ...


@runtime_checkable
class CheckedSource(Protocol):
    """An ability of a source: it can look at its files before any work is done on them."""

    def check(self, tasks: Sequence[str]) -> None:
        """Look at every file of these tasks, as far as that is quick.

        Raises
        ------
        SampleError
            Naming the first file that will not do.
        """
        ...


def read_sample(source: Source, index: int, tasks: Sequence[str]) -> SourceSample:
    """Read these tasks (full names) of one sample of any source, all of them as native arrays.

    Raises
    ------
    SampleError
        When a value does not fit its task; the message names sample, task and value; and what
        `Source.read` raises.
    """
    sample = source.read(index, tasks)
    if all(isinstance(value, np.ndarray) for value in sample.arrays.values()):
        return sample
    known = {task.name: task for task in source.tasks}
    arrays = {
        name: _native(known[name], value, sample.key)
        for name, value in sample.arrays.items()
        if value is not None
    }
    return replace(sample, arrays=arrays)


def _native(task: Task, value: Any, key: str) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    try:
        if task.is_map:
            raise ValueError(f"an array expected, found {type(value).__name__}")
        return task.to_native(value)
    except ValueError as error:
        raise SampleError(f"sample {key}, task {task.name}: {error}") from None


def splits_of(source: Source) -> dict[str, int]:
    """Return the number of samples of any source by split; empty where it has no splits."""
    return dict(source.splits) if isinstance(source, SplitSource) else {}


def report_of(source: Source) -> SourceReport:
    """Return the account of any source; of one that gives none, its tasks, all samples whole."""
    if isinstance(source, ReportingSource):
        return source.report()
    n = len(source)
    tasks = {task.name: TaskReport(samples=n, why="the source's own") for task in source.tasks}
    return SourceReport(samples=n, complete=n, tasks=tasks)


def left_out_of(source: Source) -> tuple[LeftOut, ...]:
    """Return what any source leaves out, as far as it says so."""
    return source.report().left_out if isinstance(source, ReportingSource) else ()


def lacks_of(source: Source, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
    """Return those of these tasks that a sample of any source lacks, as far as the source knows."""
    return tuple(source.lacks(index, tasks)) if _knows_lacks(source) else ()


def origin_of(source: Source, index: int) -> Origin | None:
    """Return where a sample of any source lies; None where the source does not know."""
    return source.origin(index) if _knows_origins(source) else None


def name_of(source: Source, index: int) -> str:
    """Return what a sample is called in its source; its key where that is not known."""
    origin = origin_of(source, index)
    return source.key(index) if origin is None else origin.name


def place_of(source: Source, index: int) -> SequencePlace | None:
    """Return where a sample of any source stands in a recording; None where it is of none."""
    return source.place(index) if _knows_places(source) else None


def coded_of(source: Source, index: int, task: str) -> CodedFrame | None:
    """Return a frame of any source as its video has it; None where the sample lacks the task.

    Raises
    ------
    SampleError
        When it has none; see `CodedSource`.
    """
    if not isinstance(source, CodedSource):
        raise SampleError(
            f"task {task}: keep takes frames as a video has them, and {source.name} has no videos; "
            "use av1-seq"
        )
    return source.coded(index, task)


def check_files(source: Source, tasks: Sequence[str]) -> None:
    """Look at the files of any source before work starts, where the source can.

    Raises
    ------
    SampleError
        Naming the first file that will not do.
    """
    if isinstance(source, CheckedSource):
        source.check(tasks)


def _knows_lacks(source: Source) -> TypeGuard[IncompleteSource]:
    return _is_able(type(source), IncompleteSource)


def _knows_origins(source: Source) -> TypeGuard[TracedSource]:
    return _is_able(type(source), TracedSource)


def _knows_places(source: Source) -> TypeGuard[SequenceSource]:
    return _is_able(type(source), SequenceSource)


@cache
def _is_able(kind: type, ability: Any) -> bool:
    # asked of every sample, and `isinstance` of a protocol costs 10 microseconds with Python 3.11
    return issubclass(kind, ability)


def find_task(tasks: Mapping[str, Task], name: str) -> Task:
    """Return the task of that full name.

    Raises
    ------
    UnknownTaskError
        When there is none; the message lists those there are.
    """
    if name not in tasks:
        raise UnknownTaskError(f"no task {name!r} here; found: {', '.join(tasks) or 'none'}")
    return tasks[name]
