"""Finds the originals of an archive's samples, so that what was decoded can be set beside them.

An archive remembers its source's name and every sample's key, never a path. Rendered views are
rendered again; other data is looked for where this machine remembers it
(`dsc._pipeline.read.whereabouts`), or where it is said to lie. What was appended may lie elsewhere:
each place is asked. A task whose encoding is not the archive's (another depth unit, another dtype)
is left out: comparing it would tell nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsc._codecs.base import Array
from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.read.whereabouts import recall_all
from dsc._schemas import Manifest, Task
from dsc._sources.base import read_sample
from dsc._sources.registry import Source, open_source, reopen
from dsc.errors import DscError, SampleError, UsageError

_RENDERED = re.compile(r"point_(\d+)_view_0")


def spread(count: int, wanted: int) -> list[int]:
    """Choose up to `wanted` indices below `count`, evenly spread, the first and last among them."""
    if wanted >= count:
        return list(range(count))
    return sorted({round(at * (count - 1) / max(wanted - 1, 1)) for at in range(wanted)})


class Originals:
    """The data of an archive, asked by the archive's keys.

    Parameters
    ----------
    sources
        The opened sources; the first that has a sample's task gives it.
    tasks
        The archive's tasks.

    Attributes
    ----------
    tasks
        Names of those tasks that some source has as the archive has them.
    """

    def __init__(self, sources: Sequence[Source], tasks: tuple[Task, ...]) -> None:
        self._sources = [_Indexed(source, tasks) for source in sources]
        there = {name for one in self._sources for name in one.tasks}
        self.tasks = tuple(task.name for task in tasks if task.name in there)

    def read(self, index: int, key: str, tasks: Sequence[str] | None = None) -> dict[str, Array]:
        """Read a sample's native arrays by task; empty when no source has it whole.

        Parameters
        ----------
        index, key
            Of the sample in the archive.
        tasks
            Names of the tasks wanted; None for all that there are.
        """
        found: dict[str, Array] = {}
        for source in self._sources:
            wanted = [
                name
                for name in source.tasks
                if name not in found and (tasks is None or name in tasks)
            ]
            if wanted:
                found.update(source.read(index, key, wanted))
        return found


class _Indexed:
    """One source, asked by keys."""

    def __init__(self, source: Source, tasks: tuple[Task, ...]) -> None:
        self._source = source
        there = {task.name: task for task in source.tasks}
        self.tasks = tuple(t.name for t in tasks if has_encoding(t, there.get(t.name)))
        self._by_key: dict[str, int] | None = None

    def read(self, index: int, key: str, tasks: Sequence[str]) -> Mapping[str, Array]:
        found = self._index(index, key)
        if found is None:
            return {}
        try:
            return read_sample(self._source, found, tasks).arrays
        except SampleError:
            return {}

    def _index(self, index: int, key: str) -> int | None:
        if index < len(self._source) and self._source.key(index) == key:
            return index
        if self._by_key is None:
            self._by_key = {self._source.key(i): i for i in range(len(self._source))}
        return self._by_key.get(key)


@dataclass(frozen=True)
class FoundOriginals:
    """What came of looking for originals.

    Attributes
    ----------
    originals
        None when they are not at hand.
    note
        Where they come from, or why there are none, for people; without a closing full stop.
    """

    originals: Originals | None
    note: str


def find_originals(dataset: Dataset, source_root: str | None = None) -> FoundOriginals:
    """Look for the data that an archive was made of.

    Parameters
    ----------
    dataset
        The archive, with the tasks that are wanted.
    source_root
        Where the data lies; None to look where this machine remembers it. Rendered views need none.

    Raises
    ------
    UsageError
        When a root is given that does not hold the archive's source.
    """
    manifest = dataset.manifest
    if source_root is not None:
        if manifest.source == "sample":
            raise UsageError(f"--source-root {source_root}: this archive's views were rendered")
        found = Originals([_open(manifest, source_root)], dataset.tasks)
        return FoundOriginals(found, f"originals from {manifest.source} at {source_root}")
    known = recall_all(manifest)
    if known:
        return _open_known(dataset, known)
    if manifest.source == "sample":
        source = rendered_again(dataset)
        if source is not None:
            return FoundOriginals(Originals([source], dataset.tasks), "originals rendered again")
        return FoundOriginals(None, "no originals: other views than this dsc renders")
    return FoundOriginals(None, "no originals: this machine does not know where the source lies")


def _open_known(dataset: Dataset, known: Sequence[Mapping[str, Any]]) -> FoundOriginals:
    """Open the places that are remembered; what is no longer there is told, and no error."""
    sources, notes = [], []
    for noted in known:
        name, root = str(noted["name"]), noted.get("root")
        where = f"{name} at {root}" if root is not None else name
        try:
            source = reopen(noted)
            changed = source.describe().get("fingerprint") != noted.get("fingerprint")
        except (DscError, OSError, TypeError) as error:
            notes.append(f"{where} cannot be opened ({error})")
            continue
        sources.append(source)
        notes.append(f"{where}{', which has changed since' if changed else ''}")
    listed = "; ".join(notes)
    if not sources:
        return FoundOriginals(None, f"no originals: {listed}")
    return FoundOriginals(Originals(sources, dataset.tasks), f"originals from {listed}")


def rendered_again(dataset: Dataset) -> Source | None:
    """Render the views of an archive again; None where they are others than this dsc renders."""
    keys = tuple(dataset.keys())
    matches = [_RENDERED.fullmatch(key) for key in keys]
    if not matches or not all(matches):
        return None
    first = dataset[0]
    maps = {t.name: first[t.name] for t in dataset.tasks if t.is_map and first[t.name] is not None}
    name, decoded = next(iter(maps.items()), ("", None))
    if decoded is None:
        return None
    last = max(int(match[1]) for match in matches if match)
    wanted = [task.name for task in dataset.tasks]
    source = open_source("sample", n=last + 1, size=decoded.shape[0], tasks=wanted)
    number = int(matches[0][1]) if matches[0] else 0
    rendered = source.read(number, [name]).arrays[name]
    return source if _alike(rendered, decoded) else None


def _alike(first: Array, second: Array) -> bool:
    """Tell a decoded view from a view of another seed, which no key tells apart."""
    if first.shape != second.shape:
        return False
    if first.std() == 0 or second.std() == 0:
        return bool(np.array_equal(first, second))
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1]) > 0.5


def _open(manifest: Manifest, root: str) -> Source:
    units = {task.unit_m for task in manifest.tasks if task.unit_m is not None}
    options: dict[str, Any] = {"depth_unit": units.pop()} if len(units) == 1 else {}
    if manifest.source_report is not None and manifest.source_report.options:
        options = dict(manifest.source_report.options)
    return open_source(manifest.source, root, **options)


def has_encoding(task: Task, other: Task | None) -> bool:
    """Tell whether a source's task is encoded as an archive's, so that values can be compared.

    What a backbone computed is no source's: it may have seen decoded pictures, on another machine.
    """
    if other is None or task.extractor is not None:
        return False
    return all(
        getattr(task, name) == getattr(other, name)
        for name in ("kind", "dtype", "channels", "shape", "unit_m", "invalid")
    )
