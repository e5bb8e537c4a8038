"""Windows of frames: with each sample the frames before and after it, by number or by time.

An offset is a number of frames, a whole number, or text with a unit of time: ``"-0.25s"``,
``"40ms"``. Numbers are those that the recording gave its frames, so that one that was lost in the
recording is lost in the window, too. A time is the nearest frame's, within half the recording's
median step, all in whole nanoseconds. A window never leaves its recording.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple, Self, get_args

import numpy as np

from dsc._columns.column import Ints, Mask
from dsc._pipeline.read.frame_index import NO_TIME, NONE, FrameIndex
from dsc._pipeline.read.selection import ShardFilter
from dsc._schemas import Task, resolve_task
from dsc._storage.read.archive import Archive
from dsc.errors import UnknownTaskError, UsageError

WindowEdges = Literal["clamp", "missing", "skip"]
WindowOption = Sequence[int | str] | Mapping[str, Sequence[int | str]]

SEQUENCE, WINDOW, FRAMES = "__sequence__", "__window__", "__frames__"
UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
TIME = re.compile(r"([+-]?\d+(?:\.\d+)?) ?(s|ms|us|ns)")
SPELLED = (
    "frames as whole numbers, such as (-8, 0, 8), or times with their unit, such as "
    "('-0.25s', 0, '0.25s')"
)


class Offset(NamedTuple):
    """How far a frame lies from a sample: so many frames, or nanoseconds."""

    is_time: bool
    value: int

    @classmethod
    def read(cls, given: object, where: str) -> Self:
        """Read an offset.

        Raises
        ------
        UsageError
            When it is neither.
        """
        if isinstance(given, int | np.integer) and type(given) is not bool:
            return cls(False, int(given))
        match = TIME.fullmatch(given.strip()) if isinstance(given, str) else None
        if match is None:
            raise UsageError(f"{where}: {given!r} is no offset; give {SPELLED}")
        time = Fraction(match[1]) * UNITS[match[2]]
        if time.denominator != 1:
            raise UsageError(f"{where}: {given!r} is no whole number of nanoseconds")
        return cls(True, int(time))


Window = tuple[Offset, ...]


@dataclass(frozen=True)
class WindowSpec:
    """What was asked for.

    Attributes
    ----------
    common
        The window of all tasks; empty where each has its own.
    by_task
        Windows of the tasks that were named, as the user called them.
    edges
        What stands for frames before the first and after the last one.
    """

    common: Window
    by_task: Mapping[str, Window]
    edges: WindowEdges = "clamp"

    @classmethod
    def of(cls, window: object, edges: str = "clamp") -> Self | None:
        """Read what a user gave; None for no windows.

        Raises
        ------
        UsageError
            When it cannot be read.
        """
        if edges not in get_args(WindowEdges):
            known = ", ".join(get_args(WindowEdges))
            raise UsageError(f"window_edges={edges!r}: one of {known}")
        if window is None:
            return None
        if isinstance(window, Mapping):
            if not window:
                raise UsageError("window={}: no task has a window; leave it out")
            by_task = {str(name): _window(one, f"window of {name}") for name, one in window.items()}
            return cls((), by_task, edges)  # type: ignore[arg-type]
        return cls(_window(window, f"window={window!r}"), {}, edges)  # type: ignore[arg-type]

    def of_tasks(self, tasks: Sequence[Task], where: str) -> dict[str, Window]:
        """Return the windows by task.

        Raises
        ------
        UsageError
            When it names a task that is not read.
        """
        names = [task.name for task in tasks]
        if self.common:
            return dict.fromkeys(names, self.common)
        found: dict[str, Window] = {}
        for name, window in self.by_task.items():
            try:
                found[resolve_task(name, names)] = window
            except UnknownTaskError:
                raise UsageError(
                    f"{where}: window of {name!r}, which is not read; tasks: {', '.join(names)}"
                ) from None
        return found


def _window(given: object, where: str) -> Window:
    is_row = isinstance(given, Sequence | range | np.ndarray) and not isinstance(given, str | bytes)
    if not is_row or not len(given):  # type: ignore[arg-type]
        raise UsageError(f"{where}: at least one offset in a row: {SPELLED}")
    return tuple(Offset.read(one, where) for one in given)  # type: ignore[attr-defined]


class FramesOf(NamedTuple):
    """The frames of the windows of some samples.

    Attributes
    ----------
    samples
        Those that the frames are, (samples, offsets); -1 where nothing stands.
    there
        Which frames are those that were asked for, and not the nearest ones at an end.
    """

    samples: Ints
    there: Mask


class Windows:
    """Finds the frames of samples' windows.

    Parameters
    ----------
    frames
        Of the archive's recordings.
    tasks
        All that are wanted, in order.
    by_task
        The window of each task that has one.
    edges
        What stands for frames beyond the ends of a recording.
    is_common
        Whether all tasks have one window.

    Attributes
    ----------
    parts
        Tasks of one window each, and those that have none.
    """

    def __init__(
        self,
        frames: FrameIndex,
        tasks: Sequence[Task],
        by_task: Mapping[str, Window],
        edges: WindowEdges,
        is_common: bool,
    ) -> None:
        self.frames, self.tasks, self.by_task = frames, tuple(tasks), dict(by_task)
        self.edges, self.is_common = edges, is_common
        parts: dict[Window, list[Task]] = {}
        for task in tasks:
            parts.setdefault(self.by_task.get(task.name, ()), []).append(task)
        self.parts = tuple(tuple(part) for part in parts.values())

    @classmethod
    def open(cls, archive: Archive, spec: WindowSpec, tasks: Sequence[Task]) -> Self:
        """Find the recordings of an archive.

        Raises
        ------
        UsageError
            When it has none, or no times where some are asked for, or a task is not read.
        """
        by_task = spec.of_tasks(tasks, archive.root.url)
        frames = FrameIndex.read(archive)
        if not frames.names:
            raise UsageError(
                f"{archive.root.url}: window= is of the frames of recordings, and this archive "
                "knows none: compress the data again, with --sequence-by where dsc finds no "
                "recordings by itself (docs/recordings.md)"
            )
        if not frames.has_times and any(one.is_time for own in by_task.values() for one in own):
            raise UsageError(
                f"{archive.root.url}: the times of its frames are not known: give offsets of "
                "window= in frames, whole numbers such as (-1, 0, 1)"
            )
        return cls(frames, tasks, by_task, spec.edges, bool(spec.common))

    def of(self, indices: Sequence[int] | Ints) -> dict[str, FramesOf]:
        """Return the frames of samples by task; those of equal windows are one and the same."""
        at = np.asarray(indices, np.int64)
        found = {window: self._find(window, at) for window in set(self.by_task.values())}
        return {task: found[window] for task, window in self.by_task.items()}

    def complete(self, indices: Ints) -> Mask:
        """Tell of which samples all frames of all windows are there."""
        whole = np.ones(len(indices), bool)
        for window in set(self.by_task.values()):
            whole &= self._find(window, indices).there.all(axis=1)
        return whole

    def filter(self, archive: Archive) -> ShardFilter | None:
        """Return what leaves the samples whose windows are complete; None where all may stay."""
        if self.edges != "skip":
            return None

        def kept(shard: int, left: Mask) -> Mask:
            chosen = np.flatnonzero(left)
            out = np.zeros(len(left), bool)
            out[chosen] = self.complete(archive.start(shard) + chosen)
            return out

        return kept

    @property
    def lengths(self) -> dict[str, int]:
        """How many frames the windows of the tasks have."""
        return {task: len(window) for task, window in self.by_task.items()}

    def mask_name(self, task: str) -> str:
        """Return the name under which a sample says which frames of a task are there."""
        return WINDOW if self.is_common else f"__window_{task}__"

    def frames_name(self, task: str) -> str:
        """Return the name under which a sample has the numbers of a task's frames."""
        return FRAMES if self.is_common else f"__frames_{task}__"

    def _find(self, window: Window, indices: Ints) -> FramesOf:
        shape = len(indices), len(window)
        found = FramesOf(np.full(shape, NONE, np.int64), np.zeros(shape, bool))
        sequences = self.frames.sequence[indices]
        for number in np.unique(sequences):
            rows = np.flatnonzero(sequences == number)
            for column, offset in enumerate(window):
                index, end = self._frames(int(number), indices[rows], offset)
                found.there[rows, column] = index != NONE
                if self.edges == "clamp":
                    index = np.where(index == NONE, end, index)
                found.samples[rows, column] = index
        return found

    def _frames(self, number: int, indices: Ints, offset: Offset) -> tuple[Ints, Ints]:
        """Return the frames of one offset, and the ends of the recording beyond which they lie."""
        if offset.value == 0:
            return indices, indices
        if number == NONE:  # a recording of itself alone
            return np.full(len(indices), NONE), indices
        if not offset.is_time:
            return self.frames.by_frame(number, self.frames.frame[indices] + offset.value)
        times = self.frames.time[indices]
        is_known = times != NO_TIME
        index, end = self.frames.by_time(number, np.where(is_known, times, 0) + offset.value)
        return np.where(is_known, index, NONE), np.where(is_known, end, NONE)


def no_window_complete(archive: Archive) -> UsageError:
    """Return the error that says that no sample has all frames of its windows."""
    return UsageError(
        f"{archive.root.url}: of no sample all frames of the window are there: its recordings are "
        "too short, or leave out frames; take fewer offsets, or window_edges='clamp'"
    )
