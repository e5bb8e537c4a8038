"""The sets of samples that codecs are compared on.

Six have names: ``nyuv2``, ``7scenes``, ``taskonomy`` and ``kodak`` lie in one data folder, in
directories of fixed names; ``views`` are rendered, and so are ``rooms``, the same with tasks that
follow from others. Any other data comes through a source. A set is a plain value: it goes to worker
processes and into hashes, and opens its source where it is used.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Task, resolve_tasks
from dsc._sources.base import read_sample
from dsc._sources.registry import Source, open_source, options_of
from dsc.errors import UsageError

Array = NDArray[Any]
_Options = tuple[tuple[str, Any], ...]
CHUNK = 8  # samples measured in one go; each process holds twice as many
VIEWS, ROOMS = "views", "rooms"
ROOM_TASKS = (
    "rgb,depth_zbuffer,normal,edge_texture,edge_occlusion,keypoints2d,depth_euclidean,reshading"
)


@dataclass(frozen=True)
class BenchSet:
    """Chosen samples of a source.

    Attributes
    ----------
    name
        Short and unique; part of file names.
    title
        For people.
    source, root, options
        What `open_source` takes.
    tasks
        Names of the maps that are coded, in order.
    indices
        The samples.
    total
        How many samples the source has.
    """

    name: str
    title: str
    source: str
    root: str | None
    options: _Options
    tasks: tuple[str, ...]
    indices: tuple[int, ...]
    total: int

    def chunks(self) -> list[tuple[int, ...]]:
        """Cut the samples into groups of `CHUNK`."""
        return [self.indices[at : at + CHUNK] for at in range(0, len(self.indices), CHUNK)]

    def identity(self, indices: Sequence[int]) -> dict[str, Any]:
        """Say in JSON which pixels these samples are; equal for equal data, wherever it lies."""
        return _identify(self, tuple(indices))

    def opened(self) -> Source:
        """Return the source of all samples."""
        return _open(self.source, self.root, self.options)

    def schemas(self) -> tuple[Task, ...]:
        """Return the tasks."""
        by_name = {t.name: t for t in self.opened().tasks}
        return tuple(by_name[name] for name in self.tasks)

    def read(self, index: int) -> Mapping[str, Array]:
        """Return the native arrays of a sample; the last few stay in memory."""
        return _read(self.source, self.root, self.options, self.tasks, index)


@dataclass(frozen=True)
class _Known:
    title: str
    source: str
    directory: str
    options: _Options = ()


_KNOWN = {
    "nyuv2": _Known("NYUv2 test", "nyuv2", "nyuv2", (("split", "test"),)),
    "7scenes": _Known("7-Scenes, depth with holes", "folder", "sevenscenes"),
    "taskonomy": _Known("Taskonomy-format views", "taskonomy", "taskonomy_native"),
    "kodak": _Known("Kodak", "folder", "kodak"),
}
_RENDERED: dict[str, tuple[str, _Options]] = {
    VIEWS: ("Rendered views", ()),
    ROOMS: ("Rendered views of eight tasks", (("tasks", ROOM_TASKS),)),
}
SETS = (*_KNOWN, *_RENDERED)


def named_sets(
    names: Sequence[str], data: Path, samples: int | None, views: int
) -> tuple[list[BenchSet], list[str]]:
    """Open the sets that are there.

    Parameters
    ----------
    names
        Of `SETS`.
    data
        The folder that holds the directories of the sets.
    samples
        At most this many samples of each, evenly spread; None takes all.
    views
        How many views are rendered; 0 leaves ``views`` and ``rooms`` out.

    Returns
    -------
    sets
        In the order of `names`.
    absent
        One line for each set that is not there.

    Raises
    ------
    UsageError
        When a name is unknown.
    """
    unknown = [name for name in names if name not in SETS]
    if unknown:
        raise UsageError(f"no set {', '.join(unknown)}; known: {', '.join(SETS)}")
    found, absent = [], []
    for name in names:
        if name in _RENDERED:
            if views:
                title, more = _RENDERED[name]
                tasks = dict(more).get("tasks")
                options: _Options = (("n", views), *more)
                found.append(_choose(name, title, "sample", None, options, tasks, None))
            continue
        known = _KNOWN[name]
        root = data / known.directory
        if root.is_dir():
            options = known.options
            found.append(
                _choose(name, known.title, known.source, str(root), options, None, samples)
            )
        else:
            absent.append(f"{name}: nothing at {root}, left out")
    return found, absent


def source_set(
    source: str,
    root: str | None,
    tasks: str | None = None,
    samples: int | None = None,
    **options: Any,
) -> BenchSet:
    """Make a set of anybody's data.

    Parameters
    ----------
    source, root, options
        What `open_source` takes; options that are None are unset.
    tasks
        Names with commas; None takes all maps.
    samples
        At most this many, evenly spread; None takes all.

    Raises
    ------
    UsageError
        When the source, an option or a task is unknown, or a task is no map.
    """
    if "tasks" in options_of(source):  # some are rendered only where they are named
        options["tasks"] = tasks
    given = tuple(sorted((name, value) for name, value in options.items() if value is not None))
    return _choose(source, f"Source {source}", source, root, given, tasks, samples)


def _choose(
    name: str,
    title: str,
    source: str,
    root: str | None,
    options: _Options,
    tasks: str | None,
    samples: int | None,
) -> BenchSet:
    opened = _open(source, root, options)
    maps = [task.name for task in opened.tasks if task.is_map]
    chosen = resolve_tasks(tasks, maps)
    if not chosen:
        raise UsageError(f"source {source} has no map to compare codecs on")
    count = len(opened) if samples is None else min(samples, len(opened))
    indices = tuple(at * len(opened) // count for at in range(count))
    return BenchSet(name, title, source, root, options, chosen, indices, len(opened))


@lru_cache(maxsize=8)
def _open(source: str, root: str | None, options: _Options) -> Source:
    return open_source(source, root, **dict(options))


@lru_cache(maxsize=1024)
def _identify(data: BenchSet, indices: tuple[int, ...]) -> dict[str, Any]:
    source, digest = _open(data.source, data.root, data.options), hashlib.sha256()
    for index in indices:
        for name, array in sorted(data.read(index).items()):
            digest.update(f"{name} {array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return {"keys": [source.key(index) for index in indices], "pixels": digest.hexdigest()}


@lru_cache(maxsize=2 * CHUNK)
def _read(
    source: str,
    root: str | None,
    options: _Options,
    tasks: tuple[str, ...],
    index: int,
) -> Mapping[str, Array]:
    return read_sample(_open(source, root, options), index, tasks).arrays
