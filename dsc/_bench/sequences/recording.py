"""Consecutive frames of one task, as benchmarks code them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Task, TaskKind
from dsc._sources.base import Source, place_of, read_sample
from dsc._sources.registry import open_source
from dsc._sources.sequences.source import in_sequences
from dsc.errors import UsageError

Array = NDArray[Any]
CLIP = "clip"
CLIP_FOLDER = "sevenscenes_clip"
CAMERAS = ("walk", "fixed", "orbit")
RECORDINGS = (CLIP, *CAMERAS)
CODED = (TaskKind.IMAGE, TaskKind.DEPTH, TaskKind.LABEL)


@dataclass(frozen=True)
class Clip:
    """Frames of one task that follow one another.

    Attributes
    ----------
    name
        What they are of, for people.
    frames
        Native arrays, in order.
    """

    name: str
    task: Task
    frames: Sequence[Array]

    @property
    def pixels(self) -> int:
        """Pixels of all frames."""
        return sum(frame.shape[0] * frame.shape[1] for frame in self.frames)

    @property
    def size(self) -> str:
        """Width and height of a frame."""
        return "{1}×{0}".format(*self.frames[0].shape)


def named_recordings(names: Sequence[str], data: Path, frames: int) -> tuple[list[Clip], list[str]]:
    """Open recordings by name: ``clip`` of a data folder, the others are rendered.

    Returns
    -------
    recordings
        One a task, images and depth first.
    absent
        A line for each that is not there.

    Raises
    ------
    UsageError
        When a name is unknown.
    """
    unknown = [name for name in names if name not in RECORDINGS]
    if unknown:
        raise UsageError(f"no recording {', '.join(unknown)}; known: {', '.join(RECORDINGS)}")
    found: list[Clip] = []
    absent = []
    for name in names:
        if name in CAMERAS:
            source = open_source("rendered", None, frames=frames, camera=name)
            found += recordings_of(source, f"rendered, {name}", frames)
        elif (data / CLIP_FOLDER).is_dir():
            source = in_sequences(open_source("folder", str(data / CLIP_FOLDER)))
            found += recordings_of(source, "7-Scenes clip", frames)
        else:
            absent.append(f"{name}: nothing at {data / CLIP_FOLDER}, left out")
    return found, absent


def recordings_of(source: Source, name: str, frames: int) -> list[Clip]:
    """Take the first frames of a source's first recording, task by task.

    Raises
    ------
    UsageError
        When the source has no recording, or no map that is coded in groups.
    """
    tasks = [task for task in source.tasks if task.kind in CODED]
    indices = list(_first_sequence(source, frames))
    if not tasks or not indices:
        raise UsageError(f"{name}: no recording of images, depth or labels in this source")
    samples = [read_sample(source, at, [task.name for task in tasks]).arrays for at in indices]
    order = sorted(tasks, key=lambda task: CODED.index(task.kind))
    return [
        Clip(name, task, [np.ascontiguousarray(one[task.name]) for one in samples])
        for task in order
        if all(task.name in one for one in samples)
    ]


def _first_sequence(source: Source, frames: int) -> Iterator[int]:
    first = place_of(source, 0) if len(source) else None
    if first is None:
        return
    for index in range(min(frames, len(source))):
        place = place_of(source, index)
        if place is None or place.sequence != first.sequence:
            return
        yield index
